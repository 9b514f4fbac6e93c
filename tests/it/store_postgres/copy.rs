//! `store copy`: from a SQLite file into an empty database, all of it or nothing.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use secrecy::ExposeSecret;
use vestibule::domain::admin::AdminRole;
use vestibule::domain::audit::AuditAction;
use vestibule::domain::bytes::Sha256Digest;
use vestibule::domain::job::JobKind;
use vestibule::domain::life::Life;
use vestibule::store::copy::{CopyError, sqlite_to_postgres};
use vestibule::store::postgres::PostgresOptions;
use vestibule::store::sqlite::{SqliteOptions, SqliteStore};
use vestibule::store::{
    AccessQuery, AccessStore, AuditQuery, ClaimJobs, DeadLetter, DownloadOutcome, GatewayKey, GatewayStore,
    Idempotency, IdentityStore, IssueOutcome, KeyPurpose, ObjectQuery, ReleaseApproval, RevocationQuery, Store,
    TokenHolder, TokenQuery,
};

use super::Database;
use crate::store_conformance::{Bench, QUOTA};

/// A SQLite file with something in every table, over more than one month.
struct Source {
    bench: Bench,
    path: PathBuf,
    _dir: tempfile::TempDir,
}

impl Source {
    async fn filled(objects: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("vestibule.db");
        let bench = Bench::new(Arc::new(SqliteStore::open(&path, SqliteOptions::default(), None).unwrap()));
        let token = bench.token("0123456789abcdef");
        bench.store.create_token(token, bench.act(AuditAction::CreateToken)).await.unwrap();
        let mut operator = bench.token("fedcba9876543210");
        operator.holder = TokenHolder::Operator { name: "Ana".into(), roles: vec![AdminRole::Reviewer].into() };
        bench.store.create_token(operator, bench.act(AuditAction::CreateToken)).await.unwrap();
        bench.revoke("user:u-1".parse().unwrap(), true).await;
        let key = GatewayKey {
            id: "tk-1".parse().unwrap(),
            purpose: KeyPurpose::TokenSigning,
            number: 1,
            secret: vec![0, 1, 255].into(),
            created_at: bench.clock.now(),
            accepted_until: None,
        };
        assert!(bench.store.add_gateway_key(key, None, bench.act(AuditAction::RotateKey)).await.unwrap());
        let approval = ReleaseApproval {
            targets: vec![],
            object: bench.object("where2eat", 1).id,
            revision: 3,
            by: "Bo".into(),
            reason: "checked".into(),
            at: bench.clock.now(),
        };
        bench.store.approve_release(approval, bench.act(AuditAction::ReleaseObject)).await.unwrap();
        for at in 0..objects {
            let mut object = bench.object(["where2eat", "finance"][at % 2], 10 + at as u64);
            object.original_filename = "m\0e\u{202e}nu.jpg".into();
            let mut issue = bench.issue(&object, QUOTA);
            issue.idempotency = Some(Idempotency { key: format!("k-{at}"), body: Sha256Digest::of(b"body") });
            assert_eq!(bench.store.issue_upload(issue).await.unwrap(), IssueOutcome::Issued);
            match at % 3 {
                0 => {
                    let mut step = bench.step(&object, Life::Expired);
                    step.jobs = vec![(JobKind::Purge, bench.clock.now())];
                    bench.store.advance(step).await.unwrap();
                }
                1 => {
                    let mut hash = [0; 32];
                    hash[..8].copy_from_slice(&at.to_le_bytes());
                    assert_eq!(
                        bench.store.issue_download(bench.linked(&object, hash).await).await.unwrap(),
                        DownloadOutcome::Issued
                    );
                }
                _ => {}
            }
            bench.clock.advance(Duration::from_secs(60 * 86_400 / objects as u64));
        }
        let now = bench.clock.now();
        let lease_until = now + SignedDuration::from_secs(60);
        let claim = ClaimJobs { kinds: JobKind::ALL.to_vec(), now, lease_until, lease: bench.clock.uuid(), limit: 3 };
        assert_eq!(bench.store.claim_jobs(claim).await.unwrap().len(), 3);
        for reason in ["first", "second"] {
            let letter = DeadLetter { source: "sqs".into(), at: now, reason: reason.into(), body: "{".into() };
            bench.store.dead_letter(letter).await.unwrap();
        }
        bench.store.setting_or_insert("key", vec![0, 1, 255]).await.unwrap();
        bench.asked_for().await;
        Self { bench, path, _dir: dir }
    }

    async fn copy(&self, to: &Database) -> Result<Vec<(&'static str, u64)>, CopyError> {
        let audit = self.bench.act(AuditAction::CopyStore);
        sqlite_to_postgres(&self.path, &to.url(), audit, |_, _| {}).await
    }
}

