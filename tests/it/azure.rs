//! Azure Blob Storage, against Azurite: the conformance suite with both kinds of SAS, and what only Azure does.
//!
//! The account key is tried over http, user delegation over https with a token of our own making, which Azurite reads
//! without verifying. What Azurite cannot show (versions, `scid` in its string to sign, enforced `sip`) is compared with
//! Microsoft's client in `signing_azure` instead.

use std::sync::Arc;
use std::time::Duration;

use azure_core::credentials::{AccessToken, TokenCredential, TokenRequestOptions};
use azure_storage_blob::models::{BlobContainerClientCreateOptions, PublicAccessType};
use azure_storage_blob::{BlobContainerClient, BlobContainerClientOptions};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use reqwest::Method;
use serde_json::json;
use vestibule::clock::Clock;
use vestibule::domain::bytes::Sha256Digest;
use vestibule::domain::grant::UploadMethod;
use vestibule::domain::key::Area;
use vestibule::domain::principal::Environment;
use vestibule::domain::target::{ProviderSettings, Target};
use vestibule::storage::azure::shared_key::client_options;
use vestibule::storage::azure::{AzureCredential, AzureStore, sas};
use vestibule::storage::credentials::Credentials;
use vestibule::storage::{CheckStatus, MintError, MintedUpload, ObjectStore, ServedAttributes, azure};

use crate::conformance::{Fixture, accepted, conformance_suite, now, refused};
use crate::harness;
use crate::signing_azure::python;

mod account_key {
    use super::*;

    conformance_suite!(super::by_account_key);
}

mod user_delegation {
    use super::*;

    conformance_suite!(super::by_user_delegation);
}

/// A token as Microsoft Entra ID would issue it, signed by nobody.
#[derive(Debug)]
struct Token {
    lives: Duration,
}

#[async_trait::async_trait]
impl TokenCredential for Token {
    async fn get_token(&self, scopes: &[&str], _: Option<TokenRequestOptions<'_>>) -> azure_core::Result<AccessToken> {
        assert_eq!(scopes, ["https://storage.azure.com/.default"]);
        let issued = now().as_second() - 60;
        let claims = json!({
            "aud": "https://storage.azure.com",
            "iss": "https://sts.windows.net/ab1f708d-50f6-404c-a006-d71b2ac7a606/",
            "iat": issued, "nbf": issued, "exp": issued + i64::try_from(self.lives.as_secs()).unwrap(),
            "oid": "11059fcc-5514-4800-b5f8-49808b9cfab6", "tid": "ab1f708d-50f6-404c-a006-d71b2ac7a606",
        });
        let part = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let token = format!("{}.{}.c2ln", part(json!({"alg": "RS256", "typ": "JWT"})), part(claims));
        let expires = azure_core::time::OffsetDateTime::from_unix_timestamp(now().as_second() + 3600).unwrap();
        Ok(AccessToken::new(token, expires))
    }
}

fn token() -> AzureCredential {
    AzureCredential::Token(Arc::new(Token { lives: Duration::from_secs(3600) }))
}

fn account_key() -> AzureCredential {
    AzureCredential::AccountKey(harness::env("VESTIBULE_TEST_AZURITE_KEY").into())
}

/// A client that trusts the test environment's authority, follows no redirect and changes no body.
fn http() -> reqwest::Client {
    let pem = std::fs::read(harness::env("VESTIBULE_TEST_AZURITE_CA")).unwrap();
    reqwest::Client::builder()
        .add_root_certificate(reqwest::Certificate::from_pem(&pem).unwrap())
        .redirect(reqwest::redirect::Policy::none())
        .no_gzip()
        .no_deflate()
        .build()
        .unwrap()
}

fn target(endpoint: &str, served: &str, staged: &str) -> Target {
    Target {
        name: "azurite".parse().unwrap(),
        environment: Environment::Test,
        residency: "eu".into(),
        staging_prefix: "incoming".parse().unwrap(),
        staging_bucket: (served != staged).then(|| staged.to_owned()),
        provider: ProviderSettings::Azure {
            account: harness::env("VESTIBULE_TEST_AZURITE_ACCOUNT"),
            container: served.to_owned(),
            endpoint: Some(endpoint.parse().unwrap()),
        },
        credentials: None,
        retention: None,
    }
}

/// A container that goes when the test ends.
struct Container {
    name: String,
    endpoint: String,
    credential: AzureCredential,
}

impl Container {
    async fn create(endpoint: &str, credential: AzureCredential, access: Option<PublicAccessType>) -> Self {
        let container = Self { name: harness::unique("azure"), endpoint: endpoint.to_owned(), credential };
        let options = BlobContainerClientCreateOptions { access, ..Default::default() };
        container.client().create(Some(options)).await.expect("a new container in Azurite; run localstack/up first");
        container
    }

