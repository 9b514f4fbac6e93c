//! The single rules of an upload, one function each.
//!
//! Each returns nothing or a refusal that says to a citizen developer what was wrong, what is allowed and what to do
//! next, and to the audit trail which line of which file decided.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::domain::filename::Filename;
use crate::domain::filetype::{extension_fits, known_extensions};
use crate::domain::grant::UploadMethod;
use crate::domain::ids::{ClassName, ObjectId};
use crate::domain::key::{MAX_KEY, Prefix};
use crate::domain::media::MediaType;
use crate::domain::principal::Principal;
use crate::domain::refusal::{Reason, Refusal};
use crate::domain::target::Target;

use super::bodies::unknown_basis;
use super::classes::LAWFUL_BASES;
use super::units::show_size;
use super::{Classification, Manifest, PolicySet};

/// Most key-value pairs of a request.
pub const MAX_METADATA_PAIRS: usize = 16;
/// Most bytes of all keys and values together; S3 takes 2 KB of user metadata (Amazon S3 user guide, "Working with
/// object metadata").
pub const MAX_METADATA_BYTES: usize = 2048;
/// Keys that begin so are the gateway's own.
const RESERVED: &str = "vestibule-";

/// The app's prefix for this principal.
pub(super) fn home(app: &Manifest, who: &Principal, now: Timestamp) -> Result<Prefix, Refusal> {
    app.prefix.render(who, now).map_err(|error| {
        let detail = format!("app '{}' has no place for this token: {error}; ask your platform team", app.app);
        Refusal::new(Reason::PathNotAllowed, detail)
            .allowed([format!("/{}", app.prefix.as_str())])
            .rule(app.rule("prefix"))
    })
}

pub(super) fn path(
    app: &Manifest,
    target: &Target,
    home: &Prefix,
    path: &Prefix,
    filename: &Filename,
) -> Result<(), Refusal> {
    if !home.contains(path) {
        let detail = format!(
            "the path '/{path}' lies outside '/{home}', where app '{}' keeps its files; leave the path out, or begin it \
             with '/{home}'",
            app.app
        );
        return Err(Refusal::new(Reason::PathNotAllowed, detail)
            .allowed([format!("/{home}")])
            .rule(app.rule("prefix")));
    }
    let id = ObjectId::PREFIX.len() + 32;
    let others = target.staging_prefix.as_str().len() + id + 1 + filename.as_str().len();
    if path.as_str().len() + others > MAX_KEY {
        let room = MAX_KEY.saturating_sub(others);
        let detail =
            format!("the path is longer than the {room} bytes that this file name leaves; shorten one of them");
        return Err(Refusal::new(Reason::InvalidPath, detail).limit(room as u64).rule("key length"));
    }
    Ok(())
}

/// The app takes the type, and so does the class, where that is known by now.
pub(super) fn content_type(
    app: &Manifest,
    class: Option<&Classification>,
    content_type: &MediaType,
) -> Result<(), Refusal> {
    let taken = class.is_none_or(|class| class.takes(content_type));
    if app.types.contains(content_type) && taken {
        return Ok(());
    }
    let fitting = || app.types.iter().filter(|media| class.is_none_or(|class| class.takes(media)));
    let allowed = || fitting().map(MediaType::as_str);
    let (of, rule) = match class.filter(|_| app.types.contains(content_type)) {
        Some(class) => (format!(" of '{}' data", class.name), class.lines.rule("types")),
        None => (String::new(), app.rule("types")),
    };
    let detail =
        format!("app '{}' does not take files of type {content_type}{of}; it takes {}", app.app, join(allowed()));
    Err(Refusal::new(Reason::TypeNotAllowed, detail).allowed(allowed()).rule(rule))
}

pub(super) fn extension(app: &Manifest, filename: &Filename, content_type: &MediaType) -> Result<(), Refusal> {
    let extension = filename.extension().unwrap_or_default();
    if !extension_fits(&extension, content_type) {
        let known = known_extensions(content_type);
        let detail = format!(
            "the file name '{filename}' ends in .{extension}, and files of type {content_type} end in {}; rename the file \
             or correct contentType",
            join(known.iter().copied())
        );
        return Err(Refusal::new(Reason::ExtensionMismatch, detail)
            .allowed(known.iter().copied())
            .rule(app.rule("types")));
    }
    match &app.extensions {
        Some(own) if !own.contains(&extension) => {
            let detail = format!(
                "app '{}' takes file names that end in {} only, not '{filename}'; rename the file",
                app.app,
                join(own.iter().map(String::as_str))
            );
            Err(Refusal::new(Reason::ExtensionMismatch, detail)
                .allowed(own.iter().cloned())
                .rule(app.rule("extensions")))
        }
        _ => Ok(()),
    }
}

/// The size is within the narrower of what the app takes and what its class allows, where that is known by now.
pub(super) fn size(
    app: &Manifest,
    class: Option<&Classification>,
    size: u64,
    content_type: &MediaType,
) -> Result<(), Refusal> {
    let own = app.max_size_of(content_type);
    let narrower = class.and_then(|class| Some((class, class.max_size?))).filter(|(_, most)| *most < own);
    let limit = narrower.map_or(own, |(_, most)| most);
    if size > limit {
        let key = if own < app.max_size { "max_size_per_type" } else { "max_size" };
        let rule = narrower.map_or_else(|| app.rule(key), |(class, _)| class.lines.rule("max_size"));
        let of = narrower.map_or_else(String::new, |(class, _)| format!(" of '{}' data", class.name));
        let detail = format!(
            "the file has {size} bytes ({}), and app '{}' takes {content_type} files{of} of up to {limit} bytes ({}); \
             send a smaller file",
            show_size(size),
            app.app,
            show_size(limit)
        );
        return Err(Refusal::new(Reason::SizeNotAllowed, detail).limit(limit).rule(rule));
    }
    if size == 0 && !app.allow_empty {
        let detail =
            format!("the file is empty, and app '{}' takes files of 1 to {limit} bytes; check the export", app.app);
        return Err(Refusal::new(Reason::SizeNotAllowed, detail).limit(limit).rule(app.rule("allow_empty")));
    }
    Ok(())
}

