//! `GET /objects`, `GET /objects/{id}` and `DELETE /objects/{id}`.

use serde_json::{Value, json};

use crate::gateway::Gateway;
use crate::harness;

async fn issue(gateway: &Gateway, path: &str) -> String {
    let body = json!({ "filename": "m.jpg", "size": 10, "contentType": "image/jpeg", "path": path });
    let (status, issued) = gateway.post("/request-upload", body).await;
    assert_eq!(status, 201, "{issued}");
    issued["objectId"].as_str().unwrap().to_owned()
}

fn ids(page: &Value) -> Vec<String> {
    page["objects"].as_array().unwrap().iter().map(|one| one["objectId"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_list_has_prefix_state_and_pages() {
    let gateway = Gateway::start().await;
    let mut made = Vec::new();
    for path in ["uploads/a/", "uploads/b/", "uploads/a/x/", "uploads/ab/", "uploads/a/"] {
        made.push(issue(&gateway, path).await);
    }
    made.reverse();
    let (_, all) = gateway.get("/objects").await;
    assert_eq!((ids(&all), &all["nextCursor"]), (made.clone(), &Value::Null), "newest first");
    let (_, under) = gateway.get("/objects?prefix=uploads/a/").await;
    assert_eq!(ids(&under).len(), 3, "whole segments only: {under}");
    let (_, visible) = gateway.get("/objects?state=visible").await;
    assert_eq!(visible, json!({ "objects": [], "nextCursor": null }));
    let (_, issued) = gateway.get("/objects?state=issued&limit=200").await;
    assert_eq!(ids(&issued).len(), 5);
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let (_, page) = gateway.get(&format!("/objects?limit=2{cursor}")).await;
        assert!(ids(&page).len() <= 2);
        seen.extend(ids(&page));
        let Some(next) = page["nextCursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(seen, made);
}

#[tokio::test]
async fn what_a_principal_may_not_see_is_not_there() {
    let gateway = Gateway::start().await;
    let mine = issue(&gateway, "uploads/a/").await;
    for body in [
        json!({ "app": "finance-invoices", "workflow": "mail" }),
        json!({ "app": "where2eat", "workflow": "trial", "environment": "test" }),
    ] {
        let token = gateway.create_token(body).await;
        let request = gateway.http.get(format!("{}/objects", gateway.public)).bearer_auth(&token);
        let (status, page) = crate::gateway::answer(request).await;
        assert!(status == 200 && ids(&page).is_empty(), "{page}");
    }
    let narrow = json!({ "app": "where2eat", "workflow": "n", "scopes": [
        "storage:*:where2eat:list:prefix=/uploads/b/", "storage:*:where2eat:read:prefix=/uploads/b/"] });
    let narrow = gateway.create_token(narrow).await;
    let get = |path: String| {
        let request = gateway.http.get(format!("{}{path}", gateway.public)).bearer_auth(&narrow);
        crate::gateway::answer(request)
    };
    assert_eq!(get("/objects?prefix=uploads/b/".into()).await.0, 200);
    assert_eq!(get("/objects?prefix=uploads/".into()).await.0, 403);
    assert_eq!(get("/objects".into()).await.0, 403);
    assert_eq!(get(format!("/objects/{mine}")).await.0, 403);
}

#[tokio::test]
async fn deleting_twice_is_success_and_a_held_object_stays() {
    let gateway = Gateway::start().await;
    let id = gateway.visible_jpeg(&harness::fixture("menu.jpg")).await;
    for _ in 0..2 {
        assert_eq!(gateway.delete(&format!("/objects/{id}")).await.0, 204);
    }
    let (_, object) = gateway.get(&format!("/objects/{id}")).await;
    assert_eq!((object["state"].as_str(), object["reason"].as_str()), (Some("deleted"), Some("object_gone")));
    let issued = gateway.request_jpeg(&harness::eicar()).await;
    assert_eq!(gateway.put(&issued, harness::eicar()).await, 200);
    let id = issued["objectId"].as_str().unwrap();
    gateway.wait_for(id, "quarantined").await;
    let (status, problem) = gateway.delete(&format!("/objects/{id}")).await;
    assert_eq!((status, problem["code"].as_str()), (409, Some("object_held")), "{problem}");
}

#[tokio::test]
async fn a_visible_object_shows_its_verdict_and_nothing_of_the_storage() {
    let gateway = Gateway::start().await;
    let id = gateway.visible_jpeg(&harness::fixture("menu.jpg")).await;
    let (_, object) = gateway.get(&format!("/objects/{id}")).await;
    let mut keys: Vec<&str> = object.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    let expected = [
        "classification",
        "contentType",
        "createdAt",
        "filename",
        "objectId",
        "originalFilename",
        "path",
        "sha256",
        "size",
        "state",
        "updatedAt",
        "uploadExpiresAt",
        "verdict",
    ];
    assert_eq!(keys, expected);
    let verdict = &object["verdict"];
    assert_eq!((verdict["result"].as_str(), verdict["detectedType"].as_str()), (Some("clean"), Some("image/jpeg")));
    assert!(
        verdict["engine"].as_str().unwrap().contains("ClamAV") && verdict["sha256"] == object["sha256"],
        "{verdict}"
    );
    assert!(!object.to_string().contains("vestibule-images") && !object.to_string().contains("incoming"), "{object}");
}
