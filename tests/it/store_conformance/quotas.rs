//! Quotas of apps and owners: what is stored, what a window admits, what comes back, and counts that went wrong.

use std::sync::Arc;
use std::time::Duration;

use vestibule::domain::audit::AuditAction;
use vestibule::domain::life::Life;
use vestibule::domain::quota::{QuotaHolder, QuotaKind, QuotaLimits, Quotas};
use vestibule::domain::refusal::Reason;
use vestibule::domain::usage::{Settlement, Usage};
use vestibule::store::{DownloadOutcome, Holder, IssueOutcome, RepairUsage, UsageQuery, UsageRow};

use super::{Bench, QUOTA, mix, of_app};

/// What somebody uses of every quota now.
fn all(bench: &Bench, usage: &Usage) -> [u64; 5] {
    QuotaKind::ALL.map(|kind| usage.used(kind, bench.clock.now()))
}

pub(super) async fn every_quota_of_app_and_owner_is_kept_and_told(bench: Bench) {
    for (holder, own) in [(QuotaHolder::App, "app"), (QuotaHolder::Owner, "owner")] {
        for kind in [QuotaKind::BytesStored, QuotaKind::ObjectsStored, QuotaKind::BytesDay, QuotaKind::UploadsHour] {
            let app = format!("{own}-{}", kind.key().replace('_', "-"));
            let limit = if kind.unit() == "bytes" { 25 } else { 2 };
            let quotas = Quotas::default().with(kind, limit);
            let quota = match holder {
                QuotaHolder::App => of_app(quotas),
                QuotaHolder::Owner => QuotaLimits { app: Quotas::default(), owner: quotas },
            };
            let mut outcomes = Vec::new();
            for _ in 0..3 {
                let mut object = bench.object(&app, 10);
                object.owner = app.parse().unwrap();
                outcomes.push((bench.store.issue_upload(bench.issue(&object, quota)).await.unwrap(), object));
            }
            assert_eq!((&outcomes[0].0, &outcomes[1].0), (&IssueOutcome::Issued, &IssueOutcome::Issued));
            let IssueOutcome::QuotaMet(met) = outcomes[2].0 else { panic!("{kind:?}: {:?}", outcomes[2].0) };
            let used = if kind.unit() == "bytes" { 20 } else { 2 };
            assert_eq!((met.holder, met.kind, met.limit, met.used), (holder, kind, limit, used));
            let ends = kind.window().map(|window| window.end(window.number(bench.clock.now())));
            assert_eq!(met.free_at, ends);
            assert_eq!(bench.store.object(outcomes[2].1.id).await.unwrap(), None);
            let both = bench.store.usage(&app.parse().unwrap(), &app.parse().unwrap()).await.unwrap();
            assert_eq!((all(&bench, &both.app), all(&bench, &both.owner)), ([20, 2, 20, 2, 0], [20, 2, 20, 2, 0]));
        }
    }
    bench.assert_counted_right().await;
}

pub(super) async fn a_window_gives_back_what_never_became_visible_while_it_runs(bench: Bench) {
    let ends: [fn(Life) -> Life; 2] =
        [|life| life.expire().unwrap(), |life| life.reject(Reason::SizeMismatch, "too long".into()).unwrap()];
    for end in ends {
        let object = bench.issued("where2eat", 10).await;
        bench.advanced(&object, end(object.life.clone())).await;
        assert_eq!(all(&bench, &bench.used("where2eat").await.app), [0; 5]);
    }
    // Else deleting and uploading would walk around the day.
    let object = bench.issued("where2eat", 10).await;
    bench.advanced(&object, object.life.clone().delete("not needed".into()).unwrap()).await;
    assert_eq!(all(&bench, &bench.used("where2eat").await.app), [0, 0, 10, 1, 0]);
    // What was asked for in an hour that is over comes back to that hour's count, and to no other.
    let old = bench.issued("where2eat", 10).await;
    bench.clock.advance(Duration::from_secs(3600));
    bench.issued("where2eat", 7).await;
    bench.advanced(&old, Life::Expired).await;
    assert_eq!(all(&bench, &bench.used("where2eat").await.app), [7, 1, 17, 1, 0]);
    bench.clock.advance(Duration::from_secs(24 * 3600));
    bench.issued("where2eat", 3).await;
    assert_eq!(all(&bench, &bench.used("where2eat").await.owner), [10, 2, 3, 1, 0]);
    bench.assert_counted_right().await;
}

pub(super) async fn downloads_count_for_the_month_and_are_refused_beyond_it(bench: Bench) {
    let object = bench.visible("where2eat", 10, 10).await;
    for (holder, quota) in [
        (QuotaHolder::App, of_app(Quotas::default().with(QuotaKind::DownloadBytesMonth, 25))),
        (
            QuotaHolder::Owner,
            QuotaLimits { app: Quotas::default(), owner: Quotas::default().with(QuotaKind::DownloadBytesMonth, 45) },
        ),
    ] {
        for _ in 0..2 {
            let mut issue = bench.linked(&object, [0; 32]).await;
            (issue.link, issue.charge.quota) = (None, quota);
            assert_eq!(bench.store.issue_download(issue).await.unwrap(), DownloadOutcome::Issued);
        }
        let entries = bench.audit(&object).await.len();
        let mut issue = bench.linked(&object, [1; 32]).await;
        issue.charge.quota = quota;
        let outcome = bench.store.issue_download(issue).await.unwrap();
        let DownloadOutcome::QuotaMet(met) = outcome else { panic!("{outcome:?}") };
        assert_eq!((met.holder, met.kind), (holder, QuotaKind::DownloadBytesMonth));
        assert_eq!(met.free_at, Some("2026-12-01T00:00:00Z".parse().unwrap()));
        assert_eq!(bench.store.link([1; 32], bench.clock.now()).await.unwrap(), None);
        assert_eq!(bench.audit(&object).await.len(), entries, "nothing was written");
    }
    assert_eq!(bench.used("where2eat").await.app.used(QuotaKind::DownloadBytesMonth, bench.clock.now()), 40);
    // The use of a link was counted when it was issued.
    assert_eq!(
        bench.store.issue_download(bench.linked(&object, [7; 32]).await).await.unwrap(),
        DownloadOutcome::Issued
    );
    assert!(bench.store.use_link(bench.followed(&object, [7; 32])).await.unwrap());
    assert_eq!(bench.used("where2eat").await.owner.used(QuotaKind::DownloadBytesMonth, bench.clock.now()), 50);
    bench.clock.advance(Duration::from_secs(15 * 86_400));
    assert_eq!(bench.used("where2eat").await.app.used(QuotaKind::DownloadBytesMonth, bench.clock.now()), 0);
}

