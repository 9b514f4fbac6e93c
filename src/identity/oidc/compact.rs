//! A compact JWS (RFC 7515 section 7.1), taken apart strictly. Nothing here is believed yet.
//!
//! Three parts of base64url without padding or stray bits, a header of known shape, claims whose names are unique: two
//! readers of the same token must not see two different ones. Headers that say where to take the key from are refused,
//! whatever they say.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::assertion::Flaw;

/// Longest token in bytes; some providers list hundreds of groups.
const LONGEST: usize = 16 * 1024;
/// Longest id of a key.
const LONGEST_KID: usize = 256;

/// The members of a header that count. Unknown ones are ignored, as RFC 7515 section 4 demands; `crit` would forbid that.
#[derive(Deserialize)]
struct Header {
    alg: String,
    typ: Option<String>,
    kid: Option<String>,
    crit: Option<IgnoredAny>,
    jwk: Option<IgnoredAny>,
    jku: Option<IgnoredAny>,
    x5u: Option<IgnoredAny>,
    x5c: Option<IgnoredAny>,
    b64: Option<IgnoredAny>,
    zip: Option<IgnoredAny>,
}

/// A token in its parts.
#[derive(Debug)]
pub(super) struct Compact<'t> {
    /// As it stands in the header.
    pub(super) alg: String,
    pub(super) typ: Option<String>,
    pub(super) kid: Option<String>,
    /// Always an object.
    pub(super) claims: Value,
    /// What is signed.
    pub(super) message: &'t str,
    /// Base64url, as it came.
    pub(super) signature: &'t str,
}

impl<'t> Compact<'t> {
    pub(super) fn parse(text: &'t str) -> Result<Self, Flaw> {
        if text.len() > LONGEST {
            return Err(Flaw::Malformed);
        }
        let (message, signature) = text.rsplit_once('.').ok_or(Flaw::Malformed)?;
        let (header, claims) = message.split_once('.').ok_or(Flaw::Malformed)?;
        // A dot more is in the claims now, and is no base64url.
        if decode(signature)?.is_empty() {
            return Err(Flaw::Malformed);
        }
        let header: Header = serde_json::from_slice(&decode(header)?).map_err(|_| Flaw::Malformed)?;
        let of_the_key = [&header.jwk, &header.jku, &header.x5u, &header.x5c];
        if of_the_key.into_iter().chain([&header.crit, &header.b64, &header.zip]).any(Option::is_some) {
            return Err(Flaw::Header);
        }
        if header.kid.as_ref().is_some_and(|kid| kid.is_empty() || kid.len() > LONGEST_KID) {
            return Err(Flaw::Key);
        }
        let claims: Unique = serde_json::from_slice(&decode(claims)?).map_err(|_| Flaw::Malformed)?;
        let (alg, typ, kid) = (header.alg, header.typ, header.kid);
        Ok(Self { alg, typ, kid, claims: Value::Object(claims.0), message, signature })
    }

    /// The claim `iss`.
    pub(super) fn issuer(&self) -> Option<&str> {
        self.claims.get("iss")?.as_str()
    }
}

fn decode(part: &str) -> Result<Vec<u8>, Flaw> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| Flaw::Malformed)
}

/// An object whose names are unique (RFC 7519 section 4 allows to refuse others).
struct Unique(Map<String, Value>);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Names;

        impl<'de> Visitor<'de> for Names {
            type Value = Unique;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Unique, A::Error> {
                let mut map = Map::new();
                while let Some((name, value)) = entries.next_entry()? {
                    if map.insert(name, value).is_some() {
                        return Err(serde::de::Error::custom("a name stands there twice"));
                    }
                }
                Ok(Unique(map))
            }
        }

        deserializer.deserialize_map(Names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(header: &str, claims: &str) -> String {
        format!("{}.{}.c2ln", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims))
    }

    fn flaw(text: &str) -> Option<Flaw> {
        Compact::parse(text).err()
    }

    #[test]
    fn a_token_is_taken_apart() {
        let text =
            token(r#"{"alg":"RS256","typ":"JWT","kid":"k","x5t":"ignored"}"#, r#"{"iss":"https://login.example"}"#);
        let compact = Compact::parse(&text).expect("a token");
        assert_eq!((compact.alg.as_str(), compact.kid.as_deref()), ("RS256", Some("k")));
        assert_eq!(compact.issuer(), Some("https://login.example"));
        assert_eq!(format!("{}.{}", compact.message, compact.signature), text);
    }

    #[test]
    fn only_the_strict_form_is_read() {
        let good = token(r#"{"alg":"RS256"}"#, "{}");
        assert_eq!(flaw(&good), None);
        let (header, _) = good.split_once('.').expect("a header");
        for bad in [
            String::new(),
            "..".into(),
            "a.b".into(),
            format!("{good}.x"),
            format!("x.{good}"),
            format!("{good}="),
            format!("{good} "),
            good.replace(".c2ln", "."),
            good.replace(".c2ln", ".c2lnZ"), // stray bits
            good.replace(".c2ln", ".c2l+"),
            format!("{header}..c2ln"),
            token("[]", "{}"),
            token(r#"{"alg":"RS256"}"#, "[]"),
            token(r#"{"alg":"RS256"}"#, "\"iss\""),
            token(r#"{"alg":256}"#, "{}"),
            token("{}", "{}"),
            token(r#"{"alg":"RS256"} {"alg":"none"}"#, "{}"),
            token(r#"{"alg":"RS256"}"#, &format!("{{\"a\":\"{}\"}}", "x".repeat(LONGEST))),
        ] {
            assert_eq!(flaw(&bad), Some(Flaw::Malformed), "{}", &bad[..bad.len().min(80)]);
        }
    }

    #[test]
    fn a_name_that_stands_there_twice_is_refused() {
        assert_eq!(flaw(&token(r#"{"alg":"none","alg":"RS256"}"#, "{}")), Some(Flaw::Malformed));
        assert_eq!(flaw(&token(r#"{"alg":"RS256"}"#, r#"{"sub":"a","sub":"b"}"#)), Some(Flaw::Malformed));
    }

    #[test]
    fn a_header_says_neither_where_the_key_is_nor_what_must_be_understood() {
        for member in [
            r#""crit":["exp"]"#,
            r#""jwk":{"kty":"oct","k":"AAAA"}"#,
            r#""jku":"https://evil.example/jwks""#,
            r#""x5u":"https://evil.example/cert""#,
            r#""x5c":["AAAA"]"#,
            r#""b64":false"#,
            r#""zip":"DEF""#,
        ] {
            assert_eq!(flaw(&token(&format!(r#"{{"alg":"RS256",{member}}}"#), "{}")), Some(Flaw::Header), "{member}");
        }
        for kid in [String::new(), "k".repeat(257)] {
            assert_eq!(flaw(&token(&format!(r#"{{"alg":"RS256","kid":"{kid}"}}"#), "{}")), Some(Flaw::Key));
        }
    }
}
