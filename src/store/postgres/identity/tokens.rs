//! Rows of `tokens`.

use jiff::Timestamp;
use sqlx::{AssertSqlSafe, PgConnection};

use super::revocations::{blocking, numbered};
use super::{hold_tokens, share_tokens, tokens_changed};
use crate::domain::ids::TokenId;
use crate::store::columns::token_columns;
use crate::store::postgres::batch::Work;
use crate::store::postgres::error::Failure;
use crate::store::postgres::op::Line;
use crate::store::postgres::rows::{self, text};
use crate::store::values::{HolderColumns, limit};
use crate::store::{CreateOutcome, RotateOutcome, RotateToken, TokenOrigin, TokenQuery, TokenRecord, targets};

/// See [`crate::store::IdentityStore::create_token`].
pub(in crate::store::postgres) async fn create<'a>(
    conn: &mut PgConnection,
    token: &TokenRecord,
    line: &'a Line,
    work: &mut Work<'a>,
) -> Result<CreateOutcome, Failure> {
    share_tokens(conn).await?;
    if let Some(block) = blocking(conn, &token.targets()).await? {
        return Ok(CreateOutcome::Blocked(Box::new(block)));
    }
    if let Some(parent) = &token.parent
        && !one(conn, parent).await?.is_some_and(|parent| parent.may_have(token))
    {
        return Ok(CreateOutcome::ParentEnded);
    }
    insert(conn, token).await?;
    work.record(line);
    Ok(CreateOutcome::Created)
}

/// See [`crate::store::IdentityStore::rotate_token`].
pub(in crate::store::postgres) async fn rotate<'a>(
    conn: &mut PgConnection,
    rotate: &RotateToken,
    line: &'a Line,
    work: &mut Work<'a>,
) -> Result<RotateOutcome, Failure> {
    let (new, now) = (&rotate.new, rotate.new.created_at);
    // What is derived from the old one ends with it, so that nobody may make more of that meanwhile.
    hold_tokens(conn).await?;
    let old = one(conn, &rotate.old).await?.filter(|old| old.is_in_force(now));
    let Some(old) = old else { return Ok(RotateOutcome::NotInForce) };
    if let Some(successor) = living_successor(conn, &old, now).await? {
        return Ok(RotateOutcome::HasSuccessor(successor));
    }
    if let Some(block) = blocking(conn, &new.targets()).await? {
        return Ok(RotateOutcome::Blocked(Box::new(block)));
    }
    insert(conn, new).await?;
    succeed(conn, &old.id, &new.id, rotate.old_ends_at).await?;
    work.record(line);
    Ok(RotateOutcome::Rotated)
}

/// The token that has taken this one's place, where that one is in force: the delivery of another may have failed.
pub(in crate::store::postgres) async fn living_successor(
    conn: &mut PgConnection,
    old: &TokenRecord,
    now: Timestamp,
) -> Result<Option<TokenId>, Failure> {
    let Some(id) = &old.successor else { return Ok(None) };
    Ok(one(conn, id).await?.filter(|successor| successor.is_in_force(now)).map(|successor| successor.id))
}

/// Notes that `new` takes the place of `old`, which ends then at the latest, and with it what was derived from it.
pub(in crate::store::postgres) async fn succeed(
    conn: &mut PgConnection,
    old: &TokenId,
    new: &TokenId,
    old_ends_at: Timestamp,
) -> Result<(), Failure> {
    let sql = "UPDATE tokens SET successor = $2, expires_at = least(coalesce(expires_at, $3), $3) WHERE id = $1";
    let update = sqlx::query(sql).bind(old.as_str()).bind(new.as_str()).bind(old_ends_at.as_microsecond());
    update.execute(&mut *conn).await?;
    let derived = sqlx::query(numbered(targets::END_DERIVED)).bind(old.as_str()).bind(old_ends_at.as_microsecond());
    derived.execute(&mut *conn).await?;
    tokens_changed(conn).await
}

/// See [`crate::store::IdentityStore::tokens_used`].
pub(in crate::store::postgres) async fn used(
    conn: &mut PgConnection,
    used: &[(TokenId, Timestamp)],
) -> Result<(), Failure> {
    share_tokens(conn).await?;
    let sql = "UPDATE tokens SET last_used_at = used.at
               FROM (SELECT id, max(at) AS at FROM UNNEST($1::text[], $2::bigint[]) AS each (id, at) GROUP BY id) AS used
               WHERE tokens.id = used.id AND (last_used_at IS NULL OR last_used_at < used.at)";
    let ids: Vec<&str> = used.iter().map(|(id, _)| id.as_str()).collect();
    let times: Vec<i64> = used.iter().map(|(_, at)| at.as_microsecond()).collect();
    sqlx::query(sql).bind(ids).bind(times).execute(conn).await?;
    Ok(())
}

