//! Several servers: shared load, one that dies in the middle of a scan, none, and one that others use too.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::{FutureExt, StreamExt, stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::Notify;
use vestibule::clock::Clock;
use vestibule::domain::verdict::{Finding, Verdict};
use vestibule::worker::inspect::{Concurrency, InspectError, Inspector, ScannerConfig};

use super::{Upload, chunks_of, peer, ready, upload};
use crate::clamd::Clamd;
use crate::gateway::PATIENCE;

fn over(servers: &[&Clamd], concurrency: Concurrency) -> Inspector {
    let addresses = servers.iter().map(|clamd| clamd.address().parse().unwrap()).collect();
    let mut config = ScannerConfig { concurrency, ..ScannerConfig::on(addresses) };
    config.connect_timeout = Duration::from_secs(3);
    Inspector::new(config, Clock::system())
}

fn text() -> Upload {
    upload("a.txt", "text/plain", vec![b'a'; 3 << 20])
}

/// Inspects `text()`; the first server gets a third of it, then `happens` runs, then it gets the rest. How often the object
/// was opened, and the verdict.
async fn interrupted(inspector: &Inspector, happens: impl AsyncFnOnce()) -> (usize, Result<Verdict, InspectError>) {
    let (openings, reached, happened) = (AtomicUsize::new(0), Notify::new(), std::sync::Arc::new(Notify::new()));
    let reached = std::sync::Arc::new(reached);
    let upload = text();
    let bytes = Bytes::from(upload.bytes.clone());
    let open = || {
        if openings.fetch_add(1, Ordering::SeqCst) > 0 {
            return ready(chunks_of(bytes.clone()));
        }
        let (reached, happened) = (reached.clone(), happened.clone());
        let pause = async move {
            reached.notify_one();
            happened.notified().await;
            Ok(Bytes::new())
        };
        let (first, rest) = (bytes.slice(..1 << 20), bytes.slice(1 << 20..));
        ready(stream::iter([Ok(first)]).chain(pause.into_stream()).chain(chunks_of(rest)).boxed())
    };
    let event = async {
        reached.notified().await;
        happens().await;
        happened.notify_one();
    };
    let (verdict, ()) = tokio::join!(upload.inspect_opened(inspector, &open), event);
    (openings.load(Ordering::SeqCst), verdict)
}

#[tokio::test]
async fn a_scan_whose_server_is_killed_begins_again_on_another_and_the_dead_one_is_taken_back() {
    let (mut one, mut other) = (Clamd::start(4).await, Clamd::start(4).await);
    let inspector = over(&[&one, &other], Concurrency::Fixed(2));
    let (openings, verdict) = interrupted(&inspector, async || one.kill()).await;
    assert_eq!((openings, verdict.unwrap().finding), (2, Finding::Clean));
    assert_eq!(inspector.width(), Some(2), "the dead one is left out");
    let [dead, alive] = inspector.health().await.try_into().unwrap();
    assert!(!dead.reachable && alive.reachable && dead.server == one.address());
    assert_eq!(text().inspect(&inspector).await.unwrap().finding, Finding::Clean);

    one.start_again().await;
    inspector.health().await;
    assert_eq!(inspector.width(), Some(4));
    other.kill();
    let eicar = upload("eicar.txt", "text/plain", crate::harness::eicar());
    assert_eq!(eicar.inspect(&inspector).await.unwrap().finding.as_str(), "infected");
}

#[tokio::test]
async fn a_scan_on_a_frozen_server_moves_on_as_soon_as_the_probe_finds_out() {
    let (one, other) = (Clamd::start(4).await, Clamd::start(4).await);
    let inspector = over(&[&one, &other], Concurrency::Fixed(2));
    let started = Instant::now();
    let (openings, verdict) = interrupted(&inspector, async || {
        one.freeze();
        inspector.health().await;
    })
    .await;
    assert_eq!((openings, verdict.unwrap().finding), (2, Finding::Clean));
    assert!(
        started.elapsed() < Duration::from_secs(40),
        "the timeout of the scan is a minute: {:?}",
        started.elapsed()
    );
}

#[tokio::test]
async fn where_no_server_answers_the_error_says_so_and_whoever_comes_back_first_gets_the_work() {
    let (mut one, mut other) = (Clamd::start(2).await, Clamd::start(2).await);
    let inspector = over(&[&one, &other], Concurrency::Auto);
    one.kill();
    other.kill();
    for _ in 0..2 {
        let error = text().inspect(&inspector).await.unwrap_err();
        assert!(matches!(error, InspectError::ScannerAway(_)), "{error}");
        assert_eq!(inspector.width(), None);
    }
    other.start_again().await;
    assert_eq!(text().inspect(&inspector).await.unwrap().finding, Finding::Clean, "tried although it was away");
    inspector.health().await;
    assert_eq!(inspector.width(), Some(1), "one of two threads");
}

#[tokio::test]
async fn a_verdict_names_the_server_that_scanned() {
    let gone = peer::closing().await;
    let older = peer::calling_itself(b"ClamAV 1.3.0/27000/Fri Nov 21 09:00:00 2025\0").await;
    let clock = Clock::manual("2026-11-21T09:00:00Z".parse().unwrap());
    let inspector = Inspector::new(ScannerConfig::on(vec![gone, older]), clock);
    let verdict = text().inspect(&inspector).await.unwrap();
    assert_eq!((verdict.engine.as_str(), verdict.finding), ("ClamAV 1.3.0", Finding::Clean));
    assert!(verdict.signatures.starts_with("27000/"), "{}", verdict.signatures);
    let stale: Vec<_> = inspector.health().await.into_iter().map(|health| health.stale).collect();
    assert_eq!(stale, [Some(false), Some(true)]);
}

#[tokio::test]
async fn a_server_that_others_keep_busy_gets_less_and_then_more_again() {
    let clamd = Clamd::start(4).await;
    let inspector = over(&[&clamd], Concurrency::Auto);
    inspector.health().await;
    assert_eq!(inspector.width(), Some(3), "one thread stays free");

    let others = (0..12_u8).map(|seed| tokio::spawn(scan(clamd.socket(), seed)));
    let others = tokio::spawn(futures::future::join_all(others.collect::<Vec<_>>()));
    until("it shrinks", &inspector, |width| width < 3).await;
    for answer in others.await.unwrap() {
        assert_eq!(answer.unwrap(), b"stream: OK\0");
    }
    until("it grows again", &inspector, |width| width == 3).await;
    assert_eq!(text().inspect(&inspector).await.unwrap().finding, Finding::Clean);
}

async fn until(what: &str, inspector: &Inspector, holds: impl Fn(usize) -> bool) {
    let started = Instant::now();
    while !inspector.width().is_some_and(&holds) {
        assert!(started.elapsed() < PATIENCE, "not in time: {what}; {:?}", inspector.width());
        inspector.health().await;
    }
}

/// What another user of the same clamd does: 16 MiB that it has never seen.
async fn scan(socket: std::path::PathBuf, seed: u8) -> Vec<u8> {
    let mut line = UnixStream::connect(socket).await.unwrap();
    line.write_all(b"zINSTREAM\0").await.unwrap();
    let mut state = u64::from(seed) + 0x9e37_79b9_7f4a_7c15;
    for _ in 0..256 {
        let mut chunk = vec![0, 1, 0, 0];
        for _ in 0..8192 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            chunk.extend(state.to_le_bytes());
        }
        line.write_all(&chunk).await.unwrap();
    }
    line.write_all(&[0; 4]).await.unwrap();
    let mut answer = Vec::new();
    line.read_to_end(&mut answer).await.unwrap();
    answer
}
