//! Expiry, with a clock that is moved by hand: the use cases and the sweep over SQLite, the embedded store and clamd.
//!
//! Nothing here runs by itself. Each step of the sweep and of the workers is made by the test, so that what happens at
//! the last second of the grace and in the first second after it is not a matter of luck.

use std::sync::Arc;
use std::time::Duration;

use vestibule::app::{App, NewToken, RequestContext, Targets};
use vestibule::clock::Clock;
use vestibule::config::Config;
use vestibule::domain::admin::AdminRoles;
use vestibule::domain::audit::AuditAction;
use vestibule::domain::grant::{UploadGrant, UploadMethod};
use vestibule::domain::ids::ObjectId;
use vestibule::domain::life::State;
use vestibule::domain::object::Object;
use vestibule::domain::principal::{Environment, Operator, Principal};
use vestibule::policy::{PolicySet, UploadRequest};
use vestibule::startup;
use vestibule::storage::embedded::{EmbeddedConfig, EmbeddedServer};
use vestibule::storage::{MintedUpload, ObjectStore};
use vestibule::worker::inspect::{Inspector, ScannerConfig};
use vestibule::worker::jobs::Jobs;
use vestibule::worker::lane::Lane;
use vestibule::worker::probe::Probe;
use vestibule::worker::sweep::{Findings, Sweep};

use super::jpeg;
use crate::harness::env;

const TTL: Duration = Duration::from_secs(600);
const GRACE: Duration = Duration::from_secs(60);

/// A gateway without listeners whose time stands still.
struct Still {
    app: Arc<App>,
    who: Arc<Principal>,
    clock: Clock,
    sweep: Sweep,
    lanes: [Lane; 2],
    store: Arc<dyn ObjectStore>,
    _server: EmbeddedServer,
    _dir: tempfile::TempDir,
}

fn context(app: &App) -> RequestContext {
    RequestContext::command_line("test".into(), app.clock.now())
}

impl Still {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::manual(Clock::system().now());
        let target = "provider = 'embedded'\nbucket = 'desk'\nresidency = 'eu'\nenvironment = 'live'\n";
        super::write_policies(&dir.path().join("policies"), target, "'PUT'", 1);
        let mut config = Config::default();
        config.policies.dir = dir.path().join("policies");
        config.store.path = Some(dir.path().join("vestibule.db"));
        let embedded = EmbeddedConfig::new(dir.path().join("storage"), "127.0.0.1:0".parse().unwrap());
        let server = EmbeddedServer::start(embedded, clock.clone()).await.unwrap();
        let set = PolicySet::load(&config.policies.dir).unwrap();
        let open = startup::open_targets(&set, &config.credentials, Some(&server), &clock).await.unwrap();
        let app = startup::core(&config, Targets::new(open), String::new(), clock.clone()).await.unwrap().app;

        let address = format!("unix:{}", env("VESTIBULE_TEST_CLAMD_SOCKET")).parse().unwrap();
        let inspector = Inspector::new(ScannerConfig::at(address), clock.clone());
        Probe::new(Arc::clone(&app), inspector.clone()).step().await;
        let operator = Operator { token: None, name: "tests".into(), targets: vec![], roles: AdminRoles::admin() };
        let new = NewToken::Workflow {
            app: "desk".parse().unwrap(),
            workflow: "tests".parse().unwrap(),
            owner: None,
            environment: Environment::Live,
            scopes: Vec::new(),
            subject: None,
            binding: None,
            expires_at: None,
        };
        let created = app.create_token(&context(&app), &operator, Ok(new)).await.unwrap();
        let who = app.authenticator.workflow(created.token.expose(), &crate::possession::Nothing).await.unwrap().who;
        let jobs = Arc::new(Jobs::new(Arc::clone(&app), inspector));
        let lanes = [Lane::inspection(Arc::clone(&jobs)), Lane::storage(jobs, 4)];
        let store = app.targets.store(&"cloud".parse().unwrap()).unwrap();
        let sweep = Sweep::new(Arc::clone(&app), Duration::from_secs(30));
        Self { app, who, clock, sweep, lanes, store, _server: server, _dir: dir }
    }

    /// Asks for an upload; `None` where the quota refuses.
    async fn issue(&self) -> Option<(ObjectId, MintedUpload)> {
        self.issue_of(jpeg().bytes.len() as u64).await
    }

    async fn issue_of(&self, size: u64) -> Option<(ObjectId, MintedUpload)> {
        let upload = jpeg();
        let request = UploadRequest {
            original_filename: upload.name.into(),
            filename: vestibule::domain::filename::Filename::sanitise(upload.name).unwrap(),
            size,
            content_type: upload.media.parse().unwrap(),
            path: None,
            classification: None,
            sha256: None,
            method: UploadMethod::Put,
            metadata: Default::default(),
            lawful_basis: None,
        };
        let context = context(&self.app);
        let admission = self.app.admit(&context, &self.who, AuditAction::RequestUpload).await.unwrap();
        match self.app.request_upload(&context, &self.who, admission, Ok(request), None).await {
            Ok(issued) => Some((issued.object, issued.upload)),
            Err(refusal) => {
                assert_eq!(refusal.reason.code(), "quota_objects_exceeded");
                None
            }
        }
    }

    async fn object(&self, id: ObjectId) -> Object {
        self.app.store.object(id).await.unwrap().unwrap()
    }

    async fn state(&self, id: ObjectId) -> State {
        self.object(id).await.life.state()
    }

    /// One sweep, then every job that is due.
    async fn sweep(&self) -> Findings {
        let findings = self.sweep.step().await;
        loop {
            let mut done = 0;
            for lane in &self.lanes {
                done += lane.step().await.unwrap();
            }
            if done == 0 {
                return findings;
            }
        }
    }

    async fn used(&self) -> (u64, u64) {
        let usage = self.app.store.usage(&self.who.app, &self.who.owner).await.unwrap().app;
        (usage.bytes, usage.objects)
    }

    /// Bytes whose PUT began while the URL was valid and ends now.
    async fn finish_a_slow_put(&self, id: ObjectId) {
        let object = self.object(id).await;
        let grant = UploadGrant {
            id: object.grant,
            object: id,
            key: object.keys.staging.clone(),
            method: UploadMethod::Put,
            size: object.size,
            content_type: object.content_type.clone(),
            sha256: None,
            issued_at: self.clock.now(),
            expires_at: self.clock.now() + TTL,
        };
        assert_eq!(send(&self.store.mint_upload(&grant).unwrap()).await, 200);
    }
}

