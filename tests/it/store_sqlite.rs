//! What only the SQLite store promises: the file, the disk, the batches, other processes.
//!
//! Two tests run this binary again as a child: one to kill it in the middle of its writes, one to take its disk space
//! away where there is no root to mount a small file system. The child runs the same test function and finds in its
//! environment that it is the child.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jiff::SignedDuration;
use vestibule::domain::audit::{AuditAction, AuditEntry, Outcome};
use vestibule::domain::ids::ObjectId;
use vestibule::domain::revocation::RevocationTarget;
use vestibule::store::sqlite::{SqliteOptions, SqliteStore};
use vestibule::store::{AuditQuery, IdentityStore, IssueOutcome, ObjectQuery, OnCommit, Store, StoreError};

use crate::store_conformance::{Bench, QUOTA};

const CHILD: &str = "VESTIBULE_TEST_CHILD_DATABASE";

/// A database in a directory of its own.
pub(crate) struct Sqlite {
    store: Arc<SqliteStore>,
    dir: tempfile::TempDir,
}

impl Sqlite {
    pub(crate) async fn create() -> Self {
        Self::with(SqliteOptions::default(), None)
    }

    fn with(options: SqliteOptions, on_commit: Option<OnCommit>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&dir.path().join("vestibule.db"), options, on_commit).unwrap();
        Self { store: Arc::new(store), dir }
    }

    pub(crate) fn store(&self) -> Arc<dyn Store> {
        self.store.clone()
    }

    fn bench(&self) -> Arc<Bench> {
        Arc::new(Bench::new(self.store()))
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("vestibule.db")
    }

    /// Another process's connection.
    fn other(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.path()).unwrap()
    }
}

/// Every object of the app is counted, audited, and held in the usage.
async fn assert_consistent(store: &dyn Store, app: &str) -> Vec<ObjectId> {
    let app = Some(app.parse().unwrap());
    let query = ObjectQuery { app: app.clone(), prefix: String::new(), state: None, before: None, limit: 1_000_000 };
    let objects = store.objects(query).await.unwrap();
    let usage = store.usage(app.as_ref().unwrap(), &"marketing".parse().unwrap()).await.unwrap().app;
    assert_eq!(usage.objects, objects.len() as u64);
    assert_eq!(usage.bytes, objects.iter().map(|object| object.size).sum::<u64>());
    let entries = store.audit_entries(AuditQuery { app, limit: 1_000_000, ..AuditQuery::default() }).await.unwrap();
    assert_eq!(entries.len(), objects.len());
    let counted: u64 = store.statistics().await.unwrap().states.iter().map(|(_, count)| count).sum();
    assert_eq!(counted, objects.len() as u64);
    objects.into_iter().map(|object| object.id).collect()
}

fn this_test_as_child(name: &str, database: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", &format!("store_sqlite::{name}"), "--nocapture"]).env(CHILD, database);
    command
}

