//! Asking and deciding: who may, what a rule allows in advance, and what is refused.

use serde_json::json;

use super::{Person, approved, audit, claim, live, standing, trying_out, works};
use crate::gateway::{Gateway, edited_policies};

#[tokio::test]
async fn a_person_decides_on_what_no_rule_allows_and_never_on_his_own() {
    let gateway = Gateway::start().await;
    let (ada, bob) = (Person::called(&gateway, "ada").await, Person::called(&gateway, "bob").await);
    let asked = ada.ask(live()).await;
    assert_eq!((asked["state"].as_str(), asked["requestedBy"].as_str()), (Some("pending"), Some("ada")), "{asked}");
    assert!(asked["claimUrl"].is_null() && asked["owner"] == "marketing" && asked["expiresAt"].is_string(), "{asked}");

    let (status, problem) = ada.decide(&asked, "approve").await;
    assert_eq!((status, problem["code"].as_str()), (403, Some("self_approval")), "{problem}");
    let id = asked["requestId"].as_str().unwrap();
    for (act, reason) in
        ["approve", "deny"].into_iter().flat_map(|act| [(act, json!({})), (act, json!({ "reason": " " }))])
    {
        let (status, problem) = bob.post(&format!("/admin/access-requests/{id}/{act}"), reason).await;
        assert_eq!((status, problem["code"].as_str()), (400, Some("invalid_field")), "{act}: {problem}");
    }
    let (_, page) = gateway.admin_get("/admin/access-requests?state=pending&app=where2eat").await;
    assert_eq!(page["requests"].as_array().unwrap().len(), 1, "{page}");

    let link = bob.approve(&asked).await;
    assert!(link.starts_with(&format!("{}/claim/", gateway.public)), "{link}");
    let stands = standing(&gateway, &asked).await;
    assert_eq!((stands["state"].as_str(), stands["decidedBy"].as_str()), (Some("approved"), Some("bob")), "{stands}");
    assert!(stands["claimUrl"].is_null() && !stands.to_string().contains(link.rsplit('/').next().unwrap()), "{stands}");
    for act in ["approve", "deny"] {
        let (status, answer) = bob.decide(&asked, act).await;
        let wanted = if act == "deny" { 200 } else { 409 };
        assert_eq!(status, wanted, "{act}: {answer}");
    }
    assert_eq!(claim(&gateway, &link).await.1["code"], "claim_invalid", "denied after the approval");
    let (status, problem) = bob.decide(&asked, "approve").await;
    assert_eq!((status, problem["code"].as_str()), (409, Some("access_request_decided")), "{problem}");

    let asks = audit(&gateway, "requestAccess").await;
    assert_eq!((asks.len(), asks[0]["operator"].as_str()), (1, Some("ada")), "{asks:?}");
    assert!(asks[0]["detail"].as_str().unwrap().contains("shows the menus on the page"), "{asks:?}");
    assert_eq!((asks[0]["workflow"].as_str(), asks[0]["owner"].as_str()), (Some("menu-export"), Some("marketing")));
    let decisions = audit(&gateway, "approveAccess").await;
    let of = |code: &str| decisions.iter().find(|entry| entry["reason"] == code).unwrap()["operator"].clone();
    assert_eq!((of("self_approval"), of("access_request_decided")), (json!("ada"), json!("bob")), "{decisions:?}");
    let allowed = decisions.iter().find(|entry| entry["outcome"] == "allowed").unwrap();
    assert!(allowed["operator"] == "bob" && allowed["detail"].as_str().unwrap().contains("agreed with the team"));
    let denials = audit(&gateway, "denyAccess").await;
    let outcomes: Vec<_> = denials.iter().map(|entry| entry["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["allowed", "refused", "refused"], "{denials:?}");
}

#[tokio::test]
async fn what_a_rule_allows_is_approved_at_once_and_the_audit_names_the_rule() {
    let gateway = Gateway::start().await;
    let ada = Person::called(&gateway, "ada").await;
    let asked = ada.ask(trying_out()).await;
    assert_eq!((asked["state"].as_str(), asked["decidedBy"].as_str()), (Some("approved"), Some("access.toml")));
    let rule = asked["rule"].as_str().unwrap();
    assert!(rule.starts_with("access.toml:") && rule.ends_with("automatic \"menus-for-trying-out\""), "{asked}");
    assert_eq!(audit(&gateway, "requestAccess").await[0]["rule"], rule);
    let (status, claimed) = claim(&gateway, asked["claimUrl"].as_str().unwrap()).await;
    assert_eq!((status, claimed["environment"].as_str()), (201, Some("test")), "{claimed}");
    assert_eq!(works(&gateway, claimed["token"].as_str().unwrap()).await, 200);
    assert_eq!(audit(&gateway, "claimToken").await[0]["rule"], rule);

    let end: jiff::Timestamp = asked["expiresAt"].as_str().unwrap().parse().unwrap();
    let longer = end + jiff::SignedDuration::from_hours(24);
    for (field, value, why) in [
        ("environment", json!("live"), "another environment"),
        ("scopes", json!(["storage:*:where2eat:*"]), "every action is more than the rule lists"),
        ("expiresAt", json!(longer.to_string()), "for longer than the rule allows"),
    ] {
        let mut body = trying_out();
        body[field] = value;
        assert_eq!(ada.ask(body).await["state"], "pending", "{why}");
    }
    let mut silent = trying_out();
    silent.as_object_mut().unwrap().remove("reason");
    let (status, problem) = ada.post("/admin/access-requests", silent).await;
    assert_eq!(
        (status, problem["code"].as_str()),
        (400, Some("invalid_field")),
        "the rule asks for a reason: {problem}"
    );
}

#[tokio::test]
async fn a_rule_may_let_people_approve_their_own_and_may_do_without_a_reason() {
    let edits = [
        ("access.toml", "# self_approval", "self_approval"),
        ("access.toml", "require_reason = true", "require_reason = false"),
    ];
    let gateway = Gateway::start_in(edited_policies(&edits), &[]).await;
    let ada = Person::called(&gateway, "ada").await;
    let mut body = trying_out();
    body["scopes"] = json!(["storage:*:where2eat:delete"]);
    let asked = ada.ask(body).await;
    assert_eq!(asked["state"], "pending", "{asked}");
    ada.approve(&asked).await;
    let rule = standing(&gateway, &asked).await["rule"].clone();
    assert!(rule.as_str().unwrap().ends_with(" self_approval"), "{rule}");
    assert_eq!(audit(&gateway, "approveAccess").await[0]["rule"], rule);
    let live = ada.ask(live()).await;
    assert_eq!(ada.decide(&live, "approve").await.1["code"], "self_approval", "not for live access");
    let mut silent = trying_out();
    silent.as_object_mut().unwrap().remove("reason");
    assert_eq!(ada.ask(silent).await["state"], "approved");
}

#[tokio::test]
async fn a_request_that_nobody_could_answer_for_is_refused() {
    let gateway = Gateway::start().await;
    let ada = Person::called(&gateway, "ada").await;
    for (field, value, code, part) in [
        ("app", json!("nowhere"), "app_unknown", "No manifest registers"),
        ("app", json!(null), "invalid_field", "both are needed"),
        ("owner", json!("nobody"), "invalid_field", "nobody would answer"),
        ("scopes", json!([]), "invalid_field", "name at least one"),
        ("scopes", json!(["storage:*:clinic-forms:read"]), "invalid_field", "for another app"),
        ("scopes", json!(["everything"]), "invalid_field", "a scope is written"),
        ("environment", json!("prod"), "invalid_field", "live or test"),
        ("reason", json!("x"), "invalid_field", "3 to 1,000 characters"),
        ("expiresAt", json!("2001-01-01T00:00:00Z"), "invalid_field", "in the past"),
        ("expiresAt", json!("2099-01-01T00:00:00Z"), "invalid_field", "max_token_ttl"),
        ("changes", json!("z".repeat(16)), "invalid_field", "in force"),
        ("subject", json!({ "user": "u" }), "invalid_field", "unknown field"),
    ] {
        let mut body = live();
        body[field] = value;
        let (status, problem) = ada.post("/admin/access-requests", body).await;
        assert!(status >= 400 && problem["code"] == code, "{field}: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains(part), "{field}: {problem}");
    }
    let refused = audit(&gateway, "requestAccess").await;
    assert!(refused.len() == 12 && refused.iter().all(|entry| entry["outcome"] == "refused"), "{refused:?}");
    assert_eq!(gateway.admin_get("/admin/access-requests").await.1["requests"], json!([]));
    let unknown = format!("/admin/access-requests/arq_{}", "0".repeat(32));
    for path in [unknown.as_str(), "/admin/access-requests/nonsense"] {
        assert_eq!(gateway.admin_get(path).await.1["code"], "not_found", "{path}");
    }
    for query in ["?state=lapsed", "?limit=0", "?cursor=x", "?colour=red"] {
        let (status, _) = gateway.admin_get(&format!("/admin/access-requests{query}")).await;
        assert_eq!(status, 400, "{query}");
    }
}

#[tokio::test]
async fn requests_are_listed_page_by_page() {
    let gateway = Gateway::start().await;
    let ada = Person::called(&gateway, "ada").await;
    let mut made = Vec::new();
    for _ in 0..5 {
        made.insert(0, ada.ask(live()).await["requestId"].clone());
    }
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let (_, page) = gateway.admin_get(&format!("/admin/access-requests?limit=2{cursor}")).await;
        seen.extend(page["requests"].as_array().unwrap().iter().map(|request| request["requestId"].clone()));
        let Some(next) = page["nextCursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(seen, made, "newest first, each once");
    let (link, asked) = approved(&gateway).await;
    assert_eq!(claim(&gateway, &link).await.0, 201);
    let (_, page) = gateway.admin_get("/admin/access-requests?state=claimed").await;
    assert_eq!(page["requests"][0]["requestId"], asked["requestId"], "{page}");
}
