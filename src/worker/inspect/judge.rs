//! From what was seen to a finding: the order of the checks, and the app's rules. Pure.
//!
//! Malware comes first, so that an infected file of the wrong type is reported infected. Then what is certain about the
//! bytes (length, digest), then type and content, and last what nobody could judge. Clean is what is left when every
//! check has passed; it is never a default.

use super::Declared;
use super::concern::{Concern, Content};
use super::reply::Reply;
use super::types::{Grammar, Shape, agrees, shape};
use crate::domain::bytes::Sha256Digest;
use crate::domain::content::Handling;
use crate::domain::filetype;
use crate::domain::refusal::Reason;
use crate::domain::verdict::Finding;

/// What one pass over the bytes told.
#[derive(Debug)]
pub(super) struct Seen {
    /// Bytes read; more than declared means that reading stopped there.
    pub(super) size: u64,
    pub(super) sha256: Sha256Digest,
    pub(super) content: Content,
    pub(super) reply: Reply,
}

/// What follows.
pub(super) fn judge(declared: &Declared<'_>, seen: &Seen) -> Finding {
    if let Reply::Infected(signature) = &seen.reply {
        return Finding::Infected { signature: signature.clone() };
    }
    bytes(declared, seen)
        .or_else(|| types(declared, &seen.content))
        .or_else(|| concerns(declared, &seen.content))
        .or_else(|| scanner(declared, &seen.reply))
        .unwrap_or(Finding::Clean)
}

fn rejected(reason: Reason, detail: impl Into<String>) -> Option<Finding> {
    Some(Finding::Rejected { reason, detail: detail.into() })
}

fn held(detail: impl Into<String>) -> Option<Finding> {
    Some(Finding::CannotBeJudged { detail: detail.into() })
}

fn bytes(declared: &Declared<'_>, seen: &Seen) -> Option<Finding> {
    let size = declared.size;
    if seen.size > size {
        return rejected(
            Reason::SizeMismatch,
            format!("The upload is longer than the {size} bytes that were declared."),
        );
    }
    if seen.size < size {
        let read = seen.size;
        return rejected(Reason::SizeMismatch, format!("The upload has {read} bytes, but {size} were declared."));
    }
    match declared.sha256 {
        Some(expected) if *expected != seen.sha256 => {
            let found = seen.sha256;
            rejected(Reason::ChecksumMismatch, format!("The upload's SHA-256 is {found}, but {expected} was declared."))
        }
        _ => None,
    }
}

fn types(declared: &Declared<'_>, content: &Content) -> Option<Finding> {
    let media = declared.content_type;
    if !declared.rules.types.contains(media) {
        return rejected(Reason::TypeMismatch, format!("The type {media} is not allowed for this app."));
    }
    let extension = declared.filename.extension().unwrap_or_default();
    if !filetype::extension_fits(&extension, media) {
        let known = filetype::known_extensions(media).join(", ");
        let detail = format!("A file of type {media} is not named .{extension}; use one of: {known}.");
        return rejected(Reason::TypeMismatch, detail);
    }
    // A text that breaks its own format: say how, rather than that it is plain text.
    if let (Shape::Text(_), Some("text/plain"), Some(Concern::Malformed(detail))) =
        (shape(media.as_str()), content.detected, content.concerns.first())
    {
        return rejected(Reason::TypeMismatch, detail.clone());
    }
    if agrees(media.as_str(), content.detected) {
        return None;
    }
    // A document with macros under the name of one without: the macros are the point.
    if is_with_macros(content.detected) && media.as_str().starts_with("application/vnd.openxmlformats-") {
        let detail = "The document holds macros, but was declared as one without.";
        match declared.rules.active_content {
            Handling::Reject => return rejected(Reason::ActiveContent, detail),
            Handling::Hold => return held(detail),
            Handling::Allow => {}
        }
    }
    let expected = match shape(media.as_str()) {
        Shape::Text(Grammar::Json | Grammar::JsonLines) => "JSON".to_owned(),
        _ => media.to_string(),
    };
    let detail = match content.detected {
        Some(detected) => format!("The file was declared as {media}, but its content is {detected}."),
        None => format!("The file was declared as {media}, but its content is not {expected}."),
    };
    rejected(Reason::TypeMismatch, detail)
}

fn is_with_macros(detected: Option<&str>) -> bool {
    detected.is_some_and(|media| media.contains("macroenabled"))
}

fn concerns(declared: &Declared<'_>, content: &Content) -> Option<Finding> {
    let judged = |concern: &Concern| match concern {
        Concern::Unsafe(detail) => rejected(Reason::ArchiveUnsafe, detail),
        Concern::Malformed(detail) => rejected(Reason::TypeMismatch, detail),
        Concern::Encrypted(detail) => handled(declared.rules.encrypted, Reason::ArchiveEncrypted, detail),
        Concern::Active(detail) => handled(declared.rules.active_content, Reason::ActiveContent, detail),
        Concern::Opaque(detail) => held(detail),
    };
    let findings: Vec<Finding> = content.concerns.iter().filter_map(judged).collect();
    // A certain rejection comes before a doubt.
    let first_rejected = findings.iter().find(|finding| matches!(finding, Finding::Rejected { .. }));
    first_rejected.or(findings.first()).cloned()
}

fn handled(handling: Handling, reason: Reason, detail: &str) -> Option<Finding> {
    match handling {
        Handling::Reject => rejected(reason, detail),
        Handling::Hold => held(detail),
        Handling::Allow => None,
    }
}

