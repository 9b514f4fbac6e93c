//! Uploads issued per second by the SQLite store, 64 callers at a time, beside the disk's own fdatasync; and by the
//! PostgreSQL store on an empty database, where `VESTIBULE_BENCH_POSTGRES_URL` names one.
//!
//! Plain, without criterion: the figure is a rate under concurrency, not the time of a function. The database lies in a
//! temporary directory (`TMPDIR`); on a memory file system the figure is the ceiling without a disk.
//! `cargo bench --bench commit [seconds]`.

use std::collections::BTreeMap;
use std::io::{Seek, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::SignedDuration;
use vestibule::clock::Clock;
use vestibule::domain::audit::{AuditAction, AuditEntry, Outcome};
use vestibule::domain::filename::Filename;
use vestibule::domain::grant::UploadMethod;
use vestibule::domain::ids::{GrantId, ObjectId};
use vestibule::domain::key::ObjectKeys;
use vestibule::domain::life::Life;
use vestibule::domain::object::Object;
use vestibule::domain::principal::Environment;
use vestibule::domain::quota::QuotaLimits;
use vestibule::store::postgres::{PostgresOptions, PostgresStore, PostgresUrl};
use vestibule::store::sqlite::{SqliteOptions, SqliteStore};
use vestibule::store::{IssueOutcome, IssueUpload, Store};

type Failed = Box<dyn std::error::Error + Send + Sync>;

const CALLERS: usize = 64;

fn main() -> Result<(), Failed> {
    let seconds = std::env::args().filter_map(|argument| argument.parse().ok()).next().unwrap_or(5);
    let dir = tempfile::tempdir()?;
    let (p50, p99) = fdatasync(dir.path())?;
    println!("fdatasync of 16 KiB: p50 {p50:?}, p99 {p99:?}");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    for round in 1..=3 {
        let path = dir.path().join(format!("{round}.db"));
        let store = Arc::new(SqliteStore::open(&path, SqliteOptions::default(), None)?);
        runtime.block_on(run("sqlite", store, Duration::from_secs(seconds)))?;
        if let Ok(url) = std::env::var("VESTIBULE_BENCH_POSTGRES_URL") {
            let store = Arc::new(runtime.block_on(postgres(&url.parse()?))?);
            runtime.block_on(run("postgres", store, Duration::from_secs(seconds)))?;
        }
    }
    Ok(())
}

fn fdatasync(dir: &Path) -> Result<(Duration, Duration), Failed> {
    let mut file = std::fs::File::create(dir.join("sync"))?;
    let mut took = Vec::new();
    for at in 0..500_u64 {
        file.seek(std::io::SeekFrom::Start(at % 64 * 16_384))?;
        file.write_all(&[1; 16_384])?;
        let began = Instant::now();
        file.sync_data()?;
        took.push(began.elapsed());
    }
    Ok(percentiles(took))
}

fn percentiles(mut took: Vec<Duration>) -> (Duration, Duration) {
    took.sort();
    let at = |percent: usize| took.get(took.len() * percent / 100).copied().unwrap_or_default();
    (at(50), at(99))
}

async fn postgres(url: &PostgresUrl) -> Result<PostgresStore, Failed> {
    let clock = Clock::system();
    vestibule::store::postgres::migrate(url, clock.now()).await?;
    Ok(PostgresStore::open(url.clone(), PostgresOptions::default(), clock, None).await?)
}

async fn run(name: &str, store: Arc<dyn Store>, length: Duration) -> Result<(), Failed> {
    let began = Instant::now();
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..CALLERS {
        let store = store.clone();
        callers.spawn(async move {
            let (clock, mut took) = (Clock::system(), Vec::new());
            while began.elapsed() < length {
                let issue = issue(&clock)?;
                let asked = Instant::now();
                if store.issue_upload(issue).await? != IssueOutcome::Issued {
                    return Err("not issued".into());
                }
                took.push(asked.elapsed());
            }
            Ok::<_, Failed>(took)
        });
    }
    let mut took = Vec::new();
    while let Some(caller) = callers.join_next().await {
        took.extend(caller??);
    }
    let rate = took.len() as f64 / began.elapsed().as_secs_f64();
    let (p50, p99) = percentiles(took);
    println!("{name}: issue_upload, {CALLERS} callers: {rate:.0} a second, p50 {p50:?}, p99 {p99:?}");
    Ok(())
}

fn issue(clock: &Clock) -> Result<IssueUpload, Failed> {
    let (id, now) = (ObjectId::from_uuid(clock.uuid()), clock.now());
    let filename = Filename::sanitise("menu.jpg")?;
    let object = Object {
        id,
        grant: GrantId::from_uuid(clock.uuid()),
        app: "where2eat".parse()?,
        workflow: "nightly".parse()?,
        token: "AAAAAAAAAAAAAAAA".parse()?,
        owner: "marketing".parse()?,
        environment: Environment::Live,
        user: None,
        target: "images".parse()?,
        keys: ObjectKeys::new(&"incoming".parse()?, &"uploads/where2eat".parse()?, id, &filename)?,
        filename,
        original_filename: "menu.jpg".into(),
        content_type: "image/jpeg".parse()?,
        size: 48_213,
        sha256: None,
        method: UploadMethod::Put,
        classification: "internal".parse()?,
        lawful_basis: None,
        residency: "eu".into(),
        metadata: BTreeMap::new(),
        created_at: now,
        upload_expires_at: now + SignedDuration::from_mins(10),
        updated_at: now,
        revision: 0,
        life: Life::Issued,
    };
    let mut audit = AuditEntry::new(now, AuditAction::RequestUpload, Outcome::Allowed).about_object(&object);
    audit.token_id = Some(object.token.clone());
    audit.grant_id = Some(object.grant);
    audit.scopes = ["storage:images:where2eat:write:prefix=/uploads/".into()].into();
    audit.rule = Some("apps/where2eat.toml".into());
    (audit.route, audit.method, audit.status) = (Some("/request-upload".into()), Some("POST".into()), Some(201));
    Ok(IssueUpload { object: object.into(), quota: QuotaLimits::default(), idempotency: None, audit })
}
