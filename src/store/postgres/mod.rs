//! The store in PostgreSQL: the state of many nodes.
//!
//! What a method has answered was committed and flushed by the server. Writes of the process share commits (`committer`,
//! `batch`); reads use connections of their own, and lists two others (`readers`). All of it runs on a small runtime of
//! the store's own, because its connections outlive the runtimes of its callers. Nothing is cached here, so what another
//! node commits is seen by the next read. Decision records 0010 and 0011 say why it is made like this; the statements
//! stay within what PostgreSQL-compatible engines share.

mod access;
mod batch;
mod committer;
pub(super) mod connect;
pub(super) mod error;
mod gateway;
mod identity;
mod issue;
mod jobs;
mod lookups;
pub(super) mod numbers;
mod objects;
mod op;
pub(super) mod partitions;
mod readers;
mod reads;
pub(super) mod rows;
pub(super) mod schema;
mod upkeep;
mod usage;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use self::committer::{Committers, Settings};
use self::connect::{Limits, Use};
use self::error::Failure;
use self::lookups::Lookups;
use self::numbers::Numbers;
use self::op::{Done, Download, Line, Op, Upload};
use self::partitions::Month;
use self::readers::Readers;
use super::{
    Advance, AdvanceOutcome, AuditQuery, ClaimJobs, DeadLetter, DownloadOutcome, Holder, IssueDownload, IssueOutcome,
    IssueUpload, LinkHash, LinkRecord, ObjectQuery, OnCommit, RepairUsage, Statistics, Store, StoreError, UsageOfBoth,
    UsageQuery, UsageRow, UseLink,
};
use crate::clock::Clock;
use crate::domain::audit::AuditEntry;
use crate::domain::ids::{AppName, ObjectId, OwnerName};
use crate::domain::job::{JobKind, LeasedJob};
use crate::domain::object::Object;

pub use connect::PostgresUrl;
pub use schema::{MigrationStatus, migrate, status};

/// How the store behaves under load.
#[derive(Clone, Debug)]
pub struct PostgresOptions {
    /// Writes that may wait; beyond it [`StoreError::Overloaded`].
    pub queue: usize,
    /// Connections that write, each with a batch of its own.
    pub committers: usize,
    /// Connections that read single records; as many are opened as are needed at once.
    pub readers: usize,
    /// Connections that read lists and the audit trail.
    pub listers: usize,
    /// How long a call may take before it is [`StoreError::Unavailable`].
    pub deadline: Duration,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self { queue: 4096, committers: 2, readers: 8, listers: 2, deadline: Duration::from_secs(5) }
    }
}

/// Threads that speak with the server.
const THREADS: usize = 2;

/// The store in one PostgreSQL database. Dropping it finishes what is queued.
pub struct PostgresStore {
    committers: Committers,
    /// For objects by their ids.
    lookups: Lookups,
    /// For other queries that take as long as a row or two.
    readers: Readers,
    /// For those that may take long: none of them keeps a token or an object waiting.
    listers: Readers,
    url: PostgresUrl,
    on_commit: Option<OnCommit>,
    clock: Clock,
    numbers: Arc<Numbers>,
    /// The last month that has partitions.
    made: Mutex<Option<Month>>,
    runtime: Option<tokio::runtime::Runtime>,
}

