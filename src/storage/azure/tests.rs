//! Opening targets and minting, without a service.

use std::time::Duration;

use super::*;
use crate::domain::grant::Disposition;
use crate::domain::ids::{GrantId, ObjectId};
use crate::domain::principal::Environment;

fn target(account: &str, endpoint: Option<&str>) -> Target {
    Target {
        name: "clinic".parse().unwrap(),
        environment: Environment::Live,
        residency: "eu".into(),
        staging_prefix: "incoming".parse().unwrap(),
        staging_bucket: Some("staged".into()),
        provider: ProviderSettings::Azure {
            account: account.into(),
            container: "served".into(),
            endpoint: endpoint.map(|endpoint| endpoint.parse().unwrap()),
        },
        credentials: None,
        retention: None,
    }
}

async fn store() -> AzureStore {
    let key = Credentials::AccountKey("aHVzaA==".into());
    open(&target("acct", None), Some(&key), Clock::system()).await.unwrap()
}

fn now() -> Timestamp {
    "2026-11-21T20:00:00Z".parse().unwrap()
}

fn upload(area: Area, method: UploadMethod) -> UploadGrant {
    UploadGrant {
        id: GrantId::from_uuid(uuid::Uuid::from_u128(1)),
        object: ObjectId::from_uuid(uuid::Uuid::from_u128(2)),
        key: ObjectKey::parse(area, "incoming/a b/menu.jpg").unwrap(),
        method,
        size: 4,
        content_type: "image/jpeg".parse().unwrap(),
        sha256: None,
        issued_at: now(),
        expires_at: now() + Duration::from_millis(300_900),
    }
}

#[tokio::test]
async fn an_upload_url_lies_in_the_staging_container_and_ends_on_a_whole_second() {
    let minted = store().await.mint_upload(&upload(Area::Staging, UploadMethod::Put)).unwrap();
    let url = minted.url.expose();
    assert!(url.starts_with("https://acct.blob.core.windows.net/staged/incoming/a%20b/menu.jpg?sv="), "{url}");
    assert!(url.contains("&sp=c&") && url.contains("&spr=https&") && !url.contains("&st="), "{url}");
    assert_eq!(minted.expires_at, now() + Duration::from_secs(300));
    let names: Vec<&str> = minted.headers.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["content-type", "content-length", "if-none-match", "x-ms-blob-type"]);
}

#[tokio::test]
async fn a_version_is_pinned_in_the_url_and_in_the_signature() {
    let grant = DownloadGrant {
        id: GrantId::from_uuid(uuid::Uuid::from_u128(1)),
        object: ObjectId::from_uuid(uuid::Uuid::from_u128(2)),
        key: ObjectKey::parse(Area::Served, "menu.jpg").unwrap(),
        bytes: StoredBytes { etag: "\"1\"".into(), version: Some("2026-11-21T19:00:00.1234567Z".into()), size: 4 },
        disposition: Disposition::Attachment,
        filename: crate::domain::filename::Filename::sanitise("menu.jpg").unwrap(),
        content_type: "image/jpeg".parse().unwrap(),
        issued_at: now(),
        expires_at: now() + Duration::from_secs(60),
    };
    let minted = store().await.mint_download(&grant).unwrap();
    let url = minted.url.expose();
    assert!(url.starts_with("https://acct.blob.core.windows.net/served/menu.jpg?"), "{url}");
    assert!(url.contains("&sr=bv&sp=r&") && url.contains("&versionid=2026-11-21T19%3A00%3A00.1234567Z&"), "{url}");
    assert!(url.contains("&rsct=image%2Fjpeg&"), "{url}");
}

#[tokio::test]
async fn what_may_not_be_signed_is_not() {
    let store = store().await;
    assert_eq!(store.mint_upload(&upload(Area::Served, UploadMethod::Put)).err(), Some(MintError::Grant));
    assert_eq!(store.mint_upload(&upload(Area::Staging, UploadMethod::Post)).err(), Some(MintError::Unsupported));
    let mut over = upload(Area::Staging, UploadMethod::Put);
    over.expires_at = over.issued_at;
    assert_eq!(store.mint_upload(&over).err(), Some(MintError::Grant));
}

#[tokio::test]
async fn a_url_never_outlives_the_key_that_signs_it() {
    let mut store = store().await;
    let ending = |at: Timestamp| {
        let key = sas::DelegationKey {
            object_id: "oid".into(),
            tenant_id: "tid".into(),
            starts_at: now(),
            expires_at: at,
            service: "b".into(),
            version: sas::VERSION.into(),
            value: "aHVzaA==".into(),
        };
        Keys::fixed(SasKey::delegation(&key).unwrap())
    };
    let grant = upload(Area::Staging, UploadMethod::Put);
    store.keys = ending(now() + Duration::from_secs(65));
    let minted = store.mint_upload(&grant).unwrap();
    assert_eq!(minted.expires_at, now() + Duration::from_secs(60));
    assert!(minted.url.expose().contains("&se=2026-11-21T20%3A01%3A00Z&"));
    assert!(minted.url.expose().contains("&scid=00000000-0000-0000-0000-000000000001&"));
    store.keys = ending(now() + Duration::from_secs(30));
    assert_eq!(store.mint_upload(&grant).err(), Some(MintError::Credentials));
}

#[tokio::test]
async fn targets_that_cannot_work_are_refused_at_the_start() {
    let key = || AzureCredential::AccountKey("aHVzaA==".into());
    let open = async |target: Target, credential| AzureStore::connect(&target, credential, None, Clock::system()).await;
    assert!(matches!(open(target("Acct", None), key()).await, Err(OpenError::Name(_))));
    assert!(matches!(open(target("ac/ct", None), key()).await, Err(OpenError::Name(_))));
    let with_query = target("acct", Some("https://acct.blob.core.windows.net/?sig=x"));
    assert!(matches!(open(with_query, key()).await, Err(OpenError::Endpoint)));
    let no_key = AzureCredential::AccountKey("no base64!".into());
    assert!(matches!(open(target("acct", None), no_key).await, Err(OpenError::AccountKey(_))));
    let mut bad_container = target("acct", None);
    bad_container.staging_bucket = Some("Staged".into());
    assert!(matches!(open(bad_container, key()).await, Err(OpenError::Name(_))));
}

#[tokio::test]
async fn the_smallest_roles_are_named_per_container() {
    let roles = store().await.rbac_roles();
    let scopes: Vec<&str> = roles.iter().map(|role| role.scope.as_str()).collect();
    assert_eq!(scopes, ["", "blobServices/default/containers/served", "blobServices/default/containers/staged"]);
}
