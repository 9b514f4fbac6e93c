//! Revocation: what dies, what is blocked, what is told, what is held, and how fast every node knows (P7).

mod containment;
mod docs;
mod kinds;

use serde_json::{Value, json};

use crate::gateway::Gateway;

/// The public half of a token.
fn id_of(token: &str) -> &str {
    token.split('_').nth(2).unwrap()
}

/// Asks for what the token itself may do: the status, and the problem's code.
async fn asks(gateway: &Gateway, token: &str) -> (u16, String) {
    let request = gateway.http.get(format!("{}/limits", gateway.public)).bearer_auth(token);
    let (status, body) = crate::gateway::answer(request).await;
    (status, body["code"].as_str().unwrap_or_default().to_owned())
}

/// Revokes; the answer.
async fn revoke(gateway: &Gateway, body: Value) -> Value {
    let (status, answer) = gateway.admin_post("/admin/revocations", body).await;
    assert_eq!(status, 201, "{answer}");
    answer
}

/// Makes a token for `app` and `workflow`, and with `more` where the test has it.
async fn token(gateway: &Gateway, app: &str, workflow: &str, more: Value) -> String {
    let mut body = json!({ "app": app, "workflow": workflow });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    gateway.create_token(body).await
}
