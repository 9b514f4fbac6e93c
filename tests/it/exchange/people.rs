//! People's tokens.

use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Value, json};

use super::{ACCESS_TOKEN, Bench, ID_TOKEN, part, photo, refused, text, token};
use crate::gateway::{edited_policies, until};
use crate::http_errors::{assert_problem, send};
use crate::oidc::provider::Key;
use crate::possession::Client;

const MOST: &str = "storage:images:where2eat:write:prefix=/uploads/ storage:images:where2eat:read:prefix=/uploads/ \
                    storage:images:where2eat:list:prefix=/uploads/";

#[tokio::test]
async fn an_id_token_is_exchanged_for_a_signed_token_of_the_app_that_works_until_it_ends() {
    let bench = Bench::start().await;
    let answer = bench.exchange(&bench.id_token(|_| ()), &[("audience", "where2eat")]).await;
    let own = token(&answer);
    assert_eq!(text(&answer, "token_type"), "Bearer");
    assert_eq!(text(&answer, "issued_token_type"), ACCESS_TOKEN);
    assert_eq!(text(&answer, "scope"), MOST);
    assert_eq!((answer.body["expires_in"].as_u64(), &answer.body["binding"]), (Some(600), &Value::Null));
    assert!(answer.body.get("refresh_token").is_none());
    assert_eq!(answer.headers["cache-control"], "no-store");
    assert!(answer.headers.contains_key("ratelimit"));

    assert_eq!(part(&own, 0)["typ"], "at+jwt");
    let keys = send(bench.gateway.http.get(format!("{}/.well-known/jwks.json", bench.gateway.public))).await;
    let jwk: jsonwebtoken::jwk::Jwk = serde_json::from_value(keys.body["keys"][0].clone()).unwrap();
    let mut validation = Validation::new(Algorithm::ES256);
    validation.set_audience(&[&bench.gateway.public]);
    validation.set_issuer(&[&bench.gateway.public]);
    let claims =
        jsonwebtoken::decode::<Value>(&own, &DecodingKey::from_jwk(&jwk).unwrap(), &validation).unwrap().claims;
    assert_eq!((claims["sub"].as_str(), claims["client_id"].as_str()), (Some("anna"), Some("where2eat/page")));
    assert_eq!((claims["jti"].as_str(), claims["scope"].as_str()), (answer.body["token_id"].as_str(), Some(MOST)));
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 600);
    let issued_at: jiff::Timestamp = text(&answer, "issued_at").parse().unwrap();
    assert_eq!(claims["iat"].as_i64(), Some(issued_at.as_second()), "RFC 3339 in the answer, seconds in the claims");
    assert!((Bench::now() - 60..=Bench::now()).contains(&issued_at.as_second()), "{issued_at}");

    let (status, issued) = bench.gateway.post_as(&own, "/request-upload", photo()).await;
    assert_eq!(status, 201, "{issued}");
    let mut elsewhere = photo();
    elsewhere["path"] = "invoices/".into();
    assert_eq!(bench.gateway.post_as(&own, "/request-upload", elsewhere).await.0, 403);
    let delete =
        bench.gateway.http.delete(format!("{}{}", bench.gateway.public, issued["statusUrl"].as_str().unwrap()));
    assert_problem(&send(delete.bearer_auth(&own)).await, 403, "scope_insufficient");

    let entry = bench.audited("exchangeToken").await;
    assert_eq!(
        (&entry["app"], &entry["workflow"], &entry["owner"]),
        (&json!("where2eat"), &json!("page"), &json!("marketing"))
    );
    assert_eq!((&entry["user"], &entry["device"]), (&json!("anna"), &json!("laptop")));
    assert_eq!((&entry["tokenId"], entry["scopes"].as_array().unwrap().len()), (&answer.body["token_id"], 3));
    assert!(entry["detail"].as_str().unwrap().contains("issuer company, client where2eat-page"), "{entry}");
    assert_eq!(bench.audited("requestUpload").await["user"], "anna");
    let log = bench.gateway.log();
    assert!(!log.contains(&own) && !log.contains(own.rsplit('.').next().unwrap()), "no token in a log");
}

