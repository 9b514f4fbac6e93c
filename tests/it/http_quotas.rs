//! Quotas of windows and owners as clients see them, `GET /limits`, and `vestibule quota audit` beside a running gateway.

use serde_json::{Value, json};

use crate::gateway::{Gateway, edit_policy, edited_policies};
use crate::harness;
use crate::http_errors::send;

const MIB: u64 = 1 << 20;

/// A gateway whose `where2eat` has these further quotas, and whose `owners.toml` says this.
async fn bounded(more: &str, owners: &str) -> Gateway {
    let dir = edited_policies(&[("apps/where2eat.toml", "objects = 100_000", &format!("objects = 100_000\n{more}"))]);
    // The clinic's forms are regulated data, for which its region must be known.
    let owners = format!("{owners}[clinic]\nregion = \"eu\"\n");
    std::fs::write(dir.path().join("policies/owners.toml"), owners).unwrap();
    Gateway::start_in(dir, &[]).await
}

async fn upload(gateway: &Gateway, name: &str, size: u64) -> (u16, Value) {
    gateway.post("/request-upload", json!({ "filename": name, "size": size, "contentType": "image/jpeg" })).await
}

/// The newest refusal in the audit trail.
async fn last_refusal(gateway: &Gateway) -> Value {
    let (_, page) = gateway.admin_get("/admin/audit?limit=1000").await;
    let mut entries = page["entries"].as_array().unwrap().iter();
    entries.find(|entry| entry["outcome"] == "refused").unwrap().clone()
}

