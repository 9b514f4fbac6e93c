//! `vestibule quota audit` on PostgreSQL and a real bucket.

use serde_json::{Value, json};

use super::place::Place;
use super::{Setup, jpeg};
use crate::store_postgres::Database;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quota_audit_compares_postgresql_with_its_bucket() {
    let database = Database::migrated().await;
    let mut setup = Setup::at(Place::s3().await).sweeping("1s");
    setup.environment.push(("VESTIBULE__STORE__URL".into(), database.address()));
    let cloud = setup.start().await;
    let (kept, _) = (cloud.store(&jpeg(), json!({}), "visible").await, cloud.issue(&jpeg(), json!({})).await);
    cloud.staging_is_empty().await;
    let audit = |more: &[&str]| -> (i32, Value) {
        let arguments: Vec<&str> = ["quota", "audit", "--json"].into_iter().chain(more.iter().copied()).collect();
        let (code, printed, errors) = cloud.gateway.run(&arguments);
        (code, serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{error}: {printed}{errors}")))
    };
    let (code, report) = audit(&[]);
    assert_eq!(code, 0, "{report:#}");
    let bytes = jpeg().bytes.len() as u64;
    let target = &report["targets"]["cloud"];
    assert_eq!((&target["objects"], &target["bytes"]), (&json!(1), &json!(bytes)));

    // Other bytes under a served key, bytes that nobody knows in both places, counts that are wrong.
    cloud.place.write(kept["path"].as_str().unwrap(), "image/jpeg", b"short").await;
    cloud.place.write("desk/left-behind.jpg", "image/jpeg", &[7; 11]).await;
    cloud.place.write("incoming/desk/left-behind.jpg", "image/jpeg", &[7; 5]).await;
    database.run("UPDATE app_usage SET bytes = bytes - 3; UPDATE owner_usage SET uploads = uploads + 1").await;
    let (code, report) = audit(&["--repair"]);
    assert_eq!((code, &report["repaired"]), (1, &json!(true)), "{report:#}");
    let target = &report["targets"]["cloud"];
    let mut findings: Vec<(&str, u64)> = target["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| (finding["finding"].as_str().unwrap(), finding["size"].as_u64().unwrap()))
        .collect();
    findings.sort();
    assert_eq!(findings, [("otherSize", 5), ("unknown", 5), ("unknown", 11)], "{report:#}");
    assert_eq!(target["unknownBytes"], 16);
    let (_, report) = audit(&[]);
    let differing = report["usage"].as_array().unwrap().iter().filter(|row| row["differs"] == true).count();
    assert_eq!(differing, 0, "{report:#}");
    database.assert_consistent().await;
    let of_repairs = "SELECT count(*) FROM audit WHERE entry LIKE '%\"action\":\"repairQuota\"%'";
    assert_eq!(database.number(of_repairs).await, 2);
}
