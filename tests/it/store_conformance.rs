//! What every implementation of `Store` must do: one suite, one constructor for each implementation.
//!
//! Each case gets an empty database of its own. `conformance!` names every case once for an implementation, so that a
//! new implementation cannot leave one out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;
use vestibule::clock::Clock;
use vestibule::domain::audit::{AuditAction, AuditEntry, Outcome};
use vestibule::domain::bytes::{Sha256Digest, StoredBytes};
use vestibule::domain::filename::Filename;
use vestibule::domain::grant::{Disposition, QuotaLimit, UploadMethod};
use vestibule::domain::ids::{GrantId, ObjectId};
use vestibule::domain::job::{JobKind, LeasedJob};
use vestibule::domain::key::ObjectKeys;
use vestibule::domain::life::{Life, State};
use vestibule::domain::object::Object;
use vestibule::domain::principal::Environment;
use vestibule::domain::refusal::Reason;
use vestibule::domain::verdict::{Finding, Verdict};
use vestibule::store::{
    Advance, AdvanceOutcome, AuditQuery, ClaimJobs, DeadLetter, Idempotency, IssueDownload, IssueOutcome, IssueUpload,
    LinkHash, NewLink, ObjectQuery, Store, TokenHolder, TokenRecord, Usage,
};

use crate::store_sqlite::Sqlite;

/// Plenty.
pub(crate) const QUOTA: QuotaLimit = QuotaLimit { bytes: 1_000_000, objects: 10_000 };

/// An open store and a clock that the case moves.
pub(crate) struct Bench {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Clock,
}

