//! Partitions: made ahead, made when they are missing, and dropped as a whole.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use vestibule::clock::Clock;
use vestibule::domain::audit::AuditAction;
use vestibule::store::postgres::{PostgresOptions, PostgresStore, migrate};
use vestibule::store::{AuditQuery, Store};

use super::{Database, Postgres};
use crate::store_conformance::Bench;

fn at(time: &str) -> Timestamp {
    time.parse().unwrap()
}

#[tokio::test]
async fn the_months_ahead_are_made_by_migrating_opening_and_pruning() {
    let database = Database::empty().await;
    migrate(&database.url(), at("2026-11-21T10:00:00Z")).await.unwrap();
    assert_eq!(database.partitions("objects").await, ["objects_2026_11", "objects_2026_12", "objects_2027_01"]);
    assert_eq!(database.partitions("audit").await, ["audit_2026_11", "audit_2026_12", "audit_2027_01"]);

    let clock = Clock::manual(at("2026-12-30T00:00:00Z"));
    let store = PostgresStore::open(database.url(), PostgresOptions::default(), clock, None).await.unwrap();
    assert_eq!(database.partitions("audit").await.last().unwrap(), "audit_2027_02");
    store.prune(at("2027-01-10T00:00:00Z")).await.unwrap();
    assert_eq!(database.partitions("audit").await.len(), 4, "there is still time");
    store.prune(at("2027-01-30T00:00:00Z")).await.unwrap();
    assert_eq!(database.partitions("objects").await.last().unwrap(), "objects_2027_03");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_month_that_is_missing_is_made_by_whoever_needs_it() {
    let postgres = Postgres::create().await;
    let bench = postgres.bench();
    bench.clock.advance(Duration::from_secs(5 * 365 * 86_400));
    let issued = futures::future::join_all((0..20).map(|_| bench.issued("where2eat", 10))).await;
    assert!(bench.store.object(issued[7].id).await.unwrap().is_some());
    assert!(postgres.database.partitions("objects").await.contains(&"objects_2031_11".to_owned()));
    postgres.database.assert_consistent().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn months_are_made_once_however_many_want_to() {
    let database = Database::migrated().await;
    let now = at("2030-01-01T00:00:00Z");
    let done = futures::future::join_all((0..6).map(|_| async { migrate(&database.url(), now).await })).await;
    assert!(done.iter().all(|done| done.as_ref().unwrap().is_empty()));
    assert!(database.partitions("audit").await.contains(&"audit_2030_03".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_month_goes_only_when_all_of_it_is_past_its_retention() {
    let postgres = Postgres::create().await;
    let bench = Bench::new(postgres.store());
    let write = async || bench.store.audit(bench.act(AuditAction::ReadAudit)).await.unwrap();
    write().await; // 2026-11-21
    bench.clock.advance(Duration::from_secs(20 * 86_400));
    write().await; // 2026-12-11
    let prune =
        async |before: Timestamp| bench.store.prune_audit(before, bench.act(AuditAction::PruneAudit)).await.unwrap();
    assert_eq!(prune(at("2026-11-30T23:59:59Z")).await, 0, "some of November is younger");
    assert!(postgres.database.partitions("audit").await.contains(&"audit_2026_11".to_owned()));
    assert_eq!(prune(at("2026-12-01T00:00:00Z")).await, 1);
    assert!(!postgres.database.partitions("audit").await.contains(&"audit_2026_11".to_owned()));
    assert_eq!(prune(at("2026-12-01T00:00:00Z")).await, 0);
    let left = bench.store.audit_entries(AuditQuery { limit: 9, ..AuditQuery::default() }).await.unwrap();
    let left: Vec<_> = left.into_iter().map(|(_, entry)| entry.action).collect();
    assert_eq!(left, [AuditAction::PruneAudit, AuditAction::ReadAudit]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_trail_is_not_held_up_by_one_that_cannot_be_pruned() {
    let postgres = Postgres::create().await;
    let bench = postgres.bench();
    bench.store.audit(bench.act(AuditAction::ReadAudit)).await.unwrap();
    let mut reader = postgres.database.connection().await;
    sqlx::raw_sql("BEGIN; SELECT count(*) FROM audit").execute(&mut reader).await.unwrap();
    bench.clock.advance(Duration::from_secs(60 * 86_400));
    let later = bench.clock.now() - SignedDuration::from_hours(24 * 25);
    let began = std::time::Instant::now();
    let pruned = bench.store.prune_audit(later, bench.act(AuditAction::PruneAudit)).await;
    assert!(pruned.is_err() && began.elapsed() < Duration::from_secs(5), "{pruned:?}");
    bench.store.audit(bench.act(AuditAction::ReadAudit)).await.unwrap();
    sqlx::raw_sql("COMMIT").execute(&mut reader).await.unwrap();
    assert_eq!(bench.store.prune_audit(later, bench.act(AuditAction::PruneAudit)).await.unwrap(), 1);
}
