//! The certified provider without its keys, and what it signs for nobody.

use std::time::{Duration, Instant};

use reqwest::RequestBuilder;
use serde_json::json;

use super::{Provider, RESOURCE, trusting};
use crate::gateway::{Gateway, PATIENCE, edited_policies};
use crate::http_errors::{Answer, send};

fn exchange(gateway: &Gateway, subject: &str) -> RequestBuilder {
    let request = gateway.http.post(format!("{}/exchange", gateway.public)).bearer_auth(subject);
    request.json(&json!({ "audience": "where2eat" }))
}

fn told(answer: &Answer) -> (u16, &str) {
    (answer.status, answer.body["code"].as_str().unwrap_or_default())
}

#[tokio::test]
async fn while_its_keys_are_away_nobody_is_believed_and_told_when_to_come_back() {
    let provider = Provider::start();
    provider.keys_away(true).await;
    let gateway = trusting(&provider, edited_policies(&[])).await;
    let subject = provider.id_token("analyst", "analyst-page").await;
    for _ in 0..5 {
        let away = send(exchange(&gateway, &subject)).await;
        assert_eq!(told(&away), (503, "identity_provider_unavailable"), "{}", away.body);
        let wait: u64 = away.headers["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((1..=60).contains(&wait), "{wait}");
        assert!(!away.body.to_string().contains(&subject));
    }
    assert!(provider.keys_reads().await >= 1);

    provider.keys_away(false).await;
    let started = Instant::now();
    loop {
        let answer = send(exchange(&gateway, &subject)).await;
        if answer.status == 200 {
            break;
        }
        assert_eq!(told(&answer), (503, "identity_provider_unavailable"), "{}", answer.body);
        assert!(started.elapsed() < PATIENCE, "it is back, and nobody notices\n{}", gateway.log());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    // What was read is used while they are away again.
    let reads = provider.keys_reads().await;
    provider.keys_away(true).await;
    assert_eq!(send(exchange(&gateway, &subject)).await.status, 200);
    assert_eq!(provider.keys_reads().await, reads);
}

#[tokio::test]
async fn a_clients_own_token_speaks_for_no_person_and_is_exchanged_for_nothing() {
    let provider = Provider::shared();
    let gateway = trusting(&provider, edited_policies(&[])).await;
    let own = provider.clients_own_token(RESOURCE).await;
    assert_eq!(super::header(&own)["typ"], "at+jwt");
    let refused = send(exchange(&gateway, &own)).await;
    assert_eq!(told(&refused), (401, "assertion_invalid"), "{}", refused.body);
    assert!(refused.body["detail"].as_str().unwrap().contains("for no person"), "{}", refused.body);
    // The same client's token for a person who has logged in is taken.
    let tokens = provider.login("analyst", "platform", Some(RESOURCE)).await;
    let taken = send(exchange(&gateway, tokens["access_token"].as_str().unwrap())).await;
    assert_eq!(taken.status, 200, "{}", taken.body);
}
