//! Claim links: looking spends nothing, one of many claims wins, and a crash neither loses nor doubles a token.

use std::time::{Duration, Instant};

use futures::future::join_all;
use serde_json::{Value, json};

use super::{Person, approved, audit, claim, listed, live, standing, works};
use crate::gateway::{Gateway, PATIENCE, edit_policy, edited_policies};
use crate::http_errors::{assert_problem, send};

#[tokio::test]
async fn looking_spends_nothing_and_claiming_shows_the_token_once() {
    let gateway = Gateway::start().await;
    let (link, asked) = approved(&gateway).await;
    for accept in ["text/html,application/xhtml+xml;q=0.9", "*/*", "application/json"] {
        let answer = gateway.http.get(&link).header("accept", accept).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{accept}");
        let headers = answer.headers().clone();
        assert_eq!(
            (&headers["cache-control"], &headers["referrer-policy"]),
            (&"no-store".parse().unwrap(), &"no-referrer".parse().unwrap())
        );
        let text = answer.text().await.unwrap();
        assert!(text.contains("menu-export") && !text.contains("vst_live_"), "{text}");
        if accept.starts_with("text/html") {
            let policy = headers["content-security-policy"].to_str().unwrap();
            assert!(
                policy.starts_with("default-src 'none'; style-src 'sha256-") && policy.contains("form-action 'self'")
            );
            assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"), "{policy}");
            assert!(
                text.contains("<form method=post>") && !text.contains("<script") && !text.contains("src="),
                "{text}"
            );
            assert!(!text.contains("http"), "nothing from elsewhere: {text}");
        }
    }
    assert_eq!(standing(&gateway, &asked).await["state"], "approved", "a preview spends nothing");

    let page = gateway
        .http
        .post(&link)
        .header("accept", "text/html")
        .header("content-type", "application/x-www-form-urlencoded");
    let page = page.send().await.unwrap();
    assert_eq!((page.status().as_u16(), page.headers()["cache-control"].to_str().unwrap()), (201, "no-store"));
    let text = page.text().await.unwrap();
    let start = text.find("vst_live_").unwrap();
    let token = text[start..].split('<').next().unwrap();
    assert_eq!(works(&gateway, token).await, 200);
    let stands = standing(&gateway, &asked).await;
    let id = token.split('_').nth(2).unwrap();
    assert_eq!((stands["state"].as_str(), stands["tokenId"].as_str()), (Some("claimed"), Some(id)), "{stands}");
    let made = listed(&gateway, id).await;
    assert_eq!((&made["requestId"], &made["owner"]), (&asked["requestId"], &json!("marketing")), "{made}");
    assert_eq!(made["scopes"], json!(["storage:*:where2eat:read", "storage:*:where2eat:list"]));
    assert_eq!(made["expiresAt"], asked["expiresAt"]);

    for method in [reqwest::Method::GET, reqwest::Method::POST] {
        let again = send(gateway.http.request(method.clone(), &link)).await;
        assert_problem(&again, 404, "claim_invalid");
        let html = gateway.http.request(method, &link).header("accept", "text/html").send().await.unwrap();
        assert_eq!(html.status(), 404);
        assert!(html.text().await.unwrap().contains("This link does not work"));
    }
    let entries = audit(&gateway, "claimToken").await;
    let allowed: Vec<&Value> = entries.iter().filter(|entry| entry["outcome"] == "allowed").collect();
    assert_eq!((allowed.len(), allowed[0]["tokenId"].as_str()), (1, Some(id)), "{entries:?}");
    let detail = allowed[0]["detail"].as_str().unwrap();
    assert!(detail.contains("asked for by ada and approved by bob"), "{detail}");
    assert!(entries.iter().any(|entry| entry["reason"] == "claim_invalid"), "{entries:?}");
    assert!(!gateway.log().contains(link.rsplit('/').next().unwrap()), "no log shows the secret of a link");
}

