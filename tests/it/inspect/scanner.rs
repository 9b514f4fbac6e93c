//! The scanner's side of inspection: absent, hung, garbled, at its limit, over both transports, and its settings.

use std::time::Duration;

use vestibule::clock::Clock;
use vestibule::domain::bytes::Sha256Digest;
use vestibule::domain::verdict::Finding;
use vestibule::storage::CheckStatus;
use vestibule::worker::inspect::{Concurrency, InspectError, Inspector, ScannerAddress};

use super::{config, inspector, peer, upload};
use crate::harness::{eicar, env};

#[tokio::test]
async fn a_scanner_that_is_away_or_hangs_is_an_error_to_retry() {
    let txt = upload("a.txt", "text/plain", "hello");
    let away = Inspector::new(config(peer::closed().await), Clock::system());
    let error = txt.inspect(&away).await.unwrap_err();
    assert!(matches!(error, InspectError::ScannerAway(_)) && error.is_transient() && error.is_scanner(), "{error}");
    let [health] = away.health().await.try_into().unwrap();
    assert!(!health.reachable && health.detail.is_some());

    let mut hung = config(peer::answering(b"").await);
    (hung.timeout, hung.timeout_per_mib) = (Duration::from_millis(300), Duration::ZERO);
    let error = txt.inspect(&Inspector::new(hung, Clock::system())).await.unwrap_err();
    assert!(matches!(error, InspectError::ScannerTimeout(_)) && error.is_transient(), "{error}");
}

#[tokio::test]
async fn garbled_replies_are_never_clean() {
    for reply in [
        &b"stream: OK trailing\0"[..],
        b"stream: OK",
        b"OK\0",
        b"stream: NOT OK\0",
        b"stream: OK\0stream: Win.Test FOUND\0",
        b"UNKNOWN COMMAND\0",
        b"stream: Can't open file or directory ERROR\0",
    ] {
        let inspector = Inspector::new(config(peer::answering(reply).await), Clock::system());
        let error = upload("a.txt", "text/plain", "hello").inspect(&inspector).await.unwrap_err();
        assert!(matches!(error, InspectError::UnclearReply(_)) && error.is_transient(), "{reply:?}: {error}");
    }
    let closing = Inspector::new(config(peer::closing().await), Clock::system());
    let error = upload("a.txt", "text/plain", "hello").inspect(&closing).await.unwrap_err();
    assert!(matches!(error, InspectError::ScannerLost(_)), "{error}");
    let endless = Inspector::new(config(peer::answering(&[b'x'; 100_000]).await), Clock::system());
    let error = upload("a.txt", "text/plain", "hello").inspect(&endless).await.unwrap_err();
    assert!(matches!(error, InspectError::UnclearReply(_)), "{error}");
}

#[tokio::test]
async fn a_scanner_that_stops_at_its_limit_is_heard_although_writes_fail() {
    let limited = peer::stopping_after(100_000, b"INSTREAM size limit exceeded. ERROR\0").await;
    let inspector = Inspector::new(config(limited), Clock::system());
    let large = upload("a.txt", "text/plain", vec![b'a'; 8 << 20]);
    let verdict = large.inspect(&inspector).await.unwrap();
    assert_eq!(verdict.finding.as_str(), "cannotBeJudged");
    assert_eq!(verdict.sha256, Sha256Digest::of(&large.bytes));
}

#[tokio::test]
async fn tcp_and_unix_sockets_give_the_same_answers() {
    let tcp = ScannerAddress::Tcp(env("VESTIBULE_TEST_CLAMD_TCP"));
    let inspector = Inspector::new(config(tcp), Clock::system());
    let [health] = inspector.health().await.try_into().unwrap();
    assert!(health.reachable && health.engine.is_some_and(|engine| engine.starts_with("ClamAV")));
    let found = upload("eicar.txt", "text/plain", eicar()).inspect(&inspector).await.unwrap().finding;
    assert_eq!(found.as_str(), "infected");
    assert_eq!(upload("a.txt", "text/plain", "x").inspect(&inspector).await.unwrap().finding, Finding::Clean);
}

#[tokio::test]
async fn the_scanners_settings_are_tried() {
    let [(server, items)] = inspector().check().await.try_into().unwrap();
    assert_eq!(server, super::socket().to_string());
    for item in items {
        let dated = item.name != "signatures";
        assert!(item.status == CheckStatus::Good || !dated, "{item:?}");
    }
}

#[tokio::test]
async fn no_more_inspections_run_than_there_are_slots() {
    let mut one = config(peer::answering(b"").await);
    (one.concurrency, one.timeout, one.timeout_per_mib) =
        (Concurrency::Fixed(1), Duration::from_millis(200), Duration::ZERO);
    let inspector = Inspector::new(one, Clock::system());
    let txt = upload("a.txt", "text/plain", "hello");
    let started = tokio::time::Instant::now();
    let (a, b) = tokio::join!(txt.inspect(&inspector), txt.inspect(&inspector));
    assert!(a.is_err() && b.is_err());
    assert!(started.elapsed() >= Duration::from_millis(400), "one waited for the other");
}
