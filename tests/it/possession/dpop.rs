//! DPoP as clients meet it: what is accepted, and every way in which a proof may be wrong.

use serde_json::{Map, Value, json};

use super::{Client, bound_token, challenges, with_proof};
use crate::access::{self, Person};
use crate::gateway::{Gateway, edited_policies};
use crate::harness::fixture;
use crate::http_errors::{assert_problem, send};

#[tokio::test]
async fn a_client_is_told_the_nonce_and_then_served() {
    let gateway = Gateway::start().await;
    let client = Client::new();
    let token = client.token(&gateway).await;
    let url = format!("{}/limits", gateway.public);
    let refused = send(with_proof(gateway.http.get(&url), &token, &client.proof("GET", &url, Some(&token)))).await;
    assert_problem(&refused, 401, "dpop_nonce_required");
    let challenge = challenges(&refused);
    assert_eq!(challenge.len(), 1);
    assert!(challenge[0].starts_with("DPoP ") && challenge[0].contains("error=\"use_dpop_nonce\""), "{challenge:?}");
    assert!(challenge[0].contains("algs=\"ES256 "), "{challenge:?}");

    let answer = client.send(&gateway, &token, "GET", "/limits", Value::Null).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let again = client.send(&gateway, &token, "GET", "/limits?verbose=1", Value::Null).await;
    assert_eq!(again.status, 200, "the query does not count: {}", again.body);
    assert!(!again.headers.contains_key("dpop-nonce"), "the nonce in use is fresh");
}

#[tokio::test]
async fn a_whole_journey_with_a_bound_token() {
    let gateway = Gateway::start().await;
    let client = Client::new();
    let token = client.token(&gateway).await;
    let bytes = fixture("menu.jpg");
    let body = json!({ "filename": "menu.jpg", "size": bytes.len(), "contentType": "image/jpeg" });
    let issued = client.send(&gateway, &token, "POST", "/request-upload", body).await;
    assert_eq!(issued.status, 201, "{}", issued.body);
    assert_eq!(gateway.put(&issued.body, bytes.clone()).await, 200, "the signed URL needs no proof");
    let id = issued.body["objectId"].as_str().unwrap();
    gateway.wait_for(id, "visible").await;

    // The status is asked for like everything else: with the token, and with a proof for that address.
    let status = issued.body["statusUrl"].as_str().unwrap();
    let answer = client.send(&gateway, &token, "GET", status, Value::Null).await;
    assert_eq!((answer.status, answer.body["state"].as_str()), (200, Some("visible")));
    let bearer = send(gateway.http.get(format!("{}{status}", gateway.public)).bearer_auth(&token)).await;
    assert_problem(&bearer, 401, "dpop_proof_invalid");

    // A one-time link was asked for with a proof; whoever follows it has none, and gets what was granted, once.
    let body = json!({ "objectId": id, "oneTime": true });
    let link = client.send(&gateway, &token, "POST", "/request-download", body).await;
    assert_eq!(link.status, 200, "{}", link.body);
    let link = link.body["downloadUrl"].as_str().unwrap();
    let followed = gateway.http.get(link).send().await.unwrap();
    assert_eq!(followed.status(), 302);
    let served = reqwest::get(followed.headers()["location"].to_str().unwrap()).await.unwrap();
    assert_eq!(served.bytes().await.unwrap(), bytes);
    assert_eq!(gateway.http.get(link).send().await.unwrap().status(), 404);
}

