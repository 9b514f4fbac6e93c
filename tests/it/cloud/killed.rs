//! `kill -9` between two steps, on LocalStack's S3 and on Azurite: what a restart makes of it (P1, P3, P9).
//!
//! `tests/it/faults.rs` does the same on the embedded store and reads the books beside it; here the bucket is the real
//! thing, and only what the gateway and the bucket say is looked at.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::place::Place;
use super::{Cloud, Setup, infected, jpeg};
use crate::gateway::PATIENCE;

/// A gateway that stands still at `point`.
pub async fn standing_at(mut setup: Setup, point: &str) -> Cloud {
    let marker = std::env::temp_dir().join(crate::harness::unique("fault"));
    setup.environment.push(("VESTIBULE_FAULT".into(), point.into()));
    setup.environment.push(("VESTIBULE_FAULT_MARKER".into(), marker.to_str().unwrap().into()));
    setup.keep.push(Box::new(Marker(marker)));
    setup.start().await
}

/// The file that says that the point was reached; goes with the test.
struct Marker(std::path::PathBuf);

impl Drop for Marker {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Waits until the gateway stands still.
pub async fn standing_still(cloud: &Cloud) {
    let marker = cloud.keep.iter().find_map(|kept| kept.downcast_ref::<Marker>()).unwrap().0.clone();
    let started = Instant::now();
    while !marker.exists() {
        assert!(started.elapsed() < PATIENCE, "the point was never reached:\n{}", cloud.gateway.log());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Kills the gateway where it stands still, and starts it without the fault.
pub async fn killed_and_started_again(cloud: &mut Cloud) {
    standing_still(cloud).await;
    cloud.gateway.start_again(&[("VESTIBULE_FAULT", None)]).await;
}

async fn between_commit_and_answer(place: Place) {
    let mut cloud = standing_at(Setup::at(place).sweeping("1s"), "upload.committed").await;
    let upload = jpeg();
    let body = json!({ "filename": upload.name, "size": upload.bytes.len(), "contentType": upload.media });
    let ask = |cloud: &Cloud| {
        let request = cloud.gateway.http.post(format!("{}/request-upload", cloud.gateway.public));
        request.bearer_auth(&cloud.gateway.token).header("idempotency-key", "first").json(&body)
    };
    let asking = tokio::spawn(ask(&cloud).send());
    killed_and_started_again(&mut cloud).await;
    assert!(asking.await.unwrap().is_err(), "no answer comes from a process that is dead");
    let issued: Value = ask(&cloud).send().await.unwrap().json().await.unwrap();
    let id = issued["objectId"].as_str().unwrap().to_owned();
    let (_, page) = cloud.gateway.get("/objects").await;
    assert_eq!(page["objects"].as_array().map(Vec::len), Some(1), "{page}");
    assert!((200..300).contains(&cloud.send(&issued, &upload.bytes).await));
    cloud.gateway.wait_for(&id, "visible").await;
    assert_eq!(cloud.gateway.download(&id).await, upload.bytes);
}

async fn while_scanning(place: Place) {
    let mut cloud = standing_at(Setup::at(place).sweeping("1s"), "inspect.scanning").await;
    let (clean, held) = (jpeg(), infected());
    let mut ids = Vec::new();
    for upload in [&clean, &held] {
        let (id, issued) = cloud.issue(upload, json!({})).await;
        assert!((200..300).contains(&cloud.send(&issued, &upload.bytes).await));
        ids.push(id);
    }
    killed_and_started_again(&mut cloud).await;
    cloud.gateway.wait_for(&ids[0], "visible").await;
    cloud.gateway.wait_for(&ids[1], "quarantined").await;
    assert_eq!(cloud.gateway.download(&ids[0]).await, clean.bytes);
    assert_eq!(cloud.gateway.post("/request-download", json!({ "objectId": ids[1] })).await.0, 409);
}

/// `promote.copied` or `promote.recorded`: in both the copy lies beside the staged object, and ends up alone.
async fn during_promotion(place: Place, point: &str) {
    let mut cloud = standing_at(Setup::at(place).sweeping("1s"), point).await;
    let upload = jpeg();
    let (id, issued) = cloud.issue(&upload, json!({})).await;
    assert!((200..300).contains(&cloud.send(&issued, &upload.bytes).await));
    killed_and_started_again(&mut cloud).await;
    assert_eq!(cloud.place.keys().await.len(), 2, "the copy and the staged object");
    cloud.gateway.wait_for(&id, "visible").await;
    assert_eq!(cloud.gateway.download(&id).await, upload.bytes);
    cloud.staging_is_empty().await;
    assert!(!cloud.actions(&id).await.contains(&"removeStray".into()), "what was to be removed is no stray");
}

macro_rules! killed {
    ($($name:ident: $place:ident, $run:ident $(, $point:literal)?;)*) => {$(
        #[tokio::test]
        async fn $name() {
            $run(Place::$place().await $(, $point)?).await;
        }
    )*};
}

killed! {
    on_s3_between_commit_and_answer: s3, between_commit_and_answer;
    on_s3_while_scanning: s3, while_scanning;
    on_s3_between_copy_and_record: s3, during_promotion, "promote.copied";
    on_s3_between_record_and_delete: s3, during_promotion, "promote.recorded";
    on_azure_between_commit_and_answer: azure, between_commit_and_answer;
    on_azure_while_scanning: azure, while_scanning;
    on_azure_between_copy_and_record: azure, during_promotion, "promote.copied";
    on_azure_between_record_and_delete: azure, during_promotion, "promote.recorded";
}
