//! What the first bytes say: a signature at offset 0, or text and of which look.
//!
//! `infer` knows the binary signatures; this file adds what it does not know (UTF-16, SVG, Parquet, the brands of
//! ISO media files) and overrules it where its two-byte tests would call a text file an image. Signatures count at
//! offset 0 only, so a file that is two formats at once is judged as the one that a browser sees first.
//! A hint, never the decision: grammars are checked to the end of the stream, and the declared type must agree.

use super::types::canonical;

/// Bytes that are looked at before the content's lane is chosen.
pub(super) const HEAD: usize = 16 * 1024;

/// How the bytes are read as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    /// UTF-8, or an encoding with one byte a character that agrees with ASCII.
    AsciiLike,
    /// UTF-16 with a byte order mark, least significant byte first or last.
    Utf16 {
        /// Least significant byte first.
        little: bool,
    },
}

/// What the first bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sniffed {
    /// No bytes at all.
    Empty,
    /// Text.
    Text(Encoding),
    /// A zip file of any kind.
    Zip,
    /// gzip.
    Gzip,
    /// An OLE container: the Office formats before 2007, and encrypted ones of today.
    Ole,
    /// PDF.
    Pdf,
    /// Another signature, in the canonical spelling of its type.
    Signature(&'static str),
    /// Nothing that is known.
    Unknown,
}

/// Looks at the first [`HEAD`] bytes, or all where there are fewer.
pub(super) fn sniff(head: &[u8]) -> Sniffed {
    if head.is_empty() {
        return Sniffed::Empty;
    }
    for (signature, sniffed) in FIRST {
        if head.starts_with(signature) {
            return *sniffed;
        }
    }
    match head {
        [0xff, 0xfe, second, third, ..] if (*second, *third) != (0, 0) => {
            return Sniffed::Text(Encoding::Utf16 { little: true });
        }
        [0xfe, 0xff, _, _, ..] => return Sniffed::Text(Encoding::Utf16 { little: false }),
        _ => {}
    }
    if head.iter().all(|&byte| is_text_byte(byte)) {
        return Sniffed::Text(Encoding::AsciiLike);
    }
    if head.len() >= 12 && &head[4..8] == b"ftyp" {
        return Sniffed::Signature(brand(head));
    }
    match infer::get(head) {
        // Two- and four-byte tests that fit half of all binary files.
        Some(kind) if matches!(kind.extension(), "der" | "obj" | "mobi") => Sniffed::Unknown,
        Some(kind) if kind.extension() == "bmp" && head.get(6..10) != Some(&[0; 4]) => Sniffed::Unknown,
        Some(kind) => Sniffed::Signature(match kind.extension() {
            "woff" => "font/woff",
            "woff2" => "font/woff2",
            "ttf" => "font/ttf",
            "otf" => "font/otf",
            _ => canonical(kind.mime_type()),
        }),
        None => Sniffed::Unknown,
    }
}

const FIRST: &[(&[u8], Sniffed)] = &[
    (b"%PDF-", Sniffed::Pdf),
    (b"PK\x03\x04", Sniffed::Zip),
    (b"PK\x05\x06", Sniffed::Zip),
    (b"\x1f\x8b", Sniffed::Gzip),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", Sniffed::Ole),
    (b"{\\rtf", Sniffed::Signature("application/rtf")),
    (b"PAR1", Sniffed::Signature("application/vnd.apache.parquet")),
    (b"\x28\xb5\x2f\xfd", Sniffed::Signature("application/zstd")),
];

/// Whether a byte occurs in text: no control characters but tab, line ends, form feed, backspace and escape (logs).
pub(super) fn is_text_byte(byte: u8) -> bool {
    byte >= 0x20 && byte != 0x7f || matches!(byte, b'\t' | b'\n' | b'\r' | 0x0c | 0x08 | 0x1b)
}

/// The type of an ISO base media file by its major brand (ISO/IEC 14496-12, mp4ra.org).
fn brand(head: &[u8]) -> &'static str {
    match &head[8..12] {
        b"heic" | b"heix" | b"heim" | b"heis" | b"hevc" | b"hevx" => "image/heic",
        b"mif1" | b"msf1" => {
            let end = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
            let compatible = head.get(16..end.clamp(16, head.len())).unwrap_or_default();
            if compatible.chunks(4).any(|brand| brand == b"avif" || brand == b"avis") {
                "image/avif"
            } else {
                "image/heif"
            }
        }
        b"avif" | b"avis" => "image/avif",
        b"qt  " => "video/quicktime",
        b"M4A " | b"M4B " | b"M4P " => "audio/mp4",
        b"crx " => "image/x-canon-cr3",
        _ => "video/mp4",
    }
}

