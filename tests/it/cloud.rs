//! The whole of it on the real components: `vestibule serve` with S3 and SQS, SNS and EventBridge (LocalStack), with
//! Azure Blob and Storage Queue (Azurite), and with clamd.
//!
//! Each test has a gateway, a bucket or container, and queues of its own, and removes them. One app, `desk`, lies on the
//! one target, `cloud`. Clients send plain HTTP requests with what the gateway handed out; nothing here signs for them.

mod afterwards;
mod check;
mod events;
mod example;
mod expiry;
mod flow;
mod key_files;
mod killed;
mod limits;
mod nodes;
mod place;
mod push;
mod quickstart;
mod quota;
mod readers;
mod retention;
mod sources;

use std::any::Any;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::conformance::form_body;
use crate::gateway::{Gateway, PATIENCE};
use crate::harness;

pub(crate) use place::Place;

/// A file as a client declares and sends it.
#[derive(Clone, Debug)]
pub(crate) struct Upload {
    name: &'static str,
    media: &'static str,
    pub(crate) bytes: Vec<u8>,
}

fn upload(name: &'static str, media: &'static str, fixture: &str) -> Upload {
    Upload { name, media, bytes: harness::fixture(fixture) }
}

pub(crate) fn jpeg() -> Upload {
    upload("menu.jpg", "image/jpeg", "menu.jpg")
}

fn pdf() -> Upload {
    upload("invoice (März).pdf", "application/pdf", "invoice.pdf")
}

fn csv() -> Upload {
    upload("invoices 2026.csv", "text/csv", "invoices.csv")
}

/// Markup that calls itself a picture.
fn disguised() -> Upload {
    upload("logo.png", "image/png", "page.html")
}

fn infected() -> Upload {
    Upload { name: "menu.jpg", media: "image/jpeg", bytes: harness::eicar() }
}

/// What a test's gateway is to be like.
pub(crate) struct Setup {
    place: Place,
    /// What stands under `[events]`.
    events: String,
    /// How many objects `desk` may hold.
    objects: u32,
    sweep: &'static str,
    pub(crate) environment: Vec<(String, String)>,
    /// What must live as long as the gateway, for example its queues.
    keep: Vec<Box<dyn Any + Send>>,
    /// More keys of the target.
    target: String,
}

impl Setup {
    /// Hears nothing, and sweeps so rarely that only events can move anything.
    pub(crate) fn at(place: Place) -> Self {
        Self {
            place,
            events: String::new(),
            objects: 1000,
            sweep: "1h",
            environment: Vec::new(),
            keep: Vec::new(),
            target: String::new(),
        }
    }

    fn hearing(mut self, events: impl AsRef<str>, keep: impl Any + Send) -> Self {
        self.events.push_str(events.as_ref());
        self.keep.push(Box::new(keep));
        self
    }

    /// Stages in `staging`, which lives as long as the gateway, and has these further keys in `targets.toml`.
    fn staging_in(mut self, staging: Place, more: &str) -> Self {
        self.target = format!("staging_bucket = '{}'\n{more}\n", staging.name());
        self.keep.push(Box::new(staging));
        self
    }

    pub(crate) fn sweeping(mut self, every: &'static str) -> Self {
        self.sweep = every;
        self
    }

    pub(crate) fn objects(mut self, objects: u32) -> Self {
        self.objects = objects;
        self
    }

    /// The same configuration for another node, in a directory of its own.
    pub(crate) fn write_configuration(&self, dir: &Path) {
        write_configuration(dir, self);
    }

