//! How long a decision takes: sets of 10 and of 1,000 apps, an upload that is allowed and one that is refused.
//!
//! The goal is 2 µs for an allowed upload, whatever the number of apps.

#![allow(clippy::expect_used, missing_docs, reason = "a benchmark, not the program")]

use std::collections::BTreeMap;
use std::fs;
use std::hint::black_box;
use std::path::Path;

use criterion::{Criterion, criterion_group, criterion_main};
use vestibule::domain::grant::UploadMethod;
use vestibule::domain::principal::{Environment, Principal};
use vestibule::domain::target::Target;
use vestibule::policy::{Circumstances, PolicySet, UploadRequest, decide_upload};

fn methods(_: &Target) -> &'static [UploadMethod] {
    &[UploadMethod::Put, UploadMethod::Post]
}

/// The example's targets and classes, and so many copies of one of its apps.
fn set_of(apps: usize) -> PolicySet {
    let (example, dir) =
        (Path::new(env!("CARGO_MANIFEST_DIR")).join("policies"), tempfile::tempdir().expect("a directory"));
    fs::create_dir(dir.path().join("apps")).expect("a directory");
    for file in ["targets.toml", "classifications.toml"] {
        fs::copy(example.join(file), dir.path().join(file)).expect("a copy");
    }
    let manifest = fs::read_to_string(example.join("apps/where2eat.toml")).expect("a manifest");
    let manifest = manifest.replace(r#"prefix = "uploads/""#, r#"prefix = "{app}/""#);
    for at in 0..apps {
        let text = manifest.replace(r#"app = "where2eat""#, &format!(r#"app = "app-{at}""#));
        fs::write(dir.path().join(format!("apps/app-{at}.toml")), text).expect("a file");
    }
    PolicySet::load(dir.path()).expect("the set loads")
}

fn decide(bench: &mut Criterion) {
    for apps in [10, 1_000] {
        decide_among(bench, apps);
    }
}

fn decide_among(bench: &mut Criterion, apps: usize) {
    let (set, app) = (set_of(apps), format!("app-{}", apps / 2));
    let who = Principal {
        token: "AAAAAAAAAAAAAAAA".parse().expect("a token id"),
        app: app.parse().expect("a name"),
        workflow: "nightly".parse().expect("a name"),
        owner: "marketing".parse().expect("a name"),
        environment: Environment::Live,
        scopes: vec![format!("storage:images:{app}:write:prefix=/{app}/").parse().expect("a scope")].into(),
        subject: None,
        proof_of_possession: false,
    };
    let allowed = UploadRequest {
        original_filename: "menu.jpg".to_owned(),
        filename: "menu.jpg".to_owned().try_into().expect("a file name"),
        size: 48_213,
        content_type: "image/jpeg".parse().expect("a type"),
        path: Some(format!("{app}/u-42/").parse().expect("a path")),
        classification: Some("internal".parse().expect("a name")),
        sha256: None,
        method: UploadMethod::Put,
        metadata: BTreeMap::from([("table".to_owned(), "7".to_owned())]),
        lawful_basis: None,
    };
    let refused = UploadRequest { size: u64::MAX, ..allowed.clone() };
    let now = "2026-11-21T20:00:00Z".parse().expect("a time");
    let then = Circumstances { now, source: None };
    assert!(decide_upload(&set, &who, &allowed, methods, &then).is_ok(), "it is allowed");
    bench.bench_function(&format!("decide_upload/{apps} apps"), |b| {
        b.iter(|| decide_upload(black_box(&set), black_box(&who), black_box(&allowed), methods, &then));
    });
    bench.bench_function(&format!("decide_upload/{apps} apps, refused"), |b| {
        b.iter(|| decide_upload(black_box(&set), black_box(&who), black_box(&refused), methods, &then));
    });
}

criterion_group!(benches, decide);
criterion_main!(benches);
