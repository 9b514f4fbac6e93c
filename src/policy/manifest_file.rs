//! Reads `apps/<app>.toml` and checks what one file alone can show.
//!
//! What needs the other files (targets, classes, other apps) is checked in [`super::cross`] on the same draft, so that
//! one pass reports all mistakes of a file, whichever kind they are.

use std::collections::BTreeMap;
use std::time::Duration;

use url::Url;

use crate::domain::content::{ContentRules, Handling};
use crate::domain::grant::UploadMethod;
use crate::domain::ids::{AppName, ClassName, OwnerName, TargetName, WorkflowName};
use crate::domain::key::PrefixTemplate;
use crate::domain::media::MediaType;
use crate::domain::principal::Environment;

use super::classes::values;
use super::conditions::{self, Condition};
use super::exchange_file::{self, Exchange};
use super::four_eyes;
use super::limits_file::{self, AppLimits, Limits};
use super::manifest::{Lines, Manifest, WorkflowRules};
use super::possession::{self, PossessionDemand};
use super::quota_file::{self, Quota};
use super::reader::{At, File, Section, boolean, choice, count, duration, read_text, size, text};
use super::workflows_file;

const UPLOAD_TTL: Duration = Duration::from_secs(300);
const DOWNLOAD_TTL: Duration = Duration::from_secs(120);

/// Types that run scripts in the reader's browser when they are shown in place.
const DANGEROUS_INLINE: [&str; 9] = [
    "text/html",
    "application/xhtml+xml",
    "image/svg+xml",
    "text/xml",
    "application/xml",
    "text/javascript",
    "application/javascript",
    "application/ecmascript",
    "multipart/related",
];

/// A manifest as far as it could be read, with the places that cross checks name.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) app: AppName,
    pub(super) environment: Environment,
    pub(super) target: Option<At<TargetName>>,
    pub(super) test_target: Option<At<TargetName>>,
    pub(super) prefix: Option<At<PrefixTemplate>>,
    pub(super) classifications: Option<At<Vec<At<ClassName>>>>,
    pub(super) default_classification: Option<At<ClassName>>,
    pub(super) upload_ttl: Option<At<Duration>>,
    pub(super) download_ttl: Option<At<Duration>>,
    pub(super) max_size: Option<At<u64>>,
    pub(super) methods: Option<At<Vec<At<UploadMethod>>>>,
    pub(super) owner: Option<At<OwnerName>>,
    pub(super) limits: AppLimits,
    pub(super) types: Option<At<Vec<At<MediaType>>>>,
    pub(super) extensions: Option<Vec<String>>,
    pub(super) max_size_per_type: Vec<(MediaType, u64)>,
    pub(super) allow_empty: bool,
    pub(super) conditions: Vec<Condition>,
    pub(super) workflows: BTreeMap<WorkflowName, WorkflowRules>,
    pub(super) proof_of_possession: Option<At<PossessionDemand>>,
    pub(super) exchange: Option<Exchange>,
    enabled: bool,
    quota: Option<Quota>,
    origins: Vec<String>,
    inline_types: Vec<MediaType>,
    one_time_downloads: bool,
    release_approvals: u8,
    content: ContentRules,
    lines: Vec<(&'static str, u32)>,
}

