//! What belongs to no object: the audit trail, unreadable messages, counts, settings, and what is pruned.

use std::time::Duration;

use jiff::SignedDuration;
use vestibule::domain::audit::{AuditAction, AuditEntry};
use vestibule::domain::bytes::Sha256Digest;
use vestibule::domain::job::JobKind;
use vestibule::domain::life::State;
use vestibule::domain::object::Object;
use vestibule::store::{AuditQuery, DeadLetter, DownloadOutcome, Idempotency, IssueOutcome};

use super::{Bench, QUOTA};

pub(super) async fn the_audit_trail_is_filtered_and_paged(bench: Bench) {
    let first = bench.issued("where2eat", 10).await;
    bench.clock.advance(Duration::from_secs(60));
    let middle = bench.clock.now();
    let second = bench.issued("other", 10).await;
    let mut by_token = bench.act(AuditAction::Authenticate);
    by_token.token_id = Some("BBBBBBBBBBBBBBBB".parse().unwrap());
    bench.store.audit(by_token.clone()).await.unwrap();

    let find = async |query: AuditQuery| {
        let query = AuditQuery { limit: query.limit.max(1) * 10, ..query };
        bench.store.audit_entries(query).await.unwrap()
    };
    let entries = |found: Vec<(i64, AuditEntry)>| found.into_iter().map(|(_, entry)| entry).collect::<Vec<_>>();
    let all = find(AuditQuery::default()).await;
    assert!(all.len() == 3 && all.is_sorted_by(|a, b| a.0 > b.0), "newest first");
    let of = |object: &Object| Some(object.id);
    assert_eq!(
        entries(find(AuditQuery { app: Some(first.app.clone()), ..Default::default() }).await)[0].object_id,
        of(&first)
    );
    assert_eq!(entries(find(AuditQuery { token: by_token.token_id.clone(), ..Default::default() }).await), [by_token]);
    assert_eq!(find(AuditQuery { object: Some(second.id), ..Default::default() }).await.len(), 1);
    assert_eq!(find(AuditQuery { since: Some(middle), ..Default::default() }).await.len(), 2);
    assert_eq!(find(AuditQuery { until: Some(middle), ..Default::default() }).await.len(), 1);
    assert_eq!(find(AuditQuery { before: Some(all[1].0), ..Default::default() }).await, all[2..]);
    let page = bench.store.audit_entries(AuditQuery { limit: 1, ..Default::default() }).await.unwrap();
    assert_eq!(page, all[..1]);
}

pub(super) async fn a_long_trail_is_paged_by_app_token_and_both(bench: Bench) {
    let (apps, tokens) = (["where2eat", "other", "third"], ["AAAAAAAAAAAAAAAA", "BBBBBBBBBBBBBBBB"]);
    for number in 0..700_usize {
        let mut entry = bench.act(AuditAction::ReadAudit);
        // Runs of a hundred, some of nobody, so that whole stretches of the trail hold nothing of an app.
        entry.app = apps.get(number / 100 % 4).map(|app| app.parse().unwrap());
        entry.token_id = tokens.get(number % 3).map(|token| token.parse().unwrap());
        bench.store.audit(entry).await.unwrap();
        bench.clock.advance(Duration::from_millis(1));
    }
    let all = bench.store.audit_entries(AuditQuery { limit: 1000, ..Default::default() }).await.unwrap();
    let of = |name: Option<&str>| name.map(|name| name.to_owned());
    for app in [None, Some(apps[0]), Some(apps[2]), Some("unknown")] {
        for token in [None, Some(tokens[1]), Some("CCCCCCCCCCCCCCCC")] {
            let query = AuditQuery {
                app: app.map(|app| app.parse().unwrap()),
                token: token.map(|token| token.parse().unwrap()),
                limit: 97,
                ..AuditQuery::default()
            };
            let right = all.iter().filter(|(_, entry)| {
                (app.is_none() || entry.app.as_ref().map(|app| app.to_string()) == of(app))
                    && (token.is_none() || entry.token_id.as_ref().map(|token| token.to_string()) == of(token))
            });
            let mut found = Vec::new();
            loop {
                let before = found.last().map(|(seq, _)| *seq);
                let page = bench.store.audit_entries(AuditQuery { before, ..query.clone() }).await.unwrap();
                let is_last = page.len() < query.limit;
                found.extend(page);
                if is_last {
                    break;
                }
            }
            assert_eq!(found, right.cloned().collect::<Vec<_>>(), "{app:?} {token:?}");
        }
    }
}

