//! `POST /request-download` and one-time links, in every state that an object can be in.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::gateway::{Gateway, edit_policy, edited_policies};
use crate::harness;
use crate::http_errors::{assert_problem, send};

async fn refused(gateway: &Gateway, id: &str, status: u16, code: &str) -> Value {
    let request = gateway.http.post(format!("{}/request-download", gateway.public)).bearer_auth(&gateway.token);
    let answer = send(request.json(&json!({ "objectId": id }))).await;
    assert_problem(&answer, status, code);
    answer.body
}

fn id_of(issued: &Value) -> &str {
    issued["objectId"].as_str().unwrap()
}

#[tokio::test]
async fn a_visible_object_is_downloaded_by_id_or_path_with_forced_headers() {
    let gateway = Gateway::start().await;
    let bytes = harness::fixture("menu.jpg");
    let id = gateway.visible_jpeg(&bytes).await;
    let (_, object) = gateway.get(&format!("/objects/{id}")).await;
    let path = object["path"].as_str().unwrap();
    let slash = format!("/{path}");
    for (ask, disposition) in [
        (json!({ "objectId": id }), "attachment"),
        (json!({ "path": path }), "attachment"),
        (json!({ "path": slash, "disposition": "inline" }), "inline"),
    ] {
        let (status, issued) = gateway.post("/request-download", ask).await;
        assert_eq!(status, 200, "{issued}");
        let mut keys: Vec<&str> = issued.as_object().unwrap().keys().map(String::as_str).collect();
        keys.sort_unstable();
        assert_eq!(keys, ["contentType", "downloadUrl", "expiresAt", "filename", "sha256", "size"]);
        assert_eq!(
            (issued["filename"].as_str(), issued["contentType"].as_str()),
            (Some("menu.jpg"), Some("image/jpeg"))
        );
        assert_eq!((&issued["size"], &issued["sha256"]), (&json!(bytes.len()), &object["sha256"]));
        assert!(issued["expiresAt"].as_str().unwrap().len() == 20, "{issued}");
        let answer = gateway.http.get(issued["downloadUrl"].as_str().unwrap()).send().await.unwrap();
        assert_eq!(answer.headers()["content-type"], "image/jpeg");
        let sent = answer.headers()["content-disposition"].to_str().unwrap();
        assert!(sent.starts_with(disposition) && sent.contains("menu.jpg"), "{sent}");
        assert_eq!(answer.bytes().await.unwrap(), bytes);
    }
    let put = gateway.http.put(format!("{}/vestibule-images/{path}", gateway.storage)).body(bytes.clone());
    assert_eq!(put.send().await.unwrap().status(), 403, "nobody writes the served copy");
}

