//! `vestibule store`: copies of a SQLite file, a look at whether it is sound, and the way from it to many nodes.
//!
//! PostgreSQL brings its own programs for copies; docs/operations.md says which.

use std::path::PathBuf;

use clap::Subcommand;
use secrecy::SecretString;

use crate::clock::Clock;
use crate::domain::audit::{AuditAction, AuditEntry, Outcome};
use crate::store::copy;
use crate::store::postgres::PostgresUrl;
use crate::store::sqlite::{SqliteOptions, SqliteStore, backup};
use crate::store::{Store, StoreError};

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
    /// Make a whole copy of the SQLite file, while the gateway runs or not.
    Backup {
        #[command(flatten)]
        file: ConfigFile,
        /// The copy; nothing may be there yet.
        #[arg(long)]
        to: PathBuf,
    },
    /// Look whether a SQLite file is sound, for example a copy before it is put back.
    Check {
        #[command(flatten)]
        file: ConfigFile,
        /// The file; that of the configuration where absent.
        database: Option<PathBuf>,
    },
}

impl StoreCommand {
    pub(super) async fn run(self) -> Result<(), Failure> {
        match self {
            StoreCommand::Copy { file, from, to } => copy_to_postgres(file, &from, to).await,
            StoreCommand::Backup { file, to } => back_up(sqlite(&file)?, to).await,
            StoreCommand::Check { file, database } => {
                let database = database.map_or_else(|| sqlite(&file), Ok)?;
                let name = database.display().to_string();
                let found = blocking(move || backup::check(&database)).await?;
                if found.is_empty() {
                    println!("{name} is sound");
                    return Ok(());
                }
                Err(Failure::Told(format!("{name} is not sound:\n  - {}", found.join("\n  - "))))
            }
        }
    }
}

/// The SQLite file of the configuration.
fn sqlite(file: &ConfigFile) -> Result<PathBuf, Failure> {
    let config = file.load()?;
    if config.store.url.is_some() {
        let told = "the configuration names a PostgreSQL database: use pg_dump and pg_restore, see docs/operations.md";
        return Err(Failure::Told(told.into()));
    }
    Ok(config.store.sqlite())
}

/// Work that blocks on the disk.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, Failure> {
    let done = tokio::task::spawn_blocking(work).await;
    Ok(done.map_err(|error| Failure::Told(error.to_string()))??)
}

/// An entry for what the command line does with the whole state.
fn entry(clock: &Clock, action: AuditAction, detail: &str) -> Result<AuditEntry, Failure> {
    let mut entry = AuditEntry::new(clock.now(), action, Outcome::Allowed).by_operator(&token::operator());
    entry.request_id = Some(format!("cli_{}", clock.uuid().simple()).into());
    entry.detail = Some(detail.into());
    Ok(entry)
}

/// Recorded first, so that the copy tells of itself.
async fn back_up(database: PathBuf, to: PathBuf) -> Result<(), Failure> {
    if !database.exists() {
        return Err(Failure::Told(format!("there is no file {}", database.display())));
    }
    let audit = entry(&Clock::system(), AuditAction::BackUpStore, "the whole state was copied to a file")?;
    let path = database.clone();
    let store = blocking(move || SqliteStore::open(&path, SqliteOptions::default(), None)).await?;
    store.audit(audit).await?;
    drop(store);
    let name = to.display().to_string();
    let copied = blocking(move || backup::back_up(&database, &to)).await?;
    println!("{name}: {} objects, {} audit entries, {} bytes", copied.objects, copied.entries, copied.bytes);
    Ok(())
}

/// From the embedded default to many nodes.
async fn copy_to_postgres(file: ConfigFile, from: &str, to: Option<SecretString>) -> Result<(), Failure> {
    let Some(from) = from.strip_prefix("sqlite:").map(PathBuf::from) else {
        return Err(Failure::Told("--from must begin with sqlite:, for example sqlite:data/vestibule.db".into()));
    };
    let to = match to {
        Some(to) => PostgresUrl::parse(&to).map_err(|mistake| Failure::Told(format!("--to {mistake}")))?,
        None => migrate::database(&file.load()?)?,
    };
    let clock = Clock::system();
    let audit = entry(&clock, AuditAction::CopyStore, "everything was copied here from a SQLite database")?;
    let progress = |table: &str, rows: u64| eprint!("\r{table}: {rows}\x1b[K");
    let copied = copy::sqlite_to_postgres(&from, &to, audit, progress).await;
    eprint!("\r\x1b[K");
    for (table, rows) in copied.map_err(|error| Failure::Told(error.to_string()))? {
        println!("{table} {rows}");
    }
    eprintln!("copied and compared; now set store.url, leave store.path out, and start the gateway");
    Ok(())
}
