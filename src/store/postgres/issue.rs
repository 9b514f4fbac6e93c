//! Uploads and downloads of a whole batch: what is needed is read for all of them at once, and decided in memory.

use std::collections::HashMap;

use sqlx::PgConnection;
use uuid::Uuid;

use super::batch::Work;
use super::error::Failure;
use super::op::{Done, Line, Op, Upload};
use super::reads;
use super::rows::PgColumns;
use crate::domain::bytes::Sha256Digest;
use crate::domain::object::Object;
use crate::store::columns::Columns;
use crate::store::values::int;
use crate::store::{DownloadOutcome, Idempotency, IssueDownload, IssueOutcome};

/// What an idempotency key is unique within, and the key.
type Key = (String, String, String, String);

fn key_of(object: &Object, idempotency: &Idempotency) -> Key {
    let environment = object.environment.as_str().to_owned();
    (object.app.to_string(), object.workflow.to_string(), environment, idempotency.key.clone())
}

/// See [`crate::store::Store::issue_upload`].
pub(super) async fn uploads<'a>(
    conn: &mut PgConnection,
    ops: &[&'a Op],
    done: &mut [Done],
    work: &mut Work<'a>,
) -> Result<(), Failure> {
    let asked: Vec<(usize, &'a Upload)> = ops
        .iter()
        .enumerate()
        .filter_map(|(at, op)| if let Op::IssueUpload(upload) = op { Some((at, &**upload)) } else { None })
        .collect();
    let mut known = known_keys(conn, &asked).await?;
    let mut keys = Vec::new();
    for (at, upload) in asked {
        let object = &*upload.object;
        let key = upload.idempotency.as_ref().map(|idempotency| (key_of(object, idempotency), idempotency.body));
        if let Some((key, body)) = &key
            && let Some(before) = known.get(key)
        {
            done[at] = Done::Issued(repeated(conn, upload, *body, before, work).await?);
            continue;
        }
        let counted = work.used.count(&upload.holders, &upload.quota, |used, holder, limits| {
            used.with_upload(holder, limits, object.size, object.created_at)
        });
        done[at] = Done::Issued(match counted {
            Err(met) => IssueOutcome::QuotaMet(met),
            Ok(()) => {
                work.insert(object);
                work.record(&upload.line);
                if let Some((key, body)) = key {
                    keys.push((key.clone(), body, object));
                    known.insert(key, (body, Before::InThisBatch(object)));
                }
                IssueOutcome::Issued
            }
        });
    }
    insert_keys(conn, keys).await
}

/// What a key stands for already.
enum Before<'a> {
    Committed(Uuid),
    InThisBatch(&'a Object),
}

type Known<'a> = HashMap<Key, (Sha256Digest, Before<'a>)>;

async fn known_keys<'a>(conn: &mut PgConnection, asked: &[(usize, &'a Upload)]) -> Result<Known<'a>, Failure> {
    let keys: Vec<Key> = asked
        .iter()
        .filter_map(|(_, upload)| upload.idempotency.as_ref().map(|idempotency| key_of(&upload.object, idempotency)))
        .collect();
    let mut known = HashMap::new();
    if keys.is_empty() {
        return Ok(known);
    }
    let sql = "SELECT app, workflow, environment, key, body, object_id FROM idempotency
               WHERE (app, workflow, environment, key) IN
               (SELECT * FROM UNNEST($1::text[], $2::text[], $3::text[], $4::text[]))";
    let rows = sqlx::query(sql)
        .bind(keys.iter().map(|key| key.0.as_str()).collect::<Vec<_>>())
        .bind(keys.iter().map(|key| key.1.as_str()).collect::<Vec<_>>())
        .bind(keys.iter().map(|key| key.2.as_str()).collect::<Vec<_>>())
        .bind(keys.iter().map(|key| key.3.as_str()).collect::<Vec<_>>())
        .fetch_all(conn)
        .await?;
    for row in rows {
        let columns = &mut PgColumns::of(&row);
        let key = (columns.get()?, columns.get()?, columns.get()?, columns.get()?);
        known.insert(key, (columns.digest()?, Before::Committed(columns.get()?)));
    }
    Ok(known)
}

async fn repeated<'a>(
    conn: &mut PgConnection,
    upload: &'a Upload,
    body: Sha256Digest,
    (before_body, before): &(Sha256Digest, Before<'a>),
    work: &mut Work<'a>,
) -> Result<IssueOutcome, Failure> {
    if body != *before_body {
        return Ok(IssueOutcome::KeyReused);
    }
    let object = match before {
        Before::InThisBatch(object) => (*object).clone(),
        Before::Committed(id) => reads::object(conn, crate::domain::ids::ObjectId::from_uuid(*id))
            .await?
            .ok_or_else(|| Failure::unreadable("idempotency", "it names an object that is not there"))?,
    };
    // Otherwise the caller refuses, and records that.
    if object.awaits_upload(upload.object.created_at) {
        // The entry was written for the object that would have been made; it is about the one that is there.
        let mut entry = upload.line.entry.clone();
        entry.object_id = Some(object.id);
        entry.grant_id = Some(object.grant);
        work.record(Line::encode(entry).map_err(|error| Failure::Refused(error.to_string()))?);
    }
    Ok(IssueOutcome::Repeated(Box::new(object)))
}

