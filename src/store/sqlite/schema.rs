//! Opening the database file: modes, pragmas, migrations.
//!
//! Every connection of the store comes from here, so that none runs without `synchronous=FULL` or foreign keys. The file
//! belongs to its user alone (0600, in a directory of 0700 where we make it). A database from a newer program is refused
//! before anything is read from it. Absent on purpose: an exclusive lock; the command line works beside a running server.

use std::fs::{DirBuilder, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::error::Failure;

/// Each migration once, in order; `user_version` is how many were applied.
const MIGRATIONS: &[&str] = &[
    include_str!("../../../migrations/sqlite/0001_initial.sql"),
    include_str!("../../../migrations/sqlite/0002_cheaper_inserts.sql"),
    include_str!("../../../migrations/sqlite/0003_audit_blocks.sql"),
    include_str!("../../../migrations/sqlite/0004_issued_apart.sql"),
    include_str!("../../../migrations/sqlite/0005_policy.sql"),
    include_str!("../../../migrations/sqlite/0006_identity.sql"),
];

/// The version of the schema that this program brings.
pub(in crate::store) fn known() -> usize {
    MIGRATIONS.len()
}

/// Statements that a connection keeps prepared: more than there are.
const PREPARED: usize = 64;

/// Creates the file and its directory where they are missing, and brings the schema up to date.
pub(super) fn create(path: &Path, busy: Duration) -> Result<(), Failure> {
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(parent);
        made.map_err(|error| Failure::Away(format!("cannot create {}: {error}", parent.display())))?;
    }
    // SQLite would create it with the process's umask; its -wal and -shm files take over this file's mode.
    let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
    opened.map_err(|error| Failure::Away(format!("cannot open {}: {error}", path.display())))?;
    migrate(&mut open_for_writing(path, busy)?)
}

/// A connection that may write.
pub(super) fn open_for_writing(path: &Path, busy: Duration) -> Result<Connection, Failure> {
    let conn = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    conn.busy_timeout(busy)?;
    let mode: String = conn.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if mode != "wal" {
        return Err(Failure::Away(format!(
            "the file system of the database supports no write-ahead log (it is {mode})"
        )));
    }
    conn.pragma_update(None, "synchronous", "FULL")?;
    conn.pragma_update(None, "foreign_keys", true)?;
    // Checkpoints run on a thread of their own, see `checkpoint`.
    conn.pragma_update_and_check(None, "wal_autocheckpoint", 0, |_| Ok(()))?;
    conn.pragma_update_and_check(None, "journal_size_limit", 64 << 20, |_| Ok(()))?;
    tune(&conn)?;
    Ok(conn)
}

/// A connection that can only read; it sees what was committed before each statement.
pub(super) fn open_for_reading(path: &Path, busy: Duration) -> Result<Connection, Failure> {
    let conn = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    conn.busy_timeout(busy)?;
    tune(&conn)?;
    Ok(conn)
}

fn tune(conn: &Connection) -> Result<(), Failure> {
    // Kibibytes, negative by SQLite's convention: the working set of the hot tables, not the whole file.
    conn.pragma_update(None, "cache_size", -4096)?;
    conn.pragma_update(None, "temp_store", "MEMORY")?;
    conn.set_prepared_statement_cache_capacity(PREPARED);
    Ok(())
}

/// Refuses a file whose schema is not the one that this program knows, without touching it.
pub(super) fn is_current(path: &Path, busy: Duration) -> Result<(), Failure> {
    if !path.exists() {
        return Err(Failure::Away(format!("there is no file {}", path.display())));
    }
    let found: i64 = open_for_reading(path, busy)?.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let known = MIGRATIONS.len();
    if usize::try_from(found).ok() != Some(known) {
        return Err(Failure::Refused(format!(
            "the database has schema version {found} and this program knows {known}; start its gateway first"
        )));
    }
    Ok(())
}

fn migrate(conn: &mut Connection) -> Result<(), Failure> {
    let tx = conn.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let found: i64 = tx.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let known = MIGRATIONS.len();
    let applied = usize::try_from(found).ok().filter(|applied| *applied <= known).ok_or_else(|| {
        Failure::Refused(format!(
            "the database has schema version {found} and this program knows {known}; start the newer program"
        ))
    })?;
    for migration in &MIGRATIONS[applied..] {
        tx.execute_batch(migration)?;
    }
    if applied < known {
        tx.pragma_update(None, "user_version", i64::try_from(known).unwrap_or(i64::MAX))?;
    }
    tx.commit()?;
    Ok(())
}
