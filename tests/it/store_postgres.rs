//! What only the PostgreSQL store promises: several nodes, a server that goes away, months, migrations, copies.
//!
//! Each test has a database of its own on the server of `localstack/up`; those that stop, kill or freeze a server start
//! one of their own.

mod copy;
mod database;
mod faults;
mod migrations;
mod months;
mod nodes;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use vestibule::clock::Clock;
use vestibule::domain::audit::{AuditAction, AuditEntry};
use vestibule::store::postgres::{PostgresOptions, PostgresStore};
use vestibule::store::{AuditQuery, DeadLetter, IssueOutcome, OnCommit, Store, StoreError};

pub(crate) use database::{Database, Server};

use crate::store_conformance::{Bench, QUOTA};

/// A database of its own, and a store on it.
pub(crate) struct Postgres {
    store: Arc<PostgresStore>,
    database: Database,
}

impl Postgres {
    pub(crate) async fn create() -> Self {
        Self::with(PostgresOptions::default(), None).await
    }

    async fn with(options: PostgresOptions, on_commit: Option<OnCommit>) -> Self {
        let database = Database::migrated().await;
        let store = Arc::new(database.store(options, on_commit).await.unwrap());
        Self { store, database }
    }

    pub(crate) fn store(&self) -> Arc<dyn Store> {
        self.store.clone()
    }

    fn bench(&self) -> Arc<Bench> {
        Arc::new(Bench::new(self.store()))
    }