fn scanner(declared: &Declared<'_>, reply: &Reply) -> Option<Finding> {
    match reply {
        Reply::Clean => None,
        Reply::Infected(signature) => Some(Finding::Infected { signature: signature.clone() }),
        Reply::LimitReached(name) => held(format!("The scanner reached one of its limits ({name}).")),
        Reply::TooLarge => held("The file is larger than the scanner takes."),
        // clamd tells of encryption only after it has found nothing else (`HeuristicScanPrecedence no`).
        Reply::Encrypted(name) => handled(
            declared.rules.encrypted,
            Reason::ArchiveEncrypted,
            &format!("The file, or a part of it, is protected by a password ({name})."),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::bytes::StoredBytes;
    use crate::domain::content::ContentRules;
    use crate::domain::filename::Filename;
    use crate::domain::media::MediaType;

    struct Case {
        staged: StoredBytes,
        content_type: MediaType,
        filename: Filename,
        sha256: Option<Sha256Digest>,
        rules: ContentRules,
    }

    fn case(content_type: &str, filename: &str) -> Case {
        let content_type: MediaType = content_type.parse().unwrap();
        let rules = ContentRules {
            types: vec![content_type.clone()],
            active_content: Handling::Reject,
            encrypted: Handling::Reject,
            max_unpacked_bytes: 1 << 30,
            max_entries: 100,
            max_ratio: 100,
        };
        let staged = StoredBytes { etag: "\"e\"".into(), version: None, size: 10 };
        Case { staged, content_type, filename: Filename::sanitise(filename).unwrap(), sha256: None, rules }
    }

    impl Case {
        fn find(&self, size: u64, content: Content, reply: Reply) -> Finding {
            let declared = Declared {
                staged: &self.staged,
                size: 10,
                content_type: &self.content_type,
                filename: &self.filename,
                sha256: self.sha256.as_ref(),
                rules: &self.rules,
            };
            judge(&declared, &Seen { size, sha256: Sha256Digest([1; 32]), content, reply })
        }
    }

    fn reason(finding: &Finding) -> Option<Reason> {
        match finding {
            Finding::Rejected { reason, .. } => Some(*reason),
            _ => None,
        }
    }

    #[test]
    fn what_passes_every_check_is_clean() {
        assert_eq!(case("image/png", "a.png").find(10, Content::of("image/png"), Reply::Clean), Finding::Clean);
    }

    #[test]
    fn malware_wins_over_every_other_finding() {
        let mut case = case("image/png", "a.exe");
        case.sha256 = Some(Sha256Digest([2; 32]));
        let found = case.find(99, Content::default(), Reply::Infected("X".into()));
        assert_eq!(found, Finding::Infected { signature: "X".into() });
    }

    #[test]
    fn length_digest_name_and_type_are_each_checked() {
        let png = || Content::of("image/png");
        let mut one = case("image/png", "a.png");
        assert_eq!(reason(&one.find(9, png(), Reply::Clean)), Some(Reason::SizeMismatch));
        assert_eq!(reason(&one.find(11, png(), Reply::Clean)), Some(Reason::SizeMismatch));
        assert_eq!(reason(&one.find(10, Content::of("text/html"), Reply::Clean)), Some(Reason::TypeMismatch));
        assert_eq!(reason(&one.find(10, Content::default(), Reply::Clean)), Some(Reason::TypeMismatch));
        one.sha256 = Some(Sha256Digest([2; 32]));
        assert_eq!(reason(&one.find(10, png(), Reply::Clean)), Some(Reason::ChecksumMismatch));
        assert_eq!(reason(&case("image/png", "a.html").find(10, png(), Reply::Clean)), Some(Reason::TypeMismatch));
        let mut unlisted = case("image/png", "a.png");
        unlisted.rules.types.clear();
        assert_eq!(reason(&unlisted.find(10, png(), Reply::Clean)), Some(Reason::TypeMismatch));
    }

    #[test]
    fn the_apps_rules_decide_on_macros_and_passwords() {
        let concern = |concern: Concern| Content::of("application/zip").with(Some(concern));
        let mut one = case("application/zip", "a.zip");
        for (handling, expected) in
            [(Handling::Reject, "rejected"), (Handling::Hold, "cannotBeJudged"), (Handling::Allow, "clean")]
        {
            (one.rules.encrypted, one.rules.active_content) = (handling, handling);
            for content in [concern(Concern::Encrypted("x".into())), concern(Concern::Active("x".into()))] {
                assert_eq!(one.find(10, content, Reply::Clean).as_str(), expected);
            }
            let reply = Reply::Encrypted("Heuristics.Encrypted.Zip".into());
            assert_eq!(one.find(10, Content::of("application/zip"), reply).as_str(), expected);
        }
        let both = concern(Concern::Opaque("x".into())).with(Some(Concern::Unsafe("y".into())));
        assert_eq!(reason(&one.find(10, both, Reply::Clean)), Some(Reason::ArchiveUnsafe));
    }

    #[test]
    fn a_document_with_macros_under_another_name_is_told_as_such() {
        let docx = "application/vnd.openxmlformats-officedocument.wordprocessingml.document";
        let docm = || Content::of("application/vnd.ms-word.document.macroenabled.12");
        let mut one = case(docx, "a.docx");
        assert_eq!(reason(&one.find(10, docm(), Reply::Clean)), Some(Reason::ActiveContent));
        one.rules.active_content = Handling::Allow;
        assert_eq!(reason(&one.find(10, docm(), Reply::Clean)), Some(Reason::TypeMismatch));
    }

    #[test]
    fn what_the_scanner_could_not_finish_is_held() {
        let one = case("image/png", "a.png");
        for reply in [Reply::TooLarge, Reply::LimitReached("Heuristics.Limits.Exceeded.MaxFileSize".into())] {
            assert_eq!(one.find(10, Content::of("image/png"), reply).as_str(), "cannotBeJudged");
        }
    }
}
