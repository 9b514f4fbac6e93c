//! What every implementation of `Store` must do: one suite, one constructor for each implementation.
//!
//! Each case gets an empty database of its own. `conformance!` names every case once for an implementation, so that a
//! new implementation cannot leave one out.

mod access;
mod downloads;
mod gateway;
mod jobs;
mod mix;
mod objects;
mod quotas;
mod records;
mod revocations;
mod tokens;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use vestibule::clock::Clock;
use vestibule::domain::audit::{AuditAction, AuditEntry, Outcome};
use vestibule::domain::bytes::{Sha256Digest, StoredBytes};
use vestibule::domain::filename::Filename;
use vestibule::domain::grant::{Disposition, UploadMethod};
use vestibule::domain::ids::{GrantId, ObjectId};
use vestibule::domain::job::{JobKind, LeasedJob};
use vestibule::domain::key::ObjectKeys;
use vestibule::domain::life::Life;
use vestibule::domain::object::Object;
use vestibule::domain::principal::Environment;
use vestibule::domain::quota::{QuotaLimits, Quotas};
use vestibule::domain::verdict::{Finding, Verdict};
use vestibule::store::{
    Advance, AdvanceOutcome, AuditQuery, ClaimJobs, DownloadCharge, IssueDownload, IssueOutcome, IssueUpload, LinkHash,
    NewLink, Store, StoreError, TokenRecord, UsageOfBoth, UsageQuery, UseLink,
};

pub(crate) use mix::mix;

use crate::store_postgres::Postgres;
use crate::store_sqlite::Sqlite;

/// Plenty.
pub(crate) const QUOTA: QuotaLimits = of_app(Quotas::stored(1_000_000, 10_000));