impl Bench {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        Self { store, clock: Clock::manual("2026-11-21T10:00:00Z".parse().unwrap()) }
    }

    pub(crate) fn object(&self, app: &str, size: u64) -> Object {
        let id = ObjectId::from_uuid(self.clock.uuid());
        let filename = Filename::sanitise("menu.jpg").unwrap();
        let now = self.clock.now();
        let prefix = format!("uploads/{app}").parse().unwrap();
        Object {
            id,
            grant: GrantId::from_uuid(self.clock.uuid()),
            app: app.parse().unwrap(),
            workflow: "nightly".parse().unwrap(),
            token: "AAAAAAAAAAAAAAAA".parse().unwrap(),
            owner: "marketing".parse().unwrap(),
            environment: Environment::Test,
            user: Some("u-42".into()),
            target: "images".parse().unwrap(),
            keys: ObjectKeys::new(&"incoming".parse().unwrap(), &prefix, id, &filename).unwrap(),
            filename,
            original_filename: "menu\u{202e}.jpg".into(),
            content_type: "image/jpeg".parse().unwrap(),
            size,
            sha256: Some(Sha256Digest::of(b"menu")),
            method: UploadMethod::Post,
            classification: "internal".parse().unwrap(),
            lawful_basis: Some("contract".into()),
            residency: "eu".into(),
            metadata: BTreeMap::from([("table".into(), "7".into())]),
            created_at: now,
            upload_expires_at: now + SignedDuration::from_mins(10),
            updated_at: now,
            revision: 0,
            life: Life::Issued,
        }
    }

    pub(crate) fn issue(&self, object: &Object, quota: QuotaLimit) -> IssueUpload {
        IssueUpload {
            object: object.clone(),
            quota,
            idempotency: None,
            audit: self.entry(AuditAction::RequestUpload, object),
        }
    }

    fn entry(&self, action: AuditAction, object: &Object) -> AuditEntry {
        let mut entry = AuditEntry::new(self.clock.now(), action, Outcome::Allowed);
        entry.app = Some(object.app.clone());
        entry.token_id = Some(object.token.clone());
        entry.object_id = Some(object.id);
        entry.grant_id = Some(object.grant);
        entry
    }

    /// An issued object.
    pub(crate) async fn issued(&self, app: &str, size: u64) -> Object {
        let object = self.object(app, size);
        assert_eq!(self.store.issue_upload(self.issue(&object, QUOTA)).await.unwrap(), IssueOutcome::Issued);
        object
    }

    pub(crate) fn step(&self, object: &Object, to: Life) -> Advance {
        Advance {
            object: object.id,
            from_revision: object.revision,
            to,
            now: self.clock.now(),
            jobs: Vec::new(),
            completes: None,
            audit: vec![self.entry(AuditAction::ChangeState, object)],
        }
    }

    /// Moves an object on and returns it as the store has it then.
    pub(crate) async fn advanced(&self, object: &Object, to: Life) -> Object {
        assert_eq!(self.store.advance(self.step(object, to)).await.unwrap(), AdvanceOutcome::Done);
        self.store.object(object.id).await.unwrap().unwrap()
    }

    /// An object that is visible with `actual` bytes.
    async fn visible(&self, app: &str, declared: u64, actual: u64) -> Object {
        let object = self.issued(app, declared).await;
        let object = self.advanced(&object, object.life.clone().arrived(stored(actual)).unwrap()).await;
        let object = self.advanced(&object, object.life.clone().claim().unwrap()).await;
        let object = self.advanced(&object, object.life.clone().judge(self.clean(actual)).unwrap()).await;
        self.advanced(&object, object.life.clone().promoted(stored(actual)).unwrap()).await
    }

    fn clean(&self, size: u64) -> Verdict {
        Verdict {
            finding: Finding::Clean,
            engine: "ClamAV 1.4.6".into(),
            signatures: "27000".into(),
            at: self.clock.now(),
            bytes: stored(size),
            sha256: Sha256Digest::of(b"menu"),
            detected: Some("image/jpeg".parse().unwrap()),
        }
    }

    async fn usage(&self, app: &str) -> Usage {
        self.store.usage(&app.parse().unwrap()).await.unwrap()
    }

    async fn audit(&self, object: &Object) -> Vec<AuditEntry> {
        let query = AuditQuery { object: Some(object.id), limit: 100, ..AuditQuery::default() };
        self.store.audit_entries(query).await.unwrap().into_iter().map(|(_, entry)| entry).collect()
    }

    async fn claim(&self, kinds: &[JobKind], seconds: i64, limit: usize) -> Vec<LeasedJob> {
        let now = self.clock.now();
        let lease_until = now + SignedDuration::from_secs(seconds);
        let claim = ClaimJobs { kinds: kinds.to_owned(), now, lease_until, lease: self.clock.uuid(), limit };
        self.store.claim_jobs(claim).await.unwrap()
    }

    /// An uploaded object with an inspection that is due at once.
    async fn queued(&self) -> Object {
        let object = self.issued("where2eat", 10).await;
        let mut step = self.step(&object, object.life.clone().arrived(stored(10)).unwrap());
        step.jobs = vec![(JobKind::Inspect, self.clock.now())];
        assert_eq!(self.store.advance(step).await.unwrap(), AdvanceOutcome::Done);
        self.store.object(object.id).await.unwrap().unwrap()
    }

    async fn linked(&self, object: &Object, hash: LinkHash) -> IssueDownload {
        IssueDownload {
            grant: GrantId::from_uuid(self.clock.uuid()),
            object: object.id,
            revision: object.revision,
            link: Some(NewLink {
                hash,
                token: object.token.clone(),
                disposition: Disposition::Inline,
                expires_at: self.clock.now() + SignedDuration::from_secs(60),
            }),
            audit: self.entry(AuditAction::RequestDownload, object),
        }
    }

    pub(crate) fn token(&self, id: &str) -> TokenRecord {
        TokenRecord {
            id: id.parse().unwrap(),
            hash: Sha256Digest::of(id.as_bytes()),
            holder: TokenHolder::Workflow {
                app: "where2eat".parse().unwrap(),
                workflow: "nightly".parse().unwrap(),
                owner: "marketing".parse().unwrap(),
                environment: Environment::Live,
                scopes: vec!["storage:images:where2eat:write:prefix=/uploads/".parse().unwrap()],
            },
            created_at: self.clock.now(),
            expires_at: Some(self.clock.now() + SignedDuration::from_hours(24)),
            revoked_at: None,
        }
    }

    pub(crate) fn act(&self, action: AuditAction) -> AuditEntry {
        AuditEntry::new(self.clock.now(), action, Outcome::Allowed)
    }
}

fn stored(size: u64) -> StoredBytes {
    StoredBytes { etag: "\"e\"".into(), version: Some("v1".into()), size }
}

fn held(bytes: u64, objects: u64) -> Usage {
    Usage { bytes, objects }
}

async fn an_object_reads_back_as_it_was_issued(bench: Bench) {
    let object = bench.issued("where2eat", 10).await;
    assert_eq!(bench.store.object(object.id).await.unwrap(), Some(object.clone()));
    let path = object.keys.served.path();
    assert_eq!(bench.store.object_at(&object.app, path).await.unwrap(), Some(object.clone()));
    assert_eq!(bench.store.object_at(&"other".parse().unwrap(), path).await.unwrap(), None);
    let sibling = path.replace("menu", "other");
    for path in [object.keys.staging.path(), &sibling, "x", "", "../x"] {
        assert_eq!(bench.store.object_at(&object.app, path).await.unwrap(), None, "{path}");
    }
    assert_eq!(bench.store.object(ObjectId::from_uuid(Uuid::nil())).await.unwrap(), None);
    assert_eq!(bench.audit(&object).await, [bench.issue(&object, QUOTA).audit]);
}

