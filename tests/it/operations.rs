//! `docs/operations.md`: the blocks that a reader can paste are pasted here, and its table of settings is true.

use std::path::Path;
use std::process::Command;

use crate::gateway::Gateway;

fn document() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operations.md")).unwrap()
}

/// The blocks that are meant to be run; `text` and the like are not.
fn blocks(document: &str) -> Vec<&str> {
    let parts = document.split("\n```sh\n").skip(1);
    parts.map(|part| part.split_once("\n```").expect("every block ends").0).collect()
}

/// On a gateway of this machine, whose file is the one that is backed up, lost and put back.
#[tokio::test]
async fn every_block_for_the_shell_works_as_pasted() {
    let mut gateway = Gateway::start_with(&[("VESTIBULE__SWEEP__INTERVAL", "1s")]).await;
    let bytes = crate::harness::fixture("menu.jpg");
    let id = gateway.visible_jpeg(&bytes).await;
    let document = document();
    let (while_running, stopped): (Vec<_>, Vec<_>) =
        blocks(&document).into_iter().partition(|block| !block.contains("vestibule.db-wal"));
    assert!(while_running.len() >= 3 && stopped.len() == 1, "{} {}", while_running.len(), stopped.len());
    let told = bash(&gateway, &while_running);
    for expected in ["\"ready\":true", "vestibule_objects", "is sound"] {
        assert!(told.contains(expected), "no {expected} in {told}");
    }
    gateway.kill();
    bash(&gateway, &stopped);
    gateway.start_again(&[]).await;
    assert_eq!(gateway.download(&id).await, bytes);
}

fn bash(gateway: &Gateway, blocks: &[&str]) -> String {
    let script = format!("set -euo pipefail\n{}", blocks.join("\n"))
        .replace("/var/lib/vestibule", &gateway.dir().display().to_string())
        .replace("/var/backups", &gateway.dir().display().to_string())
        .replace("http://127.0.0.1:8080", &gateway.public)
        .replace("http://127.0.0.1:9090", &gateway.admin)
        .replace("$MAINPID", &gateway.pid().to_string());
    let binaries = Path::new(env!("CARGO_BIN_EXE_vestibule")).parent().unwrap();
    let run = Command::new("bash")
        .args(["-c", &script])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("PATH", format!("{}:{}", binaries.display(), std::env::var("PATH").unwrap()))
        .env("VESTIBULE_CONFIG", gateway.dir().join("vestibule.toml"))
        .output()
        .unwrap();
    let (told, errors) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success(), "{script}\n{told}\n--- errors ---\n{errors}");
    told.into_owned()
}

/// Every reason that `/readyz` can give has a runbook, and every metric that is watched exists.
#[test]
fn what_is_watched_exists_and_every_reason_has_a_runbook() {
    let document = document();
    for reason in ["`database`", "`scanner`", "`target:…`", "`redis`", "`issuer:…`", "`draining`"] {
        assert!(
            document.lines().any(|line| line.starts_with("### ") && line.contains(reason)),
            "no runbook of {reason}"
        );
    }
    let mut sources = String::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                sources.push_str(&std::fs::read_to_string(path).unwrap());
            }
        }
    }
    let words = document.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let metrics: Vec<_> = words.filter(|word| word.starts_with("vestibule_")).collect();
    assert!(metrics.len() > 10, "{metrics:?}");
    for metric in metrics {
        let name = metric.trim_end_matches("_bucket").trim_end_matches("_count");
        assert!(sources.contains(&format!("\"{name}\"")), "there is no metric {metric}");
    }
}
