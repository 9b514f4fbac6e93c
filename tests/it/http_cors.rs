//! Cross-origin requests: the origins of the manifest, on the gateway and on the embedded bucket.

use reqwest::{Method, RequestBuilder};
use serde_json::json;

use crate::gateway::Gateway;
use crate::harness;
use crate::http_errors::send;

const LISTED: &str = "https://where2eat.example.com";

fn preflight(gateway: &Gateway, url: &str, origin: &str, method: &str) -> RequestBuilder {
    let request = gateway.http.request(Method::OPTIONS, url).header("origin", origin);
    request
        .header("access-control-request-method", method)
        .header("access-control-request-headers", "content-type,if-none-match,x-workflow-token")
}

#[tokio::test]
async fn a_page_of_a_listed_origin_uploads_and_no_other_does() {
    let gateway = Gateway::start().await;
    let url = format!("{}/request-upload", gateway.public);
    let allowed = send(preflight(&gateway, &url, LISTED, "POST")).await;
    assert_eq!((allowed.status, allowed.headers["access-control-allow-origin"].to_str().unwrap()), (204, LISTED));
    assert!(allowed.headers["access-control-allow-headers"].to_str().unwrap().contains("x-workflow-token"));
    assert!(allowed.headers["vary"].to_str().unwrap().contains("origin"));
    let bytes = harness::fixture("menu.jpg");
    let body = json!({ "filename": "menu.jpg", "size": bytes.len(), "contentType": "image/jpeg" });
    let post = |origin: &str| gateway.http.post(&url).bearer_auth(&gateway.token).header("origin", origin).json(&body);
    let issued = send(post(LISTED)).await;
    assert_eq!(issued.headers["access-control-allow-origin"], LISTED);
    for other in
        ["https://evil.example", "null", "http://where2eat.example.com", "https://where2eat.example.com.evil.example"]
    {
        assert!(
            !send(preflight(&gateway, &url, other, "POST")).await.headers.contains_key("access-control-allow-origin")
        );
        assert!(!send(post(other)).await.headers.contains_key("access-control-allow-origin"), "{other}");
    }
    // Another app's answer is not for this page.
    let finance = gateway.create_token(json!({ "app": "finance-invoices", "workflow": "mail" })).await;
    let list = gateway.http.get(format!("{}/objects", gateway.public)).bearer_auth(&finance).header("origin", LISTED);
    assert!(!send(list).await.headers.contains_key("access-control-allow-origin"));
    let admin = gateway.http.get(format!("{}/admin/tokens", gateway.admin)).bearer_auth(&gateway.admin_token);
    assert!(!send(admin.header("origin", LISTED)).await.headers.contains_key("access-control-allow-origin"));

    let upload = issued.body["uploadUrl"].as_str().unwrap();
    let allowed = send(preflight(&gateway, upload, LISTED, "PUT")).await;
    assert_eq!(allowed.headers["access-control-allow-origin"], LISTED);
    assert!(
        !send(preflight(&gateway, upload, "https://evil.example", "PUT"))
            .await
            .headers
            .contains_key("access-control-allow-origin")
    );
    let put = gateway.http.put(upload).header("origin", LISTED).header("content-type", "image/jpeg");
    // What a browser sends by itself beside that.
    let put = put.header("if-none-match", "*").header("cache-control", "no-cache").header("pragma", "no-cache");
    let answer = send(put.body(bytes)).await;
    assert_eq!((answer.status, answer.headers["access-control-allow-origin"].to_str().unwrap()), (200, LISTED));
}