async fn every_state_reads_back_as_it_was_written(bench: Bench) {
    let visible = bench.visible("where2eat", 10, 12).await;
    assert_eq!(visible.life, Life::Visible { served: stored(12), verdict: Some(bench.clean(12)), review: None });
    assert_eq!((visible.revision, visible.updated_at), (4, bench.clock.now()));
    let object = bench.issued("where2eat", 10).await;
    let rejected = Life::Rejected { reason: Reason::TypeMismatch, detail: "it is HTML".into(), verdict: None };
    assert_eq!(bench.advanced(&object, rejected.clone()).await.life, rejected);
    let object = bench.issued("where2eat", 10).await;
    let finding = Finding::Infected { signature: "Test.EICAR".into() };
    let held = Life::Quarantined { staged: stored(10), verdict: Verdict { finding, ..bench.clean(10) } };
    assert_eq!(bench.advanced(&object, held.clone()).await.life, held);
}

async fn a_refused_upload_leaves_no_trace(bench: Bench) {
    bench.issued("where2eat", 90).await;
    let object = bench.object("where2eat", 11);
    let mut issue = bench.issue(&object, QuotaLimit { bytes: 100, objects: 10 });
    issue.idempotency = Some(Idempotency { key: "k".into(), body: Sha256Digest::of(b"1") });
    let outcome = bench.store.issue_upload(issue.clone()).await.unwrap();
    assert_eq!(outcome, IssueOutcome::BytesExceeded(held(90, 1)));
    issue.quota = QuotaLimit { bytes: 1000, objects: 1 };
    let outcome = bench.store.issue_upload(issue.clone()).await.unwrap();
    assert_eq!(outcome, IssueOutcome::ObjectsExceeded(held(90, 1)));
    issue.quota.bytes = u64::MAX;
    issue.object.size = u64::MAX;
    let outcome = bench.store.issue_upload(issue.clone()).await.unwrap();
    assert_eq!(outcome, IssueOutcome::BytesExceeded(held(90, 1)));
    assert_eq!(bench.store.object(object.id).await.unwrap(), None);
    assert_eq!(bench.audit(&object).await, []);
    assert_eq!(bench.usage("where2eat").await, held(90, 1));
    // The key was not spent, and the quota is met exactly.
    issue.object.size = 10;
    issue.quota = QuotaLimit { bytes: 100, objects: 2 };
    assert_eq!(bench.store.issue_upload(issue).await.unwrap(), IssueOutcome::Issued);
}

async fn p4_concurrent_uploads_never_exceed_the_quota(bench: Bench) {
    let bench = Arc::new(bench);
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..200 {
        let bench = bench.clone();
        tasks.spawn(async move {
            let object = bench.object("where2eat", 10);
            bench.store.issue_upload(bench.issue(&object, QuotaLimit { bytes: 505, objects: 1000 })).await.unwrap()
        });
    }
    let outcomes = tasks.join_all().await;
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == IssueOutcome::Issued).count(), 50);
    let refused = IssueOutcome::BytesExceeded(held(500, 50));
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == refused).count(), 150);
    assert_eq!(bench.usage("where2eat").await, held(500, 50));
    assert_eq!(bench.usage("other").await, Usage::default());
}

async fn an_idempotency_key_stands_for_one_request(bench: Bench) {
    let first = bench.object("where2eat", 10);
    let mut issue = bench.issue(&first, QUOTA);
    issue.idempotency = Some(Idempotency { key: "k-1".into(), body: Sha256Digest::of(b"body") });
    assert_eq!(bench.store.issue_upload(issue.clone()).await.unwrap(), IssueOutcome::Issued);

    let second = bench.object("where2eat", 10);
    let again = IssueUpload { idempotency: issue.idempotency.clone(), ..bench.issue(&second, QUOTA) };
    let repeated = bench.store.issue_upload(again.clone()).await.unwrap();
    assert_eq!(repeated, IssueOutcome::Repeated(Box::new(first.clone())));
    assert_eq!(bench.store.object(second.id).await.unwrap(), None);
    assert_eq!(bench.usage("where2eat").await, held(10, 1));
    // Both entries are about the one object that there is.
    let entries = bench.audit(&first).await;
    assert_eq!(entries.len(), 2);
    assert!(entries.iter().all(|entry| entry.grant_id == Some(first.grant)));

    let mut other = again.clone();
    other.idempotency = Some(Idempotency { key: "k-1".into(), body: Sha256Digest::of(b"another body") });
    assert_eq!(bench.store.issue_upload(other).await.unwrap(), IssueOutcome::KeyReused);
    let mut elsewhere = again;
    elsewhere.object.workflow = "weekly".parse().unwrap();
    assert_eq!(bench.store.issue_upload(elsewhere).await.unwrap(), IssueOutcome::Issued);
}

