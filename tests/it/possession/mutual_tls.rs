//! Tokens that are bound to a client certificate, with TLS at the gateway itself.

use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use reqwest::Identity;
use reqwest::tls::Version;
use serde_json::json;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::bound_token;
use crate::gateway::Gateway;
use crate::http_errors::{Answer, assert_problem, send};

pub(super) fn openssl(arguments: &[&str]) -> Vec<u8> {
    let made = std::process::Command::new("openssl").args(arguments).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    made.stdout
}

/// A key and a self-signed certificate: `NAME.pem` and `NAME-key.pem`.
pub(super) fn certificate(dir: &Path, name: &str) {
    let (shown, key) = (path(dir, &format!("{name}.pem")), path(dir, &format!("{name}-key.pem")));
    let subject = format!("/CN={name}");
    openssl(&[
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
        "-subj",
        &subject,
        "-addext",
        "subjectAltName=IP:127.0.0.1",
        "-keyout",
        &key,
        "-out",
        &shown,
    ]);
}

pub(super) fn path(dir: &Path, name: &str) -> String {
    dir.join(name).to_str().unwrap().to_owned()
}

/// The thumbprint of a certificate (RFC 8705 section 3.1), by openssl.
pub(super) fn thumbprint(dir: &Path, name: &str) -> String {
    let der = openssl(&["x509", "-in", &path(dir, &format!("{name}.pem")), "-outform", "DER"]);
    BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(der))
}

pub(super) struct Bench {
    pub(super) files: TempDir,
    pub(super) gateway: Gateway,
}

impl Bench {
    /// A gateway with TLS and these client certificates; its own and those of two clients lie beside each other.
    async fn start(client_certificates: &str) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), client_certificates, &[]).await
    }

    /// The same in a directory that may be prepared, with further settings.
    pub(super) async fn start_in(dir: TempDir, client_certificates: &str, settings: &[(&str, &str)]) -> Self {
        let files = tempfile::tempdir().unwrap();
        for name in ["gateway", "own", "other"] {
            certificate(files.path(), name);
        }
        let wanted = client_certificates.replace("FILES", files.path().to_str().unwrap());
        let (shown, key) = (path(files.path(), "gateway.pem"), path(files.path(), "gateway-key.pem"));
        let own = [
            ("VESTIBULE__PUBLIC__TLS__CERTIFICATE", shown.as_str()),
            ("VESTIBULE__PUBLIC__TLS__KEY", &key),
            ("VESTIBULE__PUBLIC__TLS__CLIENT_CERTIFICATES", &wanted),
        ];
        let gateway = Gateway::start_in(dir, &[&own, settings].concat()).await;
        Self { files, gateway }
    }

    pub(super) fn client(&self, certificate: Option<&str>, version: Version) -> reqwest::Client {
        let builder = reqwest::Client::builder()
            .tls_danger_accept_invalid_certs(true)
            .tls_version_min(version)
            .tls_version_max(version);
        let builder = match certificate {
            None => builder,
            Some(name) => {
                let read = |name: String| std::fs::read(self.files.path().join(name)).unwrap();
                let pem = [read(format!("{name}-key.pem")), read(format!("{name}.pem"))].concat();
                builder.identity(Identity::from_pem(&pem).unwrap())
            }
        };
        builder.build().unwrap()
    }

    pub(super) async fn ask(&self, certificate: Option<&str>, version: Version, token: &str) -> Answer {
        let url = format!("{}/limits", self.gateway.public);
        send(self.client(certificate, version).get(url).bearer_auth(token)).await
    }

    /// What the metadata say about certificates.
    async fn tells(&self) -> bool {
        let url = format!("{}/.well-known/oauth-authorization-server", self.gateway.public);
        let metadata = send(self.client(None, Version::TLS_1_3).get(url)).await;
        metadata.body["tls_client_certificate_bound_access_tokens"].as_bool().unwrap()
    }
}

