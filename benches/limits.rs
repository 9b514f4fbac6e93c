//! How long counting a request takes in this process: three scopes with three windows each, and the usual three windows.
//!
//! The goal is 0.5 µs for nine windows, the count of the same request included.

#![allow(clippy::expect_used, missing_docs, reason = "a benchmark, not the program")]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use vestibule::clock::Clock;
use vestibule::domain::bytes::Sha256Digest;
use vestibule::domain::limits::{RateLimits, Rates};
use vestibule::limits::{Ask, LocalLimits, SameRequest};

fn count(bench: &mut Criterion) {
    let rates = Rates([Some(1_000_000_000); 3]);
    let none = Rates::default();
    let most = 1_000_000_000;
    let (app, workflow, owner) = (
        "where2eat".parse().expect("a name"),
        "nightly".parse().expect("a name"),
        "marketing".parse().expect("a name"),
    );
    let digest = Sha256Digest::of(b"{\"filename\":\"menu.jpg\",\"size\":48213,\"contentType\":\"image/jpeg\"}");
    for (name, limits) in [
        ("take/9_windows", RateLimits::new(rates, rates, rates, most)),
        ("take/3_windows", RateLimits::new(rates, none, none, most)),
        ("take/refused", RateLimits::new(Rates([Some(1); 3]), rates, rates, most)),
    ] {
        let (local, limits) = (LocalLimits::new(Clock::system()), Arc::new(limits));
        let ask = |same| Ask { app: &app, workflow: &workflow, owner: Some(&owner), limits: &limits, same };
        bench.bench_function(name, |b| {
            b.iter(|| black_box(local.take(black_box(&ask(Some(SameRequest::of(&digest)))))));
        });
    }
}

criterion_group!(benches, count);
criterion_main!(benches);
