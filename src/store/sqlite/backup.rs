//! Copies of the file that are whole, and a look at whether a file is.
//!
//! A copy is one snapshot: everything that was answered before it began is in it, and of a transaction all or nothing. The
//! gateway may go on meanwhile; readers do not block its writer. The copy appears under its name only once it was checked
//! and is on the disk, so that a file with that name is always one that can be put back. A restore is no program: stop the
//! gateway, put the file where the old one was, remove its `-wal` and `-shm`, start.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Connection;

use super::error::Failure;
use super::schema;
use crate::store::StoreError;

/// How long to wait for a lock of the running gateway, which it holds for moments.
const BUSY: Duration = Duration::from_secs(10);
/// Findings of SQLite's own check that are told; a broken file has thousands.
const MOST: usize = 20;

/// What is compared with the sum of its rows: what it is, and a query for the names of what differs.
const SUMS: [(&str, &str); 4] = [
    (
        "the usage of app",
        "WITH held AS (SELECT app, sum(held_bytes) AS bytes, count(held_bytes) AS objects FROM objects GROUP BY app)
         SELECT app FROM held LEFT JOIN app_usage USING (app)
         WHERE held.bytes IS NOT NULL AND (held.bytes, held.objects) IS NOT (app_usage.bytes, app_usage.objects)
         UNION SELECT app FROM app_usage WHERE objects > 0 AND app NOT IN (SELECT app FROM held WHERE objects > 0)",
    ),
    (
        "the usage of owner",
        "WITH held AS (SELECT owner, sum(held_bytes) AS bytes, count(held_bytes) AS objects FROM objects GROUP BY owner)
         SELECT owner FROM held LEFT JOIN owner_usage USING (owner)
         WHERE held.bytes IS NOT NULL AND (held.bytes, held.objects) IS NOT (owner_usage.bytes, owner_usage.objects)
         UNION SELECT owner FROM owner_usage WHERE objects > 0 AND owner NOT IN (SELECT owner FROM held WHERE objects > 0)",
    ),
    (
        "the count of state",
        "WITH there AS (SELECT state, count(*) AS objects FROM objects GROUP BY state)
         SELECT state FROM there LEFT JOIN state_counts USING (state) WHERE there.objects IS NOT state_counts.objects
         UNION SELECT state FROM state_counts WHERE objects > 0 AND state NOT IN (SELECT state FROM there)",
    ),
    (
        "without a clean verdict or a release: object",
        "SELECT id FROM objects WHERE state = 'visible' AND json_extract(life, '$.verdict.finding.result') IS NOT 'clean'
           AND id NOT IN (SELECT object_id FROM audit WHERE json_extract(entry, '$.action') = 'releaseObject'
                          AND object_id IS NOT NULL)",
    ),
];

/// What a copy holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copied {
    /// Records of objects.
    pub objects: u64,
    /// Entries of the audit trail.
    pub entries: u64,
    /// Size of the file.
    pub bytes: u64,
}

/// Copies the database at `path` to the file `to`, which must not exist; its user alone may read it. Blocks on the disk.
///
/// # Errors
/// [`StoreError::Unavailable`] where one of the files cannot be used, or the copy is not whole; then there is none.
pub fn back_up(path: &Path, to: &Path) -> Result<Copied, StoreError> {
    let partial = partial(to)?;
    let made = copy(path, &partial, to);
    if made.is_err() {
        let _ = std::fs::remove_file(&partial);
    }
    Ok(made?)
}

/// Looks at a database file: whether SQLite finds it whole, and whether what is counted is what is there. Findings, of
/// which a sound file has none. Blocks on the disk, and reads all of it.
///
/// # Errors
/// [`StoreError::Unavailable`] where the file cannot be read.
pub fn check(path: &Path) -> Result<Vec<String>, StoreError> {
    let conn = schema::open_for_reading(path, BUSY)?;
    Ok(findings(&conn)?)
}

/// Beside the copy, so that it can be renamed to it.
fn partial(to: &Path) -> Result<PathBuf, Failure> {
    let taken = |why: &str| Failure::Away(format!("{} {why}", to.display()));
    if to.exists() {
        return Err(taken("exists already; a backup never replaces another"));
    }
    let mut name = to.file_name().ok_or_else(|| taken("names no file"))?.to_owned();
    name.push(".partial");
    Ok(to.with_file_name(name))
}

