//! The form of requests, what clients find out by themselves, and pages of other origins.

use reqwest::Method;
use serde_json::{Value, json};

use super::{ACCESS_TOKEN, Bench, GRANT, ID_TOKEN, part, photo, refused, token};
use crate::http_errors::{Answer, send};

const ORIGIN: &str = "https://where2eat.example.com";

#[tokio::test]
async fn requests_that_are_no_exchange_are_told_why() {
    let bench = Bench::start().await;
    let subject = bench.id_token(|_| ());
    let good = [("grant_type", GRANT), ("subject_token", subject.as_str()), ("subject_token_type", ID_TOKEN)];
    let with = async |name: &str, value: &str| -> Answer {
        let mut form: Vec<(&str, &str)> = good.into_iter().filter(|(own, _)| *own != name).collect();
        form.push((name, value));
        send(bench.form("/oauth/token", &form)).await
    };
    assert_eq!(with("requested_token_type", ACCESS_TOKEN).await.status, 200);
    assert_eq!(with("unknown", "ignored").await.status, 200, "RFC 6749 section 3.2");
    assert_eq!(with("actor_token", "").await.status, 200, "without a value it is not there");
    for (name, value, error, code) in [
        ("grant_type", "client_credentials", "unsupported_grant_type", "grant_type_unsupported"),
        ("grant_type", "refresh_token", "unsupported_grant_type", "grant_type_unsupported"),
        ("grant_type", "", "invalid_request", "invalid_field"),
        ("subject_token", "", "invalid_request", "invalid_field"),
        ("subject_token_type", "", "invalid_request", "invalid_field"),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:saml2", "invalid_request", "token_type_unsupported"),
        (
            "requested_token_type",
            "urn:ietf:params:oauth:token-type:refresh_token",
            "invalid_request",
            "token_type_unsupported",
        ),
        ("actor_token", subject.as_str(), "invalid_request", "token_type_unsupported"),
        ("ttl", "soon", "invalid_request", "invalid_field"),
        ("ttl", "0", "invalid_request", "invalid_field"),
        ("ttl", "-1", "invalid_request", "invalid_field"),
    ] {
        refused(&with(name, value).await, 400, error, code);
    }
    let mut twice = good.to_vec();
    twice.push(("subject_token", &subject));
    refused(&send(bench.form("/oauth/token", &twice)).await, 400, "invalid_request", "invalid_field");
    let two = bench.form("/oauth/token", &good).bearer_auth(&bench.gateway.token);
    refused(&send(two).await, 400, "invalid_request", "malformed_request");
    let json = bench.gateway.http.post(format!("{}/oauth/token", bench.gateway.public)).json(&json!({}));
    refused(&send(json).await, 415, "invalid_request", "unsupported_media_type");
    let same = send(bench.form("/exchange", &good)).await;
    assert_eq!(same.status, 200, "the form is taken there too: {}", same.body);
    let none = send(bench.gateway.http.post(format!("{}/exchange", bench.gateway.public)).json(&json!({}))).await;
    assert_eq!((none.status, none.body["code"].as_str()), (401, Some("token_missing")), "{}", none.body);
}

#[tokio::test]
async fn clients_find_out_where_everything_is() {
    let bench = Bench::start().await;
    let public = &bench.gateway.public;
    let get = async |path: &str| send(bench.gateway.http.get(format!("{public}{path}")).header("origin", ORIGIN)).await;
    let metadata = get("/.well-known/oauth-authorization-server").await;
    assert_eq!(metadata.headers["cache-control"], "public, max-age=3600");
    assert_eq!(metadata.headers["access-control-allow-origin"], ORIGIN);
    let of = |name: &str| metadata.body[name].clone();
    assert_eq!(of("issuer"), json!(public));
    assert_eq!(of("grant_types_supported"), json!([GRANT]));
    assert_eq!(of("response_types_supported"), json!([]));
    assert_eq!(of("token_endpoint_auth_methods_supported"), json!(["none"]));
    assert!(of("dpop_signing_alg_values_supported").as_array().unwrap().contains(&json!("ES256")));
    let asks = of("introspection_endpoint_auth_methods_supported");
    assert_eq!(asks, json!(["client_secret_basic", "Bearer", "DPoP"]), "as the registries write them");
    assert_eq!(of("tls_client_certificate_bound_access_tokens"), json!(false), "nobody is asked for a certificate");
    for (name, status) in [("token_endpoint", 415), ("introspection_endpoint", 401), ("revocation_endpoint", 415)] {
        let url = of(name).as_str().unwrap().to_owned();
        assert_eq!(send(bench.gateway.http.post(url)).await.status, status, "{name}");
    }
    assert_eq!(of("jwks_uri"), json!(format!("{public}/.well-known/jwks.json")));
    let keys = get("/.well-known/jwks.json").await;
    assert_eq!(keys.headers["cache-control"], "public, max-age=300");
    let key = keys.body["keys"][0].as_object().unwrap();
    assert!(["d", "k"].iter().all(|private| !key.contains_key(*private)), "{key:?}");
    assert_eq!((&key["kty"], &key["alg"], &key["use"]), (&json!("EC"), &json!("ES256"), &json!("sig")));
    assert_eq!(get("/.well-known/jwks.json").await.body, keys.body, "the key stays");
}

