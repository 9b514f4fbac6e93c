//! The open stores of the policy set's targets, by name.
//!
//! Replaced as a whole when the policy set is reloaded; a request holds on to the one that it began with.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::domain::ids::TargetName;
use crate::domain::target::Target;
use crate::storage::ObjectStore;

/// A target and its open store.
#[derive(Clone)]
pub struct OpenTarget {
    /// What `targets.toml` says.
    pub target: Target,
    /// How it is reached.
    pub store: Arc<dyn ObjectStore>,
}

/// Every open target.
#[derive(Default)]
pub struct Targets(ArcSwap<HashMap<TargetName, OpenTarget>>);

impl Targets {
    /// These targets.
    pub fn new(targets: impl IntoIterator<Item = OpenTarget>) -> Self {
        let this = Self::default();
        this.replace(targets);
        this
    }

    /// Takes these targets instead of the present ones.
    pub fn replace(&self, targets: impl IntoIterator<Item = OpenTarget>) {
        let map = targets.into_iter().map(|open| (open.target.name.clone(), open)).collect();
        self.0.store(Arc::new(map));
    }

    /// This target with its store; `None` where the policy set no longer names it.
    pub fn open(&self, name: &TargetName) -> Option<OpenTarget> {
        self.0.load().get(name).cloned()
    }

    /// The store of this target; `None` where the policy set no longer names it.
    pub fn store(&self, name: &TargetName) -> Option<Arc<dyn ObjectStore>> {
        self.0.load().get(name).map(|open| Arc::clone(&open.store))
    }

    /// The targets whose staging area is this bucket or container.
    pub fn staged_in(&self, bucket: &str) -> Vec<OpenTarget> {
        self.0.load().values().filter(|open| open.target.staging() == bucket).cloned().collect()
    }

    /// Every target.
    pub fn all(&self) -> Vec<OpenTarget> {
        self.0.load().values().cloned().collect()
    }
}
