//! `targets.toml`: the buckets and containers, a table for each.
//!
//! Holds no secret: `credentials` names an entry of the server's own configuration. Keys of another provider than the
//! one that is named are refused, so that a container's name cannot hide in an S3 target.

use url::Url;

use crate::domain::ids::TargetName;
use crate::domain::key::Prefix;
use crate::domain::principal::Environment;
use crate::domain::retention::{Retention, RetentionMode};
use crate::domain::target::{ProviderSettings, Target};

use super::classes::residency;
use super::mistake::one_of;
use super::reader::{At, File, Section, Wrong, boolean, choice, read_text, text};
use super::units::parse_days;

const STAGING: &str = "incoming/";
const PROVIDERS: [&str; 3] = ["s3", "azure", "embedded"];

/// A target that could be read, with the places that cross checks name.
#[derive(Debug)]
pub(super) struct FoundTarget {
    pub(super) target: Target,
    /// The table's name.
    pub(super) at: usize,
    /// `staging_prefix`, or the table's name.
    pub(super) staging_at: usize,
}

/// What `targets.toml` says, as far as it could be read.
#[derive(Debug)]
pub(super) struct Targets {
    pub(super) found: Vec<FoundTarget>,
    /// Every target that is named, readable or not.
    pub(super) names: Vec<TargetName>,
    /// False where syntax errors may hide targets.
    pub(super) complete: bool,
}

impl Targets {
    pub(super) fn get(&self, name: &TargetName) -> Option<&Target> {
        self.found.iter().map(|found| &found.target).find(|target| target.name == *name)
    }
}

/// Reads the file.
pub(super) fn read(file: &File<'_>) -> Targets {
    let (mut root, complete) = file.root();
    let mut targets = Targets { found: Vec::new(), names: Vec::new(), complete };
    for (name, section) in root.named_sections() {
        let at = section.at;
        match name.parse::<TargetName>() {
            Ok(name) => {
                targets.names.push(name.clone());
                targets.found.extend(read_target(file, name, section));
            }
            Err(error) => file.mistake(at, format!("a target cannot be named '{name}'"), error.to_string()),
        }
    }
    if targets.names.is_empty() && complete {
        file.mistake(0, "there is no target", "add a table like [images]");
    }
    targets
}

fn read_target(file: &File<'_>, name: TargetName, mut section: Section<'_>) -> Option<FoundTarget> {
    let at = section.at;
    let provider = section.required("provider", "provider = \"s3\"", |value| {
        read_text(value, "put it between quotation marks", |text| match PROVIDERS.contains(&text) {
            true => Ok(text.to_owned()),
            false => Err(one_of("providers", text, &PROVIDERS)),
        })
    });
    let environment =
        section.required("environment", "environment = \"live\"", choice::<Environment>(&["live", "test"]));
    let residency = section.required("residency", "residency = \"eu\"", residency);
    let staging_prefix = section.optional("staging_prefix", text::<Prefix>);
    let staging_bucket = section.optional("staging_bucket", bucket_name);
    let credentials = section.optional("credentials", text::<TargetName>).map(|found| found.value.to_string());
    let retention = section.section("retention").map(|own| (own.at, read_retention(own)));
    let settings = match provider.as_ref()?.value.as_str() {
        "azure" => read_azure(&mut section),
        "embedded" => section
            .required("bucket", "bucket = \"uploads\"", bucket_name)
            .map(|bucket| ProviderSettings::Embedded { bucket: bucket.value }),
        _ => read_s3(&mut section),
    };
    section.finish();
    let staging_at = staging_prefix.as_ref().map_or(at, |found| found.at);
    let staging_prefix = staging_prefix.map_or_else(|| STAGING.parse().ok(), |found| Some(found.value))?;
    if staging_prefix == Prefix::root() && staging_bucket.is_none() {
        let remedy = "write a prefix like \"incoming/\", or give staging a bucket of its own with staging_bucket";
        file.mistake(staging_at, "'staging_prefix' is empty", remedy);
    }
    if let Some((at, _)) = retention
        && staging_bucket
            .as_ref()
            .is_none_or(|staging| settings.as_ref().is_some_and(|own| own.bucket() == staging.value))
    {
        let remedy = "give staging a bucket of its own with staging_bucket; what is staged must be removable";
        file.mistake(at, "a target with [retention] stages where it serves", remedy);
    }
    let target = Target {
        name,
        environment: environment?.value,
        residency: residency?.value.into(),
        staging_prefix,
        staging_bucket: staging_bucket.map(|found| found.value),
        provider: settings?,
        credentials,
        retention: match retention {
            Some((_, retention)) => Some(retention?),
            None => None,
        },
    };
    Some(FoundTarget { target, at, staging_at })
}

