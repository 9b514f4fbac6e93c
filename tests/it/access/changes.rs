//! Other scopes for a token go through the same door: asked for, decided, claimed; then the old one ends.

use serde_json::{Value, json};

use super::{Person, audit, claim, listed, trying_out, works};
use crate::gateway::{Gateway, edited_policies, until};

async fn token(gateway: &Gateway) -> Value {
    let body = json!({ "app": "where2eat", "workflow": "menu-import", "scopes": ["storage:*:where2eat:write"],
        "subject": { "user": "u-42" } });
    let (status, created) = gateway.admin_post("/admin/tokens", body).await;
    assert_eq!(status, 201, "{created}");
    created
}

fn change(old: &Value) -> Value {
    json!({ "changes": old["tokenId"], "scopes": ["storage:*:where2eat:list"], "reason": "only lists by now" })
}

#[tokio::test]
async fn claiming_a_change_gives_the_new_token_and_ends_the_old_one_after_the_window() {
    let edits = [("access.toml", "change_window = \"24h\"", "change_window = \"5s\"")];
    let gateway = Gateway::start_in(edited_policies(&edits), &[]).await;
    let (ada, bob) = (Person::called(&gateway, "ada").await, Person::called(&gateway, "bob").await);
    let old = token(&gateway).await;
    let end = listed(&gateway, old["tokenId"].as_str().unwrap()).await["expiresAt"].clone();
    let asked = ada.ask(change(&old)).await;
    assert_eq!((asked["workflow"].as_str(), &asked["changes"]), (Some("menu-import"), &old["tokenId"]), "{asked}");
    let link = bob.approve(&asked).await;
    let now = listed(&gateway, old["tokenId"].as_str().unwrap()).await;
    assert_eq!(now["expiresAt"], end, "nothing has changed yet");
    let (status, claimed) = claim(&gateway, &link).await;
    assert_eq!((status, &claimed["replaces"]), (201, &old["tokenId"]), "{claimed}");
    let made = listed(&gateway, claimed["tokenId"].as_str().unwrap()).await;
    assert_eq!((&made["scopes"], &made["subject"]["user"]), (&json!(["storage:*:where2eat:list"]), &json!("u-42")));
    let before = listed(&gateway, old["tokenId"].as_str().unwrap()).await;
    assert_eq!(
        (&before["successor"], &before["expiresAt"]),
        (&claimed["tokenId"], &claimed["replacedUntil"]),
        "{before}"
    );
    let detail = audit(&gateway, "claimToken").await[0]["detail"].to_string();
    assert!(detail.contains(old["tokenId"].as_str().unwrap()), "{detail}");

    let new = claimed["token"].as_str().unwrap();
    let upload = json!({ "filename": "menu.jpg", "size": 10, "contentType": "image/jpeg" });
    assert_eq!(gateway.post_as(old["token"].as_str().unwrap(), "/request-upload", upload.clone()).await.0, 201);
    let (status, problem) = gateway.post_as(new, "/request-upload", upload).await;
    assert_eq!((status, problem["code"].as_str()), (403, Some("scope_insufficient")), "{problem}");
    until(claimed["replacedUntil"].as_str().unwrap().parse().unwrap()).await;
    assert_eq!((works(&gateway, old["token"].as_str().unwrap()).await, works(&gateway, new).await), (401, 200));
}

