//! What one transaction gathers: usage and counts in memory, the end of the audit trail.
//!
//! Usage is read once for each app and batch, changed in memory, and written once before the commit. That is exact:
//! `BEGIN IMMEDIATE` keeps every other writer out, and a batch that is rolled back takes its numbers with it.
//! Operations check everything before they change anything here, so that a refused one leaves no trace.

use rusqlite::{CachedStatement, Connection, OptionalExtension, params};

use super::error::Failure;
use super::rows::{self, uint};
use super::trail::{AuditLine, Noted, Trail};
use crate::domain::ids::AppName;
use crate::domain::life::State;
use crate::domain::object::Object;
use crate::store::Usage;
use crate::store::values::int;

/// One open transaction.
pub(super) struct Batch<'c> {
    pub(super) conn: &'c Connection,
    /// By app; a batch has few.
    usage: Vec<(AppName, Counted)>,
    states: [i64; State::ALL.len()],
    trail: Trail<'c>,
    insert_object: Prepared<'c>,
}

/// A statement that most operations of a batch need: looked up once.
pub(super) struct Prepared<'c>(Option<CachedStatement<'c>>);

impl<'c> Prepared<'c> {
    pub(super) fn new() -> Self {
        Self(None)
    }

    pub(super) fn get(&mut self, conn: &'c Connection, sql: &str) -> Result<&mut CachedStatement<'c>, Failure> {
        Ok(match &mut self.0 {
            Some(statement) => statement,
            none => none.insert(conn.prepare_cached(sql)?),
        })
    }
}

struct Counted {
    usage: Usage,
    changed: bool,
}

impl<'c> Batch<'c> {
    /// A batch that adds the text of its audit entries to `lines`.
    pub(super) fn new(conn: &'c Connection, lines: Option<&'c mut String>, noted: &'c mut Noted) -> Self {
        Self {
            conn,
            usage: Vec::new(),
            states: [0; State::ALL.len()],
            trail: Trail::new(lines, noted),
            insert_object: Prepared::new(),
        }
    }

    /// What the app holds, with everything that this batch has done so far.
    pub(super) fn usage(&mut self, app: &AppName) -> Result<Usage, Failure> {
        if let Some((_, counted)) = self.usage.iter().find(|(own, _)| own == app) {
            return Ok(counted.usage);
        }
        let usage = read_usage(self.conn, app)?;
        self.usage.push((app.clone(), Counted { usage, changed: false }));
        Ok(usage)
    }

    /// Sets what the app holds from now on.
    pub(super) fn set_usage(&mut self, app: &AppName, usage: Usage) {
        let now = Counted { usage, changed: true };
        match self.usage.iter_mut().find(|(own, _)| own == app) {
            Some((_, counted)) => *counted = now,
            None => self.usage.push((app.clone(), now)),
        }
    }

    /// Writes a new object; its usage and its state are counted by the caller.
    pub(super) fn insert(&mut self, object: &Object) -> Result<(), Failure> {
        rows::insert_object(self.insert_object.get(self.conn, rows::INSERT_OBJECT)?, object)
    }

    /// Counts an object out of one state and into another.
    pub(super) fn count(&mut self, from: Option<State>, to: State) {
        if let Some(from) = from {
            self.states[from as usize] -= 1;
        }
        self.states[to as usize] += 1;
    }

    /// Writes an audit entry.
    pub(super) fn record(&mut self, line: &AuditLine) -> Result<(), Failure> {
        self.trail.record(self.conn, line)
    }

    /// Writes what was gathered.
    pub(super) fn finish(self) -> Result<(), Failure> {
        for (app, counted) in self.usage.iter().filter(|(_, counted)| counted.changed) {
            let mut write = self.conn.prepare_cached(
                "INSERT INTO app_usage (app, bytes, objects) VALUES (?1, ?2, ?3)
                 ON CONFLICT (app) DO UPDATE SET bytes = excluded.bytes, objects = excluded.objects",
            )?;
            write.execute(params![app.as_str(), int(counted.usage.bytes), int(counted.usage.objects)])?;
        }
        for (state, change) in State::ALL.into_iter().zip(self.states).filter(|(_, change)| *change != 0) {
            let mut write = self.conn.prepare_cached(
                "INSERT INTO state_counts (state, objects) VALUES (?1, ?2)
                 ON CONFLICT (state) DO UPDATE SET objects = objects + excluded.objects",
            )?;
            write.execute(params![state.as_str(), change])?;
        }
        Ok(())
    }
}

/// What an app holds, as committed or as the surrounding transaction has written it.
pub(super) fn read_usage(conn: &Connection, app: &AppName) -> Result<Usage, Failure> {
    let mut query = conn.prepare_cached("SELECT bytes, objects FROM app_usage WHERE app = ?1")?;
    let row = query.query_row([app.as_str()], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    Ok(row.map_or(Usage::default(), |(bytes, objects)| Usage { bytes: uint(bytes), objects: uint(objects) }))
}
