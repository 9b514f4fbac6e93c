//! `vestibule migrate up|status`: the schema of PostgreSQL, online.
//!
//! A SQLite file needs neither: whoever opens it brings it up to date.

use clap::Subcommand;
use comfy_table::Table;
use secrecy::SecretString;

use crate::clock::Clock;
use crate::config::Config;
use crate::store::postgres::{self, PostgresUrl};

use super::{ConfigFile, Failure};

#[derive(clap::Args)]
pub(super) struct Migrate {
    #[command(flatten)]
    file: ConfigFile,
    #[command(subcommand)]
    act: Act,
}

#[derive(Subcommand)]
enum Act {
    /// Apply what is missing. Gateways may be running, of this version and of the one before.
    Up,
    /// Show which migrations were applied.
    Status,
}

/// The database of the configuration.
pub(super) fn database(config: &Config) -> Result<PostgresUrl, Failure> {
    let url: &SecretString = config.store.url.as_ref().ok_or_else(|| {
        Failure::Told(
            "the configuration names no PostgreSQL database: set store.url; a SQLite file is brought up to date when it \
             is opened"
                .into(),
        )
    })?;
    PostgresUrl::parse(url).map_err(|mistake| Failure::Told(format!("store.url: {mistake}")))
}

impl Migrate {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let url = database(&self.file.load()?)?;
        match self.act {
            Act::Up => {
                let done = postgres::migrate(&url, Clock::system().now()).await?;
                if done.is_empty() {
                    println!("nothing to do");
                }
                for version in done {
                    println!("applied {version}");
                }
                Ok(())
            }
            Act::Status => {
                let status = postgres::status(&url).await?;
                let mut table = Table::new();
                table.load_style(comfy_table::presets::NOTHING);
                table.set_header(["version", "name", "applied"]);
                for (version, name, applied) in status.migrations {
                    let applied = applied.map_or_else(|| "not yet".to_owned(), |time| format!("{time:.0}"));
                    table.add_row([version.to_string(), name, applied]);
                }
                println!("{table}");
                if status.found < status.known {
                    return Err(Failure::Told("the schema is behind this program: run 'vestibule migrate up'".into()));
                }
                Ok(())
            }
        }
    }
}
