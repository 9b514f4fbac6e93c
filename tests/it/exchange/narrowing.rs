//! Tokens that workflows derive from their own, what is known of tokens, and tokens that are given back.

use serde_json::json;

use super::{ACCESS_TOKEN, Bench, part, photo, refused, text, token};
use crate::http_errors::send;
use crate::possession::Client;

/// Another text that ends otherwise.
fn changed(token: &str) -> String {
    let (head, last) = token.split_at(token.len() - 1);
    format!("{head}{}", if last == "A" { "Q" } else { "A" })
}

#[tokio::test]
async fn a_workflow_narrows_its_token_and_the_child_dies_with_it() {
    let bench = Bench::start().await;
    let parent = bench
        .gateway
        .create_token(json!({ "app": "where2eat", "workflow": "nightly", "scopes": ["storage:images:where2eat:*:prefix=/uploads/"],
            "subject": { "user": "anna" } }))
        .await;
    let narrow = async |subject: &str, scope: &str| bench.exchange_as(subject, ACCESS_TOKEN, &[("scope", scope)]).await;
    let first = narrow(&parent, "storage:images:where2eat:write:prefix=/uploads/a/").await;
    let child = token(&first);
    assert_eq!(text(&first, "scope"), "storage:images:where2eat:write:prefix=/uploads/a/");
    assert_eq!(first.body["expires_in"], 600, "the manifest's");
    assert_eq!((&part(&child, 1)["sub"], &part(&child, 1)["client_id"]), (&json!("anna"), &json!("where2eat/nightly")));
    let grandchild = token(&narrow(&child, "storage:images:where2eat:write:prefix=/uploads/a/b/").await);
    for (subject, scope) in [
        (&parent, "storage:images:where2eat:read"),
        (&child, "storage:images:where2eat:write:prefix=/uploads/"),
        (&child, "storage:images:where2eat:write:prefix=/uploads/ab/"),
        (&child, "storage:images:where2eat:*:prefix=/uploads/a/"),
        (&child, "storage:*:where2eat:write:prefix=/uploads/a/"),
        (&grandchild, "storage:images:where2eat:write:prefix=/uploads/a/"),
    ] {
        refused(&narrow(subject, scope).await, 400, "invalid_scope", "scope_not_granted");
    }
    let foreign = narrow(&parent, "storage:invoices:finance-invoices:read").await;
    refused(&foreign, 400, "invalid_target", "exchange_target_invalid");
    let mut here = photo();
    here["path"] = "uploads/a/b/".into();
    assert_eq!(bench.gateway.post_as(&grandchild, "/request-upload", here.clone()).await.0, 201);
    assert_eq!(bench.gateway.post_as(&grandchild, "/request-upload", photo()).await.0, 403);
    let entry = bench.audited("exchangeToken").await;
    assert_eq!((&entry["workflow"], &entry["user"]), (&json!("nightly"), &json!("anna")));

    assert_eq!(bench.give_back(&parent).await, 200);
    let started = std::time::Instant::now();
    for dead in [&parent, &child, &grandchild] {
        while bench.gateway.post_as(dead, "/request-upload", here.clone()).await.0 != 401 {
            assert!(started.elapsed().as_millis() < 1500, "it outlives its parent");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        assert_eq!(narrow(dead, "storage:images:where2eat:write:prefix=/uploads/a/b/").await.status, 400);
    }
}

#[tokio::test]
async fn a_bound_token_is_narrowed_by_whoever_holds_its_key_alone() {
    let bench = Bench::start().await;
    let (own, thief) = (Client::new(), Client::new());
    let bound = own.token(&bench.gateway).await;
    let body = json!({ "actions": ["read"], "ttl": 60 });
    let child = own.send(&bench.gateway, &bound, "POST", "/exchange", body.clone()).await;
    assert_eq!((child.status, text(&child, "token_type")), (200, "DPoP".to_owned()), "{}", child.body);
    assert_eq!(thief.send(&bench.gateway, &bound, "POST", "/exchange", body.clone()).await.status, 401);
    assert_eq!(bench.json("/exchange", &bound, body.clone()).await.status, 401);
    // An unbound one may be bound on the way down.
    let tied = own.send(&bench.gateway, &bench.gateway.token, "POST", "/exchange", body).await;
    assert_eq!(text(&tied, "binding"), format!("jkt:{}", own.jkt()));
}

#[tokio::test]
async fn a_workflow_knows_the_tokens_of_its_app_and_no_others() {
    let bench = Bench::start().await;
    let answer = bench.exchange(&bench.id_token(|_| ()), &[]).await;
    let own = token(&answer);
    let about = bench.introspect(&bench.gateway.token, &own).await;
    assert_eq!(about.body["active"], true, "{}", about.body);
    assert_eq!((&about.body["sub"], &about.body["client_id"]), (&json!("anna"), &json!("where2eat/page")));
    assert_eq!((&about.body["scope"], &about.body["jti"]), (&answer.body["scope"], &answer.body["token_id"]));
    assert_eq!((&about.body["exp"], &about.body["token_type"]), (&part(&own, 1)["exp"], &json!("Bearer")));
    assert_eq!(about.headers["cache-control"], "no-store");

    // As a client whose secret is the token.
    let id = bench.gateway.token.split('_').nth(2).unwrap();
    let basic = |name: &str, secret: &str| bench.form("/introspect", &[("token", &own)]).basic_auth(name, Some(secret));
    assert_eq!(send(basic(id, &bench.gateway.token)).await.body["active"], true);
    for (name, secret) in [("AAAAAAAAAAAAAAAA", bench.gateway.token.as_str()), (id, "x"), ("", "")] {
        refused(&send(basic(name, secret)).await, 401, "invalid_client", "token_invalid");
    }
    refused(&send(bench.form("/introspect", &[("token", &own)])).await, 401, "invalid_client", "token_missing");

    let inactive = json!({ "active": false });
    let finance = bench.gateway.create_token(json!({ "app": "finance-invoices", "workflow": "mail" })).await;
    assert_eq!(bench.introspect(&finance, &own).await.body, inactive, "another app's");
    let changed = changed(&own);
    let id_token = bench.id_token(|_| ());
    for other in [finance.as_str(), &bench.gateway.admin_token, "x", "vst_live_x", &changed, &id_token] {
        assert_eq!(bench.introspect(&bench.gateway.token, other).await.body, inactive, "{other}");
    }
    assert_eq!(bench.give_back(&own).await, 200);
    assert_eq!(bench.introspect(&bench.gateway.token, &own).await.body, inactive, "at once");
    let none = send(bench.form("/introspect", &[]).bearer_auth(&bench.gateway.token)).await;
    refused(&none, 400, "invalid_request", "invalid_field");
}

#[tokio::test]
async fn whoever_holds_a_token_may_end_it_and_learns_nothing_else() {
    let bench = Bench::start().await;
    for other in ["x", "vst_live_AAAAAAAAAAAAAAAA_x", "eyJ.eyJ.x", &bench.id_token(|_| ())] {
        assert_eq!(bench.give_back(other).await, 200, "{other}");
    }
    let own = token(&bench.exchange(&bench.id_token(|_| ()), &[]).await);
    let changed = changed(&own);
    assert_eq!(bench.give_back(&changed).await, 200);
    assert_eq!(bench.gateway.post_as(&own, "/request-upload", photo()).await.0, 201, "another text is not the token");
    let hint = [("token", own.as_str()), ("token_type_hint", "refresh_token")];
    assert_eq!(send(bench.form("/revoke", &hint)).await.status, 200);
    assert_eq!(bench.gateway.post_as(&own, "/request-upload", photo()).await.0, 401);
    assert_eq!(bench.give_back(&own).await, 200, "twice is no error");
    let entry = bench.audited("revokeToken").await;
    assert_eq!((&entry["user"], &entry["app"]), (&json!("anna"), &json!("where2eat")));
    refused(&send(bench.form("/revoke", &[])).await, 400, "invalid_request", "invalid_field");
    let json = bench.gateway.http.post(format!("{}/revoke", bench.gateway.public)).json(&json!({ "token": own }));
    refused(&send(json).await, 415, "invalid_request", "unsupported_media_type");
}
