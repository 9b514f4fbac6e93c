//! Rows of `revocations`, and what a revocation does to tokens.

use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::tokens_changed;
use crate::domain::ids::{RevocationId, TokenId};
use crate::domain::object::Object;
use crate::domain::revocation::RevocationTarget;
use crate::store::columns::{self, Columns, object_columns, revocation_columns};
use crate::store::sqlite::batch::Batch;
use crate::store::sqlite::error::Failure;
use crate::store::sqlite::rows::{self, SqliteColumns, many};
use crate::store::sqlite::trail::AuditLine;
use crate::store::values::{NAMED, SKEW, int, limit};
use crate::store::{KeyPurpose, ObjectsOf, RevocationQuery, RevocationRecord, Revoke, Revoked, targets};

fn record(columns: &mut SqliteColumns<'_>) -> Result<RevocationRecord, Failure> {
    columns::revocation(columns)
}

/// See [`crate::store::IdentityStore::revoke`].
pub(super) fn revoke(batch: &mut Batch<'_>, revoke: &Revoke, audit: &AuditLine) -> Result<Revoked, Failure> {
    let (app, id) = revoke.target.parts();
    let at = revoke.at.as_microsecond();
    let alive_after = revoke.at.checked_sub(SKEW).map_or(i64::MIN, Timestamp::as_microsecond);
    let sql = format!(
        "WITH RECURSIVE {}
         UPDATE tokens SET revoked_at = ?3 WHERE id IN (SELECT id FROM concerned) RETURNING id",
        targets::in_force(&revoke.target)
    );
    let mut tokens = many(batch.conn, &sql, &[&id, &app, &at, &alive_after], |columns| columns.parsed())?;
    let killed = tokens.len() as u64;
    tokens.truncate(NAMED);
    let mut insert = batch.conn.prepare_cached(
        "INSERT INTO revocations (id, target, at, revoked_by, reason, blocks, contain, killed)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?;
    insert.execute(params![
        revoke.id.text().as_str(),
        revoke.target.to_string(),
        at,
        revoke.by,
        revoke.reason,
        revoke.blocks,
        revoke.contain,
        int(killed),
    ])?;
    if let RevocationTarget::Key(key) = &revoke.target {
        let mut retire = batch.conn.prepare_cached(targets::RETIRE_KEY)?;
        retire.execute(params![key.as_str(), KeyPurpose::TokenSigning.as_str(), at])?;
    }
    tokens_changed(batch.conn)?;
    batch.record(audit)?;
    Ok(Revoked { killed, tokens })
}

/// See [`crate::store::IdentityStore::revocations`].
pub(super) fn page(conn: &Connection, query: &RevocationQuery) -> Result<Vec<RevocationRecord>, Failure> {
    let sql = concat!(
        "SELECT ",
        revocation_columns!(),
        " FROM revocations WHERE id < ?1 AND (?2 IS NULL OR target = ?2) AND (NOT ?3 OR blocks = 1 AND lifted_at IS NULL)
         ORDER BY id DESC LIMIT ?4"
    );
    // '~' sorts after every id.
    let before = query.before.map_or_else(|| "~".to_owned(), |id| id.to_string());
    let target = query.target.as_ref().map(ToString::to_string);
    many(conn, sql, &[&before, &target, &query.blocking, &limit(query.limit)], record)
}

/// See [`crate::store::IdentityStore::revocation`].
pub(super) fn one(conn: &Connection, id: RevocationId) -> Result<Option<RevocationRecord>, Failure> {
    let sql = concat!("SELECT ", revocation_columns!(), " FROM revocations WHERE id = ?1");
    rows::one(conn, sql, &[&id.text().as_str()], record)
}

/// See [`crate::store::IdentityStore::tokens_revoked_by`].
pub(super) fn ended(conn: &Connection, revocation: &RevocationRecord) -> Result<Vec<TokenId>, Failure> {
    let ((app, id), at) = (revocation.target.parts(), revocation.at.as_microsecond());
    let sql = targets::ended(&revocation.target);
    many(conn, &sql, &[&id, &app, &at, &limit(NAMED)], |columns| columns.parsed())
}

/// See [`crate::store::IdentityStore::blocked`].
pub(in crate::store::sqlite) fn blocking(
    conn: &Connection,
    targets: &[RevocationTarget],
) -> Result<Option<RevocationRecord>, Failure> {
    let sql = concat!(
        "SELECT ",
        revocation_columns!(),
        " FROM revocations WHERE target IN (SELECT value FROM json_each(?1)) AND blocks = 1 AND lifted_at IS NULL
         ORDER BY id DESC LIMIT 1"
    );
    let targets = serde_json::to_string(targets).map_err(Failure::unwritable)?;
    rows::one(conn, sql, &[&targets], record)
}

/// See [`crate::store::IdentityStore::revoked_since`].
pub(in crate::store::sqlite) fn since(
    conn: &Connection,
    targets: &[RevocationTarget],
    since: Timestamp,
) -> Result<Option<RevocationRecord>, Failure> {
    let sql = concat!(
        "SELECT ",
        revocation_columns!(),
        " FROM revocations WHERE target IN (SELECT value FROM json_each(?1)) 
         AND (at >= ?2 OR target LIKE 'token:%' OR blocks = 1 AND lifted_at IS NULL) ORDER BY id DESC LIMIT 1"
    );
    let targets = serde_json::to_string(targets).map_err(Failure::unwritable)?;
    rows::one(conn, sql, &[&targets, &since.as_microsecond()], record)
}

/// See [`crate::store::IdentityStore::lift_revocation`].
pub(super) fn lift(
    batch: &mut Batch<'_>,
    id: RevocationId,
    at: Timestamp,
    by: &str,
    audit: &AuditLine,
) -> Result<bool, Failure> {
    let mut update = batch.conn.prepare_cached(
        "UPDATE revocations SET lifted_at = ?2, lifted_by = ?3 WHERE id = ?1 AND blocks = 1 AND lifted_at IS NULL",
    )?;
    let lifted = update.execute(params![id.text().as_str(), at.as_microsecond(), by])? > 0;
    if lifted {
        batch.record(audit)?;
    }
    Ok(lifted)
}

/// See [`crate::store::IdentityStore::to_contain`].
pub(super) fn to_contain(conn: &Connection, count: usize) -> Result<Vec<RevocationRecord>, Failure> {
    let sql = concat!(
        "SELECT ",
        revocation_columns!(),
        " FROM revocations WHERE contain = 1 AND contained_at IS NULL ORDER BY id LIMIT ?1"
    );
    many(conn, sql, &[&limit(count)], record)
}

/// See [`crate::store::IdentityStore::contained`].
pub(super) fn contained(
    batch: &mut Batch<'_>,
    id: RevocationId,
    at: Timestamp,
    audit: &AuditLine,
) -> Result<bool, Failure> {
    let mut update = batch.conn.prepare_cached(
        "UPDATE revocations SET contained_at = ?2 WHERE id = ?1 AND contain = 1 AND contained_at IS NULL",
    )?;
    let noted = update.execute(params![id.text().as_str(), at.as_microsecond()])? > 0;
    if noted {
        batch.record(audit)?;
    }
    Ok(noted)
}

/// See [`crate::store::IdentityStore::objects_of`].
pub(super) fn objects_of(conn: &Connection, query: &ObjectsOf) -> Result<Vec<Object>, Failure> {
    let (app, id) = query.target.parts();
    let sql = format!(
        "WITH RECURSIVE {} SELECT {} FROM objects WHERE {} ORDER BY id LIMIT ?4",
        targets::concerned(&query.target),
        object_columns!(),
        targets::objects(&query.target)
    );
    let after = query.after.map_or_else(String::new, |id| id.to_string());
    many(conn, &sql, &[&id, &app, &after, &limit(query.limit)], rows::object)
}
