//! An app's manifest: everything that an app may do, as plain data.
//!
//! Exists only inside a validated [`super::PolicySet`], so that its target, its classes and its lives are known to fit.
//! Knows the line of each of its keys: a refusal names the rule that decided.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::domain::content::ContentRules;
use crate::domain::grant::UploadMethod;
use crate::domain::ids::{AppName, ClassName, OwnerName, TargetName, WorkflowName};
use crate::domain::key::PrefixTemplate;
use crate::domain::limits::RateLimits;
use crate::domain::media::MediaType;
use crate::domain::principal::Environment;
use crate::domain::quota::Quotas;

use super::conditions::Condition;
use super::exchange_file::ExchangeRules;
use super::possession::PossessionDemand;

/// One app's rules.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// The app's name, which is also the file's.
    pub app: AppName,
    /// The team that answers for it.
    pub owner: OwnerName,
    /// A switched-off app gets no URL.
    pub enabled: bool,
    /// Where live tokens write.
    pub live_target: Option<TargetName>,
    /// Where test tokens write.
    pub test_target: Option<TargetName>,
    /// The prefix of the app's served copies; `{app}` is already filled in.
    pub prefix: PrefixTemplate,
    /// The types that may be uploaded.
    pub types: Vec<MediaType>,
    /// The extensions that file names may have; where absent, those that fit the type.
    pub extensions: Option<Vec<String>>,
    /// Largest upload in bytes.
    pub max_size: u64,
    /// Smaller limits of single types.
    pub max_size_per_type: Vec<(MediaType, u64)>,
    /// Whether an upload of no bytes is accepted.
    pub allow_empty: bool,
    /// Longest life of an upload URL.
    pub upload_ttl: Duration,
    /// Longest life of a download URL.
    pub download_ttl: Duration,
    /// What the app may hold, upload and download.
    pub quota: Quotas,
    /// How often its workflows may ask.
    pub limits: Arc<RateLimits>,
    /// The data classes that the app may store.
    pub classifications: Vec<ClassName>,
    /// The class of a request that names none; where absent, every request must name one.
    pub default_classification: Option<ClassName>,
    /// Web origins that may call the gateway and the bucket for this app (CORS).
    pub origins: Vec<String>,
    /// How the app may send its bytes.
    pub methods: Vec<UploadMethod>,
    /// Types that a browser may show in place.
    pub inline_types: Vec<MediaType>,
    /// Whether every download is a one-time link.
    pub one_time_downloads: bool,
    /// The proof of possession that every request of the app must bring; none where absent.
    pub proof_of_possession: Option<PossessionDemand>,
    /// Whose assertions are exchanged for tokens of the app; nobody's where absent.
    pub exchange: Option<ExchangeRules>,
    /// How many different reviewers must agree before a held object is released.
    pub release_approvals: u8,
    /// What inspection does with the app's uploads.
    pub content: ContentRules,
    /// What an upload must be like besides; one of them holds, where there are any.
    pub(super) conditions: Vec<Condition>,
    /// What single workflows may handle.
    pub(super) workflows: BTreeMap<WorkflowName, WorkflowRules>,
    pub(super) lines: Lines,
}

/// What one workflow of the app may handle.
#[derive(Clone, Debug)]
pub(super) struct WorkflowRules {
    /// The classes that it may store; of the regulated ones, those that it may handle at all.
    pub(super) classifications: Vec<ClassName>,
    /// Where that stands, for example `apps/clinic-forms.toml:21 workflows.intake`.
    pub(super) rule: String,
}

impl Manifest {
    /// The target that tokens of this environment reach.
    pub fn target_for(&self, environment: Environment) -> Option<&TargetName> {
        match environment {
            Environment::Live => self.live_target.as_ref(),
            Environment::Test => self.test_target.as_ref(),
        }
    }

    /// Largest upload of this type in bytes.
    pub fn max_size_of(&self, content_type: &MediaType) -> u64 {
        let narrower = self.max_size_per_type.iter().find(|(own, _)| own == content_type);
        narrower.map_or(self.max_size, |(_, limit)| *limit)
    }

    /// The rule behind a key, for example `apps/where2eat.toml:12 types`.
    pub fn rule(&self, key: &str) -> String {
        self.lines.rule(key)
    }

    /// The manifest's file, for example `apps/where2eat.toml`.
    pub fn file(&self) -> Arc<str> {
        Arc::clone(&self.lines.file)
    }
}

/// Where the keys of a table stand, for the names of rules.
#[derive(Clone, Debug)]
pub(super) struct Lines {
    file: Arc<str>,
    rows: Vec<(&'static str, u32)>,
}

impl Lines {
    pub(super) fn new(file: &str, rows: Vec<(&'static str, u32)>) -> Self {
        Self { file: file.into(), rows }
    }

    /// `file:line key`; without the line where the key is not written and its default holds.
    pub(super) fn rule(&self, key: &str) -> String {
        match self.rows.iter().find(|(name, _)| *name == key) {
            Some((_, line)) => format!("{}:{line} {key}", self.file),
            None => format!("{} {key}", self.file),
        }
    }
}
