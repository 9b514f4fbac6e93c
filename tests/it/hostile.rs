//! Hostile use, through the real binary: mutilated tokens, guessed secrets, smuggled headers, tokens in addresses, a
//! stolen signing key.

mod assertions;
mod headers;
mod secrets;
mod signing_key;
mod slow_body;

use crate::gateway::Gateway;
use crate::http_errors::{Answer, send};

/// Asks what is left of the limits with a token: whoever has one may.
async fn ask(gateway: &Gateway, token: &str) -> Answer {
    send(gateway.http.get(format!("{}/limits", gateway.public)).bearer_auth(token)).await
}
