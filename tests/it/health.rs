//! What keeps a node in shape: readiness, gauges, refusals without a token, retention.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::gateway::{Gateway, PATIENCE, answer};

fn dependency<'a>(health: &'a Value, name: &str) -> &'a Value {
    let all = health["dependencies"].as_array().unwrap();
    all.iter().find(|dependency| dependency["name"] == name).unwrap_or_else(|| panic!("no {name}: {health}"))
}

#[tokio::test]
async fn readiness_names_what_is_away_and_keeps_details_for_operators() {
    let gateway = Gateway::start().await;
    let (status, health) = answer(gateway.http.get(format!("{}/readyz", gateway.public))).await;
    assert_eq!((status, &health["ready"]), (200, &Value::Bool(true)), "{health}");
    for name in ["database", "scanner"] {
        assert_eq!(dependency(&health, name)["required"], true);
    }
    let targets = |health: &Value| -> Vec<Value> {
        let all = health["dependencies"].as_array().unwrap().clone();
        all.into_iter().filter(|dependency| dependency["required"] == false).collect()
    };
    assert!(!targets(&health).is_empty(), "{health}");
    assert!(!health.to_string().contains("detail"), "{health}");
    let (status, health) = answer(gateway.http.get(format!("{}/readyz", gateway.admin))).await;
    assert_eq!((status, dependency(&health, "database")["detail"].as_str()), (200, Some("takes writes")));
}

#[tokio::test]
async fn gauges_of_what_there_is_none_of_are_zero() {
    let gateway = Gateway::start().await;
    let metrics = gateway.http.get(format!("{}/metrics", gateway.admin)).send().await.unwrap().text().await.unwrap();
    for gauge in [
        "vestibule_objects{state=\"quarantined\"} 0",
        "vestibule_jobs{kind=\"inspect\"} 0",
        "vestibule_queue_age_seconds{kind=\"inspect\"} 0",
    ] {
        assert!(metrics.lines().any(|line| line == gauge), "no {gauge} in\n{metrics}");
    }
}

#[tokio::test]
async fn a_flood_without_a_token_leaves_a_few_rows_that_count_all_of_it() {
    const REQUESTS: u64 = 300;
    let gateway = Gateway::start().await;
    let requests = (0..REQUESTS).map(|i| {
        // Guesses at links and missing tokens alike.
        let path = if i % 2 == 0 { format!("/d/{i}") } else { "/objects".to_owned() };
        gateway.http.get(format!("{}{path}", gateway.public)).send()
    });
    let started = Instant::now();
    for answer in futures::future::join_all(requests).await {
        assert!(matches!(answer.unwrap().status().as_u16(), 401 | 404));
    }
    let seconds = started.elapsed().as_secs() + 2;
    let started = Instant::now();
    loop {
        let (status, page) = gateway.admin_get("/admin/audit?limit=1000").await;
        assert_eq!(status, 200, "{page}");
        let rows: Vec<&Value> = page["entries"].as_array().unwrap().iter().collect();
        let refused: Vec<&&Value> = rows.iter().filter(|row| row["outcome"] == "refused").collect();
        let counts = refused.iter().map(|row| {
            let folded = row["detail"].as_str().and_then(|detail| detail.split_once(" more refusals"));
            folded.map_or(1, |(count, _)| count.parse::<u64>().unwrap())
        });
        let total: u64 = counts.sum();
        if total == REQUESTS {
            assert!(refused.len() as u64 <= seconds * 12, "{} rows in {seconds} seconds", refused.len());
            return;
        }
        assert!(started.elapsed() < PATIENCE, "{total} of {REQUESTS} were recorded");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test]
async fn entries_and_messages_past_their_retention_are_removed_at_the_start() {
    let mut gateway = Gateway::start().await;
    gateway.kill();
    let database = rusqlite::Connection::open(gateway.dir().join("vestibule.db")).unwrap();
    let old = "INSERT INTO audit (time, entry) SELECT 0, entry FROM audit LIMIT 2;
               INSERT INTO dead_letters (source, at, reason, body) VALUES ('s', 0, 'old', 'b'),
                   ('s', unixepoch() * 1000000, 'new', 'b');";
    database.execute_batch(old).unwrap();
    drop(database);
    gateway.start_again(&[]).await;
    let started = Instant::now();
    loop {
        let (status, page) = gateway.admin_get("/admin/audit?limit=1000").await;
        let rows = page["entries"].as_array().filter(|_| status == 200).unwrap_or_else(|| panic!("{page}"));
        if let Some(row) = rows.iter().find(|row| row["action"] == "pruneAudit") {
            assert!(row["detail"].as_str().unwrap().contains("400 days"), "{row}");
            break;
        }
        assert!(started.elapsed() < PATIENCE, "nothing was pruned: {page}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let (_, letters) = gateway.admin_get("/admin/dead-letters").await;
    let text = letters.to_string();
    assert!(text.contains("\"new\"") && !text.contains("\"old\""), "{text}");
}
