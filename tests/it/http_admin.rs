//! The admin listener: tokens, reviews, the audit query, dead letters, metrics.

use serde_json::{Value, json};

use crate::access::in_days;
use crate::gateway::Gateway;
use crate::harness;
use crate::http_errors::{assert_problem, send};

#[tokio::test]
async fn tokens_are_shown_once_listed_without_secrets_and_revoked() {
    let gateway = Gateway::start().await;
    let body = json!({ "app": "where2eat", "workflow": "menu-import", "environment": "test",
        "scopes": ["storage:*:where2eat:write:prefix=/uploads/a/"], "expiresAt": in_days(179) });
    let (status, created) = gateway.admin_post("/admin/tokens", body).await;
    assert_eq!((status, created["owner"].as_str()), (201, Some("marketing")), "{created}");
    let token = created["token"].as_str().unwrap();
    let (_, endless) = gateway.admin_post("/admin/tokens", json!({ "app": "where2eat", "workflow": "endless" })).await;
    let end: jiff::Timestamp = endless["expiresAt"].as_str().unwrap().parse().unwrap();
    let life = end.duration_since(endless["createdAt"].as_str().unwrap().parse().unwrap());
    assert_eq!(life, jiff::SignedDuration::from_hours(365 * 24), "no longer than access.toml allows");
    let id = created["tokenId"].as_str().unwrap();
    assert!(token.starts_with(&format!("vst_test_{id}_")), "{created}");
    let (_, list) = gateway.admin_get("/admin/tokens").await;
    let listed = list["tokens"].as_array().unwrap().iter().find(|one| one["tokenId"] == id).unwrap();
    assert_eq!(listed["scopes"], json!(["storage:*:where2eat:write:prefix=/uploads/a/"]));
    assert!(!list.to_string().contains(token.rsplit('_').next().unwrap()) && !list.to_string().contains("hash"));
    for _ in 0..2 {
        let request = gateway.http.delete(format!("{}/admin/tokens/{id}", gateway.admin));
        assert_eq!(send(request.bearer_auth(&gateway.admin_token)).await.status, 204, "twice is success");
    }
    let (_, list) = gateway.admin_get("/admin/tokens").await;
    let listed = list["tokens"].as_array().unwrap().iter().find(|one| one["tokenId"] == id).unwrap();
    assert!(listed["revokedAt"].is_string(), "{listed}");
    let unknown = gateway.http.delete(format!("{}/admin/tokens/{}", gateway.admin, "z".repeat(16)));
    assert_problem(&send(unknown.bearer_auth(&gateway.admin_token)).await, 404, "not_found");
    for (body, code) in [
        (json!({ "app": "nowhere", "workflow": "a" }), "app_unknown"),
        (json!({ "app": "where2eat" }), "invalid_field"),
        (json!({ "app": "where2eat", "workflow": "a", "environment": "prod" }), "invalid_field"),
        (json!({ "app": "where2eat", "workflow": "a", "scopes": ["everything"] }), "invalid_field"),
        (json!({ "app": "where2eat", "workflow": "a", "expiresAt": "2001-01-01T00:00:00Z" }), "invalid_field"),
        (json!({ "app": "where2eat", "workflow": "a", "expiresAt": in_days(366) }), "invalid_field"),
        (json!({ "operator": "" }), "invalid_field"),
    ] {
        let (_, problem) = gateway.admin_post("/admin/tokens", body.clone()).await;
        assert_eq!(problem["code"], code, "{body}: {problem}");
    }
}

