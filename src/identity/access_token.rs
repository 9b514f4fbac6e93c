//! Access tokens as signed JWTs (RFC 9068): their claims, how they are signed, and what of a presented one is looked at.
//!
//! The signature is not what makes a token good: like every token it has a row with the SHA-256 of its whole text, and its
//! `jti` is the row's id. So a stolen key alone makes nothing that the gateway accepts, and a stolen database nothing that
//! its key signed. One algorithm, ES256 (RFC 7518 section 3.4), and one type, `at+jwt`; a token that says anything else is
//! none of ours. Absent on purpose: reading claims of a presented token beyond its id; the row knows better.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, UnparsedPublicKey,
};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::domain::binding::Binding;
use crate::domain::ids::{KeyId, TokenId};

/// Longest accepted text in bytes: scopes are what varies.
pub const LONGEST: usize = 8 * 1024;
const ALGORITHM: &str = "ES256";
/// RFC 9068 section 2.1.
const TYPE: &str = "at+jwt";

/// How access tokens look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AccessTokens {
    /// Signed JWTs (RFC 9068), so that another service can read them.
    #[default]
    Jwt,
    /// As the tokens of workflows.
    Opaque,
}

/// A key that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the key is no P-256 key in PKCS #8")]
pub struct KeyError;

/// A key that signs access tokens, and its public half.
pub struct SigningKey {
    id: KeyId,
    pair: EcdsaKeyPair,
}

impl SigningKey {
    /// A key in PKCS #8 (RFC 5208), as [`SigningKey::generate`] makes it.
    ///
    /// # Errors
    /// [`KeyError`] where it is none, or of another curve.
    pub fn read(id: KeyId, pkcs8: &[u8]) -> Result<Self, KeyError> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8).map_err(|_| KeyError)?;
        Ok(Self { id, pair })
    }

    /// A fresh key in PKCS #8.
    ///
    /// # Errors
    /// [`KeyError`] where the operating system has no randomness.
    pub fn generate() -> Result<Vec<u8>, KeyError> {
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
        document.map(|document| document.as_ref().to_vec()).map_err(|_| KeyError)
    }

    /// The `kid` of what it signs.
    pub fn id(&self) -> &KeyId {
        &self.id
    }

    /// The public half as a JWK (RFC 7517, RFC 7518 section 6.2.1).
    pub fn jwk(&self) -> PublicJwk {
        // An uncompressed point: 4, then both coordinates of 32 bytes.
        let point = self.pair.public_key().as_ref();
        let coordinate = |at: usize| BASE64_URL_SAFE_NO_PAD.encode(point.get(at..at + 32).unwrap_or_default());
        PublicJwk {
            kty: "EC",
            crv: "P-256",
            x: coordinate(1),
            y: coordinate(33),
            alg: ALGORITHM,
            usage: "sig",
            kid: self.id.clone(),
        }
    }

    /// The token with these claims.
    ///
    /// # Errors
    /// [`KeyError`] where the operating system has no randomness.
    pub fn sign(&self, claims: &Claims<'_>) -> Result<String, KeyError> {
        let header = Header { alg: ALGORITHM.into(), typ: TYPE.into(), kid: self.id.clone() };
        let mut text = encode(&header)?;
        text.push('.');
        text.push_str(&encode(claims)?);
        let signature = self.pair.sign(&SystemRandom::new(), text.as_bytes()).map_err(|_| KeyError)?;
        text.push('.');
        BASE64_URL_SAFE_NO_PAD.encode_string(signature.as_ref(), &mut text);
        Ok(text)
    }

    /// Whether the token was signed with this key.
    pub fn signed(&self, token: &str) -> bool {
        let Some((message, signature)) = token.rsplit_once('.') else { return false };
        let Ok(signature) = BASE64_URL_SAFE_NO_PAD.decode(signature) else { return false };
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.pair.public_key().as_ref());
        key.verify(message.as_bytes(), &signature).is_ok()
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey").field("id", &self.id).finish_non_exhaustive()
    }
}

fn encode(value: &impl Serialize) -> Result<String, KeyError> {
    serde_json::to_vec(value).map(|json| BASE64_URL_SAFE_NO_PAD.encode(json)).map_err(|_| KeyError)
}

