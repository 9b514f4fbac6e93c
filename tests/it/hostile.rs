//! Hostile use, through the real binary: mutilated tokens, guessed secrets, smuggled headers, tokens in addresses.

mod headers;
mod secrets;

use crate::gateway::Gateway;
use crate::http_errors::{Answer, send};

/// Lists objects with a token: the cheapest request that needs one.
async fn list(gateway: &Gateway, token: &str) -> Answer {
    send(gateway.http.get(format!("{}/objects", gateway.public)).bearer_auth(token)).await
}
