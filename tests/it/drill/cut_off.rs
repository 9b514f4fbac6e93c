//! A node that is cut off from its database learns of no revocation, so it stops within the bound: it answers nobody with
//! yes, and when the line is back, it never accepts what was revoked meanwhile.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::cloud::{Place, Setup};
use crate::gateway::{Gateway, PATIENCE, answer};
use crate::store_postgres::Database;

/// The bound of P7.
const BOUND: Duration = Duration::from_secs(1);

/// A line to a server that can be frozen: nobody hangs up, and nothing comes through.
struct Line {
    port: u16,
    frozen: Arc<watch::Sender<bool>>,
}

impl Line {
    async fn to(address: (String, u16)) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let frozen = Arc::new(watch::Sender::new(false));
        let word = Arc::clone(&frozen);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (address, word) = (address.clone(), Arc::clone(&word));
                tokio::spawn(async move {
                    let Ok(server) = TcpStream::connect(address).await else { return };
                    let ((from_client, to_client), (from_server, to_server)) =
                        (client.into_split(), server.into_split());
                    tokio::join!(
                        pump(from_client, to_server, word.subscribe()),
                        pump(from_server, to_client, word.subscribe())
                    );
                });
            }
        });
        Self { port, frozen }
    }
}

/// Asks for what the token itself may do; the status.
async fn asks(gateway: &Gateway, token: &str) -> u16 {
    answer(gateway.http.get(format!("{}/limits", gateway.public)).bearer_auth(token)).await.0
}

async fn pump(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut frozen: watch::Receiver<bool>,
) {
    let mut buffer = vec![0; 16 << 10];
    loop {
        let Ok(count @ 1..) = from.read(&mut buffer).await else { return };
        if frozen.wait_for(|frozen| !frozen).await.is_err() || to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p7_a_node_without_its_database_says_yes_to_nobody_and_never_again_to_what_was_revoked() {
    let database = Database::migrated().await;
    let setup = Setup::at(Place::s3().await);
    let direct = database.address();
    let mut through: url::Url = direct.parse().unwrap();
    let line = Line::to((through.host_str().unwrap().to_owned(), through.port().unwrap())).await;
    through.set_host(Some("127.0.0.1")).unwrap();
    through.set_port(Some(line.port)).unwrap();
    let mut nodes = Vec::new();
    for address in [through.as_str(), &direct] {
        let dir = tempfile::tempdir().unwrap();
        setup.write_configuration(dir.path());
        let settings = [("VESTIBULE__STORE__URL", address), ("VESTIBULE__SWEEP__INTERVAL", "1h")];
        nodes.push(Gateway::serve_in(dir, "desk", &settings).await);
    }
    let (cut, other) = (&nodes[0], &nodes[1]);
    let body = json!({ "filename": "menu.jpg", "size": 10, "contentType": "image/jpeg" });
    for _ in 0..3 {
        assert_eq!(cut.post("/request-upload", body.clone()).await.0, 201);
        assert_eq!(asks(cut, &cut.token).await, 200);
    }

    line.frozen.send(true).unwrap();
    let began = Instant::now();
    let mut last_yes = Duration::ZERO;
    // Long enough that whatever waits for the database has given up, and later ones are refused at once.
    while began.elapsed() < Duration::from_secs(8) {
        let question = async {
            let limits = asks(cut, &cut.token).await;
            let (upload, _) = cut.post("/request-upload", body.clone()).await;
            [limits, upload]
        };
        if let Ok(answers) = tokio::time::timeout(Duration::from_secs(7), question).await {
            assert!(answers.iter().all(|status| [200, 201, 503].contains(status)), "{answers:?}");
            if answers.iter().any(|status| *status < 300) {
                last_yes = began.elapsed();
            }
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(last_yes < BOUND, "it went on for {last_yes:?}");
    assert_eq!(asks(cut, &cut.token).await, 503);

    let id = cut.token.split('_').nth(2).unwrap();
    let revoke = other.http.delete(format!("{}/admin/tokens/{id}", other.admin)).bearer_auth(&other.admin_token);
    assert_eq!(answer(revoke).await.0, 204);
    line.frozen.send(false).unwrap();
    let began = Instant::now();
    loop {
        match asks(cut, &cut.token).await {
            401 => break,
            503 => assert!(began.elapsed() < PATIENCE, "it does not come back"),
            status => panic!("{status}: a revoked token was accepted"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
