//! Tokens for tokens, through the real binary: who gets one, what it allows, how long it lives, and how clients find out.
//!
//! The identity provider is the one of `oidc/provider.rs`, which signs whatever a test says.

mod bounds;
mod kept_away;
mod narrowing;
mod nodes;
mod people;
mod proofs;
mod routes;
mod window;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use reqwest::RequestBuilder;
use serde_json::{Value, json};
use vestibule::clock::Clock;

use crate::gateway::Gateway;
use crate::http_errors::{Answer, send};
use crate::oidc::provider::{Key, Provider};

const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// A gateway that trusts one provider for real and another one for trying things out.
struct Bench {
    gateway: Gateway,
    live: (Provider, Key),
    test: (Provider, Key),
}

impl Bench {
    async fn start() -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), &[]).await
    }

    async fn start_in(dir: tempfile::TempDir, settings: &[(&str, &str)]) -> Self {
        let (live, test) = (Key::es256("live"), Key::es256("test"));
        let providers = (Provider::start(&[&live]).await, Provider::start(&[&test]).await);
        let issuer = |name: &str, provider: &Provider, environment: &str| {
            json!({
                "name": name, "issuer": provider.issuer, "environment": environment, "algorithms": ["ES256"],
                "clients": ["where2eat-page", "ward-tablet", "stranger"], "audiences": ["https://files.example"],
                "tokens": ["id_token", "access_token"],
                "claims": { "role": "role", "device": "device", "device_attested": "attested", "user_prefix": "" },
            })
        };
        let issuers =
            json!([issuer("company", &providers.0, "live"), issuer("staging", &providers.1, "test")]).to_string();
        let mut all = vec![("VESTIBULE__IDENTITY__ISSUERS", issuers.as_str())];
        all.extend(settings);
        let gateway = Gateway::start_in(dir, &all).await;
        Self { gateway, live: (providers.0, live), test: (providers.1, test) }
    }

    fn now() -> i64 {
        Clock::system().now().as_second()
    }

    /// An id_token of anna, for the page of where2eat, with changes.
    fn id_token(&self, edit: impl Fn(&mut Value)) -> String {
        self.signed(&self.live, json!({}), edit)
    }

    /// An access token of anna's session at the platform.
    fn access_token(&self, edit: impl Fn(&mut Value)) -> String {
        self.signed(&self.live, json!({ "typ": "at+jwt" }), |claims| {
            claims["aud"] = "https://files.example".into();
            claims["client_id"] = "where2eat-page".into();
            edit(claims);
        })
    }

    fn signed(&self, (provider, key): &(Provider, Key), header: Value, edit: impl Fn(&mut Value)) -> String {
        let mut claims = json!({
            "iss": provider.issuer, "sub": "anna", "aud": "where2eat-page", "iat": Self::now(), "exp": Self::now() + 3000,
            "nonce": "n", "sid": "s-1", "device": "laptop", "jti": "j-1",
        });
        edit(&mut claims);
        key.sign(header, &claims)
    }

    /// The form of RFC 8693, with an id_token.
    async fn exchange(&self, token: &str, more: &[(&str, &str)]) -> Answer {
        self.exchange_as(token, ID_TOKEN, more).await
    }

    async fn exchange_as(&self, token: &str, kind: &str, more: &[(&str, &str)]) -> Answer {
        let mut form = vec![("grant_type", GRANT), ("subject_token", token), ("subject_token_type", kind)];
        form.extend(more);
        send(self.form("/oauth/token", &form)).await
    }

    fn form(&self, path: &str, form: &[(&str, &str)]) -> RequestBuilder {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let request = self.gateway.http.post(format!("{}{path}", self.gateway.public));
        request.header("content-type", "application/x-www-form-urlencoded").body(body)
    }

    async fn json(&self, path: &str, token: &str, body: Value) -> Answer {
        send(self.gateway.http.post(format!("{}{path}", self.gateway.public)).bearer_auth(token).json(&body)).await
    }

    /// What somebody knows of a token who may introspect it.
    async fn introspect(&self, asker: &str, token: &str) -> Answer {
        send(self.form("/introspect", &[("token", token)]).bearer_auth(asker)).await
    }

    async fn give_back(&self, token: &str) -> u16 {
        send(self.form("/revoke", &[("token", token)])).await.status
    }

    /// The newest entry of an action in the audit trail.
    async fn audited(&self, action: &str) -> Value {
        let (status, page) = self.gateway.admin_get("/admin/audit?limit=50").await;
        assert_eq!(status, 200, "{page}");
        let entries = page["entries"].as_array().unwrap();
        entries.iter().find(|entry| entry["action"] == action).unwrap_or_else(|| panic!("{page}")).clone()
    }
}

fn text(answer: &Answer, member: &str) -> String {
    answer.body[member].as_str().unwrap_or_else(|| panic!("{member}: {}", answer.body)).to_owned()
}

/// The token of an answer that must have one.
fn token(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{}", answer.body);
    text(answer, "access_token")
}

/// An answer to a form that was refused (RFC 6749 section 5.2).
fn refused(answer: &Answer, status: u16, error: &str, code: &str) {
    let found = (answer.status, answer.body["error"].as_str(), answer.body["code"].as_str());
    assert_eq!(found, (status, Some(error), Some(code)), "{}", answer.body);
    assert_eq!(answer.headers["content-type"], "application/json");
    assert_eq!(answer.headers["cache-control"], "no-store");
    assert!(answer.body["error_description"].as_str().is_some_and(|text| text.is_ascii() && text.len() > 10));
}

/// A part of a JWT.
fn part(token: &str, at: usize) -> Value {
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(token.split('.').nth(at).unwrap()).unwrap()).unwrap()
}

/// A request for an upload of a photo.
fn photo() -> Value {
    json!({ "filename": "menu.jpg", "size": 1000, "contentType": "image/jpeg" })
}