/// See [`crate::store::IdentityStore::token`].
pub(in crate::store::postgres) async fn one(
    conn: &mut PgConnection,
    id: &TokenId,
) -> Result<Option<TokenRecord>, Failure> {
    let sql = concat!("SELECT ", token_columns!(), " FROM tokens WHERE id = $1");
    let row = sqlx::query(sql).bind(id.as_str()).fetch_optional(conn).await?;
    row.as_ref().map(rows::token).transpose()
}

/// See [`crate::store::IdentityStore::tokens`].
pub(super) async fn page(conn: &mut PgConnection, query: &TokenQuery) -> Result<Vec<TokenRecord>, Failure> {
    // Only what is asked for, so that the index that fits is chosen. Each of the others is there to be bound.
    let provisioned = query.origin == Some(TokenOrigin::Provisioned);
    let filters = [
        (query.app.is_some(), "app = $1", "$1::text IS NULL"),
        (query.owner.is_some(), "owner = $2", "$2::text IS NULL"),
        (query.origin.is_some() && !provisioned, "origin = $3", "$3::text IS NULL"),
        (
            query.in_force_at.is_some(),
            "revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $4)",
            "$4::bigint IS NULL",
        ),
        (query.before.is_some(), "(created_at, id) < ($5, $6)", "$5::bigint IS NULL AND $6::text IS NULL"),
        (provisioned, "origin IS NULL", "TRUE"),
    ];
    let conditions: Vec<_> = filters.iter().map(|(asked, some, none)| if *asked { *some } else { *none }).collect();
    let sql = format!(
        "SELECT {} FROM tokens WHERE {} ORDER BY created_at DESC, id DESC LIMIT $7",
        token_columns!(),
        conditions.join(" AND ")
    );
    let (at, id) = query.before.as_ref().map(|(at, id)| (at.as_microsecond(), id.as_str())).unzip();
    // The text is made of the literals above.
    let rows = sqlx::query(AssertSqlSafe(sql))
        .bind(query.app.as_ref().map(|app| app.as_str()))
        .bind(query.owner.as_ref().map(|owner| owner.as_str()))
        .bind(query.origin.filter(|_| !provisioned).map(TokenOrigin::as_str))
        .bind(query.in_force_at.map(Timestamp::as_microsecond))
        .bind(at)
        .bind(id)
        .bind(limit(query.limit))
        .fetch_all(conn)
        .await?;
    rows.iter().map(rows::token).collect()
}

/// Writes a new token.
pub(in crate::store::postgres) async fn insert(conn: &mut PgConnection, token: &TokenRecord) -> Result<(), Failure> {
    let columns = HolderColumns::of(&token.holder).map_err(Failure::unwritable)?;
    let sql = concat!(
        "INSERT INTO tokens (",
        token_columns!(),
        ", user_id, device) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, \
         $20, $21, $22, $23)"
    );
    sqlx::query(sql)
        .bind(token.id.as_str())
        .bind(&token.hash.0[..])
        .bind(columns.holder)
        .bind(text(columns.name))
        .bind(columns.app)
        .bind(columns.owner)
        .bind(columns.environment)
        .bind(columns.scopes)
        .bind(token.created_at.as_microsecond())
        .bind(token.expires_at.map(Timestamp::as_microsecond))
        .bind(token.revoked_at.map(Timestamp::as_microsecond))
        .bind(columns.subject)
        .bind(columns.roles)
        .bind((token.origin != TokenOrigin::Provisioned).then(|| token.origin.as_str()))
        .bind(token.issuer.as_deref())
        .bind(token.parent.as_ref().map(TokenId::as_str))
        .bind(token.binding.map(|binding| binding.to_string()))
        .bind(token.key.as_ref().map(|key| key.as_str()))
        .bind(token.last_used_at.map(Timestamp::as_microsecond))
        .bind(token.successor.as_ref().map(TokenId::as_str))
        .bind(token.request.map(|request| request.to_string()))
        .bind(columns.user)
        .bind(columns.device)
        .execute(conn)
        .await?;
    Ok(())
}
