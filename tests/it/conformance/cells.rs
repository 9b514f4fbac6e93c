//! The enforcement table, cell by cell: a request that breaks one constraint, for every method of the provider.
//!
//! Where the table says that the URL enforces the constraint, the storage must refuse the request. Where it says `No`, the
//! request must get through: that is what the check after the upload exists for, and a cell that became stricter should be
//! written into the table.

use std::time::Duration;

use reqwest::Method;
use vestibule::domain::grant::UploadMethod;
use vestibule::domain::key::{Area, ObjectKey};
use vestibule::domain::retention::Kept;
use vestibule::storage::enforcement::{Constraint, Enforced, Provider};
use vestibule::storage::{MintedUpload, SignedUrl};

use super::{Fixture, accepted, now, refused};

pub async fn key_method_and_expiry(fixture: &Fixture) {
    for &method in fixture.store.provider().methods() {
        assert_ne!(cell(fixture, Constraint::KeyMethodExpiry, method), Enforced::No);
        let (key, other) = keys(fixture, method);
        let grant = fixture.upload(&key, method, b"menu");
        let minted = fixture.store.mint_upload(&grant).unwrap();

        let elsewhere = match method {
            UploadMethod::Put => with_url(&minted, minted.url.expose().replacen("menu.jpg?", "menu.jpg2?", 1)),
            UploadMethod::Post => with_field(&minted, "key", other.path()),
        };
        refused("another key", fixture.send(&elsewhere, Method::PUT, b"menu").await).await;
        assert_eq!(fixture.store.head(&other).await.unwrap(), None);

        if method == UploadMethod::Put {
            refused("another method", fixture.http.delete(minted.url.expose()).send().await.unwrap()).await;
            refused("reading", fixture.http.get(minted.url.expose()).send().await.unwrap()).await;
        }

        let mut late = grant.clone();
        late.issued_at = now() - Duration::from_secs(180);
        late.expires_at = now() - Duration::from_secs(60);
        if let Ok(minted) = fixture.store.mint_upload(&late) {
            refused("an expired URL", fixture.send(&minted, Method::PUT, b"menu").await).await;
        }
        assert_eq!(fixture.store.head(&key).await.unwrap(), None, "{method:?}");
        accepted(fixture.send(&minted, Method::PUT, b"menu").await).await;
    }
}

pub async fn size(fixture: &Fixture) {
    for &method in fixture.store.provider().methods() {
        for body in [b"menus".as_slice(), b"men"] {
            let (key, _) = keys(fixture, method);
            let mut grant = fixture.upload(&key, method, b"menu");
            grant.sha256 = None;
            let minted = without_header(&fixture.store.mint_upload(&grant).unwrap(), "content-length");
            let answer = fixture.send(&minted, Method::PUT, body).await;
            judge(fixture, Constraint::Size, method, &key, answer).await;
        }
    }
}

pub async fn content_type(fixture: &Fixture) {
    for &method in fixture.store.provider().methods() {
        let (key, _) = keys(fixture, method);
        let minted = fixture.store.mint_upload(&fixture.upload(&key, method, b"menu")).unwrap();
        let broken = match method {
            UploadMethod::Put => {
                let mut broken = minted.clone();
                for (name, value) in &mut broken.headers {
                    if name.ends_with("content-type") {
                        "text/html".clone_into(value);
                    }
                }
                broken
            }
            UploadMethod::Post => with_field(&minted, "content-type", "text/html"),
        };
        let answer = fixture.send(&broken, Method::PUT, b"menu").await;
        judge(fixture, Constraint::ContentType, method, &key, answer).await;
    }
}

pub async fn sha256(fixture: &Fixture) {
    for &method in fixture.store.provider().methods() {
        let (key, _) = keys(fixture, method);
        let minted = fixture.store.mint_upload(&fixture.upload(&key, method, b"menu")).unwrap();
        let answer = fixture.send(&minted, Method::PUT, b"MENU").await;
        judge(fixture, Constraint::Sha256, method, &key, answer).await;
        if cell(fixture, Constraint::Sha256, method) != Enforced::No {
            let silent = match method {
                UploadMethod::Put => without_header(&minted, "x-amz-checksum-sha256"),
                UploadMethod::Post => without_field(&minted, "x-amz-checksum-sha256"),
            };
            refused("leaving the digest out", fixture.send(&silent, Method::PUT, b"MENU").await).await;
        }
    }
}

pub async fn create_only(fixture: &Fixture) {
    for &method in fixture.store.provider().methods() {
        let (key, _) = keys(fixture, method);
        let mut grant = fixture.upload(&key, method, b"menu");
        grant.sha256 = None;
        let minted = fixture.store.mint_upload(&grant).unwrap();
        accepted(fixture.send(&minted, Method::PUT, b"menu").await).await;
        let first = fixture.store.head(&key).await.unwrap().expect("the first upload");
        let answer = fixture.send(&minted, Method::PUT, b"MENU").await;
        if cell(fixture, Constraint::CreateOnly, method) == Enforced::No {
            accepted(answer).await;
            let read = fixture.store.get(&key, &first.bytes).await;
            assert!(read.is_err() || first.bytes.version.is_some(), "the bytes that were scanned are named exactly");
        } else {
            refused("overwriting", answer).await;
            assert_eq!(fixture.read(&key, &first.bytes).await.unwrap(), b"menu");
            if method == UploadMethod::Put {
                let silent = without_header(&minted, "if-none-match");
                refused("leaving the condition out", fixture.send(&silent, Method::PUT, b"MENU").await).await;
            }
        }
    }
}

fn cell(fixture: &Fixture, constraint: Constraint, method: UploadMethod) -> Enforced {
    constraint.enforced(fixture.store.provider(), method)
}

