//! An independent client, `oauth4webapi`, against the gateway: what it accepts is what the standards say.

use serde_json::{Value, json};

use super::{Provider, node, trusting};
use crate::gateway::{Gateway, edited_policies};

/// The audience for which people's access tokens are made at the provider: the gateway, as the provider knows it.
pub const RESOURCE: &str = "https://vestibule.example.com";

pub(super) async fn run(gateway: &Gateway, subject: &str, kind: &str, bound: bool) -> Value {
    let input = json!({ "gateway": gateway.public, "client": "platform", "app": "where2eat", "subject": subject,
        "type": kind, "bound": bound, "introspector": gateway.token });
    let seen = node("exchange.mjs", input).await;
    assert_eq!(seen["metadata"]["issuer"], json!(gateway.public), "{seen}");
    let token = &seen["token"];
    let bearer = if bound { "dpop" } else { "bearer" };
    assert_eq!(token["token_type"].as_str().unwrap().to_lowercase(), bearer, "{token}");
    assert_eq!(token["issued_token_type"], "urn:ietf:params:oauth:token-type:access_token", "{token}");
    assert!(token["expires_in"].as_u64().is_some_and(|seconds| (1..=600).contains(&seconds)), "{token}");
    assert!(token["scope"].as_str().unwrap().contains("storage:images:where2eat:write"), "{token}");
    assert!(token.get("refresh_token").is_none(), "no refresh token is handed to a client: {token}");
    assert_eq!(seen["nonceRetries"].as_u64().unwrap() > 0, bound, "{seen}");
    assert_eq!(seen["upload"]["status"], 201, "{seen}");
    let introspection = &seen["introspection"];
    assert_eq!(
        (&introspection["active"], &introspection["client_id"]),
        (&json!(true), &json!("where2eat/page")),
        "{seen}"
    );
    assert_eq!(introspection["sub"], "analyst", "{introspection}");
    assert_eq!(introspection["cnf"]["jkt"].is_string(), bound, "{introspection}");
    assert_eq!(seen["afterwards"]["introspection"], json!({ "active": false }), "{seen}");
    assert_eq!(seen["afterwards"]["status"], 401, "{seen}");
    seen
}

#[tokio::test]
async fn it_exchanges_an_id_token_and_the_token_is_a_jwt_that_it_verifies() {
    let provider = Provider::shared();
    let gateway = trusting(&provider, edited_policies(&[])).await;
    let id_token = provider.id_token("analyst", "platform").await;
    let seen = run(&gateway, &id_token, "id_token", false).await;
    let claims = &seen["claims"];
    assert_eq!((&claims["iss"], &claims["client_id"]), (&json!(gateway.public), &json!("where2eat/page")), "{claims}");
    assert_eq!(claims["sub"], "analyst", "{claims}");
}

#[tokio::test]
async fn it_exchanges_an_id_token_and_an_access_token_with_proof_of_possession_and_a_nonce() {
    let provider = Provider::shared();
    let gateway = trusting(&provider, edited_policies(&[])).await;
    let tokens = provider.login("analyst", "platform", Some(RESOURCE)).await;
    for kind in ["id_token", "access_token"] {
        run(&gateway, tokens[kind].as_str().unwrap(), kind, true).await;
    }
}

#[tokio::test]
async fn it_cannot_tell_an_opaque_token_from_any_other() {
    let provider = Provider::shared();
    let opaque = [("VESTIBULE__IDENTITY__ACCESS_TOKENS", "opaque")];
    let gateway = super::trusting_with(&provider, edited_policies(&[]), &opaque).await;
    let id_token = provider.id_token("analyst", "platform").await;
    let seen = run(&gateway, &id_token, "id_token", false).await;
    assert!(seen["token"]["access_token"].as_str().unwrap().starts_with("vst_live_"), "{seen}");
    assert!(seen.get("claims").is_none());
    run(&gateway, &provider.id_token("analyst", "platform").await, "id_token", true).await;
}
