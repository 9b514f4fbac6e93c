//! Tokens that are bound to a key, through the real binary: DPoP, mutual TLS, and a proxy that ends TLS.

mod dpop;
mod exchange;
mod mutual_tls;
mod proofs;
mod proxy;
mod replay;

use std::cell::RefCell;
use std::sync::Arc;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use reqwest::RequestBuilder;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use vestibule::clock::Clock;
use vestibule::domain::binding::Thumbprint;
use vestibule::domain::refusal::Refusal;
use vestibule::identity::{Evidence, ProofError, Proofs, Scheme};
use vestibule::store::Store;

use self::proofs::{Keys, RULES};
use crate::gateway::Gateway;
use crate::http_errors::{Answer, send};

/// A client with a key of its own (RFC 9449), written from the standard and not from the gateway's code.
pub(crate) struct Client {
    key: EcdsaKeyPair,
    /// The last nonce that a gateway has sent.
    nonce: RefCell<Option<String>>,
}

impl Client {
    pub(crate) fn new() -> Self {
        Self { key: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(), nonce: RefCell::default() }
    }

    fn jwk(&self) -> Value {
        let point = self.key.public_key().as_ref();
        let (x, y) = (BASE64_URL_SAFE_NO_PAD.encode(&point[1..33]), BASE64_URL_SAFE_NO_PAD.encode(&point[33..]));
        json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y })
    }

    /// The thumbprint of RFC 7638.
    pub(crate) fn jkt(&self) -> String {
        let jwk = self.jwk();
        let text = format!(r#"{{"crv":"P-256","kty":"EC","x":{},"y":{}}}"#, jwk["x"], jwk["y"]);
        BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(text))
    }

    /// The claims of a good proof.
    pub(crate) fn claims(&self, method: &str, url: &str, token: Option<&str>) -> Map<String, Value> {
        let clock = Clock::system();
        let mut claims = json!({
            "jti": clock.uuid().to_string(), "htm": method, "htu": url, "iat": clock.now().as_second(),
        });
        if let Some(token) = token {
            claims["ath"] = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(token)).into();
        }
        if let Some(nonce) = &*self.nonce.borrow() {
            claims["nonce"] = nonce.clone().into();
        }
        claims.as_object().unwrap().clone()
    }

    /// The header of a good proof.
    pub(crate) fn header(&self) -> Value {
        json!({ "typ": "dpop+jwt", "alg": "ES256", "jwk": self.jwk() })
    }

    pub(crate) fn sign(&self, header: &Value, claims: &Map<String, Value>) -> String {
        let part = |text: String| BASE64_URL_SAFE_NO_PAD.encode(text);
        let signed = format!("{}.{}", part(header.to_string()), part(Value::from(claims.clone()).to_string()));
        let signature = self.key.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
    }

    pub(crate) fn proof(&self, method: &str, url: &str, token: Option<&str>) -> String {
        self.sign(&self.header(), &self.claims(method, url, token))
    }

    /// Sends a request with a token and a proof, and once more where the gateway asks for a nonce.
    pub(crate) async fn send(&self, gateway: &Gateway, token: &str, method: &str, path: &str, body: Value) -> Answer {
        let url = format!("{}{path}", gateway.public);
        let (address, _) = url.split_once('?').unwrap_or((&url, ""));
        let ask = async || {
            let request = gateway.http.request(method.parse().unwrap(), &url);
            let request = with_proof(request, token, &self.proof(method, address, Some(token)));
            let answer = send(if body.is_null() { request } else { request.json(&body) }).await;
            if let Some(nonce) = answer.headers.get("dpop-nonce") {
                *self.nonce.borrow_mut() = Some(nonce.to_str().unwrap().to_owned());
            }
            answer
        };
        let first = ask().await;
        if first.body["code"] == "dpop_nonce_required" { ask().await } else { first }
    }

    /// A token of `where2eat` that is bound to this key.
    pub(crate) async fn token(&self, gateway: &Gateway) -> String {
        bound_token(gateway, &format!("jkt:{}", self.jkt())).await
    }
}

pub(crate) fn with_proof(request: RequestBuilder, token: &str, proof: &str) -> RequestBuilder {
    request.header("authorization", format!("DPoP {token}")).header("dpop", proof)
}

/// A token of `where2eat` with this binding.
async fn bound_token(gateway: &Gateway, binding: &str) -> String {
    gateway.create_token(json!({ "app": "where2eat", "workflow": "bound", "binding": binding })).await
}

/// A request that shows a token as a bearer and nothing beside it.
pub(crate) struct Nothing;

impl Evidence for Nothing {
    fn scheme(&self) -> Scheme {
        Scheme::Bearer
    }

    fn proof(&self) -> Result<&str, ProofError> {
        Err(ProofError::Missing)
    }

    fn method(&self) -> &str {
        "GET"
    }

    fn path(&self) -> &str {
        "/"
    }

    fn certificate(&self) -> Result<Option<Thumbprint>, Refusal> {
        Ok(None)
    }
}

/// Proofs with a nonce key that never changes, over this store.
pub(crate) fn proofs(store: Arc<dyn Store>, clock: &Clock) -> Proofs {
    Proofs::new(store, clock.clone(), "https://files.example.com", RULES, Arc::new(Keys::default()))
}

/// What the gateway's challenges say.
fn challenges(answer: &Answer) -> Vec<&str> {
    answer.headers.get_all("www-authenticate").iter().map(|value| value.to_str().unwrap()).collect()
}
