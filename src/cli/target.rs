//! `vestibule target check NAME`: compares a bucket or container with what the gateway needs.

use clap::Subcommand;

use crate::clock::Clock;
use crate::domain::ids::TargetName;
use crate::domain::target::ProviderSettings;
use crate::policy::PolicySet;
use crate::startup;
use crate::storage::{CheckStatus, ObjectStore, azure, s3};

use super::{ConfigFile, Failure};

#[derive(Subcommand)]
pub(super) enum TargetCommand {
    /// Print what is missing, and the smallest IAM policy or roles that suffice.
    Check {
        #[command(flatten)]
        file: ConfigFile,
        /// The target's name in targets.toml.
        name: TargetName,
    },
}

impl TargetCommand {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let TargetCommand::Check { file, name } = self;
        let config = file.load()?;
        let set = PolicySet::load(&config.policies.dir).map_err(startup::StartError::Policy)?;
        let Some(target) = set.target(&name) else {
            let known: Vec<_> = set.targets().map(|target| target.name.to_string()).collect();
            return Err(Failure::Told(format!("there is no target {name}; targets are: {}", known.join(", "))));
        };
        let fail = |error: String| Failure::Told(format!("{name}: {error}"));
        let credentials = startup::credentials_of(target, &config.credentials).map_err(fail)?;
        let (items, permissions) = match &target.provider {
            ProviderSettings::S3 { .. } => {
                let store = s3::open(target, credentials).await.map_err(|error| fail(error.to_string()))?;
                let policy = s3::iam_policy(target).map(|policy| format!("{policy:#}")).unwrap_or_default();
                (store.check().await, format!("the smallest IAM policy that suffices:\n{policy}"))
            }
            ProviderSettings::Azure { .. } => {
                let store =
                    azure::open(target, credentials, Clock::system()).await.map_err(|error| fail(error.to_string()))?;
                let roles = store.rbac_roles().into_iter().map(|role| {
                    format!(
                        "  {} on {} ({})",
                        role.role,
                        if role.scope.is_empty() { "the account" } else { &role.scope },
                        role.reason
                    )
                });
                let roles = roles.collect::<Vec<_>>().join("\n");
                (store.check().await, format!("the smallest role assignments that suffice:\n{roles}"))
            }
            ProviderSettings::Embedded { .. } => {
                return Err(fail(
                    "the embedded store is set up by the gateway itself; there is nothing to check".into(),
                ));
            }
        };
        let mut missing = 0;
        for item in items {
            let mark = match item.status {
                CheckStatus::Good => "ok     ",
                CheckStatus::Advice => "advice ",
                CheckStatus::Missing => "MISSING",
                CheckStatus::Unknown => "unknown",
            };
            missing += usize::from(item.status == CheckStatus::Missing);
            println!("{mark}  {}: {}", item.name, item.detail);
        }
        println!("\n{permissions}");
        if missing > 0 { Err(Failure::Told(format!("{name}: {missing} setting(s) missing"))) } else { Ok(()) }
    }
}
