//! A client that makes proofs, for the unit tests of this module.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

/// A key of a client.
pub(super) struct Signer(EcdsaKeyPair);

impl Signer {
    pub(super) fn new() -> Self {
        Self(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    pub(super) fn header(&self) -> String {
        let point = self.0.public_key().as_ref();
        let (x, y) = (BASE64_URL_SAFE_NO_PAD.encode(&point[1..33]), BASE64_URL_SAFE_NO_PAD.encode(&point[33..]));
        format!(r#"{{"typ":"dpop+jwt","alg":"ES256","jwk":{{"kty":"EC","crv":"P-256","x":"{x}","y":"{y}"}}}}"#)
    }

    pub(super) fn claims(&self, method: &str, htu: &str, iat: i64) -> String {
        format!(r#"{{"jti":"one","htm":"{method}","htu":"{htu}","iat":{iat}}}"#)
    }

    /// A proof of exactly these texts.
    pub(super) fn sign_raw(&self, header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", BASE64_URL_SAFE_NO_PAD.encode(header), BASE64_URL_SAFE_NO_PAD.encode(claims));
        let signature = self.0.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
    }
}
