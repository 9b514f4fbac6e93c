//! Requests for access: decided once, claimed once, and never past their end.

use futures::future::join_all;
use jiff::SignedDuration;
use vestibule::domain::access::{AccessRequest, AccessState, AccessStateName, AskedAccess, Claim, Decision};
use vestibule::domain::audit::AuditAction;
use vestibule::domain::bytes::Sha256Digest;
use vestibule::domain::ids::{AccessRequestId, TokenId};
use vestibule::domain::principal::Environment;
use vestibule::domain::revocation::RevocationTarget;
use vestibule::store::{
    AccessQuery, AuditQuery, ClaimOutcome, ClaimToken, CreateOutcome, DecideAccessRequest, Revoke, TOKENS_AS_OF,
    TokenHolder, TokenRecord,
};

use super::Bench;

fn pending(bench: &Bench, app: &str) -> AccessRequest {
    let asked = AskedAccess {
        app: app.parse().unwrap(),
        workflow: "nightly".parse().unwrap(),
        owner: "marketing".parse().unwrap(),
        environment: Environment::Live,
        scopes: vec![format!("storage:*:{app}:read").parse().unwrap()],
        expires_at: Some(bench.clock.now() + SignedDuration::from_hours(24)),
        changes: None,
        before: None,
        binding: None,
    };
    AccessRequest {
        id: AccessRequestId::from_uuid(bench.clock.uuid()),
        asked,
        by: "ada".into(),
        reason: "imports \"m\u{e4}rz\" each night".into(),
        created_at: bench.clock.now(),
        state: AccessState::Pending,
    }
}

fn decision(bench: &Bench) -> Decision {
    Decision {
        by: "bob".into(),
        targets: vec![RevocationTarget::User("bob".into())],
        at: bench.clock.now(),
        reason: "agreed".into(),
        rule: Some("access.toml:4".into()),
    }
}

fn claim_of(bench: &Bench, byte: u8) -> Claim {
    Claim { hash: Sha256Digest([byte; 32]), ends_at: bench.clock.now() + SignedDuration::from_hours(1) }
}

impl Bench {
    /// Saves a request that was approved in advance.
    pub(crate) async fn asked_for(&self) {
        approved(self, 7).await;
    }
}

/// A request that may be claimed with the digest of this byte.
async fn approved(bench: &Bench, byte: u8) -> AccessRequest {
    let mut request = pending(bench, "where2eat");
    request.state = AccessState::Pending.approve(decision(bench), claim_of(bench, byte)).unwrap();
    bench.store.create_access_request(request.clone(), bench.act(AuditAction::RequestAccess)).await.unwrap();
    request
}

fn token(bench: &Bench) -> TokenRecord {
    let random: [u8; 32] = bench.clock.random();
    let id: TokenId = random.map(|byte| char::from(b'a' + byte % 26))[..16].iter().collect::<String>().parse().unwrap();
    let holder = TokenHolder::Workflow {
        app: "where2eat".parse().unwrap(),
        workflow: "nightly".parse().unwrap(),
        owner: "marketing".parse().unwrap(),
        environment: Environment::Live,
        scopes: vec!["storage:*:where2eat:read".parse().unwrap()],
        subject: None,
    };
    TokenRecord::new(id, Sha256Digest(random), holder, bench.clock.now(), None)
}

fn spend(bench: &Bench, byte: u8, token: &TokenRecord) -> ClaimToken {
    ClaimToken {
        claim: Sha256Digest([byte; 32]),
        token: token.clone(),
        replaces: None,
        now: bench.clock.now(),
        audit: bench.act(AuditAction::ClaimToken),
    }
}

async fn revoke(bench: &Bench, target: RevocationTarget, blocks: bool) {
    let revoke = Revoke {
        id: vestibule::domain::ids::RevocationId::from_uuid(bench.clock.uuid()),
        target,
        at: bench.clock.now(),
        by: "ada".into(),
        reason: "leaked".into(),
        blocks,
        contain: false,
        audit: bench.act(AuditAction::RevokeToken),
    };
    bench.store.revoke(revoke).await.unwrap();
}

