//! docs/identity.md: the snippets about access run as they stand there, in their order, in one shell.

use std::process::Command;

use super::Person;
use crate::gateway::Gateway;

#[tokio::test]
async fn the_snippets_about_access_run() {
    let guide = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/identity.md")).unwrap();
    let mut script = String::from("set -euo pipefail\n");
    for name in ["access", "claim", "into", "claim-into", "changes", "rotate", "review"] {
        let open = format!("```sh {name}\n");
        let (_, rest) = guide.split_once(&open).unwrap_or_else(|| panic!("docs/identity.md has no snippet '{name}'"));
        script.push_str(&format!("echo '== {name}' >&2\n{}", rest.split("```").next().unwrap()));
    }
    let gateway = Gateway::start().await;
    let (ada, bob) = (Person::called(&gateway, "ada").await, Person::called(&gateway, "bob").await);
    let bin = gateway.dir().join("bin");
    std::fs::create_dir(&bin).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_vestibule"), bin.join("vestibule")).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let run = Command::new("bash")
        .args(["-c", &script])
        .current_dir(gateway.dir())
        .envs([("PATH", path.as_str()), ("ADMIN", &gateway.admin), ("PUBLIC", &gateway.public)])
        .envs([("ASKER", &ada.token), ("PROVISIONER", &bob.token)])
        .env("VESTIBULE_CONFIG", gateway.dir().join("vestibule.toml"))
        .env("VESTIBULE__PUBLIC__URL", &gateway.public)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{}\n{errors}", String::from_utf8_lossy(&run.stdout));
    assert!(std::fs::read_to_string(gateway.dir().join("secret")).unwrap().starts_with("vst_test_"));
}
