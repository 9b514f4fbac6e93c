//! An issuer's published keys (JWK Set, RFC 7517), and the check of a signature with one of them.
//!
//! Each key is read once and is good for the algorithms that its type, curve and own words (`alg`, `use`, `key_ops`) allow;
//! weak, symmetric and private ones are left out. A token's `kid` finds its key here and nowhere else.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{DecodingKey, crypto};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::assertion::Flaw;
use super::compact::Compact;
use super::config::SigningAlgorithm as Algorithm;

/// Most keys of one issuer.
const MOST_KEYS: usize = 100;
/// Bits of an RSA modulus (RFC 7518 section 3.3 asks for 2,048).
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

const RSA: &[Algorithm] =
    &[Algorithm::RS256, Algorithm::RS384, Algorithm::RS512, Algorithm::PS256, Algorithm::PS384, Algorithm::PS512];

/// Keys that may have signed a token.
pub(super) struct KeySet {
    keys: Vec<Key>,
    /// Why others were left out: their id and a sentence.
    pub(super) left_out: Vec<(String, &'static str)>,
}

struct Key {
    kid: Option<String>,
    /// The algorithms that it is good for.
    fits: Vec<Algorithm>,
    key: DecodingKey,
}

#[derive(Deserialize)]
struct Jwks {
    keys: Vec<Value>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
    d: Option<IgnoredAny>,
    k: Option<IgnoredAny>,
}

impl KeySet {
    /// Reads a JWK Set. Keys that cannot be used are left out, as RFC 7517 section 5 asks for.
    ///
    /// # Errors
    /// A sentence, where it is no JWK Set.
    pub(super) fn parse(json: &[u8]) -> Result<Self, &'static str> {
        let jwks: Jwks = serde_json::from_slice(json).map_err(|_| "the answer is no JWK Set")?;
        if jwks.keys.len() > MOST_KEYS {
            return Err("there are more than 100 keys");
        }
        let (mut keys, mut left_out) = (Vec::new(), Vec::new());
        for value in jwks.keys {
            let kid = value["kid"].as_str().unwrap_or("without kid").to_owned();
            let read = serde_json::from_value::<Jwk>(value).map_err(|_| "it is no key").and_then(Key::read);
            match read {
                Ok(key) => keys.push(key),
                Err(why) => left_out.push((kid, why)),
            }
        }
        Ok(Self { keys, left_out })
    }

    /// Checks the signature with the key that the token names.
    ///
    /// # Errors
    /// [`Flaw::Key`] where nothing is known by that name, and newer keys may help; otherwise what is wrong.
    pub(super) fn verify(&self, compact: &Compact<'_>, algorithm: Algorithm) -> Result<(), Flaw> {
        let fitting = |key: &&Key| key.fits.contains(&algorithm);
        let candidates: Vec<&Key> = match &compact.kid {
            Some(kid) => {
                let named: Vec<&Key> = self.keys.iter().filter(|key| key.kid.as_ref() == Some(kid)).collect();
                if !named.is_empty() && !named.iter().any(fitting) {
                    return Err(Flaw::Algorithm);
                }
                named
            }
            // Without a name only where there is no choice (OpenID Connect Core 10.1).
            None => Some(self.keys.iter().filter(fitting).collect())
                .filter(|all: &Vec<_>| all.len() == 1)
                .unwrap_or_default(),
        };
        let candidates = candidates.into_iter().filter(fitting).collect::<Vec<_>>();
        if candidates.is_empty() {
            return Err(Flaw::Key);
        }
        let good = |key: &Key| {
            let message = compact.message.as_bytes();
            crypto::verify(compact.signature, message, &key.key, algorithm.of_the_library()).unwrap_or(false)
        };
        if candidates.into_iter().any(good) { Ok(()) } else { Err(Flaw::Signature) }
    }

    /// Ids and algorithms, for whoever looks whether all is well.
    pub(super) fn describe(&self) -> impl Iterator<Item = (&str, &[Algorithm])> {
        self.keys.iter().map(|key| (key.kid.as_deref().unwrap_or("without kid"), key.fits.as_slice()))
    }
}

impl Key {
    fn read(jwk: Jwk) -> Result<Self, &'static str> {
        if jwk.d.is_some() {
            return Err("it is a private key, which nobody may know");
        }
        if jwk.k.is_some() || jwk.kty == "oct" {
            return Err("it is symmetric: whoever checks with it can sign with it");
        }
        if jwk.usage.as_deref().is_some_and(|usage| usage != "sig") {
            return Err("it is not for signatures (use)");
        }
        if jwk.key_ops.as_ref().is_some_and(|acts| !acts.iter().any(|act| act == "verify")) {
            return Err("it is not for checking signatures (key_ops)");
        }
        let (mut fits, key) = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
            ("RSA", _) => (RSA.to_vec(), rsa(&bytes(jwk.n)?, &bytes(jwk.e)?)?),
            ("EC", Some("P-256")) => (vec![Algorithm::ES256], point(&bytes(jwk.x)?, &bytes(jwk.y)?, 32)?),
            ("EC", Some("P-384")) => (vec![Algorithm::ES384], point(&bytes(jwk.x)?, &bytes(jwk.y)?, 48)?),
            ("OKP", Some("Ed25519")) => (vec![Algorithm::EdDSA], edwards(&bytes(jwk.x)?)?),
            _ => return Err("its type or curve is not one that is known"),
        };
        if let Some(alg) = &jwk.alg {
            fits.retain(|own| own.as_str() == alg);
            if fits.is_empty() {
                return Err("its alg is not one that is known, or not one of its type");
            }
        }
        Ok(Self { kid: jwk.kid, fits, key })
    }
}

