//! Operators who log in at their company's provider, at the admin listener of the real binary.

use serde_json::{Value, json};
use vestibule::clock::Clock;
use vestibule::domain::audit::{AuditAction, AuditEntry, Outcome};
use vestibule::domain::ids::RevocationId;
use vestibule::domain::revocation::RevocationTarget;
use vestibule::store::sqlite::{SqliteOptions, SqliteStore};
use vestibule::store::{IdentityStore, Revoke};

use super::provider::{Key, Provider};
use crate::gateway::{Gateway, answer};

/// A gateway that trusts one provider, whose people's groups give them roles.
struct Admin {
    gateway: Gateway,
    provider: Provider,
    key: Key,
}

impl Admin {
    async fn start() -> Self {
        let key = Key::rsa("operators");
        let provider = Provider::start(&[&key]).await;
        let issuers = json!([{
            "name": "corp", "issuer": provider.issuer, "environment": "live", "clients": ["page"],
            "claims": { "user_prefix": "corp|", "device": "device" },
            "operators": {
                "audience": "console", "claim": "/realm/groups",
                "viewer": ["v"], "reviewer": ["r"], "provisioner": ["p"], "admin": ["a"],
            },
        }]);
        let gateway = Gateway::start_with(&[("VESTIBULE__IDENTITY__ISSUERS", &issuers.to_string())]).await;
        Self { gateway, provider, key }
    }

    /// A token of somebody in this group.
    fn token(&self, sub: &str, group: &str, edit: impl Fn(&mut Value)) -> String {
        let now = Clock::system().now().as_second();
        let mut claims = json!({
            "iss": self.provider.issuer, "sub": sub, "aud": "console", "iat": now, "exp": now + 300,
            "realm": { "groups": [group] }, "device": "d-9",
        });
        edit(&mut claims);
        self.key.sign(json!({ "typ": "JWT" }), &claims)
    }

    /// Blocks a person or a device, as another node or the command line would: in the database.
    async fn block(&self, target: RevocationTarget) {
        let clock = Clock::system();
        let path = self.gateway.dir().join("vestibule.db");
        let store = SqliteStore::open(&path, SqliteOptions::default(), None).unwrap();
        let revoke = Revoke {
            id: RevocationId::from_uuid(clock.uuid()),
            target,
            at: clock.now(),
            by: "tests".into(),
            reason: "left the company".into(),
            blocks: true,
            contain: false,
            audit: AuditEntry::new(clock.now(), AuditAction::RevokeToken, Outcome::Allowed),
        };
        store.revoke(revoke).await.unwrap();
    }

    async fn get(&self, path: &str, token: &str) -> (u16, Value) {
        answer(self.gateway.http.get(format!("{}{path}", self.gateway.admin)).bearer_auth(token)).await
    }

    async fn post(&self, path: &str, token: &str, body: Value) -> (u16, Value) {
        answer(self.gateway.http.post(format!("{}{path}", self.gateway.admin)).bearer_auth(token).json(&body)).await
    }
}

fn workflow() -> Value {
    json!({ "app": "where2eat", "workflow": "nightly" })
}

#[tokio::test]
async fn an_operator_acts_under_the_name_that_the_issuer_gives() {
    let admin = Admin::start().await;
    let root = admin.token("ada", "a", |_| ());
    let (status, made) = admin.post("/admin/tokens", &root, workflow()).await;
    assert_eq!(status, 201, "{made}");
    let (_, trail) = admin.get("/admin/audit?limit=50", &root).await;
    let made_by = |entry: &&Value| entry["action"] == "createToken" && entry["operator"] == "corp:ada";
    trail["entries"].as_array().unwrap().iter().find(made_by).unwrap_or_else(|| panic!("{trail}"));
    // The gateway's own operators are there as before.
    assert_eq!(admin.gateway.admin_get("/admin/tokens").await.0, 200);
}

