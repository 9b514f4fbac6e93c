//! Storage keys that change while the gateway runs: in files of their own, and in its configuration at a SIGHUP.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::place::Place;
use super::{Setup, write_configuration};
use crate::gateway::{Gateway, PATIENCE};
use crate::harness::{env, fixture};

/// Replaces a file as whoever rotates keys should: by a finished one.
fn replace(file: &Path, text: &str) {
    let fresh = file.with_extension("new");
    std::fs::write(&fresh, text).unwrap();
    std::fs::rename(fresh, file).unwrap();
}

/// Replaces a file by the snippet of docs/identity.md.
fn by_the_guide(file: &Path, id: &str) {
    let guide = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/identity.md")).unwrap();
    let name = "storage-key";
    let open = format!("```sh {name}\n");
    let snippet = guide.split_once(&open).and_then(|(_, rest)| rest.split("```").next()).expect("a snippet");
    let run = Command::new("bash")
        .args(["-euc", snippet])
        .envs([("NEW_KEY_ID", id), ("NEW_SECRET", "test"), ("KEY_FILE", file.to_str().unwrap())])
        .status();
    assert!(run.unwrap().success(), "{snippet}");
}

/// A gateway whose keys of this kind lie in a file with these contents.
async fn gateway(setup: &Setup, inline: &str, setting: &str, contents: &str) -> (Gateway, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    write_configuration(dir.path(), setup);
    let (toml, file) = (dir.path().join("vestibule.toml"), dir.path().join("key"));
    let text = std::fs::read_to_string(&toml).unwrap();
    let named = format!("{setting} = '{}'", file.display());
    assert!(text.contains(inline));
    std::fs::write(&toml, text.replacen(inline, &named, 1)).unwrap();
    replace(&file, contents);
    (Gateway::serve_in(dir, "desk", &[("VESTIBULE__SWEEP__INTERVAL", "1s")]).await, file)
}

async fn issue(gateway: &Gateway) -> Value {
    let body = json!({ "filename": "menu.jpg", "size": fixture("menu.jpg").len(), "contentType": "image/jpeg" });
    let (status, issued) = gateway.post("/request-upload", body).await;
    assert_eq!(status, 201, "no request fails while keys change: {issued}");
    issued
}

/// Asks for uploads until one is as it should be.
async fn until(what: &str, gateway: &Gateway, good: impl AsyncFn(&Value) -> bool) -> Value {
    let started = Instant::now();
    loop {
        let issued = issue(gateway).await;
        if good(&issued).await {
            return issued;
        }
        assert!(started.elapsed() < PATIENCE, "never {what}:\n{}", gateway.log());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn is_signed_with(issued: &Value, id: &str) -> bool {
    issued["uploadUrl"].as_str().unwrap().contains(&format!("X-Amz-Credential={id}%2F"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_access_key_in_a_file_is_exchanged_without_a_restart() {
    let setup = Setup::at(Place::s3().await);
    let key = |id: &str| json!({ "Version": 1, "AccessKeyId": id, "SecretAccessKey": "test" }).to_string();
    let inline = "access_key_id = 'test'\nsecret_access_key = 'test'";
    let (gateway, file) = gateway(&setup, inline, "access_key_file", &key("first-key")).await;
    assert!(is_signed_with(&issue(&gateway).await, "first-key"));
    by_the_guide(&file, "second-key");
    let issued = until("with the second key", &gateway, async |issued| is_signed_with(issued, "second-key")).await;
    // The gateway's own calls too.
    assert_eq!(gateway.put(&issued, fixture("menu.jpg")).await, 200);
    gateway.wait_for(issued["objectId"].as_str().unwrap(), "visible").await;
    replace(&file, "{");
    until("told", &gateway, async |issued| {
        assert!(is_signed_with(issued, "second-key"), "a file without a key changes nothing");
        gateway.log().contains("a key could not be read again")
    })
    .await;
    assert!(!gateway.log().contains("SecretAccessKey\":"), "{}", gateway.log());

    // The configuration's own keys are read again on SIGHUP.
    let toml = file.with_file_name("vestibule.toml");
    let text = std::fs::read_to_string(&toml).unwrap();
    let named = format!("access_key_file = '{}'", file.display());
    replace(&toml, &text.replace(&named, "access_key_id = 'third-key'\nsecret_access_key = 'test'"));
    gateway.signal("HUP");
    until("with the third key", &gateway, async |issued| is_signed_with(issued, "third-key")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_key_in_a_file_is_exchanged_without_a_restart() {
    let setup = Setup::at(Place::azure().await);
    let right = env("VESTIBULE_TEST_AZURITE_KEY");
    let inline = format!("account_key = '{right}'");
    let (gateway, file) = gateway(&setup, &inline, "account_key_file", &right).await;
    let sent = async |issued: &Value| gateway.put(issued, fixture("menu.jpg")).await;
    assert_eq!(sent(&issue(&gateway).await).await, 201);
    // Another key than Azurite's: it refuses what is signed with it.
    replace(&file, "c29tZWJvZHkgZWxzZSdzIGtleQ==");
    until("with the other key", &gateway, async |issued| sent(issued).await == 403).await;
    replace(&file, &right);
    let issued = until("with the right key again", &gateway, async |issued| sent(issued).await == 201).await;
    gateway.wait_for(issued["objectId"].as_str().unwrap(), "visible").await;
}
