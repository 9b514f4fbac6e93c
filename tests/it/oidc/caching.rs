//! For how long an issuer's keys are used, and how often they are asked for.

use std::time::Duration;

use serde_json::json;
use vestibule::identity::oidc::{AssertionError, Flaw};

use super::provider::{Key, Provider};
use super::{Bench, flaw};
use crate::gateway::PATIENCE;

/// The seconds that a caller is told to wait where the keys are away.
async fn away(bench: &Bench, token: &str) -> u32 {
    match bench.verify(token).await {
        Err(AssertionError::Unavailable { issuer, retry_after }) => {
            assert_eq!(issuer.as_str(), "corp");
            retry_after
        }
        other => panic!("{other:?}"),
    }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[tokio::test]
async fn keys_are_read_once_for_all_and_again_when_their_time_is_over() {
    let bench = Bench::new(|_| ()).await;
    bench.provider.manners().delay = Duration::from_millis(100);
    let token = bench.id_token(|claims| claims["exp"] = json!(4_000_000_000_u32));
    let all = (0..20).map(|_| bench.verify(&token));
    assert!(futures::future::join_all(all).await.iter().all(Result::is_ok));
    assert_eq!(bench.provider.reads(), 1, "twenty at once ask once");
    bench.clock.advance(seconds(299));
    assert_eq!((bench.flaw(&token).await, bench.provider.reads()), (None, 1));
    bench.clock.advance(seconds(1));
    assert_eq!((bench.flaw(&token).await, bench.provider.reads()), (None, 2), "max-age=300 is over");
}

#[tokio::test]
async fn the_age_that_an_issuer_allows_has_bounds() {
    for (cache, kept) in [("no-store", 60), ("max-age=0", 60), ("max-age=1000000", 3600), ("private", 600)] {
        let bench = Bench::new(|_| ()).await;
        bench.provider.manners().cache = cache.into();
        let token = bench.id_token(|claims| claims["exp"] = json!(4_000_000_000_u32));
        bench.verify(&token).await.unwrap();
        bench.clock.advance(seconds(kept - 1));
        bench.verify(&token).await.unwrap();
        assert_eq!(bench.provider.reads(), 1, "{cache}");
        bench.clock.advance(seconds(1));
        bench.verify(&token).await.unwrap();
        assert_eq!(bench.provider.reads(), 2, "{cache}");
    }
}

#[tokio::test]
async fn a_new_key_is_learnt_and_an_old_one_forgotten() {
    let bench = Bench::new(|_| ()).await;
    assert_eq!(bench.flaw(&bench.id_token(|_| ())).await, None);
    let next = Key::es256("next");
    bench.provider.publish(&[&next, &bench.key]);
    bench.clock.advance(seconds(11));
    assert_eq!(bench.flaw(&next.sign(json!({}), &bench.id_claims())).await, None, "learnt at once");
    assert_eq!(bench.flaw(&bench.id_token(|_| ())).await, None);
    bench.provider.publish(&[&next]);
    bench.clock.advance(seconds(301));
    assert_eq!(bench.flaw(&bench.id_token(|_| ())).await, Some(Flaw::Key), "withdrawn");
}

#[tokio::test]
async fn unknown_keys_make_the_gateway_ask_once_in_ten_seconds_for_all_callers_together() {
    let bench = Bench::new(|_| ()).await;
    bench.verify(&bench.id_token(|_| ())).await.unwrap();
    let forger = Key::es256("forged");
    for round in 1..=3 {
        bench.clock.advance(seconds(10));
        for _ in 0..5 {
            let tokens: Vec<_> =
                (0..10).map(|n| forger.sign(json!({ "kid": format!("k{n}") }), &bench.id_claims())).collect();
            for result in futures::future::join_all(tokens.iter().map(|token| bench.verify(token))).await {
                assert_eq!(flaw(result), Some(Flaw::Key));
            }
            bench.clock.advance(seconds(1));
        }
        assert_eq!(bench.provider.reads(), 1 + round);
    }
}

#[tokio::test]
async fn known_keys_are_used_while_the_issuer_is_away_and_not_beyond_the_bound() {
    let bench = Bench::new(|config| config["keys_stale_for"] = json!("2h")).await;
    let token = bench.id_token(|claims| claims["exp"] = json!(4_000_000_000_u32));
    bench.verify(&token).await.unwrap();
    bench.provider.manners().status = 503;
    bench.clock.advance(seconds(3600));
    bench.verify(&token).await.unwrap();
    bench.clock.advance(seconds(3600));
    bench.verify(&token).await.unwrap();
    bench.clock.advance(seconds(1));
    assert!((1..=61).contains(&away(&bench, &token).await));
    // It comes back, and so do we, without a restart.
    bench.provider.manners().status = 200;
    bench.clock.advance(seconds(61));
    assert_eq!(bench.flaw(&token).await, None);
}

#[tokio::test]
async fn nobody_waits_for_an_issuer_that_is_known_to_be_away() {
    let bench = Bench::new(|_| ()).await;
    let token = bench.id_token(|claims| claims["exp"] = json!(4_000_000_000_u32));
    bench.verify(&token).await.unwrap();
    bench.provider.manners().status = 500;
    bench.clock.advance(seconds(301));
    bench.verify(&token).await.unwrap();
    assert_eq!(bench.provider.reads(), 2);
    // From now on it hangs.
    bench.provider.manners().delay = PATIENCE;
    bench.clock.advance(seconds(61));
    let begun = std::time::Instant::now();
    bench.verify(&token).await.unwrap();
    assert!(begun.elapsed() < seconds(1), "{:?}", begun.elapsed());
    while bench.provider.reads() < 3 {
        assert!(begun.elapsed() < PATIENCE, "nobody looks whether it is back");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn known_keys_are_used_while_the_first_read_that_fails_hangs_and_one_reads_for_all() {
    let bench = Bench::new(|_| ()).await;
    let token = bench.id_token(|claims| claims["exp"] = json!(4_000_000_000_u32));
    bench.verify(&token).await.unwrap();
    bench.provider.manners().delay = PATIENCE;
    bench.clock.advance(seconds(301));
    for _ in 0..3 {
        let all = (0..20).map(|_| bench.verify(&token));
        assert!(futures::future::join_all(all).await.iter().all(Result::is_ok));
    }
    // Nobody has found out yet that it does not answer: the read is under way still.
    assert!(bench.issuers.answers().iter().all(|(_, answers)| answers.is_ok()));
    assert_eq!(bench.provider.reads(), 2);
    // And it is not forgotten that the keys are old.
    bench.provider.manners().delay = Duration::ZERO;
    let begun = std::time::Instant::now();
    while bench.provider.reads() < 3 {
        assert!(begun.elapsed() < PATIENCE, "nobody reads again");
        bench.clock.advance(seconds(1));
        bench.verify(&token).await.unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn failures_are_followed_by_longer_and_longer_pauses() {
    let bench = Bench::new(|_| ()).await;
    let token = bench.id_token(|claims| claims["exp"] = json!(4_000_000_000_u32));
    bench.provider.manners().status = 500;
    let mut waits = Vec::new();
    for tries in 1..=10 {
        waits.push(away(&bench, &token).await);
        assert_eq!(bench.provider.reads(), tries);
        away(&bench, &token).await;
        assert_eq!(bench.provider.reads(), tries, "not asked again before the pause is over");
        bench.clock.advance(seconds(u64::from(*waits.last().unwrap())));
    }
    assert!(waits[0] <= 2 && waits[9] > 30 && waits.iter().all(|wait| *wait <= 61), "{waits:?}");
    bench.provider.manners().status = 200;
    assert_eq!(bench.flaw(&token).await, None);
}

#[tokio::test]
async fn a_caller_who_goes_away_takes_no_read_with_him() {
    let bench = Bench::new(|_| ()).await;
    bench.provider.manners().delay = Duration::from_millis(300);
    let token = bench.id_token(|_| ());
    let impatient = tokio::time::timeout(Duration::from_millis(100), bench.verify(&token)).await;
    assert!(impatient.is_err());
    assert_eq!(bench.flaw(&token).await, None);
    assert_eq!(bench.provider.reads(), 1);
}

#[tokio::test]
async fn what_is_no_key_set_is_believed_in_nothing() {
    let other = Key::es256("elliptic");
    let elsewhere = Provider::start(&[&other]).await;
    for (name, spoil) in [
        ("status", json!({ "status": 404 })),
        ("text", json!({ "jwks": "<html>" })),
        ("large", json!({ "jwks": format!("{{\"keys\":[],\"x\":\"{}\"}}", "x".repeat(300 * 1024)) })),
        ("redirect", json!({ "status": 302, "location": format!("{}/jwks", elsewhere.issuer) })),
        ("other issuer", json!({ "metadata": { "issuer": elsewhere.issuer, "jwks_uri": "@jwks" } })),
        ("issuer with a slash", json!({ "metadata": { "issuer": "@/", "jwks_uri": "@jwks" } })),
        ("plain http", json!({ "metadata": { "issuer": "@", "jwks_uri": "http://192.0.2.1/jwks" } })),
        ("a file", json!({ "metadata": { "issuer": "@", "jwks_uri": "file:///etc/passwd" } })),
        ("no keys named", json!({ "metadata": { "issuer": "@" } })),
    ] {
        let bench = Bench::new(|_| ()).await;
        {
            let mut manners = bench.provider.manners();
            let own = |text: &str| text.replace('@', &format!("{}/", bench.provider.issuer)).replace("//jwks", "/jwks");
            if let Some(status) = spoil["status"].as_u64() {
                manners.status = u16::try_from(status).unwrap();
            }
            if let Some(jwks) = spoil["jwks"].as_str() {
                manners.jwks = jwks.into();
            }
            manners.location = spoil["location"].as_str().map(str::to_owned);
            if let Some(metadata) = spoil["metadata"].as_object() {
                manners.metadata = json!({});
                for (member, value) in metadata {
                    let text = value.as_str().unwrap();
                    let text = if text == "@" { bench.provider.issuer.clone() } else { own(text) };
                    manners.metadata[member] = json!(text);
                }
            }
        }
        let mine = other.sign(json!({}), &bench.id_claims());
        assert!(away(&bench, &mine).await > 0, "{name}");
    }
    assert_eq!(elsewhere.reads(), 0, "no redirect to another host was followed");
}

#[tokio::test]
async fn an_issuer_that_publishes_no_key_any_more_is_believed_nothing() {
    let bench = Bench::new(|_| ()).await;
    bench.verify(&bench.id_token(|_| ())).await.unwrap();
    bench.provider.publish(&[]);
    bench.clock.advance(seconds(301));
    assert_eq!(bench.flaw(&bench.id_token(|_| ())).await, Some(Flaw::Key));
}

#[tokio::test]
async fn keys_may_be_named_without_discovery_and_what_is_wrong_is_told() {
    let key = Key::es256("elliptic");
    let provider = Provider::start(&[&key]).await;
    provider.manners().metadata = json!({});
    let uri = format!("{}/jwks", provider.issuer);
    let bench = Bench::new(|config| config["jwks_uri"] = json!(uri)).await;
    assert_eq!(bench.flaw(&key.sign(json!({}), &bench.id_claims())).await, None);

    let found = Bench::new(|config| config["algorithms"] = json!(["ES256", "RS256"])).await.issuers.check().await;
    let (name, findings) = &found[0];
    let good: Vec<_> = findings.iter().map(|finding| (finding.name, finding.good)).collect();
    assert_eq!(name.as_str(), "corp");
    assert_eq!(good, [("keys", Some(true)), ("ES256", Some(true)), ("RS256", Some(false))]);
}
