//! URLs that are credentials.
//!
//! A [`SignedUrl`] prints as its address without the query, so that no log, error or span can carry the signature by
//! accident; only [`SignedUrl::expose`] gives it out, and only answers to clients call that.

use std::fmt;

use jiff::Timestamp;

/// A signed URL. `Debug` and `Display` leave the query out.
#[derive(Clone, PartialEq, Eq)]
pub struct SignedUrl(String);

impl SignedUrl {
    /// Wraps a complete URL.
    pub fn new(url: String) -> Self {
        Self(url)
    }

    /// The whole URL, signature included: for the answer to the client and nothing else.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The whole URL, signature included: for the answer to the client and nothing else.
    pub fn into_exposed(self) -> String {
        self.0
    }
}

impl fmt::Display for SignedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.split('?').next().unwrap_or_default())?;
        f.write_str("?[redacted]")
    }
}

impl fmt::Debug for SignedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a client needs to upload.
#[derive(Clone, Debug)]
pub struct MintedUpload {
    /// Where to send the bytes.
    pub url: SignedUrl,
    /// Exactly the headers to send, names in lower case.
    pub headers: Vec<(&'static str, String)>,
    /// The form fields of a POST policy, in the order in which to send them; `None` for PUT. Holds a signature.
    pub fields: Option<FormFields>,
    /// When the URL stops working: the grant's expiry, or earlier where the credentials end.
    pub expires_at: Timestamp,
}

/// The fields of a POST policy form. `Debug` leaves the values out.
#[derive(Clone, PartialEq, Eq)]
pub struct FormFields(pub Vec<(String, String)>);

impl fmt::Debug for FormFields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

/// What a client needs to download.
#[derive(Clone, Debug)]
pub struct MintedDownload {
    /// Where to read the bytes.
    pub url: SignedUrl,
    /// When the URL stops working.
    pub expires_at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printing_a_url_never_shows_the_signature() {
        let url = SignedUrl::new("https://b.example/k?X-Amz-Signature=abc".into());
        assert_eq!(format!("{url} {url:?}"), "https://b.example/k?[redacted] https://b.example/k?[redacted]");
    }
}
