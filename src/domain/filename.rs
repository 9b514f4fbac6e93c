//! File names as people send them, made safe to be the last segment of a key.
//!
//! Normalised to NFC, stripped of control characters, separators, bidirectional overrides and leading dots, without the
//! characters that providers or connectors trip over (`+`, `%`, `?`, `#` and the like), and bounded in length with the
//! extension kept. The original is kept beside the object as data and never used to build a key.

use std::fmt;

use serde::{Deserialize, Serialize};
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

/// A sanitised file name: 1 to 120 bytes of UTF-8, safe as a key segment and in a `Content-Disposition` header.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Filename(String);

/// Why a file name cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FilenameError {
    /// More than [`Filename::MAX_ORIGINAL`] bytes were sent.
    #[error("a file name has at most 1,024 bytes")]
    TooLong,
    /// Nothing was left after unsafe characters were removed.
    #[error("a file name needs at least one letter or digit")]
    Empty,
}

impl Filename {
    /// Longest sanitised name in bytes: three such segments and a prefix still fit a 1,024-byte key.
    pub const MAX: usize = 120;
    /// Longest original name in bytes that is looked at.
    pub const MAX_ORIGINAL: usize = 1024;

    /// Makes a safe name from what the client sent.
    ///
    /// # Errors
    /// [`FilenameError`] when the name is longer than 1,024 bytes, or holds no letter and no digit.
    pub fn sanitise(original: &str) -> Result<Self, FilenameError> {
        if original.len() > Self::MAX_ORIGINAL {
            return Err(FilenameError::TooLong);
        }
        let cleaned: String = match is_nfc_quick(original.chars()) {
            IsNormalized::Yes => original.chars().filter_map(safe).collect(),
            _ => original.nfc().filter_map(safe).collect(),
        };
        let trimmed = cleaned.trim_start_matches(['.', ' ', '-', '_']).trim_end_matches(['.', ' ']);
        if !trimmed.chars().any(char::is_alphanumeric) {
            return Err(FilenameError::Empty);
        }
        Ok(Self(bounded(trimmed)))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What stands after the last dot, in lower case; `None` without a dot.
    pub fn extension(&self) -> Option<String> {
        self.0.rsplit_once('.').map(|(_, extension)| extension.to_lowercase())
    }
}

/// The character itself, a replacement, or nothing.
fn safe(c: char) -> Option<char> {
    match c {
        '/' | '\\' => Some('_'),
        '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' => None,
        c if c.is_control() => None,
        c if c.is_whitespace() => Some(' '),
        c if c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | '(' | ')' | ',' | '\u{300}'..='\u{36f}') => Some(c),
        _ => Some('_'),
    }
}

/// At most [`Filename::MAX`] bytes, cut before the extension on a character boundary.
fn bounded(name: &str) -> String {
    if name.len() <= Filename::MAX {
        return name.to_owned();
    }
    let (stem, extension) = match name.rsplit_once('.') {
        Some((stem, extension)) if extension.len() <= 16 && !extension.is_empty() => (stem, Some(extension)),
        _ => (name, None),
    };
    let room = Filename::MAX - extension.map_or(0, |extension| extension.len() + 1);
    let end = (0..=room.min(stem.len())).rev().find(|&i| stem.is_char_boundary(i)).unwrap_or(0);
    let stem = stem[..end].trim_end_matches(['.', ' ']);
    extension.map_or_else(|| stem.to_owned(), |extension| format!("{stem}.{extension}"))
}

impl TryFrom<String> for Filename {
    type Error = FilenameError;

    fn try_from(text: String) -> Result<Self, FilenameError> {
        Self::sanitise(&text)
    }
}

impl From<Filename> for String {
    fn from(name: Filename) -> Self {
        name.0
    }
}

impl fmt::Display for Filename {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Filename {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(original: &str) -> String {
        Filename::sanitise(original).unwrap().0
    }

    #[test]
    fn separators_overrides_and_leading_dots_go() {
        assert_eq!(name("../../etc/passwd"), "etc_passwd");
        assert_eq!(name("a\u{202e}gpj.exe"), "agpj.exe");
        assert_eq!(name(".htaccess"), "htaccess");
        assert_eq!(name("a\r\nb\0.txt"), "ab.txt");
        assert_eq!(name("50% + tax?#.csv"), "50_ _ tax__.csv");
        assert_eq!(name("C:\\menu.jpg"), "C__menu.jpg");
    }

    #[test]
    fn unicode_is_normalised_and_kept() {
        assert_eq!(name("cafe\u{301}.jpg"), "café.jpg");
        assert_eq!(name("菜单.png"), "菜单.png");
    }

    #[test]
    fn long_names_keep_their_extension() {
        let long = name(&format!("{}.jpeg", "é".repeat(200)));
        assert!(long.len() <= Filename::MAX && long.ends_with(".jpeg"), "{long}");
    }

    #[test]
    fn empty_and_huge_names_are_refused() {
        assert_eq!(Filename::sanitise(" .. "), Err(FilenameError::Empty));
        assert_eq!(Filename::sanitise(&"a".repeat(1025)), Err(FilenameError::TooLong));
    }

    proptest::proptest! {
        #[test]
        fn sanitising_twice_changes_nothing(original in "\\PC{0,80}") {
            if let Ok(once) = Filename::sanitise(&original) {
                proptest::prop_assert_eq!(Filename::sanitise(once.as_str()).unwrap(), once.clone());
                proptest::prop_assert!(once.as_str().len() <= Filename::MAX);
                proptest::prop_assert!(!once.as_str().contains(['/', '\\', '%', '+', '?', '#']));
            }
        }
    }
}
