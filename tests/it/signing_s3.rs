//! Our Signature Version 4 against other people's: `aws-sigv4`, the AWS SDK for Rust, and botocore.
//!
//! Hundreds of cases from a seeded generator: unusual keys, session tokens, ports, base paths, both styles of address,
//! with and without a digest. Every parameter and the signature must be equal; nothing is compared with our own code.

mod generator;
mod posts;

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sdk_s3::config::{BehaviorVersion, Builder, Region, RequestChecksumCalculation};
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sigv4::http_request::{
    PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation, SigningSettings, UriPathNormalizationMode,
    sign,
};
use aws_sigv4::sign::v4;
use base64::Engine;
use jiff::{SignedDuration, Timestamp};
use vestibule::domain::bytes::Sha256Digest;
use vestibule::storage::MintError;
use vestibule::storage::credentials::{AccessKey, CredentialSource};
use vestibule::storage::s3::Presigner;

use generator::Case;

/// A URL in parts: everything before the query, and the parameters as written, sorted.
fn parts(url: &str) -> (String, Vec<String>) {
    let (address, query) = url.split_once('?').expect("a query");
    let mut parameters: Vec<_> = query.split('&').map(str::to_owned).collect();
    parameters.sort();
    (address.to_owned(), parameters)
}

fn base64_of(digest: &Sha256Digest) -> String {
    base64::engine::general_purpose::STANDARD.encode(digest.0)
}

/// Signs with the SDKs' signing crate: `address?query` and these headers.
fn sigv4(case: &Case, method: &str, query: &str, headers: &[(&str, &str)]) -> (String, Vec<String>) {
    let identity = case.credentials().into();
    let mut settings = SigningSettings::default();
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    settings.signature_location = SignatureLocation::QueryParams;
    settings.expires_in = Some(Duration::from_secs(case.ttl));
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(&case.region)
        .name("s3")
        .time(SystemTime::from(case.issued_at))
        .settings(settings)
        .build()
        .unwrap()
        .into();
    let url = format!("{}?{query}", case.address());
    let request =
        SignableRequest::new(method, url.as_str(), headers.iter().copied(), SignableBody::UnsignedPayload).unwrap();
    let (instructions, _) = sign(request, &params).unwrap().into_parts();
    let mut signed = http::Request::builder().uri(&url).body(()).unwrap();
    instructions.apply_to_request_http1x(&mut signed);
    parts(&signed.uri().to_string())
}

#[test]
fn upload_urls_equal_those_of_aws_sigv4() {
    for case in generator::cases(1, 400) {
        let grant = case.upload();
        let minted = case.presigner().mint_upload(&grant).unwrap();
        let length = grant.size.to_string();
        let digest = grant.sha256.as_ref().map(base64_of);
        let mut headers = vec![
            ("content-length", length.as_str()),
            ("content-type", grant.content_type.as_str()),
            ("if-none-match", "*"),
        ];
        headers.extend(digest.as_deref().map(|digest| ("x-amz-checksum-sha256", digest)));
        let theirs = sigv4(&case, "PUT", &format!("x-grant-id={}", grant.id), &headers);
        assert_eq!(parts(minted.url.expose()), theirs, "{case:?}");
        let mut told: Vec<_> = minted.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        told.sort_unstable();
        assert_eq!(told, headers, "exactly the signed headers are handed out");
        assert_eq!(minted.expires_at, case.ends_at());
    }
}

#[test]
fn download_urls_equal_those_of_aws_sigv4() {
    for case in generator::cases(2, 400) {
        let grant = case.download();
        let minted = case.presigner().mint_download(&grant).unwrap();
        let mut query = format!(
            "response-content-disposition={}&response-content-type={}",
            generator::encoded(&case.disposition()),
            generator::encoded(grant.content_type.as_str()),
        );
        if let Some(version) = &grant.bytes.version {
            query += &format!("&versionId={}", generator::encoded(version));
        }
        query += &format!("&x-grant-id={}", grant.id);
        let theirs = sigv4(&case, "GET", &query, &[]);
        assert_eq!(parts(minted.url.expose()), theirs, "{case:?}");
        assert_eq!(minted.expires_at, case.ends_at());
    }
}

fn client(case: &Case) -> aws_sdk_s3::Client {
    let mut config = Builder::new()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(case.region.clone()))
        .credentials_provider(case.credentials())
        .force_path_style(case.path_style)
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired);
    if let Some(endpoint) = &case.endpoint {
        config = config.endpoint_url(format!("{}/", endpoint.as_str().trim_end_matches('/')));
    }
    aws_sdk_s3::Client::from_conf(config.build())
}

fn presigning(case: &Case) -> PresigningConfig {
    PresigningConfig::builder()
        .start_time(SystemTime::from(case.issued_at))
        .expires_in(Duration::from_secs(case.ttl))
        .build()
        .unwrap()
}

#[tokio::test]
async fn upload_urls_equal_those_of_the_sdk() {
    for case in generator::cases(3, 150) {
        let grant = case.upload();
        let minted = case.presigner().mint_upload(&grant).unwrap();
        let id = grant.id.to_string();
        let theirs = client(&case)
            .put_object()
            .bucket(&case.bucket)
            .key(grant.key.path())
            .content_length(i64::try_from(grant.size).unwrap())
            .content_type(grant.content_type.as_str())
            .if_none_match("*")
            .set_checksum_sha256(grant.sha256.as_ref().map(base64_of))
            .customize()
            // The SDK's own marker has no counterpart in ours, and ours has none in the SDK.
            .mutate_request(move |request| {
                let uri = request.uri().replace("x-id=PutObject", &format!("x-grant-id={id}"));
                request.set_uri(uri).unwrap();
            })
            .presigned(presigning(&case))
            .await
            .unwrap();
        assert_eq!(parts(minted.url.expose()), parts(theirs.uri()), "{case:?}");
        let mut told = minted.headers.clone();
        told.sort();
        let mut expected: Vec<_> = theirs.headers().map(|(name, value)| (name, value.to_owned())).collect();
        expected.retain(|(name, _)| *name != "host");
        expected.sort();
        assert_eq!(told, expected, "{case:?}");
    }
}

