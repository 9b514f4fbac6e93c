//! One transaction for many operations.
//!
//! First what must be written one by one, in the order of the rows that it locks; then uploads and downloads, decided in
//! memory; then everything that was gathered, in one statement of many rows. An app's row in `app_usage` is locked before
//! its quota is decided and until the commit, so that no two nodes give away the same bytes (P4); apps are locked in the
//! order of their names. Operations check everything before they change anything here.

use std::borrow::Cow;
use std::collections::BTreeMap;

use sqlx::PgConnection;
use uuid::Uuid;

use super::error::Failure;
use super::numbers::Numbers;
use super::op::{Done, Line, Op};
use super::rows::{PgColumns, text, to_json};
use super::{issue, jobs, objects, upkeep};
use crate::domain::ids::AppName;
use crate::domain::life::State;
use crate::domain::object::Object;
use crate::store::Usage;
use crate::store::columns::Columns;
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
    /// By how much each app's usage changes.
    changes: BTreeMap<AppName, (i64, i64)>,
    states: [i64; State::ALL.len()],
}

impl<'a> Work<'a> {
    /// An audit entry to be written.
    pub(super) fn record(&mut self, line: impl Into<Cow<'a, Line>>) {
        self.lines.push(line.into());
    }

    /// A new object to be written; it holds its declared size.
    pub(super) fn insert(&mut self, object: &'a Object) {
        self.objects.push(object);
        self.count(None, object.life.state());
        self.change(&object.app, int(object.size), 1);
    }

    /// Counts an object out of one state and into another.
    pub(super) fn count(&mut self, from: Option<State>, to: State) {
        if let Some(from) = from {
            self.states[from as usize] -= 1;
        }
        self.states[to as usize] += 1;
    }

    /// Changes what an app holds.
    pub(super) fn change(&mut self, app: &AppName, bytes: i64, objects: i64) {
        let change = match self.changes.get_mut(app) {
            Some(change) => change,
            None => self.changes.entry(app.clone()).or_default(),
        };
        *change = (change.0 + bytes, change.1 + objects);
    }

    /// What an app holds that held `before` at the start, with what was gathered so far.
    pub(super) fn usage(&self, app: &AppName, before: Usage) -> Usage {
        let (bytes, objects) = self.changes.get(app).copied().unwrap_or_default();
        Usage {
            bytes: before.bytes.saturating_add_signed(bytes),
            objects: before.objects.saturating_add_signed(objects),
        }
    }

    /// The apps whose usage changes.
    pub(super) fn changed(&self) -> impl Iterator<Item = &AppName> {
        self.changes.keys()
    }
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
        Op::CreateToken(token, line) => {
            upkeep::insert_token(conn, token).await?;
            work.record(line);
            Ok(Done::Nothing)
        }
        Op::RevokeToken(id, now, line) => upkeep::revoke_token(conn, id, *now, line, work).await.map(Done::Flag),
        Op::DeadLetter(letter) => upkeep::dead_letter(conn, letter, writer.numbers).await.map(|()| Done::Nothing),
        Op::Probe => upkeep::probe(conn, writer.shard).await.map(|()| Done::Nothing),
        Op::SettingOrInsert(name, value) => upkeep::setting_or_insert(conn, name, value).await.map(Done::Value),
        Op::Prune(now) => upkeep::prune(conn, *now).await.map(Done::Count),
        Op::PruneDeadLetters(before) => upkeep::prune_dead_letters(conn, *before).await.map(Done::Count),
        Op::IssueUpload(_) | Op::IssueDownload(..) | Op::Audit(_) => Ok(Done::Nothing),
    }
}

const AUDIT: &str = "INSERT INTO audit (seq, time, app, token_id, object_id, entry)
    SELECT * FROM UNNEST($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::uuid[], $6::text[])";

