//! Requests that must be refused, or leave nothing behind.

use std::time::Duration;

use bytes::Bytes;
use reqwest::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use vestibule::clock::Clock;
use vestibule::domain::grant::UploadMethod;
use vestibule::domain::key::Area;
use vestibule::storage::MintedUpload;

use super::{BUCKET, Running};
use crate::conformance::{accepted, form_body, refused};

#[tokio::test]
async fn nothing_is_done_without_a_signature() {
    let running = Running::start().await;
    let fixture = running.fixture().await;
    let (key, bytes) = fixture.serve("menu.jpg", b"menu").await;
    let root = format!("{}{BUCKET}", running.server.endpoint());
    let object = format!("{root}/{}", key.path());
    for (method, url) in [
        (Method::GET, object.clone()),
        (Method::HEAD, object.clone()),
        (Method::PUT, object.clone()),
        (Method::DELETE, object.clone()),
        (Method::POST, object.clone()),
        (Method::GET, format!("{root}?list-type=2")),
        (Method::GET, running.server.endpoint().to_string()),
        (Method::POST, format!("{root}?delete")),
    ] {
        let answer = fixture.http.request(method.clone(), &url).body("x").send().await.unwrap();
        assert_eq!(answer.status(), 403, "{method} {url}");
    }
    let form = form_body("b", &[("key".into(), key.path().into())], b"other");
    let sent = fixture.http.post(&root).header("content-type", "multipart/form-data; boundary=b").body(form);
    assert_eq!(sent.send().await.unwrap().status(), 403);
    assert_eq!(fixture.read(&key, &bytes).await.unwrap(), b"menu");
}

#[tokio::test]
async fn headers_that_were_not_signed_are_refused() {
    let running = Running::start().await;
    let fixture = running.fixture().await;
    let key = fixture.key(Area::Staging, "menu.jpg");
    let minted = fixture.store.mint_upload(&fixture.upload(&key, UploadMethod::Put, b"menu")).unwrap();
    for (name, value) in [
        ("x-amz-acl", "public-read"),
        ("x-amz-tagging", "vestibule-verdict=clean"),
        ("x-amz-meta-vestibule-object", "obj_1"),
        ("x-amz-copy-source", "/menus/secret"),
        ("x-amz-storage-class", "GLACIER"),
        ("x-amz-security-token", "token"),
        ("x-amz-checksum-crc32", "AAAAAA=="),
        ("x-amz-content-sha256", "UNSIGNED-PAYLOAD"),
        ("authorization", "AWS4-HMAC-SHA256 Credential=x"),
    ] {
        let mut changed = minted.clone();
        changed.headers.push((name, value.to_owned()));
        refused(name, fixture.send(&changed, Method::PUT, b"menu").await).await;
    }
    assert_eq!(fixture.store.head(&key).await.unwrap(), None);
    accepted(fixture.send(&minted, Method::PUT, b"menu").await).await;
}

#[tokio::test]
async fn a_signature_that_was_touched_is_refused() {
    let running = Running::start().await;
    let fixture = running.fixture().await;
    let (key, bytes) = fixture.serve("menu.jpg", b"menu").await;
    let url = fixture.store.mint_download(&fixture.download(&key, &bytes)).unwrap().url.into_exposed();
    let flipped = match url.strip_suffix('0') {
        Some(rest) => format!("{rest}1"),
        None => format!("{}0", &url[..url.len() - 1]),
    };
    let other = Running::start().await;
    let elsewhere = other.fixture().await;
    let (_, _) = elsewhere.serve("menu.jpg", b"menu").await;
    let foreign = elsewhere.store.mint_download(&elsewhere.download(&key, &bytes)).unwrap().url.into_exposed();
    let host = |server: &Running| server.server.local_addr().to_string();
    for (what, url) in [
        ("a flipped digit", flipped),
        ("a longer life", url.replacen("X-Amz-Expires=120", "X-Amz-Expires=600", 1)),
        ("no grant", url.replacen("&x-grant-id=grt_", "&x-grant-id=grt_0", 1)),
        ("a token", url.replacen("&X-Amz-SignedHeaders", "&X-Amz-Security-Token=t&X-Amz-SignedHeaders", 1)),
        ("a checksum in the query", format!("{url}&x-amz-checksum-sha256=AA")),
        ("a second date", format!("{url}&x-amz-date=20300101T000000Z")),
        ("keys of another store", foreign.replacen(&host(&other), &host(&running), 1)),
    ] {
        refused(what, fixture.http.get(&url).send().await.unwrap()).await;
    }
    accepted(fixture.http.get(&url).send().await.unwrap()).await;
}

