//! `classifications.toml`: what each data class demands, and the bounds of every URL's life.
//!
//! A table per class, one named `ttl` and one named `roles`. The bounds hold for all apps; they may narrow the outer ones of
//! this file (uploads 2 to 15 minutes, downloads 60 seconds to 5 minutes), never widen them: a URL lives for minutes. A
//! class that is regulated must say for whom, on which grounds and where; what leaves that open is no class.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::domain::ids::{ClassName, RoleName};
use crate::domain::media::MediaType;

use super::exchange_file::TOKEN_TTL;
use super::four_eyes;
use super::manifest::Lines;
use super::mistake::one_of;
use super::possession::{self, PossessionDemand};
use super::reader::{At, File, Section, boolean, duration, read_text, size, text};
use super::units::show_duration;

/// The legal grounds of GDPR Article 6(1), in the article's order.
pub const LAWFUL_BASES: [&str; 6] =
    ["consent", "contract", "legal-obligation", "vital-interests", "public-task", "legitimate-interests"];

/// The word in a class's `residency` that admits every place.
pub const ANYWHERE: &str = "any";

/// The name under which data is regulated in every set; a class that is called so must say so.
const REGULATED: &str = "regulated";

/// What a data class demands.
#[derive(Clone, Debug)]
pub struct Classification {
    /// Its name.
    pub name: ClassName,
    /// Whether only authorised workflows may handle it, for authorised people, in the region of the app's owner.
    pub regulated: bool,
    /// The roles of which the person behind a request has one; empty where nobody needs to be known.
    pub roles: Vec<RoleName>,
    /// Largest upload in bytes.
    pub max_size: Option<u64>,
    /// The types that it may have; all where absent.
    pub types: Option<Vec<MediaType>>,
    /// Where such data may lie, for example `eu`; `any` for everywhere.
    pub residency: Vec<String>,
    /// The lawful bases of which a request must name one; empty where none is asked for.
    pub lawful_basis: Vec<String>,
    /// Which engine scans it. `clamav` is the only one today.
    pub scanner: String,
    /// Longest life of an upload URL.
    pub max_upload_ttl: Option<Duration>,
    /// Longest life of a download URL.
    pub max_download_ttl: Option<Duration>,
    /// Longest life of a token that a person gets of an app with such data.
    pub max_token_ttl: Option<Duration>,
    /// Whether every download is a one-time link.
    pub one_time_downloads: bool,
    /// The proof of possession that every request about such data must bring; none where absent.
    pub proof_of_possession: Option<PossessionDemand>,
    /// How many different reviewers must agree before a held object is released.
    pub release_approvals: u8,
    pub(super) lines: Lines,
}

impl Classification {
    /// Whether data of this class may lie in `residency`.
    pub fn may_reside_in(&self, residency: &str) -> bool {
        self.residency.iter().any(|own| own == residency || own == ANYWHERE)
    }

    /// Whether data of this class may have this type.
    pub fn takes(&self, media: &MediaType) -> bool {
        self.types.as_ref().is_none_or(|types| types.contains(media))
    }
}

/// A shortest and a longest life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Not shorter than this.
    pub min: Duration,
    /// Not longer than this.
    pub max: Duration,
}

impl Bounds {
    /// Whether `ttl` lies within.
    pub fn admit(&self, ttl: Duration) -> bool {
        (self.min..=self.max).contains(&ttl)
    }

    /// The bounds in words.
    pub(super) fn words(&self) -> String {
        format!("{} to {}", show_duration(self.min), show_duration(self.max))
    }
}

/// The bounds that hold for every URL of every app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TtlBounds {
    /// Of upload URLs.
    pub upload: Bounds,
    /// Of download URLs.
    pub download: Bounds,
}

impl TtlBounds {
    /// The widest bounds that a policy directory may set, and those that hold where it sets none.
    pub const OUTER: TtlBounds = TtlBounds {
        upload: Bounds { min: Duration::from_secs(120), max: Duration::from_secs(900) },
        download: Bounds { min: Duration::from_secs(60), max: Duration::from_secs(300) },
    };
}

