//! Proofs at the token endpoint: what they are used up by, and that scheme and proof go together.

use reqwest::RequestBuilder;
use serde_json::{Value, json};

use super::{ACCESS_TOKEN, Bench, GRANT, ID_TOKEN, refused, text, token};
use crate::http_errors::{Answer, assert_problem, send};
use crate::possession::Client;

/// A gateway that asks for no nonces, so that every proof is good at once.
async fn without_nonces() -> Bench {
    Bench::start_in(tempfile::tempdir().unwrap(), &[("VESTIBULE__IDENTITY__DPOP__NONCES", "false")]).await
}

/// How many rows of this kind the database has.
fn rows(bench: &Bench, of: &str) -> i64 {
    let database = rusqlite::Connection::open(bench.gateway.dir().join("vestibule.db")).unwrap();
    database.query_row(&format!("SELECT count(*) FROM {of}"), [], |row| row.get(0)).unwrap()
}

/// How many proofs are used up.
fn used_up(bench: &Bench) -> i64 {
    rows(bench, "proofs")
}

impl Bench {
    async fn with_proof(&self, subject: &str, kind: &str, proof: &str, more: &[(&str, &str)]) -> Answer {
        let mut form = vec![("grant_type", GRANT), ("subject_token", subject), ("subject_token_type", kind)];
        form.extend(more);
        send(self.form("/oauth/token", &form).header("dpop", proof)).await
    }

    fn endpoint(&self, path: &str) -> String {
        format!("{}{path}", self.gateway.public)
    }
}

#[tokio::test]
async fn a_proof_is_used_up_by_the_token_that_it_is_for_and_by_nothing_else() {
    let bench = without_nonces().await;
    let proof = |client: &Client| client.proof("POST", &bench.endpoint("/oauth/token"), None);
    let expired = bench.id_token(|claims| claims["exp"] = (Bench::now() - 300).into());
    let stranger = bench.id_token(|claims| claims["aud"] = "stranger".into());
    let wider = [("scope", "storage:images:where2eat:delete:prefix=/uploads/")];
    let client = Client::new();
    let held = proof(&client);
    // Whoever has no token that counts makes nothing durable, whatever keys and proofs he makes.
    for (subject, kind, more) in [
        ("x", ID_TOKEN, &[][..]),
        (expired.as_str(), ID_TOKEN, &[]),
        (stranger.as_str(), ID_TOKEN, &[]),
        (bench.id_token(|_| ()).as_str(), ID_TOKEN, &wider),
        ("vst_live_AAAAAAAAAAAAAAAA_x", ACCESS_TOKEN, &[]),
        (bench.gateway.token.as_str(), ACCESS_TOKEN, &[("audience", "finance-invoices")]),
    ] {
        for proof in [&held, &proof(&Client::new())] {
            let answer = bench.with_proof(subject, kind, proof, more).await;
            assert_eq!(answer.status, 400, "{}", answer.body);
        }
    }
    assert_eq!(used_up(&bench), 0);

    // So what was refused for anything else is good still, once.
    let given = bench.with_proof(&bench.id_token(|_| ()), ID_TOKEN, &held, &[]).await;
    assert_eq!((token(&given).is_empty(), text(&given, "binding")), (false, format!("jkt:{}", client.jkt())));
    assert_eq!(used_up(&bench), 1);
    for (subject, kind) in [(bench.id_token(|_| ()), ID_TOKEN), (bench.gateway.token.clone(), ACCESS_TOKEN)] {
        let again = bench.with_proof(&subject, kind, &held, &[]).await;
        refused(&again, 400, "invalid_dpop_proof", "dpop_proof_invalid");
        assert!(text(&again, "error_description").contains("used before"), "{}", again.body);
    }
    let entry = bench.audited("exchangeToken").await;
    assert_eq!((&entry["reason"], &entry["app"]), (&json!("dpop_proof_invalid"), &json!("where2eat")), "{entry}");
}

#[tokio::test]
async fn of_many_copies_of_a_request_for_a_token_one_gets_it() {
    let bench = without_nonces().await;
    let proof = Client::new().proof("POST", &bench.endpoint("/oauth/token"), None);
    let subject = bench.id_token(|_| ());
    let copies = (0..8).map(|_| bench.with_proof(&subject, ID_TOKEN, &proof, &[]));
    let answers = futures::future::join_all(copies).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1);
    assert_eq!(rows(&bench, "tokens WHERE origin = 'exchanged'"), 1);
}