    fn client(&self) -> BlobContainerClient {
        let account = harness::env("VESTIBULE_TEST_AZURITE_ACCOUNT");
        let client_options = client_options(&account, &self.credential, Some(http()), Clock::system()).unwrap();
        let options = BlobContainerClientOptions { client_options, version: sas::VERSION.to_owned() };
        let url = format!("{}/{}", self.endpoint, self.name).parse().unwrap();
        BlobContainerClient::new(url, None, Some(options)).unwrap()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // A thread of its own, because the test's runtime may be ending.
        let client = self.client();
        let remove = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let _ = runtime.block_on(client.delete(None));
        };
        let _ = std::thread::spawn(remove).join();
    }
}

async fn fixture(endpoint: String, credential: AzureCredential) -> Fixture {
    let served = Container::create(&endpoint, credential.clone(), None).await;
    let staged = Container::create(&endpoint, credential.clone(), None).await;
    let target = target(&endpoint, &served.name, &staged.name);
    let store = AzureStore::connect(&target, credential, Some(http()), Clock::system()).await.unwrap();
    Fixture::new(Arc::new(store), http()).keeping((served, staged))
}

async fn by_account_key() -> Fixture {
    fixture(harness::env("VESTIBULE_TEST_AZURITE_BLOB"), account_key()).await
}

async fn by_user_delegation() -> Fixture {
    fixture(harness::env("VESTIBULE_TEST_AZURITE_OAUTH_BLOB"), token()).await
}

fn attributes() -> ServedAttributes {
    ServedAttributes {
        content_type: "image/png".parse().unwrap(),
        metadata: vec![("vestibule-object".into(), "obj_1".into()), ("table".into(), "Café 7".into())],
        tags: vec![("vestibule-verdict".into(), "clean".into())],
    }
}

fn with_query(minted: &MintedUpload, more: &str) -> String {
    format!("{}&{more}", minted.url.expose())
}

#[tokio::test]
async fn blocks_cannot_be_put_over_an_uploaded_blob() {
    for fixture in [by_account_key().await, by_user_delegation().await] {
        let key = fixture.key(Area::Staging, "menu.jpg");
        let minted = fixture.store.mint_upload(&fixture.upload(&key, UploadMethod::Put, b"menu")).unwrap();
        accepted(fixture.send(&minted, Method::PUT, b"menu").await).await;
        let before = fixture.store.head(&key).await.unwrap().unwrap();
        let put = |more: &str| fixture.http.put(with_query(&minted, more));
        let block = put("comp=block&blockid=AAAA").body("evil").send().await.unwrap();
        refused("Put Block", block).await;
        let list = "<?xml version=\"1.0\"?><BlockList><Latest>AAAA</Latest></BlockList>";
        refused("Put Block List", put("comp=blocklist").body(list).send().await.unwrap()).await;
        for act in ["comp=metadata", "comp=properties", "comp=tags", "comp=tier", "comp=lease", "comp=snapshot"] {
            let sent = put(act).header("x-ms-meta-a", "b").header("x-ms-access-tier", "Cool").body("").send().await;
            let status = sent.unwrap().status();
            // A snapshot may be made by `c`; it changes nothing of the blob and nobody can read it.
            assert!(status.is_client_error() || act == "comp=snapshot", "{act} was answered with {status}");
        }
        let after = fixture.store.head(&key).await.unwrap().unwrap();
        assert_eq!(after.bytes, before.bytes, "the blob is what it was");
        assert_eq!(fixture.read(&key, &before.bytes).await.unwrap(), b"menu");
    }
}

#[tokio::test]
async fn every_parameter_of_a_url_is_covered_by_its_signature() {
    for fixture in [by_account_key().await, by_user_delegation().await] {
        let (key, bytes) = fixture.serve("menu.jpg", b"menu").await;
        let minted = fixture.store.mint_download(&fixture.download(&key, &bytes)).unwrap();
        let url = minted.url.expose();
        let whole = fixture.http.get(url).send().await.unwrap();
        assert!(whole.status().is_success(), "{}", whole.status());
        let (path, query) = url.split_once('?').unwrap();
        let pairs: Vec<&str> = query.split('&').collect();
        for (at, pair) in pairs.iter().enumerate() {
            let (name, value) = pair.split_once('=').unwrap();
            let other = match (name, value.as_bytes()[0]) {
                ("sp", _) => "rcw".to_owned(),
                ("se", _) => value.replacen("20", "21", 1),
                (_, b'A') => format!("B{}", &value[1..]),
                _ => format!("A{}", &value[1..]),
            };
            let mut changed = pairs.clone();
            let altered = format!("{name}={other}");
            changed[at] = &altered;
            let answer = fixture.http.get(format!("{path}?{}", changed.join("&"))).send().await.unwrap();
            refused(&format!("an altered {name}"), answer).await;
            changed.remove(at);
            if name != "sks" {
                let answer = fixture.http.get(format!("{path}?{}", changed.join("&"))).send().await.unwrap();
                refused(&format!("a missing {name}"), answer).await;
            }
        }
    }
}

