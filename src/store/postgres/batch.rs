//! One transaction for many operations.
//!
//! First what must be written one by one, in the order of the rows that it locks; then uploads and downloads, decided in
//! memory; then everything that was gathered, in one statement of many rows. What an app and its owner use is locked before
//! their quotas are decided and until the commit, so that no two nodes give away the same bytes (P4); see `usage` for the
//! order. Operations check everything before they change anything here.

use std::borrow::Cow;
use std::collections::BTreeSet;

use sqlx::PgConnection;
use uuid::Uuid;

use super::error::Failure;
use super::identity::{revocations, tokens};
use super::numbers::Numbers;
use super::op::{Done, Line, Op};
use super::rows::{text, to_json};
use super::usage::{self, Used};
use super::{access, gateway, issue, jobs, objects, upkeep};
use crate::domain::life::State;
use crate::domain::object::Object;
use crate::domain::quota::QuotaHolder;
use crate::domain::usage::{Settlement, Usage};
use crate::store::Holder;
use crate::store::usage::values;
use crate::store::values::int;

/// Who writes: where its numbers come from, and the shard that it counts in.
#[derive(Clone, Copy)]
pub(super) struct Writer<'n> {
    pub(super) numbers: &'n Numbers,
    pub(super) shard: i16,
}

/// What one transaction gathers.
#[derive(Default)]
pub(super) struct Work<'a> {
    lines: Vec<Cow<'a, Line>>,
    objects: Vec<&'a Object>,
    /// What apps and owners use, once it is locked.
    pub(super) used: Used,
    /// By how much that changes, until then.
    changes: Vec<(Holder, Change)>,
    states: [i64; State::ALL.len()],
}

impl<'a> Work<'a> {
    /// An audit entry to be written.
    pub(super) fn record(&mut self, line: impl Into<Cow<'a, Line>>) {
        self.lines.push(line.into());
    }

    /// A new object to be written; what it holds was counted by the caller.
    pub(super) fn insert(&mut self, object: &'a Object) {
        self.objects.push(object);
        self.count(None, object.life.state());
    }

    /// Counts an object out of one state and into another.
    pub(super) fn count(&mut self, from: Option<State>, to: State) {
        if let Some(from) = from {
            self.states[from as usize] -= 1;
        }
        self.states[to as usize] += 1;
    }

    /// Changes what an object's app and owner use, once their rows are locked.
    pub(super) fn settle(&mut self, holders: [Holder; 2], change: Settlement) {
        if !change.is_nothing() {
            self.changes.extend(holders.map(|holder| (holder, Change::Settled(change))));
        }
    }

    /// Adds what was missing in what somebody uses, once the row is locked.
    pub(super) fn correct(&mut self, holder: &Holder, missing: &Settlement) {
        self.changes.push((holder.clone(), Change::Corrected(*missing)));
    }

    /// Locks what everybody uses whom this batch concerns, and applies the changes that were gathered.
    async fn lock(&mut self, conn: &mut PgConnection, ops: &[&Op]) -> Result<(), Failure> {
        let mut holders: BTreeSet<&Holder> = self.changes.iter().map(|(holder, _)| holder).collect();
        for op in ops {
            match op {
                Op::IssueUpload(upload) => holders.extend(&upload.holders),
                Op::IssueDownload(download) => holders.extend(&download.holders),
                _ => {}
            }
        }
        if holders.is_empty() {
            return Ok(());
        }
        self.used = usage::lock(conn, &holders.into_iter().collect::<Vec<_>>()).await?;
        for (holder, change) in std::mem::take(&mut self.changes) {
            let now = self.used.of(&holder);
            let changed = match change {
                Change::Settled(change) => now.settled(&change),
                Change::Corrected(missing) => now.corrected(&missing),
            };
            self.used.set(&holder, changed);
        }
        Ok(())
    }
}

/// A change of what somebody uses.
enum Change {
    Settled(Settlement),
    Corrected(Settlement),
}

impl<'a> From<&'a Line> for Cow<'a, Line> {
    fn from(line: &'a Line) -> Self {
        Cow::Borrowed(line)
    }
}