/// The public half of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PublicJwk {
    /// Always `EC`.
    kty: &'static str,
    /// Always `P-256`.
    crv: &'static str,
    /// The first coordinate.
    x: String,
    /// The second one.
    y: String,
    /// Always `ES256`.
    alg: &'static str,
    /// Always `sig`.
    #[serde(rename = "use")]
    usage: &'static str,
    /// Its id.
    kid: KeyId,
}

/// The claims of an access token (RFC 9068 section 2.2). Times are seconds since 1970.
#[derive(Clone, Debug, Serialize)]
pub struct Claims<'a> {
    /// The gateway, by its public address.
    pub iss: &'a str,
    /// The person, or the workflow where there is none.
    pub sub: &'a str,
    /// Whom it is for: the gateway.
    pub aud: &'a str,
    /// The workflow, as `<app>/<workflow>`.
    pub client_id: &'a str,
    /// When it ends.
    pub exp: i64,
    /// When it was made.
    pub iat: i64,
    /// The token's id.
    pub jti: &'a TokenId,
    /// Its scopes, separated by spaces.
    pub scope: &'a str,
    /// The key that it is bound to (RFC 7800).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cnf: Option<Confirmation>,
}

/// The key that a token is bound to: `{"jkt": …}` or `{"x5t#S256": …}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Confirmation(pub Binding);

impl Serialize for Confirmation {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map([self.0.confirmation()])
    }
}

#[derive(Serialize, Deserialize)]
struct Header {
    alg: String,
    typ: String,
    kid: KeyId,
}

/// Which token a JWT says that it is, before anybody has looked whether it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Its `jti`.
    pub id: TokenId,
    /// The key that signed it.
    pub key: KeyId,
}

/// What the id of every key begins with that signs tokens.
pub const KEY_PREFIX: &str = "token-signing-";

/// Whether the text says that it is a token of this gateway, of either form. Nothing of it is believed yet.
pub fn is_ours(text: &str) -> bool {
    text.starts_with("vst_") || name(text).is_some_and(|named| named.key.as_str().starts_with(KEY_PREFIX))
}

/// Reads which token it is; `None` where it cannot be one of ours. Nothing of it is believed yet.
pub fn name(text: &str) -> Option<Named> {
    #[derive(Deserialize)]
    struct Id {
        jti: TokenId,
    }
    if text.len() > LONGEST {
        return None;
    }
    let mut parts = text.split('.');
    let (header, claims, signature) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || signature.is_empty() {
        return None;
    }
    let header: Header = decode(header)?;
    if header.alg != ALGORITHM || header.typ != TYPE {
        return None;
    }
    let id: Id = decode(claims)?;
    Some(Named { id: id.jti, key: header.kid })
}

