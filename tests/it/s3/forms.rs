//! POST forms, one broken thing at a time.

use std::time::Duration;

use reqwest::Method;
use vestibule::domain::grant::UploadMethod;
use vestibule::domain::key::Area;
use vestibule::storage::MintedUpload;

use super::unversioned_fixture;
use crate::conformance::{accepted, now, refused};

const BODY: &[u8] = b"menu of the day";

/// What is done to a form before it is sent.
type Breakage = fn(&mut MintedUpload);

fn set(minted: &mut MintedUpload, name: &str, value: &str) {
    let fields = &mut minted.fields.as_mut().unwrap().0;
    let field = fields.iter_mut().find(|(field, _)| field == name).unwrap();
    assert_ne!(field.1, value);
    value.clone_into(&mut field.1);
}

fn drop_field(minted: &mut MintedUpload, name: &str) {
    minted.fields.as_mut().unwrap().0.retain(|(field, _)| field != name);
}

#[tokio::test]
async fn a_form_that_differs_from_its_grant_is_refused() {
    let fixture = unversioned_fixture().await;
    let broken: [(&str, &[u8], Breakage); 9] = [
        ("too long", b"menu of the day, and more", |_| {}),
        ("too short", b"menu", |_| {}),
        ("another type", BODY, |minted| set(minted, "Content-Type", "text/html")),
        ("no type", BODY, |minted| drop_field(minted, "Content-Type")),
        ("another key", BODY, |minted| set(minted, "key", "incoming/elsewhere.jpg")),
        ("another grant", BODY, |minted| set(minted, "x-grant-id", "grt_00000000000000000000000000000007")),
        ("other bytes", b"MENU OF THE DAY", |_| {}),
        ("another checksum", BODY, |minted| {
            set(minted, "x-amz-checksum-sha256", "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
        }),
        ("no checksum", BODY, |minted| drop_field(minted, "x-amz-checksum-sha256")),
    ];
    for (what, body, breakage) in broken {
        let key = fixture.key(Area::Staging, &format!("{what}.jpg"));
        let grant = fixture.upload(&key, UploadMethod::Post, BODY);
        let good = fixture.store.mint_upload(&grant).unwrap();
        let mut minted = good.clone();
        breakage(&mut minted);
        refused(what, fixture.send(&minted, Method::POST, body).await).await;
        assert_eq!(fixture.store.head(&key).await.unwrap(), None, "{what}");
        accepted(fixture.send(&good, Method::POST, BODY).await).await;
    }
}

#[tokio::test]
async fn an_expired_form_is_refused() {
    let fixture = unversioned_fixture().await;
    let key = fixture.key(Area::Staging, "menu.jpg");
    let mut grant = fixture.upload(&key, UploadMethod::Post, BODY);
    grant.issued_at = now() - Duration::from_secs(400);
    grant.expires_at = now() - Duration::from_secs(100);
    let late = fixture.store.mint_upload(&grant).unwrap();
    refused("an expired form", fixture.send(&late, Method::POST, BODY).await).await;
    assert_eq!(fixture.store.head(&key).await.unwrap(), None);
}