#[tokio::test]
async fn before_the_upload_and_after_deletion_the_answer_says_so() {
    let gateway = Gateway::start().await;
    let bytes = harness::fixture("menu.jpg");
    let issued = gateway.request_jpeg(&bytes).await;
    let problem = refused(&gateway, id_of(&issued), 409, "object_not_visible").await;
    assert!(problem["detail"].as_str().unwrap().contains("uploadUrl"), "{problem}");
    let id = gateway.visible_jpeg(&bytes).await;
    let (_, download) = gateway.post("/request-download", json!({ "objectId": id })).await;
    assert_eq!(gateway.delete(&format!("/objects/{id}")).await.0, 204);
    refused(&gateway, &id, 410, "object_gone").await;
    // The bytes follow at once, so that a URL from before leads nowhere.
    let started = Instant::now();
    loop {
        let answer = gateway.http.get(download["downloadUrl"].as_str().unwrap()).send().await.unwrap();
        if answer.status() == 404 {
            break;
        }
        assert!(started.elapsed() < Duration::from_secs(20), "{}", answer.status());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn what_was_rejected_or_quarantined_is_never_handed_out() {
    let gateway = Gateway::start().await;
    let html = harness::fixture("page.html");
    let body = json!({ "filename": "a.png", "size": html.len(), "contentType": "image/png" });
    let (_, rejected) = gateway.post("/request-upload", body).await;
    assert_eq!(gateway.put(&rejected, html).await, 200);
    gateway.wait_for(id_of(&rejected), "rejected").await;
    let problem = refused(&gateway, id_of(&rejected), 410, "object_gone").await;
    assert!(problem["detail"].as_str().unwrap().contains("rejected"), "{problem}");
    let (_, object) = gateway.get(rejected["statusUrl"].as_str().unwrap()).await;
    assert_eq!(object["reason"], "type_mismatch", "{object}");

    let infected = gateway.request_jpeg(&harness::eicar()).await;
    assert_eq!(gateway.put(&infected, harness::eicar()).await, 200);
    gateway.wait_for(id_of(&infected), "quarantined").await;
    let problem = refused(&gateway, id_of(&infected), 409, "object_held").await;
    assert!(problem["detail"].as_str().unwrap().contains("review"), "{problem}");
    let (_, object) = gateway.get(infected["statusUrl"].as_str().unwrap()).await;
    assert_eq!(
        (object["reason"].as_str(), object["verdict"]["result"].as_str()),
        (Some("malware_found"), Some("infected"))
    );
}

#[tokio::test]
async fn while_the_scan_runs_the_answer_says_when_to_ask_again() {
    // A scanner that takes connections and never answers.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("tcp:{}", silent.local_addr().unwrap());
    let mut gateway = Gateway::start().await;
    let bytes = harness::fixture("menu.jpg");
    let issued = gateway.request_jpeg(&bytes).await;
    // `dev` takes the configured scanner only where it answers, so that the production command is used here.
    gateway.go_on_as_serve(&[("VESTIBULE__SCANNER__ADDRESS", &address)]).await;
    assert_eq!(gateway.put(&issued, bytes.clone()).await, 200);
    let started = Instant::now();
    loop {
        let request = gateway.http.post(format!("{}/request-download", gateway.public)).bearer_auth(&gateway.token);
        let answer = send(request.json(&json!({ "objectId": issued["objectId"] }))).await;
        assert_problem(&answer, 409, "object_not_visible");
        if answer.body["detail"].as_str().unwrap().contains("scan") {
            assert_eq!(answer.headers["retry-after"], "2");
            break;
        }
        assert!(started.elapsed() < Duration::from_secs(30), "{}", answer.body);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // And nothing new is let in, since nothing can be scanned.
    let body = json!({ "filename": "menu.jpg", "size": bytes.len(), "contentType": "image/jpeg" });
    let request = gateway.http.post(format!("{}/request-upload", gateway.public)).bearer_auth(&gateway.token);
    let answer = send(request.json(&body)).await;
    assert_problem(&answer, 503, "scanner_unavailable");
}

#[tokio::test]
async fn an_upload_that_never_came_expires() {
    let settings = [("VESTIBULE__SWEEP__INTERVAL", "200ms"), ("VESTIBULE__SWEEP__EXPIRY_GRACE", "1s")];
    let mut gateway = Gateway::start_with(&settings).await;
    let issued = gateway.request_jpeg(b"never sent").await;
    gateway.kill();
    // The shortest URL lives for two minutes; the test lets them pass in the database.
    let database = rusqlite::Connection::open(gateway.dir().join("vestibule.db")).unwrap();
    let changed = database.execute("UPDATE objects SET upload_expires_at = upload_expires_at - 900000000", []);
    assert_eq!(changed.unwrap(), 1);
    drop(database);
    gateway.start_again(&[]).await;
    gateway.wait_for(id_of(&issued), "expired").await;
    let problem = refused(&gateway, id_of(&issued), 410, "object_gone").await;
    assert!(problem["detail"].as_str().unwrap().contains("expired"), "{problem}");
}

async fn link(gateway: &Gateway, id: &str) -> Value {
    let (status, issued) = gateway.post("/request-download", json!({ "objectId": id, "oneTime": true })).await;
    assert_eq!(status, 200, "{issued}");
    assert!(issued["downloadUrl"].as_str().unwrap().starts_with(&format!("{}/d/", gateway.public)), "{issued}");
    issued
}

#[tokio::test]
async fn a_one_time_link_works_once_among_twenty_followers() {
    let gateway = Gateway::start().await;
    let bytes = harness::fixture("menu.jpg");
    let id = gateway.visible_jpeg(&bytes).await;
    let issued = link(&gateway, &id).await;
    let url = issued["downloadUrl"].as_str().unwrap();
    let answers = futures::future::join_all((0..20).map(|_| send(gateway.http.get(url)))).await;
    let (won, lost): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 302);
    assert_eq!((won.len(), lost.len()), (1, 19));
    lost.iter().for_each(|answer| assert_problem(answer, 404, "link_invalid"));
    assert_eq!(
        (&won[0].headers["cache-control"], &won[0].headers["referrer-policy"]),
        (&"no-store".parse().unwrap(), &"no-referrer".parse().unwrap())
    );
    let location: url::Url = won[0].headers["location"].to_str().unwrap().parse().unwrap();
    let life = location.query_pairs().find(|(name, _)| name == "X-Amz-Expires").unwrap().1.parse::<u32>().unwrap();
    assert!((1..=60).contains(&life), "{life}");
    assert_eq!(gateway.http.get(location).send().await.unwrap().bytes().await.unwrap(), bytes);
}

#[tokio::test]
async fn a_class_that_says_so_gets_links_without_asking() {
    let gateway = Gateway::start().await;
    let token = gateway.create_token(harness::clinician()).await;
    let bytes = harness::fixture("invoice.pdf");
    let body =
        json!({ "filename": "f.pdf", "size": bytes.len(), "contentType": "application/pdf", "lawfulBasis": "consent" });
    let (status, issued) = gateway.post_as(&token, "/request-upload", body).await;
    assert_eq!(status, 201, "{issued}");
    assert_eq!(gateway.put(&issued, bytes.clone()).await, 200);
    gateway.wait_for(id_of(&issued), "visible").await;
    let (_, download) = gateway.post_as(&token, "/request-download", json!({ "objectId": id_of(&issued) })).await;
    let url = download["downloadUrl"].as_str().unwrap();
    assert!(url.contains("/d/"), "{download}");
    assert_eq!(send(gateway.http.get(url)).await.status, 302);
    let inline = json!({ "objectId": id_of(&issued), "disposition": "inline" });
    let (status, problem) = gateway.post_as(&token, "/request-download", inline).await;
    assert_eq!((status, problem["code"].as_str()), (403, Some("disposition_not_allowed")), "{problem}");
}

/// Revokes by one way, and shows that within a second neither the token nor its links work.
async fn dies_within_a_second(gateway: &Gateway, revoke: impl AsyncFnOnce(&str)) {
    let bytes = harness::fixture("menu.jpg");
    let id = gateway.visible_jpeg(&bytes).await;
    let victim = gateway.create_token(json!({ "app": "where2eat", "workflow": "victim" })).await;
    let ask = json!({ "objectId": id, "oneTime": true });
    let (_, issued) = gateway.post_as(&victim, "/request-download", ask.clone()).await;
    let link = issued["downloadUrl"].as_str().unwrap();
    revoke(victim.split('_').nth(2).unwrap()).await;
    tokio::time::sleep(Duration::from_millis(1000)).await;
    assert_problem(&send(gateway.http.get(link)).await, 404, "link_invalid");
    let request = gateway.http.post(format!("{}/request-download", gateway.public)).bearer_auth(&victim);
    assert_problem(&send(request.json(&ask)).await, 401, "token_revoked");
    let body = json!({ "filename": "menu.jpg", "size": 1, "contentType": "image/jpeg" });
    let request = gateway.http.post(format!("{}/request-upload", gateway.public)).bearer_auth(&victim);
    assert_problem(&send(request.json(&body)).await, 401, "token_revoked");
}

#[tokio::test]
async fn a_revocation_on_the_admin_listener_is_effective_within_a_second() {
    let gateway = Gateway::start().await;
    dies_within_a_second(&gateway, async |id: &str| {
        let request = gateway.http.delete(format!("{}/admin/tokens/{id}", gateway.admin));
        assert_eq!(send(request.bearer_auth(&gateway.admin_token)).await.status, 204);
    })
    .await;
}

#[tokio::test]
async fn a_revocation_on_the_command_line_is_effective_within_a_second() {
    let gateway = Gateway::start().await;
    dies_within_a_second(&gateway, async |id: &str| {
        let (code, _, errors) = gateway.run(&["token", "revoke", id]);
        assert_eq!(code, 0, "{errors}");
    })
    .await;
}

#[tokio::test]
async fn a_link_dies_with_its_object_its_app_and_its_scope() {
    let gateway = Gateway::start_in(edited_policies(&[]), &[]).await;
    let bytes = harness::fixture("menu.jpg");
    let (deleted, kept) = (gateway.visible_jpeg(&bytes).await, gateway.visible_jpeg(&bytes).await);
    let (first, second) = (link(&gateway, &deleted).await, link(&gateway, &kept).await);
    assert_eq!(gateway.delete(&format!("/objects/{deleted}")).await.0, 204);
    let answer = send(gateway.http.get(first["downloadUrl"].as_str().unwrap())).await;
    assert_problem(&answer, 404, "link_invalid");
    edit_policy(gateway.dir(), "apps/where2eat.toml", "app = \"where2eat\"", "app = \"where2eat\"\nenabled = false");
    assert_eq!(gateway.reload().await, "allowed");
    let answer = send(gateway.http.get(second["downloadUrl"].as_str().unwrap())).await;
    assert_problem(&answer, 404, "link_invalid");
}