/// Reads the file of the app `app`.
pub(super) fn read(file: &File<'_>, app: AppName) -> Draft {
    let (mut root, _) = file.root();
    let name = root.required("app", &format!("app = \"{app}\""), text::<AppName>);
    if let Some(name) = name.filter(|name| name.value != app) {
        let remedy = format!("write app = \"{app}\", or name the file apps/{}.toml", name.value);
        file.mistake(name.at, format!("the file is named for '{app}', and 'app' says '{}'", name.value), remedy);
    }
    let owner = root.required("owner", "owner = \"marketing\"", text);
    let environment = root.optional("environment", choice::<Environment>(&["live", "test"]));
    let enabled = root.optional("enabled", boolean).is_none_or(|found| found.value);
    let target = root.required("target", "target = \"images\"", text);
    let test_target = root.optional("test_target", text::<TargetName>);
    let environment = environment.map_or(Environment::Live, |found| found.value);
    if let (Environment::Test, Some(test)) = (environment, &test_target) {
        let remedy = "remove 'test_target'; 'target' is already the one for test tokens";
        file.mistake(test.at, "an app of environment \"test\" has one target", remedy);
    }
    let prefix = root.required("prefix", "prefix = \"uploads/\"", |value| {
        read_text(value, "put it between quotation marks", |text| {
            text.replace("{app}", app.as_str()).parse::<PrefixTemplate>().map_err(|error| error.to_string())
        })
    });
    let types = root.required_list("types", "types = [\"image/jpeg\"]", text::<MediaType>);
    let extensions = root.list("extensions", extension).map(|list| values(list.value));
    let max_size = root.required("max_size", "max_size = \"10 MiB\"", size);
    let allow_empty = root.optional("allow_empty", boolean).is_some_and(|found| found.value);
    let upload_ttl = root.optional("upload_ttl", duration);
    let download_ttl = root.optional("download_ttl", duration);
    let classifications = root.required_list("classifications", "classifications = [\"internal\"]", text::<ClassName>);
    let default_classification = root.optional("default_classification", text::<ClassName>);
    let origins = root.list("origins", origin).map(|list| values(list.value)).unwrap_or_default();
    let conditions = root.list("conditions", text::<String>);
    let methods = root.list("methods", choice::<UploadMethod>(&["PUT", "POST"]));
    let inline = root.list("inline_types", text::<MediaType>);
    let one_time_downloads = root.optional("one_time_downloads", boolean).is_some_and(|found| found.value);
    let proof_of_possession = root.optional(possession::KEY, possession::demand);
    let release_approvals = root.optional(four_eyes::KEY, four_eyes::approvals).map_or(1, |found| found.value);
    let narrower = root.section("max_size_per_type");
    let quota = quota_file::read_app(file, &mut root, max_size.as_ref());
    let limits = limits_file::read_app(file, &mut root);
    let content = read_content(&mut root);
    let workflows = workflows_file::read(file, &mut root, classifications.as_ref());
    let exchange = root.section("exchange").map(|section| exchange_file::read(file, section));
    let lines = root.finish();

    if let Some(methods) = methods.as_ref().filter(|methods| methods.value.is_empty()) {
        file.mistake(methods.at, "'methods' is empty", "write methods = [\"PUT\"], or leave the key out");
    }
    if let Some(conditions) = conditions.as_ref().filter(|conditions| conditions.value.is_empty()) {
        file.mistake(conditions.at, "'conditions' is empty", "write what an upload must be like, or leave the key out");
    }
    check_inline(file, inline.as_ref(), types.as_ref());
    check_default(file, default_classification.as_ref(), classifications.as_ref());
    Draft {
        max_size_per_type: narrower
            .map_or_else(Vec::new, |s| read_narrower(file, s, types.as_ref(), max_size.as_ref())),
        conditions: conditions.map_or_else(Vec::new, |list| conditions::read(file, list.value)),
        workflows,
        exchange,
        inline_types: inline.map(|list| values(list.value)).unwrap_or_default(),
        app,
        environment,
        target,
        test_target,
        prefix,
        classifications,
        default_classification,
        upload_ttl,
        download_ttl,
        max_size,
        methods,
        owner,
        limits,
        enabled,
        types,
        extensions,
        allow_empty,
        quota,
        origins,
        one_time_downloads,
        proof_of_possession,
        release_approvals,
        content,
        lines,
    }
}

impl Draft {
    /// The manifest; `None` where a key that must be there could not be read, which was reported.
    pub(super) fn finish(self, file: &str, bounds: &super::classes::TtlBounds, limits: &Limits) -> Option<Manifest> {
        let target = Some(self.target?.value);
        let (live_target, test_target) = match self.environment {
            Environment::Live => (target, self.test_target.map(|found| found.value)),
            Environment::Test => (None, target),
        };
        let classifications = values(self.classifications?.value);
        let only = (classifications.len() == 1).then(|| classifications[0].clone());
        let ttl = |found: Option<At<Duration>>, usual: Duration, bounds: super::classes::Bounds| {
            found.map_or_else(|| usual.clamp(bounds.min, bounds.max), |found| found.value)
        };
        let types = values(self.types?.value);
        let owner = self.owner?.value;
        let quota = self.quota?;
        let exchange = match self.exchange {
            Some(exchange) => Some(exchange.finish()?),
            None => None,
        };
        let lines = self.lines.into_iter().chain(quota.lines).collect();
        Some(Manifest {
            app: self.app,
            limits: limits.of(&self.limits, &owner),
            owner,
            enabled: self.enabled,
            live_target,
            test_target,
            prefix: self.prefix?.value,
            extensions: self.extensions,
            max_size: self.max_size?.value,
            max_size_per_type: self.max_size_per_type,
            allow_empty: self.allow_empty,
            upload_ttl: ttl(self.upload_ttl, UPLOAD_TTL, bounds.upload),
            download_ttl: ttl(self.download_ttl, DOWNLOAD_TTL, bounds.download),
            quota: quota.limits,
            classifications,
            default_classification: self.default_classification.map(|found| found.value).or(only),
            origins: self.origins,
            methods: self.methods.map_or_else(|| vec![UploadMethod::Put], |found| values(found.value)),
            inline_types: self.inline_types,
            one_time_downloads: self.one_time_downloads,
            proof_of_possession: self.proof_of_possession.map(|found| found.value),
            release_approvals: self.release_approvals,
            content: ContentRules { types: types.clone(), ..self.content },
            types,
            conditions: self.conditions,
            workflows: self.workflows,
            exchange,
            lines: Lines::new(file, lines),
        })
    }
}

