//! Proofs against a real store with a clock that is set by hand: nonces that age, keys that rotate, windows that end.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use secrecy::SecretSlice;
use vestibule::clock::Clock;
use vestibule::domain::audit::{AuditAction, AuditEntry, Outcome};
use vestibule::identity::{
    NonceKeys, ProofError, ProofRules, Proofs, Proven, ShownProof, StoredNonceKeys, VerifyError,
};
use vestibule::store::sqlite::{SqliteOptions, SqliteStore};
use vestibule::store::{GatewayKey, KeyPurpose, Store, StoreError};

use super::Client;

/// Keys that the test exchanges.
pub(super) struct Keys(Mutex<Vec<[u8; 32]>>);

impl Default for Keys {
    fn default() -> Self {
        Self(Mutex::new(vec![[1; 32]]))
    }
}

pub(super) const RULES: ProofRules = ProofRules {
    nonces: true,
    nonce_life: Duration::from_secs(300),
    max_age: Duration::from_secs(60),
    clock_skew: Duration::from_secs(30),
};

#[async_trait]
impl NonceKeys for Keys {
    fn current(&self, _: Timestamp) -> Vec<SecretSlice<u8>> {
        self.0.lock().unwrap().iter().map(|key| SecretSlice::from(key.to_vec())).collect()
    }

    async fn refresh(&self, _: Duration) -> Result<(), StoreError> {
        Ok(())
    }
}

struct Bench {
    clock: Clock,
    keys: Arc<Keys>,
    proofs: Proofs,
    store: Arc<SqliteStore>,
    client: Client,
    _dir: tempfile::TempDir,
}

const URL: &str = "https://files.example.com/oauth/token";

impl Bench {
    fn start(nonces: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store =
            Arc::new(SqliteStore::open(&dir.path().join("vestibule.db"), SqliteOptions::default(), None).unwrap());
        let clock = Clock::manual("2026-11-22T12:00:00Z".parse().unwrap());
        let keys = Arc::<Keys>::default();
        let rules = ProofRules { nonces, ..RULES };
        let base = "https://files.example.com";
        let proofs = Proofs::new(Arc::clone(&store) as _, clock.clone(), base, rules, Arc::clone(&keys) as _);
        Self { clock, keys, proofs, store, client: Client::new(), _dir: dir }
    }

    /// A proof for the token endpoint, made now by a clock that is `ahead` seconds ahead.
    fn proof(&self, ahead: i64, nonce: Option<&str>) -> String {
        let mut claims = self.client.claims("POST", URL, None);
        claims.insert("iat".into(), (self.clock.now().as_second() + ahead).into());
        if let Some(nonce) = nonce {
            claims.insert("nonce".into(), nonce.into());
        }
        self.client.sign(&self.client.header(), &claims)
    }

    async fn verify(&self, proof: &str) -> Result<Proven, ProofError> {
        let shown = ShownProof { proof, method: "POST", path: "/oauth/token", token: None, key: None };
        self.proofs.verify(&shown).await.map_err(|error| match error {
            VerifyError::Proof(error) => error,
            VerifyError::Store(error) => panic!("{error}"),
        })
    }
}

#[tokio::test]
async fn a_nonce_is_renewed_before_it_ends() {
    let bench = Bench::start(true);
    assert_eq!(bench.verify(&bench.proof(0, None)).await, Err(ProofError::NoNonce));
    let nonce = bench.proofs.nonce().unwrap();
    let proven = bench.verify(&bench.proof(0, Some(&nonce))).await.unwrap();
    assert_eq!((proven.key.to_string(), proven.renew), (bench.client.jkt(), false));
    bench.clock.advance(Duration::from_secs(200));
    assert!(bench.verify(&bench.proof(0, Some(&nonce))).await.unwrap().renew);
    bench.clock.advance(Duration::from_secs(101));
    assert_eq!(bench.verify(&bench.proof(0, Some(&nonce))).await, Err(ProofError::OldNonce));
}

#[tokio::test]
async fn a_rotated_key_makes_the_next_nonces_and_the_old_ones_stay_good_meanwhile() {
    let bench = Bench::start(true);
    let old = bench.proofs.nonce().unwrap();
    *bench.keys.0.lock().unwrap() = vec![[2; 32], [1; 32]];
    let new = bench.proofs.nonce().unwrap();
    assert_ne!(old, new);
    for nonce in [&old, &new] {
        assert!(bench.verify(&bench.proof(0, Some(nonce))).await.is_ok());
    }
    *bench.keys.0.lock().unwrap() = vec![[2; 32]];
    assert_eq!(bench.verify(&bench.proof(0, Some(&old))).await, Err(ProofError::OldNonce));
    assert!(bench.verify(&bench.proof(0, Some(&new))).await.is_ok());
}

