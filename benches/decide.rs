//! How long a decision takes: sets of 1, 10 and 1,000 apps with ten Cedar policies each, an upload that is allowed and one
//! that is refused.
//!
//! An allowed upload asks the policies. Where they read nothing that is new in each request, the answer is remembered, and
//! the goal is 2 µs whatever the number of apps; "evaluated" has a policy that names a single object, so
//! that nothing is remembered, and its goal is 15 µs: 1,000 apps must cost what one app costs. "with the time" has one that
//! compares the time besides.

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

/// The allocator of the program, which an evaluation is made of.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn methods(_: &Target) -> &'static [UploadMethod] {
    &[UploadMethod::Put, UploadMethod::Post]
}

/// Ten policies about one app: nine that forbid and never apply to the request, one that permits.
fn policies_of(app: &str, last: &str) -> String {
    let conditions = [
        "resource.classification == \"regulated\" && !(principal has user)",
        "principal has user && !principal.user.deviceAttested",
        "context has sourceAddress && !context.sourceAddress.isInRange(ip(\"10.0.0.0/8\"))",
        "principal.environment != resource.environment",
        "resource.region != \"eu\"",
        "resource.owner != principal.owner",
        "context.contentType == \"image/webp\" && resource.classification == \"confidential\"",
        "context has lawfulBasis && context.lawfulBasis == \"legitimate-interests\"",
        last,
    ];
    let forbids = conditions.iter().enumerate().map(|(at, condition)| {
        format!(
            "@id(\"{app}-{at}\") forbid (principal in App::\"{app}\", action == Action::\"upload\", resource)\n\
             when {{ {condition} }};\n"
        )
    });
    format!("@id(\"{app}\") permit (principal in App::\"{app}\", action, resource);\n{}", forbids.collect::<String>())
}

/// The example's targets and classes, and so many copies of one of its apps, each with its policies.
fn set_of(apps: usize, last: &str) -> PolicySet {
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
        let policies = policies_of(&format!("app-{at}"), last);
        fs::write(dir.path().join(format!("app-{at}.cedar")), policies).expect("a file");
    }
    PolicySet::load(dir.path()).expect("the set loads")
}

fn decide(bench: &mut Criterion) {
    const OBJECT: &str = "resource == Object::\"obj_00000000000000000000000000000001\"";
    for apps in [1, 10, 1_000] {
        decide_among(bench, apps, "", "context.method == \"POST\"");
        decide_among(bench, apps, ", evaluated", OBJECT);
    }
    let both = format!("{OBJECT} || context.time < datetime(\"2020-01-01\")");
    decide_among(bench, 1, ", evaluated with the time", &both);
}

fn decide_among(bench: &mut Criterion, apps: usize, how: &str, last: &str) {
    let (set, app) = (set_of(apps, last), format!("app-{}", apps / 2));
    let who = Principal {
        token: "AAAAAAAAAAAAAAAA".parse().expect("a token id"),
        app: app.parse().expect("a name"),
        workflow: "nightly".parse().expect("a name"),
        owner: "marketing".parse().expect("a name"),
        environment: Environment::Live,
        scopes: vec![format!("storage:images:{app}:write:prefix=/{app}/").parse().expect("a scope")].into(),
        subject: None,
        possession: None,
        sunset: None,
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
    bench.bench_function(&format!("decide_upload/{apps} apps{how}"), |b| {
        b.iter(|| decide_upload(black_box(&set), black_box(&who), black_box(&allowed), methods, &then));
    });
    if how.is_empty() {
        bench.bench_function(&format!("decide_upload/{apps} apps, refused"), |b| {
            b.iter(|| decide_upload(black_box(&set), black_box(&who), black_box(&refused), methods, &then));
        });
    }
}

criterion_group!(benches, decide);
criterion_main!(benches);
