//! PUT URLs, one broken thing at a time, with the exact status that S3 answers.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use vestibule::domain::grant::UploadMethod;
use vestibule::domain::key::Area;
use vestibule::storage::{MintedUpload, ObjectStore, SignedUrl};

use super::unversioned_fixture;
use crate::conformance::{Fixture, now};

const BODY: &[u8] = b"menu of the day";

/// What is done to a URL before it is used.
type Breakage = fn(&mut MintedUpload);

async fn put(fixture: &Fixture, name: &str, body: &[u8], breakage: Breakage) -> StatusCode {
    let key = fixture.key(Area::Staging, name);
    let mut minted = fixture.store.mint_upload(&fixture.upload(&key, UploadMethod::Put, BODY)).unwrap();
    breakage(&mut minted);
    fixture.send(&minted, Method::PUT, body).await.status()
}

fn without(minted: &mut MintedUpload, name: &str) {
    minted.headers.retain(|(header, _)| *header != name);
}

fn with(minted: &mut MintedUpload, name: &'static str, value: &str) {
    without(minted, name);
    minted.headers.push((name, value.to_owned()));
}

fn rewrite(minted: &mut MintedUpload, from: &str, to: &str) {
    let url = minted.url.expose().replacen(from, to, 1);
    assert_ne!(url, minted.url.expose());
    minted.url = SignedUrl::new(url);
}

#[tokio::test]
async fn a_put_that_differs_from_its_grant_is_refused() {
    let fixture = unversioned_fixture().await;
    assert_eq!(put(&fixture, "good.jpg", BODY, |_| {}).await, StatusCode::OK);
    assert_eq!(put(&fixture, "good.jpg", BODY, |_| {}).await, StatusCode::PRECONDITION_FAILED, "a second PUT");

    let forbidden: [(&str, &[u8], Breakage); 15] = [
        ("a shorter body", b"menu", |minted| without(minted, "content-length")),
        ("a longer body", b"menu of the day, and more", |minted| without(minted, "content-length")),
        ("another type", BODY, |minted| with(minted, "content-type", "text/html")),
        ("no type", BODY, |minted| without(minted, "content-type")),
        ("no condition", BODY, |minted| without(minted, "if-none-match")),
        ("another condition", BODY, |minted| with(minted, "if-none-match", "\"x\"")),
        ("no checksum", BODY, |minted| without(minted, "x-amz-checksum-sha256")),
        ("another checksum", BODY, |minted| {
            with(minted, "x-amz-checksum-sha256", "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=")
        }),
        ("an unsigned ACL", BODY, |minted| with(minted, "x-amz-acl", "public-read")),
        ("unsigned metadata", BODY, |minted| with(minted, "x-amz-meta-owner", "somebody")),
        ("unsigned tags", BODY, |minted| with(minted, "x-amz-tagging", "vestibule-verdict=clean")),
        ("another key", BODY, |minted| rewrite(minted, ".jpg?", ".jpg2?")),
        ("another signature", BODY, |minted| {
            let last = minted.url.expose().chars().last().unwrap();
            let other = if last == '0' { '1' } else { '0' };
            let url = minted.url.expose();
            minted.url = SignedUrl::new(format!("{}{other}", &url[..url.len() - 1]));
        }),
        ("another grant", BODY, |minted| rewrite(minted, "x-grant-id=grt_0", "x-grant-id=grt_1")),
        ("a longer life", BODY, |minted| rewrite(minted, "X-Amz-Expires=300", "X-Amz-Expires=9300")),
    ];
    for (what, body, breakage) in forbidden {
        assert_eq!(put(&fixture, &format!("{what}.jpg"), body, breakage).await, StatusCode::FORBIDDEN, "{what}");
        let key = fixture.key(Area::Staging, &format!("{what}.jpg"));
        assert_eq!(fixture.store.head(&key).await.unwrap(), None, "{what}");
    }
    let swapped = put(&fixture, "swapped.jpg", b"MENU OF THE DAY", |_| {}).await;
    assert_eq!(swapped, StatusCode::BAD_REQUEST, "other bytes of the same length");
}

#[tokio::test]
async fn a_put_url_allows_no_other_method_and_no_late_use() {
    let fixture = unversioned_fixture().await;
    let key = fixture.key(Area::Staging, "menu.jpg");
    let mut grant = fixture.upload(&key, UploadMethod::Put, BODY);
    let minted = fixture.store.mint_upload(&grant).unwrap();
    for method in [Method::GET, Method::DELETE, Method::HEAD, Method::POST] {
        let answer = fixture.http.request(method.clone(), minted.url.expose()).send().await.unwrap();
        assert!(answer.status().is_client_error(), "{method}: {}", answer.status());
    }
    grant.issued_at = now() - Duration::from_secs(400);
    grant.expires_at = now() - Duration::from_secs(100);
    let late = fixture.store.mint_upload(&grant).unwrap();
    assert_eq!(fixture.send(&late, Method::PUT, BODY).await.status(), StatusCode::FORBIDDEN);
    assert_eq!(fixture.store.head(&key).await.unwrap(), None);
}

#[tokio::test]
async fn a_missing_bucket_is_an_error_and_not_an_absent_object() {
    let store = super::open(&super::target("no-such-bucket-here", None)).await;
    let error = store.probe().await.unwrap_err().to_string();
    assert!(error.contains("there is no bucket"), "{error}");
}
