//! One proof: a JWT of type `dpop+jwt` that carries its own public key (RFC 9449 section 4.2).
//!
//! [`Proof::parse`] takes nothing but what is well-formed, of an accepted algorithm and signed by the key inside it;
//! [`Proof::fits`] compares it with a request (section 4.3). What needs memory or secrets, the nonce and that a proof is used
//! once, is in [`super::Proofs`].

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::domain::binding::Thumbprint;

use super::ProofError;
use super::jwk::{Jwk, present};
use super::uri::Base;

/// Longest proof in bytes: one with an RSA key of 4,096 bits has about 2,100.
const LONGEST: usize = 4096;
/// Longest `jti`; 96 random bits take 16 characters.
const LONGEST_ID: usize = 256;

/// A proof whose signature is good. Whether it was made for the request at hand is not known yet.
#[derive(Debug)]
pub(super) struct Proof {
    /// The key that signed it.
    pub(super) key: Thumbprint,
    claims: Claims,
}

#[derive(Debug, Deserialize)]
struct Claims {
    jti: String,
    htm: String,
    htu: String,
    /// Seconds since 1970; RFC 7519 allows a fraction.
    iat: f64,
    ath: Option<String>,
    nonce: Option<String>,
}

#[derive(Deserialize)]
struct Header {
    typ: String,
    alg: String,
    jwk: Jwk,
    /// Extensions that must be understood; none is.
    #[serde(default, deserialize_with = "present")]
    crit: bool,
}

/// What a request is, for [`Proof::fits`].
pub(super) struct Request<'r> {
    /// The method, in upper case.
    pub(super) method: &'r str,
    /// The path as it was sent.
    pub(super) path: &'r str,
    /// The access token that is sent with the proof; none at the token endpoint.
    pub(super) token: Option<&'r str>,
}

/// How old or how far ahead a proof's `iat` may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub(super) past: SignedDuration,
    pub(super) future: SignedDuration,
}

impl Proof {
    /// Reads a proof and verifies its signature.
    pub(super) fn parse(text: &str) -> Result<Self, ProofError> {
        if text.len() > LONGEST {
            return Err(ProofError::Form);
        }
        let (signed, signature) = text.rsplit_once('.').ok_or(ProofError::Form)?;
        let (header, payload) = signed.split_once('.').ok_or(ProofError::Form)?;
        let decode = |part: &str| BASE64_URL_SAFE_NO_PAD.decode(part).map_err(|_| ProofError::Form);
        let (header, payload, signature) = (decode(header)?, decode(payload)?, decode(signature)?);
        let header: Header = serde_json::from_slice(&header).map_err(|_| ProofError::Form)?;
        if header.typ != "dpop+jwt" || header.crit {
            return Err(ProofError::Type);
        }
        let key = header.jwk.key(&header.alg)?;
        key.verify(signed.as_bytes(), &signature)?;
        let claims: Claims = serde_json::from_slice(&payload).map_err(|_| ProofError::Claims)?;
        if claims.jti.is_empty() || claims.jti.len() > LONGEST_ID {
            return Err(ProofError::Claims);
        }
        Ok(Self { key: key.thumbprint, claims })
    }