#[tokio::test]
async fn what_a_sas_cannot_say_is_accepted_and_left_to_the_check_after_the_upload() {
    let fixture = by_account_key().await;
    let key = fixture.key(Area::Staging, "menu.jpg");
    let minted = fixture.store.mint_upload(&fixture.upload(&key, UploadMethod::Put, b"menu")).unwrap();
    let other = b"<html>another size, another type, another digest</html>";
    let sent = fixture.http.put(minted.url.expose()).header("x-ms-blob-type", "BlockBlob");
    accepted(sent.header("content-type", "text/html").body(other.to_vec()).send().await.unwrap()).await;
    let found = fixture.store.head(&key).await.unwrap().unwrap();
    assert_eq!((found.bytes.size, found.content_type.as_deref()), (other.len() as u64, Some("text/html")));
}

#[tokio::test]
async fn a_promoted_copy_carries_nothing_that_the_uploader_chose() {
    let fixture = by_account_key().await;
    let (from, to) = (fixture.key(Area::Staging, "menu.jpg"), fixture.key(Area::Served, "a b/menu (é).jpg"));
    let mut minted = fixture.store.mint_upload(&fixture.upload(&from, UploadMethod::Put, b"menu")).unwrap();
    for (name, value) in [
        ("x-ms-meta-evil", "1"),
        ("x-ms-blob-content-encoding", "gzip"),
        ("x-ms-blob-cache-control", "public, max-age=31536000"),
        ("x-ms-blob-content-disposition", "inline"),
    ] {
        minted.headers.push((name, value.into()));
    }
    accepted(fixture.send(&minted, Method::PUT, b"menu").await).await;
    let written = fixture.store.head(&from).await.unwrap().unwrap();
    let copied = fixture.store.copy(&from, &written.bytes, &to, &attributes()).await.unwrap();
    let url = fixture.store.mint_download(&fixture.download(&to, &copied)).unwrap().url;
    let container = url.expose().split('/').nth(4).unwrap();
    let asked = json!({
        "endpoint": harness::env("VESTIBULE_TEST_AZURITE_BLOB"), "key": harness::env("VESTIBULE_TEST_AZURITE_KEY"),
        "container": container, "blob": to.path(),
    });
    let found = tokio::task::spawn_blocking(move || python("azure_read.py", &asked)).await.unwrap();
    assert_eq!(
        found,
        json!({
            "sha256": Sha256Digest::of(b"menu").to_string(), "size": 4, "contentType": "image/png",
            "contentEncoding": null, "cacheControl": null, "contentDisposition": null,
            "metadata": {"vestibule_object": "obj_1", "table": "Caf%C3%A9 7"},
            "tags": {"vestibule-verdict": "clean"},
        })
    );
}

#[tokio::test]
async fn three_hundred_mebibytes_are_copied_server_side() {
    const CHUNK: usize = 1 << 20;
    const CHUNKS: usize = 300;
    let fixture = by_account_key().await;
    let (from, to) = (fixture.key(Area::Staging, "large.bin"), fixture.key(Area::Served, "large.bin"));
    let mut grant = fixture.upload(&from, UploadMethod::Put, b"");
    grant.size = (CHUNK * CHUNKS) as u64;
    let minted = fixture.store.mint_upload(&grant).unwrap();
    let chunk = Bytes::from((0..CHUNK).map(|i| (i % 251) as u8).collect::<Vec<u8>>());
    let body = futures::stream::iter((0..CHUNKS).map(move |_| Ok::<_, std::io::Error>(chunk.clone())));
    let mut request = fixture.http.put(minted.url.expose()).body(reqwest::Body::wrap_stream(body));
    for (name, value) in &minted.headers {
        request = request.header(*name, value);
    }
    accepted(request.send().await.unwrap()).await;
    let written = fixture.store.head(&from).await.unwrap().unwrap();
    let copied = fixture.store.copy(&from, &written.bytes, &to, &attributes()).await.unwrap();
    assert_eq!(copied.size, grant.size);
    assert_eq!(fixture.store.head(&to).await.unwrap().unwrap().bytes, copied);
    fixture.store.delete(&from, None).await.unwrap();
    let mut stream = fixture.store.get(&to, &copied).await.unwrap();
    let (mut read, mut largest) = (0, 0);
    while let Some(chunk) = futures::TryStreamExt::try_next(&mut stream).await.unwrap() {
        (read, largest) = (read + chunk.len(), largest.max(chunk.len()));
    }
    assert_eq!(read, CHUNK * CHUNKS);
    assert!(largest <= 4 << 20, "a chunk of {largest} bytes");
}

