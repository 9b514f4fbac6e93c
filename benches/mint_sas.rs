//! How long one Azure URL takes: the goal is 1.5 µs.
//!
//! The store is a real one and goes through the trait; a user delegation key is made up, because no service is asked.
//! Run with `cargo bench --bench mint_sas`.

#![allow(missing_docs, reason = "criterion's macros make items without any")]
#![allow(clippy::expect_used, reason = "a benchmark may stop where a test may")]

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use jiff::Timestamp;
use vestibule::clock::Clock;
use vestibule::domain::bytes::StoredBytes;
use vestibule::domain::filename::Filename;
use vestibule::domain::grant::{Disposition, DownloadGrant, UploadGrant, UploadMethod};
use vestibule::domain::ids::{GrantId, ObjectId};
use vestibule::domain::key::{Area, ObjectKey};
use vestibule::domain::principal::Environment;
use vestibule::domain::target::{ProviderSettings, Target};
use vestibule::storage::ObjectStore;
use vestibule::storage::azure::sas::{DelegationKey, Place, Sas, SasKey, VERSION};
use vestibule::storage::azure::{self, AzureStore};
use vestibule::storage::credentials::Credentials;

const KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
const STAGED: &str = "incoming/uploads/u-42/obj_019aa83c7b0071f2a5b3c4d5e6f70812/menu.jpg";
const SERVED: &str = "uploads/u-42/obj_019aa83c7b0071f2a5b3c4d5e6f70812/menu.jpg";

fn store() -> AzureStore {
    let target = Target {
        name: "clinic".parse().expect("a name"),
        environment: Environment::Live,
        residency: "eu".into(),
        staging_prefix: "incoming".parse().expect("a prefix"),
        staging_bucket: None,
        provider: ProviderSettings::Azure {
            account: "clinicfiles".into(),
            container: "uploads".into(),
            endpoint: None,
        },
        credentials: None,
        retention: None,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let key = Credentials::AccountKey(KEY.into());
    runtime.block_on(azure::open(&target, Some(&key), Clock::system())).expect("a store")
}

fn upload(now: Timestamp) -> UploadGrant {
    UploadGrant {
        id: GrantId::from_uuid(uuid::Uuid::from_u128(1)),
        object: ObjectId::from_uuid(uuid::Uuid::from_u128(2)),
        key: ObjectKey::parse(Area::Staging, STAGED).expect("a key"),
        method: UploadMethod::Put,
        size: 48_213,
        content_type: "image/jpeg".parse().expect("a type"),
        sha256: None,
        issued_at: now,
        expires_at: now + Duration::from_secs(600),
    }
}

fn download(now: Timestamp) -> DownloadGrant {
    DownloadGrant {
        id: GrantId::from_uuid(uuid::Uuid::from_u128(1)),
        object: ObjectId::from_uuid(uuid::Uuid::from_u128(2)),
        key: ObjectKey::parse(Area::Served, SERVED).expect("a key"),
        bytes: StoredBytes { etag: "\"0x1\"".into(), version: None, size: 48_213 },
        disposition: Disposition::Attachment,
        filename: Filename::sanitise("menu.jpg").expect("a name"),
        content_type: "image/jpeg".parse().expect("a type"),
        issued_at: now,
        expires_at: now + Duration::from_secs(120),
    }
}

fn mint(c: &mut Criterion) {
    let now = Clock::system().now();
    let (store, upload, download) = (store(), upload(now), download(now));
    c.bench_function("sas/service upload", |b| b.iter(|| store.mint_upload(black_box(&upload))));
    c.bench_function("sas/service download", |b| b.iter(|| store.mint_download(black_box(&download))));

    let key = SasKey::delegation(&DelegationKey {
        object_id: "11059fcc-5514-4800-b5f8-49808b9cfab6".into(),
        tenant_id: "ab1f708d-50f6-404c-a006-d71b2ac7a606".into(),
        starts_at: now,
        expires_at: now + Duration::from_secs(21_600),
        service: "b".into(),
        version: VERSION.into(),
        value: KEY.into(),
    })
    .expect("a key");
    let place = Place::new("https://clinicfiles.blob.core.windows.net", "clinicfiles", "uploads");
    let sas = Sas {
        permissions: "c",
        blob: STAGED,
        expires_at: upload.expires_at,
        https_only: true,
        correlation: Some(upload.id.uuid()),
        version: None,
        content_disposition: None,
        content_type: None,
    };
    c.bench_function("sas/user delegation upload", |b| b.iter(|| key.sign(black_box(&place), black_box(&sas))));
}

criterion_group!(benches, mint);
criterion_main!(benches);
