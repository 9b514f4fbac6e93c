//! `policy diff`: requests that a real gateway recorded, asked once more, on both databases; and a long trail.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use vestibule::app::{DiffWindow, policy_diff};
use vestibule::domain::asked::AskedFor;
use vestibule::domain::audit::{AuditAction, AuditEntry, Outcome};
use vestibule::domain::grant::UploadMethod;
use vestibule::domain::refusal::Reason;
use vestibule::domain::target::Target;
use vestibule::policy::PolicySet;
use vestibule::store::Store;

use crate::gateway::{Gateway, edited_policies};
use crate::harness;
use crate::store_conformance::Bench;
use crate::store_postgres::{Database, Postgres};
use crate::store_sqlite::Sqlite;

/// A copy of the gateway's policies with edits.
fn changed(gateway: &Gateway, name: &str, edits: &[(&str, &str, &str)]) -> PathBuf {
    let (from, to) = (gateway.dir().join("policies"), gateway.dir().join(name));
    std::fs::create_dir_all(to.join("apps")).unwrap();
    for dir in ["", "apps"] {
        for entry in std::fs::read_dir(from.join(dir)).unwrap().map(Result::unwrap) {
            if entry.path().is_file() {
                std::fs::copy(entry.path(), to.join(dir).join(entry.file_name())).unwrap();
            }
        }
    }
    for (file, old, new) in edits {
        let text = std::fs::read_to_string(to.join(file)).unwrap();
        assert!(text.contains(old), "{file} does not say {old}");
        std::fs::write(to.join(file), text.replacen(old, new, 1)).unwrap();
    }
    to
}

fn diff(gateway: &Gateway, new: &Path, more: &[&str]) -> (i32, Value) {
    let old = gateway.dir().join("policies");
    let arguments = ["policy", "diff", old.to_str().unwrap(), new.to_str().unwrap(), "--json"];
    let (code, printed, errors) = gateway.run(&[&arguments, more].concat());
    (code, serde_json::from_str(&printed).unwrap_or_else(|_| panic!("{printed}\n{errors}")))
}

/// How often an action's answer changes so.
fn count(diff: &Value, action: &str, old: &str, new: &str) -> u64 {
    let changes = diff["changes"].as_array().unwrap();
    let own = |change: &&Value| change["action"] == action && change["old"] == old && change["new"] == new;
    changes.iter().find(own).map_or(0, |change| change["count"].as_u64().unwrap())
}