pub(super) async fn unreadable_messages_are_kept_and_cut(bench: Bench) {
    let letter = |reason: &str, body: String| DeadLetter {
        source: "sqs:events".into(),
        at: bench.clock.now(),
        reason: reason.into(),
        body,
    };
    bench.store.dead_letter(letter("no JSON", "{".into())).await.unwrap();
    bench.store.dead_letter(letter("too long", format!("x{}", "é".repeat(10_000)))).await.unwrap();
    let kept = bench.store.dead_letters(10).await.unwrap();
    assert_eq!(kept[1], letter("no JSON", "{".into()));
    assert_eq!((kept[0].reason.as_str(), kept[0].body.len()), ("too long", 16 * 1024 - 1));
    assert_eq!(bench.store.dead_letters(1).await.unwrap().len(), 1);
}

pub(super) async fn statistics_count_what_there_is(bench: Bench) {
    bench.issued("where2eat", 10).await;
    bench.visible("where2eat", 10, 10).await;
    let queued_at = bench.clock.now();
    bench.queued().await;
    bench.clock.advance(Duration::from_secs(5));
    bench.queued().await;
    bench
        .store
        .dead_letter(DeadLetter { source: "s".into(), at: queued_at, reason: "r".into(), body: "b".into() })
        .await
        .unwrap();
    let mut statistics = bench.store.statistics().await.unwrap();
    statistics.states.sort();
    assert_eq!(statistics.states, [(State::Issued, 1), (State::Uploaded, 2), (State::Visible, 1)]);
    assert_eq!(statistics.jobs, [(JobKind::Inspect, 2, queued_at)]);
    assert_eq!(statistics.dead_letters, 1);
}

pub(super) async fn a_setting_is_set_once(bench: Bench) {
    assert_eq!(bench.store.setting("key").await.unwrap(), None);
    assert_eq!(bench.store.setting_or_insert("key", vec![1]).await.unwrap(), [1]);
    assert_eq!(bench.store.setting_or_insert("key", vec![2]).await.unwrap(), [1]);
    assert_eq!(bench.store.setting("key").await.unwrap(), Some(vec![1]));
    bench.store.probe().await.unwrap();
}

pub(super) async fn old_keys_and_links_are_pruned(bench: Bench) {
    let object = bench.object("where2eat", 10);
    let mut issue = bench.issue(&object, QUOTA);
    issue.idempotency = Some(Idempotency { key: "k".into(), body: Sha256Digest::of(b"body") });
    bench.store.issue_upload(issue.clone()).await.unwrap();
    assert_eq!(
        bench.store.issue_download(bench.linked(&object, [1; 32]).await).await.unwrap(),
        DownloadOutcome::Issued
    );
    bench.clock.advance(Duration::from_secs(23 * 3600));
    assert_eq!(bench.store.prune(bench.clock.now()).await.unwrap(), 0);
    bench.clock.advance(Duration::from_secs(2 * 3600));
    assert_eq!(bench.store.prune(bench.clock.now()).await.unwrap(), 2);
    issue.object = bench.object("where2eat", 10).into();
    assert_eq!(bench.store.issue_upload(issue).await.unwrap(), IssueOutcome::Issued);
}

pub(super) async fn old_unreadable_messages_are_pruned(bench: Bench) {
    for _ in 0..3 {
        let at = bench.clock.now();
        bench
            .store
            .dead_letter(DeadLetter { source: "s".into(), at, reason: "r".into(), body: "b".into() })
            .await
            .unwrap();
        bench.clock.advance(Duration::from_secs(60));
    }
    let before = bench.clock.now() - SignedDuration::from_secs(60);
    assert_eq!(bench.store.prune_dead_letters(before).await.unwrap(), 2);
    assert_eq!(bench.store.prune_dead_letters(before).await.unwrap(), 0);
    assert_eq!(bench.store.dead_letters(10).await.unwrap().len(), 1);
}

pub(super) async fn old_audit_entries_are_pruned_and_that_is_recorded(bench: Bench) {
    for _ in 0..1200 {
        bench.store.audit(bench.act(AuditAction::ReadAudit)).await.unwrap();
    }
    // A whole month and more: a store may keep the trail in months, and remove only those that have ended.
    bench.clock.advance(Duration::from_secs(60 * 86_400));
    let before = bench.clock.now() - SignedDuration::from_hours(24 * 25);
    let kept = bench.act(AuditAction::ListTokens);
    bench.store.audit(kept.clone()).await.unwrap();
    let prune = async || {
        let audit = bench.act(AuditAction::PruneAudit);
        bench.store.prune_audit(before, audit).await.unwrap()
    };
    assert_eq!(prune().await, 1200);
    assert_eq!(prune().await, 0);
    let left = bench.store.audit_entries(AuditQuery { limit: 10, ..AuditQuery::default() }).await.unwrap();
    let left: Vec<_> = left.into_iter().map(|(_, entry)| entry).collect();
    assert_eq!(left, [bench.act(AuditAction::PruneAudit), kept], "recorded once, and not where nothing went");
}