async fn concurrent_requests_with_one_key_make_one_object(bench: Bench) {
    let bench = Arc::new(bench);
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let bench = bench.clone();
        tasks.spawn(async move {
            let mut issue = bench.issue(&bench.object("where2eat", 10), QUOTA);
            issue.idempotency = Some(Idempotency { key: "k".into(), body: Sha256Digest::of(b"body") });
            bench.store.issue_upload(issue).await.unwrap()
        });
    }
    let outcomes = tasks.join_all().await;
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == IssueOutcome::Issued).count(), 1);
    assert_eq!(bench.usage("where2eat").await, held(10, 1));
}

async fn old_keys_and_links_are_pruned(bench: Bench) {
    let object = bench.object("where2eat", 10);
    let mut issue = bench.issue(&object, QUOTA);
    issue.idempotency = Some(Idempotency { key: "k".into(), body: Sha256Digest::of(b"body") });
    bench.store.issue_upload(issue.clone()).await.unwrap();
    assert!(bench.store.issue_download(bench.linked(&object, [1; 32]).await).await.unwrap());
    bench.clock.advance(Duration::from_secs(23 * 3600));
    assert_eq!(bench.store.prune(bench.clock.now()).await.unwrap(), 0);
    bench.clock.advance(Duration::from_secs(2 * 3600));
    assert_eq!(bench.store.prune(bench.clock.now()).await.unwrap(), 2);
    issue.object = bench.object("where2eat", 10);
    assert_eq!(bench.store.issue_upload(issue).await.unwrap(), IssueOutcome::Issued);
}

async fn quota_comes_back_exactly_once(bench: Bench) {
    let ends: [fn(Life) -> Life; 3] = [
        |life| life.expire().unwrap(),
        |life| life.reject(Reason::SizeMismatch, "too long".into()).unwrap(),
        |life| life.delete("not needed".into()).unwrap(),
    ];
    for end in ends {
        let object = bench.issued("where2eat", 10).await;
        assert_eq!(bench.usage("where2eat").await, held(10, 1));
        let step = bench.step(&object, end(object.life.clone()));
        assert_eq!(bench.store.advance(step.clone()).await.unwrap(), AdvanceOutcome::Done);
        assert_eq!(bench.usage("where2eat").await, Usage::default());
        assert_eq!(bench.store.advance(step).await.unwrap(), AdvanceOutcome::Conflict);
        assert_eq!(bench.usage("where2eat").await, Usage::default());
    }
}

async fn quota_settles_at_the_actual_size(bench: Bench) {
    let object = bench.visible("where2eat", 10, 7).await;
    assert_eq!(bench.usage("where2eat").await, held(7, 1));
    bench.advanced(&object, object.life.clone().delete("done".into()).unwrap()).await;
    assert_eq!(bench.usage("where2eat").await, Usage::default());
}

async fn a_held_object_keeps_its_quota(bench: Bench) {
    let object = bench.issued("where2eat", 10).await;
    let object = bench.advanced(&object, object.life.clone().arrived(stored(10)).unwrap()).await;
    let object = bench.advanced(&object, object.life.clone().give_up("no scanner".into()).unwrap()).await;
    assert_eq!(bench.usage("where2eat").await, held(10, 1));
    bench.advanced(&object, object.life.clone().delete("reviewed".into()).unwrap()).await;
    assert_eq!(bench.usage("where2eat").await, Usage::default());
}

