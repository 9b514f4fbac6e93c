//! Roles of operators: every route of the admin listener, asked in every role, answers as `docs/admin-roles.md` says.
//!
//! The document is the expectation here, and the running gateway what is judged; a route of the API description that has
//! no row fails.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::gateway::{Gateway, PATIENCE, edited_policies};
use crate::harness;
use crate::http_errors::{Answer, assert_problem, send};
use crate::identity_provider::{Provider, trusting};

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
    judge(&gateway, &tokens).await;
    // Each refusal of a known operator has its record.
    let (_, page) = gateway.admin_get("/admin/audit?limit=1000").await;
    let refused = page["entries"].as_array().unwrap().iter();
    let refused =
        refused.filter(|entry| entry["reason"] == "role_insufficient" && entry["operator"] == "viewer").count();
    assert_eq!(refused, rows().values().filter(|outcomes| outcomes[0] == "403").count());
}

#[tokio::test]
async fn operators_of_the_certified_provider_may_what_their_groups_say() {
    let provider = Provider::shared();
    let gateway = trusting(&provider, edited_policies(&[])).await;
    let mut tokens = BTreeMap::new();
    for role in ROLES {
        tokens.insert(role, provider.id_token(&format!("operator-{role}"), "operators").await);
    }
    judge(&gateway, &tokens).await;
    let (_, page) = gateway.admin_get("/admin/audit?limit=1000").await;
    let refused =
        |entry: &&Value| entry["reason"] == "role_insufficient" && entry["operator"] == "company:operator-viewer";
    let refused = page["entries"].as_array().unwrap().iter().filter(refused).count();
    assert_eq!(refused, rows().values().filter(|outcomes| outcomes[0] == "403").count());
    // Whoever is in no group that counts may not even look.
    let nobody = provider.id_token("operator-none", "operators").await;
    for (route, outcomes) in rows().into_iter().filter(|(_, outcomes)| outcomes[0] != "open") {
        let answer = send(request(&gateway, &route).bearer_auth(&nobody)).await;
        assert_eq!((answer.status, &answer.body["code"]), (403, &json!("role_insufficient")), "{route} {outcomes:?}");
    }
}

/// A request for this route, with ids that nothing has: whoever may act hears that, or that the body is wrong, and nothing is
/// changed.
fn request(gateway: &Gateway, route: &str) -> RequestBuilder {
    let (method, path) = route.split_once(' ').unwrap();
    let address = format!("{}{}", gateway.admin, path.replace("{id}", "none").replace("{purpose}", "none"));
    let request = gateway.http.request(Method::from_bytes(method.as_bytes()).unwrap(), &address);
    if method == "POST" { request.json(&json!({})) } else { request }
}

/// Asks for everything as everybody, and compares with the document.
async fn judge(gateway: &Gateway, tokens: &BTreeMap<&str, String>) {
    for (route, outcomes) in rows() {
        let anonymous = send(request(gateway, &route)).await;
        for (role, outcome) in ROLES.into_iter().zip(&outcomes) {
            let answer = send(request(gateway, &route).bearer_auth(&tokens[role])).await;
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

/// Two reviewers of a gateway where releases of `where2eat` need both.
async fn with_two_reviewers() -> (Gateway, Vec<String>) {
    let asked = ("apps/where2eat.toml", "prefix = ", "release_approvals = 2\nprefix = ");
    let gateway = Gateway::start_in(edited_policies(&[asked]), &[]).await;
    let mut reviewers = Vec::new();
    for name in ["reviewer-a", "reviewer-b"] {
        let (_, made) = gateway.admin_post("/admin/tokens", json!({ "operator": name, "roles": ["reviewer"] })).await;
        reviewers.push(made["token"].as_str().unwrap().to_owned());
    }
    (gateway, reviewers)
}

async fn release(gateway: &Gateway, id: &str, reviewer: &str) -> Answer {
    let request = gateway.http.post(format!("{}/admin/objects/{id}/release", gateway.admin)).bearer_auth(reviewer);
    send(request.json(&json!({ "reason": "false alarm, checked" }))).await
}

#[tokio::test]
async fn an_approval_is_for_the_object_as_it_was_and_void_once_it_has_changed() {
    let (gateway, reviewers) = with_two_reviewers().await;
    let id = gateway.visible_jpeg(&harness::fixture("menu.jpg")).await;
    let hold = async || {
        let body = json!({ "kind": "app", "id": "where2eat", "reason": "a leak", "contain": true, "block": false });
        let (status, revocation) = gateway.admin_post("/admin/revocations", body).await;
        assert_eq!(status, 201, "{revocation}");
        gateway.wait_for(&id, "quarantined").await;
        // Until it is done it holds again what is put back.
        let path = format!("/admin/revocations/{}", revocation["revocationId"].as_str().unwrap());
        let started = Instant::now();
        while gateway.admin_get(&path).await.1["containedAt"].is_null() {
            assert!(started.elapsed() < PATIENCE, "it is never done\n{}", gateway.log());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    hold().await;
    assert_eq!(release(&gateway, &id, &reviewers[0]).await.status, 202);
    assert_eq!(release(&gateway, &id, &reviewers[1]).await.status, 200);
    gateway.wait_for(&id, "visible").await;
    hold().await;
    let waiting = release(&gateway, &id, &reviewers[1]).await;
    assert_eq!((waiting.status, &waiting.body["approvedBy"]), (202, &json!(["reviewer-b"])), "{}", waiting.body);
    assert_eq!(release(&gateway, &id, &reviewers[0]).await.status, 200);
}

#[tokio::test]
async fn the_approval_of_a_reviewer_who_was_shut_out_since_does_not_count() {
    let (gateway, reviewers) = with_two_reviewers().await;
    let issued = gateway.request_jpeg(&harness::eicar()).await;
    assert_eq!(gateway.put(&issued, harness::eicar()).await, 200);
    let id = issued["objectId"].as_str().unwrap();
    gateway.wait_for(id, "quarantined").await;
    assert_eq!(release(&gateway, id, &reviewers[0]).await.status, 202);
    let stolen = reviewers[0].split('_').nth(2).unwrap();
    let body = json!({ "kind": "token", "id": stolen, "reason": "it was stolen" });
    assert_eq!(gateway.admin_post("/admin/revocations", body).await.0, 201);
    let waiting = release(&gateway, id, &reviewers[1]).await;
    assert_eq!((waiting.status, &waiting.body["approvedBy"]), (202, &json!(["reviewer-b"])), "{}", waiting.body);
    let body = json!({ "operator": "reviewer-a", "roles": ["reviewer"] });
    let (_, made) = gateway.admin_post("/admin/tokens", body).await;
    let released = release(&gateway, id, made["token"].as_str().unwrap()).await;
    assert_eq!(released.status, 200, "with another token the same person may agree again: {}", released.body);
}

#[tokio::test]
async fn a_release_waits_for_as_many_reviewers_as_the_app_asks_for() {
    let (gateway, reviewers) = with_two_reviewers().await;
    let issued = gateway.request_jpeg(&harness::eicar()).await;
    assert_eq!(gateway.put(&issued, harness::eicar()).await, 200);
    let id = issued["objectId"].as_str().unwrap();
    gateway.wait_for(id, "quarantined").await;
    let release = async |reviewer: &str| release(&gateway, id, reviewer).await;
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
