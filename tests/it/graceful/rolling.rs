//! Three nodes on one database behind haproxy, restarted one after the other under load: no request fails.
//!
//! haproxy works on plain TCP and asks `/readyz`; the clients keep their connections, repeat nothing, and leave a
//! connection only where an answer tells them to.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::line::{Line, authority, upload};
use crate::cloud::{Place, Setup};
use crate::gateway::{Gateway, PATIENCE};
use crate::store_postgres::Database;

/// A balancer of this test, ended with it.
struct Balancer {
    child: Child,
    dir: tempfile::TempDir,
    url: String,
}

impl Balancer {
    async fn over(nodes: &[Gateway]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut text = format!(
            "global\n  stats socket {}\ndefaults\n  mode tcp\n  timeout connect 2s\n  timeout client 60s\n  \
             timeout server 60s\nfrontend apps\n  bind 127.0.0.1:{port}\n  default_backend nodes\nbackend nodes\n  \
             balance roundrobin\n  option httpchk GET /readyz\n  http-check expect status 200\n  \
             default-server inter 200ms fall 2 rise 2\n",
            dir.path().join("stats").display()
        );
        for (at, node) in nodes.iter().enumerate() {
            text.push_str(&format!("  server n{at} {} check\n", authority(&node.public)));
        }
        std::fs::write(dir.path().join("haproxy.cfg"), text).unwrap();
        let path = format!("{}:/usr/sbin:/usr/local/sbin", std::env::var("PATH").unwrap());
        let child = Command::new("haproxy")
            .env("PATH", path)
            .args(["-db", "-f"])
            .arg(dir.path().join("haproxy.cfg"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("haproxy is not installed: run localstack/up");
        let balancer = Self { child, dir, url: format!("http://127.0.0.1:{port}") };
        balancer.until_all_are_up(nodes.len()).await;
        balancer
    }

    /// Waits until so many nodes get requests.
    async fn until_all_are_up(&self, count: usize) {
        let began = Instant::now();
        loop {
            let told = statistics(&self.dir.path().join("stats")).await;
            let up = told.lines().filter(|line| line.starts_with("nodes,n") && line.contains(",UP,")).count();
            if up == count {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "{up} of {count} nodes are up\n{told}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn statistics(socket: &Path) -> String {
    let mut told = String::new();
    if let Ok(mut line) = UnixStream::connect(socket).await {
        line.write_all(b"show stat\n").await.unwrap();
        line.read_to_string(&mut told).await.unwrap();
    }
    told
}

/// What the clients saw.
#[derive(Default)]
struct Seen {
    stop: AtomicBool,
    issued: AtomicUsize,
    moved: AtomicUsize,
    failed: std::sync::Mutex<Vec<String>>,
}

/// Asks again and again on one kept connection.
async fn client(url: String, token: String, pause: Duration, seen: Arc<Seen>) {
    let request = upload(&token);
    let mut kept = None;
    while !seen.stop.load(Ordering::Relaxed) {
        let result = async {
            let line = match &mut kept {
                Some(line) => line,
                none => none.insert(Line::to(&url).await?),
            };
            line.ask(&request).await
        };
        match tokio::time::timeout(Duration::from_secs(20), result).await {
            Ok(Ok(answer)) if answer.status == 201 => {
                seen.issued.fetch_add(1, Ordering::Relaxed);
                if answer.closes {
                    seen.moved.fetch_add(1, Ordering::Relaxed);
                    kept = None;
                }
            }
            bad => {
                seen.failed.lock().unwrap().push(format!("{bad:?}"));
                kept = None;
            }
        }
        tokio::time::sleep(pause).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_node_is_restarted_in_turn_and_no_request_fails() {
    let database = Database::migrated().await;
    let address = database.address();
    let setup = Setup::at(Place::s3().await).objects(1_000_000);
    let settings = [
        ("VESTIBULE__STORE__URL", address.as_str()),
        ("VESTIBULE__SWEEP__INTERVAL", "1h"),
        ("VESTIBULE__SHUTDOWN__DRAIN", "2s"),
        ("VESTIBULE__TELEMETRY__FILTER", "info"),
    ];
    let mut nodes = Vec::new();
    for _ in 0..3 {
        let dir = tempfile::tempdir().unwrap();
        setup.write_configuration(dir.path());
        nodes.push(Gateway::serve_in(dir, "desk", &settings).await);
    }
    let balancer = Balancer::over(&nodes).await;
    let seen = Arc::<Seen>::default();
    let clients: Vec<_> = (0..12)
        .map(|at| {
            let pause = Duration::from_millis([5, 20, 50, 300][at % 4]);
            tokio::spawn(client(balancer.url.clone(), nodes[0].token.clone(), pause, Arc::clone(&seen)))
        })
        .collect();

    for node in &mut nodes {
        let before = seen.issued.load(Ordering::Relaxed);
        node.signal("TERM");
        assert_eq!(node.wait_for_end().await, Some(0));
        assert!(seen.issued.load(Ordering::Relaxed) > before, "the others go on");
        node.start_again(&[]).await;
        balancer.until_all_are_up(3).await;
    }
    seen.stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    assert_eq!(*seen.failed.lock().unwrap(), Vec::<String>::new());
    let issued = seen.issued.load(Ordering::Relaxed);
    assert!(issued > 100 && seen.moved.load(Ordering::Relaxed) >= 3, "{issued}");
    // Everything that was answered is there, and nothing else: no request was carried out twice.
    assert_eq!(database.count("objects").await, issued as i64);
    database.assert_consistent().await;
}
