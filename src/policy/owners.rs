//! Reads `owners.toml`: the teams that answer for apps, where their data may lie, and what all their apps together may use.
//!
//! The file need not be there, and neither need an owner's table: then nothing but the manifests' own quotas holds. An
//! owner here that no manifest names is a mistake, because a slip would limit nobody.

use std::collections::BTreeMap;

use crate::domain::ids::OwnerName;
use crate::domain::quota::{QuotaKind, Quotas};

use super::classes::residency;
use super::manifest::Lines;
use super::manifest_file::Draft;
use super::mistake::one_of;
use super::quota_file::{self, Quota};
use super::reader::File;

/// A team that answers for apps: the tenant.
#[derive(Clone, Debug)]
pub struct Owner {
    /// Its name, as manifests write it.
    pub name: OwnerName,
    /// Where its data may reside, for example `eu`; the residency of regulated data must be the same.
    pub region: Option<String>,
    /// What all its apps together may use.
    pub quota: Quotas,
    lines: Lines,
}

impl Owner {
    /// The rule behind a quota, for example `owners.toml:4 quota.bytes`.
    pub fn rule(&self, kind: QuotaKind) -> String {
        self.lines.rule(kind.path())
    }

    /// The rule behind its region.
    pub fn region_rule(&self) -> String {
        self.lines.rule("region")
    }
}

/// What `owners.toml` says.
#[derive(Debug, Default)]
pub(super) struct Owners {
    found: Vec<(Owner, Quota, usize)>,
}

/// Reads the file.
pub(super) fn read(file: &File<'_>) -> Owners {
    let (mut root, _) = file.root();
    let mut owners = Owners::default();
    for (name, mut section) in root.named_sections() {
        let at = section.at;
        let region = section.optional("region", residency).map(|found| found.value);
        let quota = section.section("quota").map(quota_file::read_owner).unwrap_or_default();
        let mut lines = section.finish();
        lines.extend(&quota.lines);
        match name.parse::<OwnerName>() {
            Ok(name) => {
                let owner = Owner { name, region, quota: quota.limits, lines: Lines::new(file.name, lines) };
                owners.found.push((owner, quota, at));
            }
            Err(error) => file.mistake(at, format!("an owner cannot be named '{name}'"), error.to_string()),
        }
    }
    root.finish();
    owners
}

impl Owners {
    /// Every owner here must be that of some app, and must have room for one file of each of its apps.
    pub(super) fn check(&self, file: &File<'_>, apps: &[(&File<'_>, Draft)]) {
        // An owner that could not be read was reported; it may be the one that is missed here.
        let names: Option<Vec<&str>> = apps.iter().map(|(_, app)| Some(app.owner.as_ref()?.value.as_str())).collect();
        for (owner, quota, at) in &self.found {
            let own = |app: &Draft| app.owner.as_ref().is_some_and(|name| name.value == owner.name);
            if let Some(names) = names.as_ref().filter(|names| !names.contains(&owner.name.as_str())) {
                let remedy = one_of("owners of apps", owner.name.as_str(), names);
                file.mistake(*at, format!("no app has the owner '{}'", owner.name), remedy);
            }
            let sizes = apps.iter().filter_map(|(_, app)| Some((app.max_size.as_ref()?.value, app)));
            let largest = sizes.filter(|(_, app)| own(app)).max_by_key(|(size, _)| *size);
            if let Some((largest, app)) = largest {
                quota.check(file, largest, &format!("'max_size' of app '{}'", app.app));
            }
        }
    }

    /// The region of an owner, where one is written.
    pub(super) fn region(&self, name: &OwnerName) -> Option<&str> {
        self.found.iter().find(|(owner, ..)| owner.name == *name)?.0.region.as_deref()
    }

    /// By name.
    pub(super) fn into_map(self) -> BTreeMap<OwnerName, Owner> {
        self.found.into_iter().map(|(owner, ..)| (owner.name.clone(), owner)).collect()
    }
}