impl From<Line> for Cow<'_, Line> {
    fn from(line: Line) -> Self {
        Cow::Owned(line)
    }
}

/// Runs the operations in the transaction that is open: their results in their order, and the text of the audit entries,
/// each with its line end.
pub(super) async fn run(
    conn: &mut PgConnection,
    ops: &[&Op],
    writer: Writer<'_>,
) -> Result<(Vec<Done>, String), Failure> {
    let mut work = Work::default();
    let mut done: Vec<Done> = ops.iter().map(|_| Done::Nothing).collect();
    let mut alone: Vec<usize> = (0..ops.len()).filter(|at| !ops[*at].is_shared()).collect();
    alone.sort_by_key(|at| ops[*at].order());
    for at in alone {
        done[at] = one(conn, ops[at], &mut work, writer).await?;
    }
    work.lock(conn, ops).await?;
    issue::uploads(conn, ops, &mut done, &mut work).await?;
    issue::downloads(conn, ops, &mut done, &mut work).await?;
    for op in ops {
        if let Op::Audit(line) = op {
            work.record(line);
        }
    }
    let lines = work.write(conn, writer).await?;
    Ok((done, lines))
}

/// An operation that is written by itself.
async fn one<'a>(
    conn: &mut PgConnection,
    op: &'a Op,
    work: &mut Work<'a>,
    writer: Writer<'_>,
) -> Result<Done, Failure> {
    match op {
        Op::UseLink(link, line) => objects::use_link(conn, link, line, work).await.map(Done::Flag),
        Op::Advance(advance, lines) => objects::advance(conn, advance, lines, work).await.map(Done::Advanced),
        Op::ClaimJobs(claim) => jobs::claim(conn, claim).await.map(Done::Jobs),
        Op::ExtendLease(job, until) => jobs::extend(conn, job, *until).await.map(Done::Flag),
        Op::RetryJob(job, due, error) => jobs::retry(conn, job, *due, error).await.map(Done::Flag),
        Op::FinishJob(job) => jobs::remove(conn, job).await.map(Done::Flag),
        Op::CreateToken(token, line) => tokens::create(conn, token, line, work).await.map(Done::Created),
        Op::RotateToken(rotate, line) => tokens::rotate(conn, rotate, line, work).await.map(Done::Rotated),
        Op::TokensUsed(used) => tokens::used(conn, used).await.map(|()| Done::Nothing),
        Op::Revoke(revoke, line) => revocations::revoke(conn, revoke, line, work).await.map(Done::Revoked),
        Op::LiftRevocation(id, lifted, line) => revocations::lift(conn, *id, lifted, line, work).await.map(Done::Flag),
        Op::Contained(id, at, line) => revocations::contained(conn, *id, *at, line, work).await.map(Done::Flag),
        Op::DeadLetter(letter) => upkeep::dead_letter(conn, letter, writer.numbers).await.map(|()| Done::Nothing),
        Op::Probe => upkeep::probe(conn, writer.shard).await.map(|()| Done::Nothing),
        Op::SettingOrInsert(name, value) => upkeep::setting_or_insert(conn, name, value).await.map(Done::Value),
        Op::Prune(now) => upkeep::prune(conn, *now).await.map(Done::Count),
        Op::RepairUsage(rows, lines) => {
            usage::repair(rows, lines, work);
            Ok(Done::Nothing)
        }
        Op::Gateway(op) => gateway::run(conn, op, work).await,
        Op::Access(op) => access::run(conn, op, work).await,
        Op::PruneDeadLetters(before) => upkeep::prune_dead_letters(conn, *before).await.map(Done::Count),
        Op::IssueUpload(_) | Op::IssueDownload(_) | Op::Audit(_) => Ok(Done::Nothing),
    }
}

const AUDIT: &str = "INSERT INTO audit (seq, time, app, token_id, object_id, entry)
    SELECT * FROM UNNEST($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::uuid[], $6::text[])";

