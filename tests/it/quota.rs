//! Quotas under concurrency (P4): a hundred requests at once get exactly what is left, and what comes back is given
//! again. Bytes and objects alike; expired, rejected and deleted objects give theirs back.

use std::collections::BTreeMap;
use std::time::Instant;

use futures::future::join_all;
use serde_json::json;

use crate::faults::books::Books;
use crate::faults::client::{Client, File};
use crate::gateway::{Gateway, PATIENCE, answer};

const MIB: i64 = 1 << 20;

/// A hundred requests at once: the ids that were given, and how often each refusal came.
async fn rush(gateway: &Gateway, size: i64) -> (Vec<String>, BTreeMap<String, usize>) {
    let body = json!({ "filename": "menu.jpg", "size": size, "contentType": "image/jpeg" });
    let answers = join_all((0..100).map(|_| gateway.post("/request-upload", body.clone()))).await;
    let (mut given, mut refused) = (Vec::new(), BTreeMap::new());
    for (status, answer) in answers {
        match status {
            201 => given.push(answer["objectId"].as_str().unwrap().to_owned()),
            _ => *refused.entry(answer["code"].as_str().unwrap().to_owned()).or_insert(0) += 1,
        }
    }
    (given, refused)
}

async fn until_held(books: &Books, held: i64) {
    let started = Instant::now();
    while books.usage("where2eat").1 != held {
        assert!(started.elapsed() < PATIENCE, "{:?} is held, {:?}", books.usage("where2eat"), books.states());
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_hundred_requests_at_once_get_what_is_left_and_no_more_and_what_comes_back_is_given_again() {
    let settings = [("VESTIBULE__SWEEP__INTERVAL", "1s"), ("VESTIBULE__SWEEP__EXPIRY_GRACE", "1s")];
    let mut gateway = Gateway::start_with(&settings).await;
    let manifest = gateway.dir().join("policies/apps/where2eat.toml");
    let text = std::fs::read_to_string(&manifest).unwrap();
    let smaller =
        text.replace("bytes = \"50 GiB\"", "bytes = \"100 MiB\"").replace("objects = 100_000", "objects = 20");
    assert_ne!(text, smaller);
    std::fs::write(&manifest, smaller).unwrap();
    gateway.start_again(&[]).await;
    let books = Books::of(gateway.dir());

    let (given, refused) = rush(&gateway, 10 * MIB).await;
    assert_eq!((given.len(), refused), (10, BTreeMap::from([("quota_bytes_exceeded".to_owned(), 90)])));
    assert_eq!(books.usage("where2eat"), (100 * MIB, 10));
    books.age(&given);
    until_held(&books, 0).await;

    let client = Client::new(&gateway, &gateway.token);
    let mut clean = Vec::new();
    for number in 0..3 {
        for file in [File::clean("menu.jpg", number), File::mistyped(number)] {
            let (status, issued) = client.request(&file, &format!("{}-{number}", file.name)).await.unwrap();
            assert_eq!((status, client.put(&issued, &file.bytes).await), (201, Some(200)), "{issued}");
            let id = issued["objectId"].as_str().unwrap().to_owned();
            if file.name == "menu.jpg" {
                gateway.wait_for(&id, "visible").await;
                clean.push(id);
            } else {
                gateway.wait_for(&id, "rejected").await;
            }
        }
    }
    let (given, refused) = rush(&gateway, 1000).await;
    assert_eq!((given.len(), refused), (17, BTreeMap::from([("quota_objects_exceeded".to_owned(), 83)])));

    for id in &clean {
        let delete = gateway.http.delete(format!("{}/objects/{id}", gateway.public)).bearer_auth(&gateway.token);
        let (status, body) = answer(delete).await;
        assert!((200..300).contains(&status), "{status} {body}");
    }
    until_held(&books, 17).await;
    assert_eq!(rush(&gateway, 1000).await.0.len(), 3);
    books.assert_balanced();
}