async fn entries(bench: &Bench) -> usize {
    bench.store.audit_entries(AuditQuery { limit: 100, ..Default::default() }).await.unwrap().len()
}

pub(super) async fn a_request_reads_back_and_is_decided_once(bench: Bench) {
    let request = pending(&bench, "where2eat");
    bench.store.create_access_request(request.clone(), bench.act(AuditAction::RequestAccess)).await.unwrap();
    assert_eq!(bench.store.access_request(request.id).await.unwrap(), Some(request.clone()));
    let approve = |byte| {
        let to = AccessState::Pending.approve(decision(&bench), claim_of(&bench, byte)).unwrap();
        DecideAccessRequest { id: request.id, to, audit: bench.act(AuditAction::ApproveAccess) }
    };
    let decided = join_all((1..=6).map(|byte| bench.store.decide_access_request(approve(byte)))).await;
    assert_eq!(decided.iter().filter(|decided| *decided.as_ref().unwrap()).count(), 1, "of many approvals one counts");
    let found = bench.store.access_request(request.id).await.unwrap().unwrap();
    let claim = *found.state.claim().unwrap();
    let by_claim = bench.store.access_request_by_claim(claim.hash, bench.clock.now()).await.unwrap();
    assert_eq!(by_claim, Some(found));

    let deny = || DecideAccessRequest {
        id: request.id,
        to: AccessState::Pending.deny(decision(&bench)).unwrap(),
        audit: bench.act(AuditAction::DenyAccess),
    };
    assert!(bench.store.decide_access_request(deny()).await.unwrap(), "an approval can be taken back");
    assert!(!bench.store.decide_access_request(deny()).await.unwrap());
    assert!(!bench.store.decide_access_request(approve(9)).await.unwrap(), "what was denied stays denied");
    assert_eq!(bench.store.access_request_by_claim(claim.hash, bench.clock.now()).await.unwrap(), None);
    assert_eq!(entries(&bench).await, 3, "what did not happen is not recorded as done");
}

pub(super) async fn requests_are_listed_newest_first(bench: Bench) {
    let mut ids = Vec::new();
    for app in ["where2eat", "other", "where2eat", "where2eat"] {
        bench.clock.advance(std::time::Duration::from_secs(1));
        let request = pending(&bench, app);
        ids.insert(0, request.id);
        bench.store.create_access_request(request, bench.act(AuditAction::RequestAccess)).await.unwrap();
    }
    let list = async |query: AccessQuery| {
        bench.store.access_requests(query).await.unwrap().iter().map(|request| request.id).collect::<Vec<_>>()
    };
    let query = AccessQuery { limit: 10, ..Default::default() };
    assert_eq!(list(query.clone()).await, ids);
    assert_eq!(list(AccessQuery { limit: 2, before: Some(ids[0]), ..query.clone() }).await, ids[1..3]);
    let other = AccessQuery { app: Some("other".parse().unwrap()), ..query.clone() };
    assert_eq!(list(other).await, [ids[2]]);
    let state = |state| AccessQuery { state: Some(state), ..query.clone() };
    assert_eq!(list(state(AccessStateName::Pending)).await.len(), 4);
    assert!(list(state(AccessStateName::Claimed)).await.is_empty());
}

pub(super) async fn of_many_claims_one_gets_the_token(bench: Bench) {
    let request = approved(&bench, 7).await;
    let tokens: Vec<TokenRecord> = (0..8).map(|_| token(&bench)).collect();
    let claims = join_all(tokens.iter().map(|token| bench.store.claim_token(spend(&bench, 7, token)))).await;
    let won: Vec<usize> = (0..8).filter(|at| matches!(claims[*at].as_ref().unwrap(), ClaimOutcome::Claimed)).collect();
    assert_eq!(won.len(), 1, "{claims:?}");
    for (at, token) in tokens.iter().enumerate() {
        let saved = bench.store.token(&token.id).await.unwrap();
        assert_eq!(saved.as_ref(), (at == won[0]).then_some(token));
    }
    let found = bench.store.access_request(request.id).await.unwrap().unwrap();
    assert!(matches!(&found.state, AccessState::Claimed { token, .. } if *token == tokens[won[0]].id), "{found:?}");
    assert_eq!(entries(&bench).await, 2);
}