/// Compares what the storage did with what the table says.
async fn judge(
    fixture: &Fixture,
    constraint: Constraint,
    method: UploadMethod,
    key: &ObjectKey,
    answer: reqwest::Response,
) {
    let what = format!("{constraint:?} by {method:?}");
    let published = if cell(fixture, constraint, method) == Enforced::No {
        accepted(answer).await;
        true
    } else {
        refused(&what, answer).await;
        false
    };
    let found = fixture.store.head(key).await.unwrap();
    assert_eq!(found.is_some(), published, "{what}: {found:?}");
    if let Some(found) = found {
        fixture.store.delete(key, found.bytes.version.as_deref()).await.unwrap();
    }
}

/// A key for this method, and one that nobody was granted.
fn keys(fixture: &Fixture, method: UploadMethod) -> (ObjectKey, ObjectKey) {
    let name = |file: &str| fixture.key(Area::Staging, &format!("{}/{file}", method.as_str()));
    (name("menu.jpg"), name("menu.jpg2"))
}

fn with_url(minted: &MintedUpload, url: String) -> MintedUpload {
    assert_ne!(url, minted.url.expose());
    MintedUpload { url: SignedUrl::new(url), ..minted.clone() }
}

fn with_field(minted: &MintedUpload, name: &str, value: &str) -> MintedUpload {
    let mut changed = minted.clone();
    for field in changed.fields.iter_mut().flat_map(|fields| &mut fields.0) {
        if field.0.eq_ignore_ascii_case(name) {
            value.clone_into(&mut field.1);
        }
    }
    assert_ne!(changed.fields, minted.fields, "the form has a field {name}");
    changed
}

fn without_field(minted: &MintedUpload, name: &str) -> MintedUpload {
    let mut changed = minted.clone();
    changed.fields.iter_mut().for_each(|fields| fields.0.retain(|(field, _)| !field.eq_ignore_ascii_case(name)));
    changed
}

fn without_header(minted: &MintedUpload, name: &str) -> MintedUpload {
    let mut changed = minted.clone();
    changed.headers.retain(|(header, _)| !header.eq_ignore_ascii_case(name));
    changed
}

pub async fn retention_and_legal_hold(fixture: &Fixture) {
    let sub_resources: &[&str] = match fixture.store.provider() {
        Provider::S3 => &["retention", "legal-hold", "acl", "tagging", "object-lock"],
        Provider::Azure => &["comp=immutabilityPolicies", "comp=legalhold", "comp=tags", "comp=metadata"],
    };
    let (served, bytes) = fixture.serve("served.jpg", b"menu").await;
    let download = fixture.store.mint_download(&fixture.download(&served, &bytes)).unwrap().url;
    for &method in fixture.store.provider().methods() {
        let (key, _) = keys(fixture, method);
        let minted = fixture.store.mint_upload(&fixture.upload(&key, method, b"menu")).unwrap();
        accepted(fixture.send(&minted, Method::PUT, b"menu").await).await;
        let staged = fixture.store.head(&key).await.unwrap().expect("the upload").bytes;
        for sub_resource in sub_resources {
            // A form's address carries no signature that could be borrowed.
            for url in [&minted.url, &download].into_iter().filter(|url| url.expose().contains('?')) {
                let url = format!("{}&{sub_resource}", url.expose());
                for asked in [Method::PUT, Method::DELETE] {
                    let mut request = fixture.http.request(asked, &url);
                    for (name, value) in LOCKING {
                        request = request.header(name, value);
                    }
                    // Azurite, which does not know the calls, answers some of them with 500.
                    let status = request.body(RETENTION).send().await.unwrap().status();
                    assert!(!status.is_success(), "{sub_resource} was answered with {status}");
                }
            }
        }
        assert_eq!(fixture.store.kept(&key, &staged).await.unwrap(), Kept::default(), "{method:?}");

        // The same as headers of the upload itself, and as fields of a form: refused, or without effect.
        let other = fixture.key(Area::Staging, &format!("{}/other.jpg", method.as_str()));
        let mut minted = fixture.store.mint_upload(&fixture.upload(&other, method, b"menu")).unwrap();
        match &mut minted.fields {
            None => minted.headers.extend(LOCKING.map(|(name, value)| (name, value.to_owned()))),
            Some(fields) => {
                let more = LOCKING.map(|(name, value)| (name.to_owned(), value.to_owned()));
                fields.0.splice(0..0, more);
            }
        }
        let status = fixture.send(&minted, Method::PUT, b"menu").await.status();
        match fixture.store.head(&other).await.unwrap() {
            None => assert!(status.is_client_error(), "{method:?}: {status}"),
            Some(found) => {
                let kept = fixture.store.kept(&other, &found.bytes).await.unwrap();
                assert_eq!(kept, Kept::default(), "{method:?}: {status}");
            }
        }
    }
    assert_eq!(fixture.store.kept(&served, &bytes).await.unwrap(), Kept::default());
}

/// What asks both providers for retention and a legal hold.
const LOCKING: [(&str, &str); 6] = [
    ("x-amz-object-lock-mode", "COMPLIANCE"),
    ("x-amz-object-lock-retain-until-date", "2099-01-01T00:00:00Z"),
    ("x-amz-object-lock-legal-hold", "ON"),
    ("x-ms-immutability-policy-mode", "locked"),
    ("x-ms-immutability-policy-until-date", "Thu, 01 Jan 2099 00:00:00 GMT"),
    ("x-ms-legal-hold", "true"),
];

const RETENTION: &str = "<Retention xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Mode>GOVERNANCE</Mode>\
    <RetainUntilDate>2099-01-01T00:00:00Z</RetainUntilDate></Retention>";