impl PostgresStore {
    /// Connects, and looks whether the schema is one that this program can serve.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] where the server does not answer, [`StoreError::Schema`] where the schema is too old
    /// (run `vestibule migrate up`) or too new.
    pub async fn open(
        url: PostgresUrl,
        options: PostgresOptions,
        clock: Clock,
        on_commit: Option<OnCommit>,
    ) -> Result<Self, StoreError> {
        let PostgresOptions { queue, committers, readers, listers, deadline } = options;
        let limits = Limits { connect: deadline / 2, statement: deadline };
        {
            let mut conn = connect::connect(&url, limits, Use::Write).await?;
            schema::check(&mut conn).await?;
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("store")
            .enable_all()
            .build()
            .map_err(|error| StoreError::Unavailable(format!("cannot start the store's threads: {error}")))?;
        let handle = runtime.handle().clone();
        let numbers = Arc::new(Numbers::new(u16::from_le_bytes(clock.random())));
        let settings = Settings {
            url: url.clone(),
            limits,
            committers,
            queue,
            deadline,
            on_commit: on_commit.clone(),
            clock: clock.clone(),
            numbers: Arc::clone(&numbers),
        };
        let readers = Readers::new(url.clone(), limits, readers, deadline, handle.clone());
        let store = Self {
            committers: Committers::start(settings, &handle),
            lookups: Lookups::start(&readers, queue, deadline, &handle),
            readers,
            listers: Readers::new(url.clone(), limits, listers, deadline, handle),
            url,
            on_commit,
            numbers,
            made: Mutex::new(None),
            runtime: Some(runtime),
            clock,
        };
        store.make_months(store.clock.now()).await;
        Ok(store)
    }

    /// Makes the months ahead where that was not yet done. A failure is told and no more: the months that are needed may
    /// be there, and a batch that lacks one makes it.
    async fn make_months(&self, now: Timestamp) {
        let lock = || self.made.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // Ahead by one at least, so that there are weeks for trying again.
        let needed = Month::of(now.checked_add(jiff::SignedDuration::from_hours(24 * 35)).unwrap_or(now));
        if lock().is_some_and(|made| made >= needed) {
            return;
        }
        let make = async {
            let mut conn = connect::for_maintenance(&self.url).await.map_err(|error| error.to_string())?;
            partitions::make_ahead(&mut conn, now).await.map_err(|failure| StoreError::from(failure).to_string())
        };
        match make.await {
            Ok(made) => *lock() = Some(made),
            Err(error) => tracing::warn!(%error, "cannot make the partitions of the months ahead"),
        }
    }

    /// Repeats a step, each in a commit of its own, until it finds nothing to do; the sum of what the steps did.
    async fn in_steps(&self, step: impl Fn() -> Op) -> Result<u64, StoreError> {
        let mut total = 0;
        loop {
            match self.committers.write(step()).await? {
                Done::Count(0) => return Ok(total),
                Done::Count(done) => total += done,
                _ => return Err(mixed_up()),
            }
        }
    }

    async fn flag(&self, op: Op) -> Result<bool, StoreError> {
        match self.committers.write(op).await? {
            Done::Flag(flag) => Ok(flag),
            _ => Err(mixed_up()),
        }
    }

    async fn nothing(&self, op: Op) -> Result<(), StoreError> {
        self.committers.write(op).await.map(drop)
    }
}

impl Drop for PostgresStore {
    fn drop(&mut self) {
        self.committers.finish();
        if let Some(runtime) = self.runtime.take() {
            // This may be a thread of another runtime, where nothing may wait for this one.
            runtime.shutdown_background();
        }
    }
}

/// A committer answered an operation with the result of another kind.
fn mixed_up() -> StoreError {
    StoreError::Corrupt("an operation was answered with something else".into())
}

/// The entries of a change, of which there must be one.
fn lines(entries: Vec<AuditEntry>) -> Result<Vec<Line>, StoreError> {
    if entries.is_empty() {
        return Err(StoreError::Corrupt("a change without an audit entry".into()));
    }
    entries.into_iter().map(Line::encode).collect()
}

#[async_trait]
impl Store for PostgresStore {
    async fn issue_upload(&self, issue: IssueUpload) -> Result<IssueOutcome, StoreError> {
        let IssueUpload { object, quota, idempotency, audit } = issue;
        let holders = Holder::both(&object.app, &object.owner);
        let upload = Upload { object, quota, idempotency, line: Line::encode(audit)?, holders };
        match self.committers.write(Op::IssueUpload(Box::new(upload))).await? {
            Done::Issued(outcome) => Ok(outcome),
            _ => Err(mixed_up()),
        }
    }

    async fn issue_download(&self, issue: IssueDownload) -> Result<DownloadOutcome, StoreError> {
        let line = Line::encode(issue.audit.clone())?;
        let holders = Holder::both(&issue.charge.app, &issue.charge.owner);
        match self.committers.write(Op::IssueDownload(Box::new(Download { issue, line, holders }))).await? {
            Done::Downloaded(outcome) => Ok(outcome),
            _ => Err(mixed_up()),
        }
    }

    async fn link(&self, hash: LinkHash, now: Timestamp) -> Result<Option<LinkRecord>, StoreError> {
        self.readers.read((hash, now), |conn, (hash, now)| Box::pin(reads::link(conn, hash, *now))).await
    }

    async fn use_link(&self, link: UseLink) -> Result<bool, StoreError> {
        let line = Line::encode(link.audit.clone())?;
        self.flag(Op::UseLink(Box::new(link), line)).await
    }

    async fn object(&self, id: ObjectId) -> Result<Option<Object>, StoreError> {
        self.lookups.object(id).await
    }

    async fn object_at(&self, app: &AppName, path: &str) -> Result<Option<Object>, StoreError> {
        let asked = (app.clone(), path.to_owned());
        self.readers.read(asked, |conn, (app, path)| Box::pin(reads::object_at(conn, app, path))).await
    }

    async fn objects(&self, query: ObjectQuery) -> Result<Vec<Object>, StoreError> {
        self.listers.read(query, |conn, query| Box::pin(reads::objects(conn, query))).await
    }

    async fn expirable(&self, before: Timestamp, limit: usize) -> Result<Vec<Object>, StoreError> {
        self.readers
            .read((before, limit), |conn, (before, limit)| Box::pin(reads::expirable(conn, *before, *limit)))
            .await
    }

    async fn advance(&self, advance: Advance) -> Result<AdvanceOutcome, StoreError> {
        let lines = lines(advance.audit.clone())?;
        match self.committers.write(Op::Advance(Box::new(advance), lines)).await? {
            Done::Advanced(outcome) => Ok(outcome),
            _ => Err(mixed_up()),
        }
    }

