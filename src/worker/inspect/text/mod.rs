//! The text lane: everything whose first bytes are text, checked to its last byte.
//!
//! The encoding is UTF-8, UTF-16 with a byte order mark (transcoded as it streams), or one of the one-byte encodings
//! that spreadsheets still write, where the format allows it. Which grammar is checked follows the declared type,
//! unless the text begins with markup that the declared type does not have: then that is what it is.
//! Memory: a few bytes carried between chunks, plus what the grammar keeps.

mod csv;
mod html;
mod json;
mod xml;

use std::borrow::Cow;

use bytes::Bytes;

use super::concern::{Concern, Content};
use super::sniff::{Encoding, is_text_byte, markup};
use super::types::{Grammar, Shape, shape};

/// The scan of one text.
#[derive(Debug)]
pub(super) struct TextLane {
    encoding: Encoding,
    grammar: Scan,
    /// What the markup at the beginning says, where no grammar follows it.
    begins: Option<&'static str>,
    utf8: Utf8Check,
    carry: Option<u8>,
    high_surrogate: Option<u16>,
    at_start: bool,
    offset: u64,
    concern: Option<Concern>,
    needs_utf8: bool,
    /// Whether a type was declared that is text to its end. Where not, binary content after a text-like beginning is
    /// just that.
    strict: bool,
    binary: bool,
}

#[derive(Debug)]
enum Scan {
    None,
    Csv(csv::CsvScan),
    Json(json::JsonScan),
    Html(html::HtmlScan),
    Xml(xml::XmlFeed),
}

