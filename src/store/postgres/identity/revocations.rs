//! Rows of `revocations`, and what a revocation does to tokens.

use jiff::Timestamp;
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, PgConnection};
use uuid::Uuid;

use super::{hold_tokens, tokens_changed};
use crate::domain::ids::{ObjectId, RevocationId, TokenId};
use crate::domain::object::Object;
use crate::domain::revocation::RevocationTarget;
use crate::store::columns::{self, Columns, object_columns, revocation_columns};
use crate::store::postgres::batch::Work;
use crate::store::postgres::error::Failure;
use crate::store::postgres::op::Line;
use crate::store::postgres::reads::all;
use crate::store::postgres::rows::{self, PgColumns, text};
use crate::store::values::{NAMED, SKEW, int, limit};
use crate::store::{KeyPurpose, Lifted, ObjectsOf, RevocationQuery, RevocationRecord, Revoke, Revoked, targets};

/// A statement for both databases as this one writes it.
pub(super) fn numbered(sql: &str) -> AssertSqlSafe<String> {
    // Made of literals; no value is in it.
    AssertSqlSafe(sql.replace('?', "$"))
}

fn records(rows: &[PgRow]) -> Result<Vec<RevocationRecord>, Failure> {
    all(rows, |columns| columns::revocation(columns))
}

/// See [`crate::store::IdentityStore::revoke`].
pub(in crate::store::postgres) async fn revoke<'a>(
    conn: &mut PgConnection,
    revoke: &Revoke,
    line: &'a Line,
    work: &mut Work<'a>,
) -> Result<Revoked, Failure> {
    hold_tokens(conn).await?;
    // What a program has written meanwhile that does not know these columns.
    let fill = "UPDATE tokens SET user_id = subject::json ->> 'user', device = subject::json ->> 'device'
                WHERE user_id IS NULL AND subject IS NOT NULL";
    sqlx::query(fill).execute(&mut *conn).await?;
    let (app, id) = revoke.target.parts();
    let sql = format!(
        "WITH RECURSIVE {}
         UPDATE tokens SET revoked_at = ?3 WHERE id IN (SELECT id FROM concerned) RETURNING id",
        targets::in_force(&revoke.target)
    );
    let alive_after = revoke.at.checked_sub(SKEW).map_or(i64::MIN, Timestamp::as_microsecond);
    let rows = sqlx::query(numbered(&sql))
        .bind(id)
        .bind(app)
        .bind(revoke.at.as_microsecond())
        .bind(alive_after)
        .fetch_all(&mut *conn)
        .await?;
    let killed = rows.len() as u64;
    let tokens = all(&rows[..rows.len().min(NAMED)], |columns| columns.parsed())?;
    let insert = sqlx::query(
        "INSERT INTO revocations (id, target, at, revoked_by, reason, blocks, contain, killed)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    );
    insert
        .bind(revoke.id.to_string())
        .bind(revoke.target.to_string())
        .bind(revoke.at.as_microsecond())
        .bind(text(&revoke.by))
        .bind(text(&revoke.reason))
        .bind(i64::from(revoke.blocks))
        .bind(i64::from(revoke.contain))
        .bind(int(killed))
        .execute(&mut *conn)
        .await?;
    if let RevocationTarget::Key(key) = &revoke.target {
        let retire = sqlx::query(numbered(targets::RETIRE_KEY)).bind(key.as_str());
        retire.bind(KeyPurpose::TokenSigning.as_str()).bind(revoke.at.as_microsecond()).execute(&mut *conn).await?;
    }
    tokens_changed(conn).await?;
    work.record(line);
    Ok(Revoked { killed, tokens })
}

/// See [`crate::store::IdentityStore::revocations`].
pub(super) async fn page(conn: &mut PgConnection, query: &RevocationQuery) -> Result<Vec<RevocationRecord>, Failure> {
    let sql = concat!(
        "SELECT ",
        revocation_columns!(),
        " FROM revocations WHERE ($1::text IS NULL OR id < $1) AND ($2::text IS NULL OR target = $2)
         AND (NOT $3 OR blocks = 1 AND lifted_at IS NULL) ORDER BY id DESC LIMIT $4"
    );
    let rows = sqlx::query(sql)
        .bind(query.before.map(|id| id.to_string()))
        .bind(query.target.as_ref().map(ToString::to_string))
        .bind(query.blocking)
        .bind(limit(query.limit))
        .fetch_all(conn)
        .await?;
    records(&rows)
}

/// See [`crate::store::IdentityStore::revocation`].
pub(super) async fn one(conn: &mut PgConnection, id: RevocationId) -> Result<Option<RevocationRecord>, Failure> {
    let sql = concat!("SELECT ", revocation_columns!(), " FROM revocations WHERE id = $1");
    let row = sqlx::query(sql).bind(id.to_string()).fetch_optional(conn).await?;
    row.as_ref().map(|row| columns::revocation(&mut PgColumns::of(row))).transpose()
}

/// See [`crate::store::IdentityStore::tokens_revoked_by`].
pub(super) async fn ended(conn: &mut PgConnection, revocation: &RevocationRecord) -> Result<Vec<TokenId>, Failure> {
    let (app, id) = revocation.target.parts();
    let sql = targets::ended(&revocation.target);
    let ended = sqlx::query(numbered(&sql)).bind(id).bind(app).bind(revocation.at.as_microsecond()).bind(limit(NAMED));
    all(&ended.fetch_all(conn).await?, |columns| columns.parsed())
}

/// See [`crate::store::IdentityStore::blocked`].
pub(in crate::store::postgres) async fn blocking(
    conn: &mut PgConnection,
    targets: &[RevocationTarget],
) -> Result<Option<RevocationRecord>, Failure> {
    let sql = concat!(
        "SELECT ",
        revocation_columns!(),
        " FROM revocations WHERE target = ANY($1) AND blocks = 1 AND lifted_at IS NULL ORDER BY id DESC LIMIT 1"
    );
    let targets: Vec<String> = targets.iter().map(ToString::to_string).collect();
    let row = sqlx::query(sql).bind(targets).fetch_optional(conn).await?;
    row.as_ref().map(|row| columns::revocation(&mut PgColumns::of(row))).transpose()
}

/// See [`crate::store::IdentityStore::revoked_since`].
pub(in crate::store::postgres) async fn since(
    conn: &mut PgConnection,
    targets: &[RevocationTarget],
    since: Timestamp,
) -> Result<Option<RevocationRecord>, Failure> {
    let sql = concat!(
        "SELECT ",
        revocation_columns!(),
        " FROM revocations WHERE target = ANY($1) 
         AND (at >= $2 OR target LIKE 'token:%' OR blocks = 1 AND lifted_at IS NULL) ORDER BY id DESC LIMIT 1"
    );
    let targets: Vec<String> = targets.iter().map(ToString::to_string).collect();
    let row = sqlx::query(sql).bind(targets).bind(since.as_microsecond()).fetch_optional(conn).await?;
    row.as_ref().map(|row| columns::revocation(&mut PgColumns::of(row))).transpose()
}

/// See [`crate::store::IdentityStore::lift_revocation`].
pub(in crate::store::postgres) async fn lift<'a>(
    conn: &mut PgConnection,
    id: RevocationId,
    lifted: &Lifted,
    line: &'a Line,
    work: &mut Work<'a>,
) -> Result<bool, Failure> {
    let update = sqlx::query(
        "UPDATE revocations SET lifted_at = $2, lifted_by = $3 WHERE id = $1 AND blocks = 1 AND lifted_at IS NULL",
    );
    let update = update.bind(id.to_string()).bind(lifted.at.as_microsecond()).bind(text(&lifted.by));
    if update.execute(conn).await?.rows_affected() == 0 {
        return Ok(false);
    }
    work.record(line);
    Ok(true)
}