    /// Whether it was made lately, for this request and this token.
    pub(super) fn fits(
        &self,
        request: &Request<'_>,
        base: &Base,
        now: Timestamp,
        window: Window,
    ) -> Result<(), ProofError> {
        if self.claims.htm != request.method {
            return Err(ProofError::Method(request.method.to_owned()));
        }
        if !base.is_address(&self.claims.htu, request.path) {
            return Err(ProofError::Address(base.address(request.path)));
        }
        let made = self.made().ok_or(ProofError::Claims)?;
        if now.duration_since(made) > window.past {
            return Err(ProofError::Old);
        }
        if made.duration_since(now) > window.future {
            return Err(ProofError::Future);
        }
        match (request.token, &self.claims.ath) {
            (None, _) => Ok(()),
            (Some(_), None) => Err(ProofError::NoToken),
            (Some(token), Some(own)) => {
                let hash = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(token.as_bytes()));
                let same: bool = hash.as_bytes().ct_eq(own.as_bytes()).into();
                if same { Ok(()) } else { Err(ProofError::OtherToken) }
            }
        }
    }

    /// When it says that it was made.
    pub(super) fn made(&self) -> Option<Timestamp> {
        // Whole seconds; what no clock shows has no timestamp.
        let seconds = self.claims.iat.floor();
        #[allow(clippy::cast_possible_truncation)]
        let known = seconds.is_finite() && seconds.abs() < 1e11;
        #[allow(clippy::cast_possible_truncation)]
        known.then(|| Timestamp::from_second(seconds as i64).ok()).flatten()
    }

    /// The server's nonce in it.
    pub(super) fn nonce(&self) -> Option<&str> {
        self.claims.nonce.as_deref()
    }

    /// Which proof of which key it is: the same for every copy of it, on every node.
    pub(super) fn id(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(self.key.0);
        hash.update(self.claims.jti.as_bytes());
        hash.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Signer;
    use super::*;

    const WINDOW: Window = Window { past: SignedDuration::from_secs(60), future: SignedDuration::from_secs(10) };

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// The proof of RFC 9449 section 4.1, of a token request.
    const TOKEN_REQUEST: &str = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0IjoxNTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg";
    /// The one of section 7.1, with an access token.
    const RESOURCE: &str = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA";
    const TOKEN: &str = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU";

    #[test]
    fn the_proofs_of_the_standard_are_read_and_fit_their_requests() {
        let proof = Proof::parse(TOKEN_REQUEST).unwrap();
        assert_eq!(proof.key.to_string(), "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I");
        let base = Base::new("https://server.example.com");
        let request = Request { method: "POST", path: "/token", token: None };
        assert_eq!(proof.fits(&request, &base, at(1_562_262_616), WINDOW), Ok(()));

        let proof = Proof::parse(RESOURCE).unwrap();
        let base = Base::new("https://resource.example.org");
        let request = Request { method: "GET", path: "/protectedresource", token: Some(TOKEN) };
        assert_eq!(proof.fits(&request, &base, at(1_562_262_618), WINDOW), Ok(()));
        let other = Request { token: Some("another"), ..request };
        assert_eq!(proof.fits(&other, &base, at(1_562_262_618), WINDOW), Err(ProofError::OtherToken));
    }

    #[test]
    fn every_changed_character_breaks_a_proof() {
        for place in 0..RESOURCE.len() {
            let mut text = RESOURCE.as_bytes().to_vec();
            text[place] = if text[place] == b'A' { b'B' } else { b'A' };
            assert!(Proof::parse(std::str::from_utf8(&text).unwrap()).is_err(), "{place}");
        }
        for text in ["", ".", "..", "...", &RESOURCE[1..], &format!("{RESOURCE}."), &format!(" {RESOURCE}"), "a.b.c"] {
            assert!(Proof::parse(text).is_err(), "{text}");
        }
        assert_eq!(Proof::parse(&"a".repeat(LONGEST + 1)).unwrap_err(), ProofError::Form);
    }

    #[test]
    fn a_header_that_says_anything_else_is_refused_though_its_signature_is_good() {
        let signer = Signer::new();
        let sign = |from: &str, to: &str| {
            let header = signer.header();
            assert!(header.contains(from), "{header}");
            Proof::parse(&signer.sign_raw(&header.replacen(from, to, 1), &signer.claims("GET", "https://a/", 0)))
        };
        assert!(sign("dpop", "dpop").is_ok());
        for typ in ["jwt", "JWT", "at+jwt", "DPOP+JWT", "application/dpop+jwt"] {
            assert_eq!(sign("dpop+jwt", typ).unwrap_err(), ProofError::Type, "{typ}");
        }
        for alg in ["none", "HS256", "ES384", "RS256", "ES256K", "es256"] {
            assert!(sign("\"ES256\"", &format!("\"{alg}\"")).is_err(), "{alg}");
        }
        assert_eq!(sign("\"typ\"", "\"crit\":[\"b64\"],\"typ\"").unwrap_err(), ProofError::Type);
        assert_eq!(sign("\"typ\"", "\"crit\":null,\"typ\"").unwrap_err(), ProofError::Type);
        assert_eq!(sign("\"typ\"", "\"typ\":\"jwt\",\"typ\"").unwrap_err(), ProofError::Form, "a member twice");
        assert_eq!(sign("\"jwk\"", "\"jku\"").unwrap_err(), ProofError::Form);
        assert_eq!(sign("\"kty\"", "\"d\":\"AA\",\"kty\"").unwrap_err(), ProofError::PrivateKey);
        assert!(sign("\"typ\"", "\"kid\":\"../../dev/null\",\"typ\"").is_ok(), "other members say nothing here");
        // Another key's header over this key's signature.
        let other = signer.sign_raw(&Signer::new().header(), &signer.claims("GET", "https://a/", 0));
        assert_eq!(Proof::parse(&other).unwrap_err(), ProofError::Signature);
    }

    #[test]
    fn claims_are_all_there_and_each_has_its_bounds() {
        let signer = Signer::new();
        let parse = |claims: &str| Proof::parse(&signer.sign_raw(&signer.header(), claims));
        assert!(parse(r#"{"jti":"a","htm":"GET","htu":"https://a/","iat":1.5,"exp":1,"more":{}}"#).is_ok());
        for claims in [
            r#"{"htm":"GET","htu":"https://a/","iat":1}"#,
            r#"{"jti":"a","htu":"https://a/","iat":1}"#,
            r#"{"jti":"a","htm":"GET","iat":1}"#,
            r#"{"jti":"a","htm":"GET","htu":"https://a/"}"#,
            r#"{"jti":"","htm":"GET","htu":"https://a/","iat":1}"#,
            r#"{"jti":1,"htm":"GET","htu":"https://a/","iat":1}"#,
            r#"{"jti":"a","htm":"GET","htu":"https://a/","iat":"1"}"#,
            r#"{"jti":"a","htm":"GET","htm":"POST","htu":"https://a/","iat":1}"#,
            r#"["jti"]"#,
            "",
        ] {
            assert_eq!(parse(claims).unwrap_err(), ProofError::Claims, "{claims}");
        }
        let long = format!(r#"{{"jti":"{}","htm":"GET","htu":"https://a/","iat":1}}"#, "a".repeat(LONGEST_ID + 1));
        assert_eq!(parse(&long).unwrap_err(), ProofError::Claims);
    }

    #[test]
    fn a_proof_fits_one_method_one_address_and_a_short_time() {
        let signer = Signer::new();
        let base = Base::new("https://files.example.com");
        let fits = |method: &str, htu: &str, second: i64| {
            let proof = Proof::parse(&signer.sign_raw(&signer.header(), &signer.claims(method, htu, second))).unwrap();
            let request = Request { method: "GET", path: "/limits", token: None };
            proof.fits(&request, &base, at(1_000), WINDOW)
        };
        let here = "https://files.example.com/limits";
        for (second, expected) in [
            (1_000, Ok(())),
            (940, Ok(())),
            (1_010, Ok(())),
            (939, Err(ProofError::Old)),
            (1_011, Err(ProofError::Future)),
            (0, Err(ProofError::Old)),
            (90_000_000_000, Err(ProofError::Future)),
            (i64::MAX, Err(ProofError::Claims)),
            (i64::MIN, Err(ProofError::Claims)),
        ] {
            assert_eq!(fits("GET", here, second), expected, "{second}");
        }
        for method in ["POST", "get", "", "GET "] {
            assert_eq!(fits(method, here, 1_000), Err(ProofError::Method("GET".into())), "{method}");
        }
        assert_eq!(fits("GET", "https://files.example.com/", 1_000), Err(ProofError::Address(here.into())));
    }

    #[test]
    fn a_proof_of_a_resource_names_its_token() {
        let signer = Signer::new();
        let proof = Proof::parse(&signer.sign_raw(&signer.header(), &signer.claims("GET", "https://a/", 0))).unwrap();
        let request = Request { method: "GET", path: "/", token: Some("secret") };
        assert_eq!(proof.fits(&request, &Base::new("https://a"), at(0), WINDOW), Err(ProofError::NoToken));
    }

    #[test]
    fn a_proof_is_known_by_its_key_and_its_id() {
        let (signer, other) = (Signer::new(), Signer::new());
        let claims = signer.claims("GET", "https://a/", 0);
        let id = |signer: &Signer, claims: &str| Proof::parse(&signer.sign_raw(&signer.header(), claims)).unwrap().id();
        assert_eq!(id(&signer, &claims), id(&signer, &claims), "whatever its signature is");
        assert_ne!(id(&signer, &claims), id(&other, &claims), "nobody uses up another key's ids");
        assert_ne!(id(&signer, &claims), id(&signer, &claims.replacen("jti\":\"", "jti\":\"x", 1)));
    }
}
