//! Mutilated tokens, and secrets that are tried for a known id.
//!
//! Comparison in constant time is shown by construction, not by a stopwatch: what a request presents is hashed as a whole,
//! and two digests are compared by `subtle`; the places where the program does that are those that are named here.

use std::collections::BTreeSet;
use std::time::Instant;

use futures::StreamExt;
use vestibule::clock::Clock;
use vestibule::domain::principal::Environment;
use vestibule::identity::{Token, TokenKind};

use super::ask;
use crate::gateway::{Gateway, PATIENCE};
use crate::http_errors::assert_problem;

/// The checksum of the published form: CRC-32 in base 62, six digits.
fn checksum(body: &str) -> String {
    const BASE62: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut rest = crc32fast::hash(body.as_bytes());
    let mut digits = [b'0'; 6];
    for digit in digits.iter_mut().rev() {
        *digit = BASE62[(rest % 62) as usize];
        rest /= 62;
    }
    String::from_utf8(digits.to_vec()).unwrap()
}

/// A well-formed token of a workflow with this id and another secret.
fn guess(id: &str) -> String {
    let (other, ..) = Token::generate(TokenKind::Workflow(Environment::Live), &Clock::system());
    let body = format!("vst_live_{id}_{}", &other.expose()[26..69]);
    format!("{body}{}", checksum(&body))
}

fn id_of(token: &str) -> &str {
    &token[9..25]
}

/// The token cut at every place, without each character, with each character changed, doubled and in capitals.
pub(super) fn mutilated(token: &str) -> BTreeSet<String> {
    let mut hostile = BTreeSet::from([format!("{token}0"), format!("0{token}"), format!("{token}{token}")]);
    for at in 0..token.len() {
        hostile.insert(token[..at].to_owned());
        hostile.insert(token[at..].to_owned());
        let mut changed = token.as_bytes().to_vec();
        changed[at] ^= 0x20; // the other case of a letter, another character of a digit
        if changed[at].is_ascii_graphic() {
            hostile.insert(String::from_utf8(changed).unwrap());
        }
        hostile.insert(format!("{}{}", &token[..at], &token[at + 1..]));
    }
    hostile.insert(token.to_uppercase());
    hostile.remove(token);
    hostile.remove("");
    hostile
}

#[tokio::test]
async fn a_token_that_is_cut_or_changed_at_any_place_opens_nothing() {
    let gateway = Gateway::start().await;
    let token = gateway.token.as_str();
    let mut hostile = mutilated(token);
    // A right checksum makes no right token.
    for at in 26..69 {
        let mut body = token.as_bytes()[..69].to_vec();
        body[at] = if body[at].is_ascii_uppercase() { body[at].to_ascii_lowercase() } else { b'A' };
        let body = String::from_utf8(body).unwrap();
        hostile.insert(format!("{body}{}", checksum(&body)));
    }
    hostile.remove(token);
    assert!(hostile.len() > 250, "{}", hostile.len());
    for text in &hostile {
        assert_problem(&ask(&gateway, text).await, 401, "token_invalid");
    }
    assert_eq!(ask(&gateway, token).await.status, 200, "the token itself still works");
}

