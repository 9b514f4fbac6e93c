//! Policy: what an app may do, decided from plain files.
//!
//! [`PolicySet::load`] reads a directory (`targets.toml`, `classifications.toml`, `limits.toml`, `owners.toml`,
//! `access.toml`, `apps/*.toml`) whole or not at all;
//! [`decide`] compares a request with the set and answers with a permit or a refusal that names the rule. Deciding does no
//! I/O and reads no clock. The manifests decide as plain data, and Cedar has the last word (decision 0020). [`Policies`]
//! holds the running set and replaces it as a whole; a directory with a mistake never replaces anything. Absent on
//! purpose: quotas and rate limits as counters (the store's).

mod access;
pub mod bodies;
pub mod cases;
mod cedar;
mod check;
mod class_check;
mod classes;
mod conditions;
mod cross;
pub mod decide;
mod exchange;
mod exchange_file;
mod four_eyes;
mod last_word;
mod limits_file;
mod load;
mod manifest;
mod manifest_file;
mod mistake;
mod owners;
mod possession;
mod quota_file;
mod reader;
mod regulated;
mod request;
mod targets;
mod units;
mod upload_rules;
mod workflows_file;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::domain::bytes::Sha256Digest;
use crate::domain::ids::{AppName, ClassName, OwnerName, RoleName, TargetName};
use crate::domain::limits::RateLimits;
use crate::domain::principal::{Environment, Principal};
use crate::domain::target::Target;

pub use access::{AccessRules, Automatic};
pub use cedar::SCHEMA as CEDAR_SCHEMA;
pub use check::{CheckReport, check};
pub use classes::{ANYWHERE, Bounds, Classification, LAWFUL_BASES, TtlBounds};
pub use decide::{
    content_rules, decide_download, decide_limits, decide_list, decide_on_object, decide_review, decide_upload, quotas,
};
pub use exchange::{ExchangePermit, ExchangeRequest, Wanted, decide_derivation, decide_exchange};
pub use exchange_file::{ExchangeRules, TOKEN_TTL};
pub use four_eyes::{Approvals, release_approvals};
pub use manifest::Manifest;
pub use mistake::Mistake;
pub use owners::Owner;
pub use possession::{PossessionDemand, bound_as_demanded};
pub use regulated::may_see;
pub use request::{Circumstances, DownloadRequest, UploadRequest, asked_for, known_basis};
pub use units::parse_life;
pub use upload_rules::{MAX_METADATA_BYTES, MAX_METADATA_PAIRS};

/// A validated policy directory. Never changes; every name in it resolves.
#[derive(Clone, Debug)]
pub struct PolicySet {
    apps: BTreeMap<AppName, Manifest>,
    targets: BTreeMap<TargetName, Target>,
    classes: BTreeMap<ClassName, Classification>,
    owners: BTreeMap<OwnerName, Owner>,
    roles: BTreeMap<RoleName, String>,
    ttl: TtlBounds,
    strangers: Arc<RateLimits>,
    access: AccessRules,
    rules: cedar::Rules,
    digest: Sha256Digest,
}

impl PolicySet {
    /// Reads a directory, whole or not at all.
    ///
    /// # Errors
    /// Every mistake of every file, by file and line.
    pub fn load(dir: &Path) -> Result<PolicySet, Vec<Mistake>> {
        let (set, mistakes, _) = load::load(dir);
        set.ok_or(mistakes)
    }

    /// The set that these files make, by their names relative to a policy directory.
    ///
    /// # Errors
    /// As [`PolicySet::load`].
    pub fn from_files(files: &BTreeMap<String, String>) -> Result<PolicySet, Vec<Mistake>> {
        let (set, mistakes) = load::load_files(files);
        set.ok_or(mistakes)
    }

    /// The app's manifest.
    pub fn app(&self, name: &AppName) -> Option<&Manifest> {
        self.apps.get(name)
    }

    /// Every manifest, by name.
    pub fn apps(&self) -> impl ExactSizeIterator<Item = &Manifest> {
        self.apps.values()
    }

    /// The target.
    pub fn target(&self, name: &TargetName) -> Option<&Target> {
        self.targets.get(name)
    }

