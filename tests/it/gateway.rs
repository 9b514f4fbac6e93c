//! A gateway as its users have it: the real binary, in a process and a directory of its own, spoken to over HTTP.
//!
//! Dropping it ends the process. [`Gateway::kill`] and [`Gateway::start_again`] are for tests of what survives.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness;

/// How long anything that should happen by itself may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A running `vestibule dev`, with environment settings over its defaults.
pub struct Gateway {
    child: Child,
    binary: PathBuf,
    environment: BTreeMap<String, String>,
    dir: tempfile::TempDir,
    /// The public listener, for example `http://127.0.0.1:40001`.
    pub public: String,
    /// The admin listener.
    pub admin: String,
    /// The embedded store.
    pub storage: String,
    /// A `where2eat` workflow's token.
    pub token: String,
    /// An operator's token.
    pub admin_token: String,
    /// A plain HTTP client that follows no redirects.
    pub http: reqwest::Client,
}

impl Gateway {
    /// Starts one with the defaults.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts one with these environment settings, for example `("VESTIBULE__SWEEP__INTERVAL", "1s")`.
    pub async fn start_with(settings: &[(&str, &str)]) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), settings).await
    }

    /// Starts one in a directory that may be prepared: `policies/` and `vestibule.toml` in it are used as they are.
    pub async fn start_in(dir: tempfile::TempDir, settings: &[(&str, &str)]) -> Self {
        let mut environment: BTreeMap<String, String> =
            settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let clamd = format!("unix:{}", harness::env("VESTIBULE_TEST_CLAMD_SOCKET"));
        for (name, value) in [
            ("VESTIBULE__PUBLIC__LISTEN", "127.0.0.1:0"),
            ("VESTIBULE__ADMIN__LISTEN", "127.0.0.1:0"),
            ("VESTIBULE__EMBEDDED__LISTEN", "127.0.0.1:0"),
            ("VESTIBULE__SCANNER__ADDRESS", clamd.as_str()),
            ("VESTIBULE__TELEMETRY__FILTER", "info,vestibule=debug"),
        ] {
            environment.entry(name.to_owned()).or_insert_with(|| value.to_owned());
        }
        let binary = PathBuf::from(env!("CARGO_BIN_EXE_vestibule"));
        let (child, ready) = spawn(&binary, dir.path(), &environment).await;
        let text = |name: &str| ready[name].as_str().unwrap().to_owned();
        // The next start on this directory takes the same ports, so that URLs go on working.
        for (name, setting) in [("public", "PUBLIC"), ("admin", "ADMIN"), ("storage", "EMBEDDED")] {
            let address = text(name).trim_start_matches("http://").to_owned();
            environment.insert(format!("VESTIBULE__{setting}__LISTEN"), address);
        }
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(Duration::from_secs(30))
            .build()
            .unwrap();
        Self {
            public: text("public"),
            admin: text("admin"),
            storage: text("storage"),
            token: text("token"),
            admin_token: text("adminToken"),
            child,
            binary,
            environment,
            dir,
            http,
        }
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The data directory.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Everything that the process has logged so far, over all starts.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("gateway.log")).unwrap_or_default()
    }

    /// SIGKILL: nothing is finished, flushed or said goodbye to.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts again on the same directory and ports, with one environment setting changed or removed where asked for.
    pub async fn start_again(&mut self, changes: &[(&str, Option<&str>)]) {
        self.kill();
        for (name, value) in changes {
            match value {
                Some(value) => self.environment.insert((*name).to_owned(), (*value).to_owned()),
                None => self.environment.remove(*name),
            };
        }
        let (child, _) = spawn(&self.binary, self.dir.path(), &self.environment).await;
        self.child = child;
    }

    /// Makes a workflow token on the admin listener.
    pub async fn create_token(&self, body: Value) -> String {
        let answer = self.admin_post("/admin/tokens", body).await;
        assert_eq!(answer.0, 201, "{}", answer.1);
        answer.1["token"].as_str().unwrap().to_owned()
    }

    /// `POST` to the admin listener as the operator: status and JSON body.
    pub async fn admin_post(&self, path: &str, body: Value) -> (u16, Value) {
        let request = self.http.post(format!("{}{path}", self.admin)).bearer_auth(&self.admin_token).json(&body);
        answer(request).await
    }

    /// `GET` from the admin listener as the operator: status and JSON body.
    pub async fn admin_get(&self, path: &str) -> (u16, Value) {
        answer(self.http.get(format!("{}{path}", self.admin)).bearer_auth(&self.admin_token)).await
    }

    /// `POST` to the public listener with a token: status and JSON body.
    pub async fn post_as(&self, token: &str, path: &str, body: Value) -> (u16, Value) {
        answer(self.http.post(format!("{}{path}", self.public)).bearer_auth(token).json(&body)).await
    }

    /// `POST` to the public listener as the `where2eat` workflow.
    pub async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        self.post_as(&self.token, path, body).await
    }

    /// `GET` from the public listener as the `where2eat` workflow.
    pub async fn get(&self, path: &str) -> (u16, Value) {
        answer(self.http.get(format!("{}{path}", self.public)).bearer_auth(&self.token)).await
    }

    /// Requests an upload of these bytes as a JPEG of `where2eat`; the answer's body.
    pub async fn request_jpeg(&self, bytes: &[u8]) -> Value {
        let body = json!({ "filename": "menu.jpg", "size": bytes.len(), "contentType": "image/jpeg" });
        let (status, issued) = self.post("/request-upload", body).await;
        assert_eq!(status, 201, "{issued}");
        issued
    }

    /// Sends bytes exactly as an answer of `request-upload` says; the storage's status.
    pub async fn put(&self, issued: &Value, bytes: Vec<u8>) -> u16 {
        let mut request = self.http.put(issued["uploadUrl"].as_str().unwrap()).body(bytes);
        for (name, value) in issued["headers"].as_object().unwrap() {
            if name != "content-length" {
                request = request.header(name, value.as_str().unwrap());
            }
        }
        request.send().await.unwrap().status().as_u16()
    }

    /// Waits until an object is in this state; its record.
    ///
    /// # Panics
    /// Where it does not come to it in time, with the record and the log.
    pub async fn wait_for(&self, id: &str, state: &str) -> Value {
        let started = Instant::now();
        loop {
            let (_, object) = self.admin_get(&format!("/admin/objects/{id}")).await;
            if object["state"] == state {
                return object;
            }
            assert!(started.elapsed() < PATIENCE, "{id} did not become {state}: {object}\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Requests a download and reads it, as the `where2eat` workflow; the bytes.
    pub async fn download(&self, id: &str) -> Vec<u8> {
        let (status, issued) = self.post("/request-download", json!({ "objectId": id })).await;
        assert_eq!(status, 200, "{issued}");
        let answer = self.http.get(issued["downloadUrl"].as_str().unwrap()).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        answer.bytes().await.unwrap().to_vec()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- log of the gateway ---\n{}", self.log());
        }
    }
}

/// Status and JSON body of an answer; `null` for an empty one.
pub async fn answer(request: reqwest::RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let bytes = response.bytes().await.unwrap();
    (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
}

async fn spawn(binary: &Path, dir: &Path, environment: &BTreeMap<String, String>) -> (Child, Value) {
    let log = std::fs::OpenOptions::new().create(true).append(true).open(dir.join("gateway.log")).unwrap();
    let ready = dir.join("ready.json");
    let _ = std::fs::remove_file(&ready);
    let mut child = Command::new(binary)
        .args(["dev", "--json", "--data"])
        .arg(dir)
        .envs(environment)
        .stdin(Stdio::null())
        .stdout(std::fs::File::create(&ready).unwrap())
        .stderr(log)
        .spawn()
        .unwrap();
    let started = Instant::now();
    loop {
        let line = std::fs::read_to_string(&ready).unwrap_or_default();
        if let Ok(ready) = serde_json::from_str(&line) {
            return (child, ready);
        }
        if let Ok(Some(status)) = child.try_wait() {
            let log = std::fs::read_to_string(dir.join("gateway.log")).unwrap_or_default();
            panic!("the gateway ended with {status}:\n{log}");
        }
        assert!(started.elapsed() < PATIENCE, "the gateway did not become ready");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