#[tokio::test]
async fn in_the_short_forms_the_scheme_and_a_proof_go_together() {
    let bench = without_nonces().await;
    let client = Client::new();
    let url = bench.endpoint("/exchange");
    let bound = bench
        .gateway
        .create_token(json!({ "app": "where2eat", "workflow": "bound", "binding": format!("jkt:{}", client.jkt()) }))
        .await;
    let (own, id_token) = (&bench.gateway.token, bench.id_token(|_| ()));
    let ask = |path: &str| bench.gateway.http.post(bench.endpoint(path)).json(&json!({ "audience": "where2eat" }));
    let as_dpop = |request: RequestBuilder, token: &str| request.header("authorization", format!("DPoP {token}"));
    let proof = |token: Option<&str>| client.proof("POST", &url, token);
    for (what, request) in [
        ("an id_token without its proof", as_dpop(ask("/exchange"), &id_token)),
        ("an own token without its proof", as_dpop(ask("/exchange"), own)),
        ("a session's token without its proof", as_dpop(ask("/issue-token"), &bench.access_token(|_| ()))),
        ("a proof that names no token", as_dpop(ask("/exchange"), &bound).header("dpop", proof(None))),
        ("a proof that names another", as_dpop(ask("/exchange"), &bound).header("dpop", proof(Some(own)))),
        ("a bound token as a bearer", ask("/exchange").bearer_auth(&bound).header("dpop", proof(None))),
        ("with its own proof", ask("/exchange").bearer_auth(&bound).header("dpop", proof(Some(&bound)))),
        ("a bearer with a proof", ask("/exchange").bearer_auth(&id_token).header("dpop", proof(Some(&id_token)))),
        ("the other header", ask("/exchange").header("x-workflow-token", &bound).header("dpop", proof(Some(&bound)))),
        ("a bound token alone", ask("/exchange").bearer_auth(&bound)),
    ] {
        let answer = send(request).await;
        assert_eq!((answer.status, answer.body["code"].as_str()), (401, Some("dpop_proof_invalid")), "{what}");
        assert_eq!(answer.body["access_token"], Value::Null, "{what}");
    }
    // Whose token that was stands in the trail.
    assert_eq!(bench.audited("exchangeToken").await["workflow"], "bound");
    for subject in [&bound, own, &id_token] {
        let given = send(as_dpop(ask("/exchange"), subject).header("dpop", proof(Some(subject)))).await;
        assert_eq!((given.status, text(&given, "token_type")), (200, "DPoP".to_owned()), "{}", given.body);
    }
}

#[tokio::test]
async fn whoever_asks_about_a_token_with_a_bound_one_is_told_the_nonce() {
    let bench = Bench::start().await;
    let client = Client::new();
    let asker = client.token(&bench.gateway).await;
    let url = bench.endpoint("/introspect");
    let ask = |nonce: Option<&str>| {
        let mut claims = client.claims("POST", &url, Some(&asker));
        if let Some(nonce) = nonce {
            claims.insert("nonce".into(), nonce.into());
        }
        let request = bench.form("/introspect", &[("token", &bench.gateway.token)]);
        let request = request.header("origin", "https://where2eat.example.com");
        request.header("authorization", format!("DPoP {asker}")).header("dpop", client.sign(&client.header(), &claims))
    };
    let told = send(ask(None)).await;
    refused(&told, 401, "use_dpop_nonce", "dpop_nonce_required");
    let nonce = told.headers["dpop-nonce"].to_str().unwrap();
    let about = send(ask(Some(nonce))).await;
    assert_eq!((about.status, &about.body["active"]), (200, &json!(true)), "{}", about.body);
    assert_eq!(about.headers["access-control-allow-origin"], "https://where2eat.example.com");
    let bearer = send(bench.form("/introspect", &[("token", "x")]).bearer_auth(&asker)).await;
    assert_eq!((bearer.status, bearer.headers.contains_key("dpop-nonce")), (401, true), "{}", bearer.body);
    // As a password it is a bearer too.
    let id = asker.split('_').nth(2).unwrap();
    let password = send(bench.form("/introspect", &[("token", "x")]).basic_auth(id, Some(&asker))).await;
    refused(&password, 401, "invalid_dpop_proof", "dpop_proof_invalid");
    let problem = send(bench.gateway.http.get(bench.endpoint("/limits")).bearer_auth(&asker)).await;
    assert_problem(&problem, 401, "dpop_proof_invalid");
}