/// A refusal by the quota of a window: 429 with the time until the window ends, of at most `longest` seconds.
fn assert_windowed((status, problem): &(u16, Value), code: &str, quota: &str, limit: u64, longest: u64) {
    assert_eq!((*status, &problem["code"], &problem["quota"]), (429, &json!(code), &json!(quota)), "{problem}");
    assert_eq!(problem["limit"], limit);
    assert!((1..=longest).contains(&problem["retryAfter"].as_u64().unwrap()), "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("is free again at 20"), "{problem}");
}

#[tokio::test]
async fn each_quota_of_a_window_has_its_own_code_and_says_when_to_come_back() {
    let gateway = bounded("bytes_per_day = \"20 MiB\"", "").await;
    for name in ["a.jpg", "b.jpg"] {
        assert_eq!(upload(&gateway, name, 10 * MIB).await.0, 201);
    }
    let refused = upload(&gateway, "c.jpg", 1).await;
    assert_windowed(&refused, "quota_daily_bytes_exceeded", "app-bytes-day", 20 * MIB, 86_400);
    let entry = last_refusal(&gateway).await;
    let rule = entry["rule"].as_str().unwrap();
    assert!(rule.starts_with("apps/where2eat.toml:") && rule.ends_with(" quota.bytes_per_day"), "{entry}");

    // A changed quota is compared with what was really used.
    edit_policy(gateway.dir(), "apps/where2eat.toml", "bytes_per_day = \"20 MiB\"", "uploads_per_hour = 2");
    assert_eq!(gateway.reload().await, "allowed");
    let refused = upload(&gateway, "d.jpg", 1).await;
    assert_windowed(&refused, "quota_hourly_uploads_exceeded", "app-uploads-hour", 2, 3600);

    edit_policy(gateway.dir(), "apps/where2eat.toml", "uploads_per_hour = 2", "download_bytes_per_month = \"10 MiB\"");
    assert_eq!(gateway.reload().await, "allowed");
    let bytes = harness::fixture("menu.jpg");
    let id = gateway.visible_jpeg(&bytes).await;
    let (_, limits) = gateway.get("/limits").await;
    let quota = limits["quotas"].as_array().unwrap().iter().find(|quota| quota["name"] == "app-download-bytes-month");
    assert_eq!((&quota.unwrap()["used"], &quota.unwrap()["remaining"]), (&json!(0), &json!(10 * MIB)));
    let most = 10 * MIB / bytes.len() as u64;
    // As issued: a link counts when it is asked for, and nothing has to be read.
    let ask = json!({ "objectId": id, "oneTime": true });
    let database = rusqlite::Connection::open(gateway.dir().join("vestibule.db")).unwrap();
    assert_eq!(gateway.post("/request-download", ask.clone()).await.0, 200);
    let (used, window): (i64, i64) = database
        .query_row("SELECT download_bytes, download_window FROM app_usage WHERE app = 'where2eat'", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .unwrap();
    assert_eq!(used, bytes.len() as i64);
    let left = 10 * MIB as i64 - bytes.len() as i64 + 1;
    database
        .execute(
            "UPDATE app_usage SET download_bytes = ?1 WHERE app = 'where2eat' AND download_window = ?2",
            [left, window],
        )
        .unwrap();
    assert!(most > 1);
    let refused = gateway.post("/request-download", ask).await;
    assert_windowed(&refused, "quota_monthly_downloads_exceeded", "app-download-bytes-month", 10 * MIB, 31 * 86_400);
}

#[tokio::test]
async fn an_owners_quota_holds_for_all_its_apps_and_names_its_line() {
    let owners = "[marketing]\n[marketing.quota]\nbytes = \"25 MiB\"\nuploads_per_hour = 3\n";
    let gateway = bounded("", owners).await;
    for name in ["a.jpg", "b.jpg"] {
        assert_eq!(upload(&gateway, name, 10 * MIB).await.0, 201);
    }
    let (status, problem) = upload(&gateway, "c.jpg", 6 * MIB).await;
    let told = (status, &problem["code"], &problem["quota"], &problem["limit"]);
    assert_eq!(told, (403, &json!("quota_bytes_exceeded"), &json!("owner-bytes-stored"), &json!(25 * MIB)));
    assert!(problem["detail"].as_str().unwrap().starts_with("All apps of 'marketing' together may hold"), "{problem}");
    assert!(problem["retryAfter"].is_null(), "{problem}");
    assert_eq!(last_refusal(&gateway).await["rule"], "owners.toml:3 quota.bytes");
    assert_eq!(upload(&gateway, "c.jpg", MIB).await.0, 201);
    let refused = upload(&gateway, "d.jpg", MIB).await;
    assert_windowed(&refused, "quota_hourly_uploads_exceeded", "owner-uploads-hour", 3, 3600);
}

#[tokio::test]
async fn get_limits_says_what_the_app_may_do_at_all_and_every_quota_of_app_and_owner() {
    let owners = "[marketing]\n[marketing.quota]\nbytes = \"25 MiB\"\n";
    let gateway = bounded("uploads_per_hour = 9", owners).await;
    assert_eq!(upload(&gateway, "a.jpg", 48_213).await.0, 201);
    let (status, limits) = gateway.get("/limits").await;
    assert_eq!(status, 200, "{limits}");
    let quotas = limits["quotas"].as_array().unwrap();
    let names: Vec<&str> = quotas.iter().map(|quota| quota["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["app-bytes-stored", "app-objects-stored", "app-uploads-hour", "owner-bytes-stored"]);
    let told = (&quotas[2]["limit"], &quotas[2]["used"], &quotas[2]["remaining"], &quotas[2]["unit"]);
    assert_eq!(told, (&json!(9), &json!(1), &json!(8), &json!("uploads")));
    assert!((1..=3600).contains(&quotas[2]["resetsInSeconds"].as_u64().unwrap()), "{limits}");
    assert_eq!((&quotas[3]["holder"], &quotas[3]["used"]), (&json!("owner"), &json!(48_213)));
    assert!(quotas[3]["resetsInSeconds"].is_null(), "{limits}");
    let may = &limits["may"];
    assert_eq!(
        (&may["environment"], &may["target"], &may["prefix"]),
        (&json!("live"), &json!("images"), &json!("uploads/"))
    );
    assert_eq!(may["types"], json!(["image/jpeg", "image/png", "image/webp"]));
    assert_eq!((&may["maxSize"], &may["methods"]), (&json!(10 * MIB), &json!(["PUT", "POST"])));
    assert_eq!(may["classifications"], json!(["public", "internal"]));
    assert_eq!((&may["uploadTtlSeconds"], &may["downloadTtlSeconds"]), (&json!(600), &json!(300)));
}

/// What `quota audit --json` prints, and its exit code.
fn audit(gateway: &Gateway, more: &[&str]) -> (i32, Value) {
    let arguments: Vec<&str> = ["quota", "audit", "--json"].into_iter().chain(more.iter().copied()).collect();
    let (code, printed, errors) = gateway.run(&arguments);
    let report = serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{error}: {printed}{errors}"));
    (code, report)
}

#[tokio::test]
async fn a_quota_audit_finds_what_differs_and_repairs_counts_beside_the_running_gateway() {
    let gateway = Gateway::start().await;
    let bytes = harness::fixture("menu.jpg");
    let id = gateway.visible_jpeg(&bytes).await;
    assert_eq!(upload(&gateway, "open.jpg", 1000).await.0, 201);
    let (code, report) = audit(&gateway, &[]);
    assert_eq!((code, &report["good"]), (0, &json!(true)), "{report:#}");
    let images = &report["targets"]["images"];
    assert_eq!((&images["objects"], &images["bytes"]), (&json!(1), &json!(bytes.len())));

    // Counts that somebody changed, and a record that names another key than that of its bytes.
    let database = rusqlite::Connection::open(gateway.dir().join("vestibule.db")).unwrap();
    database
        .execute_batch("UPDATE app_usage SET bytes = bytes + 7, uploads = 0; UPDATE owner_usage SET objects = 9")
        .unwrap();
    database.execute_batch("UPDATE objects SET served_path = replace(served_path, 'menu.jpg', 'other.jpg')").unwrap();
    let (code, report) = audit(&gateway, &["--app", "where2eat"]);
    assert_eq!((code, report["usage"].as_array().unwrap().len()), (1, 1), "{report:#}");
    let quotas = &report["usage"][0]["quotas"];
    let recorded = bytes.len() as u64 + 1000;
    assert_eq!(quotas["bytes"], json!({ "counted": recorded + 7, "recorded": recorded }));
    assert_eq!(quotas["uploads_per_hour"]["counted"], 0);
    let findings = report["targets"]["images"]["findings"].as_array().unwrap();
    let found: Vec<&str> = findings.iter().map(|finding| finding["finding"].as_str().unwrap()).collect();
    assert_eq!(found, ["unknown", "missing"], "{report:#}");
    assert_eq!((&findings[0]["size"], &findings[1]["objectId"]), (&json!(bytes.len()), &json!(id)));

    // Counts are put right; bytes are left to a person.
    let (code, report) = audit(&gateway, &["--repair"]);
    assert_eq!((code, &report["repaired"]), (1, &json!(true)), "{report:#}");
    database.execute_batch("UPDATE objects SET served_path = replace(served_path, 'other.jpg', 'menu.jpg')").unwrap();
    let (code, report) = audit(&gateway, &[]);
    assert_eq!(code, 0, "{report:#}");
    assert_eq!(gateway.download(&id).await, bytes);
    let (_, page) = gateway.admin_get("/admin/audit?limit=1000").await;
    let entries = page["entries"].as_array().unwrap();
    let details: Vec<&str> = entries
        .iter()
        .filter(|entry| entry["action"] == "repairQuota" && entry["method"] == "CLI")
        .map(|entry| entry["detail"].as_str().unwrap())
        .collect();
    assert_eq!(details.len(), 2, "{page}");
    assert!(details.iter().any(|detail| detail.starts_with("app where2eat: bytes ")), "{details:?}");
    let (_, printed, _) = gateway.run(&["quota", "audit"]);
    assert!(printed.starts_with("usage: 2 apps and owners are counted right"), "{printed}");
    let request = gateway.http.get(format!("{}/readyz", gateway.public));
    assert_eq!(send(request).await.status, 200, "the gateway noticed nothing");
}
