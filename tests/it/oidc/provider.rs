//! An OpenID provider as far as a gateway sees it: a discovery document, a JWK Set, and keys that sign anything.
//!
//! It is foreign to the gateway, speaks real HTTP, and misbehaves when told to. For logins there is the certified one of
//! `localstack/oidc`.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256,
    RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A private key with a name.
pub struct Key {
    pub kid: String,
    pair: Pair,
}

enum Pair {
    Rsa(RsaKeyPair),
    Elliptic(EcdsaKeyPair),
    Edwards(Ed25519KeyPair),
}

impl Key {
    pub fn es256(kid: &str) -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        Self { kid: kid.into(), pair: Pair::Elliptic(pair) }
    }

    pub fn rsa(kid: &str) -> Self {
        Self { kid: kid.into(), pair: Pair::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap()) }
    }

    pub fn ed25519(kid: &str) -> Self {
        Self { kid: kid.into(), pair: Pair::Edwards(Ed25519KeyPair::generate().unwrap()) }
    }

    /// The public half (RFC 7517).
    pub fn jwk(&self) -> Value {
        match &self.pair {
            Pair::Rsa(pair) => {
                let (n, e) = (pair.public_key().modulus(), pair.public_key().exponent());
                let [n, e] = [n, e].map(|number| encode(number.big_endian_without_leading_zero()));
                json!({ "kty": "RSA", "use": "sig", "kid": self.kid, "n": n, "e": e })
            }
            Pair::Elliptic(pair) => {
                let point = pair.public_key().as_ref();
                let (x, y) = (encode(&point[1..33]), encode(&point[33..]));
                json!({ "kty": "EC", "crv": "P-256", "use": "sig", "kid": self.kid, "x": x, "y": y })
            }
            Pair::Edwards(pair) => {
                json!({ "kty": "OKP", "crv": "Ed25519", "kid": self.kid, "x": encode(pair.public_key().as_ref()) })
            }
        }
    }

    /// The bytes that a forger knows: of the public key.
    pub fn public_bytes(&self) -> Vec<u8> {
        match &self.pair {
            Pair::Rsa(pair) => pair.public_key().as_ref().to_vec(),
            Pair::Elliptic(pair) => pair.public_key().as_ref().to_vec(),
            Pair::Edwards(pair) => pair.public_key().as_ref().to_vec(),
        }
    }

    fn alg(&self) -> &'static str {
        match &self.pair {
            Pair::Rsa(_) => "RS256",
            Pair::Elliptic(_) => "ES256",
            Pair::Edwards(_) => "EdDSA",
        }
    }

    /// A token with these claims; `alg` and `kid` are the key's unless the header says otherwise, `null` leaves them out.
    pub fn sign(&self, header: Value, claims: &Value) -> String {
        let mut whole = json!({ "alg": self.alg(), "kid": self.kid });
        for (name, value) in header.as_object().unwrap() {
            whole[name] = value.clone();
        }
        whole.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        let message = unsigned(&whole, claims);
        let (bytes, random) = (message.as_bytes(), SystemRandom::new());
        let signature = match &self.pair {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                let padding: &'static dyn aws_lc_rs::signature::RsaEncoding =
                    if whole["alg"] == "PS256" { &RSA_PSS_SHA256 } else { &RSA_PKCS1_SHA256 };
                pair.sign(padding, &random, bytes, &mut signature).unwrap();
                signature
            }
            Pair::Elliptic(pair) => pair.sign(&random, bytes).unwrap().as_ref().to_vec(),
            Pair::Edwards(pair) => pair.sign(bytes).as_ref().to_vec(),
        };
        format!("{message}.{}", encode(&signature))
    }
}

/// Header and claims, without a signature.
pub fn unsigned(header: &Value, claims: &Value) -> String {
    format!("{}.{}", encode(header.to_string().as_bytes()), encode(claims.to_string().as_bytes()))
}

pub fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// How the provider answers where it is asked for its keys.
#[derive(Clone)]
pub struct Manners {
    /// The status.
    pub status: u16,
    /// The body of `/jwks`.
    pub jwks: String,
    /// What the discovery document says of itself.
    pub metadata: Value,
    /// `Cache-Control` of `/jwks`.
    pub cache: String,
    /// Where the answer sends to.
    pub location: Option<String>,
    /// How long it takes.
    pub delay: Duration,
    /// How often `/jwks` was asked for.
    pub reads: usize,
}

/// A running provider; it ends with the test.
pub struct Provider {
    pub issuer: String,
    manners: Arc<Mutex<Manners>>,
}

impl Provider {
    pub async fn start(keys: &[&Key]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let manners = Manners {
            status: 200,
            jwks: jwks(keys),
            metadata: json!({ "issuer": issuer, "jwks_uri": format!("{issuer}/jwks") }),
            cache: "max-age=300".into(),
            location: None,
            delay: Duration::ZERO,
            reads: 0,
        };
        let provider = Self { issuer, manners: Arc::new(Mutex::new(manners)) };
        let manners = Arc::clone(&provider.manners);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, Arc::clone(&manners)));
            }
        });
        provider
    }

    /// To look at, or to change.
    pub fn manners(&self) -> MutexGuard<'_, Manners> {
        self.manners.lock().unwrap()
    }

    /// Publishes these keys and no others.
    pub fn publish(&self, keys: &[&Key]) {
        self.manners().jwks = jwks(keys);
    }

    pub fn reads(&self) -> usize {
        self.manners().reads
    }
}

fn jwks(keys: &[&Key]) -> String {
    json!({ "keys": keys.iter().map(|key| key.jwk()).collect::<Vec<_>>() }).to_string()
}

async fn answer(mut stream: TcpStream, manners: Arc<Mutex<Manners>>) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => request.push(byte),
            Err(_) => return,
        }
    }
    let path = String::from_utf8(request).unwrap().split(' ').nth(1).unwrap().to_owned();
    let keys = path == "/jwks";
    let mut manners = {
        let mut manners = manners.lock().unwrap();
        manners.reads += usize::from(keys);
        manners.clone()
    };
    if !keys {
        (manners.status, manners.delay, manners.location) = (200, Duration::ZERO, None);
    }
    tokio::time::sleep(manners.delay).await;
    let body = match path.as_str() {
        "/jwks" => manners.jwks,
        "/.well-known/openid-configuration" => manners.metadata.to_string(),
        _ => String::new(),
    };
    let status = if body.is_empty() { 404 } else { manners.status };
    let location = manners.location.map_or_else(String::new, |to| format!("location: {to}\r\n"));
    let head = format!(
        "HTTP/1.1 {status} told\r\ncache-control: {}\r\n{location}content-length: {}\r\nconnection: close\r\n\r\n",
        manners.cache,
        body.len()
    );
    // Whoever asked may have gone.
    let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
}
