//! Thirty kills at random instants while ten clients upload.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;
use tokio::sync::watch;

use super::books::Books;
use super::client::{Client, File};
use crate::gateway::Gateway;

const KILLS: usize = 30;
const CLIENTS: usize = 10;
/// The instants of the kills follow from it; what the machine makes of them does not.
const SEED: u64 = 0x5eed_0009;

/// An upload whose answer the client has.
struct Acknowledged {
    id: String,
    bytes: Vec<u8>,
    /// Where it must end.
    end: &'static str,
}

#[derive(Clone)]
struct Load {
    client: Client,
    /// Whether the gateway runs. Whoever got no answer waits for it: a connection to a port where nobody listens may
    /// meet itself.
    up: watch::Receiver<bool>,
    stop: Arc<AtomicBool>,
    number: Arc<AtomicUsize>,
}

impl Load {
    async fn run(mut self) -> Vec<Acknowledged> {
        let mut sent = Vec::new();
        while !self.stop.load(Ordering::Relaxed) {
            let number = self.number.fetch_add(1, Ordering::Relaxed);
            let (file, end) = match number % 10 {
                0 => (File::infected(number), "quarantined"),
                1 => (File::mistyped(number), "rejected"),
                2 => (File::clean("menu.jpg", number), "issued"),
                _ => (File::clean("menu.jpg", number), "visible"),
            };
            let issued = self.request(&file, number).await;
            if end != "issued" {
                self.put(&issued, &file).await;
            }
            sent.push(Acknowledged { id: issued["objectId"].as_str().unwrap().to_owned(), bytes: file.bytes, end });
            // A pause, so that the scanner keeps up with ten clients.
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        sent
    }

    async fn request(&mut self, file: &File, number: usize) -> Value {
        loop {
            match self.client.request(file, &format!("storm-{number}")).await {
                Some((201, issued)) => return issued,
                Some((503, _)) => tokio::time::sleep(Duration::from_millis(100)).await,
                Some((status, problem)) => panic!("{status} {problem}"),
                None => self.wait().await,
            }
        }
    }

    async fn put(&mut self, issued: &Value, file: &File) {
        loop {
            match self.client.put(issued, &file.bytes).await {
                // 412: an earlier try arrived, and its answer did not.
                Some(200 | 412) => return,
                Some(status) => panic!("the storage answers {status}"),
                None => self.wait().await,
            }
        }
    }

    async fn wait(&mut self) {
        // The kill may be noticed here before it is told.
        tokio::time::sleep(Duration::from_millis(50)).await;
        self.up.wait_for(|up| *up).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thirty_kills_under_load_lose_nothing_that_was_acknowledged() {
    let mut gateway =
        Gateway::start_with(&[("VESTIBULE__SWEEP__INTERVAL", "1s"), ("VESTIBULE__TELEMETRY__FILTER", "warn")]).await;
    let books = Books::of(gateway.dir());
    let mut rng = StdRng::seed_from_u64(SEED);
    let (told, up) = watch::channel(true);
    let load = Load { client: Client::new(&gateway, &gateway.token), up, stop: Arc::default(), number: Arc::default() };
    let clients: Vec<_> = (0..CLIENTS).map(|_| tokio::spawn(load.clone().run())).collect();
    for _ in 0..KILLS {
        tokio::time::sleep(Duration::from_millis(rng.random_range(20..600))).await;
        told.send_replace(false);
        gateway.kill();
        books.assert_balanced();
        gateway.start_again(&[]).await;
        told.send_replace(true);
    }
    load.stop.store(true, Ordering::Relaxed);
    let mut sent = Vec::new();
    for client in clients {
        sent.extend(client.await.unwrap());
    }

    let started = Instant::now();
    let under_way = |books: &Books| {
        let objects = books.objects();
        !books.jobs().is_empty() || sent.iter().any(|one| one.end != "issued" && objects[&one.id].state == "issued")
    };
    while under_way(&books) {
        assert!(started.elapsed() < Duration::from_secs(150), "left: {:?} {:?}", books.states(), books.jobs());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }

    let objects = books.objects();
    for one in &sent {
        let row = objects.get(&one.id).unwrap_or_else(|| panic!("{} was acknowledged and is lost", one.id));
        assert_eq!(row.state, one.end, "{row:?}");
    }
    let keys: BTreeSet<_> = sent.iter().map(|one| &one.id).collect();
    assert_eq!((keys.len(), objects.len()), (sent.len(), sent.len()), "one object for each idempotency key");
    books.assert_balanced();
    books.assert_serves_what_it_says("vestibule-images");
    let client = load.client;
    for one in &sent {
        match client.download(&one.id).await {
            Ok(bytes) => assert!(one.end == "visible" && bytes == one.bytes, "{} has other bytes", one.id),
            Err(refusal) => assert_ne!(one.end, "visible", "{}: {refusal:?}", one.id),
        }
    }
    println!("faults: {KILLS} kills, {} acknowledged uploads, {:?}", sent.len(), books.states());
}