fn decode<T: serde::de::DeserializeOwned>(part: &str) -> Option<T> {
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn key(id: &str) -> SigningKey {
        SigningKey::read(id.parse().unwrap(), &SigningKey::generate().unwrap()).unwrap()
    }

    fn signed(key: &SigningKey, cnf: Option<Confirmation>) -> String {
        let claims = Claims {
            iss: "https://files.example",
            sub: "anna",
            aud: "https://files.example",
            client_id: "where2eat/page",
            exp: 1_795_000_300,
            iat: 1_795_000_000,
            jti: &"AAAAAAAAAAAAAAAA".parse().unwrap(),
            scope: "storage:images:where2eat:read:prefix=/uploads/",
            cnf,
        };
        key.sign(&claims).unwrap()
    }

    fn part(token: &str, at: usize) -> Value {
        decode(token.split('.').nth(at).unwrap()).unwrap()
    }

    fn with_header(token: &str, header: &Value) -> String {
        let (_, rest) = token.split_once('.').unwrap();
        format!("{}.{rest}", encode(header).unwrap())
    }

    #[test]
    fn a_token_has_the_header_and_the_claims_of_rfc_9068() {
        let own = key("k1");
        let thumbprint = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";
        let token = signed(&own, Some(Confirmation(format!("jkt:{thumbprint}").parse().unwrap())));
        assert_eq!(part(&token, 0), json!({"alg": "ES256", "typ": "at+jwt", "kid": "k1"}));
        let claims = part(&token, 1);
        for name in ["iss", "exp", "aud", "sub", "client_id", "iat", "jti", "scope"] {
            assert!(!claims[name].is_null(), "{name}");
        }
        assert_eq!(claims["cnf"], json!({ "jkt": thumbprint }));
        assert_eq!(part(&signed(&own, None), 1).get("cnf"), None);
        let named = name(&token).unwrap();
        assert_eq!((named.id.as_str(), named.key.as_str()), ("AAAAAAAAAAAAAAAA", "k1"));
        assert!(!is_ours(&token) && own.signed(&token), "another key is not ours");
        assert!(is_ours(&signed(&key("token-signing-1-ab"), None)) && is_ours("vst_live_x"));
    }

    #[test]
    fn another_library_verifies_the_signature_with_the_published_key() {
        let own = key("k1");
        let jwk: jsonwebtoken::jwk::Jwk = serde_json::from_value(serde_json::to_value(own.jwk()).unwrap()).unwrap();
        let decoding = jsonwebtoken::DecodingKey::from_jwk(&jwk).unwrap();
        let mut validation = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::ES256);
        validation.set_audience(&["https://files.example"]);
        validation.validate_exp = false;
        let token = signed(&own, None);
        assert!(jsonwebtoken::decode::<Value>(&token, &decoding, &validation).is_ok());
        let other: jsonwebtoken::jwk::Jwk =
            serde_json::from_value(serde_json::to_value(key("k1").jwk()).unwrap()).unwrap();
        let decoding = jsonwebtoken::DecodingKey::from_jwk(&other).unwrap();
        assert!(jsonwebtoken::decode::<Value>(&token, &decoding, &validation).is_err());
    }

    #[test]
    fn only_its_own_key_has_signed_a_token_and_only_as_it_is() {
        let (own, other) = (key("k1"), key("k1"));
        let token = signed(&own, None);
        assert!(own.signed(&token) && !other.signed(&token));
        for at in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert!(changed == token || !own.signed(&changed), "position {at}");
        }
        for text in ["", ".", "..", "a.b.c", token.rsplit_once('.').unwrap().0, &format!("{token}=")] {
            assert!(!own.signed(text), "{text}");
        }
    }

    #[test]
    fn another_algorithm_or_type_is_none_of_ours() {
        let token = signed(&key("k1"), None);
        for header in [
            json!({"alg": "none", "typ": "at+jwt", "kid": "k1"}),
            json!({"alg": "None", "typ": "at+jwt", "kid": "k1"}),
            json!({"alg": "HS256", "typ": "at+jwt", "kid": "k1"}),
            json!({"alg": "es256", "typ": "at+jwt", "kid": "k1"}),
            json!({"alg": "ES256", "typ": "JWT", "kid": "k1"}),
            json!({"alg": "ES256", "typ": "dpop+jwt", "kid": "k1"}),
            json!({"alg": "ES256", "kid": "k1"}),
            json!({"alg": "ES256", "typ": "at+jwt"}),
            json!({"alg": "ES256", "typ": "at+jwt", "kid": "../../etc/passwd"}),
            json!({"alg": "ES256", "typ": "at+jwt", "kid": "k1' or 1=1"}),
            json!({"alg": "ES256", "typ": "at+jwt", "kid": ["k1"]}),
        ] {
            assert_eq!(name(&with_header(&token, &header)), None, "{header}");
        }
        let (head, signature) = token.rsplit_once('.').unwrap();
        for text in [
            head.to_owned(),
            format!("{head}."),
            format!("{token}.{signature}"),
            format!(" {token}"),
            token.replace('.', ".="),
            format!("{head}.{}", "A".repeat(LONGEST)),
        ] {
            assert_eq!(name(&text), None, "{text}");
        }
    }

    #[test]
    fn a_key_of_another_kind_is_no_key() {
        for bytes in [&[][..], b"-----BEGIN PRIVATE KEY-----", &[0; 138]] {
            assert!(SigningKey::read("k1".parse().unwrap(), bytes).is_err());
        }
        assert!(!format!("{:?}", key("k1")).contains("pair"));
    }
}
