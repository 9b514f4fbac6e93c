//! Objects through the trait: write, look, read, copy, delete, list, tag.
//!
//! What is written comes from a minted URL in every case, because that is the only way in which bytes enter a store.

use futures::TryStreamExt;
use reqwest::Method;
use vestibule::domain::bytes::StoredBytes;
use vestibule::domain::key::{Area, ObjectKey, Prefix};
use vestibule::storage::{CheckStatus, ServedAttributes, StorageError};

use super::{Fixture, accepted, now};

pub async fn what_is_put_with_a_minted_url_is_read_back_unchanged(fixture: &Fixture) {
    let key = fixture.key(Area::Staging, "menu.jpg");
    let written = fixture.put(&key, b"menu").await;
    assert_eq!(written.bytes.size, 4);
    assert!(written.bytes.etag.starts_with('"') && written.bytes.etag.ends_with('"'), "{}", written.bytes.etag);
    assert_eq!(written.content_type.as_deref(), Some("image/jpeg"));
    let age = written.modified_at.map(|at| now().duration_since(at).abs());
    assert!(age.is_some_and(|age| age.as_secs() < 120), "{age:?}");
    assert_eq!(fixture.read(&key, &written.bytes).await.unwrap(), b"menu");
}

pub async fn every_upload_method_writes_its_bytes(fixture: &Fixture) {
    for &method in fixture.store.provider().methods() {
        for digest in [true, false] {
            let key = fixture.key(Area::Staging, &format!("{}-{digest}.jpg", method.as_str()));
            let mut grant = fixture.upload(&key, method, b"menu");
            if !digest {
                grant.sha256 = None;
            }
            let minted = fixture.store.mint_upload(&grant).unwrap();
            assert!(minted.expires_at <= grant.expires_at);
            accepted(fixture.send(&minted, Method::PUT, b"menu").await).await;
            let written = fixture.store.head(&key).await.unwrap().expect("the object");
            assert_eq!(written.content_type.as_deref(), Some("image/jpeg"), "{method:?}");
            assert_eq!(fixture.read(&key, &written.bytes).await.unwrap(), b"menu", "{method:?}");
        }
    }
}

pub async fn an_empty_object_is_an_object(fixture: &Fixture) {
    let key = fixture.key(Area::Staging, "empty.jpg");
    let written = fixture.put(&key, b"").await;
    assert_eq!(written.bytes.size, 0);
    assert_eq!(fixture.read(&key, &written.bytes).await.unwrap(), b"");
}

pub async fn eight_mebibytes_are_read_in_bounded_chunks(fixture: &Fixture) {
    let key = fixture.key(Area::Staging, "large.jpg");
    let body: Vec<u8> = (0..8u32 << 20).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let written = fixture.put(&key, &body).await;
    let mut stream = fixture.store.get(&key, &written.bytes).await.unwrap();
    let mut read = Vec::new();
    while let Some(chunk) = stream.try_next().await.unwrap() {
        assert!(chunk.len() <= 4 << 20, "a chunk of {} bytes", chunk.len());
        read.extend_from_slice(&chunk);
    }
    assert!(read == body, "{} of {} bytes", read.len(), body.len());
}

pub async fn a_missing_object_is_none_or_not_found(fixture: &Fixture) {
    let key = fixture.key(Area::Staging, "missing.jpg");
    let bytes = never();
    assert_eq!(fixture.store.head(&key).await.unwrap(), None);
    let read = fixture.store.get(&key, &bytes).await;
    assert!(matches!(read, Err(StorageError::NotFound)), "{:?}", read.err());
    let copied = fixture.store.copy(&key, &bytes, &fixture.key(Area::Served, "copy.jpg"), &attributes()).await;
    assert!(matches!(copied, Err(StorageError::NotFound)), "{copied:?}");
}

pub async fn reading_other_bytes_than_named_is_a_failed_precondition(fixture: &Fixture) {
    let key = fixture.key(Area::Staging, "menu.jpg");
    fixture.put(&key, b"menu").await;
    let read = fixture.store.get(&key, &never()).await;
    assert!(matches!(read, Err(StorageError::PreconditionFailed)), "{:?}", read.err());
}

