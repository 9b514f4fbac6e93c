//! HTML, looked through for anything that runs.
//!
//! HTML has no syntax errors, so every tag-like piece counts, also in comments and text: what one parser skips another
//! runs, and the price of a false alarm is a rejected upload, that of a miss a script on somebody's page.
//! Each tag is kept up to [`MAX_TAG`] bytes; a longer one counts as active, since nobody looked at its end.
//! Deliberately absent: style sheets, whose worst is a request to another host.

use super::super::concern::Concern;

const MAX_TAG: usize = 64 * 1024;

/// Follows tags.
#[derive(Debug, Default)]
pub(super) struct HtmlScan {
    tag: Vec<u8>,
    inside: bool,
    /// Whether this piece began within another tag, perhaps within the value of an attribute.
    nested: bool,
    quote: Option<u8>,
    concern: Option<Concern>,
}

impl HtmlScan {
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if self.concern.is_some() {
                return;
            }
            match byte {
                // A second '<' may begin the tag that a browser sees; the first piece is looked at as it stands.
                b'<' => {
                    let nested = self.inside;
                    self.look();
                    (self.inside, self.nested) = (true, nested);
                }
                b'>' if self.inside && self.quote.is_none() => self.look(),
                _ if self.inside => {
                    match self.quote {
                        Some(open) if open == byte => self.quote = None,
                        None if matches!(byte, b'"' | b'\'') => self.quote = Some(byte),
                        _ => {}
                    }
                    self.tag.push(byte);
                    if self.tag.len() > MAX_TAG {
                        let text = "The HTML has a tag too long to be checked for scripts.";
                        self.concern = Some(Concern::Active(text.to_owned()));
                    }
                }
                _ => {}
            }
        }
    }

    pub(super) fn finish(mut self) -> Option<Concern> {
        self.look();
        self.concern
    }

    fn look(&mut self) {
        if self.inside && self.concern.is_none() {
            self.concern =
                active(&self.tag, self.nested).map(|what| Concern::Active(format!("The HTML holds {what}.")));
        }
        self.tag.clear();
        (self.inside, self.nested, self.quote) = (false, false, None);
    }
}

/// What in a tag (without its brackets) runs, if anything.
fn active(tag: &[u8], nested: bool) -> Option<&'static str> {
    let tag = String::from_utf8_lossy(tag).to_lowercase();
    let name: String = tag.chars().take_while(|c| c.is_ascii_alphanumeric() || matches!(c, ':' | '-')).collect();
    match name.rsplit(':').next().unwrap_or_default() {
        "script" => return Some("a script"),
        "iframe" | "frame" | "object" | "embed" | "applet" | "portal" => return Some("embedded foreign content"),
        "base" => return Some("a base address"),
        "meta" if tag.contains("http-equiv") && tag.contains("refresh") => return Some("a redirect"),
        // Not a tag, unless it is the rest of one.
        "" if !nested => return None,
        _ => {}
    }
    if has_handler(&tag[name.len()..]) {
        return Some("an event handler");
    }
    if tag.contains("srcdoc") {
        return Some("embedded foreign content");
    }
    runs(&tag).then_some("a link that runs a script")
}

/// Whether the attributes hold a name that begins with `on`, followed by `=`.
fn has_handler(attributes: &str) -> bool {
    let bytes = attributes.as_bytes();
    (1..bytes.len().saturating_sub(2)).any(|at| {
        let begins = matches!(bytes[at - 1], b' ' | b'\t' | b'\n' | b'\r' | 0x0c | b'/' | b'"' | b'\'');
        begins && bytes[at..].starts_with(b"on") && {
            let rest = &bytes[at + 2..];
            let letters = rest.iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
            letters > 0 && rest[letters..].trim_ascii_start().first() == Some(&b'=')
        }
    })
}

/// Whether a value, its character references resolved and its white space dropped as browsers do, holds an address that
/// runs code. Shared with the XML lane.
pub(super) fn runs(value: &str) -> bool {
    let compact: String = resolved(value)
        .chars()
        .filter(|c| !c.is_whitespace() && !c.is_control())
        .flat_map(char::to_lowercase)
        .collect();
    ["javascript:", "vbscript:", "data:text/html", "data:image/svg", "data:application/xhtml", "data:text/xml"]
        .iter()
        .any(|scheme| compact.contains(scheme))
}

/// Resolves numeric references and the few named ones that can hide a scheme.
fn resolved(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let mut rest = value;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let named = [("colon;", ':'), ("tab;", '\t'), ("newline;", '\n'), ("lpar;", '(')];
        if let Some((name, c)) =
            named.iter().find(|(name, _)| rest.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name)))
        {
            out.push(*c);
            rest = &rest[name.len()..];
        } else if let Some((c, length)) = numeric(rest) {
            out.push(c);
            rest = &rest[length..];
        } else {
            out.push('&');
        }
    }
    out + rest
}

/// `#106;`, `#x6a;`, with or without the semicolon.
fn numeric(text: &str) -> Option<(char, usize)> {
    let digits = text.strip_prefix('#')?;
    let (radix, digits) = match digits.strip_prefix(['x', 'X']) {
        Some(hex) => (16, hex),
        None => (10, digits),
    };
    let length = digits.bytes().take_while(|byte| (*byte as char).is_digit(radix)).count();
    let c = u32::from_str_radix(digits.get(..length)?.trim_start_matches('0'), radix).ok().and_then(char::from_u32)?;
    let end = text.len() - digits.len() + length;
    Some((c, end + usize::from(text.as_bytes().get(end) == Some(&b';'))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(text: &str) -> Option<Concern> {
        let mut scan = HtmlScan::default();
        for chunk in text.as_bytes().chunks(3) {
            scan.feed(chunk);
        }
        scan.finish()
    }

    #[test]
    fn plain_pages_pass() {
        for text in [
            "<!DOCTYPE html><html><body><h1 class=\"a\">Menu</h1><a href='https://example.com/?on=1'>x</a></body></html>",
            "2 < 3 and one = 1",
            "<p>she moved on = far</p><img src=a.png alt=\"a > b\">",
        ] {
            assert_eq!(verdict(text), None, "{text}");
        }
    }

    #[test]
    fn whatever_runs_is_seen() {
        for text in [
            "<script>alert(1)</script>",
            "<SCRIPT SRC=//x>",
            "<img src=x onerror=alert(1)>",
            "<img/onerror = alert(1)/src=x>",
            "<img src=\"a\"onload=\"x()\">",
            "<a href=\"java\tscript:alert(1)\">",
            "<a href='&#106;avascript&colon;x'>",
            "<a href=\"data:text/html,x\">",
            "<!-- <script> -->",
            "<iframe src=x>",
            "<<script>",
            "<a title=\"><script>",
            "<svg:script>",
            "<img src=x onerror=x",
            "<img alt=\"<\" onerror=x>",
        ] {
            assert!(matches!(verdict(text), Some(Concern::Active(_))), "{text}");
        }
        assert!(verdict(&format!("<a {}", "x".repeat(MAX_TAG + 1))).is_some());
    }
}