/// Objects, audit entries, usage and counts at once. Every part of a `WITH` that writes is run to its end.
const EVERYTHING: &str = concat!(
    "WITH entries AS (
        INSERT INTO audit (seq, time, app, token_id, object_id, entry)
        SELECT * FROM UNNEST($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::uuid[], $6::text[])
     ), apps AS (
        UPDATE app_usage SET bytes = used.bytes, objects = used.objects, uploads_window = used.uploads_window,
            uploads = used.uploads, uploads_before = used.uploads_before, day_window = used.day_window, day_bytes =
            used.day_bytes, day_bytes_before = used.day_bytes_before, download_window = used.download_window,
            download_bytes = used.download_bytes, download_bytes_before = used.download_bytes_before FROM
            UNNEST($7::text[], $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[],
            $13::bigint[], $14::bigint[], $15::bigint[], $16::bigint[], $17::bigint[], $18::bigint[]) AS used (app,
            bytes, objects, uploads_window, uploads, uploads_before, day_window, day_bytes, day_bytes_before,
            download_window, download_bytes, download_bytes_before) WHERE app_usage.app = used.app
     ), owners AS (
        UPDATE owner_usage SET bytes = used.bytes, objects = used.objects, uploads_window = used.uploads_window,
            uploads = used.uploads, uploads_before = used.uploads_before, day_window = used.day_window, day_bytes =
            used.day_bytes, day_bytes_before = used.day_bytes_before, download_window = used.download_window,
            download_bytes = used.download_bytes, download_bytes_before = used.download_bytes_before FROM
            UNNEST($19::text[], $20::bigint[], $21::bigint[], $22::bigint[], $23::bigint[], $24::bigint[],
            $25::bigint[], $26::bigint[], $27::bigint[], $28::bigint[], $29::bigint[], $30::bigint[]) AS used (owner,
            bytes, objects, uploads_window, uploads, uploads_before, day_window, day_bytes, day_bytes_before,
            download_window, download_bytes, download_bytes_before) WHERE owner_usage.owner = used.owner
     ), new AS (
        INSERT INTO objects (",
    crate::store::columns::object_columns!(),
    ", state, held_bytes)
        SELECT * FROM UNNEST($34::uuid[], $35::uuid[], $36::text[], $37::text[], $38::text[], $39::text[],
            $40::text[], $41::text[], $42::text[], $43::text[], $44::text[], $45::text[], $46::text[], $47::text[],
            $48::bigint[], $49::bytea[], $50::text[], $51::text[], $52::text[], $53::text[], $54::text[],
            $55::bigint[], $56::bigint[], $57::bigint[], $58::bigint[], $59::text[], $60::text[], $48::bigint[])
     )
     INSERT INTO state_counts (shard, state, objects)
     SELECT $31, state, change FROM UNNEST($32::text[], $33::bigint[]) AS counted (state, change)
     ON CONFLICT (shard, state) DO UPDATE SET objects = state_counts.objects + excluded.objects"
);

type Query = sqlx::query::Query<'static, sqlx::Postgres, sqlx::postgres::PgArguments>;

impl Work<'_> {
    /// Writes what was gathered; the text of the audit entries.
    async fn write(&self, conn: &mut PgConnection, writer: Writer<'_>) -> Result<String, Failure> {
        let Writer { numbers, shard } = writer;
        let of =
            |kind: QuotaHolder| -> Vec<_> { self.used.changed().filter(|(holder, _)| holder.kind() == kind).collect() };
        let (apps, owners) = (of(QuotaHolder::App), of(QuotaHolder::Owner));
        let moved: Vec<_> = State::ALL.into_iter().zip(self.states).filter(|(_, change)| *change != 0).collect();
        if apps.is_empty() && owners.is_empty() && moved.is_empty() && self.objects.is_empty() {
            if !self.lines.is_empty() {
                self.bind_lines(sqlx::query(AUDIT), numbers).execute(conn).await?;
            }
        } else {
            let query = self.bind_lines(sqlx::query(EVERYTHING), numbers);
            let query = bind_usage(bind_usage(query, &apps), &owners)
                .bind(shard)
                .bind(moved.iter().map(|(state, _)| state.as_str()).collect::<Vec<_>>())
                .bind(moved.iter().map(|(_, change)| *change).collect::<Vec<_>>());
            bind_objects(query, &self.objects)?.execute(conn).await?;
        }
        let mut text = String::with_capacity(self.lines.iter().map(|line| line.json.len() + 1).sum());
        for line in &self.lines {
            text.push_str(&line.json);
            text.push('\n');
        }
        Ok(text)
    }

    fn bind_lines(&self, query: Query, numbers: &Numbers) -> Query {
        bind_lines(query, &self.lines.iter().map(|line| &**line).collect::<Vec<_>>(), numbers)
    }
}