async fn only_one_of_two_transitions_wins(bench: Bench) {
    let object = bench.issued("where2eat", 10).await;
    let arrived = bench.step(&object, object.life.clone().arrived(stored(10)).unwrap());
    let expired = bench.step(&object, object.life.clone().expire().unwrap());
    let (one, other) = tokio::join!(bench.store.advance(arrived), bench.store.advance(expired));
    let mut outcomes = [one.unwrap(), other.unwrap()];
    outcomes.sort_by_key(|outcome| *outcome == AdvanceOutcome::Conflict);
    assert_eq!(outcomes, [AdvanceOutcome::Done, AdvanceOutcome::Conflict]);
    assert_eq!(bench.audit(&object).await.len(), 2, "the loser wrote nothing");
    let unknown = bench.object("where2eat", 10);
    let step = bench.step(&unknown, Life::Expired);
    assert_eq!(bench.store.advance(step).await.unwrap(), AdvanceOutcome::Conflict);
}

async fn no_state_changes_without_an_audit_entry(bench: Bench) {
    let object = bench.issued("where2eat", 10).await;
    let silent = Advance { audit: Vec::new(), ..bench.step(&object, Life::Expired) };
    assert!(bench.store.advance(silent).await.is_err());
    assert_eq!(bench.store.object(object.id).await.unwrap(), Some(object));
}

async fn a_download_is_recorded_only_at_the_revision_that_was_decided_on(bench: Bench) {
    let object = bench.visible("where2eat", 10, 10).await;
    let mut issue = bench.linked(&object, [1; 32]).await;
    issue.link = None;
    assert!(bench.store.issue_download(issue.clone()).await.unwrap());
    let before = bench.audit(&object).await.len();
    bench.advanced(&object, object.life.clone().delete("done".into()).unwrap()).await;
    assert!(!bench.store.issue_download(issue).await.unwrap());
    assert!(!bench.store.issue_download(bench.linked(&object, [2; 32]).await).await.unwrap());
    assert_eq!(bench.store.use_link([2; 32], bench.clock.now()).await.unwrap(), None);
    assert_eq!(bench.audit(&object).await.len(), before + 1, "only the deletion");
}

async fn a_link_works_once_however_many_follow_it(bench: Bench) {
    let bench = Arc::new(bench);
    let object = bench.visible("where2eat", 10, 10).await;
    let issue = bench.linked(&object, [7; 32]).await;
    assert!(bench.store.issue_download(issue.clone()).await.unwrap());
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let bench = bench.clone();
        tasks.spawn(async move { bench.store.use_link([7; 32], bench.clock.now()).await.unwrap() });
    }
    let used: Vec<_> = tasks.join_all().await.into_iter().flatten().collect();
    assert_eq!(used.len(), 1);
    assert_eq!((used[0].object, used[0].grant), (object.id, issue.grant));
    assert_eq!((&used[0].token, used[0].disposition), (&object.token, Disposition::Inline));
}

async fn an_expired_or_unknown_link_does_not_work(bench: Bench) {
    let object = bench.visible("where2eat", 10, 10).await;
    assert!(bench.store.issue_download(bench.linked(&object, [7; 32]).await).await.unwrap());
    bench.clock.advance(Duration::from_secs(60));
    assert_eq!(bench.store.use_link([7; 32], bench.clock.now()).await.unwrap(), None);
    assert_eq!(bench.store.use_link([8; 32], bench.clock.now()).await.unwrap(), None);
}

async fn a_job_commits_with_its_state_or_not_at_all(bench: Bench) {
    let object = bench.queued().await;
    assert!(bench.store.has_job(object.id, JobKind::Inspect).await.unwrap());
    assert!(!bench.store.has_job(object.id, JobKind::Purge).await.unwrap());
    let mut stale = bench.step(&object, Life::Expired);
    stale.from_revision = 0;
    stale.jobs = vec![(JobKind::Purge, bench.clock.now())];
    assert_eq!(bench.store.advance(stale).await.unwrap(), AdvanceOutcome::Conflict);
    assert!(!bench.store.has_job(object.id, JobKind::Purge).await.unwrap());
}

async fn a_finished_job_leaves_with_its_transition(bench: Bench) {
    let object = bench.queued().await;
    let [job] = bench.claim(&[JobKind::Inspect], 60, 10).await.try_into().unwrap();
    let mut step = bench.step(&object, object.life.clone().claim().unwrap());
    step.completes = Some(job);
    step.jobs = vec![(JobKind::Promote, bench.clock.now()), (JobKind::Promote, bench.clock.now())];
    assert_eq!(bench.store.advance(step).await.unwrap(), AdvanceOutcome::Done);
    assert!(!bench.store.has_job(object.id, JobKind::Inspect).await.unwrap());
    assert_eq!(bench.claim(&JobKind::ALL, 60, 10).await.len(), 1);
}