/// What `classifications.toml` says, as far as it could be read.
#[derive(Debug)]
pub(super) struct Classes {
    /// The classes that could be read.
    pub(super) classes: BTreeMap<ClassName, Classification>,
    /// Every class that is named, readable or not.
    pub(super) names: Vec<ClassName>,
    pub(super) ttl: TtlBounds,
    /// The roles that people may have, and what each means.
    pub(super) roles: BTreeMap<RoleName, String>,
    /// False where syntax errors may hide classes.
    pub(super) complete: bool,
}

/// Reads the file.
pub(super) fn read(file: &File<'_>) -> Classes {
    let (mut root, complete) = file.root();
    let ttl = root.section("ttl").map_or(TtlBounds::OUTER, |section| read_bounds(file, section));
    let roles = root.section("roles").map_or_else(BTreeMap::new, |section| read_roles(file, section));
    let mut found = Classes { classes: BTreeMap::new(), names: Vec::new(), ttl, roles, complete };
    for (name, section) in root.named_sections() {
        let at = section.at;
        match name.parse::<ClassName>() {
            Ok(name) => {
                found.names.push(name.clone());
                if let Some(class) = read_class(file, name.clone(), section, &found) {
                    found.classes.insert(name, class);
                }
            }
            Err(error) => file.mistake(at, format!("a class cannot be named '{name}'"), error.to_string()),
        }
    }
    if found.names.is_empty() && complete {
        file.mistake(0, "there is no class", "add a table like [internal]");
    }
    found
}

fn read_bounds(file: &File<'_>, mut section: Section<'_>) -> TtlBounds {
    let mut one = |min_key, max_key, outer: Bounds| {
        let mut limit = |key, fallback| {
            let Some(found) = section.optional(key, duration) else { return (fallback, section.at) };
            if outer.admit(found.value) {
                return (found.value, found.at);
            }
            let problem = format!("'{key}' cannot be {}", show_duration(found.value));
            file.mistake(found.at, problem, format!("choose a value from {}", outer.words()));
            (fallback, found.at)
        };
        let ((min, _), (max, at)) = (limit(min_key, outer.min), limit(max_key, outer.max));
        if min > max {
            file.mistake(at, format!("'{max_key}' is less than '{min_key}'"), "swap them or widen one");
            return outer;
        }
        Bounds { min, max }
    };
    let upload = one("upload_min", "upload_max", TtlBounds::OUTER.upload);
    let download = one("download_min", "download_max", TtlBounds::OUTER.download);
    section.finish();
    TtlBounds { upload, download }
}

/// `[roles]`: a name and what it means, for whoever gives roles to people.
fn read_roles(file: &File<'_>, mut section: Section<'_>) -> BTreeMap<RoleName, String> {
    let meaning = |value: &toml::de::DeValue<'_>| {
        read_text(value, "say in quotes what people of this role do", |text| match text.trim() {
            "" => Err("say what people of this role do".to_owned()),
            text => Ok(text.to_owned()),
        })
    };
    let mut roles = BTreeMap::new();
    for (name, meaning) in section.named_values(meaning) {
        match name.value.parse::<RoleName>() {
            Ok(role) => {
                roles.insert(role, meaning.value);
            }
            Err(error) => file.mistake(name.at, format!("a role cannot be named '{}'", name.value), error.to_string()),
        }
    }
    roles
}

