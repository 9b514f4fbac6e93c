//! Rate limits of real gateways that share a Redis: three processes on one database, and what they do while it is away.

use std::collections::BTreeMap;
use std::time::Instant;

use futures::StreamExt;
use serde_json::{Value, json};

use super::place::Place;
use super::{Setup, write_configuration};
use crate::gateway::{Gateway, PATIENCE, answer};
use crate::harness::{env, unique};
use crate::limits::server::Server;
use crate::store_postgres::Database;

/// A gateway that serves `desk` with these limits and settings.
async fn gateway(setup: &Setup, limits: &str, settings: &[(&str, &str)]) -> Gateway {
    let dir = tempfile::tempdir().unwrap();
    write_configuration(dir.path(), setup);
    std::fs::write(dir.path().join("policies/limits.toml"), limits).unwrap();
    Gateway::serve_in(dir, "desk", settings).await
}

fn body(number: usize) -> Value {
    json!({ "filename": format!("menu-{number}.jpg"), "size": 10, "contentType": "image/jpeg" })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_requests_to_three_gateways_get_the_limit_and_no_more() {
    let (database, prefix) = (Database::migrated().await, unique("limits"));
    let setup = Setup::at(Place::s3().await).objects(5000);
    let (address, redis) = (database.address(), env("VESTIBULE_TEST_REDIS_URL"));
    let settings = [
        ("VESTIBULE__STORE__URL", address.as_str()),
        ("VESTIBULE__LIMITS__URL", redis.as_str()),
        ("VESTIBULE__LIMITS__PREFIX", prefix.as_str()),
        ("VESTIBULE__LIMITS__DEADLINE", "5s"),
        ("VESTIBULE__TELEMETRY__FILTER", "info"),
    ];
    let limits = "[workflow]\nsecond = 700\nhour = 700\nday = 700\n[owners.office]\nday = 1_000\n";
    let mut nodes = Vec::new();
    for _ in 0..3 {
        nodes.push(gateway(&setup, limits, &settings).await);
    }
    // A second workflow meets the owner's limit before its own.
    let other = nodes[0].create_token(json!({ "app": "desk", "workflow": "other" })).await;
    let tokens = [nodes[1].token.clone(), other];
    let answers = futures::stream::iter(0..10_000_usize).map(|number| {
        let (node, token) = (&nodes[number % 3], &tokens[usize::from(number % 4 == 3)]);
        async move {
            let (status, answer) = node.post_as(token, "/request-upload", body(number)).await;
            let told = if status == 429 { &answer["quota"] } else { &answer["code"] };
            (number % 4 == 3, status, told.as_str().unwrap_or_default().to_owned())
        }
    });
    let mut counts: BTreeMap<(bool, u16, String), usize> = BTreeMap::new();
    let mut answers = answers.buffer_unordered(64);
    while let Some(answer) = answers.next().await {
        *counts.entry(answer).or_default() += 1;
    }
    let of = |wanted: u16| {
        counts.iter().filter(|((_, status, _), _)| *status == wanted).map(|(_, count)| *count).sum::<usize>()
    };
    let of_other = counts.get(&(true, 201, String::new())).copied().unwrap_or_default();
    // Ten thousand at once on a small machine: some may hear that the database is busy, after they were counted.
    let (given, late) = (of(201), of(503));
    assert!(given <= 1000 && given + late >= 1000, "the owner's limit, to the last: {counts:?}");
    assert!(of_other <= 700 && given - of_other <= 700, "{counts:?}");
    assert!(given + late + of(429) == 10_000 && late < 500, "{counts:?}");
    // The database has what was given, and the audit trail no row for each of nine thousand refusals.
    let held = usize::try_from(database.number("SELECT sum(objects)::bigint FROM app_usage").await).unwrap();
    assert!((given..=1000).contains(&held), "{held} of {counts:?}");
    let sql = "SELECT count(*) FROM audit WHERE entry::jsonb->>'reason' = 'rate_limited'";
    let refused = database.number(sql).await;
    assert!((1..100).contains(&refused), "{refused}");
    let (status, limits) = nodes[2].get("/limits").await;
    assert_eq!((status, &limits["shared"]), (200, &json!(true)));
    assert_eq!(limits["requests"][3]["remaining"], 0, "{limits}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_redis_is_away_a_gateway_refuses_clearly_or_counts_alone_as_its_operator_chose() {
    let mut server = Server::start().await;
    let setup = Setup::at(Place::s3().await);
    let url = server.url();
    let limits = "[workflow]\nsecond = 12\nhour = 12\nday = 12\n";
    let settings = |when_away| [("VESTIBULE__LIMITS__URL", url.clone()), ("VESTIBULE__LIMITS__WHEN_AWAY", when_away)];
    let start = async |when_away: &str| {
        let settings = settings(when_away.to_owned());
        let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
        gateway(&setup, limits, &settings).await
    };
    let (strict, alone) = (start("deny").await, start("local").await);
    assert_eq!(strict.post("/request-upload", body(0)).await.0, 201);
    assert_eq!(alone.post("/request-upload", body(1)).await.0, 201);
    assert_eq!(readiness(&strict).await, (200, true));

    server.freeze();
    let request = strict.http.post(format!("{}/request-upload", strict.public)).bearer_auth(&strict.token);
    let response = request.json(&body(2)).send().await.unwrap();
    assert_eq!(
        (response.status().as_u16(), response.headers().get("retry-after").unwrap()),
        (503, &"1".parse().unwrap())
    );
    let problem: Value = response.json().await.unwrap();
    assert_eq!((&problem["code"], &problem["retryAfter"]), (&json!("limits_unavailable"), &json!(1)));
    assert_eq!(strict.get("/limits").await.0, 503);
    until(&strict, (503, false)).await;
    // Looking at a state is not limited, and goes on.
    assert_eq!(strict.get("/objects/obj_00000000000000000000000000000007").await.0, 404);
    // One was admitted there before, whatever the other node has admitted.
    let mut given = 0;
    for number in 0..20 {
        given += u32::from(alone.post("/request-upload", body(number)).await.0 == 201);
    }
    assert_eq!(given, 11);
    until(&alone, (200, false)).await;

    server.thaw();
    until(&strict, (200, true)).await;
    assert_eq!(strict.post("/request-upload", body(3)).await.0, 201);
    server.kill();
    assert_eq!(strict.post("/request-upload", body(4)).await.1["code"], "limits_unavailable");
    // The probe may not have noticed yet that it was away.
    until(&strict, (503, false)).await;
    server.start_again().await;
    until(&strict, (200, true)).await;
    assert_eq!(strict.post("/request-upload", body(5)).await.0, 201);
    // P8: its address is told nowhere.
    assert!(!strict.log().contains(&url) && strict.log().contains("Redis is away"), "{}", strict.log());
    let metrics = answer_text(&strict).await;
    for name in ["vestibule_limits_redis_seconds", "vestibule_limits_redis_errors_total", "vestibule_limits_redis_up 1"]
    {
        assert!(metrics.contains(name), "{name}\n{metrics}");
    }
}

/// The status of `/readyz`, and whether it says that Redis answers.
async fn readiness(gateway: &Gateway) -> (u16, bool) {
    let (status, health) = answer(gateway.http.get(format!("{}/readyz", gateway.public))).await;
    let dependencies = health["dependencies"].as_array().unwrap();
    let redis = dependencies.iter().find(|dependency| dependency["name"] == "redis").unwrap();
    (status, redis["ready"] == true)
}

async fn until(gateway: &Gateway, expected: (u16, bool)) {
    let began = Instant::now();
    while readiness(gateway).await != expected {
        assert!(began.elapsed() < PATIENCE, "{:?}", readiness(gateway).await);
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

async fn answer_text(gateway: &Gateway) -> String {
    let request = gateway.http.get(format!("{}/metrics", gateway.admin)).bearer_auth(&gateway.admin_token);
    request.send().await.unwrap().text().await.unwrap()
}
