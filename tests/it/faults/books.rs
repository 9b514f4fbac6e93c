//! What a gateway left on disk, read without the gateway's own code: its database by SQL, its buckets file by file.
//!
//! A test that asked only the gateway would believe the program under test. This reads a running gateway's directory as
//! well as a dead one's.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// States that count against the quota.
const HOLDING: [&str; 7] = ["issued", "uploaded", "scanning", "promoting", "visible", "quarantined", "unscannable"];

/// One object's row.
#[derive(Clone, Debug)]
pub struct Row {
    pub id: String,
    pub app: String,
    pub state: String,
    pub life: Value,
    pub size: i64,
    pub held: Option<i64>,
    pub revision: i64,
    pub staging: String,
    pub served: String,
    /// Microseconds since the Unix epoch.
    pub updated_at: i64,
}

/// A data directory.
pub struct Books {
    dir: PathBuf,
}

impl Books {
    pub fn of(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    fn db(&self) -> Connection {
        let db = Connection::open_with_flags(self.dir.join("vestibule.db"), OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
        db.busy_timeout(std::time::Duration::from_secs(10)).unwrap();
        db
    }

    /// How often the inspection of an object was tried, as far as it counts.
    pub fn attempts(&self, id: &str) -> u32 {
        let sql = "SELECT attempts FROM jobs WHERE object_id = ?1 AND kind = 'inspect'";
        self.db().query_row(sql, [id], |row| row.get(0)).unwrap()
    }

    /// Every object, by id.
    pub fn objects(&self) -> BTreeMap<String, Row> {
        let db = self.db();
        let mut query = db
            .prepare(
                "SELECT id, app, state, life, size, held_bytes, revision, staging_path, served_path, updated_at
                 FROM objects",
            )
            .unwrap();
        let rows = query
            .query_map([], |row| {
                Ok(Row {
                    id: row.get(0)?,
                    app: row.get(1)?,
                    state: row.get(2)?,
                    life: serde_json::from_str(&row.get::<_, String>(3)?).unwrap(),
                    size: row.get(4)?,
                    held: row.get(5)?,
                    revision: row.get(6)?,
                    staging: row.get(7)?,
                    served: row.get(8)?,
                    updated_at: row.get(9)?,
                })
            })
            .unwrap();
        rows.map(|row| row.unwrap()).map(|row| (row.id.clone(), row)).collect()
    }

    pub fn object(&self, id: &str) -> Row {
        self.objects().remove(id).unwrap_or_else(|| panic!("{id} is not in the database"))
    }

    /// How many objects are in each state.
    pub fn states(&self) -> BTreeMap<String, i64> {
        self.pairs("SELECT state, count(*) FROM objects GROUP BY state")
    }

    /// What an app holds, as the gateway counts: bytes and objects.
    pub fn usage(&self, app: &str) -> (i64, i64) {
        let read = "SELECT bytes, objects FROM app_usage WHERE app = ?1";
        self.db().query_row(read, [app], |row| Ok((row.get(0)?, row.get(1)?))).unwrap_or_default()
    }

    /// Jobs that are waiting or under way, as `kind object`.
    pub fn jobs(&self) -> Vec<String> {
        let db = self.db();
        let mut query = db.prepare("SELECT kind || ' ' || object_id FROM jobs").unwrap();
        query.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    }

    /// The audit trail of every object, oldest first.
    pub fn audit(&self) -> BTreeMap<String, Vec<Value>> {
        let db = self.db();
        let mut query =
            db.prepare("SELECT object_id, entry FROM audit WHERE object_id IS NOT NULL ORDER BY seq").unwrap();
        let mut trail: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        let rows = query.query_map([], |row| Ok((row.get(0)?, row.get::<_, String>(1)?))).unwrap();
        for row in rows {
            let (id, entry) = row.unwrap();
            trail.entry(id).or_default().push(serde_json::from_str(&entry).unwrap());
        }
        trail
    }

    fn pairs(&self, sql: &str) -> BTreeMap<String, i64> {
        let db = self.db();
        let mut query = db.prepare(sql).unwrap();
        query.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect()
    }

    /// As if the upload URLs of these objects had been issued an hour earlier.
    pub fn age(&self, ids: &[String]) {
        let mut db = Connection::open(self.dir.join("vestibule.db")).unwrap();
        db.busy_timeout(std::time::Duration::from_secs(10)).unwrap();
        let change = db.transaction().unwrap();
        for id in ids {
            let sql = "UPDATE objects SET upload_expires_at = upload_expires_at - 3600000000 WHERE id = ?1";
            assert_eq!(change.execute(sql, [id]).unwrap(), 1);
        }
        change.commit().unwrap();
    }

    /// What every database must say at any instant, also right after a kill: counts and usage are the sums of their
    /// rows, every object has the record of its issuance, its changes are on record without a gap, and nothing is
    /// visible without a clean verdict about it.
    pub fn assert_balanced(&self) {
        let objects = self.objects();
        let (mut usage, mut counts) = (BTreeMap::new(), BTreeMap::new());
        let trail = self.audit();
        for row in objects.values() {
            *counts.entry(row.state.clone()).or_insert(0) += 1;
            assert_eq!(row.held.is_some(), HOLDING.contains(&row.state.as_str()), "quota of {row:?}");
            let held: &mut (i64, i64) = usage.entry(row.app.clone()).or_default();
            held.0 += row.held.unwrap_or(0);
            held.1 += i64::from(row.held.is_some());
            let entries = trail.get(&row.id).unwrap_or_else(|| panic!("no record of {row:?}"));
            assert_eq!((&entries[0]["action"], &entries[0]["outcome"]), (&"requestUpload".into(), &"allowed".into()));
            let changes: Vec<_> = entries.iter().filter(|entry| entry["toState"].is_string()).collect();
            assert_eq!(changes.len() as i64, row.revision, "changes of {row:?}: {entries:#?}");
            let mut state = &Value::from("issued");
            for change in changes {
                assert_eq!(&change["fromState"], state, "{entries:#?}");
                state = &change["toState"];
            }
            assert_eq!(state, &row.state, "{entries:#?}");
            if matches!(row.state.as_str(), "promoting" | "visible") {
                assert_eq!(row.life["verdict"]["finding"]["result"], "clean", "{row:?}");
            }
        }
        for (app, held) in usage {
            assert_eq!(self.usage(&app), held, "usage of {app}");
        }
        let mut kept = self.pairs("SELECT state, objects FROM state_counts");
        kept.retain(|_, count| *count != 0);
        assert_eq!(kept, counts, "counts of states");
    }

    /// What lies in a bucket of the embedded store: key to bytes. A file ends with a JSON record, its CRC-32, its
    /// length and eight bytes that say what it is.
    pub fn bucket(&self, bucket: &str) -> BTreeMap<String, Vec<u8>> {
        let mut found = BTreeMap::new();
        let mut directories = vec![self.dir.join("storage/buckets").join(bucket)];
        while let Some(directory) = directories.pop() {
            // A directory that a delete has left empty may go while this reads.
            for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
                let path = entry.path();
                if path.is_dir() {
                    directories.push(path);
                } else if path.to_string_lossy().ends_with("%o") {
                    let Ok(mut bytes) = std::fs::read(&path) else { continue };
                    let footer = bytes.split_off(bytes.len() - 16);
                    assert_eq!(&footer[8..], b"VSTOBJ01");
                    let length = u32::from_le_bytes(footer[4..8].try_into().unwrap()) as usize;
                    let record: Value = serde_json::from_slice(&bytes.split_off(bytes.len() - length)).unwrap();
                    assert_eq!(record["size"], bytes.len());
                    found.insert(record["key"].as_str().unwrap().to_owned(), bytes);
                }
            }
        }
        found
    }

    /// What is served is exactly what the records call visible, with the bytes that were judged.
    pub fn assert_serves_what_it_says(&self, bucket: &str) {
        let mut served = self.bucket(bucket);
        served.retain(|key, _| !key.starts_with("incoming/"));
        for row in self.objects().values().filter(|row| row.state == "visible") {
            if let Some(bytes) = served.remove(&row.served) {
                assert_eq!(row.life["verdict"]["sha256"], sha256(&bytes), "{row:?}");
                assert_eq!(row.size, bytes.len() as i64);
            } else {
                panic!("{} has no bytes", row.id);
            }
        }
        assert_eq!(served.keys().collect::<Vec<_>>(), Vec::<&String>::new(), "served without being visible");
    }
}

/// In hexadecimal digits.
pub fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}
