//! XML and SVG, checked for well-formedness and looked through for anything that runs.
//!
//! `quick-xml` pulls, the stream pushes: the parser runs on a blocking thread behind a short channel. One token holds at
//! most [`MAX_TOKEN`] bytes, open elements [`MAX_OPEN`] bytes of names, so memory is bounded whatever comes.
//! Invariant: nothing is ever fetched and no entity is ever expanded. A document that declares entities, or names a
//! style sheet that transforms it, can show what it does not hold, and counts as active.

use std::io::{self, BufRead, Read};

use bytes::Bytes;
use quick_xml::events::{BytesStart, Event};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::super::concern::{Concern, Content};
use super::html::runs;

/// Longest piece between two tags, and longest tag: an embedded file of some 12 MB in base64.
const MAX_TOKEN: usize = 16 << 20;
/// Most bytes in the names of elements that are open at once.
const MAX_OPEN: usize = 1 << 20;
/// Most elements that are open at once.
const MAX_DEPTH: usize = 1024;

/// The sending half.
#[derive(Debug)]
pub(super) struct XmlFeed {
    sender: mpsc::Sender<Bytes>,
    parser: JoinHandle<Content>,
}

impl XmlFeed {
    /// Starts the parser's thread. It ends when the feed is dropped or finished.
    pub(super) fn start() -> Self {
        let (sender, receiver) = mpsc::channel(4);
        Self { sender, parser: tokio::task::spawn_blocking(move || parse(receiver)) }
    }

    /// Waits where the parser is behind. A parser that has made up its mind takes no more; that is no error.
    pub(super) async fn feed(&self, bytes: Bytes) {
        drop(self.sender.send(bytes).await);
    }

    /// What the parser found, once it has seen the end.
    pub(super) async fn finish(self) -> Content {
        drop(self.sender);
        self.parser.await.unwrap_or_else(|_| {
            Content::default().with(Some(Concern::Opaque("The XML could not be checked.".to_owned())))
        })
    }
}

/// The receiving half as a reader that refuses to deliver more than [`MAX_TOKEN`] bytes for one token.
struct Chunks {
    receiver: mpsc::Receiver<Bytes>,
    current: Bytes,
    token: usize,
}

impl BufRead for Chunks {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.token > MAX_TOKEN {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        while self.current.is_empty() {
            match self.receiver.blocking_recv() {
                Some(bytes) => self.current = bytes,
                None => break,
            }
        }
        Ok(&self.current)
    }

    fn consume(&mut self, amount: usize) {
        self.token += amount;
        bytes::Buf::advance(&mut self.current, amount);
    }
}

impl Read for Chunks {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let length = self.fill_buf()?.len().min(buf.len());
        buf[..length].copy_from_slice(&self.current[..length]);
        self.consume(length);
        Ok(length)
    }
}

/// What is known about the document so far.
#[derive(Default)]
struct Document {
    open: Vec<usize>,
    open_bytes: usize,
    root: Option<&'static str>,
    /// Whether names of SVG or XHTML are declared, so that a browser would run what stands in them.
    browser_names: bool,
    runs: Option<&'static str>,
    entities: bool,
    transformed: bool,
}

fn parse(receiver: mpsc::Receiver<Bytes>) -> Content {
    let mut reader = quick_xml::Reader::from_reader(Chunks { receiver, current: Bytes::new(), token: 0 });
    let mut buffer = Vec::new();
    let mut document = Document::default();
    let failed = loop {
        buffer.clear();
        if buffer.capacity() > 1 << 20 {
            buffer.shrink_to(64 << 10);
        }
        reader.get_mut().token = 0;
        match reader.read_event_into(&mut buffer) {
            Ok(Event::Eof) => break document.incomplete(),
            Ok(event) => {
                if let Some(concern) = document.event(&event) {
                    break Some(concern);
                }
            }
            Err(quick_xml::Error::Io(error)) if error.kind() == io::ErrorKind::OutOfMemory => {
                break Some(Concern::Opaque(format!("The XML has a piece longer than {} MiB.", MAX_TOKEN >> 20)));
            }
            Err(error) => {
                let at = reader.error_position();
                break Some(Concern::Malformed(format!("The file is not well-formed XML: {error} (byte {at}).")));
            }
        }
    };
    let detected = document.root.filter(|_| !matches!(failed, Some(Concern::Malformed(_))));
    Content { detected, concerns: Vec::new() }.with(failed).with(document.active())
}