impl TextLane {
    /// Chooses the grammar by the declared type and the first bytes.
    pub(super) fn new(encoding: Encoding, declared: &str, head: &[u8]) -> Self {
        let grammar = match shape(declared) {
            Shape::Text(grammar) => Some(grammar),
            _ => None,
        };
        let readable = decoded(encoding, head);
        let begins = markup(&readable);
        let starts_with_bracket =
            readable.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&readable).trim_ascii_start().first() == Some(&b'<');
        let mut concern = None;
        let (scan, begins) = match (grammar, begins) {
            (Some(Grammar::Xml), None | Some("text/html")) if starts_with_bracket => {
                (Scan::Xml(xml::XmlFeed::start()), None)
            }
            (Some(Grammar::Xml), Some(kind)) if kind.ends_with("xml") => (Scan::Xml(xml::XmlFeed::start()), None),
            (Some(Grammar::Html), _) if starts_with_bracket => {
                (Scan::Html(html::HtmlScan::default()), Some("text/html"))
            }
            (Some(Grammar::Markdown), None | Some("text/html")) => (Scan::Html(html::HtmlScan::default()), None),
            (_, Some(other)) => (Scan::None, Some(other)),
            (Some(Grammar::Csv), None) => (Scan::Csv(csv::CsvScan::default()), None),
            (Some(Grammar::Json), None) => (Scan::Json(json::JsonScan::new(false)), None),
            (Some(Grammar::JsonLines), None) => (Scan::Json(json::JsonScan::new(true)), None),
            (Some(Grammar::Begins(line)), None) => {
                let start = readable.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&readable);
                if !start.get(..line.len()).is_some_and(|start| start.eq_ignore_ascii_case(line.as_bytes())) {
                    concern = Some(Concern::Malformed(format!("The file does not begin with {line}.")));
                }
                (Scan::None, None)
            }
            _ => (Scan::None, None),
        };
        let needs_utf8 = matches!(scan, Scan::Json(_));
        if needs_utf8 && encoding != Encoding::AsciiLike {
            concern = Some(Concern::Malformed("The file is not valid JSON: JSON is written in UTF-8.".to_owned()));
        }
        Self {
            encoding,
            grammar: scan,
            begins,
            utf8: Utf8Check::default(),
            carry: None,
            high_surrogate: None,
            at_start: true,
            offset: 0,
            concern,
            needs_utf8,
            strict: grammar.is_some(),
            binary: false,
        }
    }

    /// Takes the next bytes of the stream.
    pub(super) async fn feed(&mut self, chunk: &Bytes) {
        if self.concern.is_some() || self.binary {
            return;
        }
        let readable = match self.encoding {
            Encoding::AsciiLike => {
                self.utf8.feed(chunk);
                Cow::Borrowed(&chunk[..])
            }
            Encoding::Utf16 { little } => Cow::Owned(self.transcode(chunk, little)),
        };
        if let Some(at) = readable.iter().position(|&byte| !self.fits(byte)) {
            if !self.strict {
                self.binary = true;
                return;
            }
            let at = self.offset + at as u64;
            self.concern =
                Some(Concern::Malformed(format!("The file is not text: it holds a control character (byte {at}).")));
            return;
        }
        self.offset += readable.len() as u64;
        let without_mark = if std::mem::take(&mut self.at_start) {
            readable.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&readable)
        } else {
            &readable[..]
        };
        match &mut self.grammar {
            Scan::None => {}
            Scan::Csv(scan) => scan.feed(without_mark),
            Scan::Json(scan) => scan.feed(without_mark),
            Scan::Html(scan) => scan.feed(without_mark),
            Scan::Xml(feed) => feed.feed(chunk.slice_ref_or_copy(without_mark)).await,
        }
    }

    /// What the text is and what is wrong with it.
    pub(super) async fn finish(mut self) -> Content {
        if self.binary {
            return Content { detected: self.begins, concerns: Vec::new() };
        }
        if self.strict && self.concern.is_none() && (self.carry.is_some() || self.high_surrogate.is_some()) {
            self.concern = Some(Concern::Malformed("The file is not text: it ends within a character.".to_owned()));
        }
        if self.concern.is_none() && self.needs_utf8 && !self.utf8.is_valid() {
            self.concern =
                Some(Concern::Malformed("The file is not valid JSON: it is not written in UTF-8.".to_owned()));
        }
        let plain = Content::of(self.begins.unwrap_or("text/plain"));
        if self.concern.is_some() {
            return plain.with(self.concern);
        }
        match self.grammar {
            Scan::None => plain,
            Scan::Csv(scan) => plain.with(scan.finish()),
            Scan::Html(scan) => plain.with(scan.finish()),
            Scan::Json(scan) => match scan.finish() {
                None => Content::of("application/json"),
                concern => plain.with(concern),
            },
            Scan::Xml(feed) => {
                let content = feed.finish().await;
                Content { detected: content.detected.or(plain.detected), ..content }
            }
        }
    }

    /// Whether a byte may stand in this text. Escape sequences are for logs; in markup they can hide a tag.
    fn fits(&self, byte: u8) -> bool {
        is_text_byte(byte) && (byte != 0x1b || matches!(self.grammar, Scan::None | Scan::Csv(_)))
    }

    fn transcode(&mut self, chunk: &[u8], little: bool) -> Vec<u8> {
        let mut out = Vec::with_capacity(chunk.len() * 3 / 2 + 4);
        let mut push = |c: char| out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        for &byte in chunk {
            let Some(first) = self.carry.take() else {
                self.carry = Some(byte);
                continue;
            };
            let unit = if little { u16::from_le_bytes([first, byte]) } else { u16::from_be_bytes([first, byte]) };
            match (self.high_surrogate.take(), unit) {
                (None, 0xd800..=0xdbff) => self.high_surrogate = Some(unit),
                (Some(high), 0xdc00..=0xdfff) => {
                    let code = 0x1_0000 + ((u32::from(high) - 0xd800) << 10) + (u32::from(unit) - 0xdc00);
                    push(char::from_u32(code).unwrap_or('\0'));
                }
                // A lone surrogate becomes a null, which is no text.
                (Some(_), _) | (None, 0xdc00..=0xdfff) => push('\0'),
                (None, unit) => push(char::from_u32(u32::from(unit)).unwrap_or('\0')),
            }
        }
        out
    }
}

/// The first bytes in ASCII-compatible form, for a look at the beginning.
fn decoded(encoding: Encoding, head: &[u8]) -> Cow<'_, [u8]> {
    match encoding {
        Encoding::AsciiLike => Cow::Borrowed(head),
        Encoding::Utf16 { little } => {
            let units = head[2..].chunks_exact(2).map(|pair| {
                if little { u16::from_le_bytes([pair[0], pair[1]]) } else { u16::from_be_bytes([pair[0], pair[1]]) }
            });
            let text: String = char::decode_utf16(units).map(|c| c.unwrap_or('\0')).collect();
            Cow::Owned(text.into_bytes())
        }
    }
}

trait SliceRefOrCopy {
    fn slice_ref_or_copy(&self, part: &[u8]) -> Bytes;
}

impl SliceRefOrCopy for Bytes {
    /// `part` without a copy where it lies within `self`.
    fn slice_ref_or_copy(&self, part: &[u8]) -> Bytes {
        if self.as_ptr_range().contains(&part.as_ptr()) { self.slice_ref(part) } else { Bytes::copy_from_slice(part) }
    }
}

