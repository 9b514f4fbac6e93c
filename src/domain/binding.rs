//! What a token may be bound to: a key that whoever sends it must prove to hold.
//!
//! A key is known by a SHA-256 of its public half: of its JWK (RFC 7638), as DPoP binds tokens (RFC 9449), or of the
//! certificate that carries it, as mutual TLS does (RFC 8705). Neither is a secret. Absent on purpose: how a proof looks and
//! how it is checked; that is `identity::dpop` and TLS.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq;

use super::bytes::Sha256Digest;
use super::principal::Possession;
use super::text::written_as_text;

/// The SHA-256 by which a key is known. Written in base64url without padding, 43 characters.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Thumbprint(pub [u8; 32]);

impl Thumbprint {
    /// The thumbprint of these bytes: of a certificate in DER, or of a JWK in its canonical form.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256Digest::of(bytes).0)
    }

    /// Whether it is the same one, in a time that does not tell how much of it is.
    pub fn is(&self, other: &Thumbprint) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

/// A text that is no thumbprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a thumbprint is a SHA-256 in base64url without padding, 43 characters")]
pub struct ParseThumbprintError;

impl FromStr for Thumbprint {
    type Err = ParseThumbprintError;

    fn from_str(text: &str) -> Result<Self, ParseThumbprintError> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| ParseThumbprintError)?;
        bytes.try_into().map(Self).map_err(|_| ParseThumbprintError)
    }
}

impl fmt::Display for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64_URL_SAFE_NO_PAD.encode(self.0))
    }
}

written_as_text!(Thumbprint);

/// The key that a token is bound to. Written `jkt:…` or `x5t#S256:…`, after the members of `cnf` (RFC 7800).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum Binding {
    /// The key of DPoP proofs, by the thumbprint of its JWK (RFC 9449 section 6.1).
    Dpop(Thumbprint),
    /// The client's certificate, by the thumbprint of its DER (RFC 8705 section 3.1).
    Certificate(Thumbprint),
}

impl Binding {
    /// How a request proves that its sender holds the key.
    pub fn possession(&self) -> Possession {
        match self {
            Binding::Dpop(_) => Possession::Dpop,
            Binding::Certificate(_) => Possession::MutualTls,
        }
    }

    /// The member of `cnf` that names it, and its value (RFC 9449 section 6.1, RFC 8705 section 3.1).
    pub fn confirmation(&self) -> (&'static str, Thumbprint) {
        match self {
            Binding::Dpop(thumbprint) => ("jkt", *thumbprint),
            Binding::Certificate(thumbprint) => ("x5t#S256", *thumbprint),
        }
    }
}

/// A text that is no binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a binding is jkt: or x5t#S256: and a SHA-256 in base64url without padding, 43 characters")]
pub struct ParseBindingError;

impl FromStr for Binding {
    type Err = ParseBindingError;

    fn from_str(text: &str) -> Result<Self, ParseBindingError> {
        let (kind, thumbprint) = text.split_once(':').ok_or(ParseBindingError)?;
        let thumbprint = thumbprint.parse().map_err(|_| ParseBindingError)?;
        match kind {
            "jkt" => Ok(Self::Dpop(thumbprint)),
            "x5t#S256" => Ok(Self::Certificate(thumbprint)),
            _ => Err(ParseBindingError),
        }
    }
}

impl fmt::Display for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, thumbprint) = self.confirmation();
        write!(f, "{kind}:{thumbprint}")
    }
}

written_as_text!(Binding);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_binding_reads_back_what_it_writes() {
        for text in
            ["jkt:0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I", "x5t#S256:bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg0"]
        {
            let binding: Binding = text.parse().unwrap();
            assert_eq!(binding.to_string(), text);
            assert_eq!(serde_json::to_string(&binding).unwrap(), format!("\"{text}\""));
        }
    }

    #[test]
    fn what_is_no_thumbprint_is_refused() {
        let good = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";
        assert!(good.parse::<Thumbprint>().is_ok());
        for text in [
            "",
            &good[1..],
            &format!("{good}="),
            &format!("{good}A"),
            &good.replace('-', "+"),
            "jkt:",
            &good.replace("A4I", "A4J"),
        ] {
            assert_eq!(text.parse::<Thumbprint>(), Err(ParseThumbprintError), "{text}");
        }
        for text in [good, &format!("JKT:{good}"), &format!("x5t:{good}"), "jkt:", ""] {
            assert_eq!(text.parse::<Binding>(), Err(ParseBindingError), "{text}");
        }
    }
}