#[tokio::test]
async fn a_revoked_signing_key_ends_its_tokens_and_nobody_waits_for_the_next_one() {
    let bench = Bench::start().await;
    let exchanged = async || token(&bench.exchange(&bench.id_token(|_| ()), &[("audience", "where2eat")]).await);
    let kid = |token: &str| part(token, 0)["kid"].as_str().unwrap().to_owned();
    let uploads = async |token: &str| bench.json("/request-upload", token, photo()).await.status;
    let old = exchanged().await;
    assert_eq!(uploads(&old).await, 201);
    let revocation = json!({ "kind": "key", "id": kid(&old), "reason": "a copy of it was found" });
    let (status, told) = bench.gateway.admin_post("/admin/revocations", revocation).await;
    assert_eq!((status, &told["killed"]), (201, &json!(1)), "{told}");

    let new = exchanged().await;
    assert_ne!(kid(&new), kid(&old));
    assert_eq!((uploads(&old).await, uploads(&new).await), (401, 201));
    let keys = send(bench.gateway.http.get(format!("{}/.well-known/jwks.json", bench.gateway.public))).await;
    let published: Vec<_> = keys.body["keys"].as_array().unwrap().iter().map(|key| key["kid"].clone()).collect();
    assert_eq!(published, [json!(kid(&new))]);
    let made = bench.audited("rotateKey").await;
    assert!(made["detail"].as_str().unwrap().ends_with(&format!("{} was revoked", kid(&old))), "{made}");

    // Nobody is told that a revoked key is accepted for a while.
    let revocation = json!({ "kind": "key", "id": kid(&new), "reason": "a copy of it was found, too" });
    assert_eq!(bench.gateway.admin_post("/admin/revocations", revocation).await.0, 201);
    let (status, rotated) = bench.gateway.admin_post("/admin/keys/token-signing/rotate", json!({})).await;
    assert_eq!((status, rotated.get("previousKeyId"), rotated.get("previousAcceptedUntil")), (201, None, None));
    let made = bench.audited("rotateKey").await;
    assert!(made["detail"].as_str().unwrap().ends_with("none before it is in use"), "{made}");
    let (_, next) = bench.gateway.admin_post("/admin/keys/token-signing/rotate", json!({})).await;
    assert_eq!(next["previousKeyId"], rotated["keyId"], "{next}");
    assert!(next["previousAcceptedUntil"].is_string(), "{next}");
}

#[tokio::test]
async fn a_page_of_the_app_may_exchange_and_no_other() {
    let bench = Bench::start().await;
    for path in ["/exchange", "/oauth/token", "/issue-token", "/revoke"] {
        let url = format!("{}{path}", bench.gateway.public);
        let preflight = |origin: &str| {
            let request = bench.gateway.http.request(Method::OPTIONS, &url).header("origin", origin);
            request
                .header("access-control-request-method", "POST")
                .header("access-control-request-headers", "authorization,content-type")
        };
        let allowed = send(preflight(ORIGIN)).await;
        assert_eq!(
            (allowed.status, allowed.headers["access-control-allow-origin"].to_str().unwrap()),
            (204, ORIGIN),
            "{path}"
        );
        assert!(allowed.headers["access-control-allow-headers"].to_str().unwrap().contains("authorization"));
        assert!(
            !send(preflight("https://evil.example")).await.headers.contains_key("access-control-allow-origin"),
            "{path}"
        );
    }
    let exchange = |origin: &str, body: Value| {
        let request = bench.gateway.http.post(format!("{}/exchange", bench.gateway.public));
        request.bearer_auth(bench.id_token(|_| ())).header("origin", origin).json(&body)
    };
    let given = send(exchange(ORIGIN, json!({ "audience": "where2eat" }))).await;
    assert_eq!((given.status, given.headers["access-control-allow-origin"].to_str().unwrap()), (200, ORIGIN));
    let told = send(exchange(ORIGIN, json!({ "audience": "nothing" }))).await;
    assert_eq!((told.status, told.headers["access-control-allow-origin"].to_str().unwrap()), (400, ORIGIN));
    let other = send(exchange("https://evil.example", json!({ "audience": "where2eat" }))).await;
    assert!(!other.headers.contains_key("access-control-allow-origin"));
}
