//! The main job, by every way in which a cloud tells of an upload.
//!
//! The sweep runs once an hour here, so that each step is the event's doing.

use serde_json::json;

use super::place::Place;
use super::{Cloud, Setup, csv, disguised, infected, jpeg, pdf, sources};

pub(super) async fn the_whole_flow(cloud: &Cloud) {
    // What is clean comes out as it went in.
    let mut stray = None;
    for upload in [jpeg(), pdf(), csv()] {
        let (id, issued) = cloud.issue(&upload, json!({})).await;
        let (status, problem) = cloud.gateway.post("/request-download", json!({ "objectId": id })).await;
        assert!(status == 404 || status == 409, "a download before the upload: {status} {problem}");
        let sent = cloud.send(&issued, &upload.bytes).await;
        assert!(sent == 200 || sent == 201, "{sent}");
        let object = cloud.gateway.wait_for(&id, "visible").await;
        assert_eq!(object["verdict"]["result"], "clean", "{object}");
        assert_eq!(cloud.gateway.download(&id).await, upload.bytes, "{}", upload.name);
        stray.get_or_insert((id, issued, upload));
    }

    // What is infected is held and never served.
    let held = cloud.store(&infected(), json!({}), "quarantined").await;
    let (status, problem) = cloud.gateway.post("/request-download", json!({ "objectId": held["objectId"] })).await;
    assert_eq!((status, problem["code"].as_str()), (409, Some("object_held")), "{problem}");
    assert!(cloud.place.keys().await.contains(&held["stagingKey"].as_str().unwrap().to_owned()));
    let reason = json!({ "reason": "a test file" });
    let path = format!("/admin/objects/{}/delete", held["objectId"].as_str().unwrap());
    let (status, deleted) = cloud.gateway.admin_post(&path, reason).await;
    assert_eq!(status, 200, "{deleted}");

    // What is not what it says is rejected, and its bytes go.
    let rejected = cloud.store(&disguised(), json!({}), "rejected").await;
    assert_eq!(rejected["reason"], "type_mismatch", "{rejected}");
    cloud.staging_is_empty().await;

    // A second PUT to a URL that is still valid changes nothing that was promoted.
    let (id, issued, upload) = stray.unwrap();
    let other: Vec<u8> = upload.bytes.iter().rev().copied().collect();
    let sent = cloud.send(&issued, &other).await;
    assert!(sent == 200 || sent == 201, "{sent}");
    cloud.stray_is_removed(&id).await;
    assert_eq!(cloud.gateway.download(&id).await, upload.bytes);
    assert!(cloud.gateway.log().contains("stray_removed"), "the alert is in the log");

    let mut served: Vec<String> = cloud.place.keys().await;
    served.sort();
    assert_eq!(served.len(), 3, "{served:?}");
    assert!(served.iter().all(|key| key.starts_with("desk/obj_")), "{served:?}");
}

async fn forms_work_too(cloud: &Cloud) {
    let upload = jpeg();
    let (id, issued) = cloud.issue(&upload, json!({ "method": "POST" })).await;
    let sent = cloud.send(&issued, &upload.bytes).await;
    assert!((200..300).contains(&sent), "{sent}");
    cloud.gateway.wait_for(&id, "visible").await;
    assert_eq!(cloud.gateway.download(&id).await, upload.bytes);
    cloud.staging_is_empty().await;

    // A form cannot be create-only: it may be sent again, and what it writes is a stray.
    let sent = cloud.send(&issued, &vec![b'x'; upload.bytes.len()]).await;
    assert!((200..300).contains(&sent), "{sent}");
    cloud.stray_is_removed(&id).await;
    assert_eq!(cloud.gateway.download(&id).await, upload.bytes);
}

#[tokio::test]
async fn s3_with_events_straight_to_sqs() {
    let place = Place::s3().await;
    let (lines, keep) = sources::direct(&place).await;
    let cloud = Setup::at(place).hearing(lines, keep).start().await;
    the_whole_flow(&cloud).await;
    forms_work_too(&cloud).await;
}

#[tokio::test]
async fn versioned_s3_with_events_by_sns() {
    let place = Place::versioned_s3().await;
    let (lines, keep) = sources::by_sns(&place).await;
    let cloud = Setup::at(place).hearing(lines, keep).start().await;
    the_whole_flow(&cloud).await;
    forms_work_too(&cloud).await;
}

#[tokio::test]
async fn s3_with_events_by_eventbridge() {
    let place = Place::s3().await;
    let (lines, keep) = sources::by_eventbridge(&place).await;
    let cloud = Setup::at(place).hearing(lines, keep).start().await;
    the_whole_flow(&cloud).await;
}

#[tokio::test]
async fn azure_with_event_grids_own_schema() {
    let place = Place::azure().await;
    let (lines, keep) = sources::by_emitter(&place, &[]).await;
    let cloud = Setup::at(place).hearing(lines, keep).start().await;
    the_whole_flow(&cloud).await;
}

#[tokio::test]
async fn azure_with_cloud_events_in_plain_text() {
    let place = Place::azure().await;
    let (lines, keep) = sources::by_emitter(&place, &["--cloudevents", "--plain"]).await;
    let cloud = Setup::at(place).hearing(lines, keep).start().await;
    the_whole_flow(&cloud).await;
}
