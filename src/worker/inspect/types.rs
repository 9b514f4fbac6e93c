//! Which content belongs to which declared type, as data.
//!
//! [`shape`] says how content of a declared type is recognised; [`agrees`] compares a declared type with a detected one.
//! Names are compared in one canonical spelling. The extensions of a type are in `domain::filetype`; a test keeps the
//! two tables in step: every type that has extensions is a type whose content is recognised.
//! Deliberately absent: "close enough". A docx that is called a zip is a mismatch, since the manifest lists types so
//! that the reader of the object knows what it gets.

/// How content of a type is recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// By its first bytes or, for a zip, by what it holds.
    Signature,
    /// By a grammar of text.
    Text(Grammar),
    /// Any bytes (`application/octet-stream`), as long as no browser or system would run them.
    Bytes,
    /// The gateway does not know the type: content that it recognises as something else is a mismatch.
    Unknown,
}

/// The text formats that are checked to their end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grammar {
    /// No grammar; not even markup at the beginning.
    Plain,
    /// Text that may hold HTML.
    Markdown,
    /// RFC 4180 in the dialects of spreadsheets.
    Csv,
    /// RFC 8259.
    Json,
    /// One JSON text a line.
    JsonLines,
    /// Well-formed XML; the root element tells which.
    Xml,
    /// HTML, which has no errors: only looked through for scripts.
    Html,
    /// Text with this first line.
    Begins(&'static str),
}

/// One spelling for each type.
pub(super) fn canonical(media: &str) -> &str {
    match media {
        "application/csv" => "text/csv",
        "application/x-gzip" => "application/gzip",
        "application/x-zip-compressed" => "application/zip",
        "application/x-rar-compressed" => "application/vnd.rar",
        "text/xml" => "application/xml",
        "text/rtf" => "application/rtf",
        "text/yaml" => "application/yaml",
        "audio/x-wav" => "audio/wav",
        "audio/x-flac" => "audio/flac",
        "audio/x-m4a" | "audio/m4a" => "audio/mp4",
        "audio/opus" => "audio/ogg",
        "video/x-m4v" => "video/mp4",
        "image/x-icon" => "image/vnd.microsoft.icon",
        other => other,
    }
}

/// How content of the declared type is recognised.
pub(super) fn shape(declared: &str) -> Shape {
    match canonical(declared) {
        "application/octet-stream" => Shape::Bytes,
        "text/html" => Shape::Text(Grammar::Html),
        "text/csv" => Shape::Text(Grammar::Csv),
        "text/markdown" => Shape::Text(Grammar::Markdown),
        "text/calendar" => Shape::Text(Grammar::Begins("BEGIN:VCALENDAR")),
        "text/vcard" => Shape::Text(Grammar::Begins("BEGIN:VCARD")),
        "application/rtf" => Shape::Signature,
        "application/x-ndjson" => Shape::Text(Grammar::JsonLines),
        "application/json" => Shape::Text(Grammar::Json),
        "application/xml" => Shape::Text(Grammar::Xml),
        "application/yaml" => Shape::Text(Grammar::Plain),
        other if other.ends_with("+json") => Shape::Text(Grammar::Json),
        other if other.ends_with("+xml") => Shape::Text(Grammar::Xml),
        other if other.ends_with("+zip") => Shape::Signature,
        other if other.starts_with("text/") => Shape::Text(Grammar::Plain),
        other if SIGNATURES.contains(&other) => Shape::Signature,
        _ => Shape::Unknown,
    }
}

/// The types, beyond text, that the gateway recognises.
const SIGNATURES: &[&str] = &[
    "application/gzip",
    "application/msword",
    "application/pdf",
    "application/rtf",
    "application/vnd.apache.parquet",
    "application/vnd.ms-excel",
    "application/vnd.ms-excel.sheet.macroenabled.12",
    "application/vnd.ms-excel.template.macroenabled.12",
    "application/vnd.ms-outlook",
    "application/vnd.ms-powerpoint",
    "application/vnd.ms-powerpoint.presentation.macroenabled.12",
    "application/vnd.ms-word.document.macroenabled.12",
    "application/vnd.ms-word.template.macroenabled.12",
    "application/vnd.oasis.opendocument.presentation",
    "application/vnd.oasis.opendocument.spreadsheet",
    "application/vnd.oasis.opendocument.text",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    "application/vnd.openxmlformats-officedocument.presentationml.slideshow",
    "application/vnd.openxmlformats-officedocument.presentationml.template",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.template",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.template",
    "application/vnd.rar",
    "application/x-7z-compressed",
    "application/x-bzip2",
    "application/x-tar",
    "application/x-xz",
    "application/zip",
    "application/zstd",
    "audio/aac",
    "audio/flac",
    "audio/mp4",
    "audio/mpeg",
    "audio/ogg",
    "audio/wav",
    "font/otf",
    "font/ttf",
    "font/woff",
    "font/woff2",
    "image/avif",
    "image/bmp",
    "image/gif",
    "image/heic",
    "image/heif",
    "image/jpeg",
    "image/png",
    "image/tiff",
    "image/vnd.microsoft.icon",
    "image/webp",
    "video/mp4",
    "video/mpeg",
    "video/ogg",
    "video/quicktime",
    "video/webm",
    "video/x-matroska",
    "video/x-msvideo",
];

