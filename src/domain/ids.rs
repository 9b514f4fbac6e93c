//! Identifiers and names, parsed once.
//!
//! Generated ids are a short prefix and a UUID version 7 in hexadecimal, so that they sort by creation and can be told
//! apart in a log. Names are chosen by people in the policy files; they are short, lower-case and safe in a key.
//! Absent on purpose: any way to make one of these from an unchecked string.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

use super::text::written_as_text;

/// Why a string is no id or name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} must be {rule}")]
pub struct ParseIdError {
    /// Which kind of id was expected, for example `objectId`.
    pub what: &'static str,
    /// The form that is accepted, in words.
    pub rule: &'static str,
}

macro_rules! generated_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Uuid);

        impl $name {
            /// What every such id starts with.
            pub const PREFIX: &'static str = $prefix;

            /// An id from a fresh UUID; see [`crate::clock::Clock::uuid`].
            pub fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The UUID inside.
            pub fn uuid(self) -> Uuid {
                self.0
            }

            /// The id as text, without an allocation.
            pub fn text(self) -> IdText {
                IdText::new($prefix, self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.text().as_str())
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                let rest = text.strip_prefix($prefix).filter(|rest| {
                    rest.len() == 32 && rest.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
                });
                rest.and_then(|rest| Uuid::try_parse(rest).ok()).map(Self).ok_or(ParseIdError {
                    what: $what,
                    rule: concat!("'", $prefix, "' followed by 32 lower-case hexadecimal digits"),
                })
            }
        }

        written_as_text!($name, |id| id.text().as_str());
    };
}

/// A generated id as text, on the stack.
#[derive(Clone, Copy, Debug)]
pub struct IdText([u8; 36]);

impl IdText {
    fn new(prefix: &str, uuid: Uuid) -> Self {
        let mut text = [0; 36];
        let (start, digits) = text.split_at_mut(4);
        start.copy_from_slice(prefix.as_bytes());
        uuid.simple().encode_lower(digits);
        Self(text)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        // A prefix and digits: always text.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

generated_id!(
    /// One upload and everything that becomes of it.
    ObjectId, "obj_", "objectId"
);
generated_id!(
    /// What one URL may do; written into the URL so that a use can be traced to its issuance.
    GrantId, "grt_", "grantId"
);
generated_id!(
    /// A request for access.
    AccessRequestId, "arq_", "accessRequestId"
);

generated_id!(
    /// One revocation, and what follows from it.
    RevocationId, "rev_", "revocationId"
);

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(std::sync::Arc<str>);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                if is_name(text) { Ok(Self(text.into())) } else { Err(ParseIdError { what: $what, rule: NAME_RULE }) }
            }
        }

        written_as_text!($name, |name| name.as_str());
    };
}

const NAME_RULE: &str = "1 to 64 characters of a-z, 0-9, '-', '_' and '.', starting with a letter or digit";

fn is_name(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    (1..=64).contains(&text.len())
        && text.bytes().next().is_some_and(allowed)
        && text.bytes().all(|b| allowed(b) || matches!(b, b'-' | b'_' | b'.'))
}

name!(
    /// A micro app, registered by a manifest.
    AppName, "app"
);
name!(
    /// One automation or client of an app; tokens belong to workflows, never to people.
    WorkflowName, "workflow"
);
name!(
    /// The business unit or team that answers for a workflow.
    OwnerName, "owner"
);
name!(
    /// A configured bucket or container.
    TargetName, "target"
);
name!(
    /// A data class of `classifications.toml`, for example `internal`.
    ClassName, "classification"
);
name!(
    /// What a person is to the organisation, for example `clinician`; a policy compares it.
    RoleName, "role"
);
name!(
    /// An identity provider whose word is taken.
    IssuerName, "issuer"
);

name!(
    /// A key of the gateway itself; the `kid` of what it has signed.
    KeyId, "keyId"
);

impl KeyId {
    /// The id of a new key: what it is for, in letters and '-', and 48 random bits.
    pub fn made(purpose: &'static str, random: [u8; 6]) -> Self {
        Self(format!("{purpose}-{}", hex::encode(random)).into())
    }
}

/// The public half of a token: 16 characters of base 62. Not secret; appears in logs and in the audit trail.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenId(std::sync::Arc<str>);

impl TokenId {
    /// Length in characters.
    pub const LENGTH: usize = 16;

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TokenId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        if text.len() == Self::LENGTH && text.bytes().all(|b| b.is_ascii_alphanumeric()) {
            Ok(Self(text.into()))
        } else {
            Err(ParseIdError { what: "tokenId", rule: "16 letters and digits" })
        }
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

written_as_text!(TokenId, |id| id.as_str());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_id_reads_back_what_it_writes() {
        let id = ObjectId::from_uuid(Uuid::from_u128(7));
        assert_eq!(id.to_string(), "obj_00000000000000000000000000000007");
        assert_eq!(id.to_string().parse::<ObjectId>(), Ok(id));
    }

    #[test]
    fn other_spellings_of_an_id_are_refused() {
        for text in [
            "",
            "obj_",
            "grt_00000000000000000000000000000007",
            "obj_0000000000000000000000000000000G",
            "obj_0000000000000000000000000000000A",
            "obj_00000000-0000-0000-0000-000000000007",
        ] {
            assert!(text.parse::<ObjectId>().is_err(), "{text}");
        }
    }

    #[test]
    fn names_are_short_lower_case_and_safe_in_a_key() {
        assert!("where2eat".parse::<AppName>().is_ok());
        for text in ["", "Where", "a/b", "..", "-a", "a b", &"x".repeat(65)] {
            assert!(text.parse::<AppName>().is_err(), "{text}");
        }
    }
}
