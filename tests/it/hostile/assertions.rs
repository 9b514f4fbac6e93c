//! Forged and misused assertions, proofs and tokens of people, through the real binary.

use std::collections::BTreeSet;

use futures::StreamExt;
use serde_json::{Value, json};

use super::ask;
use super::secrets::mutilated;
use crate::gateway::{Gateway, answer, edited_policies};
use crate::http_errors::assert_problem;
use crate::identity_provider::{Provider, RESOURCE, node, trusting};

/// Exchanges a subject token for one of this app: status and body.
async fn exchange(gateway: &Gateway, app: &str, subject: &str, kind: &str) -> (u16, Value) {
    let form = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("client_id", "analyst-page"),
        ("audience", app),
        ("subject_token", subject),
        ("subject_token_type", &format!("urn:ietf:params:oauth:token-type:{kind}")),
    ];
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    let request = gateway.http.post(format!("{}/oauth/token", gateway.public));
    answer(request.header("content-type", "application/x-www-form-urlencoded").body(body)).await
}

pub(super) async fn token(gateway: &Gateway, provider: &Provider) -> String {
    let id_token = provider.id_token("analyst", "analyst-page").await;
    let (status, body) = exchange(gateway, "where2eat", &id_token, "id_token").await;
    assert_eq!(status, 200, "{body}");
    body["access_token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_forged_or_misused_assertion_is_exchanged_for_nothing() {
    let provider = Provider::start();
    let gateway = trusting(&provider, edited_policies(&[])).await;
    let input =
        json!({ "issuer": provider.issuer, "client": "analyst-page", "other": "operators", "resource": RESOURCE });
    let forged = node("forge.mjs", input).await;
    // The same token, unharmed, is good: so each refusal is for what was done to it.
    for (token, kind) in [("good", "id_token"), ("goodAccess", "access_token")] {
        let (status, body) = exchange(&gateway, "where2eat", forged[token].as_str().unwrap(), kind).await;
        assert_eq!(status, 200, "{token}: {body}");
    }
    let hostile = forged["hostile"].as_array().unwrap();
    assert!(hostile.len() > 90);
    let mut accepted = Vec::new();
    for case in hostile {
        let (what, text, kind) = (&case[0], case[1].as_str().unwrap(), case[2].as_str().unwrap());
        let (status, body) = exchange(&gateway, "where2eat", text, kind).await;
        let refused = [400, 401, 413].contains(&status) && body["access_token"].is_null() && body["error"].is_string();
        if !refused && status != 413 {
            accepted.push(format!("{what}: {status} {body}"));
        }
        assert!(text.len() < 20 || !body.to_string().contains(text), "{what} is sent back: {body}");
        // Nor is it a token of its own.
        if text.bytes().all(|byte| byte.is_ascii_graphic()) && !text.is_empty() && text.len() < 4000 {
            assert_eq!(ask(&gateway, text).await.status, 401, "{what}");
        }
    }
    assert!(accepted.is_empty(), "{}\n{}", accepted.join("\n"), gateway.log());
    let log = gateway.log();
    let (_, page) = gateway.admin_get("/admin/audit?limit=1000").await;
    let good = forged["good"].as_str().unwrap();
    assert!(!log.contains(good) && !page.to_string().contains(good), "no assertion is kept");
}

#[tokio::test]
async fn an_id_token_opens_nothing_by_itself_and_a_token_of_one_app_nothing_of_another() {
    let provider = Provider::shared();
    let gateway = trusting(&provider, edited_policies(&[])).await;
    let id_token = provider.id_token("analyst", "analyst-page").await;
    assert_problem(&ask(&gateway, &id_token).await, 401, "token_invalid");
    let (status, body) = exchange(&gateway, "finance-invoices", &id_token, "id_token").await;
    assert!((400..=403).contains(&status) && body["access_token"].is_null(), "{status} {body}");

    let person = token(&gateway, &provider).await;
    let finance = gateway.create_token(json!({ "app": "finance-invoices", "workflow": "mail" })).await;
    let body = json!({ "filename": "a.pdf", "size": 3, "contentType": "application/pdf", "path": "invoices/2026/" });
    let (status, issued) = gateway.post_as(&finance, "/request-upload", body).await;
    assert_eq!(status, 201, "{issued}");
    let (status, body) = gateway.post_as(&person, "/request-download", json!({ "objectId": issued["objectId"] })).await;
    assert_eq!((status, body["code"].as_str()), (404, Some("object_not_found")), "{body}");
}

#[tokio::test]
async fn a_token_of_a_person_that_is_cut_or_changed_at_any_place_opens_nothing() {
    let provider = Provider::shared();
    let gateway = trusting(&provider, edited_policies(&[])).await;
    let token = token(&gateway, &provider).await;
    assert_eq!(token.split('.').count(), 3);
    assert_eq!(ask(&gateway, &token).await.status, 200);
    let hostile: BTreeSet<String> = mutilated(&token);
    assert!(hostile.len() > 1500, "{}", hostile.len());
    let refused = futures::stream::iter(hostile);
    let refused = refused.map(|text| async { (ask(&gateway, &text).await, text) }).buffer_unordered(8);
    refused.for_each(|(answer, text)| async move { assert_eq!(answer.status, 401, "{text}: {}", answer.body) }).await;
    assert_eq!(ask(&gateway, &token).await.status, 200);
}

#[tokio::test]
async fn a_proof_that_proves_nothing_opens_nothing_and_a_good_one_only_once() {
    let provider = Provider::shared();
    let gateway = trusting(&provider, edited_policies(&[])).await;
    let id_token = provider.id_token("analyst", "analyst-page").await;
    let input = json!({ "gateway": gateway.public, "client": "analyst-page", "app": "where2eat", "subject": id_token });
    let seen = node("proofs.mjs", input).await;
    assert_eq!((&seen["good"], &seen["after"]), (&json!(200), &json!(200)), "{seen}");
    assert_eq!(seen["replayed"], json!([401, "dpop_proof_invalid"]), "{seen}");
    let hostile = seen["hostile"].as_array().unwrap();
    assert!(hostile.len() > 40, "{seen}");
    for case in hostile {
        let token_endpoint = case[0].as_str().unwrap().starts_with("at the token endpoint");
        let refused = if token_endpoint { case[1] == 400 || case[1] == 401 } else { case[1] == 401 };
        assert!(refused, "{case}");
    }
}