async fn send(upload: &MintedUpload) -> u16 {
    let mut request = reqwest::Client::new().put(upload.url.expose()).body(jpeg().bytes);
    for (name, value) in upload.headers.iter().filter(|(name, _)| *name != "content-length") {
        request = request.header(*name, value);
    }
    request.send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn what_never_arrives_expires_after_the_grace_and_gives_its_quota_back() {
    let still = Still::start().await;
    let (id, upload) = still.issue().await.unwrap();
    assert_eq!(still.used().await, (jpeg().bytes.len() as u64, 1));
    assert!(still.issue().await.is_none(), "the app may hold one object");

    still.clock.advance(TTL + GRACE - Duration::from_secs(1));
    assert_eq!(still.sweep().await, Findings::default());
    assert_eq!(still.state(id).await, State::Issued);
    assert!(still.issue().await.is_none(), "what is issued still counts");
    assert_eq!(send(&upload).await, 403, "the URL has ended");

    still.clock.advance(Duration::from_secs(2));
    assert_eq!(still.sweep().await, Findings { expired: 1, ..Findings::default() });
    assert_eq!(still.state(id).await, State::Expired);
    assert_eq!(still.used().await, (0, 0));
    assert!(still.issue().await.is_some());
}

#[tokio::test]
async fn bytes_that_end_within_the_grace_count() {
    let still = Still::start().await;
    let (id, _) = still.issue().await.unwrap();
    still.clock.advance(TTL + GRACE / 2);
    still.finish_a_slow_put(id).await;
    assert_eq!(still.sweep().await.expired, 0);
    assert_eq!(still.state(id).await, State::Visible);
    assert_eq!(still.used().await.1, 1);
}

#[tokio::test]
async fn bytes_that_are_there_when_the_grace_ends_count_though_nobody_told() {
    let still = Still::start().await;
    let (id, upload) = still.issue().await.unwrap();
    assert_eq!(send(&upload).await, 200);
    still.clock.advance(TTL + GRACE + Duration::from_secs(3600));
    assert_eq!(still.sweep().await.expired, 0);
    assert_eq!(still.state(id).await, State::Visible);
}

#[tokio::test]
async fn bytes_after_expiry_are_strays() {
    let still = Still::start().await;
    let (id, _) = still.issue().await.unwrap();
    still.clock.advance(TTL + GRACE + Duration::from_secs(1));
    still.sweep().await;
    assert_eq!(still.state(id).await, State::Expired);
    still.finish_a_slow_put(id).await;
    assert_eq!(still.sweep().await, Findings { strays: 1, ..Findings::default() });
    assert_eq!(still.state(id).await, State::Expired);
    assert_eq!(still.store.head(&still.object(id).await.keys.staging).await.unwrap(), None);
    assert_eq!(still.used().await, (0, 0));
    assert_eq!(still.sweep().await, Findings::default(), "nothing is left to find");
}

#[tokio::test]
async fn a_large_upload_is_waited_for_longer() {
    let still = Still::start().await;
    let (id, _) = still.issue_of(10 << 20).await.unwrap();
    // 10 MiB over the slowest line that is waited for, 256 KiB a second.
    let line = Duration::from_secs(40);
    still.clock.advance(TTL + GRACE + line - Duration::from_secs(1));
    assert_eq!(still.sweep().await, Findings::default());
    assert_eq!(still.state(id).await, State::Issued);
    still.clock.advance(Duration::from_secs(2));
    assert_eq!(still.sweep().await, Findings { expired: 1, ..Findings::default() });
    assert_eq!(still.used().await, (0, 0));
}
