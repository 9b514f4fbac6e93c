//! The one conformance suite of [`ObjectStore`]: every provider passes the same cases.
//!
//! A provider's test file writes one function that makes a [`Fixture`] and then `conformance_suite!(make_fixture);`, which
//! becomes one test per case. The cases see the store through its trait and through plain HTTP requests with the URLs that
//! it mints, sent exactly as handed out; nothing here knows a provider, except through `storage::enforcement`.

pub mod cells;
pub mod downloads;
pub mod objects;

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;
use jiff::Timestamp;
use reqwest::{Method, Response};
use vestibule::clock::Clock;
use vestibule::domain::bytes::{Sha256Digest, StoredBytes};
use vestibule::domain::filename::Filename;
use vestibule::domain::grant::{Disposition, DownloadGrant, UploadGrant, UploadMethod};
use vestibule::domain::ids::{GrantId, ObjectId};
use vestibule::domain::key::{Area, ObjectKey, Prefix};
use vestibule::storage::{MintedUpload, ObjectStore, ServedAttributes, StorageError, StoredObject};

use crate::harness;

/// One test per case, named after the case. `$make` is an `async fn() -> Fixture`.
macro_rules! conformance_suite {
    ($make:path) => {
        crate::conformance::conformance_suite! { @cases $make:
            objects::what_is_put_with_a_minted_url_is_read_back_unchanged,
            objects::every_upload_method_writes_its_bytes,
            objects::an_empty_object_is_an_object,
            objects::eight_mebibytes_are_read_in_bounded_chunks,
            objects::a_missing_object_is_none_or_not_found,
            objects::reading_other_bytes_than_named_is_a_failed_precondition,
            objects::a_copy_carries_the_attributes_that_it_was_given,
            objects::copying_twice_is_harmless,
            objects::copying_other_bytes_than_named_is_a_failed_precondition,
            objects::deleting_twice_is_success,
            objects::a_listing_pages_in_key_order,
            objects::a_listing_keeps_to_its_prefix,
            objects::unusual_keys_work,
            objects::setting_tags_replaces_them,
            objects::the_bucket_answers,
            downloads::a_download_url_forces_disposition_and_type,
            downloads::an_expired_download_url_is_refused,
            downloads::a_download_url_opens_no_other_key,
            downloads::a_download_url_allows_no_other_act,
            downloads::an_altered_override_is_refused,
            downloads::only_staging_is_written_and_only_served_copies_are_read,
            downloads::printing_a_minted_url_shows_no_signature,
            cells::key_method_and_expiry,
            cells::size,
            cells::content_type,
            cells::sha256,
            cells::create_only,
            cells::retention_and_legal_hold,
        }
    };
    (@cases $make:path: $($module:ident :: $case:ident),* $(,)?) => {
        $(
            #[tokio::test]
            async fn $case() {
                let fixture = $make().await;
                crate::conformance::$module::$case(&fixture).await;
            }
        )*
    };
}
pub(crate) use conformance_suite;

/// A store under test and a place of its own in it.
pub struct Fixture {
    /// The store.
    pub store: Arc<dyn ObjectStore>,
    /// The client of a micro app: follows no redirect and adds nothing.
    pub http: reqwest::Client,
    /// Under which this test's keys lie.
    pub prefix: Prefix,
    /// Whatever must live as long as the test: a server, a bucket that is removed when dropped.
    #[allow(dead_code, reason = "held, never read")]
    pub keep: Option<Box<dyn Any + Send + Sync>>,
}

impl Fixture {
    /// A fixture with a fresh prefix.
    pub fn new(store: Arc<dyn ObjectStore>, http: reqwest::Client) -> Self {
        let prefix = harness::unique("conformance").parse().unwrap();
        Self { store, http, prefix, keep: None }
    }

    /// The same, holding on to `keep`.
    pub fn keeping(self, keep: impl Any + Send + Sync) -> Self {
        Self { keep: Some(Box::new(keep)), ..self }
    }

    /// A key of this test.
    pub fn key(&self, area: Area, name: &str) -> ObjectKey {
        ObjectKey::parse(area, &format!("{}{name}", self.prefix)).unwrap()
    }