/// The twelve columns of what holders use.
fn bind_usage(query: Query, used: &[(&Holder, &Usage)]) -> Query {
    let query = query.bind(used.iter().map(|(holder, _)| holder.name()).collect::<Vec<_>>());
    let rows: Vec<[i64; 11]> = used.iter().map(|(_, usage)| values(usage)).collect();
    (0..11).fold(query, |query, column| query.bind(rows.iter().map(|row| row[column]).collect::<Vec<_>>()))
}

/// The six columns of the audit trail.
fn bind_lines(query: Query, lines: &[&Line], numbers: &Numbers) -> Query {
    query
        .bind(lines.iter().map(|line| numbers.next(line.entry.time)).collect::<Vec<_>>())
        .bind(lines.iter().map(|line| line.entry.time.as_microsecond()).collect::<Vec<_>>())
        .bind(lines.iter().map(|line| line.entry.app.as_ref().map(|app| app.as_str())).collect::<Vec<_>>())
        .bind(lines.iter().map(|line| line.entry.token_id.as_ref().map(|id| id.as_str())).collect::<Vec<_>>())
        .bind(lines.iter().map(|line| line.entry.object_id.map(|id| id.uuid())).collect::<Vec<Option<Uuid>>>())
        .bind(lines.iter().map(|line| line.json.as_str()).collect::<Vec<_>>())
}

/// Writes one audit entry.
pub(super) async fn record(conn: &mut PgConnection, line: &Line, numbers: &Numbers) -> Result<(), Failure> {
    bind_lines(sqlx::query(AUDIT), &[line], numbers).execute(conn).await?;
    Ok(())
}

fn bind_objects(query: Query, objects: &[&Object]) -> Result<Query, Failure> {
    fn each<'o, T>(objects: &[&'o Object], column: impl Fn(&'o Object) -> T) -> Vec<T> {
        objects.iter().map(|object| column(object)).collect()
    }
    let metadata = objects.iter().map(|object| to_json(&object.metadata)).collect::<Result<Vec<_>, _>>()?;
    let lives = objects.iter().map(|object| to_json(&object.life)).collect::<Result<Vec<_>, _>>()?;
    Ok(query
        .bind(each(objects, |object| object.id.uuid()))
        .bind(each(objects, |object| object.grant.uuid()))
        .bind(each(objects, |object| object.app.as_str()))
        .bind(each(objects, |object| object.workflow.as_str()))
        .bind(each(objects, |object| object.token.as_str()))
        .bind(each(objects, |object| object.owner.as_str()))
        .bind(each(objects, |object| object.environment.as_str()))
        .bind(each(objects, |object| object.user.as_deref().map(text)))
        .bind(each(objects, |object| object.target.as_str()))
        .bind(each(objects, |object| object.keys.staging.path()))
        .bind(each(objects, |object| object.keys.served.path()))
        .bind(each(objects, |object| object.filename.as_str()))
        .bind(each(objects, |object| text(&object.original_filename)))
        .bind(each(objects, |object| object.content_type.as_str()))
        .bind(each(objects, |object| int(object.size)))
        .bind(each(objects, |object| object.sha256.as_ref().map(|digest| &digest.0[..])))
        .bind(each(objects, |object| object.method.as_str()))
        .bind(each(objects, |object| object.classification.as_str()))
        .bind(each(objects, |object| object.lawful_basis.as_deref().map(text)))
        .bind(each(objects, |object| text(&object.residency)))
        .bind(metadata)
        .bind(each(objects, |object| object.created_at.as_microsecond()))
        .bind(each(objects, |object| object.upload_expires_at.as_microsecond()))
        .bind(each(objects, |object| object.updated_at.as_microsecond()))
        .bind(each(objects, |object| int(object.revision)))
        .bind(lives)
        .bind(each(objects, |object| object.life.state().as_str())))
}