/// Issues from many tasks at once, and prints each object once it was acknowledged.
async fn issue_and_print(database: &Path, count: usize) {
    let store = Arc::new(SqliteStore::open(database, SqliteOptions::default(), None).unwrap());
    let bench = Arc::new(Bench::new(store));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..32 {
        let bench = bench.clone();
        tasks.spawn(async move {
            for _ in 0..count / 32 {
                let object = bench.object("where2eat", 10);
                let quota = vestibule::domain::quota::QuotaLimits::default();
                let outcome = bench.store.issue_upload(bench.issue(&object, quota)).await.unwrap();
                assert_eq!(outcome, IssueOutcome::Issued);
                println!("acknowledged {}", object.id);
            }
        });
    }
    tasks.join_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p9_what_was_acknowledged_survives_sigkill() {
    if let Some(database) = std::env::var_os(CHILD) {
        return issue_and_print(Path::new(&database), 10_000_000).await;
    }
    let dir = tempfile::tempdir().unwrap();
    let database = dir.path().join("vestibule.db");
    let mut acknowledged = Vec::new();
    for round in 1..=3 {
        let name = "p9_what_was_acknowledged_survives_sigkill";
        let mut child = this_test_as_child(name, &database).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        for line in lines.map_while(Result::ok) {
            // The last line may be cut by the kill.
            let id = line.split_once("acknowledged ").and_then(|(_, id)| id.parse::<ObjectId>().ok());
            acknowledged.extend(id);
            if acknowledged.len() == round * 1000 {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(acknowledged.len() >= round * 1000, "the child ended by itself");
        let store = SqliteStore::open(&database, SqliteOptions::default(), None).unwrap();
        let there: std::collections::HashSet<_> = assert_consistent(&store, "where2eat").await.into_iter().collect();
        let missing = acknowledged.iter().filter(|id| !there.contains(id)).count();
        assert_eq!(missing, 0, "of {} acknowledged", acknowledged.len());
    }
}

/// Writes until the disk is full, gives space back, and goes on.
async fn fill_and_recover(database: &Path, give_space: impl FnOnce()) {
    let bench = Bench::new(Arc::new(SqliteStore::open(database, SqliteOptions::default(), None).unwrap()));
    let issue = async || {
        let mut object = bench.object("where2eat", 10);
        object.metadata.insert("note".into(), "x".repeat(20_000));
        bench.store.issue_upload(bench.issue(&object, QUOTA)).await
    };
    let error = loop {
        match issue().await {
            Ok(outcome) => assert_eq!(outcome, IssueOutcome::Issued),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
    for _ in 0..3 {
        assert!(matches!(issue().await, Err(StoreError::Unavailable(_))));
    }
    let kept = assert_consistent(bench.store.as_ref(), "where2eat").await;
    give_space();
    let deadline = Instant::now() + Duration::from_secs(10);
    while issue().await.is_err() {
        assert!(Instant::now() < deadline, "no recovery");
    }
    assert_eq!(assert_consistent(bench.store.as_ref(), "where2eat").await.len(), kept.len() + 1);
}

/// A file system of two MiB, unmounted in the end. `None` where this process may not mount.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", "size=2m", "tmpfs"]).arg(dir.path()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success()).then(|| Self(dir))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[tokio::test]
async fn p9_a_full_disk_refuses_writes_until_there_is_space_again() {
    if let Some(database) = std::env::var_os(CHILD) {
        let unlimited = || {
            let pid = std::process::id().to_string();
            assert!(Command::new("prlimit").args(["--fsize=unlimited:", "--pid", &pid]).status().unwrap().success());
        };
        return fill_and_recover(Path::new(&database), unlimited).await;
    }
    if let Some(disk) = SmallDisk::mount() {
        let ballast = disk.0.path().join("ballast");
        std::fs::write(&ballast, vec![0; 1 << 20]).unwrap();
        return fill_and_recover(&disk.0.path().join("vestibule.db"), || std::fs::remove_file(&ballast).unwrap()).await;
    }
    // No root: a child that may write files of at most 512 KiB. An ignored SIGXFSZ makes the write fail instead.
    let dir = tempfile::tempdir().unwrap();
    let name = "p9_a_full_disk_refuses_writes_until_there_is_space_again";
    let child = this_test_as_child(name, &dir.path().join("vestibule.db"));
    let mut limited = Command::new("bash");
    limited.args(["-c", "trap '' XFSZ; ulimit -S -f 512; exec \"$0\" \"$@\""]);
    limited.arg(child.get_program()).args(child.get_args());
    limited.envs(child.get_envs().filter_map(|(key, value)| Some((key, value?))));
    assert!(limited.status().unwrap().success());
}

#[tokio::test]
async fn a_database_of_a_newer_program_is_refused() {
    let sqlite = Sqlite::create().await;
    sqlite.other().pragma_update(None, "user_version", 99).unwrap();
    let error = SqliteStore::open(&sqlite.path(), SqliteOptions::default(), None).err().unwrap();
    assert!(matches!(&error, StoreError::Corrupt(why) if why.contains("version 99")), "{error}");
}

#[tokio::test]
async fn a_database_of_an_older_program_is_brought_up_to_date_with_its_audit_trail() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vestibule.db");
    let old = rusqlite::Connection::open(&path).unwrap();
    old.execute_batch(include_str!("../../migrations/sqlite/0001_initial.sql")).unwrap();
    old.pragma_update(None, "user_version", 1).unwrap();
    let mut entry = AuditEntry::new("2026-11-21T10:00:00Z".parse().unwrap(), AuditAction::ReadAudit, Outcome::Allowed);
    entry.app = Some("where2eat".parse().unwrap());
    let insert = "INSERT INTO audit (seq, time, app, entry) VALUES (?1, 0, 'where2eat', ?2)";
    old.execute(insert, rusqlite::params![7, serde_json::to_string(&entry).unwrap()]).unwrap();
    drop(old);

    let store = SqliteStore::open(&path, SqliteOptions::default(), None).unwrap();
    store.audit(entry.clone()).await.unwrap();
    for app in [None, entry.app.clone()] {
        let kept = store.audit_entries(AuditQuery { app, limit: 10, ..AuditQuery::default() }).await.unwrap();
        assert_eq!(kept, [(8, entry.clone()), (7, entry.clone())]);
    }
    let newest = rusqlite::Connection::open(&path).unwrap();
    newest.execute("UPDATE audit_retention SET before = 9223372036854775807", []).unwrap();
    let refused = newest.execute("DELETE FROM audit WHERE seq = 8", []).unwrap_err();
    assert!(refused.to_string().contains("newest entry"), "{refused}");
}

#[tokio::test]
async fn the_log_stays_short_where_writes_come_one_by_one() {
    let sqlite = Sqlite::create().await;
    let bench = sqlite.bench();
    for _ in 0..6000 {
        bench.store.audit(bench.act(AuditAction::ReadAudit)).await.unwrap();
    }
    let log = std::fs::metadata(sqlite.path().with_file_name("vestibule.db-wal")).unwrap().len();
    assert!(log < 16 << 20, "{log} bytes");
}

#[tokio::test]
async fn the_files_belong_to_their_user_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a/b/vestibule.db");
    let store = SqliteStore::open(&path, SqliteOptions::default(), None).unwrap();
    store.probe().await.unwrap();
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(path.parent().unwrap()), mode(&dir.path().join("a"))), (0o700, 0o700));
    for file in ["vestibule.db", "vestibule.db-wal", "vestibule.db-shm"] {
        assert_eq!(mode(&path.with_file_name(file)), 0o600, "{file}");
    }
    drop(store);
    assert!(!path.with_file_name("vestibule.db-wal").exists(), "closing leaves one file");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operation_that_the_database_refuses_does_not_fail_its_neighbours() {
    let lines = Arc::<Mutex<String>>::default();
    let sink = lines.clone();
    let sqlite =
        Sqlite::with(SqliteOptions::default(), Some(Arc::new(move |batch: &str| sink.lock().unwrap().push_str(batch))));
    let bench = sqlite.bench();
    let token = bench.token("0123456789abcdef");
    bench.store.create_token(token.clone(), bench.act(AuditAction::CreateToken)).await.unwrap();

    // While another process holds the lock, everything below gathers in one batch.
    let other = sqlite.other();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let release = async { other.execute_batch("COMMIT").unwrap() };
    bench.twenty_uploads_beside_a_refused_operation(token, release).await;
    assert_eq!(assert_consistent(bench.store.as_ref(), "where2eat").await.len(), 20);
    assert_eq!(lines.lock().unwrap().lines().count(), 21, "each committed entry once, none of the refused");
}

#[tokio::test]
async fn the_sink_has_an_entry_before_its_caller_has_an_answer() {
    let lines = Arc::<Mutex<String>>::default();
    let sink = lines.clone();
    let on_commit: OnCommit = Arc::new(move |batch| sink.lock().unwrap().push_str(batch));
    let sqlite = Sqlite::with(SqliteOptions::default(), Some(on_commit));
    let entry = sqlite.bench().act(AuditAction::ReadAudit);
    sqlite.store.audit(entry.clone()).await.unwrap();
    let line = lines.lock().unwrap().strip_suffix('\n').unwrap().to_owned();
    assert_eq!(serde_json::from_str::<AuditEntry>(&line).unwrap(), entry);
    let kept: String = sqlite.other().query_row("SELECT entry FROM audit", [], |row| row.get(0)).unwrap();
    assert_eq!(kept, line);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_of_another_process_refuses_writes_and_not_reads() {
    let busy = Duration::from_millis(50);
    let sqlite = Sqlite::with(SqliteOptions { busy, queue: 4, ..SqliteOptions::default() }, None);
    let bench = sqlite.bench();
    let other = sqlite.other();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert!(matches!(bench.store.probe().await, Err(StoreError::Unavailable(_))));
    bench.store.statistics().await.unwrap();

    let probes = futures::future::join_all((0..50).map(|_| bench.store.probe())).await;
    let overloaded = probes.iter().filter(|result| matches!(result, Err(StoreError::Overloaded))).count();
    assert!(overloaded > 0 && probes.iter().all(Result::is_err), "{overloaded} of 50");
    other.execute_batch("COMMIT").unwrap();
    bench.store.probe().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_whose_caller_went_away_before_it_began_is_not_done() {
    let sqlite = Sqlite::create().await;
    let bench = sqlite.bench();
    let other = sqlite.other();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let release = async { other.execute_batch("COMMIT").unwrap() };
    let (first, _) = bench.two_uploads_of_which_one_is_given_up(release).await;
    assert_eq!(assert_consistent(bench.store.as_ref(), "where2eat").await, [first]);
}

#[tokio::test]
async fn a_write_of_another_process_is_seen_by_the_next_read() {
    let sqlite = Sqlite::create().await;
    let bench = sqlite.bench();
    let token = bench.token("0123456789abcdef");
    bench.store.create_token(token.clone(), bench.act(AuditAction::CreateToken)).await.unwrap();
    assert_eq!(bench.store.token(&token.id).await.unwrap().unwrap().revoked_at, None);
    let other = SqliteStore::open(&sqlite.path(), SqliteOptions::default(), None).unwrap();
    let now = bench.clock.now();
    let revoke = bench.revocation(RevocationTarget::Token(token.id.clone()), false);
    assert_eq!(other.revoke(revoke).await.unwrap().killed, 1);
    assert_eq!(bench.store.token(&token.id).await.unwrap().unwrap().revoked_at, Some(now));
}

#[tokio::test]
async fn the_audit_trail_is_append_only_but_for_its_retention() {
    let sqlite = Sqlite::create().await;
    let bench = sqlite.bench();
    bench.issued("where2eat", 10).await;
    bench.clock.advance(Duration::from_secs(60));
    bench.issued("where2eat", 10).await;
    let other = sqlite.other();
    for statement in ["UPDATE audit SET app = 'x'", "DELETE FROM audit", "DELETE FROM audit WHERE seq = 1"] {
        assert!(other.execute_batch(statement).unwrap_err().to_string().contains("append-only"), "{statement}");
    }
    let before = bench.clock.now() - SignedDuration::from_secs(1);
    assert_eq!(sqlite.store.prune_audit(before, bench.act(AuditAction::PruneAudit)).await.unwrap(), 1);
    let left = bench.store.audit_entries(AuditQuery { limit: 10, ..AuditQuery::default() }).await.unwrap();
    assert_eq!(left.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), [3, 2]);
    assert!(other.execute_batch("DELETE FROM audit").is_err(), "the exception ended with the pruning");

    // An entry that was written much later leaves no block behind that points at what is gone.
    let blocks =
        || other.query_row("SELECT count(*), min(block) FROM audit_blocks", [], |row| <(i64, i64)>::try_from(row));
    assert_eq!(blocks().unwrap(), (2, 0), "an app and a token");
    for _ in 0..300 {
        bench.issued("where2eat", 10).await;
    }
    bench.clock.advance(Duration::from_secs(60));
    let pruned = sqlite.store.prune_audit(bench.clock.now(), bench.act(AuditAction::PruneAudit)).await.unwrap();
    assert_eq!((pruned, blocks().unwrap()), (302, (2, 1)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_lists_are_interrupted_and_keep_no_token_waiting() {
    let deadline = Duration::from_millis(300);
    let sqlite = Sqlite::with(SqliteOptions { deadline, ..SqliteOptions::default() }, None);
    let bench = sqlite.bench();
    let token = bench.token("0123456789abcdef");
    bench.store.create_token(token.clone(), bench.act(AuditAction::CreateToken)).await.unwrap();
    // A trail in which every entry must be looked at for a query that finds none; time 0 is not asked for.
    let fill = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000000)
                INSERT INTO audit (time, entry) SELECT 0, '' FROM n";
    sqlite.other().execute_batch(fill).unwrap();
    let endless = || {
        let query = AuditQuery { since: Some(bench.clock.now()), limit: 10, ..AuditQuery::default() };
        bench.store.audit_entries(query)
    };
    let lists = futures::future::join_all((0..20).map(|_| endless()));
    let tokens = async {
        for _ in 0..20 {
            assert!(bench.store.token(&token.id).await.unwrap().is_some());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let (lists, ()) = tokio::join!(lists, tokens);
    assert!(lists.iter().any(|list| matches!(list, Err(StoreError::Unavailable(_)))), "the trail is too short");
    // What was interrupted gave its connection back: at once, not when it had read everything.
    let started = Instant::now();
    bench.store.dead_letters(1).await.unwrap();
    assert!(started.elapsed() < deadline);
}
