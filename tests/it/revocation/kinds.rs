//! Each kind kills what it names and nothing else, forbids new tokens until it is lifted, and tells what the dead ones did.

use serde_json::{Value, json};

use super::{asks, id_of, revoke, token};
use crate::gateway::Gateway;

const DEAD: u16 = 401;

async fn states(gateway: &Gateway, tokens: &[&str]) -> Vec<u16> {
    let mut states = Vec::new();
    for token in tokens {
        let (status, code) = asks(gateway, token).await;
        assert!(status == 200 || code == "token_revoked", "{status} {code}");
        states.push(status);
    }
    states
}

#[tokio::test]
async fn each_kind_kills_what_it_names_and_nothing_else_and_blocks_until_it_is_lifted() {
    let gateway = Gateway::start().await;
    let ana = json!({ "subject": { "user": "ana", "device": "laptop-1" } });
    let ben = json!({ "subject": { "user": "ben", "device": "laptop-2" } });
    let anas = token(&gateway, "where2eat", "desk", ana.clone()).await;
    let bens = token(&gateway, "where2eat", "desk", ben.clone()).await;
    let import = token(&gateway, "where2eat", "import", json!({ "owner": "catering" })).await;
    let invoices = token(&gateway, "finance-invoices", "import", json!({})).await;
    let all = [anas.as_str(), &bens, &import, &invoices];
    assert_eq!(states(&gateway, &all).await, [200, 200, 200, 200]);

    for (body, dead, again) in [
        (json!({ "kind": "user", "id": "ana" }), [DEAD, 200, 200, 200], ana),
        (json!({ "kind": "device", "id": "laptop-2" }), [DEAD, DEAD, 200, 200], ben),
        (json!({ "kind": "owner", "id": "catering" }), [DEAD, DEAD, DEAD, 200], json!({ "owner": "catering" })),
    ] {
        let mut body = body;
        body["reason"] = json!("lost in a train");
        let answer = revoke(&gateway, body).await;
        assert_eq!((&answer["blocks"], &answer["killed"]), (&json!(true), &json!(1)), "{answer}");
        // At once on this node, without a look at the database in between.
        assert_eq!(states(&gateway, &all).await, dead, "{answer}");

        let mut new = json!({ "app": "where2eat", "workflow": "desk" });
        new.as_object_mut().unwrap().extend(again.as_object().unwrap().clone());
        let (status, problem) = gateway.admin_post("/admin/tokens", new.clone()).await;
        assert_eq!(status, 403, "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains(answer["revocationId"].as_str().unwrap()), "{problem}");
        let lift = format!("/admin/revocations/{}/lift", answer["revocationId"].as_str().unwrap());
        for _ in 0..2 {
            let (status, lifted) = gateway.admin_post(&lift, json!({ "reason": "found again" })).await;
            assert_eq!(status, 200, "{lifted}");
            assert!(lifted["liftedAt"].is_string(), "{lifted}");
        }
        let (status, created) = gateway.admin_post("/admin/tokens", new).await;
        assert_eq!(status, 201, "{created}");
        assert_eq!(states(&gateway, &all).await, dead, "what is dead stays dead");
    }

    // A workflow of this name in another app is another workflow.
    let import = token(&gateway, "where2eat", "import", json!({})).await;
    let workflow =
        json!({ "kind": "workflow", "app": "where2eat", "id": "import", "reason": "a loop", "block": false });
    let answer = revoke(&gateway, workflow).await;
    assert_eq!((&answer["killed"], &answer["blocks"]), (&json!(1), &json!(false)), "{answer}");
    assert_eq!(states(&gateway, &[&import, &invoices]).await, [DEAD, 200]);
    token(&gateway, "where2eat", "import", json!({})).await;

    revoke(&gateway, json!({ "kind": "app", "id": "where2eat", "reason": "taken over" })).await;
    assert_eq!(states(&gateway, &[&gateway.token, &invoices]).await, [DEAD, 200]);
    let (status, _) = gateway.admin_post("/admin/tokens", json!({ "app": "where2eat", "workflow": "new" })).await;
    assert_eq!(status, 403);
    let (_, list) = gateway.admin_get("/admin/revocations?inForce=true").await;
    let in_force: Vec<&Value> = list["revocations"].as_array().unwrap().iter().map(|one| &one["kind"]).collect();
    assert_eq!(in_force, [&json!("app")], "the others were lifted, or blocked nothing");
    let (_, page) = gateway.admin_get("/admin/audit?limit=1000").await;
    let entries = page["entries"].as_array().unwrap();
    let lifts = entries.iter().filter(|entry| entry["action"] == "liftRevocation" && entry["outcome"] == "allowed");
    let in_vain = lifts.filter(|entry| entry["detail"].as_str().unwrap().contains("blocked nothing any more"));
    assert!(in_vain.count() > 0, "what changes nothing is on record too");
}

#[tokio::test]
async fn the_answer_tells_what_the_token_did_and_until_when_urls_may_work() {
    let gateway = Gateway::start().await;
    let bytes = crate::harness::fixture("menu.jpg");
    let id = gateway.visible_jpeg(&bytes).await;
    gateway.request_jpeg(&bytes).await;
    for _ in 0..3 {
        assert_eq!(gateway.post("/request-download", json!({ "objectId": id })).await.0, 200);
    }
    let too_large = json!({ "filename": "menu.jpg", "size": 999_999_999, "contentType": "image/jpeg" });
    assert_eq!(gateway.post("/request-upload", too_large).await.0, 403);

    let body = json!({ "kind": "token", "id": id_of(&gateway.token), "reason": "pasted in a chat" });
    let answer = revoke(&gateway, body.clone()).await;
    assert_eq!((&answer["killed"], &answer["blocks"]), (&json!(1), &json!(false)), "{answer}");
    assert_eq!(answer["tokens"], json!([id_of(&gateway.token)]), "{answer}");
    let count = |action: &str, outcome: &str| {
        let acts = answer["did"]["acts"].as_array().unwrap().iter();
        acts.filter(|act| act["action"] == action && act["outcome"] == outcome).map(|act| &act["count"]).next().cloned()
    };
    assert_eq!(count("requestUpload", "allowed"), Some(json!(2)), "{answer}");
    assert_eq!(count("requestUpload", "refused"), Some(json!(1)), "{answer}");
    assert_eq!(count("requestDownload", "allowed"), Some(json!(3)), "{answer}");
    assert_eq!(answer["did"]["newestEntries"].as_array().unwrap().len(), 6, "{answer}");
    assert_eq!(
        answer["uploaded"],
        json!({ "objects": 2, "states": { "visible": 1, "issued": 1 }, "complete": true,
        "uploadsMayWorkUntil": answer["uploaded"]["uploadsMayWorkUntil"] })
    );
    assert!(answer["uploaded"]["uploadsMayWorkUntil"].is_string(), "{answer}");
    assert!(answer["did"]["downloadsMayWorkUntil"].is_string(), "{answer}");

    // The same again, now by its id; a second revocation kills nobody.
    let (status, again) =
        gateway.admin_get(&format!("/admin/revocations/{}", answer["revocationId"].as_str().unwrap())).await;
    assert_eq!((status, &again["did"]["acts"], &again["tokens"]), (200, &answer["did"]["acts"], &answer["tokens"]));
    assert_eq!(revoke(&gateway, body).await["killed"], 0);
    let (_, page) = gateway.admin_get("/admin/audit?limit=50").await;
    let entries = page["entries"].as_array().unwrap();
    let revoked = entries.iter().rfind(|entry| entry["action"] == "revokeToken").unwrap();
    assert_eq!((&revoked["app"], &revoked["operator"]), (&json!("where2eat"), &json!("dev")), "{revoked}");
    assert!(revoked["detail"].as_str().unwrap().contains("pasted in a chat"), "{revoked}");
}

#[tokio::test]
async fn a_revocation_needs_a_target_that_can_be_and_a_reason() {
    let gateway = Gateway::start().await;
    for (body, status, code) in [
        (json!({ "kind": "token", "id": "z".repeat(16), "reason": "a leak" }), 404, "not_found"),
        (json!({ "kind": "token", "id": id_of(&gateway.token), "reason": "x" }), 400, "invalid_field"),
        (json!({ "kind": "token", "id": id_of(&gateway.token) }), 400, "invalid_field"),
        (json!({ "kind": "user", "id": "a\nb", "reason": "a leak" }), 400, "invalid_field"),
        (json!({ "kind": "workflow", "id": "desk", "reason": "a leak" }), 400, "invalid_field"),
    ] {
        let (got, problem) = gateway.admin_post("/admin/revocations", body.clone()).await;
        assert_eq!((got, problem["code"].as_str()), (status, Some(code)), "{body}: {problem}");
    }
    assert_eq!(asks(&gateway, &gateway.token).await.0, 200, "nothing was revoked");
    let nobody = format!("/admin/revocations/rev_{}", "0".repeat(32));
    for path in [nobody.as_str(), "/admin/revocations/7"] {
        assert_eq!(gateway.admin_get(path).await.0, 404);
        assert_eq!(gateway.admin_post(&format!("{path}/lift"), json!({ "reason": "a mistake" })).await.0, 404);
    }
}

#[tokio::test]
async fn the_command_line_passes_through_the_same_door() {
    let gateway = Gateway::start().await;
    let ana = token(&gateway, "where2eat", "desk", json!({ "subject": { "user": "ana" } })).await;
    let (code, told, errors) = gateway.run(&["revoke", "user", "ana", "--reason", "left the company", "--contain"]);
    assert_eq!(code, 0, "{errors}");
    assert!(told.contains("tokens that died: 1") && told.contains("containment: under way"), "{told}");
    let began = std::time::Instant::now();
    while asks(&gateway, &ana).await.0 != DEAD {
        assert!(began.elapsed() < std::time::Duration::from_secs(1), "a node learns of it within a second");
    }
    let id = told.split_whitespace().next().unwrap().to_owned();
    assert!(gateway.run(&["revoke", "list", "--in-force"]).1.contains("user:ana"));
    assert!(gateway.run(&["revoke", "show", &id]).1.contains("left the company"));
    let create = ["token", "create", "--app", "where2eat", "--workflow", "desk", "--user", "ana"];
    let (code, _, errors) = gateway.run(&create);
    assert!(code == 1 && errors.contains(&id), "{errors}");
    let (code, _, errors) = gateway.run(&["revoke", "lift", &id, "--reason", "was a mistake"]);
    assert_eq!(code, 0, "{errors}");
    assert_eq!(gateway.run(&create).0, 0);
    let (code, _, errors) = gateway.run(&["token", "revoke", id_of(&gateway.token), "--reason", "no longer needed"]);
    assert_eq!(code, 0, "{errors}");
    let (_, page) = gateway.admin_get("/admin/audit?limit=20").await;
    let entries = page["entries"].as_array().unwrap();
    let by_cli = entries.iter().find(|entry| entry["action"] == "revokeToken").unwrap();
    assert!(by_cli["operator"].as_str().unwrap().starts_with("cli:"), "{by_cli}");
}