fn bytes(part: Option<String>) -> Result<Vec<u8>, &'static str> {
    part.and_then(|part| URL_SAFE_NO_PAD.decode(part).ok()).ok_or("a part of it is missing or is no base64url")
}

fn rsa(modulus: &[u8], exponent: &[u8]) -> Result<DecodingKey, &'static str> {
    let start = modulus.iter().position(|byte| *byte != 0).unwrap_or(modulus.len());
    let modulus = &modulus[start..];
    let bits = modulus.len() * 8 - modulus.first().map_or(0, |byte| byte.leading_zeros() as usize);
    if !RSA_BITS.contains(&bits) {
        return Err("its modulus does not have 2,048 to 8,192 bits");
    }
    let number = exponent.iter().try_fold(0_u64, |sum, byte| Some(sum.checked_mul(256)? + u64::from(*byte)));
    if !number.is_some_and(|number| number % 2 == 1 && (65_537..1 << 33).contains(&number)) {
        return Err("its exponent is not an odd number from 65,537 to 2^33");
    }
    Ok(DecodingKey::from_rsa_raw_components(modulus, exponent))
}

/// The uncompressed form of a point, which the library takes for a key.
fn point(x: &[u8], y: &[u8], length: usize) -> Result<DecodingKey, &'static str> {
    if x.len() != length || y.len() != length {
        return Err("its coordinates have the wrong length");
    }
    Ok(DecodingKey::from_ec_der(&[&[4], x, y].concat()))
}

fn edwards(x: &[u8]) -> Result<DecodingKey, &'static str> {
    if x.len() == 32 { Ok(DecodingKey::from_ed_der(x)) } else { Err("its coordinate has the wrong length") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn part(length: usize, byte: u8) -> String {
        URL_SAFE_NO_PAD.encode(vec![byte; length])
    }

    fn rsa_key(bytes: usize) -> Value {
        json!({ "kty": "RSA", "kid": "r", "n": part(bytes, 0xff), "e": "AQAB" })
    }

    fn left_out(key: Value) -> Option<&'static str> {
        let set = KeySet::parse(json!({ "keys": [key] }).to_string().as_bytes()).expect("a set");
        assert_eq!(set.keys.len() + set.left_out.len(), 1);
        set.left_out.first().map(|(_, why)| *why)
    }

    #[test]
    fn keys_of_usual_kinds_are_read_with_what_they_are_good_for() {
        let mut only = rsa_key(256);
        only["alg"] = json!("RS256");
        only["use"] = json!("sig");
        let keys = json!([
            only,
            rsa_key(512),
            { "kty": "EC", "crv": "P-256", "kid": "e", "x": part(32, 1), "y": part(32, 2), "key_ops": ["verify"] },
            { "kty": "EC", "crv": "P-384", "kid": "f", "x": part(48, 1), "y": part(48, 2) },
            { "kty": "OKP", "crv": "Ed25519", "x": part(32, 1) },
        ]);
        let set = KeySet::parse(json!({ "keys": keys }).to_string().as_bytes()).expect("a set");
        let fits: Vec<_> = set.describe().map(|(kid, fits)| format!("{kid} {}", fits.len())).collect();
        assert_eq!(fits, ["r 1", "r 6", "e 1", "f 1", "without kid 1"]);
    }

    #[test]
    fn weak_foreign_symmetric_and_private_keys_are_left_out() {
        let with = |member: &str, value: Value| {
            let mut key = rsa_key(256);
            key[member] = value;
            key
        };
        let mut short = vec![0; 1];
        short.extend([0xff; 255]);
        for (key, why) in [
            (rsa_key(128), "2,048"),
            (rsa_key(255), "2,048"),
            (with("n", json!(URL_SAFE_NO_PAD.encode(short))), "2,048"),
            (rsa_key(1025), "2,048"),
            (with("e", json!("Aw")), "exponent"),
            (with("e", json!("AQAA")), "exponent"),
            (with("e", json!(part(9, 0xff))), "exponent"),
            (with("n", json!(null)), "missing"),
            (with("use", json!("enc")), "use"),
            (with("key_ops", json!(["sign"])), "key_ops"),
            (with("alg", json!("ES256")), "alg"),
            (with("alg", json!("HS256")), "alg"),
            (with("alg", json!("RSA-OAEP")), "alg"),
            (with("d", json!("AAAA")), "private"),
            (json!({ "kty": "oct", "k": "AAAA" }), "symmetric"),
            (json!({ "kty": "EC", "crv": "P-256", "x": part(31, 1), "y": part(32, 1) }), "length"),
            (json!({ "kty": "EC", "crv": "P-521", "x": part(66, 1), "y": part(66, 1) }), "curve"),
            (json!({ "kty": "EC", "crv": "secp256k1", "x": part(32, 1), "y": part(32, 1) }), "curve"),
            (json!({ "kty": "OKP", "crv": "X25519", "x": part(32, 1) }), "curve"),
            (json!({ "kty": "OKP", "crv": "Ed25519", "x": part(31, 1) }), "length"),
            (json!("key"), "no key"),
        ] {
            let found = left_out(key.clone());
            assert!(found.is_some_and(|found| found.contains(why)), "{key}: {found:?}");
        }
    }

    #[test]
    fn an_answer_that_is_no_key_set_is_no_empty_one() {
        for bad in ["", "{}", "[]", r#"{"keys":{}}"#, "<html>"] {
            assert!(KeySet::parse(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(KeySet::parse(br#"{"keys":[]}"#).is_ok_and(|set| set.keys.is_empty()));
        let many = json!({ "keys": vec![rsa_key(256); 101] }).to_string();
        assert!(KeySet::parse(many.as_bytes()).is_err());
    }
}