#[tokio::test]
async fn an_identity_that_may_not_ask_for_keys_is_refused_at_the_start() {
    let endpoint = harness::env("VESTIBULE_TEST_AZURITE_OAUTH_BLOB");
    let expired = AzureCredential::Token(Arc::new(Token { lives: Duration::from_secs(1) }));
    let opened = AzureStore::connect(&target(&endpoint, "any", "any"), expired, Some(http()), Clock::system()).await;
    assert!(matches!(opened, Err(azure::OpenError::Delegation(_))), "{opened:?}");
    let plain = harness::env("VESTIBULE_TEST_AZURITE_BLOB");
    let opened = AzureStore::connect(&target(&plain, "any", "any"), token(), None, Clock::system()).await;
    assert!(matches!(opened, Err(azure::OpenError::Insecure)), "{opened:?}");
}

#[tokio::test]
async fn a_service_that_is_away_means_no_url_and_a_transient_error() {
    // A port that was free a moment ago, where nothing listens any more.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let target = target(&format!("https://127.0.0.1:{port}/devstoreaccount1"), "any", "any");
    let store = AzureStore::connect(&target, token(), Some(http()), Clock::system()).await.unwrap();
    let fixture = Fixture::new(Arc::new(store), http());
    let key = fixture.key(Area::Staging, "menu.jpg");
    let minted = fixture.store.mint_upload(&fixture.upload(&key, UploadMethod::Put, b"menu"));
    assert_eq!(minted.err(), Some(MintError::Credentials));
    assert!(fixture.store.probe().await.unwrap_err().is_transient());
}

#[tokio::test]
async fn the_configured_account_key_opens_a_target() {
    let endpoint = harness::env("VESTIBULE_TEST_AZURITE_BLOB");
    let container = Container::create(&endpoint, account_key(), None).await;
    let key = Credentials::AccountKey(harness::env("VESTIBULE_TEST_AZURITE_KEY").into());
    let target = target(&endpoint, &container.name, &container.name);
    let store = azure::open(&target, Some(&key), Clock::system()).await.unwrap();
    store.probe().await.unwrap();
    assert!(!format!("{store:?}").contains(&harness::env("VESTIBULE_TEST_AZURITE_KEY")[..8]));
    let wrong = Credentials::AccountKey("aHVzaA==".into());
    let store = azure::open(&target, Some(&wrong), Clock::system()).await.unwrap();
    let error = store.probe().await.unwrap_err();
    assert!(matches!(error, vestibule::storage::StorageError::Denied(_)), "{error:?}");
    let grant = Fixture::new(Arc::new(store), http());
    let key = grant.key(Area::Staging, "menu.jpg");
    let minted = grant.store.mint_upload(&grant.upload(&key, UploadMethod::Put, b"menu")).unwrap();
    refused("a URL signed with the wrong key", grant.send(&minted, Method::PUT, b"menu").await).await;
}

#[tokio::test]
async fn the_check_finds_a_public_container() {
    let endpoint = harness::env("VESTIBULE_TEST_AZURITE_BLOB");
    let public = Container::create(&endpoint, account_key(), Some(PublicAccessType::Blob)).await;
    let target = target(&endpoint, &public.name, &public.name);
    let store = AzureStore::connect(&target, account_key(), None, Clock::system()).await.unwrap();
    let items = store.check().await;
    let status = |name: &str| items.iter().find(|item| item.name.starts_with(name)).map(|item| item.status);
    assert_eq!(status("public access"), Some(CheckStatus::Missing), "{items:#?}");
    assert_eq!(status("container"), Some(CheckStatus::Good));
    assert_eq!(status("authorisation"), Some(CheckStatus::Advice));
    assert_eq!(status("lifecycle rule"), Some(CheckStatus::Unknown));
}

#[tokio::test]
async fn a_missing_container_is_a_mistake_and_no_missing_object() {
    let endpoint = harness::env("VESTIBULE_TEST_AZURITE_BLOB");
    let target = target(&endpoint, "never-made", "never-made");
    let store = AzureStore::connect(&target, account_key(), None, Clock::system()).await.unwrap();
    let error = store.probe().await.unwrap_err();
    assert!(matches!(&error, vestibule::storage::StorageError::Unexpected(text) if text.contains("ContainerNotFound")));
}