fn copy(path: &Path, partial: &Path, to: &Path) -> Result<Copied, Failure> {
    let on = |file: &Path| {
        let file = file.display().to_string();
        move |error: std::io::Error| Failure::Away(format!("{file}: {error}"))
    };
    // Left behind by a copy that was interrupted.
    let _ = std::fs::remove_file(partial);
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(partial).map_err(on(partial))?;
    let source = schema::open_for_reading(path, BUSY)?;
    let name = partial.to_str().ok_or_else(|| Failure::Away("the name of the copy is not UTF-8".into()))?;
    source.execute("VACUUM INTO ?1", [name])?;
    drop(source);

    let copied = schema::open_for_reading(partial, BUSY)?;
    let found = findings(&copied)?;
    if !found.is_empty() {
        return Err(Failure::Away(format!("the database is not sound: {}", found.join("; "))));
    }
    let count = |sql: &str| copied.query_row(sql, [], |row| row.get::<_, i64>(0)).map(i64::unsigned_abs);
    let (objects, entries) = (count("SELECT count(*) FROM objects")?, count("SELECT count(*) FROM audit")?);
    drop(copied);

    let file = File::open(partial).map_err(on(partial))?;
    file.sync_all().map_err(on(partial))?;
    let bytes = file.metadata().map_err(on(partial))?.len();
    std::fs::rename(partial, to).map_err(on(to))?;
    let directory = to.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(on(directory))?;
    Ok(Copied { objects, entries, bytes })
}

fn findings(conn: &Connection) -> Result<Vec<String>, Failure> {
    let mut found = Vec::new();
    let mut query = conn.prepare(&format!("PRAGMA integrity_check({MOST})"))?;
    for line in query.query_map([], |row| row.get::<_, String>(0))? {
        found.extend(Some(line?).filter(|line| line != "ok"));
    }
    if !found.is_empty() {
        return Ok(found);
    }
    let mut query = conn.prepare("PRAGMA foreign_key_check")?;
    for table in query.query_map([], |row| row.get::<_, String>(0))?.take(MOST) {
        found.push(format!("a row of {} names an object that is not there", table?));
    }
    for (what, sql) in SUMS {
        let mut query = conn.prepare(sql)?;
        for name in query.query_map([], |row| row.get::<_, String>(0))?.take(MOST) {
            found.push(format!("{what} {}", name?));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("vestibule.db");
        schema::create(&path, BUSY).unwrap();
        (dir, path)
    }

    #[test]
    fn a_copy_is_whole_private_and_replaces_nothing() {
        use std::os::unix::fs::PermissionsExt;
        let (dir, path) = database();
        let to = dir.path().join("copy.db");
        std::fs::write(dir.path().join("copy.db.partial"), "of a copy that was interrupted").unwrap();
        let copied = back_up(&path, &to).unwrap();
        assert_eq!((copied.objects, copied.entries), (0, 0));
        assert_eq!(to.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(check(&to).unwrap(), Vec::<String>::new());
        assert!(back_up(&path, &to).unwrap_err().to_string().contains("exists already"));
        let mut files: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
        files.sort();
        assert!(!files.iter().any(|name| name.to_string_lossy().ends_with(".partial")), "{files:?}");
    }

    #[test]
    fn what_does_not_add_up_is_found_and_not_copied() {
        let (dir, path) = database();
        let conn = Connection::open(&path).unwrap();
        conn.execute("INSERT INTO app_usage (app, bytes, objects) VALUES ('desk', 7, 1)", []).unwrap();
        conn.execute("INSERT INTO state_counts VALUES ('visible', 1)", []).unwrap();
        assert_eq!(check(&path).unwrap(), ["the usage of app desk", "the count of state visible"]);
        let to = dir.path().join("copy.db");
        assert!(back_up(&path, &to).unwrap_err().to_string().contains("app desk"));
        assert!(!to.exists());
        assert!(check(&dir.path().join("nothing.db")).is_err());
    }
}
