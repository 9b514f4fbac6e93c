//! Immutability policies of Azure, as far as they can be proved here.
//!
//! Azurite does not implement them (it answers 501), so it proves that nothing is promoted without one. That Azure takes the
//! request is not proved by any test; its exact text is compared with what "Set Blob Immutability Policy" asks for, on a
//! socket that knows nothing of storage.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use vestibule::clock::Clock;
use vestibule::domain::bytes::StoredBytes;
use vestibule::domain::key::{Area, ObjectKey};
use vestibule::domain::principal::Environment;
use vestibule::domain::retention::{Kept, Lock, Retention, RetentionMode};
use vestibule::domain::target::{ProviderSettings, Target};
use vestibule::storage::credentials::Credentials;
use vestibule::storage::{CheckStatus, ObjectStore, StorageError, azure};

use crate::cloud::Place;
use crate::conformance::Fixture;
use crate::harness;

fn target(endpoint: &str, served: &str, staging: &str) -> Target {
    Target {
        name: "clinic".parse().unwrap(),
        environment: Environment::Live,
        residency: "eu".into(),
        staging_prefix: "incoming/".parse().unwrap(),
        staging_bucket: Some(staging.to_owned()),
        provider: ProviderSettings::Azure {
            account: harness::env("VESTIBULE_TEST_AZURITE_ACCOUNT"),
            container: served.to_owned(),
            endpoint: Some(endpoint.parse().unwrap()),
        },
        credentials: None,
        retention: Some(Retention { mode: RetentionMode::Governance, days: 30 }),
    }
}

async fn open(target: &Target) -> azure::AzureStore {
    let key = Credentials::AccountKey(harness::env("VESTIBULE_TEST_AZURITE_KEY").into());
    azure::open(target, Some(&key), Clock::system()).await.unwrap()
}

#[tokio::test]
async fn an_account_without_immutability_policies_retains_nothing_and_says_so() {
    let (served, staging) = (Place::azure().await, Place::azure().await);
    let target = target(&harness::env("VESTIBULE_TEST_AZURITE_BLOB"), served.name(), staging.name());
    let store = open(&target).await;
    let probed = store.probe().await.unwrap_err().to_string();
    assert!(probed.contains("cannot retain") && probed.contains(served.name()), "{probed}");
    let items = store.check().await;
    let item = items.iter().find(|item| item.name == format!("immutability of {}", served.name())).unwrap();
    assert!(item.status == CheckStatus::Missing && item.detail.contains("nothing is promoted"), "{item:?}");
    let item = items.iter().find(|item| item.name == format!("immutability of {}", staging.name())).unwrap();
    assert_eq!(item.status, CheckStatus::Good);

    let fixture = Fixture::new(Arc::new(store), reqwest::Client::new());
    let (key, bytes) = fixture.serve("menu.jpg", b"menu").await;
    assert_eq!(fixture.store.kept(&key, &bytes).await.unwrap(), Kept::default());
    let refused = fixture.store.lock(&key, &bytes, &super::lock(RetentionMode::Governance, 600)).await.unwrap_err();
    assert_eq!(refused.to_string(), "the storage cannot retain: the account has no immutability policies (501)");
}