/// What markup or script a text begins with, white space and a byte order mark skipped. `None`: plain text.
///
/// The HTML names are those of the WHATWG MIME sniffing standard, section 7.1.
pub(super) fn markup(text: &[u8]) -> Option<&'static str> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let text = text.trim_ascii_start();
    let begins =
        |prefix: &str| text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()));
    let holds = |tag: &str| text.windows(tag.len()).any(|window| window.eq_ignore_ascii_case(tag.as_bytes()));
    if text.starts_with(b"#!") {
        return Some("text/x-shellscript");
    }
    if begins("<?php") || begins("<?=") {
        return Some("application/x-httpd-php");
    }
    if begins("<svg") || begins("<!doctype svg") {
        return Some("image/svg+xml");
    }
    if begins("<?xml") {
        return Some(match () {
            () if holds("<svg") => "image/svg+xml",
            () if holds("<html") => "application/xhtml+xml",
            () => "application/xml",
        });
    }
    const TAGS: &[&str] = &[
        "<!doctype html",
        "<html",
        "<head",
        "<script",
        "<iframe",
        "<h1",
        "<div",
        "<font",
        "<table",
        "<a",
        "<style",
        "<title",
        "<b",
        "<body",
        "<br",
        "<p",
        "<!--",
        "<img",
        "<object",
        "<embed",
        "<form",
        "<meta",
        "<link",
    ];
    let html = TAGS.iter().any(|tag| {
        begins(tag)
            && (*tag == "<!--"
                || matches!(text.get(tag.len()), Some(b' ' | b'>' | b'/' | b'\t' | b'\n' | b'\r' | 0x0c)))
    });
    html.then_some("text/html")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_count_at_the_first_byte_only() {
        assert_eq!(sniff(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"), Sniffed::Signature("image/png"));
        assert_eq!(sniff(b"\xff\xd8\xff\xe0\0\x10JFIF\0"), Sniffed::Signature("image/jpeg"));
        assert_eq!(sniff(b"%PDF-1.7\n%\xe2\xe3"), Sniffed::Pdf);
        assert_eq!(sniff(b"\n%PDF-1.7\n"), Sniffed::Text(Encoding::AsciiLike));
        assert_eq!(sniff(b"\0\0PK\x03\x04"), Sniffed::Unknown);
        assert_eq!(sniff(b"MZ\x90\0\x03\0\0\0"), Sniffed::Signature("application/vnd.microsoft.portable-executable"));
    }

    #[test]
    fn text_that_begins_like_an_image_is_text() {
        assert_eq!(sniff(b"BMW,Audi\n1,2\n"), Sniffed::Text(Encoding::AsciiLike));
        assert_eq!(sniff(b"MZ is a place\n"), Sniffed::Text(Encoding::AsciiLike));
        assert_eq!(sniff("Größe;Menge\n".as_bytes()), Sniffed::Text(Encoding::AsciiLike));
        assert_eq!(sniff(b"Gr\xf6\xdfe;Menge\n"), Sniffed::Text(Encoding::AsciiLike));
        assert_eq!(sniff(b"\xff\xfea\0b\0"), Sniffed::Text(Encoding::Utf16 { little: true }));
    }

    #[test]
    fn media_brands_are_told_apart() {
        assert_eq!(sniff(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"), Sniffed::Signature("image/heic"));
        assert_eq!(sniff(b"\0\0\0\x18ftypmif1\0\0\0\0mif1avif"), Sniffed::Signature("image/avif"));
        assert_eq!(sniff(b"\0\0\0\x18ftypqt  \0\0\0\0qt  \0\0\0\0"), Sniffed::Signature("video/quicktime"));
        assert_eq!(sniff(b"\0\0\0\x18ftypisom\0\0\0\0isommp42"), Sniffed::Signature("video/mp4"));
    }

    #[test]
    fn markup_and_scripts_are_seen_behind_white_space() {
        assert_eq!(markup(b"\xef\xbb\xbf \n<!DOCTYPE html>"), Some("text/html"));
        assert_eq!(markup(b"<SCRIPT>alert(1)"), Some("text/html"));
        assert_eq!(markup(b"<?xml version='1.0'?>\n<svg xmlns='x'>"), Some("image/svg+xml"));
        assert_eq!(markup(b"<?xml version='1.0'?><order/>"), Some("application/xml"));
        assert_eq!(markup(b"#!/bin/sh\n"), Some("text/x-shellscript"));
        assert_eq!(markup(b"name,<b>bold</b>\n"), None);
        assert_eq!(markup(b"<bold claims>"), None);
    }
}
