//! Roles of operators: every route of the admin listener, asked in every role, answers as `docs/admin-roles.md` says.
//!
//! The document is the expectation here, and the running gateway what is judged; a route of the API description that has
//! no row fails.

use std::collections::BTreeMap;
use std::path::Path;

use reqwest::Method;
use serde_json::{Value, json};

use crate::gateway::{Gateway, edited_policies};
use crate::harness;
use crate::http_errors::{assert_problem, send};

const ROLES: [&str; 4] = ["viewer", "reviewer", "provisioner", "admin"];

fn document(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name)).unwrap()
}

/// `GET /admin/tokens` to the outcome for each role.
fn rows() -> BTreeMap<String, Vec<String>> {
    let text = document("admin-roles.md");
    let cells = |line: &str| line.split('|').map(|cell| cell.trim().trim_matches('`').to_owned()).collect::<Vec<_>>();
    let header = text.lines().find(|line| line.starts_with("| route")).unwrap();
    assert_eq!(cells(header)[2..6], ROLES);
    text.lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| (cells(line)[1].clone(), cells(line)[2..6].to_vec()))
        .collect()
}

#[test]
fn every_route_of_the_description_has_a_row() {
    let rows = rows();
    let description: Value = serde_json::from_str(&document("openapi-admin.json")).unwrap();
    for (path, item) in description["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            let route = format!("{} {path}", method.to_uppercase());
            assert!(rows.contains_key(&route), "docs/admin-roles.md has no row for {route}");
        }
    }
    assert!(rows.len() >= 15, "{rows:?}");
}

#[tokio::test]
async fn every_route_answers_every_role_as_the_document_says() {
    let gateway = Gateway::start().await;
    let mut tokens = BTreeMap::new();
    for role in ROLES {
        let (status, made) = gateway.admin_post("/admin/tokens", json!({ "operator": role, "roles": [role] })).await;
        assert_eq!((status, &made["roles"]), (201, &json!([role])), "{made}");
        tokens.insert(role, made["token"].as_str().unwrap().to_owned());
    }
    for (route, outcomes) in rows() {
        let (method, path) = route.split_once(' ').unwrap();
        // Ids that nothing has: whoever may act hears that, or that the body is wrong, and nothing is changed.
        let address = format!("{}{}", gateway.admin, path.replace("{id}", "none").replace("{purpose}", "none"));
        let request = |token: Option<&str>| {
            let request = gateway.http.request(Method::from_bytes(method.as_bytes()).unwrap(), &address);
            let request = if method == "POST" { request.json(&json!({})) } else { request };
            match token {
                Some(token) => request.bearer_auth(token),
                None => request,
            }
        };
        let anonymous = send(request(None)).await;
        for (role, outcome) in ROLES.into_iter().zip(&outcomes) {
            let answer = send(request(Some(&tokens[role]))).await;
            match outcome.as_str() {
                "403" => {
                    assert_problem(&answer, 403, "role_insufficient");
                    let detail = answer.body["detail"].as_str().unwrap();
                    assert!(detail.contains(role) && answer.body["allowed"].is_array(), "{route}: {}", answer.body);
                }
                "yes" => assert!(
                    !matches!(answer.status, 401 | 405 | 500..) && answer.body["code"] != "role_insufficient",
                    "{route} as {role}: {} {}",
                    answer.status,
                    answer.body
                ),
                "open" => assert_eq!(answer.status, anonymous.status, "{route} as {role}"),
                other => panic!("{route}: '{other}' is no outcome"),
            }
        }
        match outcomes[0].as_str() {
            "open" => assert!(matches!(anonymous.status, 200 | 503), "{route}: {}", anonymous.status),
            _ => assert_problem(&anonymous, 401, "token_missing"),
        }
    }
    // Each refusal of a known operator has its record.
    let (_, page) = gateway.admin_get("/admin/audit?limit=1000").await;
    let refused = page["entries"].as_array().unwrap().iter();
    let refused =
        refused.filter(|entry| entry["reason"] == "role_insufficient" && entry["operator"] == "viewer").count();
    assert_eq!(refused, rows().values().filter(|outcomes| outcomes[0] == "403").count());
}