#[tokio::test]
async fn everything_is_there_afterwards() {
    let source = Source::filled(1100).await;
    let database = Database::migrated().await;
    let copied = source.copy(&database).await.unwrap();
    assert!(copied.iter().all(|(_, rows)| *rows > 0), "{copied:?}");
    assert!(copied.contains(&("objects", 1100)));
    database.assert_consistent().await;

    let (old, new) = (&source.bench.store, database.store(PostgresOptions::default(), None).await.unwrap());
    let everything = ObjectQuery { app: None, prefix: String::new(), state: None, before: None, limit: 10_000 };
    let mut objects = old.objects(everything.clone()).await.unwrap();
    for object in &mut objects {
        object.original_filename = object.original_filename.replace('\0', "\u{fffd}");
    }
    assert_eq!(new.objects(everything).await.unwrap(), objects);
    let entries = async |store: &dyn Store| {
        let found = store.audit_entries(AuditQuery { limit: 10_000, ..AuditQuery::default() }).await.unwrap();
        found.into_iter().map(|(_, entry)| entry).collect::<Vec<_>>()
    };
    let (before, after) = (entries(old.as_ref()).await, entries(&new).await);
    assert_eq!(after[0].action, AuditAction::CopyStore);
    assert_eq!(after[1..], before, "in the same order");
    let revocations = RevocationQuery { limit: 9, ..RevocationQuery::default() };
    let known = old.revocations(revocations.clone()).await.unwrap();
    assert_eq!((new.revocations(revocations).await.unwrap(), known.len()), (known.clone(), 1));
    let keys = new.gateway_keys(KeyPurpose::TokenSigning).await.unwrap();
    assert_eq!((keys.len(), keys[0].id.as_str(), keys[0].secret.expose_secret()), (1, "tk-1", &[0, 1, 255][..]));
    assert_eq!(new.tokens(TokenQuery::default()).await.unwrap(), old.tokens(TokenQuery::default()).await.unwrap());
    let requests = AccessQuery { limit: 9, ..AccessQuery::default() };
    let asked = old.access_requests(requests.clone()).await.unwrap();
    assert_eq!((new.access_requests(requests).await.unwrap(), asked.len()), (asked.clone(), 1));
    let claim = asked[0].state.claim().unwrap();
    let found = new.access_request_by_claim(claim.hash, asked[0].created_at).await.unwrap();
    assert_eq!(found.as_ref(), asked.first(), "a link goes on working");
    assert_eq!(new.dead_letters(10).await.unwrap(), old.dead_letters(10).await.unwrap());
    assert_eq!(new.setting("key").await.unwrap(), Some(vec![0, 1, 255]));
    let app = "where2eat".parse().unwrap();
    let owner = "marketing".parse().unwrap();
    assert_eq!(new.usage(&app, &owner).await.unwrap(), old.usage(&app, &owner).await.unwrap());
    let sorted = |mut statistics: vestibule::store::Statistics| {
        statistics.states.sort();
        statistics
    };
    assert_eq!(sorted(new.statistics().await.unwrap()), sorted(old.statistics().await.unwrap()));
    // A job that was leased is leased still, and due again when its lease ends.
    assert_eq!(new.next_due(&JobKind::ALL).await.unwrap(), old.next_due(&JobKind::ALL).await.unwrap());
    // A key that was used still stands for its object, and new work goes on.
    let bench = Bench::new(Arc::new(new));
    bench.clock.advance(Duration::from_secs(61 * 86_400));
    let mut issue = bench.issue(&bench.object("where2eat", 10), QUOTA);
    issue.idempotency = Some(Idempotency { key: "k-1098".into(), body: Sha256Digest::of(b"body") });
    assert!(matches!(bench.store.issue_upload(issue).await.unwrap(), IssueOutcome::Repeated(_)));
    bench.issued("where2eat", 10).await;
    database.assert_consistent().await;
}

#[tokio::test]
async fn a_target_that_holds_something_is_refused_and_left_as_it_is() {
    let source = Source::filled(12).await;
    let database = Database::migrated().await;
    database.run("INSERT INTO settings VALUES ('key', 'x')").await;
    let error = source.copy(&database).await.unwrap_err();
    assert!(matches!(error, CopyError::NotEmpty("settings")), "{error}");
    assert_eq!((database.count("objects").await, database.count("settings").await), (0, 1));
    let empty = Database::empty().await;
    let error = source.copy(&empty).await.unwrap_err();
    assert!(error.to_string().contains("vestibule migrate up"), "{error}");
}

#[tokio::test]
async fn what_does_not_arrive_whole_is_not_kept() {
    let source = Source::filled(12).await;
    // The target alters what it is given.
    let database = Database::migrated().await;
    database
        .run(
            "CREATE FUNCTION alter_it() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN NEW.reason := 'altered'; RETURN NEW; END $$;
             CREATE TRIGGER alter_it BEFORE INSERT ON dead_letters FOR EACH ROW EXECUTE FUNCTION alter_it()",
        )
        .await;
    let error = source.copy(&database).await.unwrap_err();
    assert!(matches!(error, CopyError::Disagrees("dead_letters")), "{error}");
    // The target refuses something.
    database.run("DROP TRIGGER alter_it ON dead_letters; ALTER TABLE links ADD CHECK (used_at IS NOT NULL)").await;
    let error = source.copy(&database).await.unwrap_err();
    assert!(matches!(error, CopyError::Target(_)), "{error}");
    for table in ["objects", "audit", "tokens", "settings", "state_counts"] {
        assert_eq!(database.count(table).await, 0, "{table}");
    }
    // And afterwards it is as if nothing had been tried.
    database.run("ALTER TABLE links DROP CONSTRAINT links_used_at_check").await;
    source.copy(&database).await.unwrap();
    database.assert_consistent().await;
}

#[tokio::test]
async fn a_source_that_is_being_written_or_is_not_there_is_refused() {
    let source = Source::filled(12).await;
    let database = Database::migrated().await;
    let writer = rusqlite::Connection::open(&source.path).unwrap();
    writer.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = source.copy(&database).await.unwrap_err();
    assert!(error.to_string().contains("stop the gateway"), "{error}");
    writer.execute_batch("ROLLBACK").unwrap();
    let audit = source.bench.act(AuditAction::CopyStore);
    let missing = source.path.with_file_name("missing.db");
    let error = sqlite_to_postgres(&missing, &database.url(), audit, |_, _| {}).await.unwrap_err();
    assert!(matches!(error, CopyError::Source(_)) && !missing.exists(), "{error}");
}
