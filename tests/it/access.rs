//! How a workflow comes by its token, keeps it and loses it: requests, claims, rotation, the review. The real binary.

mod changes;
mod claims;
mod cli;
mod docs;
mod refusals;
mod requests;
mod review;
mod rotation;

use serde_json::{Value, json};

use crate::gateway::{Gateway, answer};

/// An operator of a gateway, by token.
pub struct Person<'g> {
    pub gateway: &'g Gateway,
    pub token: String,
}

impl<'g> Person<'g> {
    /// A new operator with this name, who may do everything.
    pub async fn called(gateway: &'g Gateway, name: &str) -> Self {
        let (status, created) = gateway.admin_post("/admin/tokens", json!({ "operator": name })).await;
        assert_eq!(status, 201, "{created}");
        Self { gateway, token: created["token"].as_str().unwrap().to_owned() }
    }

    /// `POST` to the admin listener.
    pub async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        let url = format!("{}{path}", self.gateway.admin);
        answer(self.gateway.http.post(url).bearer_auth(&self.token).json(&body)).await
    }

    /// Asks for access, which must be taken; the answer.
    pub async fn ask(&self, body: Value) -> Value {
        let (status, asked) = self.post("/admin/access-requests", body).await;
        assert_eq!(status, 201, "{asked}");
        asked
    }

    /// Decides on a request: `approve` or `deny`.
    pub async fn decide(&self, asked: &Value, act: &str) -> (u16, Value) {
        let id = asked["requestId"].as_str().unwrap();
        self.post(&format!("/admin/access-requests/{id}/{act}"), json!({ "reason": "agreed with the team" })).await
    }

    /// Approves a request, which must be possible; the claim link.
    pub async fn approve(&self, asked: &Value) -> String {
        let (status, approved) = self.decide(asked, "approve").await;
        assert_eq!((status, approved["state"].as_str()), (200, Some("approved")), "{approved}");
        approved["claimUrl"].as_str().unwrap().to_owned()
    }
}

/// Live access to `where2eat` for reading, which no rule of the example policies allows in advance.
pub fn live() -> Value {
    json!({ "app": "where2eat", "workflow": "menu-export", "scopes": ["storage:*:where2eat:read", "storage:*:where2eat:list"],
        "reason": "shows the menus on the page" })
}

/// Test access, which the example policies allow in advance.
pub fn trying_out() -> Value {
    json!({ "app": "where2eat", "workflow": "menu-import", "environment": "test", "scopes": ["storage:*:where2eat:write"],
        "reason": "tries the import out" })
}

/// Spends a claim link as a program does: status and JSON body.
pub async fn claim(gateway: &Gateway, link: &str) -> (u16, Value) {
    answer(gateway.http.post(link).header("accept", "application/json")).await
}

/// A link of an approved request, and the request.
pub async fn approved(gateway: &Gateway) -> (String, Value) {
    let (ada, bob) = (Person::called(gateway, "ada").await, Person::called(gateway, "bob").await);
    let asked = ada.ask(live()).await;
    (bob.approve(&asked).await, asked)
}

/// The request as it stands.
pub async fn standing(gateway: &Gateway, asked: &Value) -> Value {
    let id = asked["requestId"].as_str().unwrap();
    gateway.admin_get(&format!("/admin/access-requests/{id}")).await.1
}

/// Status of the public listener for a token that asks for nothing but its own limits.
pub async fn works(gateway: &Gateway, token: &str) -> u16 {
    answer(gateway.http.get(format!("{}/limits", gateway.public)).bearer_auth(token)).await.0
}

/// A token of the list, revoked and expired ones included.
pub async fn listed(gateway: &Gateway, id: &str) -> Value {
    let (_, list) = gateway.admin_get("/admin/tokens?limit=1000").await;
    list["tokens"].as_array().unwrap().iter().find(|token| token["tokenId"] == id).cloned().unwrap_or_default()
}

/// The audit entries of an action, newest first.
pub async fn audit(gateway: &Gateway, action: &str) -> Vec<Value> {
    let (_, page) = gateway.admin_get("/admin/audit?limit=1000").await;
    let entries = page["entries"].as_array().unwrap().iter();
    entries.filter(|entry| entry["action"] == action).cloned().collect()
}

/// So many days from now.
#[allow(clippy::disallowed_methods, reason = "tokens end relative to the gateway's clock, which is this machine's")]
pub fn in_days(days: i64) -> String {
    format!("{:.0}", jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24 * days))
}