async fn a_worker_that_lost_its_lease_changes_nothing(bench: Bench) {
    let object = bench.queued().await;
    let [late] = bench.claim(&[JobKind::Inspect], 60, 10).await.try_into().unwrap();
    assert_eq!(bench.claim(&[JobKind::Inspect], 60, 10).await, [], "the lease runs");
    bench.clock.advance(Duration::from_secs(60));
    let [job] = bench.claim(&[JobKind::Inspect], 60, 10).await.try_into().unwrap();
    assert_eq!((late.attempts, job.attempts, job.queued_at), (1, 2, late.queued_at));

    let now = bench.clock.now();
    let mut step = bench.step(&object, object.life.clone().claim().unwrap());
    step.completes = Some(late.clone());
    assert_eq!(bench.store.advance(step.clone()).await.unwrap(), AdvanceOutcome::Conflict);
    assert!(!bench.store.extend_lease(&late, now).await.unwrap());
    assert!(!bench.store.retry_job(&late, now, "late").await.unwrap());
    assert!(!bench.store.finish_job(&late).await.unwrap());
    step.completes = Some(job);
    assert_eq!(bench.store.advance(step).await.unwrap(), AdvanceOutcome::Done);
}

async fn a_lease_is_extended_given_back_and_ended(bench: Bench) {
    bench.queued().await;
    let second = SignedDuration::from_secs(1);
    let [job] = bench.claim(&[JobKind::Inspect], 60, 10).await.try_into().unwrap();
    let until = bench.clock.now() + SignedDuration::from_secs(120);
    assert!(bench.store.extend_lease(&job, until).await.unwrap());
    assert_eq!(bench.store.next_due(&JobKind::ALL).await.unwrap(), Some(until));
    bench.clock.advance(Duration::from_secs(90));
    assert_eq!(bench.claim(&[JobKind::Inspect], 60, 10).await, []);
    assert!(bench.store.retry_job(&job, bench.clock.now() + second, "clamd is away").await.unwrap());
    assert_eq!(bench.claim(&[JobKind::Inspect], 60, 10).await, []);
    bench.clock.advance(Duration::from_secs(1));
    let [again] = bench.claim(&[JobKind::Inspect], 60, 10).await.try_into().unwrap();
    assert_eq!(again.attempts, 2);
    assert!(!bench.store.finish_job(&job).await.unwrap());
    assert!(bench.store.finish_job(&again).await.unwrap());
    assert_eq!(bench.store.next_due(&JobKind::ALL).await.unwrap(), None);
}

async fn jobs_are_claimed_oldest_due_first_and_each_once(bench: Bench) {
    let mut objects = Vec::new();
    for _ in 0..5 {
        objects.push(bench.queued().await.id);
        bench.clock.advance(Duration::from_secs(1));
    }
    let first: Vec<_> = bench.claim(&JobKind::ALL, 60, 2).await.into_iter().map(|job| job.object).collect();
    assert_eq!(first, objects[..2]);
    assert_eq!(bench.claim(&[JobKind::Promote, JobKind::Purge], 60, 10).await, []);
    let (one, other) = tokio::join!(bench.claim(&[JobKind::Inspect], 60, 2), bench.claim(&[JobKind::Inspect], 60, 10));
    let mut rest: Vec<_> = one.into_iter().chain(other).map(|job| job.object).collect();
    rest.sort();
    assert_eq!(rest, objects[2..]);
}

async fn what_has_expired_is_found_oldest_first(bench: Bench) {
    let old = bench.issued("where2eat", 10).await;
    bench.clock.advance(Duration::from_secs(60));
    let newer = bench.issued("other", 10).await;
    let used = bench.issued("where2eat", 10).await;
    bench.advanced(&used, used.life.clone().arrived(stored(10)).unwrap()).await;
    let at = |object: &Object, seconds| object.upload_expires_at + SignedDuration::from_secs(seconds);
    assert_eq!(bench.store.expirable(at(&old, 0), 10).await.unwrap(), []);
    assert_eq!(bench.store.expirable(at(&old, 1), 10).await.unwrap(), std::slice::from_ref(&old));
    assert_eq!(bench.store.expirable(at(&newer, 1), 10).await.unwrap(), [old.clone(), newer]);
    assert_eq!(bench.store.expirable(at(&used, 1), 1).await.unwrap(), [old]);
}

