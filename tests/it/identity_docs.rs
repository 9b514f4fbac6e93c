//! docs/identity.md: each flow is drawn, and every snippet of it runs as it stands there.
//!
//! The snippets about tokens of people and about keys run here, in their order, in one shell, against one gateway with TLS
//! that trusts the identity provider of the tests; those about reviewers, containment and proxies against one without. Those
//! about access, revocation and the storage's keys run beside their own tests.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::json;
use vestibule::clock::Clock;

use crate::gateway::{Gateway, edited_policies};
use crate::harness;
use crate::identity_provider::{Provider, RESOURCE, issuers, node_dir};

/// The snippets that run against a gateway with TLS, in this order.
const HERE: [&str; 14] = [
    "issuers",
    "exchange",
    "exchange-short",
    "exchange-narrow",
    "issue-token",
    "introspect",
    "give-back",
    "metadata",
    "page",
    "dpop",
    "dpop-exchange",
    "mtls",
    "operators",
    "rotate-keys",
];
/// Those that run against one behind a proxy.
const BEHIND_A_PROXY: [&str; 3] = ["behind-proxy", "several-reviewers", "contain"];
/// Sections that are reference and no flow.
const REFERENCE: [&str; 3] =
    ["Claims and attributes", "What an app or a class demands", "What a forged or stolen token is worth"];

/// A fenced block: its language, its name, its text.
struct Block {
    language: String,
    name: String,
    text: String,
}

fn guide() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/identity.md")).unwrap()
}

fn blocks(text: &str) -> Vec<Block> {
    let mut found = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some(opening) = line.strip_prefix("```") else { continue };
        let (language, name) = opening.split_once(' ').unwrap_or((opening, ""));
        let text: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        found.push(Block { language: language.into(), name: name.into(), text: text.join("\n") });
    }
    found
}

#[test]
fn every_snippet_has_a_name_and_is_run_by_a_test() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
    let elsewhere: String = ["access/docs.rs", "revocation/docs.rs", "cloud/key_files.rs"]
        .map(|file| std::fs::read_to_string(tests.join(file)).unwrap())
        .concat();
    let mut names = BTreeSet::new();
    for block in blocks(&guide()).into_iter().filter(|block| ["sh", "js"].contains(&block.language.as_str())) {
        assert!(!block.name.is_empty(), "a snippet without a name:\n{}", block.text);
        let here = HERE.iter().chain(&BEHIND_A_PROXY).any(|name| *name == block.name);
        let run = here || elsewhere.contains(&format!("\"{}\"", block.name));
        assert!(run || block.language == "js", "no test runs the snippet '{}'", block.name);
        assert!(names.insert(block.name.clone()), "two snippets are called '{}'", block.name);
    }
    assert!(HERE.iter().chain(&BEHIND_A_PROXY).all(|name| names.contains(*name)), "{names:?}");
}

#[test]
fn every_flow_is_drawn_and_can_be_run() {
    let guide = guide().replace("\n### ", "\n## ");
    let sections: Vec<_> = guide.split("\n## ").skip(1).map(|section| section.split_once('\n').unwrap()).collect();
    assert!(sections.len() > 25, "{}", sections.len());
    for (title, text) in &sections {
        let flow = text.contains("\n```mermaid\nsequenceDiagram\n") && text.contains("\n```sh ");
        assert!(flow != REFERENCE.contains(title), "'{title}' needs a sequence and a snippet, or is only reference");
    }
    for title in REFERENCE {
        assert!(sections.iter().any(|(known, _)| *known == title), "there is no section '{title}'");
    }
}

#[test]
fn the_list_of_contents_names_every_section() {
    let guide = guide();
    let listed: Vec<_> = guide.lines().filter_map(|line| line.strip_prefix("- [")?.split_once("](#")).collect();
    let anchor = |title: &str| {
        let kept = title.chars().filter(|c| c.is_alphanumeric() || [' ', '-'].contains(c));
        kept.collect::<String>().to_lowercase().replace(' ', "-")
    };
    let sections = guide.lines().filter_map(|line| line.strip_prefix("## "));
    let expected: Vec<_> = sections.map(|title| (title.replace('`', ""), format!("{})", anchor(title)))).collect();
    let listed: Vec<_> = listed.into_iter().map(|(title, anchor)| (title.to_owned(), anchor.to_owned())).collect();
    assert_eq!(listed, expected);
}

#[test]
fn every_piece_of_configuration_is_taken() {
    let files = tempfile::tempdir().unwrap();
    for name in ["public.pem", "public-key.pem"] {
        std::fs::write(files.path().join(name), "").unwrap();
    }
    let of_issuers = |text: &str| text.contains("identity.issuers");
    let blocks: Vec<_> = blocks(&guide()).into_iter().filter(|block| block.language == "toml").collect();
    let issuers: Vec<_> = blocks.iter().map(|block| block.text.as_str()).filter(|text| of_issuers(text)).collect();
    let others: Vec<_> = blocks.iter().map(|block| block.text.as_str()).filter(|text| !of_issuers(text)).collect();
    assert_eq!((issuers.len(), others.len()), (3, 2), "the issuer with its claims and operators; TLS; a proxy");
    for text in std::iter::once(issuers.join("\n")).chain(others.into_iter().map(str::to_owned)) {
        let file = files.path().join("vestibule.toml");
        std::fs::write(&file, text.replace("/etc/vestibule", &files.path().display().to_string())).unwrap();
        vestibule::config::load(Some(&file)).unwrap_or_else(|error| panic!("{error}\n{text}"));
    }
}