#[tokio::test]
async fn a_bound_token_is_nothing_without_its_key_and_an_unbound_one_needs_none() {
    let gateway = Gateway::start().await;
    let (client, thief) = (Client::new(), Client::new());
    let token = client.token(&gateway).await;
    let url = format!("{}/limits", gateway.public);
    assert_eq!(client.send(&gateway, &token, "GET", "/limits", Value::Null).await.status, 200);
    assert_eq!(thief.send(&gateway, &gateway.token, "GET", "/limits", Value::Null).await.body["code"], "token_invalid");

    let get = || gateway.http.get(&url);
    for request in [
        get().bearer_auth(&token),
        get().header("x-workflow-token", &token),
        get().header("authorization", format!("DPoP {token}")),
        get().bearer_auth(&token).header("dpop", client.proof("GET", &url, Some(&token))),
    ] {
        let refused = send(request).await;
        assert_problem(&refused, 401, "dpop_proof_invalid");
        assert!(challenges(&refused)[0].contains("error=\"invalid_dpop_proof\""), "{:?}", challenges(&refused));
        assert!(refused.headers.contains_key("dpop-nonce"), "the next try can be right at once");
    }
    let answer = thief.send(&gateway, &token, "GET", "/limits", Value::Null).await;
    assert_problem(&answer, 401, "dpop_proof_invalid");
    assert!(answer.body["detail"].as_str().unwrap().contains("another key"), "{}", answer.body);

    // An unbound token goes on as ever, whatever stands in a header that nobody asked for.
    for request in [get().bearer_auth(&gateway.token), get().bearer_auth(&gateway.token).header("dpop", "x")] {
        assert_eq!(send(request).await.status, 200);
    }
    let missing = send(get()).await;
    assert_problem(&missing, 401, "token_missing");
    assert!(challenges(&missing)[0].starts_with("Bearer ") && challenges(&missing)[1].starts_with("DPoP "));
    // Whose token was tried without its key stands in the trail: it was copied from somewhere.
    let (_, page) = gateway.admin_get("/admin/audit?limit=50").await;
    let entries = page["entries"].as_array().unwrap();
    let tried = entries.iter().find(|entry| entry["reason"] == "dpop_proof_invalid").unwrap();
    assert_eq!((tried["workflow"].as_str(), tried["outcome"].as_str()), (Some("bound"), Some("refused")), "{tried}");
}

#[tokio::test]
async fn every_claim_of_a_proof_counts() {
    let gateway = Gateway::start().await;
    let client = Client::new();
    let token = client.token(&gateway).await;
    assert_eq!(client.send(&gateway, &token, "GET", "/limits", Value::Null).await.status, 200);
    let url = format!("{}/limits", gateway.public);
    let other = format!("{}/objects", gateway.public);
    let elsewhere = url.replacen("127.0.0.1", "files.example.com", 1);
    let now = client.claims("GET", &url, None)["iat"].as_i64().unwrap();
    let nonce = client.claims("GET", &url, None)["nonce"].as_str().unwrap().to_owned();
    let forged = format!("{}{}", &nonce[..nonce.len() - 1], if nonce.ends_with('A') { 'Q' } else { 'A' });
    let changes: &[(&str, Value, &str)] = &[
        ("htm", "POST".into(), "dpop_proof_invalid"),
        ("htm", "get".into(), "dpop_proof_invalid"),
        ("htu", other.into(), "dpop_proof_invalid"),
        ("htu", elsewhere.into(), "dpop_proof_invalid"),
        ("htu", "/limits".into(), "dpop_proof_invalid"),
        ("iat", (now - 200).into(), "dpop_proof_invalid"),
        ("iat", (now + 200).into(), "dpop_proof_invalid"),
        ("iat", "now".into(), "dpop_proof_invalid"),
        ("ath", "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo".into(), "dpop_proof_invalid"),
        ("jti", "".into(), "dpop_proof_invalid"),
        ("jti", Value::Null, "dpop_proof_invalid"),
        ("ath", Value::Null, "dpop_proof_invalid"),
        ("htm", Value::Null, "dpop_proof_invalid"),
        ("htu", Value::Null, "dpop_proof_invalid"),
        ("iat", Value::Null, "dpop_proof_invalid"),
        ("nonce", Value::Null, "dpop_nonce_required"),
        ("nonce", forged.into(), "dpop_nonce_required"),
        ("nonce", "".into(), "dpop_nonce_required"),
    ];
    for (name, value, code) in changes {
        let mut claims: Map<String, Value> = client.claims("GET", &url, Some(&token));
        match value {
            Value::Null => claims.remove(*name),
            value => claims.insert((*name).to_owned(), value.clone()),
        };
        let proof = client.sign(&client.header(), &claims);
        let refused = send(with_proof(gateway.http.get(&url), &token, &proof)).await;
        assert_problem(&refused, 401, code);
    }
    let good = client.proof("GET", &url, Some(&token));
    assert_eq!(send(with_proof(gateway.http.get(&url), &token, &good)).await.status, 200, "nothing else was wrong");
}

