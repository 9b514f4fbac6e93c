//! Objects: issued, listed, moved on, and what they hold of the quota.

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use uuid::Uuid;
use vestibule::domain::bytes::Sha256Digest;
use vestibule::domain::ids::{ObjectId, RevocationId};
use vestibule::domain::life::{Life, Review, State};
use vestibule::domain::object::Object;
use vestibule::domain::principal::Environment;
use vestibule::domain::quota::{QuotaHolder, QuotaKind, QuotaMet, Quotas};
use vestibule::domain::refusal::Reason;
use vestibule::domain::verdict::{Finding, Verdict};
use vestibule::store::{Advance, AdvanceOutcome, Idempotency, IssueOutcome, IssueUpload, ObjectQuery};

use super::{Bench, QUOTA, held, kept_until, of_app, stored};

pub(super) async fn an_object_reads_back_as_it_was_issued(bench: Bench) {
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

pub(super) async fn every_state_reads_back_as_it_was_written(bench: Bench) {
    let visible = bench.visible("where2eat", 10, 12).await;
    assert_eq!(
        visible.life,
        Life::Visible {
            served: stored(12),
            verdict: Some(bench.clean(12)),
            review: None,
            retained_until: kept_until()
        }
    );
    assert_eq!((visible.revision, visible.updated_at), (4, bench.clock.now()));
    let object = bench.issued("where2eat", 10).await;
    let rejected = Life::Rejected { reason: Reason::TypeMismatch, detail: "it is HTML".into(), verdict: None };
    assert_eq!(bench.advanced(&object, rejected.clone()).await.life, rejected);
    let object = bench.issued("where2eat", 10).await;
    let finding = Finding::Infected { signature: "Test.EICAR".into() };
    let held = Life::Quarantined { staged: stored(10), verdict: Verdict { finding, ..bench.clean(10) } };
    assert_eq!(bench.advanced(&object, held.clone()).await.life, held);
}

pub(super) async fn what_was_visible_is_contained_and_released_as_it_was_and_counts_all_the_while(bench: Bench) {
    let visible = bench.visible("where2eat", 10, 12).await;
    let revocation = RevocationId::from_uuid(bench.clock.uuid());
    let contained = bench.advanced(&visible, visible.life.clone().contain(revocation).unwrap()).await;
    let query = |state| ObjectQuery {
        app: Some(visible.app.clone()),
        prefix: String::new(),
        state: Some(state),
        before: None,
        limit: 10,
    };
    assert_eq!(bench.store.objects(query(State::Quarantined)).await.unwrap(), std::slice::from_ref(&contained));
    assert_eq!(bench.store.objects(query(State::Visible)).await.unwrap(), []);
    assert_eq!(bench.usage("where2eat").await, held(12, 1));
    let review = Review { by: "ana".into(), reason: "nothing wrong with it".into() };
    let released = bench.advanced(&contained, contained.life.clone().release(review.clone()).unwrap()).await;
    let Life::Visible { served, verdict, retained_until, .. } = visible.life else { panic!("it was visible") };
    assert_eq!(released.life, Life::Visible { served, verdict, review: Some(review), retained_until });
    assert_eq!(bench.usage("where2eat").await, held(12, 1));

    let uploaded = bench.issued("where2eat", 10).await;
    let ended = bench.advanced(&uploaded, uploaded.life.clone().contain(revocation).unwrap()).await;
    assert_eq!((ended.life.state(), bench.usage("where2eat").await), (State::Deleted, held(12, 1)));
    bench.assert_counted_right().await;
}

pub(super) async fn a_refused_upload_leaves_no_trace(bench: Bench) {
    bench.issued("where2eat", 90).await;
    let object = bench.object("where2eat", 11);
    let mut issue = bench.issue(&object, of_app(Quotas::stored(100, 10)));
    issue.idempotency = Some(Idempotency { key: "k".into(), body: Sha256Digest::of(b"1") });
    let outcome = bench.store.issue_upload(issue.clone()).await.unwrap();
    assert_eq!(outcome, met(QuotaKind::BytesStored, 100, 90));
    issue.quota = of_app(Quotas::stored(1000, 1));
    let outcome = bench.store.issue_upload(issue.clone()).await.unwrap();
    assert_eq!(outcome, met(QuotaKind::ObjectsStored, 1, 1));
    issue.quota = of_app(Quotas::stored(u64::MAX, 1));
    Arc::make_mut(&mut issue.object).size = u64::MAX;
    let outcome = bench.store.issue_upload(issue.clone()).await.unwrap();
    assert_eq!(outcome, met(QuotaKind::BytesStored, i64::MAX as u64, 90));
    assert_eq!(bench.store.object(object.id).await.unwrap(), None);
    assert_eq!(bench.audit(&object).await, []);
    assert_eq!(bench.usage("where2eat").await, held(90, 1));
    // The key was not spent, and the quota is met exactly.
    Arc::make_mut(&mut issue.object).size = 10;
    issue.quota = of_app(Quotas::stored(100, 2));
    assert_eq!(bench.store.issue_upload(issue).await.unwrap(), IssueOutcome::Issued);
}

/// What the app had to hear.
fn met(kind: QuotaKind, limit: u64, used: u64) -> IssueOutcome {
    IssueOutcome::QuotaMet(QuotaMet { holder: QuotaHolder::App, kind, limit, used, free_at: None })
}

pub(super) async fn p4_concurrent_uploads_never_exceed_the_quota(bench: Bench) {
    let bench = Arc::new(bench);
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..200 {
        let bench = bench.clone();
        tasks.spawn(async move {
            let object = bench.object("where2eat", 10);
            bench.store.issue_upload(bench.issue(&object, of_app(Quotas::stored(505, 1000)))).await.unwrap()
        });
    }
    let outcomes = tasks.join_all().await;
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == IssueOutcome::Issued).count(), 50);
    let refused = met(QuotaKind::BytesStored, 505, 500);
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == refused).count(), 150);
    assert_eq!(bench.usage("where2eat").await, held(500, 50));
    assert_eq!(bench.usage("other").await, held(0, 0));
}