/// See [`crate::store::IdentityStore::to_contain`].
pub(super) async fn to_contain(conn: &mut PgConnection, count: usize) -> Result<Vec<RevocationRecord>, Failure> {
    let sql = concat!(
        "SELECT ",
        revocation_columns!(),
        " FROM revocations WHERE contain = 1 AND contained_at IS NULL ORDER BY id LIMIT $1"
    );
    records(&sqlx::query(sql).bind(limit(count)).fetch_all(conn).await?)
}

/// See [`crate::store::IdentityStore::contained`].
pub(in crate::store::postgres) async fn contained<'a>(
    conn: &mut PgConnection,
    id: RevocationId,
    at: Timestamp,
    line: &'a Line,
    work: &mut Work<'a>,
) -> Result<bool, Failure> {
    let update =
        sqlx::query("UPDATE revocations SET contained_at = $2 WHERE id = $1 AND contain = 1 AND contained_at IS NULL");
    if update.bind(id.to_string()).bind(at.as_microsecond()).execute(conn).await?.rows_affected() == 0 {
        return Ok(false);
    }
    work.record(line);
    Ok(true)
}

/// See [`crate::store::IdentityStore::objects_of`].
pub(super) async fn objects_of(conn: &mut PgConnection, query: &ObjectsOf) -> Result<Vec<Object>, Failure> {
    let (app, id) = query.target.parts();
    let sql = format!(
        "WITH RECURSIVE {} SELECT {} FROM objects WHERE {} ORDER BY id LIMIT ?4",
        targets::concerned(&query.target),
        object_columns!(),
        targets::objects(&query.target)
    );
    let rows = sqlx::query(numbered(&sql))
        .bind(id)
        .bind(app)
        .bind(query.after.map_or(Uuid::nil(), ObjectId::uuid))
        .bind(limit(query.limit))
        .fetch_all(conn)
        .await?;
    rows.iter().map(rows::object).collect()
}
