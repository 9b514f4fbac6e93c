//! PDF, looked through for passwords and actions as it streams past (ISO 32000-1).
//!
//! Names are read with their `#xx` escapes resolved, in the file's plain parts and in compressed object streams, where
//! programs of today keep most objects. Best effort: a PDF that wants to hide an action from a reader of bytes can (in
//! a stream with other filters, or behind encryption), and the scanner is the one that knows such tricks.
//! Memory: one name, the window of a keyword, and the state of one inflater.

use std::io::{self, Write};

use flate2::write::ZlibDecoder;

use super::concern::{Concern, Content};

/// Longest name that is told apart.
const MAX_NAME: usize = 32;
/// Most bytes that are inflated from the object streams of one file.
const MAX_INFLATED: usize = 64 << 20;

/// What the names said.
#[derive(Debug, Default)]
struct Found {
    encrypted: bool,
    active: Option<&'static str>,
    object_stream: bool,
    inflated: usize,
}

/// Collects names: `/Name` up to a delimiter.
#[derive(Debug, Default)]
struct Names {
    current: Option<Vec<u8>>,
}

impl Names {
    fn byte(&mut self, byte: u8, found: &mut Found, in_stream: bool) {
        let regular = byte > b' ' && byte != 0x7f && !b"()<>[]{}/%".contains(&byte);
        if regular {
            if let Some(name) = &mut self.current {
                name.push(byte);
                if name.len() > MAX_NAME {
                    self.current = None;
                }
            }
            return;
        }
        if let Some(name) = self.current.take() {
            judge(&name, found, in_stream);
        }
        if byte == b'/' {
            self.current = Some(Vec::with_capacity(MAX_NAME));
        }
    }
}

fn judge(raw: &[u8], found: &mut Found, in_stream: bool) {
    let name = unescaped(raw);
    match name.as_slice() {
        b"Encrypt" => found.encrypted = true,
        b"JavaScript" => found.active = Some("a script"),
        b"Launch" => found.active = Some("an action that starts a program"),
        // Three letters occur by chance in compressed data; outside of it they do not.
        b"JS" if !in_stream => found.active = Some("a script"),
        b"ObjStm" if !in_stream => found.object_stream = true,
        _ => {}
    }
}

/// Resolves `#xx` (section 7.3.5).
fn unescaped(raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let [first, tail @ ..] = rest {
        let escaped = tail.get(..2).filter(|_| *first == b'#').and_then(|digits| {
            let mut byte = [0];
            hex::decode_to_slice(digits, &mut byte).ok().map(|()| byte[0])
        });
        out.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { &tail[2..] } else { tail };
    }
    out
}

/// The end of an inflater: looks for names in what comes out.
#[derive(Debug, Default)]
struct Sink {
    names: Names,
    found: Found,
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.found.inflated += bytes.len();
        if self.found.inflated > MAX_INFLATED {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        for &byte in bytes {
            self.names.byte(byte, &mut self.found, false);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The scan of one PDF.
#[derive(Default)]
pub(super) struct PdfScan {
    names: Names,
    found: Found,
    window: [u8; 10],
    in_stream: bool,
    inflater: Option<ZlibDecoder<Sink>>,
    pending: Vec<u8>,
}

impl PdfScan {
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.window.rotate_left(1);
            self.window[9] = byte;
            self.names.byte(byte, &mut self.found, self.in_stream);
            if self.in_stream {
                self.pending.push(byte);
                if self.pending.len() >= 4096 {
                    self.inflate();
                }
                if self.window.ends_with(b"endstream") {
                    self.stream_ends();
                }
            } else if byte == b'\n' && (self.window.ends_with(b"stream\n") || self.window.ends_with(b"stream\r\n")) {
                self.in_stream = true;
                let wanted = std::mem::take(&mut self.found.object_stream) && self.found.inflated < MAX_INFLATED;
                let found = Found { inflated: self.found.inflated, ..Found::default() };
                self.inflater = wanted.then(|| ZlibDecoder::new(Sink { names: Names::default(), found }));
            } else if self.window.ends_with(b"endobj") {
                self.found.object_stream = false;
            }
        }
    }

    fn inflate(&mut self) {
        let bytes = std::mem::take(&mut self.pending);
        if let Some(inflater) = &mut self.inflater {
            // What cannot be inflated cannot be looked at; the names that came out so far stay found.
            if inflater.write_all(&bytes).is_err() {
                self.close_inflater();
            }
        }
    }

    fn close_inflater(&mut self) {
        if let Some(mut inflater) = self.inflater.take() {
            drop(inflater.flush());
            let sink = inflater.get_mut();
            sink.names.byte(b' ', &mut sink.found, false);
            self.found.inflated = sink.found.inflated;
            self.found.encrypted |= sink.found.encrypted;
            self.found.active = self.found.active.or(sink.found.active);
        }
    }

    fn stream_ends(&mut self) {
        self.inflate();
        self.close_inflater();
        self.in_stream = false;
    }

    pub(super) fn finish(mut self) -> Content {
        self.stream_ends();
        self.names.byte(b' ', &mut self.found, false);
        let encrypted = self.found.encrypted.then(|| Concern::Encrypted("The PDF is encrypted.".to_owned()));
        let active = self.found.active.map(|what| Concern::Active(format!("The PDF holds {what}.")));
        Content::of("application/pdf").with(encrypted).with(active)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(bytes: &[u8]) -> Vec<Concern> {
        let mut scan = PdfScan::default();
        for chunk in bytes.chunks(7) {
            scan.feed(chunk);
        }
        scan.finish().concerns
    }

    #[test]
    fn passwords_and_actions_are_seen() {
        for text in [
            "<</S /JavaScript /JS (x)>>",
            "<</JS(x)>>",
            "<</S/J#61vaScript>>",
            "<</S /Launch>>",
            "endobj\nstream\n/JavaScript \nendstream",
        ] {
            assert!(matches!(verdict(text.as_bytes()).as_slice(), [Concern::Active(_)]), "{text}");
        }
        assert!(matches!(verdict(b"trailer <</Encrypt 5 0 R>>").as_slice(), [Concern::Encrypted(_)]));
    }

    #[test]
    fn similar_names_and_chance_bytes_are_not() {
        let text = "<</EncryptMetadata true /JSON 1 /OpenAction [1 0 R /Fit] /Filter /FlateDecode>>\nstream\nab/JS cd\nendstream endobj";
        assert_eq!(verdict(text.as_bytes()), []);
    }

    #[test]
    fn compressed_object_streams_are_looked_into() {
        let mut packed = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
        packed.write_all(b"1 0 2 20 <</S /JavaScript /JS (app.alert\\(1\\))>>").unwrap();
        let mut file = b"%PDF-1.7\n1 0 obj <</Type /ObjStm /Filter /FlateDecode>>\nstream\r\n".to_vec();
        file.extend(packed.finish().unwrap());
        file.extend(b"\nendstream\nendobj\n");
        assert!(matches!(verdict(&file).as_slice(), [Concern::Active(_)]));
    }
}