#[tokio::test]
async fn a_token_that_is_not_an_operators_opens_nothing() {
    let admin = Admin::start().await;
    let forged = Key::rsa("operators");
    let good = admin.token("ada", "a", |_| ());
    let claims = admin.token("ada", "a", |_| ()).split('.').nth(1).unwrap().to_owned();
    let decoded: Value = {
        use base64::Engine;
        serde_json::from_slice(&base64::prelude::BASE64_URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap()
    };
    let jkt = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";
    for (what, token, code) in [
        ("an app's", admin.token("ada", "a", |claims| claims["aud"] = json!("page")), "assertion_invalid"),
        ("both", admin.token("ada", "a", |claims| claims["aud"] = json!(["page", "console"])), "assertion_invalid"),
        (
            "an issuer's",
            admin.token("ada", "a", |claims| claims["iss"] = json!("https://evil.example")),
            "assertion_invalid",
        ),
        ("an old", admin.token("ada", "a", |claims| claims["exp"] = json!(1_000_000)), "assertion_expired"),
        ("a bound", admin.token("ada", "a", |claims| claims["cnf"] = json!({ "jkt": jkt })), "assertion_invalid"),
        ("a forged", forged.sign(json!({ "typ": "JWT" }), &decoded), "assertion_invalid"),
        ("a cut", good[..good.len() - 2].to_owned(), "assertion_invalid"),
        ("an odd", "a.b.c".to_owned(), "assertion_invalid"),
        ("no", "a.b".to_owned(), "token_invalid"),
    ] {
        let (status, refused) = admin.get("/admin/tokens", &token).await;
        assert_eq!((status, &refused["code"]), (401, &json!(code)), "{what} token: {refused}");
    }
    assert_eq!(admin.get("/admin/tokens", &good).await.0, 200);
    // Nor is it a workflow's.
    assert_eq!(admin.gateway.post_as(&good, "/request-upload", json!({})).await.0, 401);
}

#[tokio::test]
async fn a_blocked_person_or_device_is_out_at_once_whatever_the_provider_says() {
    let admin = Admin::start().await;
    for (sub, target) in [
        ("ada", RevocationTarget::User("corp:ada".into())),
        ("bob", RevocationTarget::User("corp|bob".into())),
        ("cyd", RevocationTarget::Device("d-9".into())),
    ] {
        let token = admin.token(sub, "a", |_| ());
        assert_eq!(admin.get("/admin/tokens", &token).await.0, 200, "{sub}");
        admin.block(target).await;
        let (status, refused) = admin.get("/admin/tokens", &token).await;
        assert_eq!((status, &refused["code"]), (403, &json!("access_blocked")), "{sub}: {refused}");
    }
}

#[tokio::test]
async fn while_the_provider_is_away_nobody_new_is_believed_and_own_tokens_work() {
    let admin = Admin::start().await;
    let token = admin.token("ada", "a", |_| ());
    let elsewhere = Provider::start(&[&admin.key]).await;
    elsewhere.manners().status = 503;
    let issuers = json!([{
        "name": "corp", "issuer": elsewhere.issuer, "environment": "live",
        "operators": { "audience": "console", "claim": "/realm/groups", "admin": ["a"] },
    }]);
    let gateway = Gateway::start_with(&[("VESTIBULE__IDENTITY__ISSUERS", &issuers.to_string())]).await;
    let away = admin.token("ada", "a", |claims| claims["iss"] = json!(elsewhere.issuer));
    let response = gateway.http.get(format!("{}/admin/tokens", gateway.admin)).bearer_auth(&away).send().await.unwrap();
    assert_eq!(response.status(), 503);
    assert!(response.headers().contains_key("retry-after"));
    let problem: Value = response.json().await.unwrap();
    assert_eq!(problem["code"], "identity_provider_unavailable");
    assert_eq!(gateway.admin_get("/admin/tokens").await.0, 200);
    assert_eq!(admin.get("/admin/tokens", &token).await.0, 200);
}
#[tokio::test]
async fn an_operators_groups_say_what_he_may_and_the_trail_says_who_he_was() {
    let admin = Admin::start().await;
    let provisioner = admin.token("ada", "p", |_| ());
    let (status, made) = admin.post("/admin/tokens", &provisioner, workflow()).await;
    assert_eq!(status, 201, "{made}");
    let (_, trail) = admin.get("/admin/audit?limit=50", &provisioner).await;
    let made_by = |entry: &&Value| entry["action"] == "createToken" && entry["operator"] == "corp:ada";
    let entry = trail["entries"].as_array().unwrap().iter().find(made_by).unwrap_or_else(|| panic!("{trail}"));
    assert!(entry.get("tokenId").is_none_or(|id| *id == made["id"]), "{entry}");

    let viewer = admin.token("vic", "v", |_| ());
    assert_eq!(admin.get("/admin/tokens", &viewer).await.0, 200);
    let (status, refused) = admin.post("/admin/tokens", &viewer, workflow()).await;
    assert_eq!((status, &refused["code"]), (403, &json!("role_insufficient")), "{refused}");
    let nobody = admin.token("vic", "x", |_| ());
    assert_eq!(admin.get("/admin/tokens", &nobody).await.0, 403, "a person without a role does not even look");
    let reviewer = admin.token("rea", "r", |_| ());
    assert_eq!(admin.post("/admin/tokens", &reviewer, workflow()).await.0, 403);
    let root = admin.token("root", "a", |_| ());
    assert_eq!(admin.post("/admin/tokens", &root, workflow()).await.0, 201);
    let (_, trail) = admin.get("/admin/audit?limit=50", &root).await;
    let refused = |entry: &&Value| entry["reason"] == "role_insufficient" && entry["operator"] == "corp:vic";
    assert_eq!(trail["entries"].as_array().unwrap().iter().filter(refused).count(), 2, "{trail}");
    // The gateway's own operators are there as before.
    assert_eq!(admin.gateway.admin_get("/admin/tokens").await.0, 200);
}

#[tokio::test]
async fn whoever_may_not_let_an_operator_in_again_does_not_shut_one_out() {
    let admin = Admin::start().await;
    let provisioner = admin.token("pam", "p", |_| ());
    for (kind, id) in [("user", "corp:ada"), ("user", "corp|ada"), ("device", "d-9")] {
        let body = json!({ "kind": kind, "id": id, "reason": "locks the admins out" });
        let (status, refused) = admin.post("/admin/revocations", &provisioner, body.clone()).await;
        assert_eq!((status, &refused["code"]), (403, &json!("role_insufficient")), "{kind} {id}: {refused}");
        let mut tokens = body;
        tokens["block"] = json!(false);
        let (status, ended) = admin.post("/admin/revocations", &provisioner, tokens).await;
        assert_eq!(status, 201, "the tokens of a person or a device he may end: {ended}");
    }
    let ada = admin.token("ada", "a", |_| ());
    assert_eq!(admin.get("/admin/tokens", &ada).await.0, 200);
    for block in [true, false] {
        let body = json!({ "kind": "key", "id": "tk-2026-11", "block": block, "reason": "ends every token" });
        let (status, refused) = admin.post("/admin/revocations", &provisioner, body).await;
        assert_eq!(
            (status, &refused["code"]),
            (403, &json!("role_insufficient")),
            "the keys are an admin's: {refused}"
        );
    }
    let body = json!({ "kind": "app", "id": "where2eat", "reason": "taken over" });
    assert_eq!(admin.post("/admin/revocations", &provisioner, body).await.0, 201);
    let body = json!({ "kind": "user", "id": "corp:pam", "reason": "left the company" });
    assert_eq!(admin.post("/admin/revocations", &ada, body).await.0, 201);
    assert_eq!(admin.get("/admin/tokens", &provisioner).await.1["code"], "access_blocked");
}