/// Whether all bytes so far are UTF-8, with an unfinished character carried between chunks.
#[derive(Debug, Default)]
struct Utf8Check {
    carry: Vec<u8>,
    broken: bool,
}

impl Utf8Check {
    fn feed(&mut self, chunk: &[u8]) {
        if self.broken {
            return;
        }
        let mut rest = chunk;
        while !self.carry.is_empty() && !rest.is_empty() {
            self.carry.push(rest[0]);
            rest = &rest[1..];
            match std::str::from_utf8(&self.carry) {
                Ok(_) => self.carry.clear(),
                Err(error) if error.error_len().is_none() => {}
                Err(_) => return self.broken = true,
            }
        }
        match std::str::from_utf8(rest) {
            Ok(_) => {}
            Err(error) if error.error_len().is_none() => self.carry.extend_from_slice(&rest[error.valid_up_to()..]),
            Err(_) => self.broken = true,
        }
    }

    fn is_valid(&self) -> bool {
        !self.broken && self.carry.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::super::sniff::{Sniffed, sniff};
    use super::*;

    async fn verdict(declared: &str, bytes: &[u8]) -> Content {
        let Sniffed::Text(encoding) = sniff(bytes) else { panic!("not text: {bytes:?}") };
        let mut lane = TextLane::new(encoding, declared, bytes);
        for chunk in bytes.chunks(3) {
            lane.feed(&Bytes::copy_from_slice(chunk)).await;
        }
        lane.finish().await
    }

    #[tokio::test]
    async fn every_format_is_recognised() {
        for (declared, text, detected) in [
            ("text/plain", "Guten Tag\n", "text/plain"),
            ("text/csv", "a,b\n1,2\n", "text/plain"),
            ("application/json", "{\"a\": \"é\"}", "application/json"),
            ("application/json", "\u{feff}{}", "application/json"),
            ("application/xml", "\u{feff}<?xml version=\"1.0\"?><a/>", "application/xml"),
            ("image/svg+xml", "<svg xmlns=\"http://www.w3.org/2000/svg\"/>", "image/svg+xml"),
            ("text/html", "<!DOCTYPE html><p>x</p>", "text/html"),
            ("text/markdown", "<p align=center>\n\n# Title", "text/plain"),
            ("text/calendar", "BEGIN:VCALENDAR\r\n", "text/plain"),
            ("image/png", "<html><script>", "text/html"),
            ("text/csv", "<!DOCTYPE html>", "text/html"),
            ("application/json", "<html>", "text/html"),
            ("text/plain", "<?xml version='1.0'?><a/>", "application/xml"),
        ] {
            assert_eq!(verdict(declared, text.as_bytes()).await, Content::of(detected), "{declared} {text}");
        }
    }

    #[tokio::test]
    async fn encodings_of_spreadsheets_are_read_and_json_is_utf8_only() {
        assert_eq!(verdict("text/csv", b"Gr\xf6\xdfe;1\n").await, Content::of("text/plain"));
        let utf16 = |text: &str| -> Vec<u8> {
            [0xfeff].into_iter().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect()
        };
        assert_eq!(verdict("text/csv", &utf16("a\té😀\n")).await, Content::of("text/plain"));
        assert_eq!(verdict("text/csv", &utf16("<html>")).await, Content::of("text/html"));
        let svg = verdict("image/svg+xml", &utf16("<svg xmlns='x'><script/></svg>")).await;
        assert!(matches!(svg.concerns.as_slice(), [Concern::Active(_)]), "{svg:?}");
        let json = verdict("application/json", b"{\"a\":\"\xf6\"}").await;
        assert!(matches!(json.concerns.as_slice(), [Concern::Malformed(_)]), "{json:?}");
    }

    #[tokio::test]
    async fn a_control_character_after_the_beginning_is_seen() {
        let mut bytes = vec![b'a'; 20_000];
        bytes[19_000] = 0;
        let bytes = Bytes::from(bytes);
        let mut lane = TextLane::new(Encoding::AsciiLike, "text/plain", &bytes[..100]);
        lane.feed(&bytes).await;
        let found = lane.finish().await;
        assert!(matches!(found.concerns.as_slice(), [Concern::Malformed(_)]), "{found:?}");
        let mut lane = TextLane::new(Encoding::AsciiLike, "application/octet-stream", &bytes[..100]);
        lane.feed(&bytes).await;
        assert_eq!(lane.finish().await, Content::default());
    }
}
