//! The drill, as an operator runs it: three gateways on one PostgreSQL, the figure of P7, and what it says of bad nodes.

mod cut_off;

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::cloud::{Place, Setup};
use crate::gateway::{Gateway, PATIENCE};
use crate::store_postgres::Database;

/// So many nodes on one database; the bucket lives as long as the setup.
async fn nodes(count: usize, database: &Database, more: &[(&str, &str)]) -> (Vec<Gateway>, Setup) {
    let address = database.address();
    let setup = Setup::at(Place::s3().await);
    let own = [("VESTIBULE__STORE__URL", address.as_str()), ("VESTIBULE__SWEEP__INTERVAL", "1h")];
    let settings = [&own, more].concat();
    let mut nodes = Vec::new();
    for _ in 0..count {
        let dir = tempfile::tempdir().unwrap();
        setup.write_configuration(dir.path());
        nodes.push(Gateway::serve_in(dir, "desk", &settings).await);
    }
    (nodes, setup)
}

/// Where the living nodes say that they answer.
async fn living(gateway: &Gateway) -> Vec<String> {
    let (status, list) = gateway.admin_get("/admin/nodes").await;
    assert_eq!(status, 200, "{list}");
    let nodes = list["nodes"].as_array().unwrap().iter().filter(|node| node["alive"] == true);
    let mut urls: Vec<String> = nodes.map(|node| node["url"].as_str().unwrap().to_owned()).collect();
    urls.sort();
    urls
}

/// Waits until exactly these nodes say that they run.
async fn until_living(gateway: &Gateway, urls: &[String]) {
    let started = Instant::now();
    while living(gateway).await != urls {
        assert!(started.elapsed() < PATIENCE, "{:?}, not {urls:?}", living(gateway).await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn drill(gateway: &Gateway, more: &[&str]) -> (i32, String, String) {
    let arguments = ["drill", "--admin", &gateway.admin, "--token", &gateway.admin_token];
    gateway.run(&[&arguments[..], more].concat())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p7_a_revoked_token_is_dead_on_three_nodes_within_a_second() {
    let database = Database::migrated().await;
    let (mut nodes, _setup) = nodes(3, &database, &[]).await;
    let mut urls: Vec<String> = nodes.iter().map(|node| node.public.clone()).collect();
    urls.sort();
    until_living(&nodes[0], &urls).await;

    let (code, told, errors) = drill(&nodes[0], &["--json", "--rounds", "20"]);
    assert_eq!(code, 0, "{told}{errors}");
    let figures: Value = serde_json::from_str(&told).unwrap();
    println!("{told}");
    assert_eq!(figures["nodes"], 3);
    let (p50, p99) = (figures["p50_ms"].as_f64().unwrap(), figures["p99_ms"].as_f64().unwrap());
    assert!(0.0 <= p50 && p50 <= p99 && p99 < 1000.0, "{told}");

    // Its canaries are dead, short-lived and good for nothing.
    let (_, list) = nodes[0].admin_get("/admin/tokens").await;
    let canaries: Vec<&Value> =
        list["tokens"].as_array().unwrap().iter().filter(|one| one["workflow"] == "revocation-drill").collect();
    assert!(!canaries.is_empty(), "{list}");
    for canary in canaries {
        assert!(canary["revokedAt"].is_string() && canary["expiresAt"].is_string(), "{canary}");
        assert_eq!(canary["scopes"], json!(["storage:*:desk:list:prefix=/revocation-drill/"]));
    }
    assert_eq!(database.count("objects").await, 0);

    // A node that ends in order is no longer asked; one that was killed is, and the drill says which.
    nodes[2].stop();
    urls.retain(|url| *url != nodes[2].public);
    until_living(&nodes[0], &urls).await;
    nodes[1].kill();
    let (code, told, errors) = drill(&nodes[0], &["--rounds", "1"]);
    assert!(code == 1 && errors.contains(&nodes[1].public) && errors.contains("cannot be reached"), "{told}{errors}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_two_nodes_say_the_same_address_there_is_no_figure() {
    let database = Database::migrated().await;
    let same = "http://127.0.0.1:1";
    let (nodes, _setup) = nodes(2, &database, &[("VESTIBULE__PUBLIC__NODE_URL", same)]).await;
    until_living(&nodes[0], &[same.to_owned(), same.to_owned()]).await;
    let (code, told, errors) = drill(&nodes[0], &["--rounds", "1", "--json"]);
    assert!(code == 1 && told.is_empty(), "{told}{errors}");
    assert!(errors.contains(&format!("{same}/")) && errors.contains("public.node_url on each"), "{errors}");
}

/// Says yes to everybody, for ever.
async fn yes() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut line, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                while let Ok(1..) = line.read(&mut buffer).await {
                    let _ = line.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await;
                }
            });
        }
    });
    url
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_drill_fails_where_a_node_goes_on_accepting() {
    let url = yes().await;
    let gateway = Gateway::start_with(&[("VESTIBULE__PUBLIC__NODE_URL", &url)]).await;
    let (code, told, errors) = tokio::task::block_in_place(|| drill(&gateway, &["--rounds", "1"]));
    assert!(code == 1 && errors.contains(&url) && errors.contains("accepts it"), "{told}{errors}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_drill_tells_each_node_of_each_round_and_needs_an_operator() {
    let gateway = Gateway::start().await;
    let (code, told, errors) = drill(&gateway, &["--rounds", "2", "--app", "where2eat"]);
    assert_eq!(code, 0, "{told}{errors}");
    assert!(
        told.contains("round 2: http://127.0.0.1:") && told.contains("1 node(s), 2 round(s): dead after"),
        "{told}"
    );
    for (arguments, said) in [
        (["drill", "--admin", &gateway.admin, "--token", &gateway.token], "401"),
        (["drill", "--admin", "http://192.0.2.1:9090", "--token", &gateway.admin_token], "to this machine"),
    ] {
        let (code, _, errors) = gateway.run(&arguments);
        assert!(code == 1 && errors.contains(said), "{errors}");
        assert!(!errors.contains(&gateway.token) && !errors.contains(&gateway.admin_token), "{errors}");
    }
    let (code, _, errors) = drill(&gateway, &["--app", "nowhere"]);
    assert!(code == 1 && errors.contains("nowhere"), "{errors}");
}
