//! Two nodes on one database: quotas, leases, keys, and what one sees of the other.

use std::collections::HashSet;
use std::sync::Arc;

use jiff::SignedDuration;
use vestibule::domain::audit::AuditAction;
use vestibule::domain::bytes::Sha256Digest;
use vestibule::domain::job::JobKind;
use vestibule::domain::life::Life;
use vestibule::domain::quota::{QuotaKind, Quotas};
use vestibule::domain::revocation::RevocationTarget;
use vestibule::store::{AdvanceOutcome, AuditQuery, ClaimJobs, Idempotency, IssueOutcome, ObjectQuery};

use super::Postgres;
use crate::store_conformance::{Bench, QUOTA, mix, of_app};

/// Two nodes, each with a clock of its own that stands.
async fn two() -> (Postgres, [Arc<Bench>; 2]) {
    let postgres = Postgres::create().await;
    let benches = [postgres.bench(), Arc::new(Bench::new(postgres.another().await))];
    (postgres, benches)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p4_two_nodes_together_never_give_away_more_than_the_quota() {
    let (postgres, nodes) = two().await;
    let apps = ["where2eat", "finance", "clinic"];
    let quota = of_app(Quotas::stored(1000, 120));
    // So that the database itself refuses an excess, at any instant.
    postgres.database.run("ALTER TABLE app_usage ADD CHECK (bytes <= 1000)").await;
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..48 {
        let node = nodes[task % 2].clone();
        tasks.spawn(async move {
            let (mut issued, mut refused) = (0, 0);
            for round in 0..10 {
                let app = apps[(task + round) % 3];
                let object = node.object(app, 10);
                let outcome = node.store.issue_upload(node.issue(&object, quota)).await.unwrap();
                match outcome {
                    IssueOutcome::Issued => issued += 1,
                    IssueOutcome::QuotaMet(met) => {
                        assert_eq!((met.kind, met.used), (QuotaKind::BytesStored, 1000), "refused before it was full");
                        refused += 1;
                    }
                    other => panic!("{other:?}"),
                }
                // Now and then something comes back, so that releases and reservations meet.
                if outcome == IssueOutcome::Issued && round % 5 == 4 {
                    node.advanced(&object, Life::Expired).await;
                    issued -= 1;
                }
            }
            (issued, refused)
        });
    }
    let (held, refused) = tasks.join_all().await.into_iter().fold((0, 0), |sum, task| (sum.0 + task.0, sum.1 + task.1));
    assert!(refused > 100, "{refused}");
    postgres.database.assert_consistent().await;
    assert_eq!(postgres.database.number("SELECT sum(objects)::bigint FROM app_usage").await, held);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p4_no_mix_of_acts_on_two_nodes_exceeds_a_quota_or_loses_count() {
    let postgres = Postgres::create().await;
    let first = postgres.bench();
    // One clock: of nodes whose clocks differ, each is right about its own windows.
    let second = Arc::new(Bench { store: postgres.another().await, clock: first.clock.clone() });
    mix(&[first, second], 12);
    postgres.database.assert_consistent().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_is_never_handed_to_two_nodes() {
    let (_postgres, nodes) = two().await;
    for _ in 0..60 {
        let object = nodes[0].issued("where2eat", 10).await;
        let mut step = nodes[0].step(&object, Life::Expired);
        step.jobs = vec![(JobKind::Purge, nodes[0].clock.now()), (JobKind::Inspect, nodes[0].clock.now())];
        assert_eq!(nodes[0].store.advance(step).await.unwrap(), AdvanceOutcome::Done);
    }
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..8 {
        let node = nodes[task % 2].clone();
        tasks.spawn(async move {
            let (mut claimed, mut idle) = (Vec::new(), 0);
            // A claim skips what another one is just taking; so it may come back empty before the end.
            while idle < 5 {
                let now = node.clock.now();
                let claim = ClaimJobs {
                    kinds: JobKind::ALL.to_vec(),
                    now,
                    lease_until: now + SignedDuration::from_secs(60),
                    lease: node.clock.uuid(),
                    limit: 7,
                };
                let jobs = node.store.claim_jobs(claim).await.unwrap();
                idle = if jobs.is_empty() { idle + 1 } else { 0 };
                claimed.extend(jobs.into_iter().map(|job| (job.object, job.kind, job.attempts)));
            }
            claimed
        });
    }
    let claimed: Vec<_> = tasks.join_all().await.into_iter().flatten().collect();
    assert_eq!(claimed.len(), 120);
    assert!(claimed.iter().all(|(.., attempts)| *attempts == 1));
    assert_eq!(claimed.iter().map(|(object, kind, _)| (object, kind)).collect::<HashSet<_>>().len(), 120);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_comes_to_two_nodes_at_once_stands_for_one_object() {
    let (postgres, nodes) = two().await;
    for round in 0..5 {
        let mut tasks = tokio::task::JoinSet::new();
        for task in 0..16 {
            let node = nodes[task % 2].clone();
            tasks.spawn(async move {
                let object = node.object("where2eat", 10);
                let mut issue = node.issue(&object, QUOTA);
                issue.idempotency = Some(Idempotency { key: format!("k-{round}"), body: Sha256Digest::of(b"body") });
                match node.store.issue_upload(issue).await.unwrap() {
                    IssueOutcome::Issued => object.id,
                    IssueOutcome::Repeated(before) => before.id,
                    other => panic!("{other:?}"),
                }
            });
        }
        assert_eq!(tasks.join_all().await.into_iter().collect::<HashSet<_>>().len(), 1);
    }
    assert_eq!(postgres.database.count("objects").await, 5);
    postgres.database.assert_consistent().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_one_node_moves_an_object_on() {
    let (postgres, nodes) = two().await;
    for _ in 0..20 {
        let object = nodes[0].issued("where2eat", 10).await;
        let steps = (0..8).map(|at| {
            let node = &nodes[at % 2];
            node.store.advance(node.step(&object, Life::Expired))
        });
        let outcomes = futures::future::join_all(steps).await;
        let won = outcomes.into_iter().filter(|outcome| *outcome.as_ref().unwrap() == AdvanceOutcome::Done).count();
        assert_eq!(won, 1);
    }
    postgres.database.assert_consistent().await;
}

#[tokio::test]
async fn p7_what_one_node_revokes_the_next_read_of_another_sees() {
    let (_postgres, nodes) = two().await;
    let token = nodes[0].token("0123456789abcdef");
    nodes[0].store.create_token(token.clone(), nodes[0].act(AuditAction::CreateToken)).await.unwrap();
    assert_eq!(nodes[1].store.token(&token.id).await.unwrap().unwrap().revoked_at, None);
    let now = nodes[0].clock.now();
    nodes[0].revoke(RevocationTarget::Token(token.id.clone()), false).await;
    assert_eq!(nodes[1].store.token(&token.id).await.unwrap().unwrap().revoked_at, Some(now));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_trail_of_many_writers_is_paged_without_a_gap() {
    let postgres = Postgres::create().await;
    let mut nodes = vec![postgres.bench()];
    // More writers than there are names: some of them must find that a number is taken.
    for _ in 0..20 {
        nodes.push(Arc::new(Bench::new(postgres.another().await)));
    }
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..84 {
        let node = nodes[task % nodes.len()].clone();
        tasks.spawn(async move {
            for _ in 0..10 {
                node.store.audit(node.act(AuditAction::ReadAudit)).await.unwrap();
            }
        });
    }
    tasks.join_all().await;
    let (mut before, mut seen) = (None, Vec::new());
    loop {
        let page =
            nodes[0].store.audit_entries(AuditQuery { before, limit: 97, ..AuditQuery::default() }).await.unwrap();
        let Some((last, _)) = page.last() else { break };
        before = Some(*last);
        seen.extend(page.into_iter().map(|(number, _)| number));
    }
    assert!(seen.len() == 840 && seen.is_sorted_by(|a, b| a > b));
    assert!(seen[0] < 1 << 53, "a number that every JSON reader can hold");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_review_is_found_among_all_apps() {
    let (_postgres, nodes) = two().await;
    for app in ["where2eat", "finance"] {
        nodes[0].issued(app, 10).await;
    }
    let all = ObjectQuery { app: None, prefix: String::new(), state: None, before: None, limit: 10 };
    assert_eq!(nodes[1].store.objects(all.clone()).await.unwrap().len(), 2);
    let held = ObjectQuery { state: Some(vestibule::domain::life::State::Quarantined), ..all };
    assert_eq!(nodes[1].store.objects(held).await.unwrap(), []);
}