impl Document {
    fn event(&mut self, event: &Event<'_>) -> Option<Concern> {
        match event {
            Event::Start(start) => {
                let concern = self.element(start);
                self.open.push(start.name().as_ref().len());
                self.open_bytes += start.name().as_ref().len();
                if self.open.len() > MAX_DEPTH || self.open_bytes > MAX_OPEN {
                    return Some(Concern::Opaque("The XML is nested too deep to be checked.".to_owned()));
                }
                concern
            }
            Event::Empty(start) => self.element(start),
            Event::End(_) => {
                self.open_bytes -= self.open.pop().unwrap_or_default();
                None
            }
            Event::Text(text) if self.open.is_empty() => {
                let text: &[u8] = text.as_ref();
                let blank = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text).trim_ascii().is_empty();
                (!blank).then(|| malformed("text stands outside of the root element"))
            }
            Event::CData(_) if self.open.is_empty() => Some(malformed("text stands outside of the root element")),
            Event::GeneralRef(name) => {
                let name: &[u8] = name.as_ref();
                let known = name.starts_with(b"#") || [&b"lt"[..], b"gt", b"amp", b"quot", b"apos"].contains(&name);
                match (known, self.entities) {
                    (true, _) | (false, true) => None,
                    (false, false) => Some(malformed("an entity is not declared")),
                }
            }
            Event::Decl(declaration) => match declaration.encoding() {
                None => None,
                Some(Ok(name)) if encoding_is_read(&name) => None,
                Some(_) => {
                    Some(Concern::Opaque("The XML is in an encoding that the gateway does not read.".to_owned()))
                }
            },
            Event::DocType(doctype) => {
                let text: &[u8] = doctype.as_ref();
                self.entities |= text.windows(8).any(|window| window.eq_ignore_ascii_case(b"<!ENTITY"));
                (self.root.is_some()).then(|| malformed("the document type stands after the root element"))
            }
            Event::PI(instruction) => {
                self.transformed |= instruction.target().eq_ignore_ascii_case(b"xml-stylesheet");
                None
            }
            _ => None,
        }
    }

    fn element(&mut self, start: &BytesStart<'_>) -> Option<Concern> {
        let local = String::from_utf8_lossy(start.local_name().as_ref()).to_ascii_lowercase();
        if self.open.is_empty() {
            if self.root.is_some() {
                return Some(malformed("there is more than one root element"));
            }
            self.root = Some(match local.as_str() {
                "svg" => "image/svg+xml",
                "html" => "application/xhtml+xml",
                _ => "application/xml",
            });
        }
        if matches!(local.as_str(), "script" | "foreignobject" | "iframe" | "object" | "embed" | "handler" | "listener")
        {
            self.runs.get_or_insert(if local == "script" { "a script" } else { "embedded foreign content" });
        }
        for attribute in start.attributes().with_checks(false) {
            let Ok(attribute) = attribute else {
                return Some(malformed("an attribute is malformed"));
            };
            let value = String::from_utf8_lossy(&attribute.value);
            let name = attribute.key.as_ref();
            if name == b"xmlns" || name.starts_with(b"xmlns:") {
                self.browser_names |= value.contains("www.w3.org/2000/svg") || value.contains("www.w3.org/1999/xhtml");
                // A namespace by character references is one that somebody hides.
                self.browser_names |= value.contains('&');
            }
            let local = attribute.key.local_name();
            if local.as_ref().get(..2).is_some_and(|start| start.eq_ignore_ascii_case(b"on"))
                && local.as_ref().len() > 2
            {
                self.runs.get_or_insert("an event handler");
            }
            if runs(&value) {
                self.runs.get_or_insert("a link that runs a script");
            }
        }
        None
    }

    fn incomplete(&self) -> Option<Concern> {
        match (self.root, self.open.is_empty()) {
            (None, _) => Some(malformed("it has no root element")),
            (_, false) => Some(malformed("an element is never closed")),
            _ => None,
        }
    }

    fn active(&self) -> Option<Concern> {
        let in_browser = self.browser_names || matches!(self.root, Some("image/svg+xml" | "application/xhtml+xml"));
        let what = match self.runs {
            Some(what) if in_browser => what,
            _ if self.entities => "declarations of entities",
            _ if self.transformed => "a style sheet that may transform it",
            _ => return None,
        };
        Some(Concern::Active(format!("The file holds {what}.")))
    }
}

