//! Downloads and their one-time links.

use std::sync::Arc;
use std::time::Duration;

use vestibule::domain::grant::Disposition;
use vestibule::store::{DownloadOutcome, UseLink};

use super::Bench;

pub(super) async fn a_download_is_recorded_only_at_the_revision_that_was_decided_on(bench: Bench) {
    let object = bench.visible("where2eat", 10, 10).await;
    let mut issue = bench.linked(&object, [1; 32]).await;
    issue.link = None;
    assert_eq!(bench.store.issue_download(issue.clone()).await.unwrap(), DownloadOutcome::Issued);
    let before = bench.audit(&object).await.len();
    bench.advanced(&object, object.life.clone().delete("done".into()).unwrap()).await;
    assert_eq!(bench.store.issue_download(issue).await.unwrap(), DownloadOutcome::Changed);
    assert_eq!(
        bench.store.issue_download(bench.linked(&object, [2; 32]).await).await.unwrap(),
        DownloadOutcome::Changed
    );
    assert_eq!(bench.store.link([2; 32], bench.clock.now()).await.unwrap(), None);
    assert_eq!(bench.audit(&object).await.len(), before + 1, "only the deletion");
}

pub(super) async fn a_link_works_once_however_many_follow_it(bench: Bench) {
    let bench = Arc::new(bench);
    let object = bench.visible("where2eat", 10, 10).await;
    let issue = bench.linked(&object, [7; 32]).await;
    assert_eq!(bench.store.issue_download(issue.clone()).await.unwrap(), DownloadOutcome::Issued);
    let link = bench.store.link([7; 32], bench.clock.now()).await.unwrap().unwrap();
    assert_eq!((link.object, link.grant), (object.id, issue.grant));
    assert_eq!((&link.token, link.disposition), (&object.token, Disposition::Inline));
    assert_eq!(link.lawful_basis.as_deref(), Some("consent"));
    let before = bench.audit(&object).await.len();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let (bench, used) = (bench.clone(), bench.followed(&object, [7; 32]));
        tasks.spawn(async move { bench.store.use_link(used).await.unwrap() });
    }
    assert_eq!(tasks.join_all().await.into_iter().filter(|used| *used).count(), 1);
    assert_eq!(bench.store.link([7; 32], bench.clock.now()).await.unwrap(), None);
    assert_eq!(bench.audit(&object).await.len(), before + 1, "the one use");
}

pub(super) async fn an_expired_or_unknown_link_does_not_work(bench: Bench) {
    let object = bench.visible("where2eat", 10, 10).await;
    assert_eq!(
        bench.store.issue_download(bench.linked(&object, [7; 32]).await).await.unwrap(),
        DownloadOutcome::Issued
    );
    let before = bench.audit(&object).await.len();
    bench.clock.advance(Duration::from_secs(60));
    for hash in [[7; 32], [8; 32]] {
        assert_eq!(bench.store.link(hash, bench.clock.now()).await.unwrap(), None);
        assert!(!bench.store.use_link(bench.followed(&object, hash)).await.unwrap());
    }
    assert_eq!(bench.audit(&object).await.len(), before, "a read only");
}

pub(super) async fn a_link_is_not_spent_where_its_object_has_changed(bench: Bench) {
    let object = bench.visible("where2eat", 10, 10).await;
    let other = bench.visible("where2eat", 10, 10).await;
    assert_eq!(
        bench.store.issue_download(bench.linked(&object, [7; 32]).await).await.unwrap(),
        DownloadOutcome::Issued
    );
    let stale = UseLink { revision: object.revision - 1, ..bench.followed(&object, [7; 32]) };
    assert!(!bench.store.use_link(stale).await.unwrap());
    assert!(!bench.store.use_link(bench.followed(&other, [7; 32])).await.unwrap(), "another object than the link's");
    assert!(bench.store.link([7; 32], bench.clock.now()).await.unwrap().is_some());
    assert!(bench.store.use_link(bench.followed(&object, [7; 32])).await.unwrap());
}
