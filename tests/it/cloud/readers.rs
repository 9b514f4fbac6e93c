//! The official SDKs for Python as independent readers: they find exactly what the gateway says is there.

use serde_json::{Value, json};

use super::place::Place;
use super::{Cloud, Setup, csv, disguised, infected, jpeg, pdf};
use crate::harness::env;
use crate::signing_azure::python;

fn read(place: &Place) -> Value {
    let question = if place.is_azure() {
        json!({"provider": "azure", "endpoint": env("VESTIBULE_TEST_AZURITE_BLOB"), "place": place.name(),
            "key": env("VESTIBULE_TEST_AZURITE_KEY")})
    } else {
        json!({"provider": "s3", "endpoint": env("VESTIBULE_TEST_S3_ENDPOINT"), "place": place.name(),
            "region": env("VESTIBULE_TEST_S3_REGION")})
    };
    python("cloud_read.py", &question)
}

async fn the_bucket_holds_what_the_gateway_says(cloud: &Cloud) {
    let mut expected = serde_json::Map::new();
    let mut ids = Vec::new();
    for upload in [jpeg(), pdf(), csv()] {
        let more = json!({ "metadata": { "table": "7" }, "path": "desk/2026/" });
        let object = cloud.store(&upload, more, "visible").await;
        let said = json!({
            "sha256": object["sha256"], "size": object["size"], "contentType": object["contentType"],
            "metadata": { "table": "7", "vestibule-object": object["objectId"], "vestibule-sha256": object["sha256"] },
            "tags": { "vestibule-verdict": "clean", "vestibule-classification": object["classification"] },
        });
        assert_eq!(object["size"], upload.bytes.len());
        expected.insert(object["path"].as_str().unwrap().to_owned(), said);
        ids.push(object["objectId"].as_str().unwrap().to_owned());
    }
    cloud.store(&disguised(), json!({}), "rejected").await;
    cloud.staging_is_empty().await;
    assert_eq!(read(&cloud.place), Value::Object(expected.clone()));

    // What is held lies in staging, and nowhere else.
    let held = cloud.store(&infected(), json!({}), "quarantined").await;
    let found = read(&cloud.place);
    let keys: Vec<_> = found.as_object().unwrap().keys().filter(|key| !expected.contains_key(*key)).collect();
    assert_eq!(keys, [held["stagingKey"].as_str().unwrap()]);

    // What is deleted, by a reviewer or by its app, is gone.
    let path = format!("/admin/objects/{}/delete", held["objectId"].as_str().unwrap());
    assert_eq!(cloud.gateway.admin_post(&path, json!({ "reason": "a test file" })).await.0, 200);
    for id in ids {
        let request = cloud.gateway.http.delete(format!("{}/objects/{id}", cloud.gateway.public));
        let status = request.bearer_auth(&cloud.gateway.token).send().await.unwrap().status();
        assert!(status.is_success(), "{status}");
    }
    cloud.place.wait("an empty bucket", |keys| keys.is_empty()).await;
    assert_eq!(read(&cloud.place), json!({}));
}

#[tokio::test]
async fn boto3_finds_exactly_what_the_gateway_says() {
    let cloud = Setup::at(Place::s3().await).sweeping("300ms").start().await;
    the_bucket_holds_what_the_gateway_says(&cloud).await;
}

#[tokio::test]
async fn boto3_finds_exactly_what_the_gateway_says_in_a_versioned_bucket() {
    let cloud = Setup::at(Place::versioned_s3().await).sweeping("300ms").start().await;
    the_bucket_holds_what_the_gateway_says(&cloud).await;
}

#[tokio::test]
async fn azure_storage_blob_finds_exactly_what_the_gateway_says() {
    let cloud = Setup::at(Place::azure().await).sweeping("300ms").start().await;
    the_bucket_holds_what_the_gateway_says(&cloud).await;
}
