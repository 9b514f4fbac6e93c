//! Reading in ranges: order, bounds, and what happens when the bytes change underneath.

use futures::TryStreamExt;
use vestibule::domain::grant::UploadMethod;
use vestibule::domain::key::{Area, ObjectKey};
use vestibule::storage::{ObjectStore, StorageError};

use super::{Bucket, open, owner, target, unversioned_fixture};
use crate::conformance::accepted;

/// Two ranges of 16 MiB and a part of a third.
const SIZE: u32 = 35 << 20;

fn pattern() -> Vec<u8> {
    (0..SIZE).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

#[tokio::test]
async fn an_object_of_three_ranges_is_read_in_order_and_small_chunks() {
    let fixture = unversioned_fixture().await;
    let (key, body) = (fixture.key(Area::Staging, "large.jpg"), pattern());
    let minted = fixture.store.mint_upload(&fixture.upload(&key, UploadMethod::Put, &body)).unwrap();
    accepted(fixture.send(&minted, reqwest::Method::PUT, &body).await).await;
    let found = fixture.store.head(&key).await.unwrap().unwrap();
    let mut stream = fixture.store.get(&key, &found.bytes).await.unwrap();
    let mut at = 0;
    while let Some(chunk) = stream.try_next().await.unwrap() {
        assert!(chunk.len() <= 1 << 20, "a chunk of {} bytes", chunk.len());
        assert!(body[at..].starts_with(&chunk), "after {at} bytes");
        at += chunk.len();
    }
    assert_eq!(at, body.len());
}

#[tokio::test]
async fn bytes_of_two_states_are_never_mixed() {
    let bucket = Bucket::create(false).await;
    let store = open(&target(&bucket.name, None)).await;
    let key = ObjectKey::parse(Area::Staging, "incoming/large.jpg").unwrap();
    let put = |body: Vec<u8>| owner().put_object().bucket(&bucket.name).key(key.path()).body(body.into()).send();
    put(pattern()).await.unwrap();
    let found = store.head(&key).await.unwrap().unwrap();
    let mut stream = store.get(&key, &found.bytes).await.unwrap();
    // LocalStack lets nobody write while an answer is under way: the first range is read to its end.
    let mut read = 0;
    while read < 16 << 20 {
        read += stream.try_next().await.unwrap().unwrap().len();
    }
    let mut other = pattern();
    other.reverse();
    put(other).await.unwrap();
    let end = stream.try_next().await.unwrap_err();
    assert!(matches!(end, StorageError::PreconditionFailed), "{end}");
}
