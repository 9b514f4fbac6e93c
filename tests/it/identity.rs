//! Authentication against a real store: what a token opens, and how fast a revocation closes it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use vestibule::clock::Clock;
use vestibule::domain::admin::AdminRoles;
use vestibule::domain::audit::AuditAction;
use vestibule::domain::bytes::Sha256Digest;
use vestibule::domain::principal::Environment;
use vestibule::domain::refusal::Reason;
use vestibule::domain::revocation::RevocationTarget;
use vestibule::identity::access_token::Claims;
use vestibule::identity::{AuthError, Authenticator, MAX_AGE, Token, TokenKind, new_key};
use vestibule::store::sqlite::{SqliteOptions, SqliteStore};
use vestibule::store::{CreateOutcome, IdentityStore, KeyPurpose, TokenHolder, TokenRecord};

use crate::possession::{Nothing, proofs};
use crate::store_conformance::Bench;

const LIVE: TokenKind = TokenKind::Workflow(Environment::Live);

struct Gateway {
    bench: Bench,
    authenticator: Authenticator,
    path: std::path::PathBuf,
    _dir: tempfile::TempDir,
}

impl Gateway {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("vestibule.db");
        let store = Arc::new(SqliteStore::open(&path, SqliteOptions::default(), None).unwrap());
        let bench = Bench::new(store.clone());
        let authenticator =
            Authenticator::new(Arc::clone(&store) as _, bench.clock.clone(), proofs(store, &bench.clock));
        Self { bench, authenticator, path, _dir: dir }
    }

    async fn issue(&self, kind: TokenKind) -> (Token, TokenRecord) {
        let (token, id, hash) = Token::generate(kind, &Clock::system());
        let mut record = TokenRecord { id, hash, ..self.bench.token("0123456789abcdef") };
        if kind == TokenKind::Operator {
            record.holder = TokenHolder::Operator { name: "ana".into(), roles: AdminRoles::admin() };
        }
        self.bench.store.create_token(record.clone(), self.bench.act(AuditAction::CreateToken)).await.unwrap();
        (token, record)
    }

    async fn refused(&self, presented: &str) -> Option<Reason> {
        match self.authenticator.workflow(presented, &Nothing).await {
            Ok(_) => None,
            Err(AuthError::Refused(refusal) | AuthError::Unproven(_, refusal)) => Some(refusal.reason),
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn a_token_opens_for_its_own_kind_only() {
    let gateway = Gateway::start();
    let (live, record) = gateway.issue(LIVE).await;
    let (admin, _) = gateway.issue(TokenKind::Operator).await;
    let principal = gateway.authenticator.workflow(live.expose(), &Nothing).await.unwrap().who;
    assert_eq!(
        (&principal.token, principal.app.as_str(), principal.environment),
        (&record.id, "where2eat", Environment::Live)
    );
    assert_eq!(principal.scopes.len(), 1);
    assert_eq!(gateway.authenticator.operator(admin.expose()).await.unwrap().name, "ana");
    assert!(gateway.authenticator.operator(live.expose()).await.is_err());
    assert_eq!(gateway.refused(admin.expose()).await, Some(Reason::TokenInvalid));
    let (unknown, ..) = Token::generate(LIVE, &Clock::system());
    assert_eq!(gateway.refused(unknown.expose()).await, Some(Reason::TokenInvalid));
    assert_eq!(gateway.refused("vst_live_").await, Some(Reason::TokenInvalid));
}

#[tokio::test]
async fn a_token_expires_by_the_clock_even_while_it_is_remembered() {
    let gateway = Gateway::start();
    let (token, _) = gateway.issue(LIVE).await;
    assert_eq!(gateway.refused(token.expose()).await, None);
    gateway.bench.clock.advance(Duration::from_secs(24 * 3600));
    assert_eq!(gateway.refused(token.expose()).await, Some(Reason::TokenExpired));
}

#[tokio::test]
async fn p7_a_revocation_by_this_process_is_effective_at_once() {
    let gateway = Gateway::start();
    let (token, record) = gateway.issue(LIVE).await;
    assert_eq!(gateway.refused(token.expose()).await, None);
    assert!(gateway.authenticator.holder_in_force(&record.id).await.unwrap().is_some());
    assert_eq!(gateway.bench.revoke(RevocationTarget::Token(record.id.clone()), false).await.killed, 1);
    gateway.authenticator.forget(&record.id);
    assert_eq!(gateway.refused(token.expose()).await, Some(Reason::TokenRevoked));
    assert!(gateway.authenticator.holder_in_force(&record.id).await.unwrap().is_none());
}

#[tokio::test]
async fn p7_a_revocation_by_another_process_is_effective_within_a_second() {
    let gateway = Gateway::start();
    let (token, record) = gateway.issue(LIVE).await;
    assert_eq!(gateway.refused(token.expose()).await, None);
    let other = SqliteStore::open(&gateway.path, SqliteOptions::default(), None).unwrap();
    let revoke = gateway.bench.revocation(RevocationTarget::Token(record.id), false);
    assert_eq!(other.revoke(revoke).await.unwrap().killed, 1);
    let revoked = Instant::now();
    while gateway.refused(token.expose()).await.is_none() {
        assert!(revoked.elapsed() < Duration::from_secs(1), "still accepted");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn p7_a_token_that_is_remembered_for_long_is_forgotten_when_anything_is_revoked() {
    let gateway = Gateway::start();
    let (token, record) = gateway.issue(LIVE).await;
    let pass = async || tokio::time::sleep(MAX_AGE + Duration::from_millis(20)).await;
    for _ in 0..3 {
        assert_eq!(gateway.refused(token.expose()).await, None);
        pass().await;
    }
    // Behind the gateway's back: nothing says that a token has changed, so that the record is not read again.
    let sqlite = rusqlite::Connection::open(&gateway.path).unwrap();
    let behind = "UPDATE tokens SET revoked_at = 1 WHERE id = ?1";
    assert_eq!(sqlite.execute(behind, [record.id.as_str()]).unwrap(), 1);
    assert_eq!(gateway.refused(token.expose()).await, None);
    let other = SqliteStore::open(&gateway.path, SqliteOptions::default(), None).unwrap();
    // A new token changes nothing of those that there are.
    let another = TokenRecord { id: "fedcba9876543210".parse().unwrap(), ..record };
    let created = other.create_token(another.clone(), gateway.bench.act(AuditAction::CreateToken)).await.unwrap();
    assert_eq!(created, CreateOutcome::Created);
    pass().await;
    assert_eq!(gateway.refused(token.expose()).await, None);
    other.revoke(gateway.bench.revocation(RevocationTarget::Token(another.id), false)).await.unwrap();
    pass().await;
    assert_eq!(gateway.refused(token.expose()).await, Some(Reason::TokenRevoked));
}

#[tokio::test]
async fn p7_a_token_that_was_unknown_is_known_soon_after_another_process_made_it() {
    let gateway = Gateway::start();
    let (token, id, hash) = Token::generate(LIVE, &Clock::system());
    assert_eq!(gateway.refused(token.expose()).await, Some(Reason::TokenInvalid));
    let other = SqliteStore::open(&gateway.path, SqliteOptions::default(), None).unwrap();
    let record = TokenRecord { id, hash, ..gateway.bench.token("0123456789abcdef") };
    other.create_token(record, gateway.bench.act(AuditAction::CreateToken)).await.unwrap();
    let created = Instant::now();
    while gateway.refused(token.expose()).await.is_some() {
        assert!(created.elapsed() < Duration::from_secs(1), "still unknown");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_signed_token_ends_with_its_keys_window_even_while_it_is_remembered() {
    let gateway = Gateway::start();
    let (clock, store) = (gateway.bench.clock.clone(), &gateway.bench.store);
    let key = gateway.authenticator.keys().signing().await.unwrap();
    let (_, id, _) = Token::generate(LIVE, &clock);
    let claims = Claims {
        iss: "https://files.example",
        sub: "where2eat/menu-import",
        aud: "https://files.example",
        client_id: "where2eat/menu-import",
        exp: clock.now().as_second() + 900,
        iat: clock.now().as_second(),
        jti: &id,
        scope: "",
        cnf: None,
    };
    let text = key.sign(&claims).unwrap();
    let hash = Sha256Digest::of(text.as_bytes());
    let record = TokenRecord { id, hash, key: Some(key.id().clone()), ..gateway.bench.token("0123456789abcdef") };
    store.create_token(record, gateway.bench.act(AuditAction::CreateToken)).await.unwrap();
    let newest = store.gateway_keys(KeyPurpose::TokenSigning).await.unwrap();
    let next = new_key(KeyPurpose::TokenSigning, newest.first(), &clock).unwrap();
    let until = clock.now() + jiff::SignedDuration::from_secs(60);
    assert!(store.add_gateway_key(next, Some(until), gateway.bench.act(AuditAction::RotateKey)).await.unwrap());
    gateway.authenticator.keys().forget();
    assert_eq!(gateway.refused(&text).await, None, "accepted for the window");
    clock.advance(Duration::from_secs(60));
    assert_eq!(gateway.refused(&text).await, Some(Reason::TokenInvalid));
}

#[tokio::test]
async fn a_token_whose_key_is_not_proven_was_not_used() {
    let gateway = Gateway::start();
    let (token, id, hash) = Token::generate(LIVE, &Clock::system());
    let binding = Some("jkt:0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I".parse().unwrap());
    let record = TokenRecord { id, hash, binding, ..gateway.bench.token("0123456789abcdef") };
    gateway.bench.store.create_token(record, gateway.bench.act(AuditAction::CreateToken)).await.unwrap();
    assert!(gateway.refused(token.expose()).await.is_some());
    assert!(gateway.authenticator.take_uses().used.is_empty(), "a thief without the key keeps no token in use");
    let (used, record) = gateway.issue(LIVE).await;
    assert_eq!(gateway.refused(used.expose()).await, None);
    assert_eq!(gateway.authenticator.take_uses().used[0].0, record.id);
}