    /// Every target, by name.
    pub fn targets(&self) -> impl ExactSizeIterator<Item = &Target> {
        self.targets.values()
    }

    /// The data class.
    pub fn class(&self, name: &ClassName) -> Option<&Classification> {
        self.classes.get(name)
    }

    /// Every data class, by name.
    pub fn classes(&self) -> impl ExactSizeIterator<Item = &Classification> {
        self.classes.values()
    }

    /// What `owners.toml` says of an owner; `None` where it says nothing.
    pub fn owner(&self, name: &OwnerName) -> Option<&Owner> {
        self.owners.get(name)
    }

    /// Whether some app has this owner, so that somebody answers for what is given in its name. `owners.toml` names no others.
    pub fn knows_owner(&self, name: &OwnerName) -> bool {
        self.apps().any(|app| app.owner == *name)
    }

    /// Every owner of `owners.toml`, by name.
    pub fn owners(&self) -> impl ExactSizeIterator<Item = &Owner> {
        self.owners.values()
    }

    /// How access is given, and which is allowed in advance.
    pub fn access(&self) -> &AccessRules {
        &self.access
    }

    /// The roles that people may have, and what each means.
    pub fn roles(&self) -> &BTreeMap<RoleName, String> {
        &self.roles
    }

    /// The bounds of every URL's life.
    pub fn ttl(&self) -> &TtlBounds {
        &self.ttl
    }

    /// How often the workflows of an app may ask; registered or not, nobody is without limits.
    pub fn limits_of(&self, app: &AppName) -> &Arc<RateLimits> {
        self.app(app).map_or(&self.strangers, |manifest| &manifest.limits)
    }

    /// What an upload of this principal has where it names nothing: the app's default class, and the place of its data.
    pub fn usual(&self, who: &Principal) -> (Option<ClassName>, Option<Arc<str>>) {
        let app = self.app(&who.app);
        let target = app.and_then(|app| self.target(app.target_for(who.environment)?));
        let class = app.and_then(|app| app.default_classification.clone());
        (class, target.map(|target| Arc::clone(&target.residency)))
    }

    /// The region of the team that answers for an app, where one is written.
    fn region_of(&self, owner: &OwnerName) -> Option<&str> {
        self.owner(owner)?.region.as_deref()
    }

    /// The SHA-256 over the names and texts of all files: which rules were in force, for the audit trail and the log.
    pub fn digest(&self) -> Sha256Digest {
        self.digest
    }
}

/// The running policy set. Readers take the current one without a lock; a reload replaces it whole.
#[derive(Debug)]
pub struct Policies {
    dir: PathBuf,
    only: Option<Environment>,
    current: ArcSwap<PolicySet>,
}

impl Policies {
    /// Loads the directory for the first time. `only` is the environment that this gateway serves, where it is one alone.
    ///
    /// # Errors
    /// As [`PolicySet::load`], and every target of another environment.
    pub fn open(dir: &Path, only: Option<Environment>) -> Result<Policies, Vec<Mistake>> {
        let set = load_only(dir, only)?;
        Ok(Policies { dir: dir.to_owned(), only, current: ArcSwap::from_pointee(set) })
    }

    /// Reads the directory again, without putting it in force.
    ///
    /// # Errors
    /// As [`Policies::open`].
    pub fn read_again(&self) -> Result<PolicySet, Vec<Mistake>> {
        load_only(&self.dir, self.only)
    }

    /// The set in force. Keep it for one decision, not longer.
    pub fn current(&self) -> Arc<PolicySet> {
        self.current.load_full()
    }

    /// Puts another set in force, for everybody who asks from now on.
    pub fn replace(&self, set: PolicySet) {
        self.current.store(Arc::new(set));
    }
}

/// Staging's files on a production gateway, or the other way, are a mistake of whoever copied them.
fn load_only(dir: &Path, only: Option<Environment>) -> Result<PolicySet, Vec<Mistake>> {
    let set = PolicySet::load(dir)?;
    let foreign = set.targets().filter(|target| only.is_some_and(|only| only != target.environment));
    let mistakes: Vec<Mistake> = foreign.map(load::of_another_environment).collect();
    if mistakes.is_empty() { Ok(set) } else { Err(mistakes) }
}