    /// A grant for exactly these bytes under this key, valid from now for five minutes.
    pub fn upload(&self, key: &ObjectKey, method: UploadMethod, body: &[u8]) -> UploadGrant {
        let (clock, now) = (Clock::system(), now());
        UploadGrant {
            id: GrantId::from_uuid(clock.uuid()),
            object: ObjectId::from_uuid(clock.uuid()),
            key: key.clone(),
            method,
            size: body.len() as u64,
            content_type: "image/jpeg".parse().unwrap(),
            sha256: Some(Sha256Digest::of(body)),
            issued_at: now,
            expires_at: now + Duration::from_secs(300),
        }
    }

    /// A grant to read exactly these bytes, valid from now for two minutes.
    pub fn download(&self, key: &ObjectKey, bytes: &StoredBytes) -> DownloadGrant {
        let (clock, now) = (Clock::system(), now());
        DownloadGrant {
            id: GrantId::from_uuid(clock.uuid()),
            object: ObjectId::from_uuid(clock.uuid()),
            key: key.clone(),
            bytes: bytes.clone(),
            disposition: Disposition::Attachment,
            filename: Filename::sanitise("menu of the day (é).jpg").unwrap(),
            content_type: "image/png".parse().unwrap(),
            issued_at: now,
            expires_at: now + Duration::from_secs(120),
        }
    }

    /// Writes `body` under a staging key as a client would, and says what lies there.
    pub async fn put(&self, key: &ObjectKey, body: &[u8]) -> StoredObject {
        let minted = self.store.mint_upload(&self.upload(key, UploadMethod::Put, body)).unwrap();
        let answer = self.send(&minted, Method::PUT, body).await;
        accepted(answer).await;
        self.store.head(key).await.unwrap().expect("the object that was just written")
    }

    /// Writes `body` in the staging area and copies it to the served one, as a promotion does.
    pub async fn serve(&self, name: &str, body: &[u8]) -> (ObjectKey, StoredBytes) {
        let (from, to) = (self.key(Area::Staging, &format!("in/{name}")), self.key(Area::Served, name));
        let written = self.put(&from, body).await;
        let attributes =
            ServedAttributes { content_type: "image/jpeg".parse().unwrap(), metadata: Vec::new(), tags: Vec::new() };
        let copied = self.store.copy(&from, &written.bytes, &to, &attributes).await.unwrap();
        (to, copied)
    }

    /// Sends `body` with a minted upload exactly as it was handed out: PUT with its headers, or its form.
    pub async fn send(&self, minted: &MintedUpload, method: Method, body: &[u8]) -> Response {
        match &minted.fields {
            None => {
                let mut request = self.http.request(method, minted.url.expose());
                for (name, value) in &minted.headers {
                    request = request.header(*name, value);
                }
                request.body(body.to_vec()).send().await.unwrap()
            }
            Some(fields) => {
                let boundary = "vestibule-form-boundary";
                let form = form_body(boundary, &fields.0, body);
                let mut request = self.http.post(minted.url.expose());
                for (name, value) in &minted.headers {
                    request = request.header(*name, value);
                }
                request = request.header("content-type", format!("multipart/form-data; boundary={boundary}"));
                request.body(form).send().await.unwrap()
            }
        }
    }

    /// All bytes of what [`ObjectStore::get`] streams.
    pub async fn read(&self, key: &ObjectKey, bytes: &StoredBytes) -> Result<Vec<u8>, StorageError> {
        let chunks: Vec<Bytes> = self.store.get(key, bytes).await?.try_collect().await?;
        Ok(chunks.concat())
    }
}

/// Now, by the machine's clock.
pub fn now() -> Timestamp {
    Clock::system().now()
}

/// A form as a browser sends it (RFC 7578): the fields in their order, then the file.
pub fn form_body(boundary: &str, fields: &[(String, String)], file: &[u8]) -> Vec<u8> {
    let mut form = Vec::new();
    for (name, value) in fields {
        form.extend_from_slice(
            format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n").as_bytes(),
        );
    }
    form.extend_from_slice(
        format!("--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\nContent-Type: application/octet-stream\r\n\r\n")
            .as_bytes(),
    );
    form.extend_from_slice(file);
    form.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    form
}

/// Fails, with the storage's own words, unless the answer is a success.
pub async fn accepted(answer: Response) {
    let status = answer.status();
    if !status.is_success() {
        panic!("refused with {status}: {}", answer.text().await.unwrap_or_default());
    }
}

/// Fails unless the answer is a client error: the request was understood and refused.
pub async fn refused(what: &str, answer: Response) {
    let status = answer.status();
    assert!(status.is_client_error(), "{what} was answered with {status}");
}
