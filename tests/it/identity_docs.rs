//! docs/identity.md: each flow is drawn, and every snippet of it runs as it stands there.
//!
//! The snippets about tokens of people and about keys run here, in their order, in one shell, against one gateway with TLS
//! that trusts the identity provider of the tests; those about access and revocation run beside their own tests.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use crate::gateway::{Gateway, edited_policies};
use crate::identity_provider::{Provider, RESOURCE, issuers, node_dir};

/// The snippets that run here, in this order.
const HERE: [&str; 12] = [
    "issuers",
    "exchange",
    "exchange-short",
    "exchange-narrow",
    "issue-token",
    "introspect",
    "give-back",
    "metadata",
    "dpop",
    "mtls",
    "operators",
    "rotate-keys",
];

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
    let elsewhere: String = ["access/docs.rs", "revocation/docs.rs"]
        .map(|file| std::fs::read_to_string(tests.join(file)).unwrap())
        .concat();
    let mut names = BTreeSet::new();
    for block in blocks(&guide()).into_iter().filter(|block| ["sh", "js"].contains(&block.language.as_str())) {
        assert!(!block.name.is_empty(), "a snippet without a name:\n{}", block.text);
        let run = HERE.contains(&block.name.as_str()) || elsewhere.contains(&format!("\"{}\"", block.name));
        assert!(run || block.language == "js", "no test runs the snippet '{}'", block.name);
        assert!(names.insert(block.name.clone()), "two snippets are called '{}'", block.name);
    }
    assert!(HERE.iter().all(|name| names.contains(*name)), "{names:?}");
}

#[test]
fn every_flow_is_drawn() {
    let guide = guide();
    let with_snippets = guide.split("\n## ").skip(1).filter(|section| section.contains("```sh "));
    for section in with_snippets {
        let title = section.lines().next().unwrap();
        assert!(section.contains("```mermaid\nsequenceDiagram\n"), "'{title}' has a snippet and no sequence");
    }
}

#[tokio::test]
async fn the_snippets_about_tokens_of_people_and_keys_run() {
    let blocks = blocks(&guide());
    let provider = Provider::shared();
    // The programs lie beside the packages that they use.
    let dir = node_dir();
    for block in blocks.iter().filter(|block| block.language == "js") {
        std::fs::write(dir.path().join(&block.name), &block.text).unwrap();
    }
    let files = dir.path().to_str().unwrap();
    let certificate = format!("{files}/gateway.pem");
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=gateway", "-addext", "subjectAltName=IP:127.0.0.1", "-out", &certificate])
        .args(["-keyout", &format!("{files}/gateway-key.pem")])
        .output()
        .unwrap();
    assert!(made.status.success());
    let gateway = Gateway::start_in(
        edited_policies(&[(
            "apps/where2eat.toml",
            "clients = [\"where2eat-page\"]",
            "clients = [\"analyst-page\", \"platform\"]",
        )]),
        &[
            ("VESTIBULE__IDENTITY__ISSUERS", issuers(&provider).as_str()),
            ("VESTIBULE__PUBLIC__TLS__CERTIFICATE", certificate.as_str()),
            ("VESTIBULE__PUBLIC__TLS__KEY", format!("{files}/gateway-key.pem").as_str()),
            ("VESTIBULE__PUBLIC__TLS__CLIENT_CERTIFICATES", "any"),
        ],
    )
    .await;
    let bin = dir.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_vestibule"), bin.join("vestibule")).unwrap();

    let access_token = provider.login("analyst", "platform", Some(RESOURCE)).await["access_token"].clone();
    let mut script = String::from("set -euo pipefail\n");
    for name in HERE {
        let block = blocks.iter().find(|block| block.name == name).unwrap();
        script.push_str(&format!("echo '== {name}' >&2\n{}\n", block.text));
    }
    let run = Command::new("bash")
        .args(["-c", &script])
        .current_dir(dir.path())
        .env("PATH", format!("{}:{}", bin.display(), std::env::var("PATH").unwrap()))
        .envs([("PUBLIC", &gateway.public), ("ADMIN", &gateway.admin), ("OPERATOR", &gateway.admin_token)])
        .env("WORKFLOW", &gateway.token)
        .env("ID_TOKEN", provider.id_token("analyst", "platform").await)
        .env("ACCESS_TOKEN", access_token.as_str().unwrap())
        .env("OPERATOR_ID_TOKEN", provider.id_token("operator-viewer", "operators").await)
        .envs([("CURL_CA_BUNDLE", &certificate), ("NODE_EXTRA_CA_CERTS", &certificate)])
        .env("VESTIBULE_CONFIG", gateway.dir().join("vestibule.toml"))
        .env("VESTIBULE__IDENTITY__ISSUERS", issuers(&provider))
        .output()
        .unwrap();
    let (told, errors) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success(), "{told}\n{errors}\n{}", gateway.log());
}
