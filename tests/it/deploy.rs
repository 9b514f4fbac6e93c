//! `deploy/`: what operators start from is understood by those who read it, and by the gateway itself.

use std::path::Path;
use std::process::Command;

#[test]
fn the_unit_the_manifests_and_the_container_file_are_valid() {
    let check = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/check");
    let run = Command::new(check).output().unwrap();
    let (told, errors) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success() && told.contains("fit each other"), "{told}{errors}");
}

#[test]
fn the_configuration_for_kubernetes_is_one_that_the_gateway_takes() {
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/kubernetes/config");
    let vestibule = |arguments: &[&str]| {
        let run = Command::new(env!("CARGO_BIN_EXE_vestibule"))
            .args(arguments)
            .current_dir(&config)
            .env("VESTIBULE__STORE__URL", "postgres://vestibule@127.0.0.1:1/vestibule")
            .env("VESTIBULE__POLICIES__DIR", "policies")
            .envs([("VESTIBULE__PUBLIC__LISTEN", "127.0.0.1:0"), ("VESTIBULE__ADMIN__LISTEN", "127.0.0.1:0")])
            .envs([("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test")])
            .output()
            .unwrap();
        String::from_utf8(run.stdout).unwrap() + &String::from_utf8(run.stderr).unwrap()
    };
    let told = vestibule(&["policy", "check", "policies"]);
    assert!(told.contains("1 app") && !told.contains("error"), "{told}");
    // Nothing is wrong but that there is no such database here.
    let told = vestibule(&["serve"]);
    assert!(told.contains("the database is away") && !told.contains("mistake"), "{told}");
}
