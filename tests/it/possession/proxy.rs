//! Client certificates behind a proxy that ends TLS: a header, believed from the listed proxies alone.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tempfile::TempDir;

use super::bound_token;
use super::mutual_tls::{certificate, openssl, path, thumbprint};
use crate::gateway::Gateway;
use crate::http_errors::{Answer, assert_problem, send};

pub(super) struct Bench {
    pub(super) files: TempDir,
    pub(super) gateway: Gateway,
    token: String,
}

impl Bench {
    pub(super) async fn start(settings: &[(&str, &str)]) -> Self {
        let files = tempfile::tempdir().unwrap();
        certificate(files.path(), "own");
        certificate(files.path(), "other");
        let gateway = Gateway::start_with(settings).await;
        let token = bound_token(&gateway, &format!("x5t#S256:{}", thumbprint(files.path(), "own"))).await;
        Self { files, gateway, token }
    }

    /// As RFC 9440 writes it.
    pub(super) fn encoded(&self, name: &str) -> String {
        let pem = path(self.files.path(), &format!("{name}.pem"));
        format!(":{}:", BASE64_STANDARD.encode(openssl(&["x509", "-in", &pem, "-outform", "DER"])))
    }

    /// As nginx writes it in `$ssl_client_escaped_cert`.
    fn escaped(&self, name: &str) -> String {
        let pem = std::fs::read_to_string(self.files.path().join(format!("{name}.pem"))).unwrap();
        utf8_percent_encode(&pem, NON_ALPHANUMERIC).to_string()
    }

    pub(super) async fn ask(&self, token: &str, headers: &[&str]) -> Answer {
        let request = self.gateway.http.get(format!("{}/limits", self.gateway.public)).bearer_auth(token);
        send(headers.iter().fold(request, |request, value| request.header("client-cert", *value))).await
    }
}

pub(super) const HEADER: (&str, &str) = ("VESTIBULE__PUBLIC__CLIENT_CERTIFICATE_HEADER", "Client-Cert");
pub(super) const LISTED: (&str, &str) = ("VESTIBULE__PUBLIC__TRUSTED_PROXIES", "[\"127.0.0.1\"]");

#[tokio::test]
async fn a_listed_proxy_tells_the_clients_certificate() {
    let bench = Bench::start(&[HEADER, LISTED]).await;
    for told in [bench.encoded("own"), bench.escaped("own"), bench.escaped("own") + &bench.escaped("other")] {
        let accepted = bench.ask(&bench.token, &[&told]).await;
        assert_eq!(accepted.status, 200, "{}", accepted.body);
    }
    let metadata = bench.gateway.http.get(format!("{}/.well-known/oauth-authorization-server", bench.gateway.public));
    assert_eq!(send(metadata).await.body["tls_client_certificate_bound_access_tokens"], true);
    let (own, other) = (bench.encoded("own"), bench.encoded("other"));
    for told in [
        &[][..],
        &[other.as_str()],
        &[own.as_str(), other.as_str()],
        &[own.as_str(), own.as_str()],
        &[""],
        &["::"],
        &[own.trim_matches(':')],
    ] {
        assert_problem(&bench.ask(&bench.token, told).await, 401, "certificate_mismatch");
    }
    assert_eq!(bench.ask(&bench.gateway.token, &[&other]).await.status, 200, "a token that is bound to nothing");
}

#[tokio::test]
async fn nobody_else_tells_a_certificate() {
    let stranger = Bench::start(&[HEADER, ("VESTIBULE__PUBLIC__TRUSTED_PROXIES", "[\"192.0.2.1\"]")]).await;
    let smuggled = stranger.ask(&stranger.token, &[&stranger.encoded("own")]).await;
    assert_problem(&smuggled, 401, "certificate_mismatch");
    assert!(smuggled.body["detail"].as_str().unwrap().contains("own proxies only"), "{}", smuggled.body);
    // Nor by saying that a proxy stood in between.
    let request = stranger.gateway.http.get(format!("{}/limits", stranger.gateway.public)).bearer_auth(&stranger.token);
    let request = request.header("x-forwarded-for", "192.0.2.1").header("client-cert", stranger.encoded("own"));
    assert_problem(&send(request).await, 401, "certificate_mismatch");

    let unset = Bench::start(&[LISTED]).await;
    let ignored = unset.ask(&unset.token, &[&unset.encoded("own")]).await;
    assert_problem(&ignored, 401, "certificate_mismatch");
}
