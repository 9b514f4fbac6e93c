//! What one transaction gathers: usage and counts in memory, the end of the audit trail.
//!
//! Usage is read once for each app, owner and batch, changed in memory, and written once before the commit. That is exact:
//! `BEGIN IMMEDIATE` keeps every other writer out, and a batch that is rolled back takes its numbers with it.
//! Operations check everything before they change anything here, so that a refused one leaves no trace.

use rusqlite::{CachedStatement, Connection, params};

use super::error::Failure;
use super::rows;
use super::trail::{AuditLine, Noted, Trail};
use super::usage;
use crate::domain::life::State;
use crate::domain::object::Object;
use crate::domain::usage::Usage;
use crate::store::Holder;

/// One open transaction.
pub(super) struct Batch<'c> {
    pub(super) conn: &'c Connection,
    /// By app and by owner; a batch has few.
    usage: Vec<(Holder, Counted)>,
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

    /// What somebody uses, with everything that this batch has done so far.
    pub(super) fn usage(&mut self, holder: &Holder) -> Result<Usage, Failure> {
        if let Some((_, counted)) = self.usage.iter().find(|(own, _)| own == holder) {
            return Ok(counted.usage);
        }
        let usage = usage::read(self.conn, holder)?;
        self.usage.push((holder.clone(), Counted { usage, changed: false }));
        Ok(usage)
    }

    /// Sets what somebody uses from now on.
    pub(super) fn set_usage(&mut self, holder: &Holder, usage: Usage) {
        let now = Counted { usage, changed: true };
        match self.usage.iter_mut().find(|(own, _)| own == holder) {
            Some((_, counted)) => *counted = now,
            None => self.usage.push((holder.clone(), now)),
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
        for (holder, counted) in self.usage.iter().filter(|(_, counted)| counted.changed) {
            usage::write(self.conn, holder, &counted.usage)?;
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