#[tokio::test]
async fn a_token_says_for_whom_it_acts_and_so_does_the_audit_trail() {
    let gateway = Gateway::start().await;
    let subject =
        json!({ "user": "u-42", "role": "clinician", "project": "trial-7", "device": "d-9", "deviceAttested": true });
    let body = json!({ "app": "where2eat", "workflow": "desk", "subject": subject });
    let (status, created) = gateway.admin_post("/admin/tokens", body).await;
    assert_eq!((status, &created["subject"]), (201, &subject), "{created}");
    let token = created["token"].as_str().unwrap();
    let by_cli = ["token", "create", "--app", "where2eat", "--workflow", "desk", "--user", "u-43", "--role", "nurse"];
    let (code, other, errors) = gateway.run(&by_cli);
    assert_eq!(code, 0, "{errors}");
    let (_, list) = gateway.admin_get("/admin/tokens").await;
    let listed = |token: &str| {
        let id = token.split('_').nth(2).unwrap();
        list["tokens"].as_array().unwrap().iter().find(|one| one["tokenId"] == id).unwrap()["subject"].clone()
    };
    assert_eq!(listed(token), subject);
    assert_eq!(listed(other.trim()), json!({ "user": "u-43", "role": "nurse", "deviceAttested": false }));
    assert!(listed(&gateway.token).is_null());
    assert!(gateway.run(&["token", "list"]).1.contains("u-43 (nurse)"));

    for (size, outcome) in [(10, "allowed"), (99_999_999, "refused")] {
        let body = json!({ "filename": "menu.jpg", "size": size, "contentType": "image/jpeg" });
        gateway.post_as(token, "/request-upload", body).await;
        let id = token.split('_').nth(2).unwrap();
        let (_, page) = gateway.admin_get(&format!("/admin/audit?limit=1&token={id}")).await;
        let entry = &page["entries"][0];
        assert_eq!(entry["outcome"], outcome, "{entry}");
        for (field, value) in [("user", "u-42"), ("role", "clinician"), ("project", "trial-7"), ("device", "d-9")] {
            assert_eq!(entry[field], value, "{field} in {entry}");
        }
    }
    let (_, page) = gateway.admin_get("/admin/audit?limit=1000").await;
    let made = |entry: &&Value| entry["action"] == "createToken" && entry["workflow"] == "desk";
    let made: Vec<&Value> = page["entries"].as_array().unwrap().iter().filter(made).collect();
    assert_eq!([&made[0]["user"], &made[1]["user"]], ["u-43", "u-42"], "{made:?}");

    for (subject, part) in [
        (json!({ "user": "" }), "user has 1 to 200 characters"),
        (json!({ "user": gateway.token }), "is no token"),
        (json!({ "user": "u", "project": "a\nb" }), "project has"),
        (json!({ "user": "u", "role": "Chief Doctor" }), "role must be"),
        (json!({ "role": "clinician" }), "user"),
    ] {
        let body = json!({ "app": "where2eat", "workflow": "desk", "subject": subject });
        let (status, problem) = gateway.admin_post("/admin/tokens", body).await;
        assert_eq!(status, 400, "{subject}: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains(part), "{subject}: {problem}");
    }
    let (code, ..) = gateway.run(&["token", "create", "--app", "where2eat", "--workflow", "w", "--role", "nurse"]);
    assert_eq!(code, 2, "a role without a user is nobody's");
}

#[tokio::test]
async fn tokens_of_one_listener_open_nothing_on_the_other() {
    let gateway = Gateway::start().await;
    let (_, operator) = gateway.admin_post("/admin/tokens", json!({ "operator": "ana" })).await;
    let operator = operator["token"].as_str().unwrap();
    assert!(operator.starts_with("vst_admin_"));
    let tokens = |token: &str| gateway.http.get(format!("{}/admin/tokens", gateway.admin)).bearer_auth(token);
    let objects = |token: &str| gateway.http.get(format!("{}/objects", gateway.public)).bearer_auth(token);
    assert_eq!(send(tokens(operator)).await.status, 200);
    assert_problem(&send(tokens(&gateway.token)).await, 401, "token_invalid");
    assert_problem(&send(objects(operator)).await, 401, "token_invalid");
}

async fn held(gateway: &Gateway) -> String {
    let issued = gateway.request_jpeg(&harness::eicar()).await;
    assert_eq!(gateway.put(&issued, harness::eicar()).await, 200);
    let id = issued["objectId"].as_str().unwrap().to_owned();
    gateway.wait_for(&id, "quarantined").await;
    id
}

#[tokio::test]
async fn a_reviewer_releases_or_deletes_with_a_written_reason() {
    let gateway = Gateway::start().await;
    let (freed, gone) = (held(&gateway).await, held(&gateway).await);
    let (_, waiting) = gateway.admin_get("/admin/objects?state=quarantined&app=where2eat").await;
    assert_eq!(waiting["objects"].as_array().unwrap().len(), 2, "{waiting}");
    for body in
        [json!({}), json!({ "reason": "" }), json!({ "reason": "  a  " }), json!({ "reason": "x".repeat(1001) })]
    {
        for act in ["release", "delete", "inspect"] {
            let (status, problem) = gateway.admin_post(&format!("/admin/objects/{freed}/{act}"), body.clone()).await;
            assert_eq!((status, problem["code"].as_str()), (400, Some("invalid_field")), "{act} {body}: {problem}");
        }
    }
    let why = json!({ "reason": "false alarm, checked" });
    let (status, problem) = gateway.admin_post(&format!("/admin/objects/{freed}/inspect"), why.clone()).await;
    assert_eq!((status, problem["code"].as_str()), (409, Some("state_conflict")), "{problem}");
    assert_eq!(gateway.admin_post(&format!("/admin/objects/{freed}/release"), why.clone()).await.0, 200);
    gateway.wait_for(&freed, "visible").await;
    assert_eq!(gateway.download(&freed).await, harness::eicar());
    let (_, object) = gateway.get(&format!("/objects/{freed}")).await;
    assert_eq!(object["review"]["reason"], "false alarm, checked", "{object}");
    let (_, page) = gateway.admin_get(&format!("/admin/audit?object={freed}")).await;
    let entries = page["entries"].as_array().unwrap();
    let release =
        entries.iter().find(|entry| entry["action"] == "releaseObject" && entry["outcome"] == "allowed").unwrap();
    assert_eq!((release["detail"].as_str(), release["operator"].as_str()), (Some("false alarm, checked"), Some("dev")));

    assert_eq!(gateway.admin_post(&format!("/admin/objects/{gone}/delete"), why.clone()).await.0, 200);
    let (status, problem) = gateway.post("/request-download", json!({ "objectId": gone })).await;
    assert_eq!((status, problem["code"].as_str()), (410, Some("object_gone")), "{problem}");
    let unknown = format!("/admin/objects/obj_{}/release", "0".repeat(32));
    assert_eq!(gateway.admin_post(&unknown, why).await.0, 404);
}

#[tokio::test]
async fn the_audit_query_filters_and_pages() {
    let gateway = Gateway::start().await;
    let neighbour = gateway.create_token(json!({ "app": "finance-invoices", "workflow": "mail" })).await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(gateway.request_jpeg(b"0123456789").await["objectId"].as_str().unwrap().to_owned());
    }
    let body = json!({ "filename": "a.pdf", "size": 10, "contentType": "application/pdf" });
    assert_eq!(gateway.post_as(&neighbour, "/request-upload", body).await.0, 201);
    let (_, of_app) = gateway.admin_get("/admin/audit?app=finance-invoices").await;
    let entries = of_app["entries"].as_array().unwrap();
    assert!(entries.len() >= 2 && entries.iter().all(|entry| entry["app"] == "finance-invoices"), "{of_app}");
    let id = neighbour.split('_').nth(2).unwrap();
    let (_, of_token) = gateway.admin_get(&format!("/admin/audit?token={id}")).await;
    assert_eq!(of_token["entries"].as_array().unwrap().len(), 1, "{of_token}");
    let (_, of_object) = gateway.admin_get(&format!("/admin/audit?object={}", ids[0])).await;
    assert_eq!(of_object["entries"].as_array().unwrap().len(), 1, "{of_object}");

    let token = gateway.token.split('_').nth(2).unwrap();
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let (_, page) = gateway.admin_get(&format!("/admin/audit?token={token}&limit=2{cursor}")).await;
        seen.extend(
            page["entries"].as_array().unwrap().iter().map(|entry| entry["objectId"].as_str().unwrap().to_owned()),
        );
        let Some(next) = page["nextCursor"].as_i64() else { break };
        cursor = format!("&cursor={next}");
    }
    ids.reverse();
    assert_eq!(seen, ids, "newest first, each once");
    let (_, early) = gateway.admin_get("/admin/audit?until=2001-01-01T00:00:00Z").await;
    assert_eq!(early, json!({ "entries": [], "nextCursor": null }));
    for query in ["limit=0", "limit=1001", "since=yesterday", "app=A%20B", "object=x", "nonsense=1"] {
        assert_eq!(gateway.admin_get(&format!("/admin/audit?{query}")).await.0, 400, "{query}");
    }
}