pub(super) async fn a_claim_link_ends(bench: Bench) {
    approved(&bench, 7).await;
    let late = token(&bench);
    bench.clock.advance(std::time::Duration::from_secs(3600));
    assert_eq!(bench.store.access_request_by_claim(Sha256Digest([7; 32]), bench.clock.now()).await.unwrap(), None);
    assert_eq!(bench.store.claim_token(spend(&bench, 7, &late)).await.unwrap(), ClaimOutcome::Spent);
    assert_eq!(bench.store.claim_token(spend(&bench, 8, &late)).await.unwrap(), ClaimOutcome::Spent, "unknown");
    assert_eq!(bench.store.token(&late.id).await.unwrap(), None);
}

pub(super) async fn a_claim_ends_the_token_that_it_changes_and_no_block_lets_it_through(bench: Bench) {
    let old = token(&bench);
    let created = bench.store.create_token(old.clone(), bench.act(AuditAction::CreateToken)).await.unwrap();
    assert_eq!(created, CreateOutcome::Created);
    approved(&bench, 7).await;
    let before = bench.store.setting(TOKENS_AS_OF).await.unwrap();
    let (new, ends_at) = (token(&bench), bench.clock.now() + SignedDuration::from_hours(2));
    let replaces = Some((old.id.clone(), ends_at));
    let claim = ClaimToken { replaces: replaces.clone(), ..spend(&bench, 7, &new) };
    assert_eq!(bench.store.claim_token(claim).await.unwrap(), ClaimOutcome::Claimed);
    let changed = bench.store.token(&old.id).await.unwrap().unwrap();
    assert_eq!((changed.successor, changed.expires_at), (Some(new.id.clone()), Some(ends_at)));
    assert_ne!(bench.store.setting(TOKENS_AS_OF).await.unwrap(), before, "every node reads the old one again");

    approved(&bench, 8).await;
    let again = ClaimToken { replaces, ..spend(&bench, 8, &token(&bench)) };
    assert_eq!(bench.store.claim_token(again).await.unwrap(), ClaimOutcome::Spent, "it was followed already");
    revoke(&bench, RevocationTarget::App("where2eat".parse().unwrap()), true).await;
    let blocked = bench.store.claim_token(spend(&bench, 8, &token(&bench))).await.unwrap();
    assert!(matches!(&blocked, ClaimOutcome::Revoked(block) if block.by == "ada"), "{blocked:?}");
    let still = bench.store.access_request_by_claim(Sha256Digest([8; 32]), bench.clock.now()).await.unwrap();
    assert!(still.is_some(), "a refused claim spends nothing");
}

pub(super) async fn a_revocation_voids_what_was_approved_before_it(bench: Bench) {
    approved(&bench, 7).await;
    let targets = ["app:other", "workflow:where2eat/hourly", "user:alice", "workflow:where2eat/nightly"]
        .map(|target| target.parse().unwrap());
    for target in &targets {
        bench.clock.advance(std::time::Duration::from_secs(1));
        assert_eq!(bench.store.revoked_since(&targets[3..], bench.clock.now()).await.unwrap(), None);
        revoke(&bench, target.clone(), false).await;
    }
    let claimed = bench.store.claim_token(spend(&bench, 7, &token(&bench))).await.unwrap();
    assert!(matches!(&claimed, ClaimOutcome::Revoked(since) if since.target == targets[3]), "{claimed:?}");
    let since = bench.store.revoked_since(&targets, bench.clock.now()).await.unwrap();
    assert_eq!(since.map(|since| since.target), Some(targets[3].clone()));
    bench.clock.advance(std::time::Duration::from_secs(1));
    approved(&bench, 8).await;
    let claimed = bench.store.claim_token(spend(&bench, 8, &token(&bench))).await.unwrap();
    assert_eq!(claimed, ClaimOutcome::Claimed, "whoever approves afterwards knows");
}
