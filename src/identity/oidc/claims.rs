//! From an issuer's claims to the attributes of a person.
//!
//! A claim is named, or pointed at inside the others (RFC 6901), and its values may be translated. A claim that is there but
//! is not what the configuration says is an error, never a missing attribute: what a policy would have forbidden must not
//! pass because it could not be read.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::assertion::Flaw;
use crate::domain::principal::Subject;
use crate::domain::text::written_as_text;

/// Where a claim lies: `department`, or `/realm_access/roles` inside others.
#[derive(Clone, PartialEq, Eq)]
pub struct ClaimPath(String);

/// A text that names no claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a claim is named, for example department, or pointed at, for example /realm_access/roles (RFC 6901)")]
pub struct ParseClaimPathError;

impl FromStr for ClaimPath {
    type Err = ParseClaimPathError;

    fn from_str(text: &str) -> Result<Self, ParseClaimPathError> {
        let escapes = !text.starts_with('/')
            || text.split('~').skip(1).all(|after| after.starts_with('0') || after.starts_with('1'));
        let good = !text.is_empty() && text.len() <= 200 && !text.chars().any(char::is_control) && escapes;
        if good { Ok(Self(text.to_owned())) } else { Err(ParseClaimPathError) }
    }
}

impl fmt::Display for ClaimPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

written_as_text!(ClaimPath);

impl ClaimPath {
    /// What lies there; `null` is as good as nothing.
    fn of<'c>(&self, claims: &'c Value) -> Option<&'c Value> {
        let found = if self.0.starts_with('/') { claims.pointer(&self.0) } else { claims.get(&self.0) };
        found.filter(|value| !value.is_null())
    }

    /// The texts that lie there: none, one, or a list.
    pub(super) fn texts(&self, claims: &Value, what: &'static str) -> Result<Vec<String>, Flaw> {
        let text = |value: &Value| match value {
            Value::String(text) => Ok(text.clone()),
            Value::Number(number) if !number.is_f64() => Ok(number.to_string()),
            _ => Err(Flaw::Claim(what)),
        };
        match self.of(claims) {
            None => Ok(Vec::new()),
            Some(Value::Array(items)) => items.iter().map(text).collect(),
            Some(value) => text(value).map(|text| vec![text]),
        }
    }
}

/// A translation of one value.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MappedValue {
    /// What the issuer says, for example the id of a group.
    pub from: String,
    /// What it means here, for example a role of `classifications.toml`.
    pub to: String,
}

/// A claim that becomes a text. Written as its path alone where nothing else is to be said.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextClaim {
    /// Where it lies.
    pub claim: ClaimPath,
    /// What its values mean; the first line that fits counts, and a value in no line means nothing. The value itself where
    /// there are none.
    #[serde(default)]
    pub values: Vec<MappedValue>,
    /// Whether a token without it is refused.
    #[serde(default)]
    pub required: bool,
}

impl From<ClaimPath> for TextClaim {
    fn from(claim: ClaimPath) -> Self {
        Self { claim, values: Vec::new(), required: false }
    }
}

impl TextClaim {
    fn read(&self, claims: &Value, what: &'static str) -> Result<Option<String>, Flaw> {
        let mut found = self.claim.texts(claims, what)?;
        let text = if self.values.is_empty() {
            if found.len() > 1 {
                return Err(Flaw::Claim(what));
            }
            found.pop()
        } else {
            self.values.iter().find(|value| found.contains(&value.from)).map(|value| value.to.clone())
        };
        if text.is_none() && self.required { Err(Flaw::Claim(what)) } else { Ok(text) }
    }
}

/// A claim that becomes yes or no. Written as its path alone where it is a boolean.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlagClaim {
    /// Where it lies.
    pub claim: ClaimPath,
    /// The texts that mean yes, where it is no boolean; every other text means no.
    #[serde(default)]
    pub values: Vec<String>,
}

impl From<ClaimPath> for FlagClaim {
    fn from(claim: ClaimPath) -> Self {
        Self { claim, values: Vec::new() }
    }
}

