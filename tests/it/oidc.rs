//! Trusted OpenID providers: what is believed of their tokens, and for how long their keys are.

pub mod provider;

mod caching;
mod command;
mod operators;
mod real;
mod tokens;

use serde_json::{Value, json};
use vestibule::clock::Clock;
use vestibule::identity::oidc::{Assertion, AssertionError, Flaw, IssuerConfig, Issuers, Use};

use provider::{Key, Provider};

/// A gateway's view of one provider, at a time that stands still.
struct Bench {
    provider: Provider,
    issuers: Issuers,
    clock: Clock,
    key: Key,
}

impl Bench {
    /// A provider with an RSA and an elliptic key, which is configured with `edit`.
    async fn new(edit: impl Fn(&mut Value)) -> Self {
        let key = Key::es256("elliptic");
        let provider = Provider::start(&[&key]).await;
        let mut config = json!({
            "name": "corp",
            "issuer": provider.issuer,
            "environment": "live",
            "clients": ["page", "platform"],
            "audiences": ["https://files.example"],
            "tokens": ["id_token", "access_token"],
            "algorithms": ["ES256"],
            "claims": { "role": "role", "project": "project" },
            "operators": { "audience": "console", "claim": "groups", "viewer": ["v"], "reviewer": ["r"], "admin": ["a"] },
        });
        edit(&mut config);
        let clock = Clock::manual("2026-11-22T10:00:00Z".parse().unwrap());
        let config: IssuerConfig = serde_json::from_value(config).unwrap();
        let issuers = Issuers::new(&[config], clock.clone()).unwrap();
        Self { provider, issuers, clock, key }
    }

    fn now(&self) -> i64 {
        self.clock.now().as_second()
    }

    /// The claims of a good id_token.
    fn id_claims(&self) -> Value {
        json!({
            "iss": self.provider.issuer, "sub": "u-7", "aud": "page", "exp": self.now() + 600, "iat": self.now(),
            "nonce": "n", "sid": "s-1", "role": "clinician", "project": "ward-3",
        })
    }

    /// The claims of a good access token.
    fn access_claims(&self) -> Value {
        json!({
            "iss": self.provider.issuer, "sub": "u-7", "aud": "https://files.example", "client_id": "platform",
            "exp": self.now() + 600, "iat": self.now(), "jti": "j-1", "scope": "openid",
        })
    }

    fn id_token(&self, edit: impl Fn(&mut Value)) -> String {
        let mut claims = self.id_claims();
        edit(&mut claims);
        self.key.sign(json!({ "typ": "JWT" }), &claims)
    }

    fn access_token(&self, edit: impl Fn(&mut Value)) -> String {
        let mut claims = self.access_claims();
        edit(&mut claims);
        self.key.sign(json!({ "typ": "at+jwt" }), &claims)
    }

    async fn verify(&self, jwt: &str) -> Result<Assertion, AssertionError> {
        self.issuers.verify(jwt, Use::Exchange(None)).await
    }

    /// What is wrong with a token that somebody wants to exchange.
    async fn flaw(&self, jwt: &str) -> Option<Flaw> {
        flaw(self.verify(jwt).await)
    }

    async fn operator(&self, jwt: &str) -> Result<Assertion, AssertionError> {
        self.issuers.verify(jwt, Use::Operate).await
    }
}

fn flaw(result: Result<Assertion, AssertionError>) -> Option<Flaw> {
    match result {
        Ok(_) => None,
        Err(AssertionError::Refused(flaw)) => Some(flaw),
        Err(error) => panic!("{error}"),
    }
}
