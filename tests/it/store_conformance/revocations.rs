//! Revocations: whom they end, whom they keep away, and what is found under them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::SignedDuration;
use vestibule::domain::audit::AuditAction;
use vestibule::domain::ids::{ObjectId, RevocationId};
use vestibule::domain::revocation::RevocationTarget;
use vestibule::store::{
    CreateOutcome, GatewayKey, IssueOutcome, KeyPurpose, Lifted, ObjectsOf, RevocationQuery, Revoke, RotateOutcome,
    RotateToken, TOKENS_AS_OF, TokenHolder, TokenOrigin, TokenQuery, TokenRecord,
};

use super::tokens::id;
use super::{Bench, QUOTA};

fn target(text: &str) -> RevocationTarget {
    text.parse().unwrap()
}

/// What a token is for: app, workflow, owner, user and device.
type For = [&'static str; 5];

const USUAL: For = ["where2eat", "nightly", "marketing", "u-42", "d-7"];

impl Bench {
    fn token_for(&self, new: &str, [for_app, name, unit, user, device]: For) -> TokenRecord {
        let mut token = self.token(new);
        let TokenHolder::Workflow { app, workflow, owner, subject, .. } = &mut token.holder else {
            panic!("{token:?}")
        };
        (*app, *workflow, *owner) = (for_app.parse().unwrap(), name.parse().unwrap(), unit.parse().unwrap());
        let known = subject.as_mut().unwrap();
        (known.user, known.device) = (user.into(), (!device.is_empty()).then(|| device.into()));
        if user.is_empty() {
            *subject = None;
        }
        token
    }

    fn derived(&self, new: &str, parent: &TokenRecord) -> TokenRecord {
        let origin = TokenOrigin::Derived;
        TokenRecord { origin, parent: Some(parent.id.clone()), holder: parent.holder.clone(), ..self.token(new) }
    }

    /// Those that are in force.
    async fn alive(&self) -> Vec<String> {
        let query = TokenQuery { in_force_at: Some(self.clock.now()), ..TokenQuery::default() };
        let mut ids: Vec<_> =
            self.store.tokens(query).await.unwrap().iter().map(|token| token.id.as_str()[..3].to_owned()).collect();
        ids.sort();
        ids
    }

    async fn blocked_by(&self, targets: &[&str]) -> Option<RevocationId> {
        let targets: Vec<_> = targets.iter().map(|text| target(text)).collect();
        self.store.blocked(&targets).await.unwrap().map(|block| block.id)
    }
}

pub(super) async fn a_revocation_ends_what_it_names_and_nothing_else(bench: Bench) {
    let all = [
        ("aaa0000000000000", USUAL),
        ("bbb0000000000000", ["where2eat", "menu", "marketing", "u-1", "d-1"]),
        ("ccc0000000000000", ["finance", "nightly", "controlling", "u-42", ""]),
        ("ddd0000000000000", ["trial", "intake", "clinic", "u-2", "d-7"]),
        ("eee0000000000000", ["forms", "export", "clinic", "", ""]),
        // A person with the name of an app, and so on: nothing is mixed up.
        ("fff0000000000000", ["clinic", "where2eat", "nightly", "marketing", "u-42"]),
    ];
    let mut tokens = Vec::new();
    for (new, for_whom) in all {
        let token = bench.token_for(new, for_whom);
        bench.create(&token).await;
        let child = bench.derived(&format!("{}1111111111111", &new[..3]), &token);
        bench.create(&child).await;
        let grandchild = bench.derived(&format!("{}2222222222222", &new[..3]), &child);
        bench.create(&grandchild).await;
        tokens.push(token);
    }
    let signed = TokenRecord { key: Some("tk-1".parse().unwrap()), ..bench.token_for("ggg0000000000000", all[4].1) };
    bench.create(&signed).await;
    let operator = TokenHolder::Operator { name: "u-42".into(), roles: Default::default() };
    bench.create(&TokenRecord { holder: operator, ..bench.token("hhh0000000000000") }).await;
    let mut left = ["aaa", "bbb", "ccc", "ddd", "eee", "fff"].repeat(3);
    left.extend(["ggg", "hhh"]);
    left.sort_unstable();
    assert_eq!(bench.alive().await, left);
    for (named, ends, killed) in [
        ("app:nowhere", "zzz", 0),
        ("workflow:finance/menu", "zzz", 0),
        ("key:tk-1", "ggg", 1),
        ("token:bbb1111111111111", "", 2),
        ("token:bbb0000000000000", "bbb", 1),
        ("device:u-42", "fff", 3),
        ("workflow:where2eat/nightly", "aaa", 3),
        ("user:u-42", "ccc", 3),
        ("user:u-42", "zzz", 0),
        ("owner:clinic", "ddd eee", 6),
    ] {
        let revoked = bench.revoke(target(named), false).await;
        assert_eq!((revoked.killed, revoked.tokens.len() as u64), (killed, killed), "{named}");
        let query = RevocationQuery { target: Some(target(named)), limit: 1, ..RevocationQuery::default() };
        let told = bench.store.tokens_revoked_by(&bench.store.revocations(query).await.unwrap()[0]).await.unwrap();
        assert!(revoked.tokens.iter().all(|token| told.contains(token)), "{named}: {told:?}");
        if ends.is_empty() {
            left.retain(|token| *token != "bbb");
            left.push("bbb");
        }
        left.retain(|token| !ends.contains(token) || ends.is_empty());
        left.sort_unstable();
        assert_eq!(bench.alive().await, left, "{named}");
    }
    assert_eq!(left, ["hhh"], "an operator is no user");
    assert_eq!(bench.store.token(&tokens[0].id).await.unwrap().unwrap().revoked_at, Some(bench.clock.now()));
}

pub(super) async fn what_was_derived_ends_with_a_token_that_is_followed_by_another(bench: Bench) {
    let now = bench.clock.now();
    let at = |minutes: i64| now + SignedDuration::from_mins(minutes);
    let parent = TokenRecord { expires_at: Some(at(600)), ..bench.token("aaa0000000000000") };
    bench.create(&parent).await;
    let ends = |token: TokenRecord, minutes| TokenRecord { expires_at: Some(at(minutes)), ..token };
    let child = ends(bench.derived("bbb0000000000000", &parent), 15);
    let brief = ends(bench.derived("ccc0000000000000", &parent), 2);
    let grandchild = ends(bench.derived("ddd0000000000000", &child), 14);
    for token in [&child, &brief, &grandchild] {
        bench.create(token).await;
    }
    let too_long = ends(bench.derived("eee0000000000000", &child), 16);
    let refused = bench.store.create_token(too_long, bench.act(AuditAction::ExchangeToken)).await.unwrap();
    assert!(matches!(refused, CreateOutcome::ParentEnded), "no child outlives its parent");

    let rotate = RotateToken {
        old: parent.id.clone(),
        old_ends_at: at(5),
        new: TokenRecord { expires_at: Some(at(600)), ..bench.token("fff0000000000000") },
        audit: bench.act(AuditAction::RotateToken),
    };
    assert!(matches!(bench.store.rotate_token(rotate).await.unwrap(), RotateOutcome::Rotated));
    for (token, end) in [(&parent, 5), (&child, 5), (&brief, 2), (&grandchild, 5)] {
        let found = bench.store.token(&token.id).await.unwrap().unwrap();
        assert_eq!(found.expires_at, Some(at(end)), "{}", token.id);
    }
    let late = ends(bench.derived("ggg0000000000000", &parent), 6);
    let refused = bench.store.create_token(late, bench.act(AuditAction::ExchangeToken)).await.unwrap();
    assert!(matches!(refused, CreateOutcome::ParentEnded), "whoever looked before the rotation is too late");
}

pub(super) async fn a_signing_key_that_is_revoked_is_retired_and_no_other(bench: Bench) {
    let keys = [("signing", KeyPurpose::TokenSigning), ("other", KeyPurpose::DpopNonce)];
    for (id, purpose) in keys {
        let secret = vec![1, 2, 3].into();
        let created_at = bench.clock.now();
        let key = GatewayKey { id: id.parse().unwrap(), purpose, number: 1, secret, created_at, accepted_until: None };
        assert!(bench.store.add_gateway_key(key, None, bench.act(AuditAction::RotateKey)).await.unwrap());
    }
    let revoked_at = bench.clock.now();
    bench.revoke(target("key:signing"), false).await;
    bench.clock.advance(Duration::from_secs(9));
    for again in ["key:signing", "key:other", "app:signing"] {
        bench.revoke(target(again), false).await;
    }
    let mut ends = Vec::new();
    for (_, purpose) in keys {
        ends.push(bench.store.gateway_keys(purpose).await.unwrap()[0].accepted_until);
    }
    assert_eq!(ends, [Some(revoked_at), None], "by its first revocation, and only a key that signs tokens");
}

pub(super) async fn a_revocation_is_recorded_once_with_its_entry_and_tells_every_node(bench: Bench) {
    let token = bench.token("0123456789abcdef");
    bench.create(&token).await;
    let as_of = bench.store.setting(TOKENS_AS_OF).await.unwrap();
    bench.create(&bench.token("fedcba9876543210")).await;
    assert_eq!(bench.store.setting(TOKENS_AS_OF).await.unwrap(), as_of, "a new token changes none that is there");
    let first = bench.clock.now();
    let leaked = RevocationTarget::Token(token.id.clone());
    assert_eq!(bench.revoke(leaked.clone(), false).await.tokens, std::slice::from_ref(&token.id));
    assert_ne!(bench.store.setting(TOKENS_AS_OF).await.unwrap(), as_of);
    bench.clock.advance(Duration::from_secs(9));
    assert_eq!(bench.revoke(leaked.clone(), false).await.killed, 0);
    assert_eq!(bench.store.token(&token.id).await.unwrap().unwrap().revoked_at, Some(first), "the first time stays");
    assert_eq!(bench.audited().await, 4);
    let double = bench.revocation(leaked, false);
    bench.store.revoke(double.clone()).await.unwrap();
    assert!(bench.store.revoke(double).await.is_err(), "an id is used once");
    assert_eq!(bench.audited().await, 5);
    // What another node's clock may still take for unexpired is ended too, and what is long over is not counted.
    let late = bench.token("aaaaaaaaaaaaaaaa");
    bench.create(&late).await;
    bench.clock.advance(Duration::from_secs(24 * 3600 + 60));
    assert_eq!(bench.revoke(target("token:aaaaaaaaaaaaaaaa"), false).await.killed, 1);
    bench.clock.advance(Duration::from_secs(3600));
    assert_eq!(bench.revoke(target("token:fedcba9876543210"), false).await.killed, 0);
}

pub(super) async fn a_block_keeps_new_tokens_away_until_it_is_lifted(bench: Bench) {
    let signed = TokenRecord { key: Some("tk-1".parse().unwrap()), ..bench.token_for("0000000000000000", USUAL) };
    for (at, named) in
        ["workflow:where2eat/nightly", "app:where2eat", "owner:marketing", "user:u-42", "device:d-7", "key:tk-1"]
            .into_iter()
            .enumerate()
    {
        let block = bench.revocation(target(named), true);
        bench.store.revoke(block.clone()).await.unwrap();
        let audited = bench.audited().await;
        let token = TokenRecord { id: id(&format!("new0000000000{at:03}")), ..signed.clone() };
        let CreateOutcome::Blocked(found) = bench.create(&token).await else { panic!("{named}") };
        assert_eq!((found.id, found.target.to_string().as_str()), (block.id, named));
        assert_eq!(bench.store.token(&token.id).await.unwrap(), None);
        assert_eq!(bench.audited().await, audited);
        assert_eq!(
            bench.create(&bench.token_for(&format!("other00000000{at:03}"), ["a", "b", "c", "d", "e"])).await,
            CreateOutcome::Created
        );
        assert_eq!(bench.blocked_by(&["user:nobody", named]).await, Some(block.id));
        assert_eq!(bench.blocked_by(&["user:nobody", "app:nowhere"]).await, None);
        let lift = async || {
            let audit = bench.act(AuditAction::RevokeToken);
            bench.store.lift_revocation(block.id, bench.clock.now(), "Bo", audit).await.unwrap()
        };
        assert!(lift().await);
        assert!(!lift().await, "{named}");
        assert_eq!(bench.audited().await, audited + 2);
        let lifted = bench.store.revocation(block.id).await.unwrap().unwrap();
        assert_eq!(lifted.lifted, Some(Lifted { at: bench.clock.now(), by: "Bo".into() }));
        assert!(!lifted.is_blocking() && bench.blocked_by(&[named]).await.is_none());
        assert_eq!(bench.create(&token).await, CreateOutcome::Created);
    }
    assert_eq!(bench.blocked_by(&[]).await, None);
    // Without a block nothing is kept away, and a block keeps a rotation away too.
    bench.revoke(target("user:u-42"), false).await;
    let fresh = bench.token("fresh00000000000");
    assert_eq!(bench.create(&fresh).await, CreateOutcome::Created);
    bench.revoke(target("owner:marketing"), true).await;
    let other = bench.token_for("other0000000000x", ["a", "b", "c", "d", "e"]);
    bench.create(&other).await;
    let rotate = RotateToken {
        old: other.id.clone(),
        old_ends_at: bench.clock.now() + SignedDuration::from_hours(1),
        new: bench.token("fresh00000000001"),
        audit: bench.act(AuditAction::CreateToken),
    };
    assert!(matches!(bench.store.rotate_token(rotate).await.unwrap(), RotateOutcome::Blocked(_)));
    assert_eq!(bench.store.token(&other.id).await.unwrap().unwrap().successor, None);
}

pub(super) async fn revocations_are_listed_newest_first_and_contained_oldest_first(bench: Bench) {
    let mut made = Vec::new();
    for at in 0..6 {
        let named = ["app:a", "user:u"][at % 2];
        let revoke = Revoke { contain: at >= 3, ..bench.revocation(target(named), at % 3 == 0) };
        bench.store.revoke(revoke.clone()).await.unwrap();
        made.push(revoke.id);
        bench.clock.advance(Duration::from_secs(1));
    }
    let ids = async |query: RevocationQuery| -> Vec<RevocationId> {
        bench.store.revocations(query).await.unwrap().into_iter().map(|record| record.id).collect()
    };
    let all = RevocationQuery { limit: 4, ..RevocationQuery::default() };
    let first = ids(all.clone()).await;
    assert_eq!(first, [made[5], made[4], made[3], made[2]]);
    assert_eq!(ids(RevocationQuery { before: Some(first[3]), ..all.clone() }).await, [made[1], made[0]]);
    assert_eq!(ids(RevocationQuery { blocking: true, ..all.clone() }).await, [made[3], made[0]]);
    let of_app = RevocationQuery { target: Some(target("app:a")), ..all };
    assert_eq!(ids(of_app).await, [made[4], made[2], made[0]]);
    let record = bench.store.revocation(made[3]).await.unwrap().unwrap();
    let told = (record.by.as_str(), record.reason.as_str(), record.killed, record.contain, record.contained_at);
    assert_eq!(told, ("Ana", "it leaked", 0, true, None));
    assert_eq!(bench.store.revocation(RevocationId::from_uuid(bench.clock.uuid())).await.unwrap(), None);

    let open = async |limit: usize| -> Vec<RevocationId> {
        bench.store.to_contain(limit).await.unwrap().into_iter().map(|record| record.id).collect()
    };
    assert_eq!((open(2).await, open(9).await.len()), (vec![made[3], made[4]], 3));
    let contained = async |id: RevocationId| {
        bench.store.contained(id, bench.clock.now(), bench.act(AuditAction::RevokeToken)).await.unwrap()
    };
    let audited = bench.audited().await;
    assert!(contained(made[3]).await);
    assert!(!contained(made[3]).await);
    assert!(!contained(made[0]).await, "nobody asked for that");
    assert_eq!((open(9).await, bench.audited().await), (vec![made[4], made[5]], audited + 1));
    let contained_at = bench.store.revocation(made[3]).await.unwrap().unwrap().contained_at;
    assert_eq!(contained_at, Some(bench.clock.now()));
}

pub(super) async fn what_was_uploaded_under_a_target_is_found_in_pages(bench: Bench) {
    let (parent, other) = (bench.token("AAAAAAAAAAAAAAAA"), bench.token_for("BBBBBBBBBBBBBBBB", USUAL));
    let other = TokenRecord { key: Some("tk-1".parse().unwrap()), ..other };
    bench.create(&parent).await;
    bench.create(&other).await;
    bench.create(&bench.derived("CCCCCCCCCCCCCCCC", &parent)).await;
    let mut made = Vec::new();
    for (token, app, workflow, owner, user) in [
        ("AAAAAAAAAAAAAAAA", "where2eat", "nightly", "marketing", Some("u-42")),
        ("BBBBBBBBBBBBBBBB", "where2eat", "menu", "marketing", None),
        ("CCCCCCCCCCCCCCCC", "where2eat", "nightly", "kitchen", Some("u-1")),
        ("DDDDDDDDDDDDDDDD", "finance", "nightly", "marketing", Some("u-42")),
    ] {
        let mut object = bench.object(app, 10);
        object.token = id(token);
        object.workflow = workflow.parse().unwrap();
        object.owner = owner.parse().unwrap();
        object.user = user.map(Into::into);
        assert_eq!(bench.store.issue_upload(bench.issue(&object, QUOTA)).await.unwrap(), IssueOutcome::Issued);
        made.push(object.id);
        bench.clock.advance(Duration::from_millis(2));
    }
    let found = async |named: &str, after: Option<ObjectId>, limit: usize| -> Vec<usize> {
        let query = ObjectsOf { target: target(named), after, limit, patient: false };
        let objects = bench.store.objects_of(query.clone()).await.unwrap();
        let patient = ObjectsOf { patient: true, ..query };
        assert_eq!(bench.store.objects_of(patient).await.unwrap(), objects, "{named}");
        objects.iter().map(|object| made.iter().position(|id| *id == object.id).unwrap()).collect()
    };
    for (named, right) in [
        ("token:AAAAAAAAAAAAAAAA", vec![0, 2]),
        ("token:BBBBBBBBBBBBBBBB", vec![1]),
        ("workflow:where2eat/nightly", vec![0, 2]),
        ("app:where2eat", vec![0, 1, 2]),
        ("user:u-42", vec![0, 3]),
        ("owner:marketing", vec![0, 1, 3]),
        ("device:d-7", vec![0, 1, 2]),
        ("key:tk-1", vec![1]),
        ("user:nobody", vec![]),
    ] {
        assert_eq!(found(named, None, 10).await, right, "{named}");
    }
    assert_eq!(found("app:where2eat", None, 2).await, [0, 1]);
    assert_eq!(found("app:where2eat", Some(made[1]), 2).await, [2]);
}

pub(super) async fn no_token_slips_past_a_block(bench: Bench) {
    for round in 0..10 {
        let ended = Arc::new(AtomicBool::new(false));
        let makers: Vec<_> = (0..4)
            .map(|maker| {
                let bench = Bench { store: bench.store.clone(), clock: bench.clock.clone() };
                let ended = ended.clone();
                tokio::spawn(async move {
                    for at in 0.. {
                        let new = format!("r{round:02}m{maker}n{at:010}");
                        let token = bench.token_for(&new, ["where2eat", "nightly", "marketing", "u-1", ""]);
                        if bench.create(&token).await != CreateOutcome::Created || ended.load(Ordering::SeqCst) {
                            return at;
                        }
                    }
                    0
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(20)).await;
        let block = bench.revocation(target("user:u-1"), true);
        bench.store.revoke(block.clone()).await.unwrap();
        let alive = bench.alive().await;
        assert!(alive.is_empty(), "made beside the block: {alive:?}");
        ended.store(true, Ordering::SeqCst);
        let made: usize = futures::future::join_all(makers).await.into_iter().map(Result::unwrap).sum();
        assert!(made > 0, "nothing was tried");
        assert_eq!(bench.alive().await, Vec::<String>::new());
        let audit = bench.act(AuditAction::RevokeToken);
        assert!(bench.store.lift_revocation(block.id, bench.clock.now(), "Bo", audit).await.unwrap());
    }
}
