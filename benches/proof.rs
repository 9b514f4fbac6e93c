//! What a proof of possession costs beside what every token costs.
//!
//! `token` is the whole check of a plain token: form, checksum, SHA-256, comparison. `proof/…` verifies a DPoP proof up to the
//! last check that needs no database (the key that the token is bound to, which is another one here, so that nothing is
//! written): parsing, signature, claims, thumbprint.

#![allow(missing_docs, reason = "criterion's macros make items without any")]
#![allow(clippy::unwrap_used, reason = "a benchmark may stop where a test may")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, KeyPair,
};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use criterion::{Criterion, criterion_group, criterion_main};
use jiff::Timestamp;
use secrecy::SecretSlice;
use serde_json::json;
use vestibule::clock::Clock;
use vestibule::domain::principal::Environment;
use vestibule::identity::{NonceKeys, ProofRules, Proofs, ShownProof, Token, TokenKind};
use vestibule::store::StoreError;
use vestibule::store::sqlite::{SqliteOptions, SqliteStore};

struct Key;

#[async_trait]
impl NonceKeys for Key {
    fn current(&self, _: Timestamp) -> Vec<SecretSlice<u8>> {
        vec![SecretSlice::from(vec![7; 32])]
    }

    async fn refresh(&self, _: Duration) -> Result<(), StoreError> {
        Ok(())
    }
}

const URL: &str = "https://files.example.com/request-upload";

fn proof(algorithm: &'static EcdsaSigningAlgorithm, (alg, crv): (&str, &str), nonce: &str, ath: &str) -> String {
    let key = EcdsaKeyPair::generate(algorithm).unwrap();
    let (x, y) = key.public_key().as_ref()[1..].split_at(key.public_key().as_ref().len() / 2);
    let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
    let jwk = json!({ "kty": "EC", "crv": crv, "x": encode(x), "y": encode(y) });
    let header = json!({ "typ": "dpop+jwt", "alg": alg, "jwk": jwk }).to_string();
    let iat = Clock::system().now().as_second() + 250;
    let claims =
        json!({ "jti": "-BwC3ESc6acc2lTc", "htm": "POST", "htu": URL, "iat": iat, "nonce": nonce, "ath": ath });
    let signed = format!("{}.{}", encode(header.as_bytes()), encode(claims.to_string().as_bytes()));
    let signature = key.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
    format!("{signed}.{}", encode(signature.as_ref()))
}

fn proofs(criterion: &mut Criterion) {
    let clock = Clock::system();
    let (token, ..) = Token::generate(TokenKind::Workflow(Environment::Live), &clock);
    criterion.bench_function("token", |bencher| bencher.iter(|| Token::parse(black_box(token.expose())).unwrap()));

    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(SqliteStore::open(&dir.path().join("bench.db"), SqliteOptions::default(), None).unwrap());
    let minutes = Duration::from_secs(300);
    let rules = ProofRules { nonces: true, nonce_life: 12 * minutes, max_age: minutes, clock_skew: minutes };
    let proofs = Proofs::new(store, clock, "https://files.example.com", rules, Arc::new(Key));
    let nonce = proofs.nonce().unwrap();
    let ath = {
        use sha2::Digest;
        BASE64_URL_SAFE_NO_PAD.encode(sha2::Sha256::digest(token.expose()))
    };
    let other = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I".parse().unwrap();
    let mut group = criterion.benchmark_group("proof");
    for (name, algorithm, names) in [
        ("es256", &ECDSA_P256_SHA256_FIXED_SIGNING, ("ES256", "P-256")),
        ("es384", &ECDSA_P384_SHA384_FIXED_SIGNING, ("ES384", "P-384")),
    ] {
        let proof = proof(algorithm, names, &nonce, &ath);
        let shown = ShownProof {
            proof: &proof,
            method: "POST",
            path: "/request-upload",
            token: Some(token.expose()),
            key: Some(&other),
        };
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let refused = futures::executor::block_on(proofs.verify(black_box(&shown))).unwrap_err();
                assert!(refused.to_string().contains("another key"), "{refused}");
            });
        });
    }
    group.finish();
}

criterion_group!(benches, proofs);
criterion_main!(benches);