#[tokio::test]
async fn the_short_form_and_the_form_of_a_session_are_the_same() {
    let bench = Bench::start().await;
    let body = json!({ "resource": "bucket:images", "actions": ["read", "write"], "ttl": 300 });
    let short = bench.json("/exchange", &bench.id_token(|_| ()), body.clone()).await;
    assert_eq!(
        text(&short, "scope"),
        "storage:images:where2eat:read:prefix=/uploads/ storage:images:where2eat:write:prefix=/uploads/"
    );
    assert_eq!(short.body["expires_in"], 300);
    assert_eq!(bench.gateway.post_as(&token(&short), "/request-upload", photo()).await.0, 201);

    let session = bench.json("/issue-token", &bench.access_token(|_| ()), body.clone()).await;
    assert_eq!(session.body["scope"], short.body["scope"]);
    // Asked again with the session's token of then, it renews.
    let again =
        bench.json("/issue-token", &bench.access_token(|claims| claims["jti"] = "j-2".into()), body.clone()).await;
    assert_ne!(token(&again), token(&session));
    assert_problem_oauth(
        &bench.json("/issue-token", &bench.id_token(|_| ()), body.clone()).await,
        401,
        "assertion_invalid",
    );
    assert_problem_oauth(
        &bench
            .json("/issue-token", &bench.access_token(|claims| claims["exp"] = (Bench::now() - 300).into()), body)
            .await,
        401,
        "assertion_expired",
    );
    for (wrong, code) in [
        (json!({ "resource": "bucket:images", "actions": [] }), "invalid_field"),
        (json!({ "resource": "bucket:images", "actions": ["own"] }), "invalid_field"),
        (json!({ "resource": "bucket:images", "actions": ["read"], "scope": "x" }), "invalid_field"),
        (json!({ "resource": "bucket:images", "ttl": 0 }), "invalid_field"),
        (json!({ "resource": "bucket:images", "ttl": "300" }), "invalid_field"),
        (json!({ "resources": "bucket:images" }), "invalid_field"),
        (json!({ "resource": "bucket:images", "actions": ["delete"] }), "scope_not_granted"),
        (json!({ "resource": "bucket:clinic" }), "exchange_target_invalid"),
    ] {
        assert_problem_oauth(&bench.json("/exchange", &bench.id_token(|_| ()), wrong).await, 400, code);
    }
}

/// A problem document with OAuth's members.
fn assert_problem_oauth(answer: &crate::http_errors::Answer, status: u16, code: &str) {
    assert_eq!((answer.status, answer.body["code"].as_str()), (status, Some(code)), "{}", answer.body);
    assert_eq!(answer.headers["content-type"], "application/problem+json");
    assert!(answer.body["error"].is_string() && answer.body["error_description"].is_string(), "{}", answer.body);
    assert_eq!(status == 401, answer.headers.contains_key("www-authenticate"), "{}", answer.body);
}

#[tokio::test]
async fn a_token_never_outlives_what_was_asked_the_manifest_or_the_assertion() {
    let dir = edited_policies(&[("classifications.toml", "[internal]\n", "[internal]\nmax_token_ttl = \"5m\"\n")]);
    let bench = Bench::start_in(dir, &[]).await;
    let life = async |left: i64, more: &[(&str, &str)]| {
        let subject = bench.id_token(|claims| claims["exp"] = (Bench::now() + left).into());
        let answer = bench.exchange(&subject, more).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body["expires_in"].as_i64().unwrap()
    };
    assert_eq!(life(3000, &[]).await, 300, "the class's, which is shorter than the manifest's");
    assert_eq!(life(3000, &[("ttl", "60")]).await, 60, "what was asked for");
    assert_eq!(life(3000, &[("ttl", "86400")]).await, 300);
    let left = life(90, &[("ttl", "200")]).await;
    assert!((80..=90).contains(&left), "{left}: what the assertion has left");

    let answer = bench.exchange(&bench.id_token(|_| ()), &[("ttl", "5")]).await;
    let short = token(&answer);
    assert_eq!(answer.body["expires_in"], 5);
    assert_eq!(bench.gateway.post_as(&short, "/request-upload", photo()).await.0, 201);
    let begun: jiff::Timestamp = text(&answer, "issued_at").parse().unwrap();
    until(begun + std::time::Duration::from_secs(5)).await;
    let (status, body) = bench.gateway.post_as(&short, "/request-upload", photo()).await;
    assert_eq!((status, body["code"].as_str()), (401, Some("token_expired")), "{body}");
}