async fn replays_what_was_recorded(gateway: &Gateway) {
    let ask = |filename: &str, size: u64, more: Value| {
        let mut body = json!({ "filename": filename, "size": size, "contentType": "image/jpeg" });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        async move { gateway.post("/request-upload", body).await.0 }
    };
    assert_eq!(ask("a.jpg", 100, json!({})).await, 201);
    assert_eq!(ask("b.jpg", 5000, json!({})).await, 201);
    assert_eq!(ask("c.jpg", 6000, json!({ "path": "uploads/u-1/" })).await, 201);
    assert_eq!(ask("d.pdf", 100, json!({ "contentType": "application/pdf" })).await, 403);
    assert_eq!(gateway.post("/request-upload", json!({ "filename": "e.jpg" })).await.0, 400);
    let visible = gateway.visible_jpeg(&harness::fixture("menu.jpg")).await;
    let download = json!({ "objectId": visible, "disposition": "inline" });
    assert_eq!(gateway.post("/request-download", download).await.0, 200);
    let lister = json!({ "app": "where2eat", "workflow": "lister", "scopes": ["storage:*:where2eat:list:prefix=/uploads/u-2/"] });
    let lister = gateway.create_token(lister).await;
    let list = gateway.http.get(format!("{}/objects?prefix=uploads/u-1/", gateway.public)).bearer_auth(&lister);
    assert_eq!(list.send().await.unwrap().status().as_u16(), 403);
    assert_eq!(gateway.delete(&format!("/objects/{visible}")).await.0, 204);
    let missing = json!({ "objectId": "obj_00000000000000000000000000000009" });
    assert_eq!(gateway.post("/request-download", missing).await.0, 404);

    // The same directory answers everything alike.
    let (code, same) = diff(gateway, &gateway.dir().join("policies"), &[]);
    assert_eq!((code, same["replayed"].as_u64(), same["same"].as_u64()), (0, Some(8), Some(8)), "{same}");
    assert_eq!((same["changes"].as_array().unwrap().len(), same["drifted"].as_u64()), (0, Some(0)), "{same}");
    assert_eq!(same["notReplayed"]["it could not be read as a request, so no policy was asked"], 1, "{same}");
    assert_eq!(same["notReplayed"]["there is no record of its object"], 1, "{same}");

    let manifest = "apps/where2eat.toml";
    let new = changed(
        gateway,
        "narrower",
        &[
            (manifest, "max_size = \"10 MiB\"", "max_size = \"4 KiB\""),
            (manifest, "types = [\"image/jpeg\", ", "types = [\"application/pdf\", \"image/jpeg\", "),
            (manifest, "inline_types = [\"image/jpeg\", ", "inline_types = ["),
            (manifest, "upload_ttl = \"10m\"", "upload_ttl = \"8m\""),
        ],
    );
    let (code, narrower) = diff(gateway, &new, &[]);
    assert_eq!(code, 1);
    let size = harness::fixture("menu.jpg").len();
    let too_large = 2 + u64::from(size > 4096);
    assert_eq!(count(&narrower, "upload", "allowed", "size_not_allowed"), too_large, "{narrower}");
    assert_eq!(count(&narrower, "upload", "type_not_allowed", "allowed"), 1, "{narrower}");
    assert_eq!(count(&narrower, "upload", "allowed, ttl 10m", "allowed, ttl 8m"), 4 - too_large, "{narrower}");
    assert_eq!(count(&narrower, "download", "allowed", "disposition_not_allowed"), 1, "{narrower}");
    let change = &narrower["changes"][0];
    assert_eq!((change["app"].as_str(), change["action"].as_str()), (Some("where2eat"), Some("upload")), "{change}");
    assert!(change["example"]["rule"].as_str().unwrap().starts_with("apps/where2eat.toml:"), "{change}");
    assert!(change["example"]["requestId"].is_string() && change["example"]["time"].is_string(), "{change}");

    // A path that the request did not name moves with the app's prefix; one that it did name does not.
    let new = changed(gateway, "moved", &[(manifest, "prefix = \"uploads/\"", "prefix = \"photos/\"")]);
    let (_, moved) = diff(gateway, &new, &[]);
    assert_eq!(count(&moved, "upload", "allowed, prefix uploads/", "allowed, prefix photos/"), 3, "{moved}");
    assert_eq!(count(&moved, "upload", "allowed", "path_not_allowed"), 1, "{moved}");

    // The newest of them only, and none of before the window.
    let (_, newest) = diff(gateway, &new, &["--limit", "2"]);
    assert_eq!(newest["replayed"].as_u64().unwrap() + 1, 2, "a download of nothing and a deletion: {newest}");
    let (code, none) = diff(gateway, &new, &["--since", "1ns"]);
    assert_eq!((code, none["replayed"].as_u64()), (0, Some(0)), "{none}");

    let old = gateway.dir().join("policies");
    let (code, table, errors) = gateway.run(&["policy", "diff", old.to_str().unwrap(), new.to_str().unwrap()]);
    assert!(code == 1 && errors.contains("4 of 8 requests would be answered otherwise"), "{errors}\n{table}");
    for part in ["old answer", "path_not_allowed", "1 not replayed: it could not be read", "quotas, rate limits"] {
        assert!(table.contains(part), "{part} is not in\n{table}");
    }
}

#[tokio::test]
async fn requests_on_sqlite_are_asked_once_more() {
    let gateway = Gateway::start_in(edited_policies(&[]), &[]).await;
    replays_what_was_recorded(&gateway).await;
}

