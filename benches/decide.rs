//! How long a decision takes: the example set, an upload that is allowed and one that is refused.
//!
//! The goal is 2 µs for an allowed upload, whatever the number of apps.

#![allow(clippy::expect_used, missing_docs, reason = "a benchmark, not the program")]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::Path;

use criterion::{Criterion, criterion_group, criterion_main};
use vestibule::domain::grant::UploadMethod;
use vestibule::domain::principal::{Environment, Principal};
use vestibule::domain::target::Target;
use vestibule::policy::{PolicySet, UploadRequest, decide_upload};

fn methods(_: &Target) -> &'static [UploadMethod] {
    &[UploadMethod::Put, UploadMethod::Post]
}

fn decide(bench: &mut Criterion) {
    let set = PolicySet::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("policies")).expect("the example set loads");
    let who = Principal {
        token: "AAAAAAAAAAAAAAAA".parse().expect("a token id"),
        app: "where2eat".parse().expect("a name"),
        workflow: "nightly".parse().expect("a name"),
        owner: "marketing".parse().expect("a name"),
        environment: Environment::Live,
        scopes: vec!["storage:images:where2eat:write:prefix=/uploads/".parse().expect("a scope")].into(),
        user: None,
        device: None,
    };
    let allowed = UploadRequest {
        original_filename: "menu.jpg".to_owned(),
        filename: "menu.jpg".to_owned().try_into().expect("a file name"),
        size: 48_213,
        content_type: "image/jpeg".parse().expect("a type"),
        path: Some("uploads/u-42/".parse().expect("a path")),
        classification: Some("internal".parse().expect("a name")),
        sha256: None,
        method: UploadMethod::Put,
        metadata: BTreeMap::from([("table".to_owned(), "7".to_owned())]),
        lawful_basis: None,
    };
    let refused = UploadRequest { size: u64::MAX, ..allowed.clone() };
    let now = "2026-11-21T20:00:00Z".parse().expect("a time");
    bench.bench_function("decide_upload/allowed", |b| {
        b.iter(|| decide_upload(black_box(&set), black_box(&who), black_box(&allowed), methods, now));
    });
    bench.bench_function("decide_upload/refused", |b| {
        b.iter(|| decide_upload(black_box(&set), black_box(&who), black_box(&refused), methods, now));
    });
}

criterion_group!(benches, decide);
criterion_main!(benches);
