//! TLS at the gateway itself, and the client's address behind a proxy.

use std::path::Path;

use serde_json::json;

use crate::gateway::Gateway;
use crate::http_errors::send;

fn certificate(dir: &Path, name: &str) {
    let made = std::process::Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"])
        .args(["-subj", &format!("/CN={name}"), "-addext", "subjectAltName=IP:127.0.0.1"])
        .arg("-keyout")
        .arg(dir.join("key.pem"))
        .arg("-out")
        .arg(dir.join("certificate.pem"))
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// A client that looks at certificates and trusts any.
fn client() -> reqwest::Client {
    reqwest::Client::builder().tls_danger_accept_invalid_certs(true).tls_info(true).build().unwrap()
}

async fn served(client: &reqwest::Client, url: &str) -> Vec<u8> {
    let answer = client.get(url).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let shown = answer.extensions().get::<reqwest::tls::TlsInfo>().unwrap().peer_certificate().unwrap().to_vec();
    answer.bytes().await.unwrap();
    shown
}

#[tokio::test]
async fn a_new_certificate_is_taken_without_dropping_a_connection() {
    let files = tempfile::tempdir().unwrap();
    certificate(files.path(), "first");
    let (shown, key) = (files.path().join("certificate.pem"), files.path().join("key.pem"));
    let gateway = Gateway::start_with(&[
        ("VESTIBULE__PUBLIC__TLS__CERTIFICATE", shown.to_str().unwrap()),
        ("VESTIBULE__PUBLIC__TLS__KEY", key.to_str().unwrap()),
    ])
    .await;
    assert!(gateway.public.starts_with("https://"), "{}", gateway.public);
    let url = format!("{}/healthz", gateway.public);
    let early = client();
    let first = served(&early, &url).await;
    let plain = url.replace("https://", "http://");
    assert!(gateway.http.get(plain).send().await.map_or(true, |answer| !answer.status().is_success()));

    certificate(files.path(), "second");
    assert_eq!(gateway.reload().await, "allowed");
    let second = served(&client(), &url).await;
    assert_ne!(first, second, "a new connection sees the new certificate");
    assert_eq!(served(&early, &url).await, first, "the old connection is still there");

    // Files that cannot be used change nothing.
    std::fs::write(&shown, "no certificate").unwrap();
    assert_eq!(gateway.reload().await, "allowed");
    assert_eq!(served(&client(), &url).await, second);
}

async fn recorded_source(settings: &[(&str, &str)], forwarded: &str) -> String {
    let gateway = Gateway::start_with(settings).await;
    let body = json!({ "filename": "m.jpg", "size": 10, "contentType": "image/jpeg" });
    let request = gateway.http.post(format!("{}/request-upload", gateway.public)).bearer_auth(&gateway.token);
    let issued = send(request.header("x-forwarded-for", forwarded).json(&body)).await;
    let id = issued.body["objectId"].as_str().unwrap();
    let (_, page) = gateway.admin_get(&format!("/admin/audit?object={id}")).await;
    page["entries"][0]["sourceAddress"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_forwarded_address_is_believed_from_a_listed_proxy_only() {
    let sent = "203.0.113.7, 198.51.100.2";
    assert_eq!(recorded_source(&[], sent).await, "127.0.0.1");
    let listed = [("VESTIBULE__PUBLIC__TRUSTED_PROXIES", "[\"127.0.0.1\"]")];
    assert_eq!(
        recorded_source(&listed, sent).await,
        "198.51.100.2",
        "what a client wrote before the proxy is not believed"
    );
    let two = [("VESTIBULE__PUBLIC__TRUSTED_PROXIES", "[\"127.0.0.1\",\"198.51.100.2\"]")];
    assert_eq!(recorded_source(&two, sent).await, "203.0.113.7");
}
