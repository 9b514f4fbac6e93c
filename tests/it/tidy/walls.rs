//! What may be named only behind certain walls: foreign crates, the making of permits, the text of signed URLs.
//!
//! A crate that is in one place can be replaced there. A permit that only a decision makes cannot be forgotten. A signed
//! URL whose text is taken out in three known places does not end up in a log.

use super::{File, files, none};

/// The start of a foreign path, and where in `src/` it may be.
const CRATES: [(&str, &[&str]); 16] = [
    ("actix_", &["http/", "startup/"]),
    ("utoipa", &["http/", "app/view.rs", "app/health.rs", "policy/bodies.rs"]),
    ("clap::", &["cli/"]),
    ("rusqlite", &["store/"]),
    ("sqlx", &["store/"]),
    ("redis::", &["limits/"]),
    ("aws_config", &["storage/", "worker/events/"]),
    ("aws_credential_types", &["storage/", "worker/events/"]),
    ("aws_sdk_", &["storage/", "worker/events/"]),
    ("aws_smithy_", &["storage/", "worker/events/"]),
    ("azure_core", &["storage/", "worker/events/"]),
    ("azure_identity", &["storage/", "worker/events/"]),
    ("azure_storage_", &["storage/", "worker/events/"]),
    ("s3s::", &["storage/embedded/"]),
    ("hyper", &["storage/embedded/"]),
    ("prometheus", &["http/", "startup/", "telemetry/"]),
];

/// The text of code, and the files that may hold it.
const WORDS: [(&str, &[&str]); 4] = [
    ("UploadPermit {", &["domain/grant.rs", "policy/decide.rs"]),
    // The one narrowing: a redirect link's URL lives shorter than the permit says. Nothing else may change.
    ("DownloadPermit {", &["domain/grant.rs", "policy/decide.rs", "app/follow_link.rs"]),
    ("into_exposed(", &["storage/signed_url.rs", "http/answer.rs", "http/public/links.rs"]),
    (".url.expose(", &[]),
];

fn sources() -> Vec<File> {
    files(&["src"]).into_iter().filter(|file| file.path.ends_with(".rs")).collect()
}

fn beyond(file: &File, allowed: &[&str]) -> bool {
    let inner = file.path.strip_prefix("src/").unwrap_or(&file.path);
    !allowed.iter().any(|wall| inner.starts_with(wall))
}

#[test]
fn foreign_crates_stay_behind_their_walls() {
    let mut findings = Vec::new();
    for file in sources() {
        for (line, code) in file.code() {
            for (name, allowed) in CRATES {
                if beyond(&file, allowed) && names(code, name) {
                    findings.push(format!("{}:{line}: {name} only in {allowed:?}", file.path));
                }
            }
        }
    }
    none("a foreign crate has one home", findings);
}

#[test]
fn permits_are_made_and_signed_urls_are_read_in_known_places_only() {
    let mut findings = Vec::new();
    for file in sources() {
        for (line, code) in file.code() {
            for (word, allowed) in WORDS {
                if code.contains(word) && !code.contains(&format!("-> {word}")) && beyond(&file, allowed) {
                    findings.push(format!("{}:{line}: '{word}' only in {allowed:?}", file.path));
                }
            }
        }
    }
    none("authority is a value with one source", findings);
}

#[test]
fn a_redirect_narrows_its_permit_and_changes_nothing_else() {
    let text = std::fs::read_to_string(super::root().join("src/app/follow_link.rs")).unwrap();
    let at = text.find("DownloadPermit {").unwrap();
    let made = &text[at..at + text[at..].find('}').unwrap()];
    assert!(made.starts_with("DownloadPermit { ttl: permit.ttl.min("), "{made}");
    assert!(made.ends_with(", ..permit "), "{made}");
    assert!(!made["DownloadPermit { ttl: ".len()..made.len() - ", ..permit ".len()].contains(": "), "{made}");
}

/// Whether this code has a path that starts with the name: `name…::` at the start of a path.
fn names(code: &str, name: &str) -> bool {
    code.match_indices(name).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let rest = code[at..].trim_start_matches(|letter: char| letter.is_alphanumeric() || letter == '_');
        let starts = before.is_none_or(|letter| !(letter.is_alphanumeric() || matches!(letter, '_' | ':' | '.' | '"')));
        starts && (rest.starts_with("::") || rest.starts_with(';') && code.trim_start().starts_with("use "))
    })
}
