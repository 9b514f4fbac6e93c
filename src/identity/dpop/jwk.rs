//! The public key inside a proof: a JWK (RFC 7517, RFC 7518, RFC 8037), and the thumbprint by which tokens name it.
//!
//! Only asymmetric algorithms, each with exactly one kind of key; the header's `alg` and the key must fit each other, so that
//! nobody has a key read as one of another kind. A private member refuses the whole proof: a key that was sent is not
//! secret any more. Numbers are read in their one canonical form, so that a key has one thumbprint (RFC 7638).

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256,
    RsaPublicKeyComponents, UnparsedPublicKey,
};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};

use crate::domain::binding::Thumbprint;

use super::ProofError;

/// The accepted algorithms as challenges and metadata name them (RFC 9449 section 5.1, RFC 9864).
pub const ALGORITHMS: [&str; 6] = ["ES256", "ES384", "Ed25519", "EdDSA", "PS256", "RS256"];

/// Largest RSA modulus: 4,096 bits. Larger ones only cost time.
const LARGEST_MODULUS: usize = 512;

/// A signature algorithm for proofs (RFC 7518 section 3.1, RFC 8037).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    Es256,
    Es384,
    Ed25519,
    Ps256,
    Rs256,
}

impl Algorithm {
    /// The algorithm with this name; symmetric ones and `none` have none here.
    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "ES256" => Some(Self::Es256),
            "ES384" => Some(Self::Es384),
            "Ed25519" | "EdDSA" => Some(Self::Ed25519),
            "PS256" => Some(Self::Ps256),
            "RS256" => Some(Self::Rs256),
            _ => None,
        }
    }
}

/// The members of a JWK that are looked at. A member twice is an error.
#[derive(Deserialize)]
pub(super) struct Jwk {
    kty: String,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    #[serde(default, deserialize_with = "present")]
    d: bool,
    #[serde(default, deserialize_with = "present")]
    p: bool,
    #[serde(default, deserialize_with = "present")]
    q: bool,
    #[serde(default, deserialize_with = "present")]
    dp: bool,
    #[serde(default, deserialize_with = "present")]
    dq: bool,
    #[serde(default, deserialize_with = "present")]
    qi: bool,
    #[serde(default, deserialize_with = "present")]
    oth: bool,
    #[serde(default, deserialize_with = "present")]
    k: bool,
}

/// That a member is there, whatever it holds.
pub(super) fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}

/// A public key with the algorithm that its signatures have.
#[derive(Debug)]
pub(super) struct Key {
    algorithm: Algorithm,
    material: Material,
    /// Its RFC 7638 thumbprint.
    pub(super) thumbprint: Thumbprint,
}

#[derive(Debug)]
enum Material {
    /// An uncompressed point, or an Ed25519 key.
    Point(Vec<u8>),
    /// Modulus and exponent.
    Rsa(Vec<u8>, Vec<u8>),
}

impl Jwk {
    /// The key, for signatures of this algorithm.
    pub(super) fn key(&self, name: &str) -> Result<Key, ProofError> {
        let algorithm = Algorithm::named(name).ok_or(ProofError::Algorithm)?;
        if [self.d, self.p, self.q, self.dp, self.dq, self.qi, self.oth, self.k].contains(&true) {
            return Err(ProofError::PrivateKey);
        }
        let fits = self.alg.as_deref().is_none_or(|own| own == name);
        if !fits || self.usage.as_deref().is_some_and(|usage| usage != "sig") {
            return Err(ProofError::Key);
        }
        let kty = self.kty.as_str();
        let crv = self.crv.as_deref();
        match (algorithm, kty, crv) {
            (Algorithm::Es256, "EC", Some("P-256")) => self.curve(algorithm, "P-256", 32),
            (Algorithm::Es384, "EC", Some("P-384")) => self.curve(algorithm, "P-384", 48),
            (Algorithm::Ed25519, "OKP", Some("Ed25519")) => {
                let x = member(self.x.as_deref())?;
                let text = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, x.text);
                if x.bytes.len() != 32 {
                    return Err(ProofError::Key);
                }
                Ok(Key { algorithm, material: Material::Point(x.bytes), thumbprint: Thumbprint::of(text.as_bytes()) })
            }
            (Algorithm::Ps256 | Algorithm::Rs256, "RSA", None) => {
                let (n, e) = (member(self.n.as_deref())?, member(self.e.as_deref())?);
                let canonical = |number: &[u8]| number.first().is_some_and(|first| *first != 0);
                if !canonical(&n.bytes) || !canonical(&e.bytes) || n.bytes.len() > LARGEST_MODULUS {
                    return Err(ProofError::Key);
                }
                let text = format!(r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#, e.text, n.text);
                let thumbprint = Thumbprint::of(text.as_bytes());
                Ok(Key { algorithm, material: Material::Rsa(n.bytes, e.bytes), thumbprint })
            }
            _ => Err(ProofError::Key),
        }
    }