fn read_retention(mut section: Section<'_>) -> Option<Retention> {
    let modes = &["governance", "compliance"];
    let mode = section.required("mode", "mode = \"governance\"", choice::<RetentionMode>(modes));
    let days = section.required("period", "period = \"90d\"", |value| {
        read_text(value, "write it in quotes with a unit, for example \"90d\"", |text| match parse_days(text)? {
            days @ 1..=Retention::LONGEST => Ok(days),
            _ => Err(format!("write \"1d\" to \"{}d\"", Retention::LONGEST)),
        })
    });
    section.finish();
    Some(Retention { mode: mode?.value, days: days?.value })
}

fn read_s3(section: &mut Section<'_>) -> Option<ProviderSettings> {
    let bucket = section.required("bucket", "bucket = \"vestibule-images\"", bucket_name);
    let region = section.required("region", "region = \"eu-central-1\"", text::<TargetName>);
    let endpoint = read_endpoint(section);
    let path_style = section.optional("path_style", boolean).is_some_and(|found| found.value);
    Some(ProviderSettings::S3 { bucket: bucket?.value, region: region?.value.to_string(), endpoint, path_style })
}

fn read_azure(section: &mut Section<'_>) -> Option<ProviderSettings> {
    let account = section.required("account", "account = \"examplestorage\"", account_name);
    let container = section.required("container", "container = \"vestibule-clinic\"", container_name);
    let endpoint = read_endpoint(section);
    Some(ProviderSettings::Azure { account: account?.value, container: container?.value, endpoint })
}

fn read_endpoint(section: &mut Section<'_>) -> Option<Url> {
    let endpoint: Option<At<Url>> = section.optional("endpoint", |value| {
        read_text(value, "put it between quotation marks", |text| match text.parse::<Url>() {
            Ok(url) if !url.username().is_empty() || url.password().is_some() => {
                Err("an address holds no user name and no password; see credentials".to_owned())
            }
            Ok(url)
                if matches!(url.scheme(), "http" | "https") && url.query().is_none() && url.fragment().is_none() =>
            {
                Ok(url)
            }
            _ => Err("write an address like \"https://storage.example.com\"".to_owned()),
        })
    });
    endpoint.map(|found| found.value)
}

/// 3 to 63 characters of a-z, 0-9, '-' and '.', with a letter or digit at both ends (Amazon S3 user guide, "General
/// purpose bucket naming rules").
fn bucket_name(value: &toml::de::DeValue<'_>) -> Result<String, Wrong> {
    named(
        value,
        3..=63,
        b"-.",
        "a bucket has 3 to 63 characters of a-z, 0-9, '-' and '.', with a letter or digit at both ends",
    )
}

/// As a bucket, without dots (Azure, "Naming and referencing containers, blobs, and metadata").
fn container_name(value: &toml::de::DeValue<'_>) -> Result<String, Wrong> {
    named(
        value,
        3..=63,
        b"-",
        "a container has 3 to 63 characters of a-z, 0-9 and '-', with a letter or digit at both ends",
    )
}

/// 3 to 24 letters and digits (Azure, "Storage account overview").
fn account_name(value: &toml::de::DeValue<'_>) -> Result<String, Wrong> {
    named(value, 3..=24, b"", "a storage account has 3 to 24 characters of a-z and 0-9")
}

fn named(
    value: &toml::de::DeValue<'_>,
    length: std::ops::RangeInclusive<usize>,
    marks: &[u8],
    rule: &str,
) -> Result<String, Wrong> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    read_text(value, "put it between quotation marks", |text| {
        let mut ends = text.bytes().next().into_iter().chain(text.bytes().next_back());
        if length.contains(&text.len()) && text.bytes().all(|b| plain(b) || marks.contains(&b)) && ends.all(plain) {
            Ok(text.to_owned())
        } else {
            Err(rule.to_owned())
        }
    })
}
