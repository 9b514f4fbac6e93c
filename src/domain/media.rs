//! Media types, reduced to `type/subtype`.
//!
//! Parameters such as `charset` are dropped when a declared type is parsed: what is signed, stored and compared is the
//! bare type (RFC 6838 names, lower case).

use std::fmt;
use std::str::FromStr;

use super::text::written_as_text;

/// A bare media type in lower case, for example `image/jpeg`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MediaType(std::sync::Arc<str>);

/// A string that is no media type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a content type is written as type/subtype, for example image/jpeg")]
pub struct ParseMediaTypeError;

impl MediaType {
    /// The type as text, for example `image/jpeg`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for MediaType {
    type Err = ParseMediaTypeError;

    fn from_str(text: &str) -> Result<Self, ParseMediaTypeError> {
        let essence = text.split(';').next().unwrap_or_default().trim_matches([' ', '\t']);
        let restricted = |part: &str| {
            (1..=64).contains(&part.len())
                && part.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric())
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b))
        };
        match essence.split_once('/') {
            Some((kind, subtype)) if restricted(kind) && restricted(subtype) => {
                Ok(Self(essence.to_ascii_lowercase().into()))
            }
            _ => Err(ParseMediaTypeError),
        }
    }
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

written_as_text!(MediaType);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_and_case_are_dropped() {
        let parsed: MediaType = "Text/CSV; charset=utf-8".parse().unwrap();
        assert_eq!(parsed.as_str(), "text/csv");
    }

    #[test]
    fn what_is_no_type_is_refused() {
        for text in ["", "image", "/", "image/", "image/*", "a b/c", "image/jpeg\r\nx: y"] {
            assert!(text.parse::<MediaType>().is_err(), "{text:?}");
        }
    }
}