#[tokio::test]
async fn no_algorithm_key_or_form_slips_through() {
    let gateway = Gateway::start().await;
    let client = Client::new();
    let token = client.token(&gateway).await;
    assert_eq!(client.send(&gateway, &token, "GET", "/limits", Value::Null).await.status, 200);
    let url = format!("{}/limits", gateway.public);
    let claims = || client.claims("GET", &url, Some(&token));
    let header = |change: &dyn Fn(&mut Value)| {
        let mut header = client.header();
        change(&mut header);
        client.sign(&header, &claims())
    };
    let good = || client.sign(&client.header(), &claims());
    let unsigned = |alg: &str| {
        let text = header(&|header| header["alg"] = alg.into());
        format!("{}.", text.rsplit_once('.').unwrap().0)
    };
    for proof in [
        unsigned("none"),
        unsigned("ES256"),
        header(&|header| header["alg"] = "none".into()),
        header(&|header| header["alg"] = "HS256".into()),
        header(&|header| header["alg"] = "RS256".into()),
        header(&|header| header["typ"] = "JWT".into()),
        header(&|header| header["typ"] = "at+jwt".into()),
        header(&|header| header["crit"] = json!(["exp"])),
        header(&|header| header["jwk"]["d"] = "AQAB".into()),
        header(&|header| header["jwk"]["kty"] = "oct".into()),
        header(&|header| header["jwk"] = Client::new().jwk()),
        header(&|header| drop(header.as_object_mut().unwrap().remove("jwk"))),
        good().to_uppercase(),
        good()[1..].to_owned(),
        format!("{},{}", good(), good()),
        "a".repeat(5000),
        String::new(),
    ] {
        let refused = send(with_proof(gateway.http.get(&url), &token, &proof)).await;
        assert_problem(&refused, 401, "dpop_proof_invalid");
    }
    let both = with_proof(gateway.http.get(&url), &token, &good()).header("dpop", good());
    assert_problem(&send(both).await, 401, "dpop_proof_invalid");
    let two = with_proof(gateway.http.get(&url), &token, &good()).header("x-workflow-token", &gateway.token);
    assert_problem(&send(two).await, 401, "token_invalid");
    assert_eq!(send(with_proof(gateway.http.get(&url), &token, &good())).await.status, 200);
}

#[tokio::test]
async fn a_proof_is_made_for_the_public_url_and_nonces_may_be_left_out() {
    let gateway = Gateway::start_with(&[
        ("VESTIBULE__PUBLIC__URL", "https://Files.Example.com:443/gateway/"),
        ("VESTIBULE__IDENTITY__DPOP__NONCES", "false"),
    ])
    .await;
    let client = Client::new();
    let token = client.token(&gateway).await;
    let url = format!("{}/limits", gateway.public);
    let ask = |htu: &str| send(with_proof(gateway.http.get(&url), &token, &client.proof("GET", htu, Some(&token))));
    for htu in ["https://files.example.com/gateway/limits", "https://files.example.com:443/gateway/a/../%6cimits?x#y"] {
        let answer = ask(htu).await;
        assert_eq!(answer.status, 200, "{htu}: {}", answer.body);
        assert!(!answer.headers.contains_key("dpop-nonce"));
    }
    for htu in [url.as_str(), "https://files.example.com/limits", "http://files.example.com/gateway/limits"] {
        let refused = ask(htu).await;
        assert_problem(&refused, 401, "dpop_proof_invalid");
        assert!(refused.body["detail"].as_str().unwrap().contains("https://files.example.com/gateway/limits"));
    }
}

