//! The identity provider of the tests, and Node programs that are independent clients of the gateway.
//!
//! The provider is the certified `oidc-provider` that `localstack/up oidc` starts; all tests share one, and a test that
//! rotates or hides its keys starts its own. The programs in `tests/it/node/` know nothing of ours: they speak to the
//! gateway through `oauth4webapi`, which refuses answers that do not follow the standards.

mod client;
mod outage;
mod silence;

pub use client::RESOURCE;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::gateway::Gateway;
use crate::harness;

/// A running provider.
pub struct Provider {
    /// Its issuer, for example `http://127.0.0.1:4400`.
    pub issuer: String,
    own: Option<Child>,
    http: reqwest::Client,
}

impl Provider {
    /// The one that all tests share; its keys stay.
    pub fn shared() -> Self {
        Self { issuer: harness::env("VESTIBULE_TEST_OIDC_ISSUER"), own: None, http: reqwest::Client::new() }
    }

    /// One of the test's own, which ends with it.
    pub fn start() -> Self {
        let program = home().join("provider.mjs");
        let mut child =
            Command::new("node").arg(program).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("node");
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.starts_with("http://"), "the provider did not start: {line:?}");
        Self { issuer: line.trim().to_owned(), own: Some(child), http: reqwest::Client::new() }
    }

    /// Logs a person in by the code flow with PKCE; the token response. With a resource, the access token is a JWT for it.
    pub async fn login(&self, user: &str, client: &str, resource: Option<&str>) -> Value {
        self.ask("login", json!({ "user": user, "client": client, "resource": resource })).await
    }

    /// The `id_token` of a person who logged in.
    pub async fn id_token(&self, user: &str, client: &str) -> String {
        self.login(user, client, None).await["id_token"].as_str().unwrap().to_owned()
    }

    /// A JWT of exactly these parts, signed with the provider's newest key of `header.alg` (ES256 where absent).
    pub async fn sign(&self, header: Value, claims: Value) -> String {
        let signed = self.ask("sign", json!({ "header": header, "claims": claims })).await;
        signed["jwt"].as_str().unwrap().to_owned()
    }

    /// New signing keys. With `forget` the earlier ones are no longer published.
    pub async fn rotate(&self, forget: bool) {
        assert!(self.own.is_some(), "the keys of the shared provider stay");
        self.ask("rotate", json!({ "forget": forget })).await;
    }

    /// From now on its keys cannot be read, or can again.
    pub async fn keys_away(&self, away: bool) {
        assert!(self.own.is_some(), "the shared provider stays");
        self.ask("jwks", json!({ "away": away })).await;
    }

    /// How often its keys were asked for.
    pub async fn keys_reads(&self) -> u64 {
        let answer = self.http.get(format!("{}/test/jwks", self.issuer)).send().await.unwrap();
        let told: Value = answer.json().await.unwrap();
        told["reads"].as_u64().unwrap()
    }

    /// An access token of the client `platform` for itself (RFC 6749 section 4.4): no person has logged in.
    pub async fn clients_own_token(&self, resource: &str) -> String {
        let form = [("grant_type", "client_credentials"), ("resource", resource)];
        let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let request = self.http.post(format!("{}/token", self.issuer)).body(form);
        let request = request.basic_auth("platform", Some("the-platform-secret-of-the-tests"));
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        let answer: Value = request.send().await.unwrap().json().await.unwrap();
        answer["access_token"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    }

    async fn ask(&self, what: &str, body: Value) -> Value {
        let answer =
            self.http.post(format!("{}/test/{what}", self.issuer)).body(body.to_string()).send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "{what} {body}: {status} {text}");
        serde_json::from_str(&text).unwrap()
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        if let Some(child) = &mut self.own {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The setting `identity.issuers` with which a gateway trusts this provider, as JSON.
pub fn issuers(provider: &Provider) -> String {
    json!([{
        "name": "company",
        "issuer": provider.issuer,
        "environment": "live",
        "clients": ["analyst-page", "platform"],
        "audiences": [client::RESOURCE],
        "tokens": ["id_token", "access_token"],
        "algorithms": ["RS256", "ES256"],
        "claims": { "role": "role", "project": "project", "device": "device", "device_attested": "device_attested" },
        "operators": { "audience": "operators", "claim": "groups", "viewer": ["vestibule-viewers"],
            "reviewer": ["vestibule-reviewers"], "provisioner": ["vestibule-provisioners"], "admin": ["vestibule-admins"] },
    }])
    .to_string()
}

/// A gateway that trusts the provider's clients of the tests, on a directory whose policies have been prepared; people get
/// tokens of the app `where2eat`.
pub async fn trusting(provider: &Provider, dir: tempfile::TempDir) -> Gateway {
    trusting_with(provider, dir, &[]).await
}

/// [`trusting`], with further settings.
pub async fn trusting_with(provider: &Provider, dir: tempfile::TempDir, settings: &[(&str, &str)]) -> Gateway {
    crate::gateway::edit_policy(
        dir.path(),
        "apps/where2eat.toml",
        "clients = [\"where2eat-page\"]",
        "clients = [\"analyst-page\", \"platform\"]",
    );
    let issuers = issuers(provider);
    let own = [("VESTIBULE__IDENTITY__ISSUERS", issuers.as_str())];
    Gateway::start_in(dir, &[&own, settings].concat()).await
}

fn home() -> PathBuf {
    harness::env("VESTIBULE_TEST_OIDC_HOME").into()
}

/// Runs a program of `tests/it/node/` with this input; the JSON that it printed. Packages are found beside the provider.
pub async fn node(program: &str, input: Value) -> Value {
    let dir = node_dir();
    let path = dir.path().join(program);
    let run = tokio::process::Command::new("node").arg(path).arg(input.to_string()).kill_on_drop(true).output();
    let run = tokio::time::timeout(std::time::Duration::from_secs(120), run).await.expect("the program ends").unwrap();
    let (printed, errors) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success(), "{program}: {}\n{printed}\n{errors}", run.status);
    serde_json::from_str(printed.trim()).unwrap_or_else(|error| panic!("{program}: {error}\n{printed}\n{errors}"))
}

/// A directory with the programs and a link to the packages: Node looks for packages beside a program.
pub fn node_dir() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let programs = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/node");
    for entry in std::fs::read_dir(programs).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), dir.path().join(entry.file_name())).unwrap();
    }
    std::os::unix::fs::symlink(home().join("node_modules"), dir.path().join("node_modules")).unwrap();
    dir
}