#[tokio::test]
async fn who_may_not_gets_none_and_is_told_and_recorded() {
    let bench = Bench::start().await;
    let to = async |edit: fn(&mut Value), more: &[(&str, &str)]| bench.exchange(&bench.id_token(edit), more).await;
    // Clients and apps: one that gives none is not told from one that is not there.
    refused(
        &to(|claims| claims["aud"] = "stranger".into(), &[]).await,
        400,
        "invalid_target",
        "exchange_target_invalid",
    );
    for audience in ["finance-invoices", "clinic-forms", "nothing", "https://elsewhere.example/apps/where2eat"] {
        let answer = to(|_| (), &[("audience", audience)]).await;
        refused(&answer, 400, "invalid_target", "exchange_target_invalid");
    }
    let two = to(|_| (), &[("audience", "where2eat"), ("resource", "app:clinic-forms")]).await;
    refused(&two, 400, "invalid_target", "exchange_target_invalid");
    refused(&to(|_| (), &[("client_id", "ward-tablet")]).await, 400, "invalid_request", "assertion_invalid");
    // Scopes.
    let wider = to(|_| (), &[("scope", "storage:images:where2eat:delete:prefix=/uploads/")]).await;
    refused(&wider, 400, "invalid_scope", "scope_not_granted");
    assert_eq!(wider.body["allowed"].as_array().unwrap().len(), 3);
    let entry = bench.audited("exchangeToken").await;
    assert_eq!((&entry["outcome"], &entry["reason"]), (&json!("refused"), &json!("scope_not_granted")));
    assert_eq!(
        (&entry["user"], &entry["app"], &entry["device"]),
        (&json!("anna"), &json!("where2eat"), &json!("laptop"))
    );
    refused(&to(|_| (), &[("scope", "openid profile")]).await, 400, "invalid_scope", "scope_not_granted");
    // Roles, and Cedar's word about devices.
    let ward = async |role: Value, attested: bool| {
        let subject = bench.id_token(|claims| {
            (claims["aud"], claims["role"]) = ("ward-tablet".into(), role.clone());
            claims["attested"] = attested.into();
        });
        bench.exchange(&subject, &[]).await
    };
    refused(&ward(Value::Null, true).await, 403, "access_denied", "exchange_not_allowed");
    refused(&ward("cook".into(), true).await, 403, "access_denied", "exchange_not_allowed");
    let clinician = ward("clinician".into(), true).await;
    assert_eq!(
        text(&clinician, "scope"),
        "storage:clinic:clinic-forms:write:prefix=/forms/ storage:clinic:clinic-forms:read:prefix=/forms/"
    );
    assert_eq!(bench.audited("exchangeToken").await["role"], "clinician");
    // The app is off.
    crate::gateway::edit_policy(bench.gateway.dir(), "apps/where2eat.toml", "owner =", "enabled = false\nowner =");
    bench.gateway.reload().await;
    refused(&to(|_| (), &[]).await, 403, "access_denied", "app_disabled");
}

#[tokio::test]
async fn what_is_no_good_token_is_exchanged_for_nothing() {
    let bench = Bench::start().await;
    let forger = Key::es256("live");
    let claims = json!({ "iss": bench.live.0.issuer, "sub": "anna", "aud": "where2eat-page", "iat": Bench::now(), "exp": Bench::now() + 600 });
    for subject in [
        forger.sign(json!({}), &claims),
        bench.id_token(|claims| claims["iss"] = "https://evil.example".into()),
        bench.id_token(|claims| claims["aud"] = "another".into()),
        bench.access_token(|_| ()),
        "eyJhbGciOiJub25lIn0.e30.".to_owned(),
        "x".to_owned(),
    ] {
        refused(&bench.exchange(&subject, &[]).await, 400, "invalid_request", "assertion_invalid");
    }
    refused(&bench.exchange(&bench.gateway.token, &[]).await, 400, "invalid_request", "token_type_unsupported");
    let expired = bench.id_token(|claims| claims["exp"] = (Bench::now() - 300).into());
    refused(&bench.exchange(&expired, &[]).await, 400, "invalid_request", "assertion_expired");
    // A person whose id cannot stand in a record is nobody.
    let nobody = bench.id_token(|claims| claims["sub"] = "a\nb".into());
    refused(&bench.exchange(&nobody, &[]).await, 400, "invalid_request", "assertion_invalid");
}

