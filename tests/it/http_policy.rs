//! Cedar's last word as clients, reviewers and the audit trail see it, on the real binary.

use serde_json::{Value, json};

use crate::gateway::{Gateway, edited_policies};
use crate::harness;
use crate::http_errors::{assert_problem, send};

const GUARDS: &str = r#"@id("webp-from-attested-devices")
@message("WebP comes from our own devices only. Use one of them.")
forbid (principal, action == Action::"upload", resource)
when { context.contentType == "image/webp" }
unless { principal has user && principal.user.deviceAttested };

@id("cooks-do-not-delete")
forbid (principal, action == Action::"delete", resource)
when { principal is Workflow && principal has user && principal.user has role && principal.user.role == "cook" };

@id("reviewers-leave-marketing-alone")
forbid (principal, action == Action::"release", resource in Owner::"marketing")
when { context.state == "quarantined" };
"#;

async fn guarded() -> Gateway {
    let dir = edited_policies(&[]);
    // The roles of the example's classes are of another kind.
    let classes = dir.path().join("policies/classifications.toml");
    let text = std::fs::read_to_string(&classes).unwrap();
    let cook = if text.contains("[roles]") { text.replace("[roles]\n", "[roles]\ncook = \"Cooks\"\n") } else { text };
    std::fs::write(classes, cook).unwrap();
    std::fs::write(dir.path().join("policies/guards.cedar"), GUARDS).unwrap();
    Gateway::start_in(dir, &[]).await
}

fn upload(name: &str, media: &str) -> Value {
    json!({ "filename": name, "size": 4096, "contentType": media })
}

async fn token_for(gateway: &Gateway, subject: Value) -> String {
    gateway.create_token(json!({ "app": "where2eat", "workflow": "desk", "subject": subject })).await
}

async fn last_entry(gateway: &Gateway, action: &str) -> Value {
    let (_, page) = gateway.admin_get("/admin/audit?limit=50").await;
    page["entries"].as_array().unwrap().iter().find(|entry| entry["action"] == action).cloned().unwrap()
}

#[tokio::test]
async fn a_policy_refuses_with_its_message_and_the_trail_names_it() {
    let gateway = guarded().await;
    let (status, problem) = gateway.post("/request-upload", upload("a.webp", "image/webp")).await;
    assert_eq!((status, problem["code"].as_str()), (403, Some("denied_by_policy")), "{problem}");
    assert_eq!(problem["detail"], "WebP comes from our own devices only. Use one of them.");
    let entry = last_entry(&gateway, "requestUpload").await;
    assert_eq!(entry["rule"], "guards.cedar:1 webp-from-attested-devices", "{entry}");
    assert_eq!(entry["outcome"], "refused", "{entry}");

    let (status, issued) = gateway.post("/request-upload", upload("a.jpg", "image/jpeg")).await;
    assert_eq!(status, 201, "{issued}");
    let entry = last_entry(&gateway, "requestUpload").await;
    let rule = entry["rule"].as_str().unwrap();
    assert!(rule.starts_with("apps/where2eat.toml, base.cedar:") && rule.ends_with(" within-the-manifests"), "{rule}");

    let attested = token_for(&gateway, json!({ "user": "u-1", "deviceAttested": true })).await;
    assert_eq!(gateway.post_as(&attested, "/request-upload", upload("b.webp", "image/webp")).await.0, 201);
    let other = token_for(&gateway, json!({ "user": "u-1", "deviceAttested": false })).await;
    assert_eq!(
        gateway.post_as(&other, "/request-upload", upload("b.webp", "image/webp")).await.0,
        403,
        "not remembered"
    );
}