impl FlagClaim {
    fn read(&self, claims: &Value, what: &'static str) -> Result<bool, Flaw> {
        match self.claim.of(claims) {
            None => Ok(false),
            Some(Value::Bool(flag)) if self.values.is_empty() => Ok(*flag),
            Some(_) if self.values.is_empty() => Err(Flaw::Claim(what)),
            Some(_) => Ok(self.claim.texts(claims, what)?.iter().any(|text| self.values.contains(text))),
        }
    }
}

/// Which claims become which attributes; policies compare those.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClaimsConfig {
    /// The person's id.
    #[serde(deserialize_with = "short")]
    pub user: TextClaim,
    /// What the id begins with here, so that people of two issuers are not taken for each other.
    pub user_prefix: Option<String>,
    /// What the person is to the organisation.
    #[serde(deserialize_with = "short_if_any")]
    pub role: Option<TextClaim>,
    /// The project that the person works in.
    #[serde(deserialize_with = "short_if_any")]
    pub project: Option<TextClaim>,
    /// The device that the person acts from.
    #[serde(deserialize_with = "short_if_any")]
    pub device: Option<TextClaim>,
    /// Whether the device has been attested.
    #[serde(deserialize_with = "short_if_any")]
    pub device_attested: Option<FlagClaim>,
}

impl Default for ClaimsConfig {
    fn default() -> Self {
        Self {
            user: ClaimPath("sub".into()).into(),
            user_prefix: None,
            role: None,
            project: None,
            device: None,
            device_attested: None,
        }
    }
}

impl ClaimsConfig {
    /// The person that these claims are about.
    pub(super) fn subject(&self, claims: &Value) -> Result<Subject, Flaw> {
        let read = |claim: &Option<TextClaim>, what| match claim {
            Some(claim) => claim.read(claims, what),
            None => Ok(None),
        };
        let user = self.user.read(claims, "user")?.filter(|user| !user.is_empty()).ok_or(Flaw::Claim("user"))?;
        let role = read(&self.role, "role")?.map(|role| role.parse().map_err(|_| Flaw::Claim("role"))).transpose()?;
        let device = read(&self.device, "device")?;
        let attested = self.device_attested.as_ref().map(|claim| claim.read(claims, "device attestation"));
        let subject = Subject {
            user: format!("{}{user}", self.user_prefix.as_deref().unwrap_or_default()),
            role,
            project: read(&self.project, "project")?,
            // Only a device that is known can have been attested.
            device_attested: attested.transpose()?.unwrap_or(false) && device.is_some(),
            device,
        };
        subject.check().map_err(|error| Flaw::Claim(error.what()))?;
        Ok(subject)
    }
}

/// Reads a claim's path alone, or the table with everything that can be said about it.
fn short<'de, D: Deserializer<'de>, T: Deserialize<'de> + From<ClaimPath>>(deserializer: D) -> Result<T, D::Error> {
    struct Either<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de> + From<ClaimPath>> Visitor<'de> for Either<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a claim, or a table with the claim")
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
            text.parse::<ClaimPath>().map(T::from).map_err(E::custom)
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
            T::deserialize(MapAccessDeserializer::new(map))
        }
    }

    deserializer.deserialize_any(Either(PhantomData))
}