#[tokio::test]
async fn thousands_of_wrong_secrets_lock_nobody_out_and_are_reported() {
    const GUESSES: usize = 3000;
    let mut gateway = Gateway::start().await;
    let id = id_of(&gateway.token).to_owned();
    flood(&gateway, &id, GUESSES).await;
    assert_eq!(ask(&gateway, &gateway.token).await.status, 200);
    // Ids that nobody has are not counted: such a flood would fill whatever counts them.
    let (unknown, ..) = Token::generate(TokenKind::Workflow(Environment::Live), &Clock::system());
    for _ in 0..20 {
        let answer = ask(&gateway, &guess(id_of(unknown.expose()))).await;
        assert_problem(&answer, 401, "token_invalid");
    }

    let started = Instant::now();
    while reports(&gateway).await.is_empty() {
        assert!(started.elapsed() < PATIENCE, "nobody was told\n{}", gateway.log());
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let metrics = gateway.http.get(format!("{}/metrics", gateway.admin)).bearer_auth(&gateway.admin_token);
    let metrics = metrics.send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains(&format!("vestibule_wrong_secrets_total {GUESSES}\n")), "{metrics}");
    assert!(gateway.log().contains("wrong secrets for a known token id"));

    // What the running minute still held is written at the end.
    gateway.stop();
    gateway.start_again(&[]).await;
    let reports = reports(&gateway).await;
    let mut counted = 0;
    for report in &reports {
        let detail = report["detail"].as_str().unwrap();
        assert!(detail.ends_with(&format!(" presented for the token {id}")), "{report}");
        counted += detail.split(' ').next().unwrap().parse::<usize>().unwrap();
        assert_eq!(
            (report["app"].as_str(), report["outcome"].as_str(), report["reason"].as_str(), report.get("tokenId")),
            (Some("where2eat"), Some("refused"), Some("token_invalid"), None),
            "{report}"
        );
    }
    assert_eq!(counted, GUESSES, "{reports:?}");
}

/// Tries so many wrong secrets for an id; the owner is never locked out meanwhile.
async fn flood(gateway: &Gateway, id: &str, guesses: usize) {
    let attempts = futures::stream::iter((0..guesses).map(|_| guess(id)));
    let refused = attempts.map(|guess| async move { ask(gateway, &guess).await }).buffer_unordered(8);
    let mut refused = std::pin::pin!(refused.enumerate());
    while let Some((at, answer)) = refused.next().await {
        assert_problem(&answer, 401, "token_invalid");
        if at % 250 == 0 {
            assert_eq!(ask(gateway, &gateway.token).await.status, 200, "after {at} guesses");
        }
    }
}

async fn reports(gateway: &Gateway) -> Vec<serde_json::Value> {
    let (_, page) = gateway.admin_get("/admin/audit?app=where2eat&limit=1000").await;
    let entries = page["entries"].as_array().unwrap().iter();
    entries.filter(|entry| entry["action"] == "wrongSecret").cloned().collect()
}

/// Where something that a request shows is compared with what the gateway knows, and how.
const COMPARED: [(&str, &str); 5] = [
    ("domain/binding.rs", "self.0.ct_eq(&other.0).into()"),
    ("identity/dpop/nonce.rs", "ConstantTimeEq::ct_eq(own, &tag(key, time)[..])"),
    ("identity/dpop/proof.rs", "hash.as_bytes().ct_eq(own.as_bytes())"),
    ("identity/token.rs", "self.hash.0.ct_eq(&record.hash.0).into()"),
    ("worker/events/push/eventgrid.rs", "key.0.ct_eq(&presented.0)"),
];

#[test]
fn secrets_are_compared_in_constant_time_in_known_places_and_hashes_nowhere_else() {
    let top = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut directories, mut found) = (vec![top.clone()], BTreeSet::new());
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
                continue;
            }
            let Some(name) = path.strip_prefix(&top).unwrap().to_str().filter(|name| name.ends_with(".rs")) else {
                continue;
            };
            let text = std::fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]").next().unwrap();
            for line in code.lines().filter(|line| !line.trim_start().starts_with("//")) {
                if line.contains("ct_eq(") {
                    let known = COMPARED.iter().find(|(file, how)| *file == name && line.contains(how));
                    found.insert(*known.unwrap_or_else(|| panic!("{name}: {line}")));
                }
                for plain in ["hash == ", "hash != ", ".hash.eq(", "secret == ", "secret != "] {
                    assert!(!line.contains(plain), "{name}: {line}");
                }
            }
        }
    }
    assert_eq!(found, BTreeSet::from(COMPARED));
}