pub async fn a_copy_carries_the_attributes_that_it_was_given(fixture: &Fixture) {
    let (from, to) = (fixture.key(Area::Staging, "menu.jpg"), fixture.key(Area::Served, "served/menu.jpg"));
    let written = fixture.put(&from, b"menu").await;
    let copied = fixture.store.copy(&from, &written.bytes, &to, &attributes()).await.unwrap();
    let found = fixture.store.head(&to).await.unwrap().expect("the copy");
    assert_eq!(found.bytes, copied);
    assert_eq!(found.content_type.as_deref(), Some("image/png"));
    assert_eq!(fixture.read(&to, &copied).await.unwrap(), b"menu");
    let mut tags = fixture.store.tags(&to).await.unwrap();
    tags.sort();
    assert_eq!(tags, attributes().tags);

    let url = fixture.store.mint_download(&fixture.download(&to, &copied)).unwrap().url;
    let answer = fixture.http.get(url.expose()).send().await.unwrap();
    for (name, value) in attributes().metadata {
        let found = answer.headers().iter().find(|(header, _)| {
            let header = header.as_str().replace('_', "-");
            header == format!("x-amz-meta-{name}") || header == format!("x-ms-meta-{name}")
        });
        assert_eq!(found.map(|(_, found)| found.to_str().unwrap()), Some(value.as_str()), "{name}");
    }
}

pub async fn copying_twice_is_harmless(fixture: &Fixture) {
    let (from, to) = (fixture.key(Area::Staging, "menu.jpg"), fixture.key(Area::Served, "served/menu.jpg"));
    let written = fixture.put(&from, b"menu").await;
    let first = fixture.store.copy(&from, &written.bytes, &to, &attributes()).await.unwrap();
    let second = fixture.store.copy(&from, &written.bytes, &to, &attributes()).await.unwrap();
    assert_eq!(first.size, second.size);
    assert_eq!(fixture.read(&to, &second).await.unwrap(), b"menu");
}

pub async fn copying_other_bytes_than_named_is_a_failed_precondition(fixture: &Fixture) {
    let (from, to) = (fixture.key(Area::Staging, "menu.jpg"), fixture.key(Area::Served, "served/menu.jpg"));
    fixture.put(&from, b"menu").await;
    let copied = fixture.store.copy(&from, &never(), &to, &attributes()).await;
    assert!(matches!(copied, Err(StorageError::PreconditionFailed)), "{copied:?}");
    assert_eq!(fixture.store.head(&to).await.unwrap(), None);
}

pub async fn deleting_twice_is_success(fixture: &Fixture) {
    let key = fixture.key(Area::Staging, "menu.jpg");
    let written = fixture.put(&key, b"menu").await;
    fixture.store.delete(&key, written.bytes.version.as_deref()).await.unwrap();
    assert_eq!(fixture.store.head(&key).await.unwrap(), None);
    fixture.store.delete(&key, None).await.unwrap();
    fixture.store.delete(&fixture.key(Area::Staging, "missing.jpg"), None).await.unwrap();
}

