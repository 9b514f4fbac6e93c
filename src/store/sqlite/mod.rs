//! The store in one SQLite file: the default of a single node.
//!
//! WAL with `synchronous=FULL`: what a method has answered survives the loss of power. All writes of the process share
//! one connection and their commits (`writer`), reads of single records share snapshots (`lookups`), lists use connections of
//! their own (`readers`), and the log is moved into the file by a thread of its own (`checkpoint`). Other processes may use the file at the same time;
//! nothing is cached here, so what they commit is seen by the next read. Decision record 0003 says why this is rusqlite.

mod access;
pub mod backup;
mod batch;
mod checkpoint;
mod error;
mod gateway;
mod identity;
mod jobs;
mod lookups;
mod objects;
mod readers;
mod reads;
mod request;
mod rows;
pub(super) mod schema;
mod trail;
mod upkeep;
mod usage;
mod writer;

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use self::lookups::Lookups;
use self::readers::Readers;
use self::trail::AuditLine;
use self::writer::{Writer, WriterSettings};
use super::{
    Advance, AdvanceOutcome, AuditQuery, ClaimJobs, DeadLetter, DownloadOutcome, Holder, IssueDownload, IssueOutcome,
    IssueUpload, LinkHash, LinkRecord, ObjectQuery, OnCommit, RepairUsage, Statistics, Store, StoreError, UsageOfBoth,
    UsageQuery, UsageRow, UseLink,
};
use crate::domain::audit::AuditEntry;
use crate::domain::ids::{AppName, ObjectId, OwnerName};
use crate::domain::job::{JobKind, LeasedJob};
use crate::domain::object::Object;

/// How the store behaves under load. The defaults fit a single node.
#[derive(Clone, Debug)]
pub struct SqliteOptions {
    /// Writes, and reads of single records, that may wait; beyond it [`StoreError::Overloaded`].
    pub queue: usize,
    /// Connections that read lists and the audit trail.
    pub readers: usize,
    /// How long a call may take before it is [`StoreError::Unavailable`].
    pub deadline: Duration,
    /// How long to wait for another process's write lock; shorter than the deadline.
    pub busy: Duration,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self { queue: 4096, readers: 2, deadline: Duration::from_secs(5), busy: Duration::from_secs(2) }
    }
}

/// The store in one SQLite file. Dropping it finishes what is queued and closes the file.
pub struct SqliteStore {
    writer: Writer,
    /// For queries of a row or two.
    lookups: Lookups,
    /// For those that may take long: none of them keeps a token or an object waiting.
    readers: Readers,
    path: PathBuf,
    busy: Duration,
}

impl SqliteStore {
    /// Opens the file, or creates it with mode 0600 in a directory of mode 0700, and brings its schema up to date.
    /// Blocks on the disk.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] where the file cannot be opened or written, [`StoreError::Corrupt`] where it was
    /// written by a newer program.
    pub fn open(path: &Path, options: SqliteOptions, on_commit: Option<OnCommit>) -> Result<Self, StoreError> {
        let SqliteOptions { queue, readers, deadline, busy } = options;
        schema::create(path, busy)?;
        let path = path.to_owned();
        let lookups = Lookups::start(&path, busy, queue, deadline)?;
        let readers = Readers::new(path.clone(), busy, readers, deadline);
        let writer = Writer::start(WriterSettings { path: path.clone(), busy, queue, deadline, on_commit })?;
        Ok(Self { writer, lookups, readers, path, busy })
    }

    /// Opens a file that is there and up to date, and changes nothing by that. Blocks on the disk.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] where it is not there; [`StoreError::Schema`] where it is not up to date.
    pub fn open_as_it_is(path: &Path, options: SqliteOptions) -> Result<Self, StoreError> {
        schema::is_current(path, options.busy)?;
        Self::open(path, options, None)
    }

    /// Repeats a step, each in a commit of its own, until it finds nothing to do; the sum of what the steps did.
    async fn in_steps(
        &self,
        step: impl Fn(&mut batch::Batch<'_>) -> Result<u64, error::Failure> + Clone + Send + 'static,
    ) -> Result<u64, StoreError> {
        let mut total = 0;
        loop {
            let done = self.writer.write(step.clone()).await?;
            total += done;
            if done == 0 {
                return Ok(total);
            }
        }
    }
}

/// The entries of a change, of which there must be one.
fn lines(entries: Vec<AuditEntry>) -> Result<Vec<AuditLine>, StoreError> {
    if entries.is_empty() {
        return Err(StoreError::Corrupt("a change without an audit entry".into()));
    }
    entries.into_iter().map(AuditLine::encode).collect()
}

#[async_trait]
impl Store for SqliteStore {
    async fn issue_upload(&self, issue: IssueUpload) -> Result<IssueOutcome, StoreError> {
        let IssueUpload { object, quota, idempotency, audit } = issue;
        let audit = AuditLine::encode(audit)?;
        self.writer
            .write(move |batch| objects::issue_upload(batch, &object, &quota, idempotency.as_ref(), &audit))
            .await
    }

    async fn issue_download(&self, issue: IssueDownload) -> Result<DownloadOutcome, StoreError> {
        let audit = AuditLine::encode(issue.audit.clone())?;
        self.writer.write(move |batch| objects::issue_download(batch, &issue, &audit)).await
    }

    async fn link(&self, hash: LinkHash, now: Timestamp) -> Result<Option<LinkRecord>, StoreError> {
        self.lookups.read(move |conn| reads::link(conn, &hash, now)).await
    }

    async fn use_link(&self, link: UseLink) -> Result<bool, StoreError> {
        let audit = AuditLine::encode(link.audit.clone())?;
        self.writer.write(move |batch| objects::use_link(batch, &link, &audit)).await
    }

