//! What the gateway keeps about itself: keys, proofs, nodes, and reviewers who agree.

use std::time::Duration;

use futures::future::join_all;
use jiff::SignedDuration;
use secrecy::ExposeSecret;
use uuid::Uuid;
use vestibule::domain::audit::AuditAction;
use vestibule::domain::revocation::RevocationTarget;
use vestibule::store::{AuditQuery, GatewayKey, KeyPurpose, NodeRecord, ReleaseApproval, TOKENS_AS_OF};

use super::Bench;

fn key(bench: &Bench, number: u64) -> GatewayKey {
    GatewayKey {
        id: format!("key-{number}-{}", bench.clock.uuid().simple()).parse().unwrap(),
        purpose: KeyPurpose::TokenSigning,
        number,
        secret: vec![0, u8::try_from(number).unwrap(), 255].into(),
        created_at: bench.clock.now(),
        accepted_until: None,
    }
}

pub(super) async fn of_two_nodes_that_make_the_same_key_one_is_too_late(bench: Bench) {
    let before = bench.store.setting(TOKENS_AS_OF).await.unwrap();
    let keys: Vec<GatewayKey> = (0..8).map(|_| key(&bench, 1)).collect();
    let added =
        keys.iter().map(|key| bench.store.add_gateway_key(key.clone(), None, bench.act(AuditAction::RotateKey)));
    let added = futures::future::join_all(added).await;
    assert_eq!(added.iter().filter(|added| *added.as_ref().unwrap()).count(), 1);
    assert_ne!(bench.store.setting(TOKENS_AS_OF).await.unwrap(), before, "every node reads the keys again");
    assert_eq!(bench.store.audit_entries(AuditQuery { limit: 10, ..Default::default() }).await.unwrap().len(), 1);

    let until = bench.clock.now() + SignedDuration::from_hours(1);
    assert!(bench.store.add_gateway_key(key(&bench, 2), Some(until), bench.act(AuditAction::RotateKey)).await.unwrap());
    let later = until + SignedDuration::from_hours(1);
    assert!(bench.store.add_gateway_key(key(&bench, 3), Some(later), bench.act(AuditAction::RotateKey)).await.unwrap());
    let found = bench.store.gateway_keys(KeyPurpose::TokenSigning).await.unwrap();
    let told: Vec<_> = found.iter().map(|key| (key.number, key.accepted_until)).collect();
    assert_eq!(told, [(3, None), (2, Some(later)), (1, Some(until))], "a bound that is set stays");
    assert_eq!(found[0].secret.expose_secret(), [0, 3, 255]);
    assert!(!format!("{found:?}").contains("255"), "{found:?}");
    assert!(bench.store.gateway_keys(KeyPurpose::DpopNonce).await.unwrap().is_empty());
}

pub(super) async fn a_proof_is_used_once_however_many_try(bench: Bench) {
    let until = bench.clock.now() + SignedDuration::from_mins(5);
    let tries = (0..20).map(|_| bench.store.use_proof([7; 32], until));
    let used = futures::future::join_all(tries).await;
    assert_eq!(used.into_iter().filter(|used| *used.as_ref().unwrap()).count(), 1);
    assert!(bench.store.use_proof([8; 32], until + SignedDuration::from_mins(5)).await.unwrap());
    bench.clock.advance(Duration::from_secs(301));
    assert_eq!(bench.store.prune(bench.clock.now()).await.unwrap(), 1, "what nobody would accept any more");
    assert!(bench.store.use_proof([7; 32], bench.clock.now()).await.unwrap());
    assert!(!bench.store.use_proof([8; 32], bench.clock.now()).await.unwrap());
}

pub(super) async fn nodes_are_there_until_they_leave_or_fall_silent(bench: Bench) {
    let node = |port: u16| NodeRecord {
        id: Uuid::from_u128(port.into()),
        url: format!("http://127.0.0.1:{port}"),
        version: "0.1.0".into(),
        started_at: bench.clock.now(),
        seen_at: bench.clock.now(),
    };
    let (first, second) = (node(8081), node(8082));
    for one in [&second, &first, &second] {
        bench.store.node_seen(one.clone()).await.unwrap();
    }
    let start = bench.clock.now();
    assert_eq!(bench.store.nodes(start).await.unwrap(), [first.clone(), second.clone()]);
    bench.clock.advance(Duration::from_secs(20));
    let again = NodeRecord { seen_at: bench.clock.now(), ..second };
    bench.store.node_seen(again.clone()).await.unwrap();
    assert_eq!(bench.store.nodes(bench.clock.now()).await.unwrap(), std::slice::from_ref(&again));
    bench.store.node_left(again.id).await.unwrap();
    assert_eq!(bench.store.nodes(start).await.unwrap(), [first]);
}

pub(super) async fn reviewers_agree_once_each_about_one_revision(bench: Bench) {
    let object = bench.issued("where2eat", 10).await;
    let agree = async |by: &str, revision| {
        let approval = ReleaseApproval {
            object: object.id,
            revision,
            by: by.into(),
            targets: vec![RevocationTarget::User(by.into())],
            reason: "looked at it".into(),
            at: bench.clock.now(),
        };
        let all = bench.store.approve_release(approval, bench.act(AuditAction::ApproveRelease)).await.unwrap();
        all.into_iter().map(|approval| approval.by).collect::<Vec<_>>()
    };
    assert_eq!(agree("ada", 3).await, ["ada"]);
    bench.clock.advance(Duration::from_secs(1));
    assert_eq!(agree("ada", 3).await, ["ada"], "one person is one");
    assert_eq!(agree("bob", 3).await, ["ada", "bob"]);
    assert_eq!(agree("bob", 4).await, ["bob"], "of what has changed nobody knew");
    let many: Vec<String> = (0..8).map(|number| format!("reviewer-{number}")).collect();
    let agreed = join_all(many.iter().map(|by| agree(by, 5))).await;
    assert_eq!(
        agreed.iter().map(Vec::len).max(),
        Some(8),
        "of those who agree at once the last one sees all: {agreed:?}"
    );
    bench.clock.advance(Duration::from_hours(8 * 24));
    bench.store.prune(bench.clock.now()).await.unwrap();
    assert_eq!(agree("ada", 3).await, ["ada"], "nobody knows any more why the others did");
}
