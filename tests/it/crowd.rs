//! Two thousand objects by fifty clients, with the worst of messengers between the storage and the gateway (P5).
//!
//! Every event is delivered twice, out of order, and one in ten never. The objects are clean files of five types, the
//! EICAR test file, files of another type than declared, and uploads that the storage refuses or that never come. All
//! of them must end in the right state; the figures are printed and stand in docs/reliability.md.

pub mod cloud;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use cloud::Cloud;
use futures::{StreamExt, stream};
use serde_json::{Value, json};

use crate::faults::books::Books;
use crate::faults::client::{Client, File};
use crate::gateway::Gateway;

const OBJECTS: usize = 2000;
const CLIENTS: usize = 50;
const CLEAN: [&str; 5] = ["menu.jpg", "menu.png", "menu.webp", "invoice.pdf", "invoices.csv"];

/// One upload, and what must become of it.
struct Upload {
    id: String,
    client: Client,
    bytes: Vec<u8>,
    end: &'static str,
    /// When the storage had taken it, in microseconds since the Unix epoch.
    put_at: i64,
}

#[allow(clippy::disallowed_methods, reason = "compared with times that another process wrote")]
fn now() -> i64 {
    jiff::Timestamp::now().as_microsecond()
}

/// Repeats until there is an answer.
async fn request(client: &Client, file: &File, number: usize) -> Value {
    loop {
        match client.request(file, &format!("crowd-{number}")).await {
            Some((201, issued)) => return issued,
            Some((503, _)) | None => tokio::time::sleep(Duration::from_millis(200)).await,
            Some((status, problem)) => panic!("{status} {problem}"),
        }
    }
}

async fn upload(images: &Client, finance: &Client, number: usize) -> Upload {
    let (file, end) = match number % 20 {
        0 => (File::infected(number), "quarantined"),
        1 => (File::mistyped(number), "rejected"),
        2 => (File::clean("menu.jpg", number), "expired"),
        n => (File::clean(CLEAN[n % 5], number), "visible"),
    };
    let client = if matches!(file.content_type, "application/pdf" | "text/csv") { finance } else { images };
    let issued = request(client, &file, number).await;
    if end == "expired" {
        // Half of them send more than they declared, which the signature forbids; the others send nothing.
        if number % 40 == 2 {
            let status = client.put(&issued, &[&file.bytes[..], b"more"].concat()).await;
            assert_eq!(status, Some(403), "another length than the signed one");
        }
    } else {
        loop {
            match client.put(&issued, &file.bytes).await {
                // 412: an earlier try arrived, and its answer did not.
                Some(200 | 412) => break,
                Some(500 | 503) | None => tokio::time::sleep(Duration::from_millis(200)).await,
                Some(status) => panic!("the storage answers {status}"),
            }
        }
    }
    let id = issued["objectId"].as_str().unwrap().to_owned();
    Upload { id, client: client.clone(), bytes: file.bytes, end, put_at: now() }
}

