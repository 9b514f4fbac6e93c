//! docs/identity.md: the snippets about revocation and the drill run as they stand there, in one shell.

use std::process::Command;

use serde_json::json;

use super::token;
use crate::gateway::Gateway;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_snippets_about_revocation_run() {
    let guide = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/identity.md")).unwrap();
    let mut script = String::from("set -euo pipefail\n");
    for name in ["revoke", "revoke-cli", "drill"] {
        let open = format!("```sh {name}\n");
        let (_, rest) = guide.split_once(&open).unwrap_or_else(|| panic!("docs/identity.md has no snippet '{name}'"));
        script.push_str(rest.split("```").next().unwrap());
    }
    let gateway = Gateway::start().await;
    token(&gateway, "where2eat", "menu-import", json!({})).await;
    let bin = gateway.dir().join("bin");
    std::fs::create_dir(&bin).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_vestibule"), bin.join("vestibule")).unwrap();
    let run = Command::new("bash")
        .args(["-c", &script])
        .current_dir(gateway.dir())
        .env("PATH", format!("{}:{}", bin.display(), std::env::var("PATH").unwrap()))
        .envs([("ADMIN", &gateway.admin), ("OPERATOR", &gateway.admin_token)])
        .env("VESTIBULE_CONFIG", gateway.dir().join("vestibule.toml"))
        .output()
        .unwrap();
    let (told, errors) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success(), "{told}\n{errors}");
    for said in ["\"killed\": 1", "user:u-42", "dead after", "\"p99_ms\""] {
        assert!(told.contains(said), "{said}: {told}\n{errors}");
    }
}