pub async fn a_listing_pages_in_key_order(fixture: &Fixture) {
    let mut expected = Vec::new();
    for name in ["b.jpg", "a/c.jpg", "a b.jpg", "a.jpg", "é.jpg", "B.jpg", "a/b/d.jpg"] {
        let key = fixture.key(Area::Staging, name);
        fixture.put(&key, name.as_bytes()).await;
        expected.push(key.path().to_owned());
    }
    expected.sort();
    for limit in [1, 3, 7, 1000] {
        let (mut found, mut cursor) = (Vec::new(), None);
        loop {
            let page = fixture.store.list(Area::Staging, &fixture.prefix, cursor.as_deref(), limit).await.unwrap();
            assert!(page.objects.len() <= limit);
            for (path, object) in page.objects {
                assert_eq!(object.bytes.size, (path.len() - fixture.prefix.as_str().len()) as u64, "{path}");
                let key = ObjectKey::parse(Area::Staging, &path).unwrap();
                let head = fixture.store.head(&key).await.unwrap().expect("what was listed");
                assert_eq!(head.bytes.etag, object.bytes.etag, "head and list name the same bytes");
                found.push(path);
            }
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(found, expected, "pages of {limit}");
    }
}

pub async fn a_listing_keeps_to_its_prefix(fixture: &Fixture) {
    let (inside, beside) = (fixture.key(Area::Staging, "a/x.jpg"), fixture.key(Area::Staging, "ab/x.jpg"));
    fixture.put(&inside, b"in").await;
    fixture.put(&beside, b"out").await;
    let prefix: Prefix = format!("{}a", fixture.prefix).parse().unwrap();
    let page = fixture.store.list(Area::Staging, &prefix, None, 10).await.unwrap();
    assert_eq!(page.objects.iter().map(|(path, _)| path.as_str()).collect::<Vec<_>>(), [inside.path()]);
    let nowhere: Prefix = format!("{}nowhere", fixture.prefix).parse().unwrap();
    let page = fixture.store.list(Area::Staging, &nowhere, None, 10).await.unwrap();
    assert!(page.objects.is_empty() && page.next.is_none());
}

pub async fn unusual_keys_work(fixture: &Fixture) {
    let room = 1000 - fixture.prefix.as_str().len();
    let deep = format!("{}x.jpg", "abcdefghi/".repeat((room - 5) / 10));
    let names = [
        "menu of the day (1).jpg".to_owned(),
        "Übergröße, 菜单 e\u{301}.jpg".to_owned(),
        "a=b@c,d_e-f.g.h.jpg".to_owned(),
        "...jpg".to_owned(),
        "x".repeat(room),
        deep,
    ];
    for name in names {
        let key = fixture.key(Area::Staging, &name);
        let written = fixture.put(&key, name.as_bytes()).await;
        assert_eq!(fixture.read(&key, &written.bytes).await.unwrap(), name.as_bytes(), "{name}");
        let served = fixture.key(Area::Served, &name.replacen(name.chars().next().unwrap_or('x'), "s", 1));
        let copied = fixture.store.copy(&key, &written.bytes, &served, &attributes()).await.unwrap();
        let url = fixture.store.mint_download(&fixture.download(&served, &copied)).unwrap().url;
        let answer = fixture.http.get(url.expose()).send().await.unwrap();
        assert!(answer.status().is_success(), "{name}: {}", answer.status());
        assert_eq!(answer.bytes().await.unwrap(), name.as_bytes(), "{name}");
        fixture.store.delete(&served, copied.version.as_deref()).await.unwrap();
        let page = fixture.store.list(Area::Staging, &fixture.prefix, None, 10).await.unwrap();
        assert_eq!(page.objects.iter().map(|(path, _)| path.as_str()).collect::<Vec<_>>(), [key.path()]);
        fixture.store.delete(&key, written.bytes.version.as_deref()).await.unwrap();
        assert_eq!(fixture.store.head(&key).await.unwrap(), None, "{name}");
    }
}

pub async fn setting_tags_replaces_them(fixture: &Fixture) {
    let key = fixture.key(Area::Staging, "menu.jpg");
    fixture.put(&key, b"menu").await;
    assert_eq!(fixture.store.tags(&key).await.unwrap(), []);
    for tags in [
        vec![("vestibule-verdict".to_owned(), "infected".to_owned()), ("b".to_owned(), "1 +-=._:/".to_owned())],
        vec![("vestibule-verdict".to_owned(), "clean".to_owned())],
    ] {
        fixture.store.set_tags(&key, &tags).await.unwrap();
        let (mut found, mut expected) = (fixture.store.tags(&key).await.unwrap(), tags);
        found.sort();
        expected.sort();
        assert_eq!(found, expected);
    }
    let missing = fixture.key(Area::Staging, "missing.jpg");
    assert!(matches!(fixture.store.tags(&missing).await, Err(StorageError::NotFound)));
}

pub async fn the_bucket_answers(fixture: &Fixture) {
    fixture.store.probe().await.unwrap();
    let items = fixture.store.check().await;
    assert!(!items.is_empty());
    for item in items {
        assert!(!item.name.is_empty() && !item.detail.is_empty(), "{item:?}");
        assert!(item.status != CheckStatus::Missing || item.detail.len() > 10, "says what to do: {item:?}");
    }
}

/// Bytes that no test ever wrote.
fn never() -> StoredBytes {
    StoredBytes { etag: "\"00000000000000000000000000000000\"".into(), version: None, size: 4 }
}

fn attributes() -> ServedAttributes {
    ServedAttributes {
        content_type: "image/png".parse().unwrap(),
        metadata: vec![("table".into(), "7".into()), ("vestibule-object".into(), "obj_1".into())],
        tags: vec![("vestibule-verdict".into(), "clean".into())],
    }
}
