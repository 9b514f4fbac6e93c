//! `make demo` keeps its word: the story is run as a newcomer runs it, and every line of it must go as it should.
//!
//! Takes about 65 seconds, because a download URL lives 60 and the story waits until it has expired. Compiling the
//! gateway and starting clamd, which `demo/run` does before, are absent.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::harness;

/// How every line of the story begins, in order.
const STORY: [&str; 23] = [
    "create a token for where2eat",
    "create a token for finance-invoices",
    "upload menu.jpg",
    "download menu.jpg",
    "upload invoice.pdf",
    "download invoice.pdf",
    "upload invoices.csv",
    "download invoices.csv",
    "download before the upload",
    "download before the scan has ended",
    "upload an EICAR test virus",
    "a second PUT to that same URL",
    "upload HTML called menu.png",
    "PUT a body longer than declared",
    "late PUT to menu.jpg's used URL",
    "download menu.jpg once more",
    "GET the PDF's URL after it expired",
    "forbid CSV by a Cedar rule, reload",
    "a policy with a slip in it, reload",
    "run the example policies' own tests",
    "revoke a token that is in use",
    "search log, audit, database, config",
    "paste the curl lines into bash",
];

#[test]
fn every_line_of_the_demo_goes_as_it_should() {
    let data = tempfile::tempdir().unwrap();
    let output = Command::new("python3")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/story.py"))
        .env("VESTIBULE_BIN", env!("CARGO_BIN_EXE_vestibule"))
        .env("VESTIBULE_DEMO_ONCE", "1")
        .env("VESTIBULE_DEMO_DATA", data.path())
        .env("VESTIBULE_TEST_CLAMD_DATABASE", harness::env("VESTIBULE_TEST_CLAMD_DATABASE"))
        .env("VESTIBULE__SCANNER__ADDRESS", format!("unix:{}", harness::env("VESTIBULE_TEST_CLAMD_SOCKET")))
        .env("VESTIBULE__PUBLIC__LISTEN", "127.0.0.1:0")
        .env("VESTIBULE__ADMIN__LISTEN", "127.0.0.1:0")
        .env("VESTIBULE__EMBEDDED__LISTEN", "127.0.0.1:0")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let log = || std::fs::read_to_string(data.path().join("gateway.log")).unwrap_or_default();
    assert!(output.status.success(), "{text}{}\n{}", String::from_utf8_lossy(&output.stderr), log());
    let told: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("✓  ")).collect();
    assert_eq!(told.len(), STORY.len(), "{text}");
    for (line, expected) in told.iter().zip(STORY) {
        assert!(line.starts_with(expected), "expected '{expected}': {text}");
    }
    assert!(!text.contains('✗'), "{text}");
    let too_wide = text.lines().find(|line| line.chars().count() > 110 && !line.starts_with("data "));
    assert_eq!(too_wide, None, "a line has more than 110 columns");
}
