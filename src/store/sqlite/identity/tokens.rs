//! Rows of `tokens`.

use jiff::Timestamp;
use rusqlite::types::Value;
use rusqlite::{Connection, ToSql, params};

use super::revocations::blocking;
use super::tokens_changed;
use crate::domain::ids::TokenId;
use crate::store::columns::token_columns;
use crate::store::sqlite::batch::Batch;
use crate::store::sqlite::error::Failure;
use crate::store::sqlite::rows;
use crate::store::sqlite::trail::AuditLine;
use crate::store::values::{HolderColumns, limit};
use crate::store::{CreateOutcome, RotateOutcome, RotateToken, TokenOrigin, TokenQuery, TokenRecord, targets};

/// See [`crate::store::IdentityStore::create_token`].
pub(super) fn create(batch: &mut Batch<'_>, token: &TokenRecord, audit: &AuditLine) -> Result<CreateOutcome, Failure> {
    if let Some(block) = blocking(batch.conn, &token.targets())? {
        return Ok(CreateOutcome::Blocked(Box::new(block)));
    }
    if let Some(parent) = &token.parent
        && !one(batch.conn, parent)?.is_some_and(|parent| parent.may_have(token))
    {
        return Ok(CreateOutcome::ParentEnded);
    }
    insert(batch.conn, token)?;
    batch.record(audit)?;
    Ok(CreateOutcome::Created)
}

/// See [`crate::store::IdentityStore::rotate_token`].
pub(super) fn rotate(batch: &mut Batch<'_>, rotate: &RotateToken, audit: &AuditLine) -> Result<RotateOutcome, Failure> {
    let (new, now) = (&rotate.new, rotate.new.created_at);
    let old = one(batch.conn, &rotate.old)?.filter(|old| old.is_in_force(now));
    let Some(old) = old else { return Ok(RotateOutcome::NotInForce) };
    if let Some(successor) = living_successor(batch.conn, &old, now)? {
        return Ok(RotateOutcome::HasSuccessor(successor));
    }
    if let Some(block) = blocking(batch.conn, &new.targets())? {
        return Ok(RotateOutcome::Blocked(Box::new(block)));
    }
    insert(batch.conn, new)?;
    succeed(batch.conn, &old.id, &new.id, rotate.old_ends_at)?;
    batch.record(audit)?;
    Ok(RotateOutcome::Rotated)
}

/// The token that has taken this one's place, where that one is in force: the delivery of another may have failed.
pub(in crate::store::sqlite) fn living_successor(
    conn: &Connection,
    old: &TokenRecord,
    now: Timestamp,
) -> Result<Option<TokenId>, Failure> {
    let Some(id) = &old.successor else { return Ok(None) };
    Ok(one(conn, id)?.filter(|successor| successor.is_in_force(now)).map(|successor| successor.id))
}

/// Notes that `new` takes the place of `old`, which ends then at the latest, and with it what was derived from it.
pub(in crate::store::sqlite) fn succeed(
    conn: &Connection,
    old: &TokenId,
    new: &TokenId,
    old_ends_at: Timestamp,
) -> Result<(), Failure> {
    let mut update = conn.prepare_cached(
        "UPDATE tokens SET successor = ?2, expires_at = min(coalesce(expires_at, ?3), ?3) WHERE id = ?1",
    )?;
    update.execute(params![old.as_str(), new.as_str(), old_ends_at.as_microsecond()])?;
    let mut derived = conn.prepare_cached(targets::END_DERIVED)?;
    derived.execute(params![old.as_str(), old_ends_at.as_microsecond()])?;
    tokens_changed(conn)
}

/// See [`crate::store::IdentityStore::tokens_used`].
pub(super) fn used(conn: &Connection, used: &[(TokenId, Timestamp)]) -> Result<(), Failure> {
    let sql = "UPDATE tokens SET last_used_at = ?2 WHERE id = ?1 AND (last_used_at IS NULL OR last_used_at < ?2)";
    let mut update = conn.prepare_cached(sql)?;
    for (id, at) in used {
        update.execute(params![id.as_str(), at.as_microsecond()])?;
    }
    Ok(())
}

/// See [`crate::store::IdentityStore::token`].
pub(in crate::store::sqlite) fn one(conn: &Connection, id: &TokenId) -> Result<Option<TokenRecord>, Failure> {
    let sql = concat!("SELECT ", token_columns!(), " FROM tokens WHERE id = ?1");
    rows::one(conn, sql, &[&id.as_str()], rows::token)
}

/// See [`crate::store::IdentityStore::tokens`].
pub(super) fn page(conn: &Connection, query: &TokenQuery) -> Result<Vec<TokenRecord>, Failure> {
    let time = |time: Timestamp| Value::Integer(time.as_microsecond());
    let text = |text: &str| Value::Text(text.to_owned());
    // Only what is asked for, so that SQLite chooses the index that fits.
    let mut filters = vec![("TRUE", vec![])];
    filters.extend(query.app.as_ref().map(|app| ("app = ?", vec![text(app.as_str())])));
    filters.extend(query.owner.as_ref().map(|owner| ("owner = ?", vec![text(owner.as_str())])));
    filters.extend(query.origin.map(|origin| match origin {
        TokenOrigin::Provisioned => ("origin IS NULL", vec![]),
        other => ("origin = ?", vec![text(other.as_str())]),
    }));
    let in_force = "revoked_at IS NULL AND (expires_at IS NULL OR expires_at > ?)";
    filters.extend(query.in_force_at.map(|now| (in_force, vec![time(now)])));
    let before = query.before.as_ref();
    filters.extend(before.map(|(at, id)| ("(created_at, id) < (?, ?)", vec![time(*at), text(id.as_str())])));
    let (conditions, values): (Vec<_>, Vec<_>) = filters.into_iter().unzip();
    let sql = format!(
        "SELECT {} FROM tokens WHERE {} ORDER BY created_at DESC, id DESC LIMIT ?",
        token_columns!(),
        conditions.join(" AND ")
    );
    let values: Vec<Value> = values.into_iter().flatten().chain([Value::Integer(limit(query.limit))]).collect();
    let params: Vec<&dyn ToSql> = values.iter().map(|value| value as &dyn ToSql).collect();
    rows::many(conn, &sql, &params, rows::token)
}

/// Writes a new token.
pub(in crate::store::sqlite) fn insert(conn: &Connection, token: &TokenRecord) -> Result<(), Failure> {
    let columns = HolderColumns::of(&token.holder).map_err(Failure::unwritable)?;
    let mut insert = conn.prepare_cached(concat!(
        "INSERT INTO tokens (",
        token_columns!(),
        ", user_id, device) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, \
         ?20, ?21, ?22, ?23)"
    ))?;
    insert.execute(params![
        token.id.as_str(),
        token.hash.0,
        columns.holder,
        columns.name,
        columns.app,
        columns.owner,
        columns.environment,
        columns.scopes,
        token.created_at.as_microsecond(),
        token.expires_at.map(Timestamp::as_microsecond),
        token.revoked_at.map(Timestamp::as_microsecond),
        columns.subject,
        columns.roles,
        (token.origin != TokenOrigin::Provisioned).then(|| token.origin.as_str()),
        token.issuer,
        token.parent.as_ref().map(TokenId::as_str),
        token.binding.map(|binding| binding.to_string()),
        token.key.as_ref().map(|key| key.as_str()),
        token.last_used_at.map(Timestamp::as_microsecond),
        token.successor.as_ref().map(TokenId::as_str),
        token.request.map(|request| request.to_string()),
        columns.user,
        columns.device,
    ])?;
    Ok(())
}