pub(super) async fn an_upload_settles_to_what_became_visible(bench: Bench) {
    let object = bench.visible("where2eat", 10, 7).await;
    assert_eq!(all(&bench, &bench.used("where2eat").await.app), [7, 1, 7, 1, 0]);
    bench.assert_counted_right().await;
    bench.advanced(&object, object.life.clone().delete("done".into()).unwrap()).await;
    assert_eq!(all(&bench, &bench.used("where2eat").await.owner), [0, 0, 7, 1, 0]);
    bench.assert_counted_right().await;
}

pub(super) async fn owners_are_charged_for_all_their_apps(bench: Bench) {
    bench.issued("where2eat", 10).await;
    bench.issued("menus", 20).await;
    let mut foreign = bench.object("clinic", 5);
    foreign.owner = "clinic".parse().unwrap();
    assert_eq!(bench.store.issue_upload(bench.issue(&foreign, QUOTA)).await.unwrap(), IssueOutcome::Issued);
    let used = bench.used("menus").await;
    assert_eq!((used.app.bytes, used.owner.bytes, used.owner.objects), (20, 30, 2));
    let quota = QuotaLimits { app: Quotas::default(), owner: Quotas::stored(35, 100) };
    let outcome = bench.store.issue_upload(bench.issue(&bench.object("where2eat", 6), quota)).await.unwrap();
    let IssueOutcome::QuotaMet(met) = outcome else { panic!("{outcome:?}") };
    assert_eq!((met.holder, met.limit, met.used), (QuotaHolder::Owner, 35, 30));
    // What is released is released to whom it was charged, whoever the app's owner is by now.
    bench.advanced(&foreign, Life::Expired).await;
    let clinic = bench.store.usage(&foreign.app, &foreign.owner).await.unwrap();
    assert_eq!((clinic.app.bytes, clinic.owner.bytes), (0, 0));
    assert_eq!(bench.used("menus").await.owner.bytes, 30);
}

pub(super) async fn what_is_counted_wrong_is_found_and_put_right(bench: Bench) {
    let bench = Arc::new(bench);
    bench.issued("where2eat", 10).await;
    let holders = [Holder::App("where2eat".parse().unwrap()), Holder::Owner("marketing".parse().unwrap())];
    // A repair of what was right is what makes it wrong.
    let now = bench.clock.now();
    let wrong = Settlement { bytes: 100, objects: -1, bytes_day: 7, uploads_hour: 3, issued_at: now };
    let rows = holders.map(|holder| UsageRow { holder, counted: Usage::default(), missing: wrong });
    let audit = vec![bench.act(AuditAction::RepairQuota)];
    bench.store.repair_usage(RepairUsage { rows: rows.to_vec(), audit: audit.clone() }).await.unwrap();
    assert_eq!(all(&bench, &bench.used("where2eat").await.app), [110, 0, 17, 4, 0]);

    let query = UsageQuery { app: None, at: now };
    let found = bench.store.audit_usage(query.clone()).await.unwrap();
    let differing: Vec<_> = found.iter().filter(|row| !row.missing.is_nothing()).cloned().collect();
    assert_eq!(differing.len(), 2, "{found:#?}");
    assert_eq!(
        differing[0].missing,
        Settlement { bytes: -100, objects: 1, bytes_day: -7, uploads_hour: -3, issued_at: now }
    );
    assert_eq!((differing[0].summed(QuotaKind::BytesStored), differing[0].summed(QuotaKind::UploadsHour)), (10, 1));
    let of_app =
        bench.store.audit_usage(UsageQuery { app: Some("where2eat".parse().unwrap()), ..query }).await.unwrap();
    assert_eq!(of_app, differing[..1], "an app alone, and no owner");

    // Put right while others go on.
    let issuing: Vec<_> = (0..20)
        .map(|_| {
            let bench = bench.clone();
            tokio::spawn(async move { bench.issued("where2eat", 10).await })
        })
        .collect();
    bench.store.repair_usage(RepairUsage { rows: differing, audit }).await.unwrap();
    for issued in issuing {
        issued.await.unwrap();
    }
    assert_eq!(all(&bench, &bench.used("where2eat").await.owner), [210, 21, 210, 21, 0]);
    bench.assert_counted_right().await;
    let silent = RepairUsage { rows: Vec::new(), audit: Vec::new() };
    assert!(bench.store.repair_usage(silent).await.is_err(), "nothing changes without an entry");
}

pub(super) async fn p4_no_mix_of_acts_exceeds_a_quota_or_loses_count(bench: Bench) {
    mix(&[Arc::new(bench)], 24);
}
