//! Clients that send slowly, never stop, never read, or say nothing at all: each is bounded, and the others are served.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;

use super::line::{Line, authority, get, upload};
use crate::gateway::Gateway;

const SECOND: Duration = Duration::from_secs(1);

/// Resident memory of a process, in MiB.
fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() / 1024
}

/// A request is answered, within a time that a waiting person accepts.
async fn serves_others(gateway: &Gateway) {
    let began = Instant::now();
    let answer = Line::to(&gateway.public).await.unwrap().ask(&upload(&gateway.token)).await.unwrap();
    assert_eq!(answer.status, 201, "{answer:?}");
    assert!(began.elapsed() < 5 * SECOND, "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_sends_a_byte_a_second_is_cut_off_whatever_it_is_a_byte_of() {
    let gateway = Gateway::start().await;
    let url = gateway.public.as_str();
    let line = || async { Line::to(url).await.unwrap() };
    let begun = |text: &'static str| async move {
        let mut line = Line::to(url).await.unwrap();
        line.0.write_all(text.as_bytes()).await.unwrap();
        line
    };
    let kept = || async {
        let mut line = line().await;
        assert_eq!(line.ask(&get("/healthz")).await.unwrap().status, 200);
        line
    };
    let length =
        "POST /request-upload HTTP/1.1\r\nHost: g\r\nContent-Type: application/json\r\nContent-Length: 60000\r\n\r\n";
    let chunks = "POST /nowhere HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\n\r\n";
    let (silent, head, later_head, blank, body, endless) = tokio::join!(
        async { line().await.trickle(b"", SECOND).await },
        async { begun("GET /healthz HTTP/1.1\r\nX-A: ").await.trickle(b"a", SECOND).await },
        async { kept().await.trickle(b"G", SECOND).await },
        async { kept().await.trickle(b"\r\n", SECOND).await },
        async { begun(length).await.trickle(b" ", SECOND).await },
        async { begun(chunks).await.trickle(b"1\r\nx\r\n", SECOND).await },
    );
    for (what, (took, said), most, status) in [
        ("nothing", silent, 15, "408"),
        ("a head", head, 15, "408"),
        ("a later head", later_head, 35, ""),
        ("blank lines", blank, 80, ""),
        ("a body", body, 20, "40"),
        ("a body that nobody wants", endless, 35, "404"),
    ] {
        assert!(took < Duration::from_secs(most) && said.contains(status), "{what}: {took:?} {said}");
    }
    serves_others(&gateway).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_never_reads_is_cut_off_and_costs_little_memory() {
    let gateway = Gateway::start().await;
    let before = resident(gateway.pid());
    let mut clients = tokio::task::JoinSet::new();
    for at in 0..40 {
        let address = authority(&gateway.public).parse().unwrap();
        let request = match at % 2 {
            0 => get("/openapi.json").replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n"),
            _ => get("/openapi.json").repeat(200),
        };
        clients.spawn(async move {
            let socket = TcpSocket::new_v4().unwrap();
            socket.set_recv_buffer_size(4096).unwrap();
            let mut line = socket.connect(address).await.unwrap();
            let began = Instant::now();
            // Until the gateway has ended it, which only a write shows to somebody who does not read.
            while line.write_all(request.as_bytes()).await.is_ok() && line.write_all(b"\r\n").await.is_ok() {
                assert!(began.elapsed() < 90 * SECOND, "the connection is held for ever");
                tokio::time::sleep(SECOND).await;
            }
        });
    }
    let mut most = before;
    while !clients.is_empty() {
        if let Ok(Some(ended)) = tokio::time::timeout(SECOND, clients.join_next()).await {
            ended.unwrap();
        }
        most = most.max(resident(gateway.pid()));
        serves_others(&gateway).await;
    }
    assert!(most < before + 96, "{before} MiB before, {most} MiB at most");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_idle_connections_leave_the_gateway_to_others_and_end() {
    const MANY: usize = 10_000;
    let gateway = Gateway::start().await;
    let before = resident(gateway.pid());
    let mut lines = Vec::with_capacity(MANY);
    for at in 0..MANY {
        lines.push(Line::to(&gateway.public).await.unwrap_or_else(|error| panic!("connection {at}: {error}")));
    }
    serves_others(&gateway).await;
    let after = resident(gateway.pid());
    println!("{MANY} idle connections: {before} MiB before, {after} MiB with them");
    assert!(after < before + 200, "{before} MiB before, {after} MiB with {MANY} idle connections");
    let began = Instant::now();
    for mut line in lines {
        let mut said = Vec::new();
        let ended = tokio::time::timeout(40 * SECOND, line.0.read_to_end(&mut said)).await;
        assert!(ended.is_ok(), "an idle connection is held after {:?}", began.elapsed());
    }
    serves_others(&gateway).await;
}

#[tokio::test]
async fn beyond_its_connections_a_listener_lets_others_wait_until_some_have_ended() {
    let gateway = Gateway::start_with(&[("VESTIBULE__PUBLIC__MAX_CONNECTIONS", "20")]).await;
    let mut silent = Vec::new();
    for _ in 0..60 {
        silent.push(Line::to(&gateway.public).await.unwrap());
    }
    // The admin listener has connections of its own.
    assert_eq!(Line::to(&gateway.admin).await.unwrap().ask(&get("/healthz")).await.unwrap().status, 200);
    let mut late = Line::to(&gateway.public).await.unwrap();
    let answer = tokio::time::timeout(60 * SECOND, late.ask(&upload(&gateway.token))).await;
    assert_eq!(answer.expect("it waits for ever").unwrap().status, 201);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beyond_its_requests_a_node_refuses_and_still_tells_how_it_is() {
    let gateway = Gateway::start_with(&[("VESTIBULE__PUBLIC__MAX_REQUESTS", "10")]).await;
    // Of twelve whose bodies never end ten take all places.
    let request = upload(&gateway.token);
    let (begun, _) = request.split_at(request.len() - 5);
    let asked = futures::future::join_all((0..12).map(|_| async {
        let mut line = Line::to(&gateway.public).await.unwrap();
        let answer = tokio::time::timeout(2 * SECOND, line.ask(begun)).await.ok();
        (line, answer.map(|answer| answer.unwrap().status))
    }));
    let (refused, holding): (Vec<_>, Vec<_>) = asked.await.into_iter().partition(|(_, answer)| answer.is_some());
    assert!(holding.len() == 10 && refused.iter().all(|(_, answer)| *answer == Some(503)), "{}", holding.len());
    let began = Instant::now();
    let answer = Line::to(&gateway.public).await.unwrap().ask(&request).await.unwrap();
    let refused = answer.json();
    assert_eq!((&refused["code"], &refused["retryAfter"]), (&"overloaded".into(), &1.into()), "{refused}");
    for path in ["/healthz", "/readyz"] {
        assert_eq!(Line::to(&gateway.public).await.unwrap().ask(&get(path)).await.unwrap().status, 200);
    }
    // Their places are free again once they end.
    drop(holding);
    loop {
        let answer = Line::to(&gateway.public).await.unwrap().ask(&request).await.unwrap();
        if answer.status == 201 {
            break;
        }
        assert!(began.elapsed() < 30 * SECOND, "{answer:?}");
    }
}
