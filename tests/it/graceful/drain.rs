//! From SIGTERM to the end: what a node says of itself, and what it still does.

use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use super::line::{Line, get, upload};
use crate::gateway::Gateway;

#[tokio::test]
async fn a_node_that_is_told_to_end_says_so_and_answers_until_it_was_left() {
    let mut gateway = Gateway::start_with(&[("VESTIBULE__SHUTDOWN__DRAIN", "3s")]).await;
    let mut kept = Line::to(&gateway.public).await.unwrap();
    let mut idle = Line::to(&gateway.public).await.unwrap();
    for line in [&mut kept, &mut idle] {
        let answer = line.ask(&upload(&gateway.token)).await.unwrap();
        assert_eq!((answer.status, answer.closes), (201, false), "{answer:?}");
    }
    let told = Instant::now();
    gateway.signal("TERM");

    // On both listeners, and details for operators only.
    for url in [&gateway.public, &gateway.admin] {
        let health = loop {
            let answer = Line::to(url).await.unwrap().ask(&get("/readyz")).await.unwrap();
            if answer.status == 503 {
                break answer.json();
            }
            assert!(told.elapsed() < Duration::from_secs(2), "{answer:?}");
        };
        assert_eq!((&health["ready"], &health["draining"]), (&false.into(), &true.into()), "{health}");
        assert_eq!(health["dependencies"][0]["ready"], true, "{health}");
    }
    // A kept connection and a fresh one: answered, and asked to leave.
    let mut fresh = Line::to(&gateway.public).await.unwrap();
    for line in [&mut kept, &mut fresh] {
        let answer = line.ask(&upload(&gateway.token)).await.unwrap();
        assert_eq!((answer.status, answer.closes), (201, true), "{answer:?}");
    }
    assert_eq!(Line::to(&gateway.public).await.unwrap().ask(&get("/healthz")).await.unwrap().status, 200);

    assert_eq!(gateway.wait_for_end().await, Some(0));
    let took = told.elapsed();
    assert!((Duration::from_secs(3)..Duration::from_secs(10)).contains(&took), "{took:?}");
    assert!(idle.ask(&get("/healthz")).await.is_err(), "who was told nothing meets the end");
}

#[tokio::test]
async fn a_second_signal_ends_at_once() {
    let mut gateway = Gateway::start_with(&[("VESTIBULE__SHUTDOWN__DRAIN", "60s")]).await;
    let told = Instant::now();
    gateway.signal("TERM");
    while !gateway.log().contains("draining") {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    gateway.signal("TERM");
    assert_eq!(gateway.wait_for_end().await, Some(0));
    assert!(told.elapsed() < Duration::from_secs(15), "{:?}", told.elapsed());
}

#[tokio::test]
async fn the_service_manager_hears_when_it_serves_and_when_it_stops() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut gateway = Gateway::start_with(&[("NOTIFY_SOCKET", path.to_str().unwrap())]).await;
    let heard = || {
        let mut text = [0; 64];
        let count = manager.recv(&mut text).unwrap();
        String::from_utf8(text[..count].to_vec()).unwrap()
    };
    assert_eq!(heard(), "READY=1");
    gateway.signal("TERM");
    assert_eq!(heard(), "STOPPING=1");
    assert_eq!(gateway.wait_for_end().await, Some(0));
}
