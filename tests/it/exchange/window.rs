//! The key that signs tokens is rotated: what the one before has signed works for its window, and not longer.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::json;
use vestibule::clock::Clock;

use super::{Bench, part, photo, token};
use crate::gateway::PATIENCE;
use crate::http_errors::send;

#[tokio::test]
async fn what_a_signing_key_has_signed_ends_with_the_keys_window() {
    let bench = Bench::start().await;
    let exchanged = async || token(&bench.exchange(&bench.id_token(|_| ()), &[("audience", "where2eat")]).await);
    let kid = |token: &str| part(token, 0)["kid"].clone();
    let uploads = async |token: &str| bench.json("/request-upload", token, photo()).await.status;
    let published = async || {
        let keys = send(bench.gateway.http.get(format!("{}/.well-known/jwks.json", bench.gateway.public))).await.body;
        keys["keys"].as_array().unwrap().iter().map(|key| key["kid"].clone()).collect::<Vec<_>>()
    };
    let old = exchanged().await;
    let (status, rotated) =
        bench.gateway.admin_post("/admin/keys/token-signing/rotate", json!({ "window": "5s" })).await;
    assert_eq!((status, &rotated["previousKeyId"]), (201, &kid(&old)), "{rotated}");
    let until: Timestamp = rotated["previousAcceptedUntil"].as_str().unwrap().parse().unwrap();
    let new = exchanged().await;
    assert_ne!(kid(&new), kid(&old));
    assert_eq!((uploads(&old).await, uploads(&new).await), (201, 201), "both in the window");
    assert_eq!(published().await, [kid(&new), kid(&old)]);
    assert_eq!(bench.introspect(&new, &old).await.body["active"], true);

    let clock = Clock::system();
    let started = Instant::now();
    while uploads(&old).await != 401 {
        assert!(started.elapsed() < PATIENCE, "it outlives the window");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(clock.now() >= until, "not before the window has ended");
    assert_eq!(bench.introspect(&new, &old).await.body, json!({ "active": false }));
    assert_eq!(published().await, [kid(&new)]);
    assert_eq!(uploads(&new).await, 201);
}
