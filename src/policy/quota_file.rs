//! `[quota]` of a manifest and of an owner: the same five keys.
//!
//! A manifest must bound what is stored; everything else may be left out, and then there is no such quota. A quota that
//! is smaller than one file of the app would refuse that file for ever, so it is a mistake.

use crate::domain::quota::{QuotaKind, Quotas};

use super::reader::{At, File, Section, count, size};
use super::units::show_size;

/// The quotas of one table, with their places.
#[derive(Debug, Default)]
pub(super) struct Quota {
    pub(super) limits: Quotas,
    /// The lines of the keys, by [`QuotaKind::path`].
    pub(super) lines: Vec<(&'static str, u32)>,
    places: Vec<(QuotaKind, usize)>,
}

/// Reads the `[quota]` of a manifest, which must bound what is stored.
pub(super) fn read_app(file: &File<'_>, root: &mut Section<'_>, max_size: Option<&At<u64>>) -> Option<Quota> {
    let mut section = root.required_section("quota", "[quota] with bytes = \"50 GiB\" and objects = 100000")?;
    let bytes = section.required(QuotaKind::BytesStored.key(), "bytes = \"50 GiB\"", size);
    let objects = section.required(QuotaKind::ObjectsStored.key(), "objects = 100000", count);
    let quota = read_others(section, bytes, objects);
    if let Some(max_size) = max_size {
        quota.check(file, max_size.value, "'max_size'");
    }
    let there = |kind| quota.limits.of(kind).is_some();
    (there(QuotaKind::BytesStored) && there(QuotaKind::ObjectsStored)).then_some(quota)
}

/// Reads the `[<owner>.quota]` of `owners.toml`, of which nothing must be there.
pub(super) fn read_owner(mut section: Section<'_>) -> Quota {
    let bytes = section.optional(QuotaKind::BytesStored.key(), size);
    let objects = section.optional(QuotaKind::ObjectsStored.key(), count);
    read_others(section, bytes, objects)
}

fn read_others(mut section: Section<'_>, bytes: Option<At<u64>>, objects: Option<At<u64>>) -> Quota {
    let mut quota = Quota::default();
    for kind in QuotaKind::ALL {
        let found = match kind {
            QuotaKind::BytesStored => bytes.clone(),
            QuotaKind::ObjectsStored => objects.clone(),
            QuotaKind::BytesDay | QuotaKind::DownloadBytesMonth => section.optional(kind.key(), size),
            QuotaKind::UploadsHour => section.optional(kind.key(), count),
        };
        if let Some(found) = found {
            quota.limits = quota.limits.with(kind, found.value);
            quota.places.push((kind, found.at));
        }
    }
    let kind_of = |key: &str| QuotaKind::ALL.into_iter().find(|kind| kind.key() == key);
    quota.lines = section.finish().into_iter().filter_map(|(key, line)| Some((kind_of(key)?.path(), line))).collect();
    quota
}

impl Quota {
    /// No quota may be less than one file of `largest` bytes; `what` says where that size stands.
    pub(super) fn check(&self, file: &File<'_>, largest: u64, what: &str) {
        for (kind, at) in &self.places {
            let Some(limit) = self.limits.of(*kind).filter(|limit| kind.unit() == "bytes" && *limit < largest) else {
                continue;
            };
            let problem = format!("the quota of {} is less than one file of {}", show_size(limit), show_size(largest));
            file.mistake(*at, problem, format!("raise '{}' in [quota] or lower {what}", kind.key()));
        }
    }
}