fn malformed(what: &str) -> Concern {
    Concern::Malformed(format!("The file is not well-formed XML: {what}."))
}

/// Encodings in which every ASCII byte is the ASCII character, so that no tag can hide. UTF-16 comes transcoded.
fn encoding_is_read(name: &[u8]) -> bool {
    const READ: &[&str] =
        &["utf-8", "utf8", "us-ascii", "ascii", "iso-8859-1", "iso-8859-15", "windows-1252", "utf-16"];
    READ.iter().any(|read| read.as_bytes().eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(text: &str) -> Content {
        let (sender, receiver) = mpsc::channel(text.len().max(1));
        for chunk in text.as_bytes().chunks(5) {
            sender.try_send(Bytes::copy_from_slice(chunk)).unwrap();
        }
        drop(sender);
        parse(receiver)
    }

    #[test]
    fn the_root_element_tells_the_type() {
        assert_eq!(verdict("<?xml version='1.0'?>\n<order a='1'>&lt;&#233;</order>\n"), Content::of("application/xml"));
        assert_eq!(
            verdict("<!-- x --><svg xmlns='http://www.w3.org/2000/svg'><g/></svg>"),
            Content::of("image/svg+xml")
        );
        assert_eq!(verdict("<html xmlns='http://www.w3.org/1999/xhtml'/>"), Content::of("application/xhtml+xml"));
        assert_eq!(verdict("<build><script onfail='x'/></build>"), Content::of("application/xml"));
    }

    #[test]
    fn what_is_not_well_formed_is_seen() {
        for text in [
            "",
            "<a>",
            "<a></b>",
            "<a/><b/>",
            "x<a/>",
            "<a/>x",
            "<a>&nbsp;</a>",
            "<a b=1/>",
            "<a",
            "<a>&</a>",
            "not xml",
        ] {
            let found = verdict(text);
            assert!(matches!(found.concerns.first(), Some(Concern::Malformed(_))), "{text}: {found:?}");
        }
    }

    #[test]
    fn whatever_runs_in_an_svg_is_seen() {
        for inside in [
            "<script/>",
            "<SCRIPT>x</SCRIPT>",
            "<s:script xmlns:s='http://www.w3.org/2000/svg'/>",
            "<g onload='x()'/>",
            "<a href='java&#x73;cript:x'/>",
            "<foreignObject/>",
            "<set attributeName='href' to='javascript:x'/>",
            "<use href='data:image/svg+xml;base64,x'/>",
        ] {
            let found = verdict(&format!("<svg xmlns='http://www.w3.org/2000/svg'>{inside}</svg>"));
            assert!(matches!(found.concerns.as_slice(), [Concern::Active(_)]), "{inside}: {found:?}");
        }
        let entity = verdict("<!DOCTYPE a [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><a>&x;</a>");
        assert!(matches!(entity.concerns.as_slice(), [Concern::Active(_)]), "{entity:?}");
        let sheet = verdict("<?xml-stylesheet href='x.xsl' type='text/xsl'?><a/>");
        assert!(matches!(sheet.concerns.as_slice(), [Concern::Active(_)]), "{sheet:?}");
        let mixed = verdict("<a><b xmlns='http://www.w3.org/1999/xhtml'><script/></b></a>");
        assert!(matches!(mixed.concerns.as_slice(), [Concern::Active(_)]), "{mixed:?}");
    }

    #[test]
    fn depth_and_foreign_encodings_are_not_judged() {
        let deep = verdict(&"<a>".repeat(MAX_DEPTH + 2));
        assert!(matches!(deep.concerns.as_slice(), [Concern::Opaque(_)]), "{deep:?}");
        let foreign = verdict("<?xml version='1.0' encoding='shift_jis'?><a/>");
        assert!(matches!(foreign.concerns.as_slice(), [Concern::Opaque(_)]), "{foreign:?}");
    }
}
