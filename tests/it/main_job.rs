//! The main job on the embedded default: request, upload, scan, promote, download.

use crate::gateway::Gateway;
use crate::harness;

#[tokio::test]
async fn a_jpeg_goes_in_and_comes_out_byte_for_byte_the_same() {
    let gateway = Gateway::start().await;
    let bytes = harness::fixture("menu.jpg");
    let issued = gateway.request_jpeg(&bytes).await;
    let id = issued["objectId"].as_str().unwrap();
    assert_eq!(gateway.put(&issued, bytes.clone()).await, 200);
    gateway.wait_for(id, "visible").await;
    assert_eq!(gateway.download(id).await, bytes);
}

#[tokio::test]
async fn an_infected_file_is_quarantined_and_never_served() {
    let gateway = Gateway::start().await;
    let bytes = harness::eicar();
    let issued = gateway.request_jpeg(&bytes).await;
    let id = issued["objectId"].as_str().unwrap();
    assert_eq!(gateway.put(&issued, bytes).await, 200);
    gateway.wait_for(id, "quarantined").await;
    let (status, problem) = gateway.post("/request-download", serde_json::json!({ "objectId": id })).await;
    assert_eq!((status, problem["code"].as_str()), (409, Some("object_held")), "{problem}");
}
