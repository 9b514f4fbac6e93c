//! `vestibule target check NAME`, `vestibule scanner check` and `vestibule issuers check`: compare what is there with what
//! the gateway needs.
//!
//! They read and change nothing, with the credentials of the configuration.

use clap::Subcommand;

use crate::clock::Clock;
use crate::domain::ids::TargetName;
use crate::domain::target::ProviderSettings;
use crate::policy::PolicySet;
use crate::startup;
use crate::storage::{CheckItem, CheckStatus, ObjectStore, azure, s3};
use crate::worker::inspect::Inspector;

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

#[derive(Subcommand)]
pub(super) enum ScannerCommand {
    /// Try the settings of clamd that the gateway's promises rest on.
    Check {
        #[command(flatten)]
        file: ConfigFile,
    },
}

#[derive(Subcommand)]
pub(super) enum IssuersCommand {
    /// Read the keys of every trusted issuer, and say where they do not fit the configuration.
    Check {
        #[command(flatten)]
        file: ConfigFile,
    },
}

impl IssuersCommand {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let IssuersCommand::Check { file } = self;
        let config = file.load()?;
        let (found, unknown) = startup::check_issuers(&config, &Clock::system()).await?;
        if found.is_empty() {
            println!("nobody is trusted; see [[identity.issuers]] in vestibule.toml");
        }
        let mut wrong = 0;
        for (name, items) in found {
            println!("{name}");
            wrong += print(&items);
        }
        for listed in &unknown {
            println!("MISSING  {listed}");
        }
        match wrong + unknown.len() {
            0 => Ok(()),
            wrong => Err(Failure::Told(format!("{wrong} thing(s) missing; see docs/identity.md"))),
        }
    }
}

impl ScannerCommand {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let ScannerCommand::Check { file } = self;
        let config = file.load()?;
        let mut missing = 0;
        for (server, items) in Inspector::new(config.scanner, Clock::system()).check().await {
            println!("{server}");
            missing += print(&items);
        }
        if missing > 0 {
            Err(Failure::Told(format!("{missing} setting(s) missing; see docs/scanner.md")))
        } else {
            Ok(())
        }
    }
}

/// Prints what was found; how much is missing.
fn print(items: &[CheckItem]) -> usize {
    for item in items {
        let mark = match item.status {
            CheckStatus::Good => "ok     ",
            CheckStatus::Advice => "advice ",
            CheckStatus::Missing => "MISSING",
            CheckStatus::Unknown => "unknown",
        };
        println!("{mark}  {}: {}", item.name, item.detail);
    }
    items.iter().filter(|item| item.status == CheckStatus::Missing).count()
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
        let missing = print(&items);
        println!("\n{permissions}");
        if missing > 0 { Err(Failure::Told(format!("{name}: {missing} setting(s) missing"))) } else { Ok(()) }
    }
}