#[tokio::test]
async fn download_urls_equal_those_of_the_sdk() {
    for case in generator::cases(4, 150) {
        let grant = case.download();
        let minted = case.presigner().mint_download(&grant).unwrap();
        let id = grant.id.to_string();
        let theirs = client(&case)
            .get_object()
            .bucket(&case.bucket)
            .key(grant.key.path())
            .response_content_disposition(case.disposition())
            .response_content_type(grant.content_type.as_str())
            .set_version_id(grant.bytes.version.clone())
            .customize()
            .mutate_request(move |request| {
                let uri = request.uri().replace("x-id=GetObject", &format!("x-grant-id={id}"));
                request.set_uri(uri).unwrap();
            })
            .presigned(presigning(&case))
            .await
            .unwrap();
        assert_eq!(parts(minted.url.expose()), parts(theirs.uri()), "{case:?}");
    }
}

#[test]
fn no_url_carries_a_default_checksum_or_a_checksum_in_its_query() {
    for case in generator::cases(5, 200) {
        let upload = case.presigner().mint_upload(&case.upload()).unwrap();
        let download = case.presigner().mint_download(&case.download()).unwrap();
        for url in [upload.url.expose(), download.url.expose()] {
            let query = url.split_once('?').unwrap().1.to_ascii_lowercase();
            for trap in ["aaaaaa", "crc32", "checksum-sha256=", "x-amz-sdk", "x-amz-content-sha256"] {
                assert!(!query.contains(trap), "{trap}");
            }
        }
    }
}

#[test]
fn a_url_never_outlives_its_credentials() {
    let case = generator::cases(6, 1).remove(0);
    let key = AccessKey { access_key_id: "ASIAEXAMPLE".into(), secret_access_key: "s".into(), session_token: None };
    let mint = |expires_in: i64, ttl: i64| {
        let issued_at: Timestamp = "2026-11-21T20:00:00.9Z".parse().unwrap();
        let ends = "2026-11-21T20:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_secs(expires_in);
        let presigner = Presigner::new(&case.location(), CredentialSource::temporary(&key, ends)).unwrap();
        let mut grant = case.upload();
        grant.issued_at = issued_at;
        grant.expires_at = issued_at + SignedDuration::from_secs(ttl);
        let minted = presigner.mint_upload(&grant)?;
        let lives: i64 = parts(minted.url.expose())
            .1
            .iter()
            .find_map(|parameter| parameter.strip_prefix("X-Amz-Expires="))
            .unwrap()
            .parse()
            .unwrap();
        let start: Timestamp = "2026-11-21T20:00:00Z".parse().unwrap();
        assert_eq!(minted.expires_at, start + SignedDuration::from_secs(lives), "the answer tells the true expiry");
        assert!(minted.expires_at <= grant.expires_at);
        Ok(lives)
    };
    assert_eq!(mint(3600, 300), Ok(300));
    assert_eq!(mint(300, 300), Ok(240), "a minute less than the credentials");
    assert_eq!(mint(90, 300), Ok(30));
    assert_eq!(mint(89, 300), Err(MintError::Credentials));
    assert_eq!(mint(-5, 300), Err(MintError::Credentials));
    assert_eq!(mint(70, 5), Ok(5), "a short grant needs no long credentials");
    assert_eq!(mint(30 * 86_400, 20 * 86_400), Ok(7 * 86_400), "S3 allows seven days");
    assert_eq!(mint(3600, 0), Err(MintError::Grant));
    assert_eq!(mint(3600, -60), Err(MintError::Grant));
}

#[test]
fn staging_is_never_read_and_served_keys_are_never_written() {
    let case = generator::cases(7, 1).remove(0);
    let (mut upload, mut download) = (case.upload(), case.download());
    std::mem::swap(&mut upload.key, &mut download.key);
    assert_eq!(case.presigner().mint_upload(&upload).unwrap_err(), MintError::Grant);
    assert_eq!(case.presigner().mint_download(&download).unwrap_err(), MintError::Grant);
}

#[test]
fn the_cached_key_follows_the_day() {
    let case = generator::cases(8, 1).remove(0);
    let presigner = case.presigner();
    let mint = |presigner: &Presigner, at: &str| {
        let mut grant = case.upload();
        grant.issued_at = at.parse().unwrap();
        grant.expires_at = grant.issued_at + SignedDuration::from_secs(60);
        presigner.mint_upload(&grant).unwrap().url.into_exposed()
    };
    for at in ["2026-11-21T23:59:59.9Z", "2026-11-22T00:00:00Z", "2026-11-21T23:59:59Z", "1969-12-31T23:59:59.5Z"] {
        assert_eq!(mint(&presigner, at), mint(&case.presigner(), at), "{at}");
    }
}

impl Case {
    fn credentials(&self) -> Credentials {
        Credentials::from_keys(&self.access_key_id, &self.secret, self.token.clone())
    }
}
