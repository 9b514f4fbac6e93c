//! An operator looks at the installation: which nodes run, which apps there are.

use jiff::SignedDuration;

use crate::domain::audit::AuditAction;
use crate::domain::ids::{AppName, OwnerName};
use crate::domain::principal::{Environment, Operator};
use crate::domain::refusal::Refusal;
use crate::store::NodeRecord;

use super::{App, RequestContext};

/// A node that was not heard of for so long is taken for dead.
const SILENT: SignedDuration = SignedDuration::from_secs(15);
/// How long it is shown after that.
const SHOWN: SignedDuration = SignedDuration::from_mins(10);

/// A node, and whether it runs.
#[derive(Clone, Debug)]
pub struct Node {
    /// What it said last.
    pub record: NodeRecord,
    /// Whether it said so lately.
    pub alive: bool,
}

/// An app, as the policy set in force registers it.
#[derive(Clone, Debug)]
pub struct RegisteredApp {
    /// Its name.
    pub app: AppName,
    /// Who answers for it.
    pub owner: OwnerName,
    /// Whether it gets URLs.
    pub enabled: bool,
    /// For which environments it has a target.
    pub environments: Vec<Environment>,
}

impl App {
    /// Every node that was heard of lately.
    ///
    /// # Errors
    /// The refusal, recorded.
    pub async fn nodes(&self, context: &RequestContext, who: &Operator) -> Result<Vec<Node>, Refusal> {
        self.looked(context, who, AuditAction::ListNodes, Ok(())).await?;
        let now = self.clock.now();
        let records = self.store.nodes(now - SHOWN).await?;
        let alive = |record: &NodeRecord| now.duration_since(record.seen_at) <= SILENT;
        Ok(records.into_iter().map(|record| Node { alive: alive(&record), record }).collect())
    }

    /// Every app of the policy set in force, by name.
    ///
    /// # Errors
    /// The refusal, recorded.
    pub async fn registered_apps(
        &self,
        context: &RequestContext,
        who: &Operator,
    ) -> Result<Vec<RegisteredApp>, Refusal> {
        self.looked(context, who, AuditAction::ListApps, Ok(())).await?;
        let policies = self.policies.current();
        let registered = policies.apps().map(|manifest| RegisteredApp {
            app: manifest.app.clone(),
            owner: manifest.owner.clone(),
            enabled: manifest.enabled,
            environments: [Environment::Live, Environment::Test]
                .into_iter()
                .filter(|environment| manifest.target_for(*environment).is_some())
                .collect(),
        });
        Ok(registered.collect())
    }
}