fn read_class(file: &File<'_>, name: ClassName, mut section: Section<'_>, found: &Classes) -> Option<Classification> {
    let at = section.at;
    let ttl = &found.ttl;
    let regulated = section.optional("regulated", boolean).is_some_and(|found| found.value);
    if name.as_str() == REGULATED && !regulated {
        file.mistake(at, "the class 'regulated' is not", "add regulated = true, or give it another name");
    }
    let roles = section.list("roles", text::<RoleName>);
    for role in roles.iter().flat_map(|list| &list.value).filter(|role| !found.roles.contains_key(&role.value)) {
        let names: Vec<&str> = found.roles.keys().map(RoleName::as_str).collect();
        let remedy = one_of("roles of the table [roles]", role.value.as_str(), &names);
        file.mistake(role.at, format!("unknown role '{}'", role.value), remedy);
    }
    let max_size = section.optional("max_size", size).map(|found| found.value);
    let types = section.list("types", text::<MediaType>);
    if let Some(list) = types.as_ref().filter(|list| list.value.is_empty()) {
        file.mistake(list.at, "'types' is empty", "name the types, or leave the key out for all");
    }
    let residency = section.required_list("residency", "residency = [\"eu\"] or residency = [\"any\"]", residency);
    let lawful_basis = section.list("lawful_basis", |value| {
        read_text(value, "put it between quotation marks", |text| match LAWFUL_BASES.contains(&text) {
            true => Ok(text.to_owned()),
            false => Err(one_of("the lawful bases of GDPR Article 6", text, &LAWFUL_BASES)),
        })
    });
    if let Some(list) = lawful_basis.as_ref().filter(|list| list.value.is_empty()) {
        file.mistake(list.at, "'lawful_basis' is empty", "name the accepted ones, or leave the key out");
    }
    let scanner = section.required("scanner", "scanner = \"clamav\"", |value| {
        read_text(value, "put it between quotation marks", |text| match text {
            "clamav" => Ok(text.to_owned()),
            _ => Err("the only scanner is \"clamav\"; nothing becomes visible unscanned".to_owned()),
        })
    });
    let mut longest = |key, bounds: &Bounds| {
        let found = section.optional(key, duration)?;
        within(file, key, &found, bounds);
        Some(found.value)
    };
    let max_upload_ttl = longest("max_upload_ttl", &ttl.upload);
    let max_download_ttl = longest("max_download_ttl", &ttl.download);
    let max_token_ttl = longest("max_token_ttl", &TOKEN_TTL);
    let one_time_downloads = section.optional("one_time_downloads", boolean).is_some_and(|found| found.value);
    let proof_of_possession = section.optional(possession::KEY, possession::demand).map(|found| found.value);
    let release_approvals = section.optional(four_eyes::KEY, four_eyes::approvals).map_or(1, |found| found.value);
    if regulated {
        check_regulated(file, at, &name, roles.as_ref(), residency.as_ref(), lawful_basis.is_some());
    }
    let lines = Lines::new(file.name, section.finish());
    Some(Classification {
        name,
        regulated,
        roles: roles.map(|list| values(list.value)).unwrap_or_default(),
        max_size,
        types: types.map(|list| values(list.value)),
        residency: values(residency?.value),
        lawful_basis: lawful_basis.map(|list| values(list.value)).unwrap_or_default(),
        scanner: scanner?.value,
        max_upload_ttl,
        max_download_ttl,
        max_token_ttl,
        one_time_downloads,
        proof_of_possession,
        release_approvals,
        lines,
    })
}

/// What a regulated class may not leave open. An empty `lawful_basis` was reported already.
fn check_regulated(
    file: &File<'_>,
    at: usize,
    name: &ClassName,
    roles: Option<&At<Vec<At<RoleName>>>>,
    residency: Option<&At<Vec<At<String>>>>,
    has_basis: bool,
) {
    if roles.is_none_or(|list| list.value.is_empty()) {
        let problem = format!("'{name}' is regulated and names no roles");
        let remedy =
            "add for example roles = [\"clinician\"], and clinician = \"Treats patients\" to the table [roles]";
        file.mistake(roles.map_or(at, |list| list.at), problem, remedy);
    }
    if !has_basis {
        let remedy = "add for example lawful_basis = [\"consent\"]";
        file.mistake(at, format!("'{name}' is regulated and asks for no lawful basis"), remedy);
    }
    if let Some(place) = residency.iter().flat_map(|list| &list.value).find(|place| place.value == ANYWHERE) {
        let problem = format!("'{name}' is regulated and may lie anywhere");
        file.mistake(place.at, problem, "name the places, for example residency = [\"eu\"]");
    }
}

/// Reports a life outside the bounds that hold for all.
pub(super) fn within(file: &File<'_>, key: &str, ttl: &At<Duration>, bounds: &Bounds) {
    if !bounds.admit(ttl.value) {
        let problem = format!("'{key}' cannot be {}", show_duration(ttl.value));
        let remedy = format!("[ttl] in classifications.toml and the gateway allow {}", bounds.words());
        file.mistake(ttl.at, problem, remedy);
    }
}

/// A residency: a short name like `eu`.
pub(super) fn residency(value: &toml::de::DeValue<'_>) -> Result<String, super::reader::Wrong> {
    // A residency has the form of every other name; there is no closed list of places.
    text::<ClassName>(value).map(|name| name.to_string())
}

/// The values without their places.
pub(super) fn values<T>(list: Vec<At<T>>) -> Vec<T> {
    list.into_iter().map(|item| item.value).collect()
}
