//! What is refused leaves an entry that says what it was about, and an answer that tells nobody more than he may know.

use serde_json::{Value, json};

use super::{Person, approved, audit, claim, live, trying_out};
use crate::gateway::Gateway;

/// The newest entry of an action, which must be a refusal.
async fn refused(gateway: &Gateway, action: &str) -> Value {
    let entry = audit(gateway, action).await.into_iter().next().unwrap_or_default();
    assert_eq!(entry["outcome"], "refused", "{action}: {entry}");
    entry
}

#[tokio::test]
async fn a_refused_decision_rotation_or_revocation_says_what_it_was_about() {
    let gateway = Gateway::start().await;
    let ada = Person::called(&gateway, "ada").await;
    let asked = ada.ask(live()).await;
    assert_eq!(ada.decide(&asked, "approve").await.1["code"], "self_approval");
    let entry = refused(&gateway, "approveAccess").await;
    assert_eq!((&entry["app"], &entry["workflow"]), (&json!("where2eat"), &json!("menu-export")), "{entry}");
    assert_eq!((&entry["scopes"], &entry["owner"]), (&asked["scopes"], &asked["owner"]), "{entry}");
    let named = |entry: &Value, id: &str| entry["detail"].as_str().unwrap_or_default().contains(id);
    assert!(named(&entry, asked["requestId"].as_str().unwrap()), "{entry}");

    let token = gateway.create_token(json!({ "app": "where2eat", "workflow": "desk" })).await;
    let id = token.split('_').nth(2).unwrap();
    let body = json!({ "kind": "token", "id": id, "reason": "a leak" });
    assert_eq!(ada.post("/admin/revocations", body).await.0, 201);
    assert_eq!(ada.post(&format!("/admin/tokens/{id}/rotate"), json!({})).await.1["code"], "token_not_rotatable");
    let entry = refused(&gateway, "rotateToken").await;
    assert!(entry["workflow"] == "desk" && named(&entry, id) && named(&entry, "was revoked"), "{entry}");
    let unknown = "0123456789abcdef";
    assert_eq!(ada.post(&format!("/admin/tokens/{unknown}/rotate"), json!({})).await.0, 404);
    let entry = refused(&gateway, "rotateToken").await;
    assert!(named(&entry, unknown), "{entry}");
    let body = json!({ "kind": "token", "id": unknown, "reason": "a leak" });
    assert_eq!(ada.post("/admin/revocations", body).await.0, 404);
    let entry = refused(&gateway, "revokeToken").await;
    assert!(named(&entry, unknown), "{entry}");
    let body = json!({ "kind": "app", "id": "where2eat", "reason": "no" });
    assert_eq!(ada.post("/admin/revocations", body).await.0, 400);
    let entry = refused(&gateway, "revoke").await;
    assert!(entry["app"] == "where2eat" && named(&entry, "app:where2eat"), "{entry}");
    let revocation = "rev_019c41d6b8f07c3e9a52d1b0c4f7e802";
    let body = json!({ "reason": "rings a \u{7} bell" });
    assert_eq!(ada.post(&format!("/admin/revocations/{revocation}/lift"), body).await.0, 400);
    let entry = refused(&gateway, "liftRevocation").await;
    assert!(named(&entry, revocation), "{entry}");
}

#[tokio::test]
async fn whoever_claims_what_is_blocked_hears_from_nobody_who_has_blocked_whom() {
    let gateway = Gateway::start().await;
    let (link, asked) = approved(&gateway).await;
    let body = json!({ "kind": "workflow", "app": "where2eat", "id": "menu-export", "reason": "a loop" });
    let (_, revocation) = gateway.admin_post("/admin/revocations", body).await;
    let (status, problem) = claim(&gateway, &link).await;
    assert_eq!((status, &problem["code"]), (403, &json!("access_blocked")), "{problem}");
    let text = problem["detail"].as_str().unwrap();
    assert!(!text.contains("menu-export") && !text.contains(revocation["by"].as_str().unwrap_or("tests")), "{text}");
    let entry = refused(&gateway, "claimToken").await;
    assert_eq!((&entry["workflow"], &entry["rule"]), (&json!("menu-export"), &revocation["revocationId"]), "{entry}");
    assert!(entry["detail"].as_str().unwrap().contains(asked["requestId"].as_str().unwrap()), "{entry}");
}

#[tokio::test]
async fn a_link_from_before_a_revocation_is_dead_also_where_nothing_is_blocked() {
    let gateway = Gateway::start().await;
    let (link, _) = approved(&gateway).await;
    let mut body = json!({ "kind": "owner", "id": "marketing", "reason": "its chat was public", "block": false });
    let (status, _) = gateway.admin_post("/admin/revocations", body.clone()).await;
    assert_eq!(status, 201);
    let look = gateway.http.get(&link).header("accept", "application/json");
    assert_eq!(crate::http_errors::send(look).await.body["code"], "claim_invalid");
    let (status, problem) = claim(&gateway, &link).await;
    assert_eq!((status, &problem["code"]), (404, &json!("claim_invalid")), "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("was revoked since"), "{problem}");
    let (link, _) = approved(&gateway).await;
    assert_eq!(claim(&gateway, &link).await.0, 201, "whoever approves afterwards knows of it");

    let (link, _) = approved(&gateway).await;
    body["block"] = true.into();
    let (_, revocation) = gateway.admin_post("/admin/revocations", body).await;
    let lift = format!("/admin/revocations/{}/lift", revocation["revocationId"].as_str().unwrap());
    assert_eq!(gateway.admin_post(&lift, json!({ "reason": "the chat is private now" })).await.0, 200);
    assert_eq!(claim(&gateway, &link).await.1["code"], "claim_invalid", "what is dead stays dead");
}

#[tokio::test]
async fn a_link_is_dead_where_the_token_that_approved_it_is() {
    let gateway = Gateway::start().await;
    let (ada, bob) = (Person::called(&gateway, "ada").await, Person::called(&gateway, "bob").await);
    let by_person = bob.approve(&ada.ask(live()).await).await;
    let of_another = Person::called(&gateway, "eve").await.approve(&ada.ask(live()).await).await;
    let by_rule = bob.ask(trying_out()).await["claimUrl"].as_str().unwrap().to_owned();
    let stolen = bob.token.split('_').nth(2).unwrap();
    let body = json!({ "kind": "token", "id": stolen, "reason": "it was stolen" });
    assert_eq!(gateway.admin_post("/admin/revocations", body).await.0, 201);
    for link in [by_person, by_rule] {
        let (status, problem) = claim(&gateway, &link).await;
        assert_eq!((status, &problem["code"]), (404, &json!("claim_invalid")), "{problem}");
    }
    assert_eq!(claim(&gateway, &of_another).await.0, 201);
}

#[tokio::test]
async fn no_operator_is_called_as_somebody_else_is_in_the_trail() {
    let gateway = Gateway::start().await;
    for name in ["corp:4711", "cli:root", "access.toml", "", "a\u{7}b", "vst_live_0123456789abcdef_secret"] {
        let (status, problem) = gateway.admin_post("/admin/tokens", json!({ "operator": name })).await;
        assert_eq!((status, &problem["code"]), (400, &json!("invalid_field")), "{name}: {problem}");
        let (code, printed, errors) = gateway.run(&["token", "create", "--operator", name]);
        assert!(code == 1 && printed.is_empty() && errors.contains("operator:"), "{name}: {errors}");
    }
}
