//! Which file name extensions belong to which media type.
//!
//! One table, as data: policy asks it before a URL is minted, inspection asks it again about the stored record. It is a
//! statement about names only; what the bytes are is decided in `worker::inspect`. A type that is not in the table has
//! no opinion on extensions. Sources: the IANA media type registry, and the MDN list of common types for the aliases
//! that browsers really send (`application/x-zip-compressed`, `audio/x-wav`).
//!
//! Deliberately absent: guessing a type from an extension. The client declares, the bytes decide.

use super::media::MediaType;

/// One row: a media type and the extensions that its files have, lower case, the usual one first.
pub type Row = (&'static str, &'static [&'static str]);

/// The table, sorted by media type.
pub const TABLE: &[Row] = &[
    ("application/csv", &["csv"]),
    ("application/epub+zip", &["epub"]),
    ("application/geo+json", &["geojson", "json"]),
    ("application/gzip", &["gz", "tgz"]),
    ("application/json", &["json"]),
    ("application/ld+json", &["jsonld", "json"]),
    ("application/msword", &["doc", "dot"]),
    ("application/pdf", &["pdf"]),
    ("application/rtf", &["rtf"]),
    ("application/vnd.apache.parquet", &["parquet"]),
    ("application/vnd.ms-excel", &["xls", "xlt"]),
    ("application/vnd.ms-excel.sheet.macroenabled.12", &["xlsm"]),
    ("application/vnd.ms-excel.template.macroenabled.12", &["xltm"]),
    ("application/vnd.ms-outlook", &["msg"]),
    ("application/vnd.ms-powerpoint", &["ppt", "pps", "pot"]),
    ("application/vnd.ms-powerpoint.presentation.macroenabled.12", &["pptm"]),
    ("application/vnd.ms-word.document.macroenabled.12", &["docm"]),
    ("application/vnd.ms-word.template.macroenabled.12", &["dotm"]),
    ("application/vnd.oasis.opendocument.presentation", &["odp"]),
    ("application/vnd.oasis.opendocument.spreadsheet", &["ods"]),
    ("application/vnd.oasis.opendocument.text", &["odt"]),
    ("application/vnd.openxmlformats-officedocument.presentationml.presentation", &["pptx"]),
    ("application/vnd.openxmlformats-officedocument.presentationml.slideshow", &["ppsx"]),
    ("application/vnd.openxmlformats-officedocument.presentationml.template", &["potx"]),
    ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", &["xlsx"]),
    ("application/vnd.openxmlformats-officedocument.spreadsheetml.template", &["xltx"]),
    ("application/vnd.openxmlformats-officedocument.wordprocessingml.document", &["docx"]),
    ("application/vnd.openxmlformats-officedocument.wordprocessingml.template", &["dotx"]),
    ("application/vnd.rar", &["rar"]),
    ("application/x-7z-compressed", &["7z"]),
    ("application/x-bzip2", &["bz2", "tbz2"]),
    ("application/x-gzip", &["gz", "tgz"]),
    ("application/x-ndjson", &["ndjson", "jsonl"]),
    ("application/x-rar-compressed", &["rar"]),
    ("application/x-tar", &["tar"]),
    ("application/x-xz", &["xz", "txz"]),
    ("application/x-zip-compressed", &["zip"]),
    ("application/xhtml+xml", &["xhtml", "xht"]),
    ("application/xml", &["xml", "xsd"]),
    ("application/yaml", &["yaml", "yml"]),
    ("application/zip", &["zip"]),
    ("application/zstd", &["zst"]),
    ("audio/aac", &["aac"]),
    ("audio/flac", &["flac"]),
    ("audio/mp4", &["m4a", "mp4"]),
    ("audio/mpeg", &["mp3", "mpga"]),
    ("audio/ogg", &["ogg", "oga", "opus"]),
    ("audio/wav", &["wav"]),
    ("audio/x-m4a", &["m4a"]),
    ("audio/x-wav", &["wav"]),
    ("font/otf", &["otf"]),
    ("font/ttf", &["ttf"]),
    ("font/woff", &["woff"]),
    ("font/woff2", &["woff2"]),
    ("image/avif", &["avif"]),
    ("image/bmp", &["bmp", "dib"]),
    ("image/gif", &["gif"]),
    ("image/heic", &["heic"]),
    ("image/heif", &["heif", "hif", "heic"]),
    ("image/jpeg", &["jpg", "jpeg", "jpe", "jfif"]),
    ("image/png", &["png"]),
    ("image/svg+xml", &["svg"]),
    ("image/tiff", &["tif", "tiff"]),
    ("image/vnd.microsoft.icon", &["ico"]),
    ("image/webp", &["webp"]),
    ("image/x-icon", &["ico"]),
    ("text/calendar", &["ics"]),
    ("text/csv", &["csv"]),
    ("text/html", &["html", "htm"]),
    ("text/markdown", &["md", "markdown"]),
    ("text/plain", &["txt", "text", "log", "md", "csv", "tsv", "ini", "conf", "yaml", "yml"]),
    ("text/rtf", &["rtf"]),
    ("text/tab-separated-values", &["tsv", "tab"]),
    ("text/vcard", &["vcf"]),
    ("text/xml", &["xml", "xsd"]),
    ("text/yaml", &["yaml", "yml"]),
    ("video/mp4", &["mp4", "m4v"]),
    ("video/mpeg", &["mpg", "mpeg"]),
    ("video/ogg", &["ogv"]),
    ("video/quicktime", &["mov", "qt"]),
    ("video/webm", &["webm"]),
    ("video/x-matroska", &["mkv"]),
    ("video/x-msvideo", &["avi"]),
];

/// The extensions of a type, lower case, the usual one first; empty for a type that is not in the table.
pub fn known_extensions(declared: &MediaType) -> &'static [&'static str] {
    match TABLE.binary_search_by(|(media, _)| media.cmp(&declared.as_str())) {
        Ok(index) => TABLE[index].1,
        Err(_) => &[],
    }
}

/// Whether a file name with this extension (without the dot, any case) may carry content of the declared type.
///
/// A type that is not in the table fits every extension, and an empty extension claims nothing and so contradicts
/// nothing.
pub fn extension_fits(extension: &str, declared: &MediaType) -> bool {
    let known = known_extensions(declared);
    known.is_empty() || extension.is_empty() || known.iter().any(|known| known.eq_ignore_ascii_case(extension))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn media(text: &str) -> MediaType {
        text.parse().unwrap()
    }

    #[test]
    fn the_table_is_sorted_lower_case_and_made_of_media_types() {
        assert!(TABLE.windows(2).all(|pair| pair[0].0 < pair[1].0));
        for (name, extensions) in TABLE {
            assert_eq!(media(name).as_str(), *name);
            assert!(!extensions.is_empty(), "{name}");
            assert!(
                extensions.iter().all(|e| e.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())),
                "{name}"
            );
        }
    }

    #[test]
    fn an_extension_fits_its_own_type_only() {
        for (extension, declared) in
            [("jpg", "image/jpeg"), ("JPEG", "image/jpeg"), ("csv", "text/csv"), ("svg", "image/svg+xml")]
        {
            assert!(extension_fits(extension, &media(declared)), "{extension} {declared}");
        }
        for (extension, declared) in
            [("exe", "image/jpeg"), ("html", "image/png"), ("docm", "application/pdf"), ("html", "text/plain")]
        {
            assert!(!extension_fits(extension, &media(declared)), "{extension} {declared}");
        }
        let docx = media("application/vnd.openxmlformats-officedocument.wordprocessingml.document");
        assert!(extension_fits("docx", &docx) && !extension_fits("docm", &docx));
    }

    #[test]
    fn unknown_types_and_names_without_an_extension_have_no_opinion() {
        assert!(extension_fits("xyz", &media("application/x-own")));
        assert!(known_extensions(&media("application/x-own")).is_empty());
        assert!(extension_fits("", &media("image/png")));
    }
}
