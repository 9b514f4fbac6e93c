//! Download URLs: what they force, and what they do not open.

use std::time::Duration;

use reqwest::Method;
use vestibule::domain::grant::{Disposition, UploadMethod};
use vestibule::domain::key::Area;

use super::{Fixture, now, refused};

pub async fn a_download_url_forces_disposition_and_type(fixture: &Fixture) {
    let (key, bytes) = fixture.serve("menu.jpg", b"menu").await;
    for disposition in [Disposition::Attachment, Disposition::Inline] {
        let mut grant = fixture.download(&key, &bytes);
        grant.disposition = disposition;
        let minted = fixture.store.mint_download(&grant).unwrap();
        assert!(minted.expires_at <= grant.expires_at);
        let answer = fixture.http.get(minted.url.expose()).send().await.unwrap();
        assert!(answer.status().is_success(), "{}", answer.status());
        let header = |name: &str| answer.headers().get(name).unwrap().to_str().unwrap().to_owned();
        assert_eq!(header("content-type"), "image/png", "the verified type, not the declared one");
        let found = header("content-disposition");
        assert!(found.starts_with(disposition.as_str()), "{found}");
        assert!(found.contains("filename*=UTF-8''menu%20of%20the%20day%20"), "RFC 6266 with RFC 8187: {found}");
        assert_eq!(answer.bytes().await.unwrap(), "menu");
    }
}

pub async fn an_expired_download_url_is_refused(fixture: &Fixture) {
    let (key, bytes) = fixture.serve("menu.jpg", b"menu").await;
    let mut grant = fixture.download(&key, &bytes);
    grant.issued_at = now() - Duration::from_secs(180);
    grant.expires_at = now() - Duration::from_secs(60);
    if let Ok(minted) = fixture.store.mint_download(&grant) {
        refused("an expired URL", fixture.http.get(minted.url.expose()).send().await.unwrap()).await;
    }
}

pub async fn a_download_url_opens_no_other_key(fixture: &Fixture) {
    let (key, bytes) = fixture.serve("menu.jpg", b"menu").await;
    fixture.serve("menu.jpg2", b"secret").await;
    let minted = fixture.store.mint_download(&fixture.download(&key, &bytes)).unwrap();
    let url = minted.url.expose().replacen("menu.jpg?", "menu.jpg2?", 1);
    assert_ne!(url, minted.url.expose());
    refused("another key", fixture.http.get(url).send().await.unwrap()).await;
}

pub async fn a_download_url_allows_no_other_act(fixture: &Fixture) {
    let (key, bytes) = fixture.serve("menu.jpg", b"menu").await;
    let minted = fixture.store.mint_download(&fixture.download(&key, &bytes)).unwrap();
    for method in [Method::DELETE, Method::PUT] {
        let request = fixture.http.request(method.clone(), minted.url.expose()).header("x-ms-blob-type", "BlockBlob");
        refused(method.as_str(), request.body("other").send().await.unwrap()).await;
    }
    assert_eq!(fixture.read(&key, &bytes).await.unwrap(), b"menu");
}

pub async fn an_altered_override_is_refused(fixture: &Fixture) {
    let (key, bytes) = fixture.serve("menu.jpg", b"menu").await;
    let minted = fixture.store.mint_download(&fixture.download(&key, &bytes)).unwrap();
    let url = minted.url.expose().replacen("image%2Fpng", "text%2Fhtml", 1);
    assert_ne!(url, minted.url.expose(), "the type is in the URL");
    refused("another type", fixture.http.get(url).send().await.unwrap()).await;
}

pub async fn only_staging_is_written_and_only_served_copies_are_read(fixture: &Fixture) {
    let served = fixture.key(Area::Served, "menu.jpg");
    assert!(fixture.store.mint_upload(&fixture.upload(&served, UploadMethod::Put, b"menu")).is_err());
    let staged = fixture.key(Area::Staging, "menu.jpg");
    let written = fixture.put(&staged, b"menu").await;
    assert!(fixture.store.mint_download(&fixture.download(&staged, &written.bytes)).is_err());
}

pub async fn printing_a_minted_url_shows_no_signature(fixture: &Fixture) {
    let key = fixture.key(Area::Staging, "menu.jpg");
    for &method in fixture.store.provider().methods() {
        let minted = fixture.store.mint_upload(&fixture.upload(&key, method, b"menu")).unwrap();
        let printed = format!("{minted:?}");
        assert!(!printed.contains("ignature=") && !printed.contains("sig="), "{method:?}");
        for (name, value) in minted.fields.iter().flat_map(|fields| &fields.0) {
            if name.eq_ignore_ascii_case("x-amz-signature") || name.eq_ignore_ascii_case("policy") {
                assert!(!printed.contains(value), "{name}");
            }
        }
    }
}
