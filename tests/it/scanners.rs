//! The whole gateway on two scanner servers: one dies under load, both are away, one after the other comes back.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::clamd::Clamd;
use crate::faults::books::Books;
use crate::faults::client::File;
use crate::gateway::{Gateway, PATIENCE, answer};

async fn dependencies(gateway: &Gateway) -> (u16, Vec<(String, bool)>) {
    let (status, health) = gateway.admin_get("/readyz").await;
    let all = health["dependencies"].as_array().unwrap();
    let scanners = all.iter().filter(|one| one["name"].as_str().unwrap().starts_with("scanner"));
    let text = |one: &Value| one["name"].as_str().unwrap().to_owned();
    (status, scanners.map(|one| (text(one), one["ready"] == true)).collect())
}

/// Waits until readiness tells this of the scanner as a whole and of each server.
async fn until_told(gateway: &Gateway, expected: [bool; 3]) {
    let started = Instant::now();
    loop {
        let (status, told) = dependencies(gateway).await;
        let names: Vec<_> = told.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["scanner", "scanner:1", "scanner:2"]);
        if told.iter().map(|(_, ready)| *ready).eq(expected) && (status == 200) == expected[0] {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "{told:?}, not {expected:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn up(gateway: &Gateway, clamd: &Clamd) -> bool {
    let page = gateway.http.get(format!("{}/metrics", gateway.admin)).send().await.unwrap().text().await.unwrap();
    let name = format!("vestibule_scanner_up{{server=\"{}\"}} ", clamd.address());
    page.lines().find_map(|line| line.strip_prefix(&name)).unwrap() == "1"
}

#[tokio::test]
async fn of_two_servers_one_may_die_both_may_be_away_and_whoever_is_back_gets_work() {
    let (mut one, mut other) = (Clamd::start(4).await, Clamd::start(4).await);
    let list = serde_json::to_string(&[one.address(), other.address()]).unwrap();
    let gateway = Gateway::start_with(&[("VESTIBULE__SCANNER__ADDRESS", &list)]).await;
    let books = Books::of(gateway.dir());
    until_told(&gateway, [true, true, true]).await;
    let (_, health) = answer(gateway.http.get(format!("{}/readyz", gateway.public))).await;
    assert!(!health.to_string().contains("unix:"), "addresses are for operators: {health}");

    // Dies while objects are on their way: each ends on the other one, in the try that it was in.
    let mut ids = Vec::new();
    for number in 0..12 {
        let bytes = File::clean("menu.jpg", number).bytes;
        let issued = gateway.request_jpeg(&bytes).await;
        assert_eq!(gateway.put(&issued, bytes).await, 200);
        ids.push(issued["objectId"].as_str().unwrap().to_owned());
        if number == 5 {
            one.kill();
        }
    }
    for id in &ids {
        gateway.wait_for(id, "visible").await;
    }
    assert!(!gateway.log().contains("the job is tried again"), "{}", gateway.log());
    until_told(&gateway, [true, false, true]).await;
    assert!(!up(&gateway, &one).await && up(&gateway, &other).await);
    let (code, printed, _) = gateway.run(&["scanner", "check"]);
    assert_eq!(code, 1, "{printed}");
    for clamd in [&one, &other] {
        assert!(printed.lines().any(|line| line == clamd.address()), "{printed}");
    }

    let bytes = File::clean("menu.jpg", 99).bytes;
    let issued = gateway.request_jpeg(&bytes).await;
    let id = issued["objectId"].as_str().unwrap();
    other.kill();
    until_told(&gateway, [false, false, false]).await;
    assert_eq!(gateway.put(&issued, bytes.clone()).await, 200);
    let started = Instant::now();
    while gateway.log().matches("the job is tried again").count() < 3 {
        assert!(started.elapsed() < PATIENCE, "{}", gateway.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(books.attempts(id) <= 1, "a try counted while no server answered");

    // The one that died first comes back alone and does the work; then the other is taken back too.
    one.start_again().await;
    gateway.wait_for(id, "visible").await;
    until_told(&gateway, [true, true, false]).await;
    other.start_again().await;
    until_told(&gateway, [true, true, true]).await;
    one.kill();
    let id = gateway.visible_jpeg(&File::clean("menu.jpg", 100).bytes).await;
    assert_eq!(gateway.download(&id).await, File::clean("menu.jpg", 100).bytes);
    books.assert_balanced();
}
