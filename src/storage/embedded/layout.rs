//! Where an object's file lies: keys to paths, one to one.
//!
//! A key is cut at `/`; each segment becomes a name of lower-case letters, digits and `-_.=@`, every other byte as `%XX`,
//! so that no key can climb out of its directory or differ from another by case or Unicode form alone. The last two
//! characters of a name say what it is: `%o` an object, `%t` its tags, `%l` its lock, `%d` a directory, `%c` a segment that
//! goes on below (a file system allows 255 bytes in a name, S3 allows 1,024 in a segment). An object `a` and a directory
//! `a/` can therefore stand beside each other, as S3 allows.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Longest piece of an encoded segment; with its suffix well below 255 bytes.
const PIECE: usize = 200;

/// The file of an object's bytes.
pub(super) fn object(bucket: &Path, key: &str) -> PathBuf {
    place(bucket, key, "%o")
}

/// The file of the tags that were set after the object was written.
pub(super) fn tags(bucket: &Path, key: &str) -> PathBuf {
    place(bucket, key, "%t")
}

/// The file of the lock that was put on the object.
pub(super) fn lock(bucket: &Path, key: &str) -> PathBuf {
    place(bucket, key, "%l")
}

fn place(bucket: &Path, key: &str, suffix: &str) -> PathBuf {
    let mut path = bucket.to_path_buf();
    let mut segments = key.split('/').peekable();
    while let Some(segment) = segments.next() {
        let suffix = if segments.peek().is_some() { "%d" } else { suffix };
        let mut rest = encode(segment);
        while rest.len() > PIECE {
            let below = rest.split_off(PIECE);
            path.push(rest + "%c");
            rest = below;
        }
        path.push(rest + suffix);
    }
    path
}

fn encode(segment: &str) -> String {
    let mut name = String::with_capacity(segment.len() + 2);
    for byte in segment.bytes() {
        if byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.=@".contains(&byte) {
            name.push(char::from(byte));
        } else {
            name.push_str(&format!("%{byte:02X}"));
        }
    }
    name
}

fn decode(name: &str) -> Option<String> {
    percent_encoding::percent_decode_str(name).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

/// Calls `visit` with the keys of a bucket in the order of their bytes (UTF-8), as S3 lists them, until it returns `false`.
/// Only directories that can hold keys with `prefix` and after `after` are read.
///
/// # Errors
/// What the file system answers; a directory that vanished meanwhile is empty.
pub(super) fn walk(
    bucket: &Path,
    prefix: &str,
    after: Option<&str>,
    visit: &mut dyn FnMut(String, &Path) -> io::Result<bool>,
) -> io::Result<()> {
    descend(bucket, "", prefix, after, visit).map(|_| ())
}

fn descend(
    directory: &Path,
    base: &str,
    prefix: &str,
    after: Option<&str>,
    visit: &mut dyn FnMut(String, &Path) -> io::Result<bool>,
) -> io::Result<bool> {
    let mut entries = Vec::new();
    gather(directory, "", &mut entries)?;
    // A directory sorts with its `/`, so that what lies in it stands where its keys belong.
    let mut entries: Vec<(String, PathBuf)> = entries
        .into_iter()
        .filter_map(|(name, path)| {
            let (encoded, suffix) = name.split_at_checked(name.len().checked_sub(2)?)?;
            let end = if suffix == "%d" { "/" } else { "" };
            Some((format!("{base}{}{end}", decode(encoded)?), path))
        })
        .collect();
    entries.sort();
    for (key, path) in entries {
        let more = if key.ends_with('/') && path.as_os_str().as_encoded_bytes().ends_with(b"%d") {
            let wanted = key.starts_with(prefix) || prefix.starts_with(&key);
            let passed = after.is_some_and(|after| after > key.as_str() && !after.starts_with(&key));
            !wanted || passed || descend(&path, &key, prefix, after, visit)?
        } else {
            let wanted = key.starts_with(prefix) && after.is_none_or(|after| key.as_str() > after);
            !wanted || visit(key, &path)?
        };
        if !more {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Objects and directories of one logical directory, with the pieces of long names put together.
fn gather(directory: &Path, start: &str, entries: &mut Vec<(String, PathBuf)>) -> io::Result<()> {
    let read = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        read => read?,
    };
    for entry in read {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if let Some(piece) = name.strip_suffix("%c") {
            gather(&entry.path(), &format!("{start}{piece}"), entries)?;
        } else if name.ends_with("%o") || name.ends_with("%d") {
            entries.push((format!("{start}{name}"), entry.path()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(key: &str) -> String {
        object(Path::new("b"), key).to_str().unwrap().to_owned()
    }

    #[test]
    fn keys_become_names_that_stay_inside() {
        assert_eq!(text("a/b.jpg"), "b/a%d/b.jpg%o");
        assert_eq!(text("../../etc"), "b/..%d/..%d/etc%o");
        assert_eq!(text("/a//"), "b/%d/a%d/%d/%o");
        assert_eq!(text("A%2F\u{e9}\0"), "b/%41%252%46%C3%A9%00%o");
    }

    #[test]
    fn long_segments_are_cut_into_names_that_fit() {
        for key in ["x".repeat(1024), "\u{e9}".repeat(512)] {
            let path = text(&key);
            assert!(path.split('/').all(|name| name.len() <= 255), "{path}");
        }
    }

    proptest::proptest! {
        #[test]
        fn walking_finds_every_key_in_byte_order(
            keys in proptest::collection::btree_set("[a/.B\u{e9} ]{1,12}|x{190,210}", 1..12),
            after in "[a/.]{0,4}",
            prefix in "[a/.]{0,2}",
        ) {
            let dir = tempfile::tempdir().unwrap();
            for key in &keys {
                let path = object(dir.path(), key);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, b"").unwrap();
            }
            let mut found = Vec::new();
            walk(dir.path(), &prefix, Some(&after), &mut |key, _| { found.push(key); Ok(true) }).unwrap();
            let expected: Vec<_> =
                keys.into_iter().filter(|key| key.starts_with(&prefix) && *key > after).collect();
            proptest::prop_assert_eq!(found, expected);
        }
    }
}
