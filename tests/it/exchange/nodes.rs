//! Two nodes on one database: what one makes, rotates or revokes holds on the other.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Bench, part};
use crate::cloud::{Place, Setup};
use crate::gateway::{Gateway, answer};
use crate::oidc::provider::{Key, Provider};
use crate::store_postgres::Database;

/// What a node knows that was done on another one, every question that it gets later than this is answered by (P7).
const BOUND: Duration = Duration::from_secs(1);

/// Two nodes that trust one provider, whose people get tokens of the app `desk`.
struct Two {
    nodes: [Gateway; 2],
    provider: Provider,
    key: Key,
    _setup: Setup,
}

impl Two {
    async fn start(database: &Database) -> Self {
        let key = Key::es256("own");
        let provider = Provider::start(&[&key]).await;
        let issuers = json!([{ "name": "company", "issuer": provider.issuer, "environment": "live",
            "algorithms": ["ES256"], "clients": ["desk-page"] }])
        .to_string();
        let setup = Setup::at(Place::s3().await);
        let (address, issuers) = (database.address(), issuers.as_str());
        let nodes = [Self::node(&setup, &address, issuers).await, Self::node(&setup, &address, issuers).await];
        Self { nodes, provider, key, _setup: setup }
    }

    async fn node(setup: &Setup, database: &str, issuers: &str) -> Gateway {
        let dir = tempfile::tempdir().unwrap();
        setup.write_configuration(dir.path());
        let manifest = dir.path().join("policies/apps/desk.toml");
        let exchange = "[exchange]\nworkflow = 'page'\nissuers = ['company']\nclients = ['desk-page']\n\
                        actions = ['write', 'read', 'list']\nmax_ttl = '10m'\n";
        std::fs::write(&manifest, std::fs::read_to_string(&manifest).unwrap() + exchange).unwrap();
        let settings = [
            ("VESTIBULE__STORE__URL", database),
            ("VESTIBULE__IDENTITY__ISSUERS", issuers),
            ("VESTIBULE__SWEEP__INTERVAL", "1h"),
        ];
        Gateway::serve_in(dir, "desk", &settings).await
    }

    /// A token of a person, from this node.
    async fn exchanged(&self, node: usize) -> Value {
        let now = Bench::now();
        let claims =
            json!({ "iss": self.provider.issuer, "sub": "anna", "aud": "desk-page", "iat": now, "exp": now + 600 });
        let subject = self.key.sign(json!({}), &claims);
        let (status, body) = self.nodes[node].post_as(&subject, "/exchange", json!({ "audience": "desk" })).await;
        assert_eq!(status, 200, "{body}");
        body
    }

    /// Whether this node takes it: 200 or 401.
    async fn works(&self, node: usize, exchanged: &Value) -> u16 {
        let node = &self.nodes[node];
        let token = exchanged["access_token"].as_str().unwrap();
        answer(node.http.get(format!("{}/limits", node.public)).bearer_auth(token)).await.0
    }

    /// Asks until it is so. A question that is put after the bound is answered as it must be.
    async fn within_the_bound(&self, what: &str, is_so: impl AsyncFn() -> bool) {
        let began = Instant::now();
        loop {
            let asked = began.elapsed();
            if is_so().await {
                return;
            }
            assert!(asked < BOUND, "{what}: not after {asked:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

fn kid(exchanged: &Value) -> String {
    part(exchanged["access_token"].as_str().unwrap(), 0)["kid"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p7_a_token_of_one_node_works_on_the_other_at_once_and_dies_there_within_a_second() {
    let database = Database::migrated().await;
    let two = Two::start(&database).await;
    for (maker, other) in [(0, 1), (1, 0)] {
        let token = two.exchanged(maker).await;
        assert_eq!((two.works(other, &token).await, two.works(maker, &token).await), (200, 200));
        let body = json!({ "kind": "token", "id": token["token_id"], "reason": "left open" });
        assert_eq!(two.nodes[maker].admin_post("/admin/revocations", body).await.0, 201);
        assert_eq!(two.works(maker, &token).await, 401);
        two.within_the_bound("it is dead on the other", async || two.works(other, &token).await == 401).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p7_a_signing_key_is_rotated_and_revoked_on_every_node_within_a_second() {
    let database = Database::migrated().await;
    let two = Two::start(&database).await;
    // Both begin with one key, however late each of them needs it.
    let (first, of_other) = (two.exchanged(0).await, two.exchanged(1).await);
    assert_eq!(kid(&first), kid(&of_other));

    let (status, rotated) =
        two.nodes[0].admin_post("/admin/keys/token-signing/rotate", json!({ "window": "1h" })).await;
    assert_eq!((status, rotated["previousKeyId"].as_str()), (201, Some(kid(&first).as_str())), "{rotated}");
    let new = two.exchanged(0).await;
    assert_ne!(kid(&new), kid(&first), "at once, where it was rotated");
    assert_eq!(two.works(1, &new).await, 200, "a key that a node has not seen yet");
    two.within_the_bound("the other signs with the new key", async || kid(&two.exchanged(1).await) == kid(&new)).await;
    for node in [0, 1] {
        assert_eq!((two.works(node, &first).await, two.works(node, &of_other).await), (200, 200), "in the window");
    }

    let body = json!({ "kind": "key", "id": kid(&new), "reason": "a copy of it was found" });
    assert_eq!(two.nodes[1].admin_post("/admin/revocations", body).await.0, 201);
    assert_eq!(two.works(1, &new).await, 401);
    two.within_the_bound("dead on the other", async || two.works(0, &new).await == 401).await;
    let next = two.exchanged(0).await;
    assert!(kid(&next) != kid(&new) && two.works(1, &next).await == 200, "and nobody waits for another key");
}
