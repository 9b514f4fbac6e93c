//! The command line: short answers in lower case, with the next step named.
//!
//! Every command that changes or shows something passes through the same use cases and the same audit trail as the HTTP
//! interface (P10).

mod access;
mod bind;
mod check;
mod claim;
mod dev;
#[cfg(test)]
mod documented;
mod drill;
mod generate;
mod into;
mod keys;
mod migrate;
mod policy;
mod quota;
mod revoke;
mod scanner;
mod serve;
mod store;
mod token;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::{self, Config, ConfigError};
use crate::startup::StartError;
use crate::telemetry::TelemetryError;

/// A pre-signed URL gateway for object storage.
#[derive(Parser)]
#[command(name = "vestibule", version, about, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the gateway with a configuration file.
    Serve(ConfigFile),
    /// Run everything on this machine: SQLite, a store inside the process, a local clamd.
    Dev(dev::Dev),
    /// Check, test and explain policies, and compare them, before they go live.
    #[command(subcommand)]
    Policy(policy::Policy),
    /// Ask for access, decide on requests, claim tokens, and review who has what.
    Access(access::AccessCommand),
    /// Create, list, rotate and revoke tokens.
    Token(token::TokenCommand),
    /// Revoke a token, or everything of a workflow, an app, a person, a device, an owner or a key.
    Revoke(revoke::RevokeCommand),
    /// Measure how long a revoked token goes on working on the nodes of a live installation.
    Drill(drill::Drill),
    /// List the gateway's own keys, and put a new one in the place of the one in use.
    Keys(keys::KeysCommand),
    /// Compare a bucket or container with what the gateway needs.
    #[command(subcommand)]
    Target(check::TargetCommand),
    /// Look at clamd.
    #[command(subcommand)]
    Scanner(check::ScannerCommand),
    /// Look at the trusted identity providers.
    #[command(subcommand)]
    Issuers(check::IssuersCommand),
    /// Bring the schema of PostgreSQL up to date, or show how far it is.
    Migrate(migrate::Migrate),
    /// Move the state from one database to another.
    #[command(subcommand)]
    Store(store::StoreCommand),
    /// Look whether quotas are counted right and buckets hold what the records say.
    #[command(subcommand)]
    Quota(quota::QuotaCommand),
    /// Write the generated documents into a directory.
    Generate(generate::Generate),
}

/// Where the configuration lies.
#[derive(clap::Args)]
struct ConfigFile {
    /// The configuration file; settings of the environment (`VESTIBULE__SECTION__KEY`) win over it.
    #[arg(long, global = true, env = "VESTIBULE_CONFIG", default_value = "vestibule.toml")]
    config: PathBuf,
}

impl ConfigFile {
    fn load(&self) -> Result<Config, Failure> {
        if !self.config.exists() && self.config != Path::new("vestibule.toml") {
            return Err(Failure::Told(format!("there is no file {}", self.config.display())));
        }
        Ok(config::load(self.config.exists().then_some(self.config.as_path()))?)
    }
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
    #[error("{0}")]
    Refused(#[from] crate::domain::refusal::Refusal),
    #[error("{0}")]
    Told(String),
    #[error("{0}: {1}")]
    Io(String, std::io::Error),
}

/// Runs the command of this process. The exit code is 0, or 1 after an error was printed.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        eprintln!("error: another TLS provider is installed");
        return ExitCode::FAILURE;
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start the runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(async {
        match cli.command {
            Command::Serve(file) => Box::pin(serve::run(&file)).await,
            Command::Dev(dev) => Box::pin(dev.run()).await,
            Command::Policy(policy) => Box::pin(policy.run()).await,
            Command::Access(access) => Box::pin(access.run()).await,
            Command::Token(token) => Box::pin(token.run()).await,
            Command::Revoke(revoke) => Box::pin(revoke.run()).await,
            Command::Drill(drill) => Box::pin(drill.run()).await,
            Command::Keys(keys) => Box::pin(keys.run()).await,
            Command::Target(target) => target.run().await,
            Command::Scanner(scanner) => scanner.run().await,
            Command::Issuers(issuers) => Box::pin(issuers.run()).await,
            Command::Migrate(migrate) => migrate.run().await,
            Command::Store(store) => Box::pin(store.run()).await,
            Command::Quota(quota) => Box::pin(quota.run()).await,
            Command::Generate(generate) => generate.run(),
        }
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