#[tokio::test]
async fn requests_on_postgresql_are_asked_once_more() {
    let database = Database::migrated().await;
    let dir = edited_policies(&[]);
    let data = dir.path().display().to_string();
    let template = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cli/dev/vestibule.toml");
    let text = std::fs::read_to_string(template)
        .unwrap()
        .replace("path = \"@DATA@/vestibule.db\"", &{ format!("url = \"{}\"", database.address()) });
    std::fs::write(dir.path().join("vestibule.toml"), text.replace("@DATA@", &data)).unwrap();
    let gateway = Gateway::start_in(dir, &[]).await;
    replays_what_was_recorded(&gateway).await;
    assert!(!gateway.dir().join("vestibule.db").exists());
}

fn methods(_: &Target) -> &'static [UploadMethod] {
    &[UploadMethod::Put]
}

/// 1,250 refusals: five in six with what was asked for.
async fn a_long_trail_is_read_page_by_page(store: std::sync::Arc<dyn Store>) {
    let bench = Bench::new(store);
    let mut token = bench.token("0123456789abcdef");
    if let vestibule::store::TokenHolder::Workflow { app, environment, .. } = &mut token.holder {
        *app = "where2eat".parse().unwrap();
        *environment = vestibule::domain::principal::Environment::Live;
    }
    bench.store.create_token(token.clone(), bench.act(AuditAction::CreateToken)).await.unwrap();
    let asked = AskedFor {
        content_type: Some("image/jpeg".parse().unwrap()),
        extension: Some("jpg".into()),
        size: Some(20 << 20),
        method: Some(UploadMethod::Put),
        ..AskedFor::default()
    };
    let entries = (0..1250).map(|number| {
        let mut entry = AuditEntry::new(bench.clock.now(), AuditAction::RequestUpload, Outcome::Refused);
        entry.reason = Some(Reason::SizeNotAllowed);
        entry.token_id = Some(token.id.clone());
        entry.app = Some("where2eat".parse().unwrap());
        entry.workflow = Some("nightly".parse().unwrap());
        entry.scopes = [String::from("storage:*:where2eat:*")].into();
        entry.request = (number % 6 != 0).then(|| Box::new(asked.clone()));
        bench.store.audit(entry)
    });
    for written in futures::future::join_all(entries).await {
        written.unwrap();
    }
    let files =
        vestibule::policy::cases::PolicyFiles::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("policies")).unwrap();
    let old = files.set().unwrap();
    let mut policies = files.policies.clone();
    let manifest = policies.get_mut("apps/where2eat.toml").unwrap();
    *manifest = manifest.replace("max_size = \"10 MiB\"", "max_size = \"30 MiB\"");
    let new = PolicySet::from_files(&policies).unwrap();
    let all = DiffWindow { since: None, limit: u64::MAX };
    let diff = policy_diff(&*bench.store, (&old, &new), methods, all).await.unwrap();
    assert_eq!((diff.replayed, diff.same, diff.changes.len()), (1041, 0, 1), "{diff:?}");
    assert_eq!((diff.changes[0].count, diff.changes[0].new.as_str()), (1041, "allowed"));
    assert_eq!(diff.not_replayed.values().sum::<u64>(), 209);
    assert!(diff.not_replayed.keys().all(|why| why.contains("an older version wrote the entry")), "{diff:?}");
    let some = DiffWindow { since: None, limit: 700 };
    let diff = policy_diff(&*bench.store, (&old, &new), methods, some).await.unwrap();
    assert_eq!(diff.replayed + diff.not_replayed.values().sum::<u64>(), 700);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_trail_on_sqlite_is_read_page_by_page() {
    a_long_trail_is_read_page_by_page(Sqlite::create().await.store()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_trail_on_postgresql_is_read_page_by_page() {
    let postgres = Postgres::create().await;
    a_long_trail_is_read_page_by_page(postgres.store()).await;
}