/// A password-protected Office document: an OLE container around the encrypted package. No registered type.
pub(super) const ENCRYPTED_OFFICE: &str = "application/x-encrypted-office";

/// An OLE container of no known kind. No registered type.
pub(super) const OLE: &str = "application/x-ole-storage";

/// Detected types that a browser or a system runs: never mere bytes.
const RUNNABLE: &[&str] = &[
    "text/html",
    "image/svg+xml",
    "application/xhtml+xml",
    "application/x-httpd-php",
    "application/x-executable",
    "application/x-mach-binary",
    "application/vnd.microsoft.portable-executable",
    "application/java-archive",
    "application/java",
    "application/wasm",
    "application/vnd.android.package-archive",
    "text/x-shellscript",
];

/// Whether a format is an Office document in a zip or in an OLE container, which a password turns into
/// [`ENCRYPTED_OFFICE`].
fn is_office(media: &str) -> bool {
    media.starts_with("application/vnd.openxmlformats-officedocument.")
        || media.starts_with("application/vnd.ms-")
        || media == "application/msword"
}

/// Whether content that was detected as `detected` may carry the declared type. `None`: nothing was recognised.
///
/// Text grammars are checked apart from this: a text that breaks its grammar is a concern of its own.
pub(super) fn agrees(declared: &str, detected: Option<&str>) -> bool {
    let declared = canonical(declared);
    let Some(detected) = detected.map(canonical) else {
        return matches!(shape(declared), Shape::Bytes | Shape::Unknown);
    };
    if declared == detected {
        return true;
    }
    match shape(declared) {
        Shape::Bytes => !RUNNABLE.contains(&detected),
        // What is unknown to the gateway may be text, but nothing that it knows by another name.
        Shape::Unknown => detected == "text/plain",
        Shape::Text(Grammar::Xml) => {
            detected == "application/xml" && !matches!(declared, "image/svg+xml" | "application/xhtml+xml")
        }
        Shape::Text(Grammar::Json | Grammar::JsonLines) => detected == "application/json",
        Shape::Text(Grammar::Html) => false,
        Shape::Text(_) => detected == "text/plain",
        Shape::Signature => match (declared, detected) {
            (declared, ENCRYPTED_OFFICE) => is_office(declared),
            ("image/heic" | "image/heif", "image/heic" | "image/heif") => true,
            ("audio/mp4", "video/mp4") | ("video/ogg", "audio/ogg") | ("audio/ogg", "video/ogg") => true,
            ("video/webm", "video/x-matroska") => false,
            ("font/otf", "font/ttf") => true,
            (declared, "application/zip") => declared.ends_with("+zip") && declared != "application/epub+zip",
            _ => false,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::filetype;

    #[test]
    fn every_type_with_extensions_is_recognised_by_its_content() {
        for (media, _) in filetype::TABLE {
            assert!(!matches!(shape(media), Shape::Unknown), "{media}");
            assert!(!agrees(media, None), "{media} takes content that nobody recognises");
        }
    }

    #[test]
    fn a_declared_type_takes_its_own_content_and_nothing_that_runs() {
        for (declared, detected, expected) in [
            ("text/csv", "text/plain", true),
            ("text/csv", "text/html", false),
            ("text/xml", "application/xml", true),
            ("application/xml", "image/svg+xml", false),
            ("image/svg+xml", "application/xml", false),
            ("image/png", "text/html", false),
            ("image/png", "image/jpeg", false),
            ("application/zip", "application/vnd.oasis.opendocument.text", false),
            ("application/vnd.own+zip", "application/zip", true),
            ("application/octet-stream", "image/png", true),
            ("application/octet-stream", "text/html", false),
            ("application/x-own", "text/plain", true),
            ("application/x-own", "image/png", false),
            ("audio/x-m4a", "video/mp4", true),
            ("application/msword", ENCRYPTED_OFFICE, true),
            ("application/pdf", ENCRYPTED_OFFICE, false),
        ] {
            assert_eq!(agrees(declared, Some(detected)), expected, "{declared} {detected}");
        }
    }
}