#[tokio::test]
async fn of_many_claims_at_the_same_time_exactly_one_wins() {
    let gateway = Gateway::start().await;
    let (link, asked) = approved(&gateway).await;
    let answers = join_all((0..8).map(|_| claim(&gateway, &link))).await;
    let won: Vec<&Value> = answers.iter().filter(|(status, _)| *status == 201).map(|(_, body)| body).collect();
    assert_eq!(won.len(), 1, "{answers:?}");
    assert!(answers.iter().all(|(status, body)| *status == 201 || body["code"] == "claim_invalid"), "{answers:?}");
    let (_, list) = gateway.admin_get("/admin/tokens?limit=1000").await;
    let made = list["tokens"].as_array().unwrap().iter().filter(|token| token["requestId"] == asked["requestId"]);
    assert_eq!(made.count(), 1, "one token and no more");
    assert_eq!(works(&gateway, won[0]["token"].as_str().unwrap()).await, 200);
}

#[tokio::test]
async fn an_approval_outlives_a_kill_and_is_claimed_once_all_the_same() {
    let mut gateway = Gateway::start().await;
    let (link, asked) = approved(&gateway).await;
    gateway.start_again(&[]).await;
    let (status, claimed) = claim(&gateway, &link).await;
    assert_eq!(status, 201, "{claimed}");
    gateway.start_again(&[]).await;
    assert_eq!(claim(&gateway, &link).await.1["code"], "claim_invalid");
    assert_eq!(works(&gateway, claimed["token"].as_str().unwrap()).await, 200);
    assert_eq!(standing(&gateway, &asked).await["tokenId"], claimed["tokenId"]);
}

#[tokio::test]
async fn a_kill_between_the_commit_and_the_answer_leaves_a_spent_link_and_a_token_that_is_on_record() {
    let dir = tempfile::tempdir().unwrap();
    let marker = dir.path().join("fault");
    let settings = [("VESTIBULE_FAULT", "claim_committed"), ("VESTIBULE_FAULT_MARKER", marker.to_str().unwrap())];
    let mut gateway = Gateway::start_in(dir, &settings).await;
    let (link, asked) = approved(&gateway).await;
    let request = gateway.http.post(&link).send();
    let claiming = tokio::spawn(request);
    let started = Instant::now();
    while !marker.exists() {
        assert!(started.elapsed() < PATIENCE, "the point was never reached");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    gateway.start_again(&[("VESTIBULE_FAULT", None)]).await;
    assert!(claiming.await.unwrap().is_err(), "nobody was answered");
    assert_eq!(claim(&gateway, &link).await.1["code"], "claim_invalid", "never twice");
    let stands = standing(&gateway, &asked).await;
    let lost = listed(&gateway, stands["tokenId"].as_str().unwrap()).await;
    assert_eq!((stands["state"].as_str(), &lost["requestId"]), (Some("claimed"), &asked["requestId"]), "{stands}");
}

#[tokio::test]
async fn a_link_dies_with_its_app_and_with_its_time() {
    let gateway = Gateway::start_in(edited_policies(&[]), &[]).await;
    let (link, asked) = approved(&gateway).await;
    std::fs::rename(gateway.dir().join("policies/apps/where2eat.toml"), gateway.dir().join("where2eat.toml")).unwrap();
    edit_policy(gateway.dir(), "access.toml", "[\"where2eat\"]", "[\"clinic-forms\"]");
    edit_policy(gateway.dir(), "access.toml", "owners = [\"marketing\"]", "");
    let owners = gateway.dir().join("policies/owners.toml");
    let text = std::fs::read_to_string(&owners).unwrap();
    std::fs::write(&owners, &text[text.find("[clinic]").unwrap()..]).unwrap();
    assert_eq!(gateway.reload().await, "allowed");
    let (status, problem) = claim(&gateway, &link).await;
    assert_eq!((status, problem["code"].as_str()), (404, Some("claim_invalid")), "{problem}");
    assert_eq!(standing(&gateway, &asked).await["state"], "approved", "what was refused spends nothing");
    for secret in ["", "x", &"A".repeat(43), "..%2f..%2fadmin", &format!("{}x", link.rsplit('/').next().unwrap())] {
        let answer = gateway.http.post(format!("{}/claim/{secret}", gateway.public)).send().await.unwrap();
        assert_eq!(answer.status(), 404, "{secret}");
    }
    let ada = Person::called(&gateway, "ada-2").await;
    let (status, problem) = ada.post("/admin/access-requests", live()).await;
    assert_eq!((status, problem["code"].as_str()), (403, Some("app_unknown")), "{problem}");
}
