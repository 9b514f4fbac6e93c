//! What every subject needs: the addresses of the real components, and a place of its own for each test.
//!
//! A component that is not there fails the test and says how to start it; nothing is skipped.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// The address or setting that `localstack/up` wrote under this name.
///
/// # Panics
/// Where the test environment is not up.
pub fn env(name: &str) -> String {
    static FILE: OnceLock<HashMap<String, String>> = OnceLock::new();
    if let Ok(value) = std::env::var(name) {
        return value;
    }
    let file = FILE.get_or_init(|| {
        let path = state_dir().join("env");
        let text = std::fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("cannot read {}: {error}; run localstack/up first", path.display()));
        text.lines()
            .filter_map(|line| line.split_once('='))
            .map(|(key, value)| (key.trim().to_owned(), value.trim().trim_matches(['"', '\'']).to_owned()))
            .collect()
    });
    file.get(name).cloned().unwrap_or_else(|| panic!("{name} is not set; run localstack/up first"))
}

fn state_dir() -> PathBuf {
    std::env::var_os("VESTIBULE_STATE")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("localstack/.state"), PathBuf::from)
}

/// A file of `tests/fixtures/`.
pub fn fixture(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))
}

/// The EICAR test file, put together here so that no file of the project is one.
pub fn eicar() -> Vec<u8> {
    [r"X5O!P%@AP[4\PZX54(P^)7CC)7}$", "EICAR-STANDARD-ANTIVIRUS-TEST-FILE", "!$H+H*"].concat().into_bytes()
}

/// A name that no other test uses: buckets, queues, containers.
#[allow(clippy::disallowed_methods, reason = "names of tests are random on purpose")]
pub fn unique(prefix: &str) -> String {
    let id = uuid::Uuid::new_v4().simple().to_string();
    format!("{prefix}-{}", &id[..12])
}

/// What makes a token of the one workflow of the examples that may handle regulated data, for somebody who may.
pub fn clinician() -> serde_json::Value {
    serde_json::json!({ "app": "clinic-forms", "workflow": "intake",
        "subject": { "user": "u-42", "role": "clinician", "project": "ward-3", "device": "d-7", "deviceAttested": true } })
}