async fn until(books: &Books, at_most: Duration, settled: impl Fn(&Books) -> bool) {
    let started = Instant::now();
    while !settled(books) {
        assert!(started.elapsed() < at_most, "left: {:?}, {} jobs", books.states(), books.jobs().len());
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Who noticed the arrivals, from the gateway's metrics.
async fn arrivals(gateway: &Gateway) -> String {
    let metrics = gateway.http.get(format!("{}/metrics", gateway.admin)).bearer_auth(&gateway.admin_token);
    let metrics = metrics.send().await.unwrap().text().await.unwrap();
    let lines = metrics.lines().filter_map(|line| line.strip_prefix("vestibule_arrivals_total{source="));
    lines.map(|line| line.replace(['"', '}'], "")).collect::<Vec<_>>().join(", ")
}

fn quantile(sorted: &[i64], part: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * part).round() as usize] as f64 / 1e6
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_objects_by_fifty_clients_end_right_although_events_come_twice_shuffled_or_never() {
    let started = Instant::now();
    let cloud = Arc::new(Cloud::create().await);
    let dir = tempfile::tempdir().unwrap();
    cloud.write_policies(dir.path());
    let gateway = Gateway::start_in(
        dir,
        &[
            ("VESTIBULE__CREDENTIALS__LOCALSTACK__ACCESS_KEY_ID", "test"),
            ("VESTIBULE__CREDENTIALS__LOCALSTACK__SECRET_ACCESS_KEY", "test"),
            ("VESTIBULE__EVENTS__SQS", &cloud.source()),
            ("VESTIBULE__SWEEP__INTERVAL", "10s"),
            ("VESTIBULE__SWEEP__EXPIRY_GRACE", "1s"),
            ("VESTIBULE__TELEMETRY__FILTER", "warn"),
        ],
    )
    .await;
    let books = Books::of(gateway.dir());
    let finance = gateway.create_token(json!({ "app": "finance-invoices", "workflow": "crowd" })).await;
    let (images, finance) = (Client::new(&gateway, &gateway.token), Client::new(&gateway, &finance));
    let stop = Arc::new(AtomicBool::new(false));
    let relay = tokio::spawn({
        let (cloud, stop) = (Arc::clone(&cloud), Arc::clone(&stop));
        async move { cloud.relay(&stop).await }
    });

    let uploading = Instant::now();
    let next = Arc::new(AtomicUsize::new(0));
    let clients = (0..CLIENTS).map(|_| {
        let (images, finance, next) = (images.clone(), finance.clone(), Arc::clone(&next));
        tokio::spawn(async move {
            let mut sent = Vec::new();
            while let Some(number) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|number| *number < OBJECTS) {
                sent.push(upload(&images, &finance, number).await);
            }
            sent
        })
    });
    let mut sent = Vec::new();
    for client in clients.collect::<Vec<_>>() {
        sent.extend(client.await.unwrap());
    }
    let uploaded = uploading.elapsed();

    let never: Vec<String> = sent.iter().filter(|one| one.end == "expired").map(|one| one.id.clone()).collect();
    until(&books, Duration::from_secs(300), |books| {
        books.states().get("issued") == Some(&(never.len() as i64)) && books.jobs().is_empty()
    })
    .await;
    let settled = uploading.elapsed();
    stop.store(true, Ordering::Relaxed);
    let relayed = relay.await.unwrap();
    // As if the URLs that nobody used had run out.
    books.age(&never);
    until(&books, Duration::from_secs(60), |books| !books.states().contains_key("issued") && books.jobs().is_empty())
        .await;

    let noticed = arrivals(&gateway).await;
    let objects = books.objects();
    assert_eq!((sent.len(), objects.len()), (OBJECTS, OBJECTS));
    for one in &sent {
        assert_eq!(objects[&one.id].state, one.end, "{:?}", objects[&one.id]);
    }
    books.assert_balanced();
    let expected: BTreeSet<String> = objects
        .values()
        .filter_map(|row| match row.state.as_str() {
            "visible" => Some(row.served.clone()),
            "quarantined" => Some(row.staging.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(cloud.keys().await, expected, "the buckets hold what the records say");
    let downloads = stream::iter(&sent).for_each_concurrent(8, async |one| match one.client.download(&one.id).await {
        Ok(bytes) => assert!(one.end == "visible" && bytes == one.bytes, "{} has other bytes", one.id),
        Err(refusal) => assert_ne!(one.end, "visible", "{}: {refusal:?}", one.id),
    });
    downloads.await;

    let mut waits: Vec<i64> = sent
        .iter()
        .filter(|one| one.end == "visible")
        .map(|one| (objects[&one.id].updated_at - one.put_at).max(0))
        .collect();
    waits.sort_unstable();
    println!(
        "crowd: {OBJECTS} objects, {CLIENTS} clients, {:?}; {} events, {} withheld, {} deliveries; \
         noticed by {noticed}; uploaded in {:.0} s, \
         all settled after {:.0} s; PUT to visible p50 {:.1} s, p99 {:.1} s; with every check {:.0} s",
        books.states(),
        relayed.events,
        relayed.withheld,
        relayed.delivered,
        uploaded.as_secs_f64(),
        settled.as_secs_f64(),
        quantile(&waits, 0.5),
        quantile(&waits, 0.99),
        started.elapsed().as_secs_f64()
    );
    drop(gateway);
    Arc::into_inner(cloud).unwrap().remove().await;
}