async fn objects_are_listed_newest_first_in_pages(bench: Bench) {
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.insert(0, bench.issued("where2eat", 10).await.id);
        bench.clock.advance(Duration::from_millis(2));
    }
    let other = bench.issued("other", 10).await.id;
    let list = async |prefix: &str, state, before, limit| {
        let (app, prefix) = (Some("where2eat".parse().unwrap()), prefix.to_owned());
        let query = ObjectQuery { app, prefix, state, before, limit };
        bench.store.objects(query).await.unwrap().into_iter().map(|object| object.id).collect::<Vec<_>>()
    };
    assert_eq!(list("", None, None, 10).await, ids);
    assert_eq!(list("", None, None, 2).await, ids[..2]);
    assert_eq!(list("", None, Some(ids[1]), 2).await, ids[2..4]);
    assert_eq!(list("uploads/where2eat/", None, Some(ids[3]), 10).await, ids[4..]);
    for foreign in ["uploads/other/", "%", "uploads/where2ea_/", "UPLOADS/"] {
        assert_eq!(list(foreign, None, None, 10).await, [], "{foreign}");
    }
    let object = bench.store.object(ids[2]).await.unwrap().unwrap();
    bench.advanced(&object, Life::Expired).await;
    assert_eq!(list("", Some(State::Expired), None, 10).await, [ids[2]]);
    assert_eq!(list("", Some(State::Issued), None, 10).await.len(), 4);
    let of_every_app = ObjectQuery { app: None, prefix: String::new(), state: None, before: None, limit: 2 };
    let found: Vec<_> = bench.store.objects(of_every_app).await.unwrap().into_iter().map(|object| object.id).collect();
    assert_eq!(found, [other, ids[0]]);
}

async fn the_audit_trail_is_filtered_and_paged(bench: Bench) {
    let first = bench.issued("where2eat", 10).await;
    bench.clock.advance(Duration::from_secs(60));
    let middle = bench.clock.now();
    let second = bench.issued("other", 10).await;
    let mut by_token = bench.act(AuditAction::Authenticate);
    by_token.token_id = Some("BBBBBBBBBBBBBBBB".parse().unwrap());
    bench.store.audit(by_token.clone()).await.unwrap();

    let find = async |query: AuditQuery| {
        let query = AuditQuery { limit: query.limit.max(1) * 10, ..query };
        bench.store.audit_entries(query).await.unwrap()
    };
    let entries = |found: Vec<(i64, AuditEntry)>| found.into_iter().map(|(_, entry)| entry).collect::<Vec<_>>();
    let all = find(AuditQuery::default()).await;
    assert!(all.len() == 3 && all.is_sorted_by(|a, b| a.0 > b.0), "newest first");
    let of = |object: &Object| Some(object.id);
    assert_eq!(
        entries(find(AuditQuery { app: Some(first.app.clone()), ..Default::default() }).await)[0].object_id,
        of(&first)
    );
    assert_eq!(entries(find(AuditQuery { token: by_token.token_id.clone(), ..Default::default() }).await), [by_token]);
    assert_eq!(find(AuditQuery { object: Some(second.id), ..Default::default() }).await.len(), 1);
    assert_eq!(find(AuditQuery { since: Some(middle), ..Default::default() }).await.len(), 2);
    assert_eq!(find(AuditQuery { until: Some(middle), ..Default::default() }).await.len(), 1);
    assert_eq!(find(AuditQuery { before: Some(all[1].0), ..Default::default() }).await, all[2..]);
    let page = bench.store.audit_entries(AuditQuery { limit: 1, ..Default::default() }).await.unwrap();
    assert_eq!(page, all[..1]);
}

async fn tokens_are_kept_with_their_revocation(bench: Bench) {
    let record = bench.token("0123456789abcdef");
    bench.store.create_token(record.clone(), bench.act(AuditAction::CreateToken)).await.unwrap();
    bench.clock.advance(Duration::from_secs(1));
    let mut admin = bench.token("fedcba9876543210");
    admin.holder = TokenHolder::Operator { name: "Ana".into() };
    admin.expires_at = None;
    bench.store.create_token(admin.clone(), bench.act(AuditAction::CreateToken)).await.unwrap();
    assert_eq!(bench.store.token(&record.id).await.unwrap(), Some(record.clone()));
    assert_eq!(bench.store.tokens().await.unwrap(), [admin, record.clone()]);
    assert!(bench.store.create_token(record.clone(), bench.act(AuditAction::CreateToken)).await.is_err());

    let first = bench.clock.now();
    let revoke = async |id: &str, now: Timestamp| {
        bench.store.revoke_token(&id.parse().unwrap(), now, bench.act(AuditAction::RevokeToken)).await.unwrap()
    };
    assert!(revoke("0123456789abcdef", first).await);
    assert!(revoke("0123456789abcdef", first + SignedDuration::from_secs(9)).await);
    assert!(!revoke("unknown000000000", first).await);
    assert_eq!(bench.store.token(&record.id).await.unwrap().unwrap().revoked_at, Some(first));
    let all = bench.store.audit_entries(AuditQuery { limit: 10, ..Default::default() }).await.unwrap();
    assert_eq!(all.len(), 4, "neither the double nor the unknown left an entry");
}

