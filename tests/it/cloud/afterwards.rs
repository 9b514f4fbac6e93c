//! What is checked after the upload: a case for every cell of the column "always", on S3 and on Azure.
//!
//! Where the URL itself enforces the constraint (S3), the client is refused first, and then the wrong bytes are written
//! with the account's own rights, as by a storage that lets them through. The app may hold one object, so that each
//! case also shows that the one before gave its quota back.

use serde_json::{Value, json};
use vestibule::domain::bytes::Sha256Digest;

use super::place::Place;
use super::{Cloud, Setup, Upload, disguised, jpeg, sources};
use crate::gateway::PATIENCE;

/// One broken constraint: what is declared, what is sent, and how it ends.
struct Case {
    name: &'static str,
    declared: Upload,
    sha256: Option<Vec<u8>>,
    sent: Vec<u8>,
    reason: &'static str,
}

fn cases() -> Vec<Case> {
    let jpeg = jpeg();
    let mut longer = jpeg.bytes.clone();
    longer.push(0);
    let shorter = jpeg.bytes[..jpeg.bytes.len() - 1].to_vec();
    let case = |name, declared: &Upload, sent: Vec<u8>, reason| Case {
        name,
        declared: declared.clone(),
        sha256: None,
        sent,
        reason,
    };
    vec![
        case("longer than declared", &jpeg, longer, "size_mismatch"),
        case("shorter than declared", &jpeg, shorter, "size_mismatch"),
        case("empty", &jpeg, Vec::new(), "size_mismatch"),
        case("markup as a picture", &disguised(), disguised().bytes, "type_mismatch"),
        case("no type at all", &jpeg, vec![7; jpeg.bytes.len()], "type_mismatch"),
        Case {
            sha256: Some(b"other bytes".to_vec()),
            ..case("another digest", &jpeg, jpeg.bytes.clone(), "checksum_mismatch")
        },
    ]
}

impl Case {
    fn more(&self, method: &str) -> Value {
        match &self.sha256 {
            Some(of) => json!({ "method": method, "sha256": Sha256Digest::of(of).to_string() }),
            None => json!({ "method": method }),
        }
    }
}

async fn every_case_ends_rejected(cloud: &Cloud, method: &str) {
    for case in cases() {
        let (id, issued) = cloud.issue(&case.declared, case.more(method)).await;
        let (status, full) = cloud.ask(&jpeg(), json!({})).await;
        let code = full["code"].as_str();
        assert_eq!(code, Some("quota_objects_exceeded"), "{}: {status} {full}", case.name);

        let sent = cloud.send(&issued, &case.sent).await;
        let object = cloud.gateway.admin_get(&format!("/admin/objects/{id}")).await.1;
        let enforced = !cloud.place.is_azure() && case.reason != "type_mismatch";
        if enforced {
            assert!((400..500).contains(&sent), "{} by {method}: the storage answered {sent}", case.name);
            let key = object["stagingKey"].as_str().unwrap();
            cloud.place.write(key, case.declared.media, &case.sent).await;
        } else {
            assert!((200..300).contains(&sent), "{} by {method}: the storage answered {sent}", case.name);
        }
        let object = cloud.gateway.wait_for(&id, "rejected").await;
        assert_eq!(object["reason"], case.reason, "{} by {method}: {object}", case.name);
        cloud.place.wait("the bytes' removal", |keys| keys.is_empty()).await;
        let (status, problem) = cloud.gateway.post("/request-download", json!({ "objectId": id })).await;
        assert!(status == 404 || status == 409 || status == 410, "{status} {problem}");
    }
    let good = cloud.store(&jpeg(), json!({ "method": method }), "visible").await;
    let id = good["objectId"].as_str().unwrap();
    assert_eq!(cloud.gateway.download(id).await, jpeg().bytes);
    cloud.staging_is_empty().await;
}

/// The last cell, create only: what is written over an upload that is being scanned is not let through.
async fn an_overwrite_during_the_scan_ends_rejected(place: Place, method: &str) {
    let marked = tempfile::tempdir().unwrap();
    let marker = marked.path().join("reached");
    let mut setup = Setup::at(place).objects(1).sweeping("500ms");
    setup.environment.push(("VESTIBULE_FAULT".into(), "inspect.scanning".into()));
    setup.environment.push(("VESTIBULE_FAULT_MARKER".into(), marker.display().to_string()));
    let mut cloud = setup.start().await;

    let upload = jpeg();
    let (id, issued) = cloud.issue(&upload, json!({ "method": method })).await;
    let sent = cloud.send(&issued, &upload.bytes).await;
    assert!((200..300).contains(&sent), "{sent}");
    let started = std::time::Instant::now();
    while !marker.exists() {
        assert!(started.elapsed() < PATIENCE, "the scan did not begin");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let mut other = upload.bytes.clone();
    *other.last_mut().unwrap() ^= 1;
    let again = cloud.send(&issued, &other).await;
    if method == "POST" {
        assert!((200..300).contains(&again), "a form can be sent twice: {again}");
    } else {
        assert!((400..500).contains(&again), "a URL is create-only: {again}");
        let object = cloud.gateway.admin_get(&format!("/admin/objects/{id}")).await.1;
        cloud.place.write(object["stagingKey"].as_str().unwrap(), upload.media, &other).await;
    }
    cloud.gateway.start_again(&[("VESTIBULE_FAULT", None)]).await;
    let object = cloud.gateway.wait_for(&id, "rejected").await;
    assert_eq!(object["reason"], "changed_after_upload", "{object}");
    cloud.place.wait("the bytes' removal", |keys| keys.is_empty()).await;
    cloud.issue(&upload, json!({})).await;
}

#[tokio::test]
async fn s3_put() {
    let place = Place::s3().await;
    let (lines, keep) = sources::direct(&place).await;
    every_case_ends_rejected(&Setup::at(place).hearing(lines, keep).objects(1).start().await, "PUT").await;
}

#[tokio::test]
async fn versioned_s3_post() {
    let place = Place::versioned_s3().await;
    let (lines, keep) = sources::direct(&place).await;
    every_case_ends_rejected(&Setup::at(place).hearing(lines, keep).objects(1).start().await, "POST").await;
}

#[tokio::test]
async fn azure() {
    let place = Place::azure().await;
    let (lines, keep) = sources::by_emitter(&place, &[]).await;
    every_case_ends_rejected(&Setup::at(place).hearing(lines, keep).objects(1).start().await, "PUT").await;
}

#[tokio::test]
async fn s3_put_overwritten_during_the_scan() {
    an_overwrite_during_the_scan_ends_rejected(Place::s3().await, "PUT").await;
}

#[tokio::test]
async fn s3_post_sent_twice_during_the_scan() {
    an_overwrite_during_the_scan_ends_rejected(Place::s3().await, "POST").await;
}

#[tokio::test]
async fn azure_overwritten_during_the_scan() {
    an_overwrite_during_the_scan_ends_rejected(Place::azure().await, "PUT").await;
}