/// Runs snippets of the guide in one shell, in a directory where `vestibule` and the examples are.
fn run(names: &[&str], dir: &Path, gateway: &Gateway, variables: &[(&str, &str)]) {
    let blocks = blocks(&guide());
    let bin = dir.join("bin");
    std::fs::create_dir(&bin).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_vestibule"), bin.join("vestibule")).unwrap();
    std::os::unix::fs::symlink(concat!(env!("CARGO_MANIFEST_DIR"), "/examples"), dir.join("examples")).unwrap();
    let mut script = String::from("set -euo pipefail\n");
    for name in names {
        let block = blocks.iter().find(|block| block.name == *name).unwrap();
        script.push_str(&format!("echo '== {name}' >&2\n{}\n", block.text));
    }
    let run = Command::new("bash")
        .args(["-c", &script])
        .current_dir(dir)
        .env("PATH", format!("{}:{}", bin.display(), std::env::var("PATH").unwrap()))
        .envs([("PUBLIC", &gateway.public), ("ADMIN", &gateway.admin), ("OPERATOR", &gateway.admin_token)])
        .env("VESTIBULE_CONFIG", gateway.dir().join("vestibule.toml"))
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let (told, errors) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success(), "{told}\n{errors}\n{}", gateway.log());
}

#[tokio::test]
async fn the_snippets_about_tokens_of_people_and_keys_run() {
    let provider = Provider::shared();
    // The programs lie beside the packages that they use.
    let dir = node_dir();
    for block in blocks(&guide()).iter().filter(|block| block.language == "js") {
        std::fs::write(dir.path().join(&block.name), &block.text).unwrap();
    }
    let files = dir.path().to_str().unwrap();
    let certificate = format!("{files}/gateway.pem");
    let names = ["-subj", "/CN=gateway", "-addext", "subjectAltName=IP:127.0.0.1"];
    self_signed(&certificate, &format!("{files}/gateway-key.pem"), &names);
    let trusted = issuers(&provider).replace("\"analyst-page\"", "\"where2eat-page\"");
    let gateway = Gateway::start_in(
        edited_policies(&[]),
        &[
            ("VESTIBULE__IDENTITY__ISSUERS", trusted.as_str()),
            ("VESTIBULE__PUBLIC__TLS__CERTIFICATE", certificate.as_str()),
            ("VESTIBULE__PUBLIC__TLS__KEY", format!("{files}/gateway-key.pem").as_str()),
            ("VESTIBULE__PUBLIC__TLS__CLIENT_CERTIFICATES", "any"),
        ],
    )
    .await;
    let now = Clock::system().now().as_second();
    let claims = |audience: &str| {
        json!({ "iss": provider.issuer, "sub": "analyst", "aud": audience, "client_id": "where2eat-page",
            "iat": now, "exp": now + 600, "jti": "session-1" })
    };
    let id_token = provider.sign(json!({}), claims("where2eat-page")).await;
    let access_token = provider.sign(json!({ "typ": "at+jwt" }), claims(RESOURCE)).await;
    let operator_id_token = provider.id_token("operator-viewer", "operators").await;
    let variables = [
        ("WORKFLOW", gateway.token.as_str()),
        ("ISSUER", &provider.issuer),
        ("ID_TOKEN", &id_token),
        ("ACCESS_TOKEN", &access_token),
        ("OPERATOR_ID_TOKEN", &operator_id_token),
        ("CURL_CA_BUNDLE", &certificate),
        ("NODE_EXTRA_CA_CERTS", &certificate),
        ("VESTIBULE__IDENTITY__ISSUERS", &trusted),
    ];
    run(&HERE, dir.path(), &gateway, &variables);
}

#[tokio::test]
async fn the_snippets_about_proxies_reviewers_and_containment_run() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name).display().to_string();
    self_signed(&file("nightly.pem"), &file("nightly-key.pem"), &["-subj", "/CN=nightly"]);
    let gateway = Gateway::start_in(
        edited_policies(&[("classifications.toml", "[public]\n", "[public]\nrelease_approvals = 2\n")]),
        &[
            ("VESTIBULE__PUBLIC__CLIENT_CERTIFICATE_HEADER", "Client-Cert"),
            ("VESTIBULE__PUBLIC__TRUSTED_PROXIES", "[\"127.0.0.1\"]"),
        ],
    )
    .await;
    let workflow = gateway.create_token(json!({ "app": "where2eat", "workflow": "nightly" })).await;
    let upload = async |bytes: Vec<u8>, classification: &str, state: &str| {
        let wanted = json!({ "filename": "menu.jpg", "size": bytes.len(), "contentType": "image/jpeg",
            "classification": classification });
        let (status, issued) = gateway.post_as(&workflow, "/request-upload", wanted).await;
        assert_eq!(status, 201, "{issued}");
        assert_eq!(gateway.put(&issued, bytes).await, 200);
        let id = issued["objectId"].as_str().unwrap().to_owned();
        gateway.wait_for(&id, state).await;
        id
    };
    let held = upload(harness::eicar(), "public", "quarantined").await;
    upload(harness::fixture("menu.jpg"), "internal", "visible").await;
    let mut reviewers = Vec::new();
    for name in ["reviewer-1", "reviewer-2"] {
        reviewers.push(gateway.create_token(json!({ "operator": name, "roles": ["reviewer"] })).await);
    }
    let variables =
        [("OBJECT", held.as_str()), ("REVIEWER", reviewers[0].as_str()), ("SECOND_REVIEWER", reviewers[1].as_str())];
    run(&BEHIND_A_PROXY, dir.path(), &gateway, &variables);
}

/// A certificate and its key, made by openssl.
fn self_signed(certificate: &str, key: &str, names: &[&str]) {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"])
        .args(names)
        .args(["-out", certificate, "-keyout", key])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}