#[tokio::test]
async fn a_policy_keeps_a_role_from_deleting_and_a_reviewer_from_releasing() {
    let gateway = guarded().await;
    let id = gateway.visible_jpeg(&harness::fixture("menu.jpg")).await;
    let cook = token_for(&gateway, json!({ "user": "u-2", "role": "cook" })).await;
    let delete = |token: &str| gateway.http.delete(format!("{}/objects/{id}", gateway.public)).bearer_auth(token);
    let refused = send(delete(&cook)).await;
    assert_problem(&refused, 403, "denied_by_policy");
    assert!(refused.body["detail"].as_str().unwrap().contains("'cooks-do-not-delete'"), "{}", refused.body);
    assert_eq!(send(delete(&gateway.token)).await.status, 204);

    let issued = gateway.request_jpeg(&harness::eicar()).await;
    assert_eq!(gateway.put(&issued, harness::eicar()).await, 200);
    let held = issued["objectId"].as_str().unwrap();
    gateway.wait_for(held, "quarantined").await;
    let reason = json!({ "reason": "a false alarm, surely" });
    let (status, problem) = gateway.admin_post(&format!("/admin/objects/{held}/release"), reason.clone()).await;
    assert_eq!((status, problem["code"].as_str()), (403, Some("denied_by_policy")), "{problem}");
    let entry = last_entry(&gateway, "releaseObject").await;
    assert!(entry["rule"].as_str().unwrap().ends_with(" reviewers-leave-marketing-alone"), "{entry}");
    assert_eq!(
        gateway.admin_get(&format!("/admin/objects/{held}")).await.1["state"],
        "quarantined",
        "nothing happened"
    );
    assert_eq!(gateway.admin_post(&format!("/admin/objects/{held}/delete"), reason).await.0, 200);
}

#[tokio::test]
async fn a_list_shows_nothing_that_a_policy_hides_alone() {
    let dir = edited_policies(&[]);
    let text = "@id(\"hidden\") forbid (principal, action == Action::\"list\", resource)\n\
                when { context.prefix like \"uploads/secret/*\" };\n";
    std::fs::write(dir.path().join("policies/guards.cedar"), text).unwrap();
    let gateway = Gateway::start_in(dir, &[]).await;
    let mut ids = Vec::new();
    for path in ["uploads/secret/", "uploads/open/"] {
        let mut body = upload("a.jpg", "image/jpeg");
        body["path"] = path.into();
        let (status, issued) = gateway.post("/request-upload", body).await;
        assert_eq!(status, 201, "{issued}");
        ids.push(issued["objectId"].as_str().unwrap().to_owned());
    }
    let (_, page) = gateway.get("/objects?prefix=uploads/").await;
    let listed: Vec<&str> =
        page["objects"].as_array().unwrap().iter().map(|o| o["objectId"].as_str().unwrap()).collect();
    assert_eq!(listed, [ids[1].as_str()]);
    assert_eq!(gateway.get(&format!("/objects/{}", ids[0])).await.0, 403);
    assert_eq!(gateway.get(&format!("/objects/{}", ids[1])).await.0, 200);
}

#[tokio::test]
async fn a_policy_that_comes_in_with_a_reload_kills_links_that_were_handed_out_before() {
    let dir = edited_policies(&[]);
    let gateway = Gateway::start_in(dir, &[]).await;
    let id = gateway.visible_jpeg(&harness::fixture("menu.jpg")).await;
    let ask = json!({ "objectId": id, "oneTime": true });
    let (status, issued) = gateway.post("/request-download", ask.clone()).await;
    assert_eq!(status, 200, "{issued}");
    let text = "@id(\"closed\") forbid (principal in App::\"where2eat\", action == Action::\"download\", resource);\n";
    std::fs::write(gateway.dir().join("policies/closed.cedar"), text).unwrap();
    assert_eq!(gateway.reload().await, "allowed");
    assert_problem(&send(gateway.http.get(issued["downloadUrl"].as_str().unwrap())).await, 404, "link_invalid");
    let (status, problem) = gateway.post("/request-download", ask).await;
    assert_eq!((status, problem["code"].as_str()), (403, Some("denied_by_policy")), "{problem}");

    // A policy that does not validate leaves the running set in force.
    std::fs::write(gateway.dir().join("policies/closed.cedar"), "permit (principal, action, resource) when { 1 };")
        .unwrap();
    assert_eq!(gateway.reload().await, "refused");
    assert_eq!(gateway.post("/request-download", json!({ "objectId": id })).await.0, 403);
}