async fn unreadable_messages_are_kept_and_cut(bench: Bench) {
    let letter = |reason: &str, body: String| DeadLetter {
        source: "sqs:events".into(),
        at: bench.clock.now(),
        reason: reason.into(),
        body,
    };
    bench.store.dead_letter(letter("no JSON", "{".into())).await.unwrap();
    bench.store.dead_letter(letter("too long", format!("x{}", "é".repeat(10_000)))).await.unwrap();
    let kept = bench.store.dead_letters(10).await.unwrap();
    assert_eq!(kept[1], letter("no JSON", "{".into()));
    assert_eq!((kept[0].reason.as_str(), kept[0].body.len()), ("too long", 16 * 1024 - 1));
    assert_eq!(bench.store.dead_letters(1).await.unwrap().len(), 1);
}

async fn statistics_count_what_there_is(bench: Bench) {
    bench.issued("where2eat", 10).await;
    bench.visible("where2eat", 10, 10).await;
    let queued_at = bench.clock.now();
    bench.queued().await;
    bench.clock.advance(Duration::from_secs(5));
    bench.queued().await;
    bench
        .store
        .dead_letter(DeadLetter { source: "s".into(), at: queued_at, reason: "r".into(), body: "b".into() })
        .await
        .unwrap();
    let mut statistics = bench.store.statistics().await.unwrap();
    statistics.states.sort();
    assert_eq!(statistics.states, [(State::Issued, 1), (State::Uploaded, 2), (State::Visible, 1)]);
    assert_eq!(statistics.jobs, [(JobKind::Inspect, 2, queued_at)]);
    assert_eq!(statistics.dead_letters, 1);
}

async fn a_setting_is_set_once(bench: Bench) {
    assert_eq!(bench.store.setting("key").await.unwrap(), None);
    assert_eq!(bench.store.setting_or_insert("key", vec![1]).await.unwrap(), [1]);
    assert_eq!(bench.store.setting_or_insert("key", vec![2]).await.unwrap(), [1]);
    assert_eq!(bench.store.setting("key").await.unwrap(), Some(vec![1]));
    bench.store.probe().await.unwrap();
}

/// Every case as a test of one implementation.
macro_rules! conformance {
    ($name:ident, $backend:ty; $($case:ident),* $(,)?) => {
        mod $name {
            use super::*;

            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    let backend = <$backend>::create().await;
                    super::$case(Bench::new(backend.store())).await;
                }
            )*
        }
    };
}

macro_rules! every_case_for {
    ($name:ident, $backend:ty) => {
        conformance! { $name, $backend;
            an_object_reads_back_as_it_was_issued,
            every_state_reads_back_as_it_was_written,
            a_refused_upload_leaves_no_trace,
            p4_concurrent_uploads_never_exceed_the_quota,
            an_idempotency_key_stands_for_one_request,
            concurrent_requests_with_one_key_make_one_object,
            old_keys_and_links_are_pruned,
            quota_comes_back_exactly_once,
            quota_settles_at_the_actual_size,
            a_held_object_keeps_its_quota,
            only_one_of_two_transitions_wins,
            no_state_changes_without_an_audit_entry,
            a_download_is_recorded_only_at_the_revision_that_was_decided_on,
            a_link_works_once_however_many_follow_it,
            an_expired_or_unknown_link_does_not_work,
            a_job_commits_with_its_state_or_not_at_all,
            a_finished_job_leaves_with_its_transition,
            a_worker_that_lost_its_lease_changes_nothing,
            a_lease_is_extended_given_back_and_ended,
            jobs_are_claimed_oldest_due_first_and_each_once,
            what_has_expired_is_found_oldest_first,
            objects_are_listed_newest_first_in_pages,
            the_audit_trail_is_filtered_and_paged,
            tokens_are_kept_with_their_revocation,
            unreadable_messages_are_kept_and_cut,
            statistics_count_what_there_is,
            a_setting_is_set_once,
        }
    };
}

every_case_for!(sqlite, Sqlite);