#[tokio::test]
async fn anybody_can_log_in_and_an_independent_client_believes_the_tokens() {
    let provider = Provider::shared();
    let tokens = provider.login("analyst", "platform", Some("https://vestibule.example/")).await;
    let access = tokens["access_token"].as_str().unwrap();
    assert_eq!(header(access)["typ"], "at+jwt");
    let signed = provider.sign(json!({}), json!({ "iss": provider.issuer, "sub": "anybody" })).await;
    let issuer = &provider.issuer;
    let input =
        json!({ "issuer": issuer, "tokens": [provider.id_token("clinician", "analyst-page").await, access, signed] });
    let claims = node("verify.mjs", input).await;
    assert_eq!((&claims[0]["role"], &claims[0]["aud"]), (&json!("clinician"), &json!("analyst-page")), "{claims}");
    assert_eq!((&claims[1]["client_id"], &claims[1]["project"]), (&json!("platform"), &json!("menus")), "{claims}");
    assert_eq!(claims[2]["sub"], "anybody");
}

#[tokio::test]
async fn the_keys_of_a_provider_of_ones_own_rotate_on_demand() {
    let provider = Provider::start();
    let before = header(&provider.id_token("analyst", "platform").await);
    provider.rotate(true).await;
    let after = header(&provider.id_token("analyst", "platform").await);
    assert!(before["alg"] == "RS256" && after["alg"] == "RS256" && after["kid"] != before["kid"], "{after}");
}

fn header(jwt: &str) -> Value {
    use base64::Engine;
    let part = jwt.split('.').next().unwrap();
    serde_json::from_slice(&base64::prelude::BASE64_URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}