pub(super) fn classification<'s>(
    set: &'s PolicySet,
    app: &Manifest,
    asked: Option<&ClassName>,
) -> Result<&'s Classification, Refusal> {
    let name = asked.or(app.default_classification.as_ref());
    let class = name.filter(|name| app.classifications.contains(name)).and_then(|name| set.class(name));
    class.ok_or_else(|| {
        let allowed = || app.classifications.iter().map(ClassName::as_str);
        let detail = match name {
            Some(name) => format!("app '{}' may not store '{name}' data; use {}", app.app, join(allowed())),
            None => {
                format!("app '{}' needs a classification in each request; send one of {}", app.app, join(allowed()))
            }
        };
        Refusal::new(Reason::ClassificationNotAllowed, detail).allowed(allowed()).rule(app.rule("classifications"))
    })
}

pub(super) fn lawful_basis(class: &Classification, asked: Option<&str>) -> Result<(), Refusal> {
    let accepted = |basis: &str| class.lawful_basis.iter().any(|own| own == basis);
    match asked {
        None if class.lawful_basis.is_empty() => Ok(()),
        Some(basis) if accepted(basis) || (class.lawful_basis.is_empty() && LAWFUL_BASES.contains(&basis)) => Ok(()),
        Some(_) if class.lawful_basis.is_empty() => Err(unknown_basis()),
        asked => {
            let allowed = || class.lawful_basis.iter().map(String::as_str);
            let wrong = if asked.is_some() { "another one was sent" } else { "none was sent" };
            let detail = format!(
                "'{}' data needs a lawful basis (GDPR Article 6), and {wrong}; send lawfulBasis with one of {}",
                class.name,
                join(allowed())
            );
            let rule = class.lines.rule("lawful_basis");
            Err(Refusal::new(Reason::LawfulBasisRequired, detail).allowed(allowed()).rule(rule))
        }
    }
}

pub(super) fn residency(class: &Classification, target: &Target) -> Result<(), Refusal> {
    if class.may_reside_in(&target.residency) {
        return Ok(());
    }
    let allowed = || class.residency.iter().map(String::as_str);
    let detail = format!(
        "'{}' data must stay in {}, and this app's files lie in {}; use another classification, or ask your platform team \
         for a target there",
        class.name,
        join(allowed()),
        target.residency
    );
    let rule = class.lines.rule("residency");
    Err(Refusal::new(Reason::ResidencyMismatch, detail).allowed(allowed()).rule(rule))
}

pub(super) fn method(app: &Manifest, asked: UploadMethod, signable: &[UploadMethod]) -> Result<(), Refusal> {
    if app.methods.contains(&asked) && signable.contains(&asked) {
        return Ok(());
    }
    let allowed = || app.methods.iter().filter(|own| signable.contains(own)).map(|own| own.as_str());
    let why = if app.methods.contains(&asked) {
        "its storage cannot enforce the limits of such uploads"
    } else {
        "its manifest does not allow it"
    };
    let detail =
        format!("app '{}' cannot upload with method {}: {why}; use {}", app.app, asked.as_str(), join(allowed()));
    Err(Refusal::new(Reason::MethodNotSupported, detail).allowed(allowed()).rule(app.rule("methods")))
}

/// Bounds of the app's own key-value pairs: they become headers at the storage, so names are lower-case and values plain
/// ASCII. Values are not repeated in the refusal; they may be personal data.
pub(super) fn metadata(pairs: &BTreeMap<String, String>) -> Result<(), Refusal> {
    let refuse = |detail: String, limit: Option<usize>| {
        let refusal = Refusal::new(Reason::InvalidField, detail).rule("metadata bounds");
        Err(limit.map_or(refusal.clone(), |limit| refusal.limit(limit as u64)))
    };
    if pairs.len() > MAX_METADATA_PAIRS {
        let count = pairs.len();
        let detail = format!("metadata has {count} entries, and {MAX_METADATA_PAIRS} are allowed; send fewer");
        return refuse(detail, Some(MAX_METADATA_PAIRS));
    }
    let mut total = 0;
    for (key, value) in pairs {
        total += key.len() + value.len();
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if key.is_empty() || !key.bytes().all(plain) || key.starts_with(RESERVED) {
            let shown: String = key.chars().take(40).filter(|c| !c.is_control()).collect();
            let detail = format!(
                "the metadata name '{shown}' cannot be used; use a-z, 0-9 and '-', and do not begin it with '{RESERVED}'"
            );
            return refuse(detail, None);
        }
        if !value.bytes().all(|b| b == b' ' || b.is_ascii_graphic()) {
            let detail = format!(
                "the metadata value of '{key}' holds a character that storages do not keep; use letters without accents, \
                 digits, spaces and punctuation"
            );
            return refuse(detail, None);
        }
    }
    if total > MAX_METADATA_BYTES {
        let detail = format!("metadata has {total} bytes, and {MAX_METADATA_BYTES} are allowed; shorten it");
        return refuse(detail, Some(MAX_METADATA_BYTES));
    }
    Ok(())
}

fn join<'t>(words: impl Iterator<Item = &'t str>) -> String {
    words.collect::<Vec<_>>().join(", ")
}
