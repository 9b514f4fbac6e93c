//! What a signed URL costs: ours beside `aws-sigv4`, in the same run.
//!
//! Goals: at most 2 µs a URL, and at least eight times faster than `aws-sigv4`, whose result is compared with ours before
//! anything is measured. The last lines print the ratio. Other signers add a group of their own.

#![allow(missing_docs, reason = "criterion's macros make items without any")]
#![allow(clippy::unwrap_used, reason = "a benchmark may stop where a test may")]

use std::hint::black_box;
use std::time::{Duration, Instant, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation, SigningSettings, UriPathNormalizationMode,
    sign,
};
use aws_sigv4::sign::v4;
use criterion::{Criterion, criterion_group, criterion_main};
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;
use vestibule::domain::bytes::{Sha256Digest, StoredBytes};
use vestibule::domain::filename::Filename;
use vestibule::domain::grant::{Disposition, DownloadGrant, UploadGrant, UploadMethod};
use vestibule::domain::ids::{GrantId, ObjectId};
use vestibule::domain::key::{Area, ObjectKey};
use vestibule::storage::credentials::{AccessKey, CredentialSource};
use vestibule::storage::s3::{Location, Presigner};

const KEY: &str = "incoming/uploads/u-42/obj_0192f0c4a5b67c8d9e0f1a2b3c4d5e6f/menu of the day (1).jpg";
const ENCODED: &str = "incoming/uploads/u-42/obj_0192f0c4a5b67c8d9e0f1a2b3c4d5e6f/menu%20of%20the%20day%20%281%29.jpg";
const HOST: &str = "https://where2eat-images.s3.eu-central-1.amazonaws.com";
const BUCKET: &str = "where2eat-images";
const ID: &str = "AKIAIOSFODNN7EXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const TTL: i64 = 300;

fn now() -> Timestamp {
    "2026-11-21T20:00:00Z".parse().unwrap()
}

fn presigner(token: Option<&str>) -> Presigner {
    let location = Location {
        bucket: BUCKET.into(),
        staging_bucket: BUCKET.into(),
        region: "eu-central-1".into(),
        endpoint: None,
        path_style: false,
    };
    let key =
        AccessKey { access_key_id: ID.into(), secret_access_key: SECRET.into(), session_token: token.map(Into::into) };
    Presigner::new(&location, CredentialSource::fixed(&key)).unwrap()
}

fn upload(method: UploadMethod, sha256: Option<Sha256Digest>) -> UploadGrant {
    UploadGrant {
        id: GrantId::from_uuid(Uuid::from_u128(7)),
        object: ObjectId::from_uuid(Uuid::from_u128(7)),
        key: ObjectKey::parse(Area::Staging, KEY).unwrap(),
        method,
        size: 48_213,
        content_type: "image/jpeg".parse().unwrap(),
        sha256,
        issued_at: now(),
        expires_at: now() + SignedDuration::from_secs(TTL),
    }
}

fn download() -> DownloadGrant {
    DownloadGrant {
        id: GrantId::from_uuid(Uuid::from_u128(7)),
        object: ObjectId::from_uuid(Uuid::from_u128(7)),
        key: ObjectKey::parse(Area::Served, KEY).unwrap(),
        bytes: StoredBytes { etag: "\"e\"".into(), version: None, size: 48_213 },
        disposition: Disposition::Attachment,
        filename: Filename::sanitise("menu of the day (1).jpg").unwrap(),
        content_type: "image/jpeg".parse().unwrap(),
        issued_at: now(),
        expires_at: now() + SignedDuration::from_secs(TTL),
    }
}

/// The same PUT by `aws-sigv4`, from its pieces to the finished URL.
fn sigv4(grant: &UploadGrant, identity: &aws_smithy_runtime_api::client::identity::Identity) -> String {
    let mut settings = SigningSettings::default();
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    settings.signature_location = SignatureLocation::QueryParams;
    settings.expires_in = Some(Duration::from_secs(TTL.unsigned_abs()));
    let params = v4::SigningParams::builder()
        .identity(identity)
        .region("eu-central-1")
        .name("s3")
        .time(SystemTime::from(grant.issued_at))
        .settings(settings)
        .build()
        .unwrap()
        .into();
    let url = format!("{HOST}/{ENCODED}?x-grant-id={}", grant.id);
    let length = grant.size.to_string();
    let headers =
        [("content-length", length.as_str()), ("content-type", grant.content_type.as_str()), ("if-none-match", "*")];
    let request =
        SignableRequest::new("PUT", url.as_str(), headers.into_iter(), SignableBody::UnsignedPayload).unwrap();
    let (instructions, _) = sign(request, &params).unwrap().into_parts();
    let mut signed = http::Request::builder().uri(&url).body(()).unwrap();
    instructions.apply_to_request_http1x(&mut signed);
    signed.uri().to_string()
}

fn signature(url: &str) -> &str {
    url.split("X-Amz-Signature=").nth(1).unwrap().split('&').next().unwrap()
}

/// Nanoseconds a call, the best of several rounds that take turns, so that both see the same machine.
fn side_by_side(mut ours: impl FnMut(), mut theirs: impl FnMut()) -> (f64, f64) {
    const CALLS: u32 = 20_000;
    let round = |work: &mut dyn FnMut()| {
        let begun = Instant::now();
        (0..CALLS).for_each(|_| work());
        begun.elapsed().as_nanos() as f64 / f64::from(CALLS)
    };
    let mut best = (f64::MAX, f64::MAX);
    for _ in 0..15 {
        best = (best.0.min(round(&mut ours)), best.1.min(round(&mut theirs)));
    }
    best
}

fn s3(criterion: &mut Criterion) {
    let identity = Credentials::from_keys(ID, SECRET, None).into();
    let token = "IQoJb3JpZ2luX2VjE".repeat(48);
    let (plain, temporary) = (presigner(None), presigner(Some(&token)));
    let put = upload(UploadMethod::Put, None);
    let digest = upload(UploadMethod::Put, Some(Sha256Digest([7; 32])));
    let form = upload(UploadMethod::Post, None);
    let get = download();
    assert_eq!(signature(plain.mint_upload(&put).unwrap().url.expose()), signature(&sigv4(&put, &identity)));

    let mut group = criterion.benchmark_group("s3");
    group.bench_function("put", |bencher| bencher.iter(|| plain.mint_upload(black_box(&put))));
    group.bench_function("put with a digest", |bencher| bencher.iter(|| plain.mint_upload(black_box(&digest))));
    group.bench_function("put with a session token", |bencher| bencher.iter(|| temporary.mint_upload(black_box(&put))));
    group.bench_function("post form", |bencher| bencher.iter(|| plain.mint_upload(black_box(&form))));
    group.bench_function("get", |bencher| bencher.iter(|| plain.mint_download(black_box(&get))));
    group.bench_function("put by aws-sigv4", |bencher| bencher.iter(|| sigv4(black_box(&put), &identity)));
    group.finish();

    let (ours, theirs) = side_by_side(
        || drop(black_box(plain.mint_upload(black_box(&put)))),
        || drop(black_box(sigv4(black_box(&put), &identity))),
    );
    println!("s3 put: ours {ours:.0} ns, aws-sigv4 {theirs:.0} ns, ratio {:.1} (goals: 2000 ns, 8.0)", theirs / ours);
}

criterion_group!(benches, s3);
criterion_main!(benches);