    async fn object(&self, id: ObjectId) -> Result<Option<Object>, StoreError> {
        self.lookups.read(move |conn| reads::object(conn, id)).await
    }

    async fn object_at(&self, app: &AppName, path: &str) -> Result<Option<Object>, StoreError> {
        let (app, path) = (app.clone(), path.to_owned());
        self.lookups.read(move |conn| reads::object_at(conn, &app, &path)).await
    }

    async fn objects(&self, query: ObjectQuery) -> Result<Vec<Object>, StoreError> {
        self.readers.read(move |conn| reads::objects(conn, &query)).await
    }

    async fn expirable(&self, before: Timestamp, limit: usize) -> Result<Vec<Object>, StoreError> {
        self.readers.read(move |conn| reads::expirable(conn, before, limit)).await
    }

    async fn advance(&self, advance: Advance) -> Result<AdvanceOutcome, StoreError> {
        let audit = lines(advance.audit.clone())?;
        self.writer.write(move |batch| objects::advance(batch, &advance, &audit)).await
    }

    async fn claim_jobs(&self, claim: ClaimJobs) -> Result<Vec<LeasedJob>, StoreError> {
        self.writer.write(move |batch| jobs::claim(batch, &claim)).await
    }

    async fn extend_lease(&self, job: &LeasedJob, until: Timestamp) -> Result<bool, StoreError> {
        let job = job.clone();
        self.writer.write(move |batch| jobs::extend(batch, &job, until)).await
    }

    async fn retry_job(&self, job: &LeasedJob, due: Timestamp, error: &str) -> Result<bool, StoreError> {
        let (job, error) = (job.clone(), error.to_owned());
        self.writer.write(move |batch| jobs::retry(batch, &job, due, &error)).await
    }

    async fn finish_job(&self, job: &LeasedJob) -> Result<bool, StoreError> {
        let job = job.clone();
        self.writer.write(move |batch| jobs::remove(batch, &job)).await
    }

    async fn has_job(&self, object: ObjectId, kind: JobKind) -> Result<bool, StoreError> {
        self.lookups.read(move |conn| reads::has_job(conn, object, kind)).await
    }

    async fn next_due(&self, kinds: &[JobKind]) -> Result<Option<Timestamp>, StoreError> {
        let kinds = kinds.to_owned();
        self.lookups.read(move |conn| reads::next_due(conn, &kinds)).await
    }

    async fn audit(&self, entry: AuditEntry) -> Result<(), StoreError> {
        let line = AuditLine::encode(entry)?;
        self.writer.write(move |batch| batch.record(&line)).await
    }

    async fn audit_entries(&self, query: AuditQuery) -> Result<Vec<(i64, AuditEntry)>, StoreError> {
        self.readers.read(move |conn| trail::entries(conn, &query)).await
    }

    async fn dead_letter(&self, letter: DeadLetter) -> Result<(), StoreError> {
        self.writer.write(move |batch| upkeep::dead_letter(batch, &letter)).await
    }

    async fn dead_letters(&self, limit: usize) -> Result<Vec<DeadLetter>, StoreError> {
        self.readers.read(move |conn| reads::dead_letters(conn, limit)).await
    }

    async fn usage(&self, app: &AppName, owner: &OwnerName) -> Result<UsageOfBoth, StoreError> {
        let [app, owner] = Holder::both(app, owner);
        let read = move |conn: &rusqlite::Connection| {
            Ok(UsageOfBoth { app: usage::read(conn, &app)?, owner: usage::read(conn, &owner)? })
        };
        self.lookups.read(read).await
    }

    async fn audit_usage(&self, query: UsageQuery) -> Result<Vec<UsageRow>, StoreError> {
        // On a connection of its own, because the readers' queries end at the deadline.
        let (path, busy) = (self.path.clone(), self.busy);
        let audit = move || usage::audit(&schema::open_for_reading(&path, busy)?, &query);
        let lost = |error| StoreError::Unavailable(format!("a read was lost: {error}"));
        Ok(tokio::task::spawn_blocking(audit).await.map_err(lost)??)
    }

    async fn repair_usage(&self, repair: RepairUsage) -> Result<(), StoreError> {
        let audit = lines(repair.audit)?;
        self.writer.write(move |batch| usage::repair(batch, &repair.rows, &audit)).await
    }

    async fn statistics(&self) -> Result<Statistics, StoreError> {
        self.readers.read(reads::statistics).await
    }

    async fn probe(&self) -> Result<(), StoreError> {
        self.writer.write(|batch| upkeep::probe(batch)).await
    }

    async fn setting(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let name = name.to_owned();
        self.lookups.read(move |conn| reads::setting(conn, &name)).await
    }

    async fn setting_or_insert(&self, name: &str, value: Vec<u8>) -> Result<Vec<u8>, StoreError> {
        let name = name.to_owned();
        self.writer.write(move |batch| upkeep::setting_or_insert(batch, &name, &value)).await
    }

    async fn prune(&self, now: Timestamp) -> Result<u64, StoreError> {
        self.in_steps(move |batch| upkeep::prune(batch, now)).await
    }

    async fn prune_dead_letters(&self, before: Timestamp) -> Result<u64, StoreError> {
        self.in_steps(move |batch| upkeep::prune_dead_letters(batch, before)).await
    }

    async fn prune_audit(&self, before: Timestamp, audit: AuditEntry) -> Result<u64, StoreError> {
        let line = AuditLine::encode(audit)?;
        let first = self.writer.write(move |batch| upkeep::prune_audit(batch, before, Some(&line))).await?;
        match first {
            0 => Ok(0),
            first => Ok(first + self.in_steps(move |batch| upkeep::prune_audit(batch, before, None)).await?),
        }
    }
}
