//! `vestibule store copy`: from the embedded default to many nodes.

use std::path::PathBuf;

use clap::Subcommand;
use secrecy::SecretString;

use crate::clock::Clock;
use crate::domain::audit::{AuditAction, AuditEntry, Outcome};
use crate::store::copy;
use crate::store::postgres::PostgresUrl;

use super::{ConfigFile, Failure, migrate, token};

#[derive(Subcommand)]
pub(super) enum StoreCommand {
    /// Copy everything from a SQLite file into an empty, migrated PostgreSQL database; all of it or nothing.
    Copy {
        #[command(flatten)]
        file: ConfigFile,
        /// The SQLite file, for example `sqlite:data/vestibule.db`. Stop its gateway first.
        #[arg(long)]
        from: String,
        /// The database; that of the configuration where absent, which keeps its password out of the list of processes.
        #[arg(long)]
        to: Option<SecretString>,
    },
}

impl StoreCommand {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let StoreCommand::Copy { file, from, to } = self;
        let Some(from) = from.strip_prefix("sqlite:").map(PathBuf::from) else {
            return Err(Failure::Told("--from must begin with sqlite:, for example sqlite:data/vestibule.db".into()));
        };
        let to = match to {
            Some(to) => PostgresUrl::parse(&to).map_err(|mistake| Failure::Told(format!("--to {mistake}")))?,
            None => migrate::database(&file.load()?)?,
        };
        let clock = Clock::system();
        let mut audit =
            AuditEntry::new(clock.now(), AuditAction::CopyStore, Outcome::Allowed).by_operator(&token::operator()?);
        audit.request_id = Some(format!("cli_{}", clock.uuid().simple()).into());
        audit.detail = Some("everything was copied here from a SQLite database".into());
        let progress = |table: &str, rows: u64| eprint!("\r{table}: {rows}\x1b[K");
        let copied = copy::sqlite_to_postgres(&from, &to, audit, progress).await;
        eprint!("\r\x1b[K");
        for (table, rows) in copied.map_err(|error| Failure::Told(error.to_string()))? {
            println!("{table} {rows}");
        }
        eprintln!("copied and compared; now set store.url, leave store.path out, and start the gateway");
        Ok(())
    }
}
