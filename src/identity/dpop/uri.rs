//! Whether a proof was made for this address: `htu` compared with where the request went (RFC 9449 section 4.3).
//!
//! What a client calls is the public URL and the request's path, whichever address this process listens on: a proxy in
//! front may end TLS, and the `Host` header is the sender's to write. Both sides are normalised by syntax and scheme
//! (RFC 3986 sections 6.2.2 and 6.2.3); query and fragment do not count. A request whose own path has dot segments fits no
//! proof: routes are found by the path as it was sent.

use url::Url;

/// The address under which clients reach this gateway.
#[derive(Clone, Debug)]
pub(super) struct Base(String);

impl Base {
    /// From `[public] url`; a path in it goes before that of every request.
    pub(super) fn new(public_url: &str) -> Self {
        Self(normalised(public_url).unwrap_or_default().trim_end_matches('/').to_owned())
    }

    /// The address of a request, as a client is to write it.
    pub(super) fn address(&self, path: &str) -> String {
        format!("{}{}", self.0, percent_normalised(path))
    }

    /// Whether `htu` names the address that this path was asked for at.
    pub(super) fn is_address(&self, htu: &str, path: &str) -> bool {
        let own = percent_normalised(path);
        let dots = own.split('/').any(|segment| matches!(segment, "." | ".."));
        !self.0.is_empty()
            && !dots
            && own.starts_with('/')
            && normalised(htu).is_some_and(|htu| htu.strip_prefix(self.0.as_str()) == Some(own.as_str()))
    }
}

/// Scheme and host in lower case, the usual port left out, dot segments resolved, without query and fragment.
fn normalised(text: &str) -> Option<String> {
    // The parser forgives what a client of a security protocol should not send.
    if !text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\') {
        return None;
    }
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return None;
    }
    Some(format!("{}{}", url.origin().ascii_serialization(), percent_normalised(url.path())))
}

/// Percent-encodings in upper case, and none of characters that need none.
fn percent_normalised(path: &str) -> String {
    let mut rest = path;
    let mut normal = String::with_capacity(path.len());
    while let Some(at) = rest.find('%') {
        normal.push_str(&rest[..at]);
        let encoded = rest.get(at + 1..at + 3).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let Some(digits) = encoded else {
            normal.push('%');
            rest = &rest[at + 1..];
            continue;
        };
        match u8::from_str_radix(digits, 16) {
            Ok(byte) if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => normal.push(char::from(byte)),
            _ => {
                normal.push('%');
                normal.push_str(&digits.to_ascii_uppercase());
            }
        }
        rest = &rest[at + 3..];
    }
    normal.push_str(rest);
    normal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_address_may_be_written_in_several_ways() {
        let base = Base::new("https://Files.Example.com:443/");
        let path = "/objects/obj_%7e1";
        assert_eq!(base.address(path), "https://files.example.com/objects/obj_~1");
        for htu in [
            "https://files.example.com/objects/obj_~1",
            "HTTPS://FILES.example.COM:443/objects/obj_%7E1",
            "https://files.example.com/objects/obj_~1?state=1#top",
            "https://files.example.com/a/../objects/./obj_~1",
            "https://files.example.com/%6fbjects/obj_~1",
        ] {
            assert!(base.is_address(htu, path), "{htu}");
        }
    }

    #[test]
    fn another_address_is_another_one() {
        let base = Base::new("https://files.example.com");
        for htu in [
            "",
            "/objects",
            "http://files.example.com/objects",
            "https://files.example.com:8443/objects",
            "https://files.example.com.evil.example/objects",
            "https://files.example.com@evil.example/objects",
            "https://user@files.example.com/objects",
            "https://files.example.com/Objects",
            "https://files.example.com/objects/",
            "https://files.example.com/objects%2F",
            "https://files.example.com//objects",
            "https:\\\\files.example.com\\objects",
            " https://files.example.com/objects",
            "https://files.example.com/obj\tects",
            "ftp://files.example.com/objects",
        ] {
            assert!(!base.is_address(htu, "/objects"), "{htu}");
        }
        assert!(!base.is_address("https://files.example.com/objects", "/a/../objects"));
        assert!(!base.is_address("https://files.example.com/objects", "/a/%2e%2e/objects"));
        assert!(!base.is_address("https://files.example.com/%", "/%25"));
        assert!(!Base::new("nonsense").is_address("/objects", "/objects"));
    }

    #[test]
    fn the_public_urls_path_goes_before_the_requests() {
        let base = Base::new("https://example.com/files");
        assert!(base.is_address("https://example.com/files/request-upload", "/request-upload"));
        assert!(!base.is_address("https://example.com/request-upload", "/request-upload"));
        assert!(!base.is_address("https://example.com/filesrequest-upload", "request-upload"));
    }
}
