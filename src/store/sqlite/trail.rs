//! The audit trail: writing entries, and finding those of an app, a token or an object.
//!
//! Entries are numbered in the order of their commits. Which blocks of [`BLOCK`] numbers hold entries of an app or a token
//! is kept beside them (`audit_blocks`), which costs a batch a row or two, where an index would cost every entry two.
//! An object has few entries, and an index of their own.

use std::collections::HashSet;

use jiff::Timestamp;
use rusqlite::types::Value;
use rusqlite::{Connection, ToSql, params};

use super::batch::Prepared;
use super::error::Failure;
use super::rows::many;
use crate::domain::audit::AuditEntry;
use crate::domain::ids::{AppName, ObjectId, TokenId};
use crate::store::columns::Columns;
use crate::store::values::{AT_ONCE, audit_text, limit};
use crate::store::{AuditQuery, StoreError};

/// Numbers of one block. The queries and the migration spell it too.
const BLOCK: i64 = 256;

/// An audit entry as its row, encoded before it is queued: not on the writer's thread.
pub(super) struct AuditLine {
    time: Timestamp,
    app: Option<AppName>,
    token: Option<TokenId>,
    object: Option<ObjectId>,
    json: String,
}

impl AuditLine {
    pub(super) fn encode(entry: AuditEntry) -> Result<Self, StoreError> {
        let json = audit_text(&entry)?;
        let AuditEntry { time, app, token_id: token, object_id: object, .. } = entry;
        Ok(Self { time, app, token, object, json })
    }

    /// The entry itself, read back from its text.
    pub(super) fn entry(&self) -> Result<AuditEntry, Failure> {
        serde_json::from_str(&self.json).map_err(|error| Failure::unreadable("an audit entry", error))
    }
}

/// The block that was written last, and of whom it is known to hold entries: to be forgotten where a transaction fails.
#[derive(Default)]
pub(super) struct Noted {
    block: Option<i64>,
    apps: HashSet<AppName>,
    tokens: HashSet<TokenId>,
}

/// The end of the trail, as one transaction writes it.
pub(super) struct Trail<'c> {
    insert: Prepared<'c>,
    /// Where the text of the entries goes besides.
    lines: Option<&'c mut String>,
    noted: &'c mut Noted,
}

impl<'c> Trail<'c> {
    pub(super) fn new(lines: Option<&'c mut String>, noted: &'c mut Noted) -> Self {
        Self { insert: Prepared::new(), lines, noted }
    }

    /// Writes an entry.
    pub(super) fn record(&mut self, conn: &'c Connection, line: &AuditLine) -> Result<(), Failure> {
        let sql = "INSERT INTO audit (time, app, token_id, object_id, entry) VALUES (?1, ?2, ?3, ?4, ?5)";
        let object = line.object.map(|object| object.text());
        self.insert.get(conn, sql)?.execute(params![
            line.time.as_microsecond(),
            line.app.as_ref().map(|app| app.as_str()),
            line.token.as_ref().map(|token| token.as_str()),
            object.as_ref().map(|object| object.as_str()),
            line.json,
        ])?;
        self.note(conn, line)?;
        if let Some(lines) = &mut self.lines {
            lines.push_str(&line.json);
            lines.push('\n');
        }
        Ok(())
    }

    /// Notes whose entry the last one is.
    fn note(&mut self, conn: &Connection, line: &AuditLine) -> Result<(), Failure> {
        let block = conn.last_insert_rowid().div_euclid(BLOCK);
        let noted = &mut *self.noted;
        if noted.block != Some(block) {
            *noted = Noted { block: Some(block), ..Noted::default() };
        }
        if let Some(app) = line.app.as_ref().filter(|app| !noted.apps.contains(*app)) {
            note(conn, "app", app.as_str(), block)?;
            noted.apps.insert(app.clone());
        }
        if let Some(token) = line.token.as_ref().filter(|token| !noted.tokens.contains(*token)) {
            note(conn, "token", token.as_str(), block)?;
            noted.tokens.insert(token.clone());
        }
        Ok(())
    }
}