/// Objects, audit entries, usage and counts at once. Every part of a `WITH` that writes is run to its end.
const EVERYTHING: &str = concat!(
    "WITH entries AS (
        INSERT INTO audit (seq, time, app, token_id, object_id, entry)
        SELECT * FROM UNNEST($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::uuid[], $6::text[])
     ), usage AS (
        UPDATE app_usage SET bytes = greatest(0, app_usage.bytes + change.bytes),
                             objects = greatest(0, app_usage.objects + change.objects)
        FROM UNNEST($7::text[], $8::bigint[], $9::bigint[]) AS change (app, bytes, objects)
        WHERE app_usage.app = change.app
     ), new AS (
        INSERT INTO objects (",
    crate::store::columns::object_columns!(),
    ", state, held_bytes)
        SELECT * FROM UNNEST($13::uuid[], $14::uuid[], $15::text[], $16::text[], $17::text[], $18::text[], $19::text[],
            $20::text[], $21::text[], $22::text[], $23::text[], $24::text[], $25::text[], $26::text[], $27::bigint[],
            $28::bytea[], $29::text[], $30::text[], $31::text[], $32::text[], $33::text[], $34::bigint[], $35::bigint[],
            $36::bigint[], $37::bigint[], $38::text[], $39::text[], $27::bigint[])
     )
     INSERT INTO state_counts (shard, state, objects)
     SELECT $10, state, change FROM UNNEST($11::text[], $12::bigint[]) AS counted (state, change)
     ON CONFLICT (shard, state) DO UPDATE SET objects = state_counts.objects + excluded.objects"
);

type Query = sqlx::query::Query<'static, sqlx::Postgres, sqlx::postgres::PgArguments>;

impl Work<'_> {
    /// Writes what was gathered; the text of the audit entries.
    async fn write(&self, conn: &mut PgConnection, writer: Writer<'_>) -> Result<String, Failure> {
        let Writer { numbers, shard } = writer;
        let changes: Vec<_> = self.changes.iter().filter(|(_, change)| **change != (0, 0)).collect();
        let moved: Vec<_> = State::ALL.into_iter().zip(self.states).filter(|(_, change)| *change != 0).collect();
        if changes.is_empty() && moved.is_empty() && self.objects.is_empty() {
            if !self.lines.is_empty() {
                self.bind_lines(sqlx::query(AUDIT), numbers).execute(conn).await?;
            }
        } else {
            let query = self
                .bind_lines(sqlx::query(EVERYTHING), numbers)
                .bind(changes.iter().map(|(app, _)| app.as_str()).collect::<Vec<_>>())
                .bind(changes.iter().map(|(_, change)| change.0).collect::<Vec<_>>())
                .bind(changes.iter().map(|(_, change)| change.1).collect::<Vec<_>>())
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

/// Locks what these apps hold, in the order of their names, and reads it. Where a row is missing it is made.
pub(super) async fn lock_usage(
    conn: &mut PgConnection,
    apps: &[&AppName],
) -> Result<BTreeMap<AppName, Usage>, Failure> {
    let names: Vec<&str> = apps.iter().map(|app| app.as_str()).collect();
    let mut made = false;
    loop {
        let sql = "SELECT app, bytes, objects FROM app_usage WHERE app = ANY($1) ORDER BY app FOR UPDATE";
        let mut held = BTreeMap::new();
        for row in sqlx::query(sql).bind(&names).fetch_all(&mut *conn).await? {
            let columns = &mut PgColumns::of(&row);
            held.insert(columns.parsed()?, Usage { bytes: columns.unsigned()?, objects: columns.unsigned()? });
        }
        if held.len() == apps.len() {
            return Ok(held);
        }
        if made {
            return Err(Failure::Again("an app's usage disappeared".into()));
        }
        let sql = "INSERT INTO app_usage (app, bytes, objects) SELECT app, 0, 0 FROM UNNEST($1::text[]) AS asked (app)
                   ORDER BY app ON CONFLICT DO NOTHING";
        sqlx::query(sql).bind(&names).execute(&mut *conn).await?;
        made = true;
    }
}