#[tokio::test]
async fn a_token_that_is_bound_to_a_certificate_comes_with_it_or_is_refused() {
    let bench = Bench::start("any").await;
    let own = thumbprint(bench.files.path(), "own");
    let token = bound_token(&bench.gateway, &format!("x5t#S256:{own}")).await;
    for version in [Version::TLS_1_2, Version::TLS_1_3] {
        let accepted = bench.ask(Some("own"), version, &token).await;
        assert_eq!(accepted.status, 200, "{version:?}: {}", accepted.body);
        for certificate in [None, Some("other")] {
            let refused = bench.ask(certificate, version, &token).await;
            assert_problem(&refused, 401, "certificate_mismatch");
            assert!(refused.headers["www-authenticate"].to_str().unwrap().contains("error=\"invalid_token\""));
        }
        // Nobody is turned away for want of a certificate, or for one that is not needed.
        for certificate in [None, Some("own"), Some("other")] {
            assert_eq!(bench.ask(certificate, version, &bench.gateway.token).await.status, 200);
        }
    }
    assert!(bench.tells().await);
    // Each request of a kept connection, and each resumed session, shows the same certificate.
    let client = bench.client(Some("own"), Version::TLS_1_3);
    for _ in 0..3 {
        let url = format!("{}/limits", bench.gateway.public);
        assert_eq!(send(client.get(url).bearer_auth(&token)).await.status, 200);
    }
    // A certificate is public: to send it along proves nothing.
    let der = openssl(&["x509", "-in", &path(bench.files.path(), "own.pem"), "-outform", "DER"]);
    let claimed = format!(":{}:", base64::prelude::BASE64_STANDARD.encode(der));
    let request = bench.client(Some("other"), Version::TLS_1_3).get(format!("{}/limits", bench.gateway.public));
    let refused = send(request.bearer_auth(&token).header("client-cert", claimed)).await;
    assert_problem(&refused, 401, "certificate_mismatch");
    // Nor is it a DPoP token.
    let request = bench.client(Some("own"), Version::TLS_1_3).get(format!("{}/limits", bench.gateway.public));
    let refused = send(request.header("authorization", format!("DPoP {token}"))).await;
    assert_problem(&refused, 401, "token_invalid");
}