#[tokio::test]
async fn a_proof_is_remembered_for_as_long_as_it_could_be_taken() {
    let bench = Bench::start(false);
    assert_eq!(bench.proofs.nonce(), None);
    for (ahead, expected) in [(-91, Some(ProofError::Old)), (31, Some(ProofError::Future)), (-90, None), (30, None)] {
        assert_eq!(bench.verify(&bench.proof(ahead, None)).await.err(), expected, "{ahead}");
    }
    let proof = bench.proof(30, None);
    assert!(bench.verify(&proof).await.is_ok());
    for _ in 0..12 {
        assert_eq!(bench.verify(&proof).await, Err(ProofError::Used));
        bench.clock.advance(Duration::from_secs(10));
        bench.store.prune(bench.clock.now()).await.unwrap();
    }
    bench.clock.advance(Duration::from_secs(1));
    assert_eq!(bench.verify(&proof).await, Err(ProofError::Old), "forgotten once it is too old, not before");
}

#[tokio::test]
async fn a_node_whose_clock_is_behind_takes_no_proof_again() {
    let bench = Bench::start(false);
    let behind = Clock::manual(bench.clock.now());
    let rules = ProofRules { nonces: false, clock_skew: Duration::ZERO, ..RULES };
    let node = |clock: &Clock| {
        let base = "https://files.example.com";
        Proofs::new(Arc::clone(&bench.store) as _, clock.clone(), base, rules, Arc::clone(&bench.keys) as _)
    };
    let (first, second) = (node(&bench.clock), node(&behind));
    let proof = bench.proof(0, None);
    let shown = ShownProof { proof: &proof, method: "POST", path: "/oauth/token", token: None, key: None };
    first.verify(&shown).await.unwrap();
    bench.clock.advance(Duration::from_secs(90));
    behind.advance(Duration::from_secs(40));
    bench.store.prune(bench.clock.now()).await.unwrap();
    let again = second.verify(&shown).await;
    assert!(matches!(again, Err(VerifyError::Proof(ProofError::Used))), "{again:?}");
}

#[tokio::test]
async fn a_proof_that_is_only_looked_at_is_good_until_it_is_spent() {
    let bench = Bench::start(false);
    let proof = bench.proof(0, None);
    let shown = ShownProof { proof: &proof, method: "POST", path: "/oauth/token", token: None, key: None };
    let (one, two) = (bench.proofs.check(&shown).await.unwrap(), bench.proofs.check(&shown).await.unwrap());
    assert_eq!((one.key().to_string(), one.renew()), (bench.client.jkt(), false));
    assert!(bench.proofs.spend(one).await.is_ok());
    assert!(matches!(bench.proofs.spend(two).await, Err(VerifyError::Proof(ProofError::Used))));
}

#[tokio::test]
async fn a_proof_that_is_refused_for_anything_else_is_not_used_up() {
    let bench = Bench::start(true);
    let nonce = bench.proofs.nonce().unwrap();
    let proof = bench.proof(0, Some(&nonce));
    let shown = ShownProof { proof: &proof, method: "GET", path: "/oauth/token", token: None, key: None };
    assert!(bench.proofs.verify(&shown).await.is_err());
    let other = Client::new().jkt().parse().unwrap();
    let shown = ShownProof { method: "POST", key: Some(&other), ..shown };
    assert!(matches!(bench.proofs.verify(&shown).await, Err(VerifyError::Proof(ProofError::OtherKey))));
    assert!(bench.verify(&proof).await.is_ok());
}

#[tokio::test]
async fn the_stored_keys_are_made_once_and_a_rotation_is_known_while_nodes_run() {
    let bench = Bench::start(true);
    let store: Arc<dyn Store> = Arc::clone(&bench.store) as _;
    let node = async || {
        let keys = StoredNonceKeys::open(Arc::clone(&store), &bench.clock).await.unwrap();
        Proofs::new(Arc::clone(&store), bench.clock.clone(), "https://files.example.com", RULES, Arc::new(keys))
    };
    let (first, second) = (node().await, node().await);
    let verify = async |proofs: &Proofs, nonce: &str| {
        let proof = bench.proof(0, Some(nonce));
        let shown = ShownProof { proof: &proof, method: "POST", path: "/oauth/token", token: None, key: None };
        proofs.verify(&shown).await.map(|proven| proven.renew).map_err(|error| error.to_string())
    };
    let old = first.nonce().unwrap();
    assert_eq!(verify(&second, &old).await, Ok(false), "one key for all nodes");

    let next = GatewayKey {
        id: "nonce-2-test".parse().unwrap(),
        purpose: KeyPurpose::DpopNonce,
        number: 2,
        secret: vec![9; 32].into(),
        created_at: bench.clock.now(),
        accepted_until: None,
    };
    let until = bench.clock.now() + Duration::from_secs(60);
    let audit = AuditEntry::new(bench.clock.now(), AuditAction::RotateKey, Outcome::Allowed);
    assert!(store.add_gateway_key(next, Some(until), audit).await.unwrap());
    let third = node().await;
    let new = third.nonce().unwrap();
    // The keys may have been read a moment ago; then the nonce is good half a second later.
    let began = std::time::Instant::now();
    while verify(&first, &new).await.is_err() {
        assert!(began.elapsed() < Duration::from_secs(5), "the rotation is never seen");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(verify(&third, &old).await.is_ok(), "the old key is accepted for its window");
    bench.clock.advance(Duration::from_secs(61));
    assert!(verify(&third, &old).await.is_err(), "and no longer");
}