/// Quotas of an app alone.
pub(crate) const fn of_app(app: Quotas) -> QuotaLimits {
    QuotaLimits { app, owner: Quotas([None; 5]) }
}

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

    /// Queues twenty uploads, and among them a token that exists already, while somebody else holds the database until
    /// `release`. Only the token fails.
    pub(crate) async fn twenty_uploads_beside_a_refused_operation(
        self: &Arc<Self>,
        token: TokenRecord,
        release: impl Future<Output = ()>,
    ) {
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..20 {
            let bench = self.clone();
            tasks.spawn(async move {
                let object = bench.object("where2eat", 10);
                bench.store.issue_upload(bench.issue(&object, QUOTA)).await.unwrap()
            });
        }
        let bench = self.clone();
        let double =
            tokio::spawn(async move { bench.store.create_token(token, bench.act(AuditAction::CreateToken)).await });
        tokio::time::sleep(Duration::from_millis(200)).await;
        release.await;
        assert!(tasks.join_all().await.iter().all(|outcome| *outcome == IssueOutcome::Issued));
        assert!(matches!(double.await.unwrap(), Err(StoreError::Corrupt(_))));
    }

    /// Asks for two uploads while somebody else holds the database until `release`, and gives the second up meanwhile.
    pub(crate) async fn two_uploads_of_which_one_is_given_up(
        self: &Arc<Self>,
        release: impl Future<Output = ()>,
    ) -> (ObjectId, ObjectId) {
        let issue = |object| {
            let bench = self.clone();
            tokio::spawn(async move { bench.store.issue_upload(bench.issue(&object, QUOTA)).await })
        };
        let (first, second) = (self.object("where2eat", 10), self.object("where2eat", 10));
        let ids = (first.id, second.id);
        let waiting = issue(first);
        tokio::time::sleep(Duration::from_millis(100)).await;
        let gone = issue(second);
        tokio::time::sleep(Duration::from_millis(100)).await;
        gone.abort();
        assert!(gone.await.unwrap_err().is_cancelled());
        release.await;
        assert_eq!(waiting.await.unwrap().unwrap(), IssueOutcome::Issued);
        self.store.probe().await.unwrap();
        ids
    }

    pub(crate) fn issue(&self, object: &Object, quota: QuotaLimits) -> IssueUpload {
        IssueUpload {
            object: std::sync::Arc::new(object.clone()),
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
        self.advanced(&object, object.life.clone().promoted(stored(actual), kept_until()).unwrap()).await
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

    /// Bytes and objects that an app holds.
    async fn usage(&self, app: &str) -> (u64, u64) {
        let used = self.used(app).await.app;
        (used.bytes, used.objects)
    }

    /// What an app of these tests and its owner use.
    pub(crate) async fn used(&self, app: &str) -> UsageOfBoth {
        self.store.usage(&app.parse().unwrap(), &"marketing".parse().unwrap()).await.unwrap()
    }

    /// No count differs from what the objects add up to.
    pub(crate) async fn assert_counted_right(&self) {
        let query = UsageQuery { app: None, at: self.clock.now() };
        let rows = self.store.audit_usage(query).await.unwrap();
        assert!(rows.iter().all(|row| row.missing.is_nothing()), "{rows:#?}");
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

    /// The use of a link to this object, now.
    fn followed(&self, object: &Object, hash: LinkHash) -> UseLink {
        let audit = self.entry(AuditAction::FollowLink, object);
        UseLink { hash, now: self.clock.now(), object: object.id, revision: object.revision, audit }
    }

    pub(crate) async fn linked(&self, object: &Object, hash: LinkHash) -> IssueDownload {
        IssueDownload {
            grant: GrantId::from_uuid(self.clock.uuid()),
            object: object.id,
            revision: object.revision,
            charge: DownloadCharge {
                app: object.app.clone(),
                owner: object.owner.clone(),
                bytes: object.size,
                at: self.clock.now(),
                quota: QUOTA,
            },
            link: Some(NewLink {
                hash,
                token: object.token.clone(),
                disposition: Disposition::Inline,
                lawful_basis: Some("consent".into()),
                expires_at: self.clock.now() + SignedDuration::from_secs(60),
            }),
            audit: self.entry(AuditAction::RequestDownload, object),
        }
    }

    pub(crate) fn act(&self, action: AuditAction) -> AuditEntry {
        AuditEntry::new(self.clock.now(), action, Outcome::Allowed)
    }
}

/// Before when the storage keeps what these tests promote.
fn kept_until() -> Option<Timestamp> {
    Some("2027-02-20T14:00:00Z".parse().unwrap())
}

fn stored(size: u64) -> StoredBytes {
    StoredBytes { etag: "\"e\"".into(), version: Some("v1".into()), size }
}

fn held(bytes: u64, objects: u64) -> (u64, u64) {
    (bytes, objects)
}

/// Every case as a test of one implementation.
macro_rules! conformance {
    ($name:ident, $backend:ty; $($subject:ident { $($case:ident),* $(,)? })*) => {
        mod $name {
            use super::*;

            $($(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    let backend = <$backend>::create().await;
                    $subject::$case(Bench::new(backend.store())).await;
                }
            )*)*
        }
    };
}

macro_rules! every_case_for {
    ($name:ident, $backend:ty) => {
        conformance! { $name, $backend;
            access {
                a_request_reads_back_and_is_decided_once,
                requests_are_listed_newest_first,
                of_many_claims_one_gets_the_token,
                a_claim_link_ends,
                a_claim_ends_the_token_that_it_changes_and_no_block_lets_it_through,
                a_revocation_voids_what_was_approved_before_it,
            }
            objects {
                an_object_reads_back_as_it_was_issued,
                every_state_reads_back_as_it_was_written,
                what_was_visible_is_contained_and_released_as_it_was_and_counts_all_the_while,
                a_refused_upload_leaves_no_trace,
                p4_concurrent_uploads_never_exceed_the_quota,
                an_idempotency_key_stands_for_one_request,
                concurrent_requests_with_one_key_make_one_object,
                quota_comes_back_exactly_once,
                quota_settles_at_the_actual_size,
                a_held_object_keeps_its_quota,
                only_one_of_two_transitions_wins,
                no_state_changes_without_an_audit_entry,
                what_has_expired_is_found_oldest_first,
                objects_are_listed_newest_first_in_pages,
            }
            downloads {
                a_download_is_recorded_only_at_the_revision_that_was_decided_on,
                a_link_works_once_however_many_follow_it,
                an_expired_or_unknown_link_does_not_work,
                a_link_is_not_spent_where_its_object_has_changed,
            }
            quotas {
                every_quota_of_app_and_owner_is_kept_and_told,
                a_window_gives_back_what_never_became_visible_while_it_runs,
                downloads_count_for_the_month_and_are_refused_beyond_it,
                an_upload_settles_to_what_became_visible,
                owners_are_charged_for_all_their_apps,
                what_is_counted_wrong_is_found_and_put_right,
                p4_no_mix_of_acts_exceeds_a_quota_or_loses_count,
            }
            jobs {
                a_job_commits_with_its_state_or_not_at_all,
                a_finished_job_leaves_with_its_transition,
                a_worker_that_lost_its_lease_changes_nothing,
                a_lease_is_extended_given_back_and_ended,
                jobs_are_claimed_oldest_due_first_and_each_once,
            }
            gateway {
                of_two_nodes_that_make_the_same_key_one_is_too_late,
                a_proof_is_used_once_however_many_try,
                nodes_are_there_until_they_leave_or_fall_silent,
                reviewers_agree_once_each_about_one_revision,
            }
            records {
                the_audit_trail_is_filtered_and_paged,
                unreadable_messages_are_kept_and_cut,
                statistics_count_what_there_is,
                a_setting_is_set_once,
                old_keys_and_links_are_pruned,
                old_unreadable_messages_are_pruned,
                a_long_trail_is_paged_by_app_token_and_both,
                old_audit_entries_are_pruned_and_that_is_recorded,
            }
            tokens {
                a_token_reads_back_with_everything_that_is_known,
                tokens_are_listed_newest_first_in_pages,
                a_token_that_is_rotated_works_for_a_while_longer,
                of_two_rotations_of_one_token_one_wins,
                the_last_use_of_a_token_only_grows,
                a_derived_token_needs_its_parent,
                tokens_that_live_for_minutes_are_removed_a_week_after_their_end,
            }
            revocations {
                a_revocation_ends_what_it_names_and_nothing_else,
                a_signing_key_that_is_revoked_is_retired_and_no_other,
                what_was_derived_ends_with_a_token_that_is_followed_by_another,
                a_revocation_is_recorded_once_with_its_entry_and_tells_every_node,
                a_block_keeps_new_tokens_away_until_it_is_lifted,
                revocations_are_listed_newest_first_and_contained_oldest_first,
                what_was_uploaded_under_a_target_is_found_in_pages,
                no_token_slips_past_a_block,
            }
        }
    };
}

every_case_for!(sqlite, Sqlite);
every_case_for!(postgres, Postgres);