fn read_content(root: &mut Section<'_>) -> ContentRules {
    let mut rules = ContentRules {
        types: Vec::new(),
        active_content: Handling::Reject,
        encrypted: Handling::Reject,
        max_unpacked_bytes: 1 << 30,
        max_entries: 10_000,
        max_ratio: 100,
    };
    if let Some(mut section) = root.section("content") {
        let handling = || choice::<Handling>(&["reject", "hold", "allow"]);
        let active = section.optional("active_content", handling());
        let encrypted = section.optional("encrypted", handling());
        rules.active_content = active.map_or(rules.active_content, |found| found.value);
        rules.encrypted = encrypted.map_or(rules.encrypted, |found| found.value);
        rules.max_unpacked_bytes = section.optional("max_unpacked", size).map_or(rules.max_unpacked_bytes, |f| f.value);
        rules.max_entries = section.optional("max_entries", count).map_or(rules.max_entries, |f| f.value);
        rules.max_ratio = section.optional("max_ratio", count).map_or(rules.max_ratio, |f| f.value);
        section.finish();
    }
    rules
}

fn read_narrower(
    file: &File<'_>,
    mut section: Section<'_>,
    types: Option<&At<Vec<At<MediaType>>>>,
    max_size: Option<&At<u64>>,
) -> Vec<(MediaType, u64)> {
    let mut limits = Vec::new();
    for (key, limit) in section.named_values(size) {
        let Ok(media) = key.value.parse::<MediaType>() else {
            file.mistake(key.at, format!("'{}' is no content type", key.value), "write one of 'types' in quotes");
            continue;
        };
        if types.is_some_and(|types| types.value.iter().all(|own| own.value != media)) {
            file.mistake(key.at, format!("'{media}' is not in 'types'"), "add it there or remove this line");
        }
        if max_size.is_some_and(|max_size| limit.value > max_size.value) {
            file.mistake(
                limit.at,
                format!("the limit of '{media}' is above 'max_size'"),
                "lower it or raise 'max_size'",
            );
        }
        limits.push((media, limit.value));
    }
    limits
}

fn check_inline(file: &File<'_>, inline: Option<&At<Vec<At<MediaType>>>>, types: Option<&At<Vec<At<MediaType>>>>) {
    for media in inline.iter().flat_map(|list| &list.value) {
        if DANGEROUS_INLINE.contains(&media.value.as_str()) {
            let problem = format!("'inline_types' cannot hold '{}', which can carry scripts", media.value);
            file.mistake(media.at, problem, "remove it; such files are always downloaded as attachments");
        } else if types.is_some_and(|types| types.value.iter().all(|own| own.value != media.value)) {
            let problem = format!("'inline_types' holds '{}', which is not in 'types'", media.value);
            file.mistake(media.at, problem, "add it to 'types' or remove it here");
        }
    }
}

fn check_default(file: &File<'_>, default: Option<&At<ClassName>>, classes: Option<&At<Vec<At<ClassName>>>>) {
    if let (Some(default), Some(classes)) = (default, classes)
        && classes.value.iter().all(|class| class.value != default.value)
    {
        let names: Vec<&str> = classes.value.iter().map(|class| class.value.as_str()).collect();
        let problem = format!("'default_classification' is '{}', which is not in 'classifications'", default.value);
        file.mistake(default.at, problem, format!("choose one of: {}", names.join(", ")));
    }
}

/// An extension without its dot, in lower case.
fn extension(value: &toml::de::DeValue<'_>) -> Result<String, super::reader::Wrong> {
    read_text(value, "put it between quotation marks", plain_extension)
}

/// An extension as it is written everywhere.
pub(super) fn plain_extension(text: &str) -> Result<String, String> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    if (1..=16).contains(&text.len()) && text.bytes().all(plain) {
        Ok(text.to_owned())
    } else {
        Err("an extension is written without its dot, in lower case, for example \"jpg\"".to_owned())
    }
}

/// A web origin as browsers send it (RFC 6454): https, or http on the machine itself.
fn origin(value: &toml::de::DeValue<'_>) -> Result<String, super::reader::Wrong> {
    read_text(value, "put it between quotation marks", |text| {
        let url = text.parse::<Url>().ok().filter(|url| url.origin().ascii_serialization() == text);
        let local = |url: &Url| matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
        match url {
            Some(url) if url.scheme() == "https" || (url.scheme() == "http" && local(&url)) => Ok(text.to_owned()),
            Some(_) => Err("an origin uses https; http is for localhost alone".to_owned()),
            None => {
                Err("an origin is scheme and host without a path, for example \"https://app.example.com\"".to_owned())
            }
        }
    })
}