#[tokio::test]
async fn a_form_is_held_to_its_policy() {
    let running = Running::start().await;
    let fixture = running.fixture().await;
    let key = fixture.key(Area::Staging, "menu.jpg");
    let minted = fixture.store.mint_upload(&fixture.upload(&key, UploadMethod::Post, b"menu")).unwrap();
    let change = |change: &dyn Fn(&mut Fields)| {
        let mut changed: MintedUpload = minted.clone();
        change(&mut changed.fields.as_mut().unwrap().0);
        changed
    };
    let set = |name: &'static str, value: &'static str| {
        change(&move |fields| fields.iter_mut().filter(|f| f.0 == name).for_each(|f| value.clone_into(&mut f.1)))
    };
    let add = |name: &'static str, value: &'static str| change(&move |fields| fields.push((name.into(), value.into())));
    for (what, form) in [
        ("another signature", set("x-amz-signature", "00")),
        ("another policy", set("policy", "e30=")),
        ("an undeclared field", add("x-amz-meta-a", "1")),
        ("an ACL", add("acl", "public-read")),
        ("a tag", add("x-amz-tagging", "a=b")),
        ("another bucket", add("bucket", "other")),
        ("a second key", add("key", "other")),
        ("a redirect", add("success_action_redirect", "https://evil.example")),
        ("a token", add("x-amz-security-token", "t")),
        ("another algorithm", set("x-amz-algorithm", "AWS4-HMAC-SHA1")),
        ("another date", set("x-amz-date", "20300101T000000Z")),
        ("no policy", change(&|fields| fields.retain(|f| f.0 != "policy"))),
        ("no digest", change(&|fields| fields.retain(|f| f.0 != "x-amz-checksum-sha256"))),
        ("fields without end", add("x-ignore-me", Box::leak("x".repeat(70_000).into_boxed_str()))),
    ] {
        refused(what, fixture.send(&form, Method::POST, b"menu").await).await;
    }
    refused("another digest", fixture.send(&minted, Method::POST, b"MENU").await).await;
    assert_eq!(fixture.store.head(&key).await.unwrap(), None);
    assert_eq!(running.drafts(), 0);
    accepted(fixture.send(&minted, Method::POST, b"menu").await).await;
}

#[tokio::test]
async fn a_body_that_breaks_off_leaves_nothing() {
    let running = Running::start().await;
    let fixture = running.fixture().await;
    let key = fixture.key(Area::Staging, "menu.jpg");
    let body = vec![7; 1 << 20];
    let put = fixture.store.mint_upload(&fixture.upload(&key, UploadMethod::Put, &body)).unwrap();
    let path = put.url.expose().splitn(4, '/').nth(3).unwrap();
    let mut head = format!("PUT /{path} HTTP/1.1\r\nhost: {}\r\n", running.server.local_addr());
    for (name, value) in &put.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    send_and_close(&running, head.as_bytes(), &body[..600_000]).await;

    let post = fixture.store.mint_upload(&fixture.upload(&key, UploadMethod::Post, &body)).unwrap();
    let form = form_body("b", &post.fields.as_ref().unwrap().0, &body);
    let head = format!(
        "POST /{BUCKET} HTTP/1.1\r\nhost: {}\r\ncontent-type: multipart/form-data; boundary=b\r\ncontent-length: {}\r\n\r\n",
        running.server.local_addr(),
        form.len()
    );
    send_and_close(&running, head.as_bytes(), &form[..700_000]).await;
    // A form whose length ends with the file, before the closing boundary.
    let cut = &form[..form.len() - 6];
    let head = head.replace(&form.len().to_string(), &cut.len().to_string());
    send_and_close(&running, head.as_bytes(), cut).await;

    assert_eq!(fixture.store.head(&key).await.unwrap(), None);
    accepted(fixture.send(&put, Method::PUT, &body).await).await;
}