#[tokio::test]
async fn what_is_no_token_of_this_workflow_is_not_changed() {
    let gateway = Gateway::start().await;
    let (ada, bob) = (Person::called(&gateway, "ada").await, Person::called(&gateway, "bob").await);
    let old = token(&gateway).await;
    for (field, value) in
        [("app", json!("clinic-forms")), ("workflow", json!("another")), ("environment", json!("test"))]
    {
        let mut body = change(&old);
        body[field] = value;
        let (status, problem) = ada.post("/admin/access-requests", body).await;
        assert_eq!((status, problem["code"].as_str()), (400, Some("invalid_field")), "{field}: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains("stays it"), "{problem}");
    }
    let operator =
        json!({ "changes": ada.token.split('_').nth(2), "scopes": ["storage:*:where2eat:list"], "reason": "more" });
    let (status, problem) = ada.post("/admin/access-requests", operator).await;
    assert_eq!((status, problem["code"].as_str()), (400, Some("invalid_field")), "an operator's token: {problem}");

    // Revoked after the approval: nobody gets a successor of what was stolen.
    let link = bob.approve(&ada.ask(change(&old)).await).await;
    let revoke = gateway.http.delete(format!("{}/admin/tokens/{}", gateway.admin, old["tokenId"].as_str().unwrap()));
    assert_eq!(revoke.bearer_auth(&gateway.admin_token).send().await.unwrap().status(), 204);
    assert_eq!(claim(&gateway, &link).await.1["code"], "claim_invalid");
    let (status, problem) = ada.post("/admin/access-requests", change(&old)).await;
    assert_eq!((status, problem["code"].as_str()), (400, Some("invalid_field")), "{problem}");
}

#[tokio::test]
async fn a_rule_that_allows_new_tokens_leaves_alone_those_that_there_are() {
    let gateway = Gateway::start().await;
    let (_, made) = gateway.admin_post("/admin/tokens", json!({ "operator": "vic", "roles": ["viewer"] })).await;
    let vic = Person { gateway: &gateway, token: made["token"].as_str().unwrap().to_owned() };
    assert_eq!(vic.ask(trying_out()).await["state"], "approved", "a new token of this kind is allowed in advance");
    let keys = ["jkt:0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I", "jkt:NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"];
    let body = json!({ "app": "where2eat", "workflow": "menu-import", "environment": "test", "binding": keys[0],
        "scopes": ["storage:*:where2eat:write"], "subject": { "user": "u-42" } });
    let (status, old) = gateway.admin_post("/admin/tokens", body).await;
    assert_eq!(status, 201, "{old}");
    let change = json!({ "changes": old["tokenId"], "scopes": ["storage:*:where2eat:write"], "binding": keys[1],
        "reason": "tries it out" });
    let asked = vic.ask(change).await;
    assert_eq!((&asked["state"], &asked["claimUrl"]), (&json!("pending"), &Value::Null), "{asked}");
    // Whoever decides sees for whom it acts, and that it would be another key's.
    assert_eq!(asked["subject"]["user"], "u-42", "{asked}");
    assert_eq!((&asked["changesBinding"], &asked["binding"]), (&json!(keys[0]), &json!(keys[1])), "{asked}");
    assert_eq!(listed(&gateway, old["tokenId"].as_str().unwrap()).await["successor"], Value::Null);
}

#[tokio::test]
async fn a_change_whose_token_was_lost_is_asked_for_again() {
    let gateway = Gateway::start().await;
    let (ada, bob) = (Person::called(&gateway, "ada").await, Person::called(&gateway, "bob").await);
    let old = token(&gateway).await;
    let link = bob.approve(&ada.ask(change(&old)).await).await;
    let secret = link.rsplit('/').next().unwrap();
    for link in [secret, &bob.approve(&ada.ask(change(&old)).await).await] {
        let (code, _, errors) = gateway.run(&["access", "claim", link, "--into", "exit 3"]);
        assert!(code == 1 && errors.contains("was revoked"), "{errors}");
        assert!(errors.contains(&format!("token {} works until", old["tokenId"].as_str().unwrap())), "{errors}");
    }
    let link = bob.approve(&ada.ask(change(&old)).await).await;
    let (status, claimed) = claim(&gateway, &link).await;
    assert_eq!((status, &claimed["replaces"]), (201, &old["tokenId"]), "{claimed}");
    let (status, problem) = ada.post("/admin/access-requests", change(&old)).await;
    assert_eq!((status, problem["code"].as_str()), (400, Some("invalid_field")), "it has a successor now: {problem}");
}