    /// Another node on the same database.
    async fn another(&self) -> Arc<dyn Store> {
        Arc::new(self.database.store(PostgresOptions::default(), None).await.unwrap())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operation_that_the_database_refuses_does_not_fail_its_neighbours() {
    let lines = Arc::<Mutex<String>>::default();
    let sink = lines.clone();
    let on_commit: OnCommit = Arc::new(move |batch: &str| sink.lock().unwrap().push_str(batch));
    let options = PostgresOptions { committers: 1, ..PostgresOptions::default() };
    let postgres = Postgres::with(options, Some(on_commit)).await;
    let bench = postgres.bench();
    let token = bench.token("0123456789abcdef");
    bench.store.create_token(token.clone(), bench.act(AuditAction::CreateToken)).await.unwrap();

    // While somebody else holds the table, everything below gathers in one batch.
    let mut other = postgres.database.connection().await;
    sqlx::raw_sql("BEGIN; LOCK TABLE audit, tokens, app_usage").execute(&mut other).await.unwrap();
    let release = async {
        sqlx::raw_sql("COMMIT").execute(&mut other).await.unwrap();
    };
    bench.twenty_uploads_beside_a_refused_operation(token, release).await;
    postgres.database.assert_consistent().await;
    assert_eq!(postgres.database.count("objects").await, 20);
    assert_eq!(lines.lock().unwrap().lines().count(), 21, "each committed entry once, none of the refused");
}

#[tokio::test]
async fn the_sink_has_an_entry_before_its_caller_has_an_answer() {
    let lines = Arc::<Mutex<String>>::default();
    let sink = lines.clone();
    let on_commit: OnCommit = Arc::new(move |batch| sink.lock().unwrap().push_str(batch));
    let postgres = Postgres::with(PostgresOptions::default(), Some(on_commit)).await;
    let entry = postgres.bench().act(AuditAction::ReadAudit);
    postgres.store.audit(entry.clone()).await.unwrap();
    let line = lines.lock().unwrap().strip_suffix('\n').unwrap().to_owned();
    assert_eq!(serde_json::from_str::<AuditEntry>(&line).unwrap(), entry);
    assert_eq!(postgres.database.text("SELECT entry FROM audit").await, line);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_database_gives_a_clear_error_within_the_deadline_and_no_pile_up() {
    let deadline = Duration::from_secs(1);
    let options = PostgresOptions { queue: 4, committers: 1, deadline, ..PostgresOptions::default() };
    let postgres = Postgres::with(options, None).await;
    let mut other = postgres.database.connection().await;
    sqlx::raw_sql("BEGIN; LOCK TABLE probe").execute(&mut other).await.unwrap();
    let began = Instant::now();
    let probes = futures::future::join_all((0..50).map(|_| postgres.store.probe())).await;
    assert!(began.elapsed() < deadline * 2, "{:?}", began.elapsed());
    let overloaded = probes.iter().filter(|result| matches!(result, Err(StoreError::Overloaded))).count();
    assert!(overloaded > 0 && probes.iter().all(Result::is_err), "{overloaded} of 50");
    postgres.store.statistics().await.unwrap();
    sqlx::raw_sql("COMMIT").execute(&mut other).await.unwrap();
    let began = Instant::now();
    while postgres.store.probe().await.is_err() {
        assert!(began.elapsed() < Duration::from_secs(10), "no recovery");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_whose_caller_went_away_before_it_began_is_not_done() {
    let options = PostgresOptions { committers: 1, ..PostgresOptions::default() };
    let postgres = Postgres::with(options, None).await;
    let bench = postgres.bench();
    let mut other = postgres.database.connection().await;
    sqlx::raw_sql("BEGIN; LOCK TABLE app_usage").execute(&mut other).await.unwrap();
    let release = async { _ = sqlx::raw_sql("COMMIT").execute(&mut other).await.unwrap() };
    let (first, second) = bench.two_uploads_of_which_one_is_given_up(release).await;
    assert!(bench.store.object(first).await.unwrap().is_some());
    assert!(bench.store.object(second).await.unwrap().is_none());
}

#[tokio::test]
async fn what_text_cannot_hold_is_replaced_and_never_refused() {
    let postgres = Postgres::create().await;
    let bench = postgres.bench();
    let mut object = bench.object("where2eat", 10);
    object.original_filename = "me\0nu.jpg".into();
    object.metadata.insert("note".into(), "a\0b".into());
    assert_eq!(bench.store.issue_upload(bench.issue(&object, QUOTA)).await.unwrap(), IssueOutcome::Issued);
    let kept = bench.store.object(object.id).await.unwrap().unwrap();
    assert_eq!(kept.original_filename, "me\u{fffd}nu.jpg");
    assert_eq!(kept.metadata["note"], "a\0b", "JSON has a form for it");
    let letter = |body: &str| DeadLetter {
        source: "sqs:events".into(),
        at: bench.clock.now(),
        reason: "no JSON".into(),
        body: body.into(),
    };
    bench.store.dead_letter(letter("\0")).await.unwrap();
    assert_eq!(bench.store.dead_letters(1).await.unwrap(), [letter("\u{fffd}")]);
}

#[tokio::test]
async fn the_audit_trail_is_append_only() {
    let postgres = Postgres::create().await;
    let bench = postgres.bench();
    bench.issued("where2eat", 10).await;
    let mut other = postgres.database.connection().await;
    for statement in ["UPDATE audit SET app = 'x'", "DELETE FROM audit"] {
        let error = sqlx::raw_sql(statement).execute(&mut other).await.unwrap_err();
        assert!(error.to_string().contains("append-only"), "{statement}: {error}");
    }
    let left = bench.store.audit_entries(AuditQuery { limit: 10, ..AuditQuery::default() }).await.unwrap();
    assert_eq!(left.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_a_store_finishes_what_is_queued() {
    let database = Database::migrated().await;
    let store = Arc::new(database.store(PostgresOptions::default(), None).await.unwrap());
    let bench = Bench::new(store.clone());
    let mut writes = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let (store, entry) = (store.clone(), bench.act(AuditAction::ReadAudit));
        writes.spawn(async move { store.audit(entry).await });
    }
    drop((store, bench));
    assert!(writes.join_all().await.into_iter().all(|result| result.is_ok()));
    assert_eq!(database.count("audit").await, 100);
}

#[tokio::test]
async fn a_store_may_be_dropped_where_nothing_may_wait() {
    let database = Database::migrated().await;
    let clock = Clock::system();
    let store = PostgresStore::open(database.url(), PostgresOptions::default(), clock, None).await.unwrap();
    store.probe().await.unwrap();
    drop(store);
}