#[tokio::test]
async fn staging_people_never_get_a_live_token() {
    let dir =
        edited_policies(&[("apps/where2eat.toml", "issuers = [\"company\"]", "issuers = [\"company\", \"staging\"]")]);
    let bench = Bench::start_in(dir, &[]).await;
    let subject = bench.signed(&bench.test, json!({}), |_| ());
    let answer = bench
        .exchange(&subject, &[("audience", "where2eat"), ("scope", "storage:images:where2eat:read:prefix=/uploads/")])
        .await;
    refused(&answer, 400, "invalid_scope", "scope_not_granted");
    let answer = bench.exchange(&subject, &[("resource", "app:where2eat")]).await;
    let own = token(&answer);
    assert!(text(&answer, "scope").starts_with("storage:images-test:where2eat:write"), "{}", answer.body);
    let (status, issued) = bench.gateway.post_as(&own, "/request-upload", photo()).await;
    assert_eq!(status, 201, "{issued}");
    let live = bench.gateway.request_jpeg(b"x").await["objectId"].as_str().unwrap().to_owned();
    let (status, _) = crate::gateway::answer(
        bench.gateway.http.get(format!("{}/objects/{live}", bench.gateway.public)).bearer_auth(&own),
    )
    .await;
    assert_eq!(status, 404, "a live object does not exist for it");
}

#[tokio::test]
async fn a_token_is_bound_to_the_key_that_was_proven() {
    let bench = Bench::start().await;
    let (anna, thief) = (Client::new(), Client::new());
    let body = json!({ "audience": "where2eat" });
    let answer = anna.send(&bench.gateway, &bench.id_token(|_| ()), "POST", "/exchange", body.clone()).await;
    let own = token(&answer);
    assert_eq!((text(&answer, "token_type"), text(&answer, "binding")), ("DPoP".into(), format!("jkt:{}", anna.jkt())));
    assert_eq!(part(&own, 1)["cnf"]["jkt"], anna.jkt());
    assert_eq!(anna.send(&bench.gateway, &own, "POST", "/request-upload", photo()).await.status, 201);
    assert_eq!(bench.gateway.post_as(&own, "/request-upload", photo()).await.0, 401);
    assert_eq!(thief.send(&bench.gateway, &own, "POST", "/request-upload", photo()).await.status, 401);
    // An assertion that is bound to a key is good for whoever holds it, and for nobody else.
    let subject = bench.access_token(|claims| claims["cnf"] = json!({ "jkt": anna.jkt() }));
    assert_eq!(anna.send(&bench.gateway, &subject, "POST", "/exchange", body.clone()).await.status, 200);
    let stolen = thief.send(&bench.gateway, &subject, "POST", "/exchange", body.clone()).await;
    assert_eq!((stolen.status, stolen.body["code"].as_str()), (401, Some("dpop_proof_invalid")), "{}", stolen.body);
    assert_problem_oauth(&bench.json("/exchange", &subject, body).await, 401, "dpop_proof_invalid");
    // At the token endpoint the nonce is asked for as OAuth's clients know it.
    let url = format!("{}/oauth/token", bench.gateway.public);
    let form =
        [("grant_type", super::GRANT), ("subject_token", &bench.id_token(|_| ())), ("subject_token_type", ID_TOKEN)];
    let asked = send(bench.form("/oauth/token", &form).header("dpop", Client::new().proof("POST", &url, None))).await;
    refused(&asked, 400, "use_dpop_nonce", "dpop_nonce_required");
    assert!(asked.headers.contains_key("dpop-nonce"));
}

#[tokio::test]
async fn tokens_may_be_opaque() {
    let bench =
        Bench::start_in(tempfile::tempdir().unwrap(), &[("VESTIBULE__IDENTITY__ACCESS_TOKENS", "opaque")]).await;
    let own = token(&bench.exchange(&bench.id_token(|_| ()), &[]).await);
    assert!(own.starts_with("vst_live_"));
    assert_eq!(bench.gateway.post_as(&own, "/request-upload", photo()).await.0, 201);
    let about = bench.introspect(&own, &own).await;
    assert_eq!((about.body["active"].as_bool(), about.body["sub"].as_str()), (Some(true), Some("anna")));
}