#[tokio::test]
async fn what_nobody_could_read_is_kept_as_a_dead_letter() {
    let key = "a key of sixteen or more";
    let gateway = Gateway::start_with(&[("VESTIBULE__EVENTS__EVENTGRID__KEY", key)]).await;
    let request =
        gateway.http.post(format!("{}/events/eventgrid", gateway.public)).header("x-vestibule-event-key", key);
    let status = send(request.header("content-type", "application/json").body("{\"no\":\"event\"}")).await.status;
    assert_eq!(status, 200, "it is durable, so that it need not come back");
    let (_, letters) = gateway.admin_get("/admin/dead-letters").await;
    let letter = &letters[0];
    assert_eq!(
        (letter["source"].as_str(), letter["body"].as_str()),
        (Some("push:eventgrid"), Some("{\"no\":\"event\"}"))
    );
    assert!(letter["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{letters}");
}

#[tokio::test]
async fn metrics_name_what_occurred() {
    let gateway = Gateway::start_with(&[("VESTIBULE__SWEEP__INTERVAL", "200ms")]).await;
    gateway.visible_jpeg(&harness::fixture("menu.jpg")).await;
    gateway.post("/request-upload", Value::Null).await;
    let started = std::time::Instant::now();
    // Gauges are set by a probe in the background, every few seconds.
    let page = loop {
        let page = gateway.http.get(format!("{}/metrics", gateway.admin)).send().await.unwrap();
        assert!(page.headers()["content-type"].to_str().unwrap().starts_with("text/plain"));
        let page = page.text().await.unwrap();
        if page.contains("vestibule_objects{state=\"visible\"} 1") || started.elapsed() > crate::gateway::PATIENCE {
            break page;
        }
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    };
    for line in [
        "vestibule_issued_total{kind=\"upload\"} 1",
        "vestibule_refused_total{code=\"malformed_request\"} 1",
        "vestibule_transitions_total{to=\"visible\"} 1",
        "vestibule_arrivals_total{source=",
        "vestibule_inspection_seconds_count{",
        "vestibule_request_seconds_count{",
        "vestibule_objects{state=\"visible\"} 1",
        "vestibule_scanner_up{server=\"unix:",
        "vestibule_scanner_slots{server=\"unix:",
        "vestibule_queue_age_seconds{",
        "# HELP vestibule_issued_total",
    ] {
        assert!(page.contains(line), "{line} is missing in\n{page}");
    }
}
