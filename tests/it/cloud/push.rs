//! Push delivery to the real listener: Event Grid's webhook with its key, and what LocalStack's SNS really posts.

use serde_json::{Value, json};

use super::place::Place;
use super::{Cloud, Setup, jpeg, pdf, sources};
use crate::events::aws;
use crate::gateway::answer;

const KEY: &str = "correct horse battery";

async fn deliver(cloud: &Cloud, key: Option<&str>, body: &Value) -> (u16, Value) {
    let mut request = cloud.gateway.http.post(format!("{}/events/eventgrid", cloud.gateway.public)).json(body);
    if let Some(key) = key {
        request = request.header("x-vestibule-event-key", key);
    }
    answer(request).await
}

async fn staged(cloud: &Cloud, id: &str) -> String {
    let object = cloud.gateway.admin_get(&format!("/admin/objects/{id}")).await.1;
    format!("/blobServices/default/containers/{}/blobs/{}", cloud.place.name(), object["stagingKey"].as_str().unwrap())
}

#[tokio::test]
async fn event_grid_validates_and_delivers_with_its_key_alone() {
    let lines = format!("[events.eventgrid]\nkey = '{KEY}'\n");
    let cloud = Setup::at(Place::azure().await).hearing(lines, ()).start().await;

    let validation = json!([{"id": "1", "topic": "/subscriptions/0", "subject": "", "eventTime": "2026-11-21T10:15:30Z",
        "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent", "dataVersion": "2",
        "data": {"validationCode": "512d38b6-c7b8-40c8-89fe-f46f9e9622b6"}}]);
    let (status, refused) = deliver(&cloud, None, &validation).await;
    assert_eq!(status, 401, "{refused}");
    let (status, answered) = deliver(&cloud, Some(KEY), &validation).await;
    assert_eq!((status, &answered["validationResponse"]), (200, &json!("512d38b6-c7b8-40c8-89fe-f46f9e9622b6")));

    let url = format!("{}/events/eventgrid", cloud.gateway.public);
    let ask = |origin: &str| {
        let request = cloud.gateway.http.request(reqwest::Method::OPTIONS, &url);
        request.header("webhook-request-origin", origin.to_owned()).send()
    };
    let allowed = ask("eventgrid.azure.net").await.unwrap();
    assert_eq!(
        (allowed.status().as_u16(), allowed.headers()["webhook-allowed-origin"].as_bytes()),
        (200, b"eventgrid.azure.net".as_slice())
    );
    assert_eq!(ask("evil.example").await.unwrap().status(), 404);

    let (first, issued) = cloud.issue(&jpeg(), json!({})).await;
    assert_eq!(cloud.send(&issued, &jpeg().bytes).await, 201);
    let event = json!([{"id": "2", "topic": "/subscriptions/0", "subject": staged(&cloud, &first).await,
        "eventType": "Microsoft.Storage.BlobCreated", "eventTime": "2026-11-21T10:15:30Z", "dataVersion": "",
        "data": {"api": "PutBlob"}}]);
    for key in [None, Some("wrong horse battery!!")] {
        assert_eq!(deliver(&cloud, key, &event).await.0, 401);
    }
    assert_eq!(cloud.gateway.admin_get(&format!("/admin/objects/{first}")).await.1["state"], "issued");
    assert_eq!(deliver(&cloud, Some(KEY), &event).await.0, 200);
    cloud.gateway.wait_for(&first, "visible").await;

    let (second, issued) = cloud.issue(&pdf(), json!({})).await;
    assert_eq!(cloud.send(&issued, &pdf().bytes).await, 201);
    let event = json!({"specversion": "1.0", "id": "3", "source": "/subscriptions/0", "time": "2026-11-21T10:15:30Z",
        "type": "Microsoft.Storage.BlobCreated", "subject": staged(&cloud, &second).await, "data": {"api": "PutBlob"}});
    assert_eq!(deliver(&cloud, Some(KEY), &event).await.0, 200);
    cloud.gateway.wait_for(&second, "visible").await;
    cloud.staging_is_empty().await;
}

#[tokio::test]
async fn sns_confirms_its_subscription_and_delivers_to_the_gateway() {
    let place = Place::s3().await;
    let (topic, undo) = sources::topic(&place).await;
    let lines = format!("[events.sns]\ntopic_arns = ['{topic}']\norigin = '{}'\n", aws::endpoint());
    let cloud = Setup::at(place).hearing(lines, undo).start().await;
    let endpoint = format!("{}/events/sns", cloud.gateway.public);
    aws::sns("Subscribe", &[("TopicArn", &topic), ("Protocol", "http"), ("Endpoint", &endpoint)]).await;

    // LocalStack delivers to confirmed subscriptions only, so that the first object's event may be lost to it.
    let started = std::time::Instant::now();
    loop {
        let listed = aws::sns("ListSubscriptionsByTopic", &[("TopicArn", &topic)]).await;
        if !listed.contains("PendingConfirmation") && listed.contains("<SubscriptionArn>arn:") {
            break;
        }
        assert!(started.elapsed() < crate::gateway::PATIENCE, "{listed}\n{}", cloud.gateway.log());
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let object = cloud.store(&jpeg(), json!({}), "visible").await;
    assert_eq!(cloud.gateway.download(object["objectId"].as_str().unwrap()).await, jpeg().bytes);
    cloud.staging_is_empty().await;

    let forged = json!({"Type": "Notification", "TopicArn": topic, "MessageId": "1", "Message": "{}", "Signature": "AAAA",
        "Timestamp": "2026-11-21T10:15:30Z", "SignatureVersion": "2",
        "SigningCertURL": format!("{}/_aws/sns/SimpleNotificationService-0.pem", aws::endpoint())});
    let (status, refused) = answer(cloud.gateway.http.post(&endpoint).json(&forged)).await;
    assert_eq!(status, 401, "{refused}");
}