#[tokio::test]
async fn where_authorities_are_named_only_theirs_are_taken() {
    let bench = Bench::start(r#"{ "ca": "FILES/own.pem" }"#).await;
    let own = thumbprint(bench.files.path(), "own");
    let token = bound_token(&bench.gateway, &format!("x5t#S256:{own}")).await;
    let dir = bench.files.path();
    // `own` is an authority here: it signs a client's certificate, which is its own and not the authority's.
    let request = openssl(&[
        "req",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-subj",
        "/CN=signed",
        "-keyout",
        &path(dir, "signed-key.pem"),
    ]);
    std::fs::write(dir.join("signed.csr"), request).unwrap();
    std::fs::write(dir.join("extensions"), "basicConstraints=CA:FALSE\n").unwrap();
    openssl(&[
        "x509",
        "-req",
        "-in",
        &path(dir, "signed.csr"),
        "-CA",
        &path(dir, "own.pem"),
        "-CAkey",
        &path(dir, "own-key.pem"),
        "-extfile",
        &path(dir, "extensions"),
        "-days",
        "2",
        "-out",
        &path(dir, "signed.pem"),
    ]);
    let signed = bound_token(&bench.gateway, &format!("x5t#S256:{}", thumbprint(dir, "signed"))).await;
    assert_eq!(bench.ask(Some("signed"), Version::TLS_1_3, &signed).await.status, 200);
    assert_problem(&bench.ask(Some("signed"), Version::TLS_1_3, &token).await, 401, "certificate_mismatch");
    assert_eq!(bench.ask(None, Version::TLS_1_3, &bench.gateway.token).await.status, 200);
    let url = format!("{}/limits", bench.gateway.public);
    let stranger = bench.client(Some("other"), Version::TLS_1_2).get(url).bearer_auth(&bench.gateway.token);
    assert!(stranger.send().await.is_err(), "the handshake ends");
}

#[tokio::test]
async fn where_none_is_asked_for_none_is_shown() {
    let bench = Bench::start("off").await;
    let own = thumbprint(bench.files.path(), "own");
    let token = bound_token(&bench.gateway, &format!("x5t#S256:{own}")).await;
    assert_problem(&bench.ask(Some("own"), Version::TLS_1_3, &token).await, 401, "certificate_mismatch");
    assert!(!bench.tells().await);
}

#[tokio::test]
async fn a_listed_proxys_own_certificate_is_nobodys() {
    // It shows one to the gateway, and tells nothing about those of its clients.
    let behind = Bench::start_in(
        tempfile::tempdir().unwrap(),
        "any",
        &[("VESTIBULE__PUBLIC__TRUSTED_PROXIES", "[\"127.0.0.1\"]")],
    )
    .await;
    let own = thumbprint(behind.files.path(), "own");
    let token = bound_token(&behind.gateway, &format!("x5t#S256:{own}")).await;
    assert_problem(&behind.ask(Some("own"), Version::TLS_1_3, &token).await, 401, "certificate_mismatch");
    assert_eq!(behind.ask(Some("own"), Version::TLS_1_3, &behind.gateway.token).await.status, 200);
    // Nor does a token that is asked for through it become bound to it.
    let body = json!({ "actions": ["read"] });
    let request = behind.client(Some("own"), Version::TLS_1_3).post(format!("{}/exchange", behind.gateway.public));
    let given = send(request.bearer_auth(&behind.gateway.token).json(&body)).await;
    assert_eq!((given.status, &given.body["binding"]), (200, &serde_json::Value::Null), "{}", given.body);
}

#[tokio::test]
async fn tokens_are_bound_on_the_command_line_and_over_the_admin_api() {
    let files = tempfile::tempdir().unwrap();
    certificate(files.path(), "own");
    let gateway = Gateway::start().await;
    let shown = path(files.path(), "own.pem");
    let make = ["token", "create", "--app", "where2eat", "--workflow", "bound"];
    let with = |arguments: &[&str]| gateway.run(&[&make[..], arguments].concat());
    let (status, token, told) = with(&["--bind-certificate", &shown]);
    assert_eq!(status, 0, "{told}");
    let refused = send(gateway.http.get(format!("{}/limits", gateway.public)).bearer_auth(token.trim())).await;
    assert_problem(&refused, 401, "certificate_mismatch");
    let jkt = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";
    assert_eq!(with(&["--bind-jkt", jkt]).0, 0);
    for wrong in [
        &["--bind-jkt", "short"][..],
        &["--bind-certificate", "/nowhere"],
        &["--bind-jkt", jkt, "--bind-certificate", &shown],
    ] {
        assert_ne!(with(wrong).0, 0, "{wrong:?}");
    }

    let (_, list) = gateway.admin_get("/admin/tokens").await;
    let bindings: Vec<&str> =
        list["tokens"].as_array().unwrap().iter().filter_map(|token| token["binding"].as_str()).collect();
    let own = format!("x5t#S256:{}", thumbprint(files.path(), "own"));
    assert!(bindings.contains(&format!("jkt:{jkt}").as_str()) && bindings.contains(&own.as_str()), "{list}");
    let body = json!({ "app": "where2eat", "workflow": "bound", "binding": "jkt:short" });
    let (status, problem) = gateway.admin_post("/admin/tokens", body).await;
    assert_eq!((status, problem["code"].as_str()), (400, Some("invalid_field")), "{problem}");
    let (status, problem) = gateway.admin_post("/admin/tokens", json!({ "operator": "ada", "binding": own })).await;
    assert_eq!(status, 400, "no operator's token is bound: {problem}");
}
