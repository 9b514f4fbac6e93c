//! Tokens that are bound at the token endpoint to the client's certificate (RFC 8705 section 3): to that of the connection,
//! or to the one that a proxy tells.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use reqwest::RequestBuilder;
use reqwest::tls::Version;
use serde_json::{Value, json};
use vestibule::clock::Clock;

use super::mutual_tls::thumbprint;
use super::{mutual_tls, proxy};
use crate::gateway::edited_policies;
use crate::http_errors::{Answer, assert_problem, send};
use crate::oidc::provider::{Key, Provider};

/// Who signs people in.
struct People {
    provider: Provider,
    key: Key,
}

impl People {
    async fn start() -> Self {
        let key = Key::es256("own");
        Self { provider: Provider::start(&[&key]).await, key }
    }

    /// The setting with which a gateway trusts it.
    fn issuers(&self) -> String {
        json!([{ "name": "company", "issuer": self.provider.issuer, "environment": "live", "algorithms": ["ES256"],
            "clients": ["where2eat-page"] }])
        .to_string()
    }

    /// Completes a request for a token of `where2eat`, in the form of RFC 8693.
    async fn exchange(&self, request: RequestBuilder) -> Answer {
        let now = Clock::system().now().as_second();
        let claims = json!({ "iss": self.provider.issuer, "sub": "anna", "aud": "where2eat-page", "iat": now, "exp": now + 600 });
        let form = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("audience", "where2eat"),
            ("subject_token", &self.key.sign(json!({}), &claims)),
            ("subject_token_type", "urn:ietf:params:oauth:token-type:id_token"),
        ];
        send(with_form(request, &form)).await
    }
}

fn with_form(request: RequestBuilder, form: &[(&str, &str)]) -> RequestBuilder {
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    request.header("content-type", "application/x-www-form-urlencoded").body(body)
}

/// The token of an answer that says, and whose token says, that it is bound to this certificate.
fn bound(answer: &Answer, thumbprint: &str) -> String {
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.body["binding"], format!("x5t#S256:{thumbprint}"), "{}", answer.body);
    assert_eq!(answer.body["token_type"], "Bearer", "{}", answer.body);
    let token = answer.body["access_token"].as_str().unwrap();
    let claims = BASE64_URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    assert_eq!(claims["cnf"], json!({ "x5t#S256": thumbprint }), "{claims}");
    token.to_owned()
}

#[tokio::test]
async fn a_token_is_bound_to_the_certificate_of_the_connection_it_was_asked_for_on() {
    let people = People::start().await;
    let issuers = people.issuers();
    let settings = [("VESTIBULE__IDENTITY__ISSUERS", issuers.as_str())];
    let bench = mutual_tls::Bench::start_in(tempfile::tempdir().unwrap(), "any", &settings).await;
    let own = thumbprint(bench.files.path(), "own");
    let url = |path: &str| format!("{}{path}", bench.gateway.public);
    for version in [Version::TLS_1_2, Version::TLS_1_3] {
        let token = bound(&people.exchange(bench.client(Some("own"), version).post(url("/oauth/token"))).await, &own);
        assert_eq!(bench.ask(Some("own"), version, &token).await.status, 200, "{version:?}");
        for certificate in [None, Some("other")] {
            assert_problem(&bench.ask(certificate, version, &token).await, 401, "certificate_mismatch");
        }
        let ask = bench.client(None, version).post(url("/introspect")).bearer_auth(&bench.gateway.token);
        let told = send(with_form(ask, &[("token", &token)])).await;
        assert_eq!((told.status, &told.body["active"]), (200, &json!(true)), "{}", told.body);
        assert_eq!(told.body["cnf"], json!({ "x5t#S256": own }), "{}", told.body);
    }
    // Who shows none gets a token that is bound to none.
    let unbound = people.exchange(bench.client(None, Version::TLS_1_3).post(url("/oauth/token"))).await;
    assert_eq!((unbound.status, &unbound.body["binding"]), (200, &Value::Null), "{}", unbound.body);
}

#[tokio::test]
async fn an_app_that_demands_a_certificate_gives_and_serves_tokens_that_are_bound_to_one() {
    let people = People::start().await;
    let issuers = people.issuers();
    let dir = edited_policies(&[("apps/where2eat.toml", "owner = ", "proof_of_possession = \"mtls\"\nowner = ")]);
    let settings = [("VESTIBULE__IDENTITY__ISSUERS", issuers.as_str())];
    let bench = mutual_tls::Bench::start_in(dir, "any", &settings).await;
    let own = thumbprint(bench.files.path(), "own");
    let client = bench.client(Some("own"), Version::TLS_1_3);
    let (endpoint, objects) =
        (format!("{}/oauth/token", bench.gateway.public), format!("{}/objects?prefix=/uploads/", bench.gateway.public));
    let token = bound(&people.exchange(client.post(&endpoint)).await, &own);
    let served = send(client.get(&objects).bearer_auth(&token)).await;
    assert_eq!(served.status, 200, "{}", served.body);
    for certificate in [None, Some("other")] {
        let thief = bench.client(certificate, Version::TLS_1_3);
        assert_problem(&send(thief.get(&objects).bearer_auth(&token)).await, 401, "certificate_mismatch");
    }
    let unbound = people.exchange(bench.client(None, Version::TLS_1_3).post(&endpoint)).await;
    assert_eq!(unbound.body["code"], "proof_of_possession_required", "{}", unbound.body);
    let refused = send(client.get(&objects).bearer_auth(&bench.gateway.token)).await;
    assert_problem(&refused, 403, "proof_of_possession_required");
}

#[tokio::test]
async fn behind_a_listed_proxy_it_is_the_certificate_that_the_proxy_tells() {
    let people = People::start().await;
    let issuers = people.issuers();
    let settings = [proxy::HEADER, proxy::LISTED, ("VESTIBULE__IDENTITY__ISSUERS", issuers.as_str())];
    let bench = proxy::Bench::start(&settings).await;
    let (own, other) = (bench.encoded("own"), bench.encoded("other"));
    let ask = || bench.gateway.http.post(format!("{}/oauth/token", bench.gateway.public));
    let answer = people.exchange(ask().header("client-cert", &own)).await;
    let token = bound(&answer, &thumbprint(bench.files.path(), "own"));
    assert_eq!(bench.ask(&token, &[&own]).await.status, 200);
    for told in [&[][..], &[other.as_str()]] {
        assert_problem(&bench.ask(&token, told).await, 401, "certificate_mismatch");
    }
    let two = people.exchange(ask().header("client-cert", &own).header("client-cert", &other)).await;
    assert!((400..500).contains(&two.status) && two.body["access_token"].is_null(), "{}", two.body);
    assert_eq!(two.body["code"], "certificate_mismatch", "{}", two.body);
}
