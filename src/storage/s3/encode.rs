//! Percent-encoding as Signature Version 4 asks for it.
//!
//! Every byte but `A–Z a–z 0–9 - . _ ~` becomes `%XX` with upper-case digits, once. What is written here is at the same
//! time what stands in the URL and what is hashed, so that the two cannot differ.
//! Source: "Create a signed AWS API request", function `UriEncode`.

const HEX: &[u8; 16] = b"0123456789ABCDEF";

const UNRESERVED: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        let b = byte as u8;
        table[byte] = b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~');
        byte += 1;
    }
    table
};

/// Appends a query value.
pub(in crate::storage) fn push(out: &mut String, text: &str) {
    push_except(out, text, b'-');
}

/// Appends a key as a URL's path: `/` between segments stays.
pub(in crate::storage) fn push_path(out: &mut String, key: &str) {
    push_except(out, key, b'/');
}

fn push_except(out: &mut String, text: &str, also: u8) {
    let mut plain_from = 0;
    for (at, byte) in text.bytes().enumerate() {
        if UNRESERVED[usize::from(byte)] || byte == also {
            continue;
        }
        // A byte inside a character ends a run of no bytes, so that the slice is always on a boundary.
        out.push_str(text.get(plain_from..at).unwrap_or_default());
        out.push('%');
        out.push(char::from(HEX[usize::from(byte >> 4)]));
        out.push(char::from(HEX[usize::from(byte & 15)]));
        plain_from = at + 1;
    }
    out.push_str(text.get(plain_from..).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(key: &str) -> String {
        let mut out = String::new();
        push_path(&mut out, key);
        out
    }

    #[test]
    fn unusual_keys_are_encoded_once() {
        assert_eq!(path("a/b-c_d.e~f"), "a/b-c_d.e~f");
        assert_eq!(path("menu (1), café.jpg"), "menu%20%281%29%2C%20caf%C3%A9.jpg");
        assert_eq!(path("a=b@c/菜单"), "a%3Db%40c/%E8%8F%9C%E5%8D%95");
        assert_eq!(path("%2F+"), "%252F%2B");
    }

    #[test]
    fn a_query_value_has_its_slashes_encoded() {
        let mut out = String::new();
        push(&mut out, "image/svg+xml; é");
        assert_eq!(out, "image%2Fsvg%2Bxml%3B%20%C3%A9");
    }

    proptest::proptest! {
        #[test]
        fn decoding_gives_back_what_was_encoded(key in "\\PC{0,60}") {
            let encoded = path(&key);
            proptest::prop_assert!(encoded.is_ascii());
            proptest::prop_assert_eq!(percent_encoding::percent_decode_str(&encoded).decode_utf8().unwrap(), key);
        }
    }
}