fn note(conn: &Connection, kind: &str, name: &str, block: i64) -> Result<(), Failure> {
    let mut insert =
        conn.prepare_cached("INSERT OR IGNORE INTO audit_blocks (kind, name, block) VALUES (?1, ?2, ?3)")?;
    insert.execute(params![kind, name, block])?;
    Ok(())
}

/// A page of entries, newest first, with their numbers.
pub(super) fn entries(conn: &Connection, query: &AuditQuery) -> Result<Vec<(i64, AuditEntry)>, Failure> {
    let text = |text: &dyn ToString| Value::Text(text.to_string());
    let time = |time: Timestamp| Value::Integer(time.as_microsecond());
    let (app, token) = (query.app.as_ref().map(|app| text(app)), query.token.as_ref().map(|token| text(token)));
    // An object's index finds its few entries; else the blocks say where to look, a token's being the fewer.
    let holder = [("token", &token), ("app", &app)]
        .into_iter()
        .find_map(|(kind, name)| name.clone().filter(|_| query.object.is_none()).map(|name| (kind, name)));
    let (from, order) = match &holder {
        // The outer loop comes first: CROSS JOIN keeps SQLite from turning them round.
        Some(_) => (
            "audit_blocks CROSS JOIN audit ON seq BETWEEN block * 256 AND block * 256 + 255 WHERE kind = ? AND name = ?",
            "block DESC, seq DESC",
        ),
        None => ("audit WHERE 1", "seq DESC"),
    };
    // Only what is asked for, so that SQLite chooses the index that fits.
    let filters = [
        ("block <= ?", query.before.filter(|_| holder.is_some()).map(|seq| Value::Integer(seq.div_euclid(BLOCK)))),
        ("app = ?", app),
        ("token_id = ?", token),
        ("object_id = ?", query.object.map(|object| text(&object))),
        ("time >= ?", query.since.map(time)),
        ("time < ?", query.until.map(time)),
        ("seq < ?", query.before.map(Value::Integer)),
    ];
    let mut sql = format!("SELECT seq, entry FROM {from}");
    let mut values: Vec<Value> =
        holder.into_iter().flat_map(|(kind, name)| [Value::Text(kind.to_owned()), name]).collect();
    for (condition, value) in filters {
        if let Some(value) = value {
            sql.push_str(" AND ");
            sql.push_str(condition);
            values.push(value);
        }
    }
    sql.push_str(&format!(" ORDER BY {order} LIMIT ?"));
    values.push(Value::Integer(limit(query.limit)));
    let params: Vec<&dyn ToSql> = values.iter().map(|value| value as &dyn ToSql).collect();
    many(conn, &sql, &params, |columns| Ok((columns.number()?, columns.json()?)))
}

/// Removes some of the entries from before `before`, and the blocks that hold nothing any more; how many entries went.
///
/// Only the first of what is there is looked at: numbers grow with time, and looking for old entries among all of them
/// would hold up every write. The newest stays: its number must not be given again.
pub(super) fn prune(conn: &Connection, before: Timestamp) -> Result<u64, Failure> {
    let retention = |before: i64| -> Result<(), Failure> {
        conn.prepare_cached("UPDATE audit_retention SET before = ?1")?.execute([before])?;
        Ok(())
    };
    retention(before.as_microsecond())?;
    let mut delete = conn.prepare_cached(
        "DELETE FROM audit WHERE time < ?1 AND seq IN (SELECT seq FROM audit ORDER BY seq LIMIT ?2)
         AND seq < (SELECT max(seq) FROM audit)",
    )?;
    let removed = delete.execute([before.as_microsecond(), AT_ONCE])? as u64;
    retention(i64::MIN)?;
    if removed > 0 {
        // Nothing points below the first entry any more.
        let sql = "DELETE FROM audit_blocks WHERE block < (SELECT min(seq) FROM audit) / 256";
        conn.prepare_cached(sql)?.execute([])?;
    }
    Ok(removed)
}
