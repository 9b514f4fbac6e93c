//! A server that is restarted, killed or frozen, and connections that are lost.
//!
//! Each test has a server of its own. What was acknowledged is there afterwards; nothing waits longer than its deadline;
//! nobody has to do anything for it to go on.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::Row;
use vestibule::clock::Clock;
use vestibule::domain::ids::ObjectId;
use vestibule::store::postgres::{PostgresOptions, PostgresStore, PostgresUrl};
use vestibule::store::{IssueOutcome, StoreError};

use super::{Database, Server};
use crate::store_conformance::{Bench, QUOTA};

const DEADLINE: Duration = Duration::from_secs(1);

async fn bench(database: &Database) -> Arc<Bench> {
    let options = PostgresOptions { deadline: DEADLINE, ..PostgresOptions::default() };
    Arc::new(Bench::new(Arc::new(database.store(options, None).await.unwrap())))
}

async fn issue(bench: &Bench) -> Result<ObjectId, StoreError> {
    let object = bench.object("where2eat", 10);
    let outcome = bench.store.issue_upload(bench.issue(&object, QUOTA)).await?;
    assert_eq!(outcome, IssueOutcome::Issued);
    Ok(object.id)
}

async fn recovers(bench: &Bench) {
    let began = Instant::now();
    while issue(bench).await.is_err() || bench.store.statistics().await.is_err() {
        assert!(began.elapsed() < Duration::from_secs(20), "no recovery");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Issues from several tasks until `stop`; what was acknowledged, and how long the longest answer took.
fn load(
    bench: &Arc<Bench>,
    stop: &tokio_util::sync::CancellationToken,
) -> tokio::task::JoinSet<(Vec<ObjectId>, Duration)> {
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let (bench, stop) = (bench.clone(), stop.clone());
        tasks.spawn(async move {
            let (mut acknowledged, mut longest) = (Vec::new(), Duration::ZERO);
            while !stop.is_cancelled() {
                let began = Instant::now();
                match issue(&bench).await {
                    Ok(id) => acknowledged.push(id),
                    Err(StoreError::Corrupt(why)) => panic!("{why}"),
                    Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
                }
                longest = longest.max(began.elapsed());
            }
            (acknowledged, longest)
        });
    }
    tasks
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p9_what_was_acknowledged_survives_a_server_that_is_killed_and_frozen() {
    let mut server = Server::start(&[], |_| {}).await;
    let database = Database::on(&server.url()).await;
    database.migrate().await;
    let bench = bench(&database).await;
    let stop = tokio_util::sync::CancellationToken::new();
    let tasks = load(&bench, &stop);
    for round in 0..3 {
        tokio::time::sleep(Duration::from_millis(400)).await;
        if round == 1 {
            server.freeze();
            tokio::time::sleep(DEADLINE + Duration::from_millis(500)).await;
            server.thaw();
        } else {
            server.kill();
            server.start_again().await;
        }
        recovers(&bench).await;
    }
    stop.cancel();
    let mut acknowledged = 0;
    for (ids, longest) in tasks.join_all().await {
        assert!(longest < DEADLINE * 2, "{longest:?}");
        for id in ids {
            assert!(bench.store.object(id).await.unwrap().is_some(), "{id} was acknowledged and is gone");
            acknowledged += 1;
        }
    }
    assert!(acknowledged > 100, "{acknowledged}");
    database.assert_consistent().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p6_a_frozen_server_gives_a_clear_error_within_the_deadline() {
    let server = Server::start(&[], |_| {}).await;
    let database = Database::on(&server.url()).await;
    database.migrate().await;
    let bench = bench(&database).await;
    issue(&bench).await.unwrap();
    server.freeze();
    for _ in 0..2 {
        let began = Instant::now();
        let (write, read) = tokio::join!(issue(&bench), bench.store.statistics());
        assert!(matches!(write, Err(StoreError::Unavailable(_))), "{write:?}");
        assert!(matches!(read, Err(StoreError::Unavailable(_))), "{read:?}");
        assert!(began.elapsed() < DEADLINE + Duration::from_millis(500), "{:?}", began.elapsed());
    }
    server.thaw();
    recovers(&bench).await;
    database.assert_consistent().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_were_ended_while_idle_are_replaced_without_an_error() {
    let database = Database::migrated().await;
    let bench = bench(&database).await;
    for _ in 0..3 {
        issue(&bench).await.unwrap();
        bench.store.statistics().await.unwrap();
        let sql = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                   WHERE datname = current_database() AND pid <> pg_backend_pid()";
        let ended: i64 = sqlx::query(sql).fetch_one(&mut database.connection().await).await.unwrap().get(0);
        assert!(ended >= 2, "{ended}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    issue(&bench).await.unwrap();
    bench.store.statistics().await.unwrap();
    assert_eq!(database.count("objects").await, 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_vanished_in_a_transaction_does_not_keep_the_quota_row() {
    let database = Database::migrated().await;
    let bench = bench(&database).await;
    issue(&bench).await.unwrap();
    let mut other = database.connection().await;
    let millis = DEADLINE.as_millis() / 2;
    let hold = format!("SET idle_in_transaction_session_timeout = {millis}; BEGIN; SELECT * FROM app_usage FOR UPDATE");
    sqlx::raw_sql(sqlx::AssertSqlSafe(hold)).execute(&mut other).await.unwrap();
    recovers(&bench).await;
}

/// An authority and a certificate for `localhost` below it, as PEM files.
fn certificates(dir: &Path) {
    let openssl = |arguments: &str| {
        let output = Command::new("openssl").args(arguments.split_whitespace()).current_dir(dir).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    std::fs::write(dir.join("server.ext"), "basicConstraints=critical,CA:FALSE\nsubjectAltName=DNS:localhost\n")
        .unwrap();
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(&format!("req -x509 {key} -days 2 -subj /CN=authority -keyout ca-key.pem -out ca.pem"));
    openssl(&format!("req {key} -subj /CN=localhost -keyout server.key -out server.csr"));
    openssl(
        "x509 -req -days 2 -in server.csr -CA ca.pem -CAkey ca-key.pem -CAcreateserial -extfile server.ext -out server.crt",
    );
}

#[tokio::test]
async fn tls_is_checked_as_far_as_the_address_says() {
    let mut authority = None;
    let server = Server::start(&["ssl=on"], |data| {
        certificates(data);
        let copy = tempfile::NamedTempFile::new().unwrap();
        std::fs::copy(data.join("ca.pem"), copy.path()).unwrap();
        std::fs::write(data.join("pg_hba.conf"), "hostssl all all 127.0.0.1/32 trust\n").unwrap();
        authority = Some(copy);
    });
    // Its own readiness probe speaks TLS too: the driver prefers it.
    let server = server.await;
    let (authority, port) = (authority.unwrap(), server.port());
    let open = async |host: &str, parameters: &str| {
        let url: PostgresUrl = format!("postgres://vestibule@{host}:{port}/postgres?{parameters}").parse().unwrap();
        PostgresStore::open(url, PostgresOptions::default(), Clock::system(), None).await.err().unwrap().to_string()
    };
    let ca = format!("sslrootcert={}", authority.path().display());
    // What is wrong is the missing schema: the connection stood.
    assert!(open("localhost", &format!("sslmode=verify-full&{ca}")).await.contains("migrate up"));
    assert!(open("127.0.0.1", &format!("sslmode=verify-ca&{ca}")).await.contains("migrate up"));
    assert!(open("127.0.0.1", "sslmode=require").await.contains("migrate up"));
    for (host, parameters) in [
        ("127.0.0.1", format!("sslmode=verify-full&{ca}")),
        ("localhost", "sslmode=verify-full".to_owned()),
        ("localhost", "sslmode=disable".to_owned()),
    ] {
        let refused = open(host, &parameters).await;
        assert!(!refused.contains("migrate up"), "{host} {parameters}: {refused}");
    }
}