fn short_if_any<'de, D: Deserializer<'de>, T: Deserialize<'de> + From<ClaimPath>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    short(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn subject(config: Value, claims: Value) -> Result<Subject, Flaw> {
        serde_json::from_value::<ClaimsConfig>(config).expect("a mapping").subject(&claims)
    }

    #[test]
    fn a_claim_is_taken_by_name_or_by_pointer() {
        let config =
            json!({ "user": "https://example.com/id", "role": "/hr/what", "project": { "claim": "/hr/in/1" } });
        let claims = json!({ "https://example.com/id": "u-7", "hr": { "what": "clinician", "in": ["a", "ward-3"] } });
        let subject = subject(config, claims).expect("a subject");
        assert_eq!((subject.user.as_str(), subject.project.as_deref()), ("u-7", Some("ward-3")));
        assert_eq!(subject.role.expect("a role").as_str(), "clinician");
    }

    #[test]
    fn without_a_mapping_only_the_subject_is_known() {
        let subject = subject(json!({}), json!({ "sub": "u-7", "role": "admin", "device": "d" })).expect("a subject");
        assert_eq!((subject.user.as_str(), subject.role, subject.device), ("u-7", None, None));
    }

    #[test]
    fn values_are_translated_and_the_first_line_that_fits_counts() {
        let lines = json!([{ "from": "g-1", "to": "clinician" }, { "from": "g-2", "to": "analyst" }]);
        let role = |required: bool, groups: Value| {
            let config = json!({ "role": { "claim": "groups", "values": lines, "required": required } });
            subject(config, json!({ "sub": "u", "groups": groups })).map(|subject| subject.role.map(|r| r.to_string()))
        };
        assert_eq!(role(false, json!(["x", "g-2", "g-1"])), Ok(Some("clinician".into())));
        assert_eq!(role(false, json!("g-2")), Ok(Some("analyst".into())));
        assert_eq!(role(false, json!(["clinician"])), Ok(None), "a value in no line means nothing");
        assert_eq!(role(false, json!(null)), Ok(None));
        assert_eq!(role(true, json!([])), Err(Flaw::Claim("role")));
        assert_eq!(role(false, json!({ "g-1": true })), Err(Flaw::Claim("role")));
        assert_eq!(role(false, json!([true])), Err(Flaw::Claim("role")));
    }

    #[test]
    fn what_cannot_be_read_is_no_missing_attribute() {
        let config = json!({ "role": "role", "project": "project" });
        for (claims, what) in [
            (json!({ "sub": "u", "role": ["a", "b"] }), "role"),
            (json!({ "sub": "u", "role": "Not a name" }), "role"),
            (json!({ "sub": "u", "project": { "id": 1 } }), "project"),
            (json!({ "sub": "u", "project": "line\nbreak" }), "project"),
            (json!({ "sub": "" }), "user"),
            (json!({ "sub": ["a", "b"] }), "user"),
            (json!({ "sub": "x".repeat(201) }), "user"),
            (json!({}), "user"),
        ] {
            assert_eq!(subject(config.clone(), claims.clone()), Err(Flaw::Claim(what)), "{claims}");
        }
    }

    #[test]
    fn attestation_is_a_boolean_or_one_of_the_texts_that_mean_yes() {
        let read = |flag: Value, claims: Value| {
            let mut claims = claims;
            claims["sub"] = json!("u");
            subject(json!({ "device": "dev", "device_attested": flag }), claims).map(|subject| subject.device_attested)
        };
        assert_eq!(read(json!("ok"), json!({ "dev": "d-7", "ok": true })), Ok(true));
        assert_eq!(read(json!("ok"), json!({ "dev": "d-7", "ok": false })), Ok(false));
        assert_eq!(read(json!("ok"), json!({ "dev": "d-7" })), Ok(false));
        assert_eq!(read(json!("ok"), json!({ "ok": true })), Ok(false), "no device, nothing attested");
        for loose in [json!("true"), json!(1), json!(["yes"])] {
            let refused = Err(Flaw::Claim("device attestation"));
            assert_eq!(read(json!("ok"), json!({ "dev": "d-7", "ok": loose })), refused);
        }
        let texts = json!({ "claim": "/dev_info/state", "values": ["compliant"] });
        let state = |state: Value| json!({ "dev": "d-7", "dev_info": { "state": state } });
        assert_eq!(read(texts.clone(), state(json!("compliant"))), Ok(true));
        assert_eq!(read(texts.clone(), state(json!("noncompliant"))), Ok(false));
        assert_eq!(read(texts, state(json!(true))), Err(Flaw::Claim("device attestation")));
    }

    #[test]
    fn people_of_two_issuers_can_be_told_apart() {
        let subject = subject(json!({ "user_prefix": "partner|" }), json!({ "sub": "u-7" })).expect("a subject");
        assert_eq!(subject.user, "partner|u-7");
    }

    #[test]
    fn a_mapping_with_a_mistake_is_refused() {
        for config in [
            json!({ "role": "" }),
            json!({ "role": "/a~2b" }),
            json!({ "role": { "values": [] } }),
            json!({ "role": { "claim": "r", "value": [] } }),
            json!({ "device_attested": { "claim": "r", "required": true } }),
            json!({ "role": ["a"] }),
        ] {
            assert!(serde_json::from_value::<ClaimsConfig>(config.clone()).is_err(), "{config}");
        }
    }
}
