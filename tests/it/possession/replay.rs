//! A proof is used once: on one node, at once on many connections, and on every other node of the same database.

use serde_json::Value;

use super::{Client, with_proof};
use crate::cloud::{Place, Setup};
use crate::gateway::Gateway;
use crate::http_errors::{assert_problem, send};
use crate::store_postgres::Database;

#[tokio::test]
async fn of_many_copies_of_a_proof_one_is_accepted() {
    let gateway = Gateway::start().await;
    let client = Client::new();
    let token = client.token(&gateway).await;
    assert_eq!(client.send(&gateway, &token, "GET", "/limits", Value::Null).await.status, 200);
    let url = format!("{}/limits", gateway.public);
    let proof = client.proof("GET", &url, Some(&token));
    let copies = (0..8).map(|_| send(with_proof(gateway.http.get(&url), &token, &proof)));
    let answers = futures::future::join_all(copies).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1);
    for answer in answers.iter().filter(|answer| answer.status != 200) {
        assert_problem(answer, 401, "dpop_proof_invalid");
        assert!(answer.body["detail"].as_str().unwrap().contains("used before"), "{}", answer.body);
    }
    // The same id by another key is another proof: nobody uses up what is not his.
    let other = Client::new();
    let own = other.token(&gateway).await;
    assert_eq!(other.send(&gateway, &own, "GET", "/limits", Value::Null).await.status, 200);
    let mut claims = other.claims("GET", &url, Some(&own));
    claims.insert("jti".into(), "chosen".into());
    assert_eq!(send(with_proof(gateway.http.get(&url), &own, &other.sign(&other.header(), &claims))).await.status, 200);
    let mut claims = client.claims("GET", &url, Some(&token));
    claims.insert("jti".into(), "chosen".into());
    let proof = client.sign(&client.header(), &claims);
    assert_eq!(send(with_proof(gateway.http.get(&url), &token, &proof)).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proof_that_one_node_has_taken_no_other_takes_and_nonces_are_good_on_all() {
    let database = Database::migrated().await;
    let address = database.address();
    let setup = Setup::at(Place::s3().await).objects(1000);
    // One public address for all, as behind a balancer.
    let settings = [
        ("VESTIBULE__STORE__URL", address.as_str()),
        ("VESTIBULE__PUBLIC__URL", "https://files.example.com"),
        ("VESTIBULE__SWEEP__INTERVAL", "1h"),
    ];
    let mut nodes = Vec::new();
    for _ in 0..2 {
        let dir = tempfile::tempdir().unwrap();
        setup.write_configuration(dir.path());
        nodes.push(Gateway::serve_in(dir, "desk", &settings).await);
    }
    let client = Client::new();
    let binding = format!("jkt:{}", client.jkt());
    let body = serde_json::json!({ "app": "desk", "workflow": "bound", "binding": binding });
    let token = nodes[0].create_token(body).await;
    let ask =
        |node: &Gateway, proof: &str| send(with_proof(node.http.get(format!("{}/limits", node.public)), &token, proof));
    let proof = || client.proof("GET", "https://files.example.com/limits", Some(&token));
    let told = ask(&nodes[0], &proof()).await;
    assert_problem(&told, 401, "dpop_nonce_required");
    *client.nonce.borrow_mut() = Some(told.headers["dpop-nonce"].to_str().unwrap().to_owned());

    for (first, second) in [(0, 1), (1, 0)] {
        let proof = proof();
        let accepted = ask(&nodes[first], &proof).await;
        assert_eq!(accepted.status, 200, "the nonce of one node is good on the other: {}", accepted.body);
        let replayed = ask(&nodes[second], &proof).await;
        assert_problem(&replayed, 401, "dpop_proof_invalid");
        assert!(replayed.body["detail"].as_str().unwrap().contains("used before"), "{}", replayed.body);
    }
}
