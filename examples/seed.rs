//! Fills a SQLite database for the benchmarks, through the store itself: tokens of many apps and visible objects.
//!
//! `seed DATABASE APPS OBJECTS` makes a token for each of the apps `app-0`, `app-1`, … and spreads the objects over them.
//! Prints `token APP TOKEN` and `object APP ID` for each, with tabs between. The objects have records only, no bytes: enough
//! for whatever is decided and signed, not for a download. Never for a database that is in use.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use jiff::SignedDuration;
use vestibule::clock::Clock;
use vestibule::domain::audit::{AuditAction, AuditEntry, Outcome};
use vestibule::domain::bytes::{Sha256Digest, StoredBytes};
use vestibule::domain::filename::Filename;
use vestibule::domain::grant::UploadMethod;
use vestibule::domain::ids::{AppName, GrantId, ObjectId, TokenId};
use vestibule::domain::key::ObjectKeys;
use vestibule::domain::life::Life;
use vestibule::domain::object::Object;
use vestibule::domain::principal::Environment;
use vestibule::domain::quota::QuotaLimits;
use vestibule::domain::scope::Scope;
use vestibule::domain::verdict::{Finding, Verdict};
use vestibule::identity::{Token, TokenKind};
use vestibule::store::sqlite::{SqliteOptions, SqliteStore};
use vestibule::store::{Advance, IssueUpload, Store, TokenHolder, TokenRecord};

type Failed = Box<dyn std::error::Error + Send + Sync>;

/// Writes that share commits.
const AT_ONCE: usize = 256;

#[tokio::main]
async fn main() -> Result<(), Failed> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [database, apps, objects] = arguments.as_slice() else {
        return Err("usage: seed DATABASE APPS OBJECTS".into());
    };
    let (apps, objects): (usize, usize) = (apps.parse()?, objects.parse()?);
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(Path::new(database), SqliteOptions::default(), None)?);
    let clock = Clock::system();

    let tokens = futures::stream::iter((0..apps).map(|at| token(&store, &clock, at)));
    let tokens: Vec<(AppName, TokenId, Token)> = tokens.buffered(AT_ONCE).try_collect().await?;
    for (app, _, token) in &tokens {
        println!("token\t{app}\t{}", token.expose());
    }
    let made =
        (0..objects).filter_map(|at| tokens.get(at % apps)).map(|(app, token, _)| object(&store, &clock, app, token));
    let mut made = futures::stream::iter(made).buffered(AT_ONCE);
    while let Some(object) = made.next().await {
        let (app, id) = object?;
        println!("object\t{app}\t{id}");
    }
    Ok(())
}

async fn token(store: &Arc<dyn Store>, clock: &Clock, at: usize) -> Result<(AppName, TokenId, Token), Failed> {
    let (app, now): (AppName, _) = (format!("app-{at}").parse()?, clock.now());
    let (token, id, hash) = Token::generate(TokenKind::Workflow(Environment::Live), clock);
    let holder = TokenHolder::Workflow {
        app: app.clone(),
        workflow: "bench".parse()?,
        owner: "marketing".parse()?,
        environment: Environment::Live,
        scopes: vec![Scope::whole_app(app.clone())],
        subject: None,
    };
    let record = TokenRecord::new(id.clone(), hash, holder, now, None);
    let mut audit = AuditEntry::new(now, AuditAction::CreateToken, Outcome::Allowed);
    audit.app = Some(app.clone());
    store.create_token(record, audit).await?;
    Ok((app, id, token))
}

/// Issues an object and makes it visible, as if its bytes had arrived and been judged.
async fn object(
    store: &Arc<dyn Store>,
    clock: &Clock,
    app: &AppName,
    token: &TokenId,
) -> Result<(AppName, ObjectId), Failed> {
    let (id, now, size) = (ObjectId::from_uuid(clock.uuid()), clock.now(), 48_213);
    let filename = Filename::sanitise("menu.jpg")?;
    let object = Object {
        id,
        grant: GrantId::from_uuid(clock.uuid()),
        app: app.clone(),
        workflow: "bench".parse()?,
        token: token.clone(),
        owner: "marketing".parse()?,
        environment: Environment::Live,
        user: None,
        target: "images".parse()?,
        keys: ObjectKeys::new(&"incoming".parse()?, &format!("{app}/u-42").parse()?, id, &filename)?,
        filename,
        original_filename: "menu.jpg".into(),
        content_type: "image/jpeg".parse()?,
        size,
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
    let entry = |action| AuditEntry::new(now, action, Outcome::Allowed).about_object(&object);
    let served = StoredBytes { etag: format!("\"{}\"", id), version: None, size };
    let verdict = Verdict {
        finding: Finding::Clean,
        engine: "ClamAV 1.4.6".into(),
        signatures: "27800".into(),
        at: now,
        bytes: served.clone(),
        sha256: Sha256Digest::of(id.to_string().as_bytes()),
        detected: Some(object.content_type.clone()),
    };
    let advance = Advance {
        object: id,
        from_revision: 0,
        to: Life::Visible { served, verdict: Some(verdict), review: None, retained_until: None },
        now,
        jobs: Vec::new(),
        completes: None,
        audit: vec![entry(AuditAction::ChangeState)],
    };
    let audit = entry(AuditAction::RequestUpload);
    let quota = QuotaLimits::default();
    store.issue_upload(IssueUpload { object: object.into(), quota, idempotency: None, audit }).await?;
    store.advance(advance).await?;
    Ok((app.clone(), id))
}