/// The fields of a form.
type Fields = Vec<(String, String)>;

/// Sends a head and part of a body, closes, and waits until the server has dropped the draft.
async fn send_and_close(running: &Running, head: &[u8], body: &[u8]) {
    let mut stream = TcpStream::connect(running.server.local_addr()).await.unwrap();
    stream.write_all(head).await.unwrap();
    stream.write_all(body).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer);
    assert!(!answer.starts_with("HTTP/1.1 2"), "{answer}");
    for _ in 0..200 {
        if running.drafts() == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("a draft is left");
}

#[tokio::test]
async fn uploads_say_their_length_and_keep_to_the_limit() {
    let running = Running::start_with(Clock::system(), |config| config.max_object_bytes = 1000).await;
    let fixture = running.fixture().await;
    let key = fixture.key(Area::Staging, "menu.jpg");
    for method in [UploadMethod::Put, UploadMethod::Post] {
        for (size, fits) in [(1001, false), (2_000_000, false), (1000, true)] {
            let body = vec![0; size];
            let minted = fixture.store.mint_upload(&fixture.upload(&key, method, &body)).unwrap();
            let mut request = fixture.send(&minted, Method::PUT, &body).await;
            assert_eq!(request.status().is_success(), fits, "{size} by {method:?}: {}", request.status());
            while let Ok(Some(_)) = request.chunk().await {}
        }
        fixture.store.delete(&key, None).await.unwrap();
    }
    let minted = fixture.store.mint_upload(&fixture.upload(&key, UploadMethod::Put, b"menu")).unwrap();
    let chunks = futures::stream::iter([Ok::<_, std::io::Error>("me"), Ok("nu")]);
    let mut request = fixture.http.put(minted.url.expose()).body(reqwest::Body::wrap_stream(chunks));
    for (name, value) in minted.headers.iter().filter(|(name, _)| *name != "content-length") {
        request = request.header(*name, value);
    }
    assert_eq!(request.send().await.unwrap().status(), 411);
    assert_eq!(fixture.store.head(&key).await.unwrap(), None);
}

#[tokio::test]
async fn a_large_upload_is_never_held_in_memory() {
    const CHUNK: usize = 64 << 10;
    const CHUNKS: usize = 1024;
    let running = Running::start().await;
    let fixture = running.fixture().await;
    for method in [UploadMethod::Put, UploadMethod::Post] {
        let key = fixture.key(Area::Staging, method.as_str());
        let mut grant = fixture.upload(&key, method, b"");
        (grant.size, grant.sha256) = ((CHUNK * CHUNKS) as u64, None);
        let minted = fixture.store.mint_upload(&grant).unwrap();
        let (mut head, mut tail, mut headers) = (Vec::new(), Vec::new(), minted.headers.clone());
        if let Some(fields) = &minted.fields {
            head = form_body("b", &fields.0, b"");
            tail = head.split_off(head.len() - "\r\n--b--\r\n".len());
            headers.push(("content-type", "multipart/form-data; boundary=b".into()));
            headers.push(("content-length", (head.len() + CHUNK * CHUNKS + tail.len()).to_string()));
        }
        let file = std::iter::repeat_n(Bytes::from(vec![7; CHUNK]), CHUNKS);
        let body = std::iter::once(head.into()).chain(file).chain(std::iter::once(tail.into()));
        let body = futures::stream::iter(body.map(Ok::<_, std::io::Error>));
        let mut request = fixture.http.request(method.as_str().parse().unwrap(), minted.url.expose());
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let before = peak_memory();
        accepted(request.body(reqwest::Body::wrap_stream(body)).send().await.unwrap()).await;
        let grown = peak_memory() - before;
        assert!(grown < 16 << 10, "{method:?} of 64 MiB took {grown} KiB more");
        assert_eq!(fixture.store.head(&key).await.unwrap().unwrap().bytes.size, grant.size);
    }
}

/// The most memory that this process ever held, in KiB; nextest gives each test a process of its own.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
