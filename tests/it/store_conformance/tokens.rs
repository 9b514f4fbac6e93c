//! Tokens: what is kept of them, how they are listed, rotated and removed.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use vestibule::domain::admin::AdminRole;
use vestibule::domain::audit::AuditAction;
use vestibule::domain::bytes::Sha256Digest;
use vestibule::domain::ids::{RevocationId, TokenId};
use vestibule::domain::principal::{Environment, Subject};
use vestibule::domain::revocation::RevocationTarget;
use vestibule::store::{
    AuditQuery, CreateOutcome, Revoke, Revoked, RotateOutcome, RotateToken, TOKENS_AS_OF, TokenHolder, TokenOrigin,
    TokenQuery, TokenRecord,
};

use super::Bench;

/// Somebody for whom everything is known.
fn subject() -> Subject {
    Subject {
        user: "u-42".into(),
        role: Some("clinician".parse().unwrap()),
        project: Some("trial \u{e4}".into()),
        device: Some("d-7".into()),
        device_attested: true,
    }
}

pub(super) fn id(text: &str) -> TokenId {
    text.parse().unwrap()
}

impl Bench {
    pub(crate) fn token(&self, id: &str) -> TokenRecord {
        let holder = TokenHolder::Workflow {
            app: "where2eat".parse().unwrap(),
            workflow: "nightly".parse().unwrap(),
            owner: "marketing".parse().unwrap(),
            environment: Environment::Live,
            scopes: vec!["storage:images:where2eat:write:prefix=/uploads/".parse().unwrap()],
            subject: Some(subject()),
        };
        let now = self.clock.now();
        let expires_at = Some(now + SignedDuration::from_hours(24));
        TokenRecord::new(id.parse().unwrap(), Sha256Digest::of(id.as_bytes()), holder, now, expires_at)
    }

    pub(crate) async fn create(&self, token: &TokenRecord) -> CreateOutcome {
        self.store.create_token(token.clone(), self.act(AuditAction::CreateToken)).await.unwrap()
    }

    pub(super) async fn is_in_force(&self, id: &TokenId) -> bool {
        self.store.token(id).await.unwrap().unwrap().is_in_force(self.clock.now())
    }

    /// A revocation of now.
    pub(crate) fn revocation(&self, target: RevocationTarget, blocks: bool) -> Revoke {
        Revoke {
            id: RevocationId::from_uuid(self.clock.uuid()),
            target,
            at: self.clock.now(),
            by: "Ana".into(),
            reason: "it leaked".into(),
            blocks,
            contain: false,
            audit: self.act(AuditAction::RevokeToken),
        }
    }

    pub(crate) async fn revoke(&self, target: RevocationTarget, blocks: bool) -> Revoked {
        self.store.revoke(self.revocation(target, blocks)).await.unwrap()
    }

    pub(super) async fn audited(&self) -> usize {
        self.store.audit_entries(AuditQuery { limit: 1000, ..Default::default() }).await.unwrap().len()
    }

    async fn page(&self, query: TokenQuery) -> Vec<String> {
        self.store.tokens(query).await.unwrap().iter().map(|token| token.id.to_string()).collect()
    }
}

pub(super) async fn a_token_reads_back_with_everything_that_is_known(bench: Bench) {
    let plain = bench.token("0123456789abcdef");
    assert_eq!(bench.create(&plain).await, CreateOutcome::Created);
    bench.clock.advance(Duration::from_secs(1));
    let mut admin = bench.token("fedcba9876543210");
    admin.holder = TokenHolder::Operator { name: "Ana".into(), roles: vec![AdminRole::Viewer].into() };
    admin.expires_at = None;
    assert_eq!(bench.create(&admin).await, CreateOutcome::Created);
    bench.clock.advance(Duration::from_secs(1));
    let derived = TokenRecord {
        origin: TokenOrigin::Derived,
        issuer: Some("corporate".into()),
        parent: Some(plain.id.clone()),
        binding: Some("jkt:NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs".parse().unwrap()),
        key: Some("tk-2026-11".parse().unwrap()),
        last_used_at: Some(bench.clock.now()),
        request: Some("arq_0123456789abcdef0123456789abcdef".parse().unwrap()),
        expires_at: plain.expires_at,
        ..bench.token("00000000ffffffff")
    };
    assert_eq!(bench.create(&derived).await, CreateOutcome::Created);
    for token in [&plain, &admin, &derived] {
        assert_eq!(bench.store.token(&token.id).await.unwrap().as_ref(), Some(token));
    }
    assert_eq!(bench.store.token(&id("unknown000000000")).await.unwrap(), None);
    assert_eq!(bench.store.tokens(TokenQuery::default()).await.unwrap(), [derived, admin, plain.clone()]);
    assert!(bench.store.create_token(plain, bench.act(AuditAction::CreateToken)).await.is_err(), "an id is used once");
    assert_eq!(bench.audited().await, 3);
}

