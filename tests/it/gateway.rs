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

/// Which command runs.
#[derive(Clone, Copy)]
enum Mode {
    /// `vestibule dev`: everything on this machine.
    Dev,
    /// `vestibule serve`: production, with the configuration file of the directory.
    Serve,
}

/// A running `vestibule dev` or `vestibule serve`, with environment settings over its defaults.
pub struct Gateway {
    child: Child,
    binary: PathBuf,
    mode: Mode,
    environment: BTreeMap<String, String>,
    dir: tempfile::TempDir,
    /// The public listener, for example `http://127.0.0.1:40001`.
    pub public: String,
    /// The admin listener.
    pub admin: String,
    /// The embedded store; empty under `serve`.
    pub storage: String,
    /// A workflow's token: of `where2eat`, or of the app that [`Gateway::serve_in`] was told.
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
        Self::launch(dir, Mode::Dev, environment, None).await
    }

    /// Starts `vestibule serve` in a directory that holds `vestibule.toml` and `policies/`; its database lies there too,
    /// unless the settings name another one.
    /// The tokens are made on the command line: a workflow's of `app`, and an operator's.
    pub async fn serve_in(dir: tempfile::TempDir, app: &str, settings: &[(&str, &str)]) -> Self {
        let mut environment: BTreeMap<String, String> =
            settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        for (name, value) in [
            ("VESTIBULE__PUBLIC__LISTEN", "127.0.0.1:0".to_owned()),
            ("VESTIBULE__ADMIN__LISTEN", "127.0.0.1:0".to_owned()),
            ("VESTIBULE__SCANNER__ADDRESS", format!("unix:{}", harness::env("VESTIBULE_TEST_CLAMD_SOCKET"))),
            ("VESTIBULE__POLICIES__DIR", dir.path().join("policies").display().to_string()),
            ("VESTIBULE__SHUTDOWN__DRAIN", "0s".to_owned()),
            ("VESTIBULE__TELEMETRY__LOG", "json".to_owned()),
            ("VESTIBULE__TELEMETRY__FILTER", "info,vestibule=debug".to_owned()),
        ] {
            environment.entry(name.to_owned()).or_insert(value);
        }
        if !environment.contains_key("VESTIBULE__STORE__URL") {
            let database = dir.path().join("vestibule.db").display().to_string();
            environment.entry("VESTIBULE__STORE__PATH".to_owned()).or_insert(database);
        }
        let token = command_line(dir.path(), &environment, &["token", "create", "--app", app, "--workflow", "tests"]);
        let operator = command_line(dir.path(), &environment, &["token", "create", "--operator", "tests"]);
        Self::launch(dir, Mode::Serve, environment, Some((token, operator))).await
    }

    async fn launch(
        dir: tempfile::TempDir,
        mode: Mode,
        mut environment: BTreeMap<String, String>,
        tokens: Option<(String, String)>,
    ) -> Self {
        let binary = PathBuf::from(env!("CARGO_BIN_EXE_vestibule"));
        let (child, ready) = spawn(&binary, mode, dir.path(), &environment).await;
        let text = |name: &str| ready[name].as_str().unwrap_or_default().to_owned();
        let listeners: &[(&str, &str)] = match mode {
            Mode::Dev => &[("public", "PUBLIC"), ("admin", "ADMIN"), ("storage", "EMBEDDED")],
            Mode::Serve => &[("public", "PUBLIC"), ("admin", "ADMIN")],
        };
        // The next start on this directory takes the same ports, so that URLs go on working.
        for (name, setting) in listeners {
            let ready = text(name);
            let address = ready.split_once("://").map_or(ready.as_str(), |(_, address)| address).to_owned();
            environment.insert(format!("VESTIBULE__{setting}__LISTEN"), address);
        }
        let (token, admin_token) = tokens.unwrap_or_else(|| (text("token"), text("adminToken")));
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(Duration::from_secs(30))
            .build()
            .unwrap();
        Self {
            public: text("public"),
            admin: text("admin"),
            storage: text("storage"),
            token,
            admin_token,
            child,
            binary,
            mode,
            environment,
            dir,
            http,
        }
    }

    /// Runs the binary with the gateway's directory and environment: exit code, standard output, standard error.
    pub fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        run(&self.binary, self.dir.path(), &self.environment, arguments)
    }

    /// The same for a thread of its own.
    pub fn runner(&self) -> impl Fn(&[&str]) -> (i32, String, String) + Send + use<> {
        let (binary, dir, environment) = (self.binary.clone(), self.dir.path().to_owned(), self.environment.clone());
        move |arguments| run(&binary, &dir, &environment, arguments)
    }

    /// The same as another user of the operating system: who acts on the command line is told by `USER`.
    pub fn run_as(&self, user: &str, arguments: &[&str]) -> (i32, String, String) {
        let mut environment = self.environment.clone();
        environment.insert("USER".to_owned(), user.to_owned());
        run(&self.binary, self.dir.path(), &environment, arguments)
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

    /// Sends a signal, for example `TERM`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.pid().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits until the process has ended by itself; its exit code.
    pub async fn wait_for_end(&mut self) -> Option<i32> {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(started.elapsed() < PATIENCE, "the gateway does not end\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// SIGKILL: nothing is finished, flushed or said goodbye to.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGTERM: what is under way is finished first.
    pub fn stop(&mut self) {
        assert!(Command::new("kill").arg(self.pid().to_string()).status().unwrap().success());
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}\n{}", self.log());
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
        let (child, _) = spawn(&self.binary, self.mode, self.dir.path(), &self.environment).await;
        self.child = child;
    }

    /// Goes on as `vestibule serve` on the same directory and ports, as in production: nothing is asked for first.
    pub async fn go_on_as_serve(&mut self, settings: &[(&str, &str)]) {
        self.kill();
        let log = std::fs::OpenOptions::new().append(true).open(self.dir().join("gateway.log")).unwrap();
        self.child = Command::new(&self.binary)
            .args(["serve", "--config"])
            .arg(self.dir().join("vestibule.toml"))
            .envs(&self.environment)
            .envs(settings.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let started = Instant::now();
        while self.http.get(format!("{}/healthz", self.public)).send().await.is_err() {
            assert!(started.elapsed() < PATIENCE, "the gateway did not become ready\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
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
        let mut request = self.http.put(issued["uploadUrl"].as_str().unwrap());
        if bytes.is_empty() {
            // The client itself says nothing about the length of an empty body.
            request = request.header("content-length", "0");
        }
        request = request.body(bytes);
        for (name, value) in issued["headers"].as_object().unwrap() {
            if name != "content-length" {
                request = request.header(name, value.as_str().unwrap());
            }
        }
        request.send().await.unwrap().status().as_u16()
    }

    /// `DELETE` on the public listener as the `where2eat` workflow.
    pub async fn delete(&self, path: &str) -> (u16, Value) {
        answer(self.http.delete(format!("{}{path}", self.public)).bearer_auth(&self.token)).await
    }

    /// Uploads these bytes as a JPEG and waits until it is visible; its id.
    pub async fn visible_jpeg(&self, bytes: &[u8]) -> String {
        let issued = self.request_jpeg(bytes).await;
        assert_eq!(self.put(&issued, bytes.to_vec()).await, 200);
        let id = issued["objectId"].as_str().unwrap().to_owned();
        self.wait_for(&id, "visible").await;
        id
    }

    /// Sends SIGHUP and waits until the audit trail says that this reload was taken or refused; the outcome.
    pub async fn reload(&self) -> String {
        let reloads = || async {
            let (_, page) = self.admin_get("/admin/audit?limit=1000").await;
            let entries = page["entries"].as_array().cloned().unwrap_or_default();
            entries.into_iter().filter(|entry| entry["action"] == "reloadPolicy").collect::<Vec<_>>()
        };
        let before = reloads().await.len();
        self.signal("HUP");
        let started = Instant::now();
        loop {
            let now = reloads().await;
            if now.len() > before {
                return now[0]["outcome"].as_str().unwrap().to_owned();
            }
            assert!(started.elapsed() < PATIENCE, "nothing was reloaded\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
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

/// A data directory whose policies are the examples with edits: file, text to find, text to put there.
pub fn edited_policies(edits: &[(&str, &str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    std::fs::create_dir_all(dir.path().join("policies/apps")).unwrap();
    for (from, to) in [
        ("src/cli/dev/targets.toml", "targets.toml"),
        ("policies/classifications.toml", "classifications.toml"),
        ("policies/base.cedar", "base.cedar"),
        ("policies/owners.toml", "owners.toml"),
        ("policies/access.toml", "access.toml"),
        ("src/cli/dev/limits.toml", "limits.toml"),
        ("policies/apps/where2eat.toml", "apps/where2eat.toml"),
        ("policies/apps/finance-invoices.toml", "apps/finance-invoices.toml"),
        ("policies/apps/clinic-forms.toml", "apps/clinic-forms.toml"),
    ] {
        let text = std::fs::read_to_string(top.join(from)).unwrap();
        std::fs::write(dir.path().join("policies").join(to), text).unwrap();
    }
    for (file, old, new) in edits {
        edit_policy(dir.path(), file, old, new);
    }
    dir
}

/// Edits one policy file of a data directory.
pub fn edit_policy(dir: &Path, file: &str, old: &str, new: &str) {
    let path = dir.join("policies").join(file);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(old), "{file} does not say {old}");
    std::fs::write(&path, text.replace(old, new)).unwrap();
}

/// Waits until this instant is over: the end that an answer named.
pub async fn until(instant: jiff::Timestamp) {
    let left = instant.duration_since(vestibule::clock::Clock::system().now());
    tokio::time::sleep(Duration::try_from(left).unwrap_or_default() + Duration::from_millis(1)).await;
}

/// Status and JSON body of an answer; `null` for an empty one.
pub async fn answer(request: reqwest::RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let bytes = response.bytes().await.unwrap();
    (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
}

fn run(binary: &Path, dir: &Path, environment: &BTreeMap<String, String>, arguments: &[&str]) -> (i32, String, String) {
    let run = Command::new(binary)
        .args(arguments)
        .envs(environment)
        .env("VESTIBULE_CONFIG", dir.join("vestibule.toml"))
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (run.status.code().unwrap(), text(run.stdout), text(run.stderr))
}

/// What a command that must succeed printed.
fn command_line(dir: &Path, environment: &BTreeMap<String, String>, arguments: &[&str]) -> String {
    let (code, printed, errors) = run(Path::new(env!("CARGO_BIN_EXE_vestibule")), dir, environment, arguments);
    assert_eq!(code, 0, "{arguments:?}: {errors}");
    printed.trim().to_owned()
}

/// Starts the process and waits until it says where it listens.
async fn spawn(binary: &Path, mode: Mode, dir: &Path, environment: &BTreeMap<String, String>) -> (Child, Value) {
    let path = dir.join("gateway.log");
    let log = std::fs::OpenOptions::new().create(true).append(true).open(&path).unwrap();
    let before = usize::try_from(log.metadata().unwrap().len()).unwrap();
    let ready = dir.join("ready.json");
    let _ = std::fs::remove_file(&ready);
    let mut command = Command::new(binary);
    match mode {
        Mode::Dev => command.args(["dev", "--json", "--data"]).arg(dir),
        Mode::Serve => command.args(["serve", "--config"]).arg(dir.join("vestibule.toml")),
    };
    let mut child = command
        .envs(environment)
        .stdin(Stdio::null())
        .stdout(std::fs::File::create(&ready).unwrap())
        .stderr(log)
        .spawn()
        .unwrap();
    let started = Instant::now();
    loop {
        let logged = std::fs::read_to_string(&path).unwrap_or_default();
        let found = match mode {
            Mode::Dev => serde_json::from_str(&std::fs::read_to_string(&ready).unwrap_or_default()).ok(),
            Mode::Serve => logged.get(before..).and_then(listening),
        };
        if let Some(ready) = found {
            return (child, ready);
        }
        if let Ok(Some(status)) = child.try_wait() {
            panic!("the gateway ended with {status}:\n{logged}");
        }
        assert!(started.elapsed() < PATIENCE, "the gateway did not become ready:\n{logged}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The addresses of the line with which `serve` says that it listens.
fn listening(log: &str) -> Option<Value> {
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let line = lines.map(|line| line["fields"].clone()).find(|fields| fields["message"] == "listening")?;
    let origin = |name: &str| format!("http://{}", line[name].as_str().unwrap());
    Some(json!({ "public": origin("public"), "admin": origin("admin") }))
}