#[tokio::test]
async fn only_an_admin_makes_and_ends_operators() {
    let gateway = Gateway::start().await;
    let (_, made) = gateway.admin_post("/admin/tokens", json!({ "operator": "ops-a", "roles": ["provisioner"] })).await;
    let provisioner = made["token"].as_str().unwrap();
    let post =
        |body: Value| gateway.http.post(format!("{}/admin/tokens", gateway.admin)).bearer_auth(provisioner).json(&body);
    assert_problem(&send(post(json!({ "operator": "ops-b" }))).await, 403, "role_insufficient");
    let (_, other) = gateway.admin_post("/admin/tokens", json!({ "operator": "ops-c", "roles": ["viewer"] })).await;
    let revoke = |id: &Value| gateway.http.delete(format!("{}/admin/tokens/{}", gateway.admin, id.as_str().unwrap()));
    assert_problem(&send(revoke(&other["tokenId"]).bearer_auth(provisioner)).await, 403, "role_insufficient");
    let made = send(post(json!({ "app": "where2eat", "workflow": "menu-import" }))).await;
    assert_eq!(made.status, 201, "{}", made.body);
    assert_eq!(send(revoke(&made.body["tokenId"]).bearer_auth(provisioner)).await.status, 204);

    let (_, listed) = gateway.admin_get("/admin/tokens").await;
    let of =
        |name: &str| listed["tokens"].as_array().unwrap().iter().find(|one| one["operator"] == name).unwrap().clone();
    assert_eq!((&of("ops-a")["roles"], &of("ops-c")["roles"]), (&json!(["provisioner"]), &json!(["viewer"])));
    for roles in [json!([]), json!(["root"]), json!("viewer")] {
        let (status, problem) =
            gateway.admin_post("/admin/tokens", json!({ "operator": "ops-b", "roles": roles })).await;
        assert_eq!(status, 400, "{problem}");
    }
    let (code, token, errors) = gateway.run(&["token", "create", "--operator", "ops-d", "--admin-role", "reviewer"]);
    assert_eq!(code, 0, "{errors}");
    let look = gateway.http.get(format!("{}/admin/audit", gateway.admin)).bearer_auth(token.trim());
    assert_eq!(send(look).await.status, 200);
    assert!(gateway.run(&["token", "list"]).1.contains("operator ops-d (reviewer)"));
}

#[tokio::test]
async fn a_release_waits_for_as_many_reviewers_as_the_app_asks_for() {
    let asked = ("apps/where2eat.toml", "prefix = ", "release_approvals = 2\nprefix = ");
    let gateway = Gateway::start_in(edited_policies(&[asked]), &[]).await;
    let issued = gateway.request_jpeg(&harness::eicar()).await;
    assert_eq!(gateway.put(&issued, harness::eicar()).await, 200);
    let id = issued["objectId"].as_str().unwrap();
    gateway.wait_for(id, "quarantined").await;
    let mut reviewers = Vec::new();
    for name in ["reviewer-a", "reviewer-b"] {
        let (_, made) = gateway.admin_post("/admin/tokens", json!({ "operator": name, "roles": ["reviewer"] })).await;
        reviewers.push(made["token"].as_str().unwrap().to_owned());
    }
    let release = async |reviewer: &str| {
        let request = gateway.http.post(format!("{}/admin/objects/{id}/release", gateway.admin)).bearer_auth(reviewer);
        send(request.json(&json!({ "reason": "false alarm, checked" }))).await
    };
    for _ in 0..2 {
        let waiting = release(&reviewers[0]).await;
        assert_eq!((waiting.status, &waiting.body["approvalsNeeded"]), (202, &json!(2)), "{}", waiting.body);
        assert_eq!(waiting.body["approvedBy"], json!(["reviewer-a"]), "one person is one, however often");
        assert_eq!(waiting.body["object"]["state"], "quarantined", "{}", waiting.body);
    }
    let (status, _) = gateway.post("/request-download", json!({ "objectId": id })).await;
    assert_eq!(status, 409, "nothing is released yet");
    let released = release(&reviewers[1]).await;
    assert_eq!(released.status, 200, "{}", released.body);
    let object = gateway.wait_for(id, "visible").await;
    assert_eq!(object["review"]["reason"], "false alarm, checked", "{object}");

    let (_, page) = gateway.admin_get(&format!("/admin/audit?object={id}&limit=100")).await;
    let entries = page["entries"].as_array().unwrap();
    let of = |action: &str| entries.iter().filter(|entry| entry["action"] == action).collect::<Vec<_>>();
    assert_eq!((of("approveRelease").len(), of("releaseObject").len()), (3, 1), "{page}");
    let detail = of("approveRelease")[0]["detail"].as_str().unwrap();
    assert!(detail.contains("apps/where2eat.toml:") && detail.contains("release_approvals"), "{detail}");
    // The gateway alone decides how many: one reviewer deletes without the other.
    let (status, _) =
        gateway.admin_post(&format!("/admin/objects/{id}/delete"), json!({ "reason": "no longer needed" })).await;
    assert_eq!(status, 200);
}