async fn insert_keys(conn: &mut PgConnection, mut keys: Vec<(Key, Sha256Digest, &Object)>) -> Result<(), Failure> {
    if keys.is_empty() {
        return Ok(());
    }
    // Two batches that hold the same keys meet in the same order.
    keys.sort_by(|a, b| a.0.cmp(&b.0));
    let sql = "INSERT INTO idempotency (app, workflow, environment, key, body, object_id, created_at)
        SELECT * FROM UNNEST($1::text[], $2::text[], $3::text[], $4::text[], $5::bytea[], $6::uuid[], $7::bigint[])";
    sqlx::query(sql)
        .bind(keys.iter().map(|(key, ..)| key.0.as_str()).collect::<Vec<_>>())
        .bind(keys.iter().map(|(key, ..)| key.1.as_str()).collect::<Vec<_>>())
        .bind(keys.iter().map(|(key, ..)| key.2.as_str()).collect::<Vec<_>>())
        .bind(keys.iter().map(|(key, ..)| key.3.as_str()).collect::<Vec<_>>())
        .bind(keys.iter().map(|(_, body, _)| &body.0[..]).collect::<Vec<_>>())
        .bind(keys.iter().map(|(.., object)| object.id.uuid()).collect::<Vec<_>>())
        .bind(keys.iter().map(|(.., object)| object.created_at.as_microsecond()).collect::<Vec<_>>())
        .execute(conn)
        .await?;
    Ok(())
}

/// See [`crate::store::Store::issue_download`]. The object's row is not locked: the object was at its revision at one instant between
/// the question and the answer, which is all that a lock could say after the commit.
pub(super) async fn downloads<'a>(
    conn: &mut PgConnection,
    ops: &[&'a Op],
    done: &mut [Done],
    work: &mut Work<'a>,
) -> Result<(), Failure> {
    let ids: Vec<Uuid> = ops
        .iter()
        .filter_map(|op| if let Op::IssueDownload(download) = op { Some(download.issue.object.uuid()) } else { None })
        .collect();
    if ids.is_empty() {
        return Ok(());
    }
    // Joined rather than `= ANY`, so that each id looks into its own month only, however many there are.
    let sql = "SELECT objects.id, objects.revision FROM UNNEST($1::uuid[]) AS asked (id)
               JOIN objects ON objects.id = asked.id";
    let rows = sqlx::query(sql).bind(&ids).fetch_all(&mut *conn).await?;
    let mut revisions = HashMap::new();
    for row in rows {
        let columns = &mut PgColumns::of(&row);
        revisions.insert(columns.get::<Uuid>()?, columns.get::<i64>()?);
    }
    let mut links = Vec::new();
    for (at, op) in ops.iter().enumerate() {
        let Op::IssueDownload(download) = op else { continue };
        let (issue, charge) = (&download.issue, &download.issue.charge);
        if revisions.get(&issue.object.uuid()) != Some(&int(issue.revision)) {
            done[at] = Done::Downloaded(DownloadOutcome::Changed);
            continue;
        }
        let counted = work.used.count(&download.holders, &charge.quota, |used, holder, limits| {
            used.with_download(holder, limits, charge.bytes, charge.at)
        });
        done[at] = Done::Downloaded(match counted {
            Err(met) => DownloadOutcome::QuotaMet(met),
            Ok(()) => {
                work.record(&download.line);
                links.extend(issue.link.as_ref().map(|_| issue));
                DownloadOutcome::Issued
            }
        });
    }
    insert_links(conn, &links).await
}

async fn insert_links(conn: &mut PgConnection, issued: &[&IssueDownload]) -> Result<(), Failure> {
    for issue in issued {
        let Some(link) = &issue.link else { continue };
        let sql = "INSERT INTO links (hash, object_id, grant_id, token_id, disposition, lawful_basis, expires_at)
                   VALUES ($1, $2, $3, $4, $5, $6, $7)";
        sqlx::query(sql)
            .bind(&link.hash[..])
            .bind(issue.object.uuid())
            .bind(issue.grant.uuid())
            .bind(link.token.as_str())
            .bind(link.disposition.as_str())
            .bind(link.lawful_basis.as_deref())
            .bind(link.expires_at.as_microsecond())
            .execute(&mut *conn)
            .await?;
    }
    Ok(())
}