/// Answers requests in turn, one a connection, and hands out their heads.
async fn listen(answers: Vec<&'static str>) -> (String, tokio::task::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}/devstoreaccount1", listener.local_addr().unwrap());
    let heads = tokio::spawn(async move {
        let mut heads = Vec::new();
        for answer in answers {
            let (mut line, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(line.read_u8().await.unwrap());
            }
            heads.push(String::from_utf8(head).unwrap());
            line.write_all(format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").as_bytes())
                .await
                .unwrap();
        }
        heads
    });
    (endpoint, heads)
}

fn header<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

#[tokio::test]
async fn the_request_names_one_version_a_date_and_a_mode_and_is_sent_once() {
    let key = ObjectKey::parse(Area::Served, "forms/obj_00000000000000000000000000000007/form.pdf").unwrap();
    let bytes = StoredBytes { etag: "\"0x1\"".into(), version: Some("2026-11-22T14:00:00.0000000Z".into()), size: 4 };
    let until = "2027-02-20T14:00:00Z".parse().unwrap();
    for (mode, written) in [(RetentionMode::Governance, "unlocked"), (RetentionMode::Compliance, "locked")] {
        let (endpoint, heads) = listen(vec!["200 OK", "200 OK"]).await;
        let store = open(&target(&endpoint, "forms", "forms-in")).await;
        store.lock(&key, &bytes, &Lock { mode, until }).await.unwrap();
        let heads = heads.await.unwrap();
        assert!(heads[0].starts_with("HEAD /devstoreaccount1/forms/"), "it looks first: {}", heads[0]);
        let request = heads[1].lines().next().unwrap();
        let place = "/devstoreaccount1/forms/forms/obj_00000000000000000000000000000007/form.pdf";
        let query = request.strip_prefix(&format!("PUT {place}?")).unwrap_or_else(|| panic!("{request}"));
        let query = query.strip_suffix(" HTTP/1.1").unwrap();
        let pairs: Vec<_> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        assert_eq!(
            pairs,
            [
                ("comp".to_owned(), "immutabilityPolicies".to_owned()),
                ("versionid".to_owned(), "2026-11-22T14:00:00.0000000Z".to_owned())
            ]
        );
        assert_eq!(header(&heads[1], "x-ms-immutability-policy-until-date"), Some("Sat, 20 Feb 2027 14:00:00 GMT"));
        assert_eq!(header(&heads[1], "x-ms-immutability-policy-mode"), Some(written));
        assert_eq!(header(&heads[1], "x-ms-version"), Some("2025-07-05"));
        assert!(!heads.concat().contains("legal"), "no hold is ever asked for: {heads:?}");
    }
}

#[tokio::test]
async fn what_azure_says_of_a_version_is_read_and_a_lock_that_suffices_is_left() {
    let kept = "200 OK\r\nx-ms-immutability-policy-until-date: Sat, 20 Feb 2027 14:00:00 GMT\r\n\
                x-ms-immutability-policy-mode: unlocked\r\nx-ms-legal-hold: true";
    let key = ObjectKey::parse(Area::Served, "forms/form.pdf").unwrap();
    let bytes = StoredBytes { etag: "\"0x1\"".into(), version: Some("v1".into()), size: 4 };
    let lock = Lock { mode: RetentionMode::Governance, until: "2027-02-20T14:00:00Z".parse().unwrap() };
    let (endpoint, heads) =
        listen(vec![kept, kept, "403 Forbidden\r\nx-ms-error-code: AuthorizationPermissionMismatch"]).await;
    let store = open(&target(&endpoint, "forms", "forms-in")).await;
    assert_eq!(store.kept(&key, &bytes).await.unwrap(), Kept { lock: Some(lock), legal_hold: true });
    store.lock(&key, &bytes, &lock).await.unwrap();
    let longer = Lock { until: "2027-02-20T14:00:01Z".parse().unwrap(), ..lock };
    let refused = store.lock(&key, &bytes, &longer).await;
    assert!(matches!(refused, Err(StorageError::Denied(_))), "{refused:?}");
    assert_eq!(heads.await.unwrap().len(), 3, "what suffices is not set again");
}

#[tokio::test]
async fn a_kept_version_is_not_made_a_previous_one() {
    let root = "403 Forbidden\r\nx-ms-error-code: OperationNotAllowedOnRootBlob";
    let kept = "200 OK\r\nx-ms-immutability-policy-until-date: Tue, 20 Feb 2098 14:00:00 GMT\r\n\
                x-ms-immutability-policy-mode: locked";
    let (endpoint, heads) = listen(vec![root, kept]).await;
    let store = open(&target(&endpoint, "forms", "forms-in")).await;
    let key = ObjectKey::parse(Area::Served, "forms/form.pdf").unwrap();
    let refused = store.delete(&key, Some("v1")).await.unwrap_err();
    assert!(matches!(refused, StorageError::Retained(_)), "{refused:?}");
    let asked: Vec<_> = heads.await.unwrap().iter().map(|head| head.split(' ').next().unwrap().to_owned()).collect();
    assert_eq!(asked, ["DELETE", "HEAD"], "the blob itself was not deleted");
}

#[test]
fn no_permission_of_a_url_covers_policies_or_holds() {
    // `i` is "set the immutability policy and legal hold" ("Create a service SAS", permissions of a blob).
    let source = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/src/storage/azure/mod.rs")).unwrap();
    let given: Vec<&str> = source
        .lines()
        .filter_map(|line| line.trim().strip_prefix("permissions: "))
        .map(|rest| rest.trim_matches([',', '"']))
        .collect();
    assert_eq!(given, ["c", "r"]);
}