    pub(crate) async fn start(self) -> Cloud {
        let dir = tempfile::tempdir().unwrap();
        write_configuration(dir.path(), &self);
        let mut environment = vec![("VESTIBULE__SWEEP__INTERVAL", self.sweep)];
        environment.extend(self.environment.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let gateway = Gateway::serve_in(dir, "desk", &environment).await;
        Cloud { gateway, place: self.place, keep: self.keep }
    }
}

/// `vestibule.toml` and `policies/`, as an operator and a platform team would write them.
fn write_configuration(dir: &Path, setup: &Setup) {
    let credentials = "[credentials.aws]\naccess_key_id = 'test'\nsecret_access_key = 'test'\n\
                       [credentials.azurite]\naccount_key = 'KEY'\n"
        .replace("KEY", &harness::env("VESTIBULE_TEST_AZURITE_KEY"));
    std::fs::write(dir.join("vestibule.toml"), format!("{credentials}{}", setup.events)).unwrap();
    let methods = if setup.place.is_azure() { "'PUT'" } else { "'PUT', 'POST'" };
    let target = setup.place.target_toml() + &setup.target;
    write_policies(&dir.join("policies"), &target, methods, setup.objects);
}

/// A policy set with one target, `cloud`, and one app, `desk`.
fn write_policies(policies: &Path, target: &str, methods: &str, objects: u32) {
    std::fs::create_dir_all(policies.join("apps")).unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for name in ["classifications.toml", "base.cedar"] {
        std::fs::copy(root.join("policies").join(name), policies.join(name)).unwrap();
    }
    std::fs::copy(root.join("src/cli/dev/limits.toml"), policies.join("limits.toml")).unwrap();
    std::fs::write(policies.join("targets.toml"), format!("[cloud]\n{target}")).unwrap();
    let manifest = format!(
        "app = 'desk'\nowner = 'office'\ntarget = 'cloud'\nprefix = 'desk/'\nmax_size = '10 MiB'\n\
         types = ['image/jpeg', 'image/png', 'application/pdf', 'text/csv']\nmethods = [{methods}]\n\
         classifications = ['internal']\nupload_ttl = '10m'\ndownload_ttl = '60s'\n\
         [quota]\nbytes = '1 GiB'\nobjects = {objects}\n"
    );
    std::fs::write(policies.join("apps/desk.toml"), manifest).unwrap();
}

/// A running gateway and the storage behind it. The fields go in this order: the process ends before its bucket does.
pub(crate) struct Cloud {
    pub(crate) gateway: Gateway,
    pub(crate) place: Place,
    keep: Vec<Box<dyn Any + Send>>,
}

impl Cloud {
    /// Requests an upload, with more fields where the test has some; status and answer.
    async fn ask(&self, upload: &Upload, more: Value) -> (u16, Value) {
        let mut body = json!({ "filename": upload.name, "size": upload.bytes.len(), "contentType": upload.media });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.gateway.post("/request-upload", body).await
    }

    /// Requests an upload that must be allowed; its id and the answer.
    pub(crate) async fn issue(&self, upload: &Upload, more: Value) -> (String, Value) {
        let (status, issued) = self.ask(upload, more).await;
        assert_eq!(status, 201, "{issued}");
        (issued["objectId"].as_str().unwrap().to_owned(), issued)
    }

    /// Sends bytes as the answer says, whatever their length; the storage's status.
    pub(crate) async fn send(&self, issued: &Value, bytes: &[u8]) -> u16 {
        if issued["fields"].is_null() {
            return self.gateway.put(issued, bytes.to_vec()).await;
        }
        let fields = issued["fields"].as_object().unwrap().iter();
        let fields: Vec<_> = fields.map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned())).collect();
        let request = self.gateway.http.post(issued["uploadUrl"].as_str().unwrap());
        let request = request.header("content-type", "multipart/form-data; boundary=vestibule-form-boundary");
        let body = form_body("vestibule-form-boundary", &fields, bytes);
        request.body(body).send().await.unwrap().status().as_u16()
    }

    /// Requests, sends and waits; the object's record.
    async fn store(&self, upload: &Upload, more: Value, state: &str) -> Value {
        let (id, issued) = self.issue(upload, more).await;
        let status = self.send(&issued, &upload.bytes).await;
        assert!((200..300).contains(&status), "{status}");
        self.gateway.wait_for(&id, state).await
    }

    /// Waits until nothing lies in staging, in no version.
    async fn staging_is_empty(&self) {
        self.place.wait("an empty staging area", |keys| !keys.iter().any(|key| key.starts_with("incoming/"))).await;
    }

    /// The audit trail of an object: the actions, oldest first.
    async fn actions(&self, id: &str) -> Vec<String> {
        let (status, page) = self.gateway.admin_get(&format!("/admin/audit?object={id}")).await;
        assert_eq!(status, 200, "{page}");
        let entries = page["entries"].as_array().unwrap().iter().rev();
        entries.map(|entry| entry["action"].as_str().unwrap().to_owned()).collect()
    }

    /// Waits until a stray under this object was removed and recorded.
    async fn stray_is_removed(&self, id: &str) {
        let started = Instant::now();
        while !self.actions(id).await.iter().any(|action| action == "removeStray") {
            assert!(started.elapsed() < PATIENCE, "no stray of {id} was removed:\n{}", self.gateway.log());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        self.staging_is_empty().await;
    }

    /// The value of a metric with these labels, 0 where it never counted.
    async fn metric(&self, name: &str) -> f64 {
        let request = self.gateway.http.get(format!("{}/metrics", self.gateway.admin));
        let text = request.bearer_auth(&self.gateway.admin_token).send().await.unwrap().text().await.unwrap();
        text.lines().find_map(|line| line.strip_prefix(name)).map_or(0.0, |value| value.trim().parse().unwrap())
    }
}
