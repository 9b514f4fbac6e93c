//! Whoever asks too much, too often or in a loop: it costs the gateway little, and others nothing.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{ACCESS_TOKEN, Bench, refused, text, token};
use crate::gateway::{PATIENCE, edited_policies};
use crate::http_errors::send;
use crate::possession::Client;

#[tokio::test]
async fn a_token_has_no_more_scopes_than_it_can_carry() {
    let bench = Bench::start().await;
    let scopes = ["storage:images:where2eat:*"];
    let own = bench.gateway.create_token(json!({ "app": "where2eat", "workflow": "nightly", "scopes": scopes })).await;
    for subject in [own.clone(), bench.id_token(|_| ())] {
        let ask = async |actions: Vec<&str>| {
            bench.json("/exchange", &subject, json!({ "resource": "bucket:images", "actions": actions })).await
        };
        for actions in [vec!["read"; 5], vec!["read"; 4000]] {
            let refused = ask(actions).await;
            assert_eq!((refused.status, refused.body["code"].as_str()), (400, Some("invalid_field")));
        }
        let twice = ask(vec!["read", "list", "read"]).await;
        assert_eq!(text(&twice, "scope").split(' ').count(), 2, "{}", twice.body);
    }

    let narrow = async |list: &str| bench.exchange_as(&own, ACCESS_TOKEN, &[("scope", list)]).await;
    let list = |count: usize, length: usize| {
        let name = "a".repeat(length);
        let one = |at: usize| format!("storage:images:where2eat:read:prefix=/{at}{name}/");
        (0..count).map(one).collect::<Vec<_>>().join(" ")
    };
    let many = narrow(&list(51, 1)).await;
    refused(&many, 400, "invalid_scope", "scope_not_granted");
    assert!(text(&many, "detail").contains("at most 50 scopes"), "{}", many.body);
    // A token that nobody would take back is not made.
    let long = narrow(&list(50, 150)).await;
    refused(&long, 400, "invalid_scope", "scope_not_granted");
    assert_eq!(long.body["limit"], 8192, "{}", long.body);
    let most = token(&narrow(&list(50, 50)).await);
    assert!(most.len() <= 8192, "{}", most.len());
    assert_eq!(bench.introspect(&own, &most).await.body["active"], true, "what is made is accepted");
}

/// Entries about refusals for this reason: those with a row of their own, and how many others stand behind the rest.
async fn recorded(bench: &Bench, reason: &str) -> (usize, u64) {
    let (_, page) = bench.gateway.admin_get("/admin/audit?limit=1000").await;
    let details = page["entries"].as_array().unwrap().iter().filter(|entry| entry["reason"] == reason);
    let mut found = (0, 0);
    for detail in details.map(|entry| entry["detail"].as_str().unwrap_or_default()) {
        match detail.split_once(" more refusals like this") {
            Some((count, _)) => found.1 += count.parse::<u64>().unwrap(),
            None => found.0 += 1,
        }
    }
    found
}

#[tokio::test]
async fn refusals_that_no_limit_counts_are_recorded_together() {
    let bench = Bench::start().await;
    // Somebody has a good id_token of the company, and no app that gives tokens for it.
    let stranger = bench.id_token(|claims| claims["aud"] = "stranger".into());
    let all = (0..200).map(|_| bench.exchange(&stranger, &[]));
    for answer in futures::future::join_all(all).await {
        refused(&answer, 400, "invalid_target", "exchange_target_invalid");
    }
    let begun = Instant::now();
    loop {
        let (own, folded) = recorded(&bench, "exchange_target_invalid").await;
        if own as u64 + folded == 200 {
            assert!((1..200).contains(&own), "{own} rows");
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "{own} and {folded}: every refusal is counted");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }

    // Somebody has copied a bound token and not its key: a row for each minute, whatever the way.
    let bound = Client::new().token(&bench.gateway).await;
    for _ in 0..20 {
        assert_eq!(bench.gateway.post_as(&bound, "/request-upload", super::photo()).await.0, 401);
        assert_eq!(bench.json("/exchange", &bound, json!({ "actions": ["read"] })).await.status, 401);
    }
    let (own, _) = recorded(&bench, "dpop_proof_invalid").await;
    assert!((2..=10).contains(&own), "{own} rows for forty refusals, one for each act and minute");

    // A workflow that asks for another app's tokens is counted against its limits.
    let elsewhere = bench.exchange_as(&bench.gateway.token, ACCESS_TOKEN, &[("audience", "finance-invoices")]).await;
    refused(&elsewhere, 400, "invalid_target", "exchange_target_invalid");
    assert!(elsewhere.headers.contains_key("ratelimit"), "{:?}", elsewhere.headers);
}

#[tokio::test]
async fn one_persons_loop_stops_no_other_person_of_the_page() {
    let dir = edited_policies(&[]);
    let limits = "same_request_per_minute = 3\n[workflow]\nsecond = 1_000\n";
    std::fs::write(dir.path().join("policies/limits.toml"), limits).unwrap();
    let bench = Bench::start_in(dir, &[]).await;
    let page =
        async |user: &str| token(&bench.exchange(&bench.id_token(|claims| claims["sub"] = user.into()), &[]).await);
    let (one, other) = (page("u-1").await, page("u-2").await);
    let narrow = async |own: &str| -> Value {
        bench.json("/exchange", own, json!({ "actions": ["read"] })).await.body["code"].clone()
    };
    let mut told = Vec::new();
    for _ in 0..8 {
        told.push(narrow(&one).await);
    }
    // Aligned minutes: three in the running one, and three in the next where it began meanwhile.
    assert!(told.iter().any(|code| code == "request_repeated"), "{told:?}");
    assert_eq!(narrow(&other).await, Value::Null, "the same words of somebody else are no loop");
    let answer = send(bench.gateway.http.get(format!("{}/limits", bench.gateway.public)).bearer_auth(&other)).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
}