pub(super) async fn tokens_are_listed_newest_first_in_pages(bench: Bench) {
    for at in 0..12 {
        let mut token = bench.token(&format!("token00000000{at:03}"));
        let TokenHolder::Workflow { app, owner, .. } = &mut token.holder else { panic!("{token:?}") };
        *app = ["where2eat", "finance"][at % 2].parse().unwrap();
        *owner = ["marketing", "controlling"][at % 2].parse().unwrap();
        token.origin = if at >= 8 { TokenOrigin::Exchanged } else { TokenOrigin::Provisioned };
        token.expires_at = (at % 4 != 0).then_some(bench.clock.now() + SignedDuration::from_secs(60));
        bench.create(&token).await;
        // Two of each moment, so that the ids decide.
        if at % 2 == 1 {
            bench.clock.advance(Duration::from_secs(1));
        }
    }
    let names = |numbers: &[u32]| numbers.iter().map(|at| format!("token00000000{at:03}")).collect::<Vec<_>>();
    let provisioned = TokenQuery { origin: Some(TokenOrigin::Provisioned), limit: 3, ..TokenQuery::default() };
    let mut found: Vec<String> = Vec::new();
    let mut before = None;
    loop {
        let page = bench.store.tokens(TokenQuery { before, ..provisioned.clone() }).await.unwrap();
        before = page.last().map(|token| (token.created_at, token.id.clone()));
        found.extend(page.iter().map(|token| token.id.to_string()));
        if page.len() < 3 {
            break;
        }
    }
    assert_eq!(found, names(&[7, 6, 5, 4, 3, 2, 1, 0]));
    let all = TokenQuery::default();
    let exchanged = TokenQuery { origin: Some(TokenOrigin::Exchanged), ..all.clone() };
    assert_eq!(bench.page(exchanged).await, names(&[11, 10, 9, 8]));
    let app = TokenQuery { app: Some("finance".parse().unwrap()), ..all.clone() };
    assert_eq!(bench.page(app).await, names(&[11, 9, 7, 5, 3, 1]));
    let owner = TokenQuery { owner: Some("controlling".parse().unwrap()), limit: 2, ..all.clone() };
    assert_eq!(bench.page(owner).await, names(&[11, 9]));
    bench.revoke(RevocationTarget::Token(id("token00000000004")), false).await;
    bench.clock.advance(Duration::from_secs(60));
    let in_force = TokenQuery { in_force_at: Some(bench.clock.now()), ..all };
    assert_eq!(bench.page(in_force).await, names(&[8, 0]));
}

pub(super) async fn a_token_that_is_rotated_works_for_a_while_longer(bench: Bench) {
    let old = bench.token("0123456789abcdef");
    bench.create(&old).await;
    let rotate = async |new: &str, hours: i64| {
        let new = bench.token(new);
        let old_ends_at = bench.clock.now() + SignedDuration::from_hours(hours);
        let audit = bench.act(AuditAction::CreateToken);
        bench.store.rotate_token(RotateToken { old: old.id.clone(), old_ends_at, new, audit }).await.unwrap()
    };
    let as_of = bench.store.setting(TOKENS_AS_OF).await.unwrap();
    let first = id("first00000000000");
    assert_eq!(rotate("first00000000000", 1).await, RotateOutcome::Rotated);
    assert_ne!(bench.store.setting(TOKENS_AS_OF).await.unwrap(), as_of, "every node reads the old one again");
    let kept = bench.store.token(&old.id).await.unwrap().unwrap();
    let ends = bench.clock.now() + SignedDuration::from_hours(1);
    assert_eq!((kept.expires_at, kept.successor.as_ref()), (Some(ends), Some(&first)));
    assert!(bench.is_in_force(&first).await);
    // Its successor is in force: that one is to be rotated.
    assert_eq!(rotate("second0000000000", 1).await, RotateOutcome::HasSuccessor(first.clone()));
    bench.revoke(RevocationTarget::Token(first), false).await;
    // A longer window gives it no longer life.
    assert_eq!(rotate("second0000000000", 100).await, RotateOutcome::Rotated);
    assert_eq!(bench.store.token(&old.id).await.unwrap().unwrap().expires_at, Some(ends));
    bench.clock.advance(Duration::from_secs(3600));
    let audited = bench.audited().await;
    assert_eq!(rotate("third00000000000", 1).await, RotateOutcome::NotInForce);
    assert_eq!(bench.store.token(&id("third00000000000")).await.unwrap(), None);
    assert_eq!(bench.audited().await, audited);
}