#[tokio::test]
async fn an_app_that_demands_a_proof_serves_bound_tokens_only() {
    let demand = "proof_of_possession = \"dpop\"\n";
    let dir = edited_policies(&[("apps/where2eat.toml", "owner = ", &format!("{demand}owner = "))]);
    let gateway = Gateway::start_in(dir, &[]).await;
    let refused = gateway.get("/objects").await;
    assert_eq!((refused.0, refused.1["code"].as_str()), (403, Some("proof_of_possession_required")), "{}", refused.1);
    let certificate = bound_token(&gateway, &format!("x5t#S256:{}", Client::new().jkt())).await;
    let refused = send(gateway.http.get(format!("{}/objects", gateway.public)).bearer_auth(&certificate)).await;
    assert_problem(&refused, 401, "certificate_mismatch");
    let client = Client::new();
    let token = client.token(&gateway).await;
    assert_eq!(client.send(&gateway, &token, "GET", "/objects", Value::Null).await.status, 200);
    // Whoever has found an unbound token cannot bind it to a key of his own.
    let found = client.send(&gateway, &gateway.token, "POST", "/exchange", json!({ "actions": ["read"] })).await;
    assert_eq!((found.status, found.body["code"].as_str()), (403, Some("proof_of_possession_required")));
}

#[tokio::test]
async fn a_bound_token_is_asked_for_approved_and_claimed_as_any_other() {
    let demand = "proof_of_possession = \"dpop\"\n";
    let dir = edited_policies(&[("apps/where2eat.toml", "owner = ", &format!("{demand}owner = "))]);
    let gateway = Gateway::start_in(dir, &[]).await;
    let (ada, bob) = (Person::called(&gateway, "ada").await, Person::called(&gateway, "bob").await);
    let client = Client::new();
    let mut body = access::live();
    let (status, problem) = ada.post("/admin/access-requests", body.clone()).await;
    assert_eq!((status, problem["code"].as_str()), (403, Some("proof_of_possession_required")), "{problem}");
    assert_eq!(problem["allowed"], json!(["dpop"]), "{problem}");
    body["binding"] = "jkt:short".into();
    assert_eq!(ada.post("/admin/access-requests", body.clone()).await.0, 400);
    body["binding"] = format!("jkt:{}", client.jkt()).into();
    let asked = ada.ask(body).await;
    assert_eq!(asked["binding"], format!("jkt:{}", client.jkt()), "whoever decides sees it: {asked}");
    let (status, claimed) = access::claim(&gateway, &bob.approve(&asked).await).await;
    assert_eq!(status, 201, "{claimed}");
    let token = claimed["token"].as_str().unwrap();
    assert_eq!(access::works(&gateway, token).await, 401, "without its key it is nothing");
    assert_eq!(client.send(&gateway, token, "GET", "/objects", Value::Null).await.status, 200);
    let change =
        json!({ "changes": claimed["tokenId"], "scopes": ["storage:*:where2eat:list"], "reason": "only lists" });
    let change = ada.ask(change).await;
    assert_eq!(change["binding"], asked["binding"], "a change keeps it");
}

#[tokio::test]
async fn a_page_may_send_proofs_and_read_nonces() {
    let gateway = Gateway::start().await;
    let origin = "https://where2eat.example.com";
    let url = format!("{}/limits", gateway.public);
    let preflight = gateway.http.request(reqwest::Method::OPTIONS, &url).header("origin", origin);
    let answer = preflight.header("access-control-request-method", "GET").send().await.unwrap();
    let allowed = answer.headers()["access-control-allow-headers"].to_str().unwrap().to_owned();
    assert!(allowed.split(", ").any(|name| name == "dpop"), "{allowed}");
    let client = Client::new();
    let token = client.token(&gateway).await;
    let proof = client.proof("GET", &url, Some(&token));
    let refused = send(with_proof(gateway.http.get(&url).header("origin", origin), &token, &proof)).await;
    let exposed = refused.headers["access-control-expose-headers"].to_str().unwrap();
    assert!(exposed.split(", ").any(|name| name == "dpop-nonce"), "{exposed}");
    assert!(exposed.contains("www-authenticate") && refused.headers.contains_key("dpop-nonce"));
}