    fn curve(&self, algorithm: Algorithm, crv: &str, length: usize) -> Result<Key, ProofError> {
        let (x, y) = (member(self.x.as_deref())?, member(self.y.as_deref())?);
        // RFC 7518 section 6.2.1.2: the full size of a coordinate, always.
        if x.bytes.len() != length || y.bytes.len() != length {
            return Err(ProofError::Key);
        }
        let text = format!(r#"{{"crv":"{crv}","kty":"EC","x":"{}","y":"{}"}}"#, x.text, y.text);
        let mut point = Vec::with_capacity(1 + 2 * length);
        point.push(4);
        point.extend_from_slice(&x.bytes);
        point.extend_from_slice(&y.bytes);
        Ok(Key { algorithm, material: Material::Point(point), thumbprint: Thumbprint::of(text.as_bytes()) })
    }
}

impl Key {
    /// Whether the signature of `message` was made by this key.
    pub(super) fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), ProofError> {
        let verified = match (&self.material, self.algorithm) {
            (Material::Point(point), Algorithm::Es256) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature)
            }
            (Material::Point(point), Algorithm::Es384) => {
                UnparsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, point).verify(message, signature)
            }
            (Material::Point(point), Algorithm::Ed25519) => {
                UnparsedPublicKey::new(&ED25519, point).verify(message, signature)
            }
            (Material::Rsa(n, e), Algorithm::Ps256) => {
                RsaPublicKeyComponents { n, e }.verify(&RSA_PSS_2048_8192_SHA256, message, signature)
            }
            (Material::Rsa(n, e), Algorithm::Rs256) => {
                RsaPublicKeyComponents { n, e }.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
            }
            // A key is only ever made with material of its algorithm.
            _ => return Err(ProofError::Key),
        };
        verified.map_err(|_| ProofError::Signature)
    }
}

/// A binary member: its text, which is canonical, and what it stands for.
struct Member<'a> {
    text: &'a str,
    bytes: Vec<u8>,
}

fn member(text: Option<&str>) -> Result<Member<'_>, ProofError> {
    let text = text.ok_or(ProofError::Key)?;
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| ProofError::Key)?;
    Ok(Member { text, bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(jwk: &str, algorithm: &str) -> Result<Key, ProofError> {
        serde_json::from_str::<Jwk>(jwk).map_err(|_| ProofError::Key)?.key(algorithm)
    }

    /// RFC 7638 section 3.1, without the members that a thumbprint leaves out.
    const RSA: &str = r#"{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","kid":"2011-04-29"}"#;
    /// RFC 9449 section 4.2.
    const EC: &str = r#"{"kty":"EC","x":"l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs","y":"9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA","crv":"P-256"}"#;
    /// RFC 8037 appendix A.3.
    const OKP: &str = r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;

    #[test]
    fn thumbprints_are_those_of_the_standards() {
        for (jwk, algorithm, thumbprint) in [
            (RSA, "RS256", "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"),
            (RSA, "PS256", "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"),
            (EC, "ES256", "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"),
            (OKP, "EdDSA", "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"),
            (OKP, "Ed25519", "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"),
        ] {
            assert_eq!(key(jwk, algorithm).unwrap().thumbprint.to_string(), thumbprint, "{algorithm}");
        }
    }

    #[test]
    fn an_algorithm_takes_its_own_kind_of_key_only() {
        for (jwk, algorithms) in [(RSA, &["PS256", "RS256"][..]), (EC, &["ES256"]), (OKP, &["EdDSA", "Ed25519"])] {
            for algorithm in ALGORITHMS {
                assert_eq!(key(jwk, algorithm).is_ok(), algorithms.contains(&algorithm), "{algorithm} {jwk}");
            }
            for algorithm in ["none", "None", "HS256", "es256", "ES256K", "RS512", ""] {
                assert_eq!(key(jwk, algorithm).unwrap_err(), ProofError::Algorithm, "{algorithm}");
            }
        }
    }

    #[test]
    fn a_private_or_symmetric_key_is_refused_whatever_its_value() {
        for member in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
            for value in ["\"AQAB\"", "null", "[]", "\"\""] {
                let jwk = EC.replacen('{', &format!("{{\"{member}\":{value},"), 1);
                assert_eq!(key(&jwk, "ES256").unwrap_err(), ProofError::PrivateKey, "{member}");
            }
        }
    }

    #[test]
    fn a_key_that_could_be_read_in_two_ways_is_refused() {
        for (from, to) in [
            ("\"l8tF", "\"AGwtF"),
            ("Fs\"", "Ft\""),
            ("Fs\"", "Fs=\""),
            ("\"crv\":\"P-256\"", "\"crv\":\"P-384\""),
            ("\"crv\":\"P-256\"", "\"crv\":\"P-256\",\"kty\":\"EC\""),
            ("\"kty\":\"EC\"", "\"kty\":\"ec\""),
            ("\"kty\":\"EC\"", "\"kty\":\"EC\",\"alg\":\"ES384\""),
            ("\"kty\":\"EC\"", "\"kty\":\"EC\",\"use\":\"enc\""),
        ] {
            let jwk = EC.replacen(from, to, 1);
            assert_ne!(jwk, EC);
            assert_eq!(key(&jwk, "ES256").unwrap_err(), ProofError::Key, "{to}");
        }
        let zero = RSA.replacen("\"0vx7", "\"ANL8", 1);
        assert!(key(&zero, "RS256").is_err(), "leading zeros would give one key two thumbprints");
        let exponent = RSA.replacen("AQAB", "AAEAAQ", 1);
        assert!(key(&exponent, "RS256").is_err());
    }

    #[test]
    fn signatures_of_the_standards_are_verified() {
        // RFC 8037 appendix A.4.
        let message = b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
        let signature = BASE64_URL_SAFE_NO_PAD
            .decode("hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg")
            .unwrap();
        let own = key(OKP, "EdDSA").unwrap();
        assert_eq!(own.verify(message, &signature), Ok(()));
        assert_eq!(own.verify(&message[1..], &signature), Err(ProofError::Signature));
        assert_eq!(own.verify(message, &signature[1..]), Err(ProofError::Signature));
    }
}
