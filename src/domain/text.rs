//! Types that are written as text: `Debug`, `Serialize` and `Deserialize` by way of `Display` and `FromStr`.
//!
//! What is parsed once at the edge is parsed by the same code when it comes back from JSON or the database. Text that
//! people wrote goes through [`without_tokens`] before it is kept or shown.

/// The text with everything after `vst_<kind>_` taken out, and without the bodies of JSON Web Tokens, so that a token in the
/// wrong field reaches no record.
pub(crate) fn without_tokens(text: &str) -> String {
    without_jwts(&without_own(text))
}

/// What every JSON object begins with in base64url.
const JSON: &str = "eyJ";

/// A word that begins like a JSON Web Token and has a full stop in it or is long ends after its beginning.
fn without_jwts(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(JSON) {
        let tail = &rest[at + JSON.len()..];
        let word = tail.bytes().take_while(|b| b.is_ascii_alphanumeric() || b"-_.=".contains(b)).count();
        let is_token = word > 60 || tail[..word].trim_end_matches('.').contains('.');
        safe.push_str(&rest[..at + JSON.len()]);
        safe.push_str(if is_token { "…" } else { &tail[..word] });
        rest = &tail[word..];
    }
    safe.push_str(rest);
    safe
}

fn without_own(text: &str) -> String {
    const START: &str = "vst_";
    let mut safe = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(START) {
        let tail = &rest[at + START.len()..];
        let kind = tail.bytes().take_while(u8::is_ascii_lowercase).count();
        let secret = tail[kind..].bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count();
        safe.push_str(&rest[..at + START.len() + kind]);
        // `vst_live_` alone is a word of our own messages.
        safe.push_str(if secret > 1 { "_…" } else { &tail[kind..kind + secret] });
        rest = &tail[kind + secret..];
    }
    safe.push_str(rest);
    safe
}

/// Implements `Debug` and serde for a type that has `Display` and `FromStr`; `|value| text` says how to get at its text
/// without `Display`, where that is cheaper.
macro_rules! written_as_text {
    ($name:ty, |$value:ident| $text:expr) => {
        written_as_text!(@read $name);

        impl ::serde::Serialize for $name {
            fn serialize<S: ::serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let $value = self;
                serializer.serialize_str($text)
            }
        }
    };
    ($name:ty) => {
        written_as_text!(@read $name);

        impl ::serde::Serialize for $name {
            fn serialize<S: ::serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    };
    (@read $name:ty) => {
        impl ::std::fmt::Debug for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                ::std::fmt::Display::fmt(self, f)
            }
        }

        impl<'de> ::serde::Deserialize<'de> for $name {
            fn deserialize<D: ::serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = ::std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(::serde::de::Error::custom)
            }
        }
    };
}

pub(crate) use written_as_text;

#[cfg(test)]
mod tests {
    use super::without_tokens;

    #[test]
    fn tokens_are_taken_out_and_nothing_else_is() {
        for (text, safe) in [
            ("", ""),
            ("the vst_ prefix", "the vst_ prefix"),
            ("vst_live_abc_def", "vst_live_…"),
            ("'vst_admin_a1_B2' and vst_test_x.", "'vst_admin_…' and vst_test_…."),
            ("vst_vst_live_abc", "vst_vst_…"),
            ("ä vst_live_ö", "ä vst_live_ö"),
            ("a eyJhbGciOiJub25lIn0.eyJqdGkiOiJ4In0. b", "a eyJ… b"),
            ("eyJhbGciOiJFUzI1NiJ9.eyJhIjoxfQ.c2ln,ä", "eyJ…,ä"),
            ("the eyJ of eyJoe.", "the eyJ of eyJoe."),
        ] {
            assert_eq!(without_tokens(text), safe);
        }
    }
}