    async fn claim_jobs(&self, claim: ClaimJobs) -> Result<Vec<LeasedJob>, StoreError> {
        match self.committers.write(Op::ClaimJobs(claim)).await? {
            Done::Jobs(jobs) => Ok(jobs),
            _ => Err(mixed_up()),
        }
    }

    async fn extend_lease(&self, job: &LeasedJob, until: Timestamp) -> Result<bool, StoreError> {
        self.flag(Op::ExtendLease(job.clone(), until)).await
    }

    async fn retry_job(&self, job: &LeasedJob, due: Timestamp, error: &str) -> Result<bool, StoreError> {
        self.flag(Op::RetryJob(job.clone(), due, error.to_owned())).await
    }

    async fn finish_job(&self, job: &LeasedJob) -> Result<bool, StoreError> {
        self.flag(Op::FinishJob(job.clone())).await
    }

    async fn has_job(&self, object: ObjectId, kind: JobKind) -> Result<bool, StoreError> {
        self.readers.read((object, kind), |conn, (object, kind)| Box::pin(reads::has_job(conn, *object, *kind))).await
    }

    async fn next_due(&self, kinds: &[JobKind]) -> Result<Option<Timestamp>, StoreError> {
        self.readers.read(kinds.to_owned(), |conn, kinds| Box::pin(reads::next_due(conn, kinds))).await
    }

    async fn audit(&self, entry: AuditEntry) -> Result<(), StoreError> {
        self.nothing(Op::Audit(Line::encode(entry)?)).await
    }

    async fn audit_entries(&self, query: AuditQuery) -> Result<Vec<(i64, AuditEntry)>, StoreError> {
        self.listers.read(query, |conn, query| Box::pin(reads::audit_entries(conn, query))).await
    }

    async fn dead_letter(&self, letter: DeadLetter) -> Result<(), StoreError> {
        self.nothing(Op::DeadLetter(letter)).await
    }

    async fn dead_letters(&self, limit: usize) -> Result<Vec<DeadLetter>, StoreError> {
        self.listers.read(limit, |conn, limit| Box::pin(reads::dead_letters(conn, *limit))).await
    }

    async fn usage(&self, app: &AppName, owner: &OwnerName) -> Result<UsageOfBoth, StoreError> {
        self.readers.read(Holder::both(app, owner), |conn, both| Box::pin(usage::read(conn, both))).await
    }

    async fn audit_usage(&self, query: UsageQuery) -> Result<Vec<UsageRow>, StoreError> {
        let mut conn = connect::for_maintenance(&self.url).await?;
        Ok(usage::audit(&mut conn, &query).await?)
    }

    async fn repair_usage(&self, repair: RepairUsage) -> Result<(), StoreError> {
        let audit = lines(repair.audit)?;
        self.nothing(Op::RepairUsage(repair.rows, audit)).await
    }

    async fn statistics(&self) -> Result<Statistics, StoreError> {
        self.readers.read((), |conn, ()| Box::pin(reads::statistics(conn))).await
    }

    async fn probe(&self) -> Result<(), StoreError> {
        self.nothing(Op::Probe).await
    }

    async fn setting(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.readers.read(name.to_owned(), |conn, name| Box::pin(reads::setting(conn, name))).await
    }

    async fn setting_or_insert(&self, name: &str, value: Vec<u8>) -> Result<Vec<u8>, StoreError> {
        match self.committers.write(Op::SettingOrInsert(name.to_owned(), value)).await? {
            Done::Value(value) => Ok(value),
            _ => Err(mixed_up()),
        }
    }

    async fn prune(&self, now: Timestamp) -> Result<u64, StoreError> {
        self.make_months(now).await;
        self.in_steps(|| Op::Prune(now)).await
    }

    async fn prune_dead_letters(&self, before: Timestamp) -> Result<u64, StoreError> {
        self.in_steps(|| Op::PruneDeadLetters(before)).await
    }

    async fn prune_audit(&self, before: Timestamp, audit: AuditEntry) -> Result<u64, StoreError> {
        let line = Line::encode(audit)?;
        let mut conn = connect::for_maintenance(&self.url).await?;
        let mut tries = 0;
        let dropped = loop {
            tries += 1;
            match upkeep::prune_audit(&mut conn, before, &line, &self.numbers).await {
                Err(Failure::NumberTaken) if tries < 5 => {
                    self.numbers.rename(u16::from_le_bytes(self.clock.random()));
                }
                Err(Failure::NoPartition(_)) if tries < 5 => {
                    partitions::make(&mut conn, vec![Month::of(line.entry.time)]).await?;
                }
                ended => break ended?,
            }
        };
        if let Some(sink) = self.on_commit.as_ref().filter(|_| dropped > 0) {
            sink(&format!("{}\n", line.json));
        }
        Ok(dropped)
    }
}