pub(super) async fn an_idempotency_key_stands_for_one_request(bench: Bench) {
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
    let mut live = again.clone();
    Arc::make_mut(&mut live.object).environment = Environment::Live;
    assert_eq!(bench.store.issue_upload(live).await.unwrap(), IssueOutcome::Issued, "another environment, another key");
    let mut elsewhere = again;
    elsewhere.object = bench.object("where2eat", 10).into();
    Arc::make_mut(&mut elsewhere.object).workflow = "weekly".parse().unwrap();
    assert_eq!(bench.store.issue_upload(elsewhere).await.unwrap(), IssueOutcome::Issued);
}

pub(super) async fn concurrent_requests_with_one_key_make_one_object(bench: Bench) {
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

pub(super) async fn quota_comes_back_exactly_once(bench: Bench) {
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
        assert_eq!(bench.usage("where2eat").await, held(0, 0));
        assert_eq!(bench.store.advance(step).await.unwrap(), AdvanceOutcome::Conflict);
        assert_eq!(bench.usage("where2eat").await, held(0, 0));
    }
}

pub(super) async fn quota_settles_at_the_actual_size(bench: Bench) {
    let object = bench.visible("where2eat", 10, 7).await;
    assert_eq!(bench.usage("where2eat").await, held(7, 1));
    bench.advanced(&object, object.life.clone().delete("done".into()).unwrap()).await;
    assert_eq!(bench.usage("where2eat").await, held(0, 0));
}

pub(super) async fn a_held_object_keeps_its_quota(bench: Bench) {
    let object = bench.issued("where2eat", 10).await;
    let object = bench.advanced(&object, object.life.clone().arrived(stored(10)).unwrap()).await;
    let object = bench.advanced(&object, object.life.clone().give_up("no scanner".into()).unwrap()).await;
    assert_eq!(bench.usage("where2eat").await, held(10, 1));
    bench.advanced(&object, object.life.clone().delete("reviewed".into()).unwrap()).await;
    assert_eq!(bench.usage("where2eat").await, held(0, 0));
}

pub(super) async fn only_one_of_two_transitions_wins(bench: Bench) {
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

pub(super) async fn no_state_changes_without_an_audit_entry(bench: Bench) {
    let object = bench.issued("where2eat", 10).await;
    let silent = Advance { audit: Vec::new(), ..bench.step(&object, Life::Expired) };
    assert!(bench.store.advance(silent).await.is_err());
    assert_eq!(bench.store.object(object.id).await.unwrap(), Some(object));
}

pub(super) async fn what_has_expired_is_found_oldest_first(bench: Bench) {
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

pub(super) async fn objects_are_listed_newest_first_in_pages(bench: Bench) {
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
    for id in [ids[4], ids[0], other] {
        let object = bench.store.object(id).await.unwrap().unwrap();
        let object = bench.advanced(&object, object.life.clone().arrived(stored(10)).unwrap()).await;
        bench.advanced(&object, object.life.clone().give_up("no scanner".into()).unwrap()).await;
    }
    let held = |limit, before| {
        let state = Some(State::Unscannable);
        bench.store.objects(ObjectQuery { app: None, prefix: String::new(), state, before, limit })
    };
    let ids_of = |objects: Vec<Object>| objects.into_iter().map(|object| object.id).collect::<Vec<_>>();
    assert_eq!(ids_of(held(10, None).await.unwrap()), [other, ids[0], ids[4]]);
    assert_eq!(ids_of(held(1, Some(other)).await.unwrap()), [ids[0]]);
}