pub(super) async fn of_two_rotations_of_one_token_one_wins(bench: Bench) {
    let old = bench.token("0123456789abcdef");
    bench.create(&old).await;
    let rotate = |new: &str| {
        let (new, audit, store) = (bench.token(new), bench.act(AuditAction::CreateToken), bench.store.clone());
        let rotate = RotateToken { old: old.id.clone(), old_ends_at: bench.clock.now(), new, audit };
        let rotate = RotateToken { old_ends_at: rotate.old_ends_at + SignedDuration::from_hours(1), ..rotate };
        tokio::spawn(async move { store.rotate_token(rotate).await.unwrap() })
    };
    let outcomes = futures::future::join_all((0..8).map(|at| rotate(&format!("new0000000000{at:03}")))).await;
    let won = outcomes.into_iter().filter(|outcome| matches!(outcome, Ok(RotateOutcome::Rotated))).count();
    assert_eq!((won, bench.store.tokens(TokenQuery::default()).await.unwrap().len()), (1, 2));
}

pub(super) async fn the_last_use_of_a_token_only_grows(bench: Bench) {
    let (a, b) = (bench.token("0123456789abcdef"), bench.token("fedcba9876543210"));
    bench.create(&a).await;
    bench.create(&b).await;
    let now = bench.clock.now();
    let as_of = bench.store.setting(TOKENS_AS_OF).await.unwrap();
    let used = async |used: &[(&TokenRecord, i64)]| {
        let at = |seconds: &i64| now + SignedDuration::from_secs(*seconds);
        let used = used.iter().map(|(token, seconds)| (token.id.clone(), at(seconds))).collect();
        bench.store.tokens_used(used).await.unwrap();
    };
    let last = async |token: &TokenRecord| -> Option<Timestamp> {
        bench.store.token(&token.id).await.unwrap().unwrap().last_used_at
    };
    used(&[(&a, 3), (&a, 5), (&a, 4)]).await;
    assert_eq!((last(&a).await, last(&b).await), (Some(now + SignedDuration::from_secs(5)), None));
    used(&[(&b, 1), (&a, 2)]).await;
    assert_eq!(last(&a).await, Some(now + SignedDuration::from_secs(5)));
    assert_eq!(last(&b).await, Some(now + SignedDuration::from_secs(1)));
    used(&[(&bench.token("unknown000000000"), 1)]).await;
    assert_eq!(bench.store.setting(TOKENS_AS_OF).await.unwrap(), as_of);
}

pub(super) async fn a_derived_token_needs_its_parent(bench: Bench) {
    let parent = bench.token("0123456789abcdef");
    bench.create(&parent).await;
    let derive = async |new: &str| {
        let origin = TokenOrigin::Derived;
        bench.create(&TokenRecord { origin, parent: Some(parent.id.clone()), ..bench.token(new) }).await
    };
    assert_eq!(derive("derived000000001").await, CreateOutcome::Created);
    bench.revoke(RevocationTarget::Token(parent.id.clone()), false).await;
    assert!(!bench.is_in_force(&id("derived000000001")).await, "it died with its parent");
    let audited = bench.audited().await;
    assert_eq!(derive("derived000000002").await, CreateOutcome::ParentEnded);
    assert_eq!(bench.store.token(&id("derived000000002")).await.unwrap(), None);
    let orphan = TokenRecord { parent: Some(id("unknown000000000")), ..bench.token("derived000000003") };
    assert_eq!(bench.create(&orphan).await, CreateOutcome::ParentEnded);
    assert_eq!(bench.audited().await, audited);
}

pub(super) async fn tokens_that_live_for_minutes_are_removed_a_week_after_their_end(bench: Bench) {
    let exchanged = |new: &str| TokenRecord {
        origin: TokenOrigin::Exchanged,
        issuer: Some("corporate".into()),
        ..bench.token(new)
    };
    bench.create(&bench.token("0123456789abcdef")).await;
    bench.create(&exchanged("exchanged0000001")).await;
    bench.create(&TokenRecord { expires_at: None, ..exchanged("exchanged0000002") }).await;
    bench.clock.advance(Duration::from_secs(8 * 86_400 - 1));
    bench.create(&exchanged("exchanged0000003")).await;
    assert_eq!(bench.store.prune(bench.clock.now()).await.unwrap(), 0);
    bench.clock.advance(Duration::from_secs(2));
    assert_eq!(bench.store.prune(bench.clock.now()).await.unwrap(), 1);
    let left = ["exchanged0000003", "exchanged0000002", "0123456789abcdef"];
    assert_eq!(bench.page(TokenQuery::default()).await, left);
}
