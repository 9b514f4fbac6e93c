//! Somebody has copied the key with which the gateway signs access tokens, out of its database: it makes nothing.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};

use super::ask;
use super::assertions::token;
use crate::gateway::{Gateway, edited_policies};
use crate::http_errors::{assert_problem, send};
use crate::identity_provider::{Provider, trusting};
use crate::oidc::provider::{encode, unsigned};

/// The key in use, with its id.
fn stolen(gateway: &Gateway) -> (String, EcdsaKeyPair) {
    let path = gateway.dir().join("vestibule.db");
    let database = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let sql = "SELECT id, secret FROM gateway_keys WHERE purpose = 'token-signing' ORDER BY number DESC LIMIT 1";
    let (id, secret): (String, Vec<u8>) = database.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    (id, EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &secret).unwrap())
}

fn part(token: &str, at: usize) -> Value {
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(token.split('.').nth(at).unwrap()).unwrap()).unwrap()
}

#[tokio::test]
async fn what_a_stolen_signing_key_signs_opens_nothing() {
    let provider = Provider::shared();
    let gateway = trusting(&provider, edited_policies(&[])).await;
    let living = token(&gateway, &provider).await;
    let (kid, key) = stolen(&gateway);
    let (header, claims) = (part(&living, 0), part(&living, 1));
    assert_eq!(header["kid"], kid);
    let sign = |claims: &Value| {
        let message = unsigned(&header, claims);
        let signature = key.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
        format!("{message}.{}", encode(signature.as_ref()))
    };
    let keys = send(gateway.http.get(format!("{}/.well-known/jwks.json", gateway.public))).await.body;
    let jwk: jsonwebtoken::jwk::Jwk = serde_json::from_value(keys["keys"][0].clone()).unwrap();
    let public = jsonwebtoken::DecodingKey::from_jwk(&jwk).unwrap();
    let mut validation = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::ES256);
    validation.set_audience(&[&gateway.public]);

    let with = |edit: &dyn Fn(&mut Value)| {
        let mut claims = claims.clone();
        edit(&mut claims);
        sign(&claims)
    };
    let workflows = gateway.token.split('_').nth(2).unwrap();
    let wider = "storage:*:where2eat:*";
    for (what, forged) in [
        ("a token that nobody made", with(&|claims| claims["jti"] = json!("Zz0123456789abcd"))),
        ("a living token with more scopes", with(&|claims| claims["scope"] = json!(wider))),
        ("a living token for somebody else", with(&|claims| claims["sub"] = json!("clinician"))),
        ("a living token with a later end", with(&|claims| claims["exp"] = json!(claims["exp"].as_i64().unwrap() + 9))),
        ("a living token as it is, signed again", with(&|_| ())),
        ("a token of a workflow, which is none of these", with(&|claims| claims["jti"] = json!(workflows))),
    ] {
        // Whoever looks at the signature alone believes it.
        assert!(jsonwebtoken::decode::<Value>(&forged, &public, &validation).is_ok(), "{what}");
        assert_ne!(forged, living);
        assert_problem(&ask(&gateway, &forged).await, 401, "token_invalid");
        let request = gateway.http.post(format!("{}/introspect", gateway.public)).bearer_auth(&gateway.token);
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        let told = send(request.body(format!("token={forged}"))).await;
        assert_eq!((told.status, told.body), (200, json!({ "active": false })), "{what}");
    }
    assert_eq!(ask(&gateway, &living).await.status, 200);
}
