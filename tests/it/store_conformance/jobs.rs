//! Jobs and their leases.

use std::time::Duration;

use jiff::SignedDuration;
use vestibule::domain::job::JobKind;
use vestibule::domain::life::Life;
use vestibule::store::AdvanceOutcome;

use super::Bench;

pub(super) async fn a_job_commits_with_its_state_or_not_at_all(bench: Bench) {
    let object = bench.queued().await;
    assert!(bench.store.has_job(object.id, JobKind::Inspect).await.unwrap());
    assert!(!bench.store.has_job(object.id, JobKind::Purge).await.unwrap());
    let mut stale = bench.step(&object, Life::Expired);
    stale.from_revision = 0;
    stale.jobs = vec![(JobKind::Purge, bench.clock.now())];
    assert_eq!(bench.store.advance(stale).await.unwrap(), AdvanceOutcome::Conflict);
    assert!(!bench.store.has_job(object.id, JobKind::Purge).await.unwrap());
}

pub(super) async fn a_finished_job_leaves_with_its_transition(bench: Bench) {
    let object = bench.queued().await;
    let [job] = bench.claim(&[JobKind::Inspect], 60, 10).await.try_into().unwrap();
    let mut step = bench.step(&object, object.life.clone().claim().unwrap());
    step.completes = Some(job);
    step.jobs = vec![(JobKind::Promote, bench.clock.now()), (JobKind::Promote, bench.clock.now())];
    assert_eq!(bench.store.advance(step).await.unwrap(), AdvanceOutcome::Done);
    assert!(!bench.store.has_job(object.id, JobKind::Inspect).await.unwrap());
    assert_eq!(bench.claim(&JobKind::ALL, 60, 10).await.len(), 1);
}

pub(super) async fn a_worker_that_lost_its_lease_changes_nothing(bench: Bench) {
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

pub(super) async fn a_lease_is_extended_given_back_and_ended(bench: Bench) {
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
    assert!(bench.store.retry_job(&again.uncounted(), bench.clock.now(), "clamd is away").await.unwrap());
    assert!(!bench.store.retry_job(&again.uncounted(), bench.clock.now(), "twice").await.unwrap());
    let [again] = bench.claim(&[JobKind::Inspect], 60, 10).await.try_into().unwrap();
    assert_eq!(again.attempts, 2, "a try that was taken off does not count");
    assert!(!bench.store.finish_job(&job).await.unwrap());
    assert!(bench.store.finish_job(&again).await.unwrap());
    assert_eq!(bench.store.next_due(&JobKind::ALL).await.unwrap(), None);
}

pub(super) async fn jobs_are_claimed_oldest_due_first_and_each_once(bench: Bench) {
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
