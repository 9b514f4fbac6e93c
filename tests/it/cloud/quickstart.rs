//! `docs/quickstart-cloud.md`, block by block, as a reader pastes it: in one bash, with `set -e`.
//!
//! Only the ports and the database differ, so that the test disturbs no gateway that runs here already and finds the
//! environment where `up` had to choose other ports. The first block,
//! `localstack/up`, is what every test here stands on and is not run again: it would restart what others are using.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use crate::harness;

/// A port that was free a moment ago.
fn port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A copy of `localstack/gateway` with the ports that the environment really has.
fn configuration(root: &Path, to: &Path) -> String {
    let dir = to.join("gateway");
    std::fs::create_dir_all(dir.join("policies/apps")).unwrap();
    let port_of = |name: &str| {
        let address = harness::env(name);
        let rest = address.rsplit_once(':').expect("an address with a port").1.to_owned();
        rest.split('/').next().unwrap_or_default().to_owned()
    };
    let ports = [
        (":4566", port_of("VESTIBULE_TEST_S3_ENDPOINT")),
        (":10000", port_of("VESTIBULE_TEST_AZURITE_BLOB")),
        (":10001", port_of("VESTIBULE_TEST_AZURITE_QUEUE")),
        (":3310", port_of("VESTIBULE_TEST_CLAMD_TCP")),
    ];
    let from = root.join("localstack/gateway");
    let mut folders = vec![from.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let mut text = std::fs::read_to_string(&path).unwrap();
            for (usual, actual) in &ports {
                text = text.replace(usual, &format!(":{actual}"));
            }
            text = text.replace("localstack/gateway", &dir.display().to_string());
            std::fs::write(dir.join(path.strip_prefix(&from).unwrap()), text).unwrap();
        }
    }
    dir.display().to_string()
}

fn blocks(document: &str) -> Vec<&str> {
    let parts = document.split("\n```sh\n").skip(1);
    parts.map(|part| part.split_once("\n```").expect("every block ends").0).collect()
}

#[test]
fn every_block_of_the_quickstart_works_as_pasted() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let document = std::fs::read_to_string(root.join("docs/quickstart-cloud.md")).unwrap();
    let blocks = blocks(&document);
    assert!(blocks.len() >= 10, "{}", blocks.len());
    let (public, admin) = (format!("127.0.0.1:{}", port()), format!("127.0.0.1:{}", port()));
    assert_eq!(blocks[0], "localstack/up");
    let script = blocks[1..].join("\n").replace("127.0.0.1:8080", &public).replace("127.0.0.1:9090", &admin);
    let directory = tempfile::tempdir().unwrap();
    let script = script.replace("localstack/gateway", &configuration(root, directory.path()));
    let script = format!("set -euo pipefail\ntrap 'cat \"$work/log\" >&2; kill $(jobs -p)' ERR\n{script}");

    let binaries = Path::new(env!("CARGO_BIN_EXE_vestibule")).parent().unwrap();
    let path = format!("{}:{}", binaries.display(), std::env::var("PATH").unwrap());
    let run = Command::new("bash")
        .args(["-c", &script])
        .current_dir(root)
        .env("PATH", path)
        .env("VESTIBULE__PUBLIC__LISTEN", &public)
        .env("VESTIBULE__ADMIN__LISTEN", &admin)
        .env("VESTIBULE__STORE__PATH", directory.path().join("vestibule.db"))
        .output()
        .unwrap();
    let (printed, errors) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success(), "{printed}\n--- errors ---\n{errors}");
    let mut rest = &*printed;
    for expected in [
        "the smallest IAM policy",
        "\"uploadUrl\"",
        "visible\n",
        "the same\n",
        "403\n",
        "quarantined\n",
        "object_held",
        "visible\n",
        "the same\n",
        "404\n",
        "\"requestDownload\"",
    ] {
        let Some((_, after)) = rest.split_once(expected) else { panic!("no {expected:?} in:\n{printed}\n{errors}") };
        rest = after;
    }
}
