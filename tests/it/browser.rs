//! The analyst's page of `examples/analyst-page` in a real Chromium: login with PKCE, exchange, upload, download, logout.
//!
//! The page is served from an origin of the app's manifest, as anybody would host it: with its settings filled in and
//! nothing else changed.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::gateway::{Gateway, edited_policies};
use crate::harness;
use crate::http_errors::{assert_problem, send};
use crate::identity_provider::{Provider, node};

/// The page with these settings.
fn page(settings: &Value) -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/analyst-page/index.html");
    let text = std::fs::read_to_string(path).unwrap();
    let start = text.find("id=\"settings\">").unwrap() + "id=\"settings\">".len();
    let end = start + text[start..].find("</script>").unwrap();
    format!("{}{settings}{}", &text[..start], &text[end..])
}

/// Answers every request with this page.
async fn serve(listener: TcpListener, page: String) {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/html; charset=utf-8\r\nconnection: close\r\n";
    let answer = format!("{head}content-length: {}\r\n\r\n{page}", page.len());
    while let Ok((mut socket, _)) = listener.accept().await {
        let answer = answer.clone();
        tokio::spawn(async move {
            let _ = socket.read(&mut [0; 16 * 1024]).await;
            let _ = socket.write_all(answer.as_bytes()).await;
        });
    }
}

#[tokio::test]
async fn an_analyst_uploads_and_downloads_in_a_browser_that_holds_no_secret() {
    let provider = Provider::shared();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let gateway = gateway(&provider, &origin).await;
    let settings =
        json!({ "issuer": provider.issuer, "client": "analyst-page", "gateway": gateway.public, "app": "where2eat" });
    let serving = tokio::spawn(serve(listener, page(&settings)));

    let bytes = harness::fixture("menu.jpg");
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/menu.jpg");
    let seen = node(
        "page.mjs",
        json!({ "chromium": harness::env("VESTIBULE_TEST_CHROMIUM"), "page": format!("{origin}/"), "user": "analyst",
            "file": file, "issuer": provider.issuer, "gateway": gateway.public }),
    )
    .await;
    serving.abort();

    assert_eq!(seen["errors"], json!([]));
    assert_eq!(seen["name"], "menu.jpg");
    assert_eq!(seen["sha256"].as_str().unwrap(), format!("{:x}", Sha256::digest(&bytes)));
    // No secret: the key cannot be taken out, nothing is kept, and no address ever carried a token or stays with a code.
    assert_eq!(seen["keys"], json!({ "extractable": [false], "exported": ["refused"] }));
    assert_eq!(seen["kept"], json!({ "local": [], "session": [], "cookies": "", "databases": [] }));
    assert_eq!(seen["address"], format!("{origin}/"));
    let requests = seen["requests"].as_array().unwrap();
    let places: BTreeSet<String> = requests.iter().map(|request| origin_of(request["url"].as_str().unwrap())).collect();
    let expected = [&origin, &provider.issuer, &gateway.public, &gateway.storage].map(|place| origin_of(place));
    assert_eq!(places, BTreeSet::from(expected), "the page talks to nobody else");
    for request in requests {
        let url = request["url"].as_str().unwrap();
        assert!(!url.contains("eyJhbGci") && !url.contains("vst_"), "{url}");
        let api = url.starts_with(&gateway.public) && !url.contains("/.well-known/") && request["method"] != "OPTIONS";
        assert!(!api || request["proof"] == true, "every request to the gateway is proven: {request}");
        assert!(request["authorization"].is_null() || request["authorization"] == "DPoP", "{request}");
    }
    // Past the end of what it had, the page went to the provider and back before it asked the gateway for anything.
    let renewed: Vec<&str> = seen["renewed"].as_array().unwrap().iter().map(|url| url.as_str().unwrap()).collect();
    let back = renewed.iter().position(|url| url.starts_with(&format!("{origin}/?"))).expect("it came back");
    assert!(renewed[..back].iter().any(|url| url.starts_with(&provider.issuer)), "{renewed:?}");
    assert!(!renewed[..back].iter().any(|url| url.starts_with(&gateway.public)), "{renewed:?}");
    // Whoever takes a token out of the browser's memory has nothing: without the key it opens nothing. These are in force:
    // the one that was given back at the logout was used for nothing else.
    let tokens: BTreeSet<&str> =
        seen["tokens"].as_array().unwrap().iter().map(|token| token.as_str().unwrap()).collect();
    assert_eq!(tokens.len(), 2, "of the first login, and of the renewal");
    for token in tokens {
        for scheme in ["Bearer", "DPoP"] {
            let stolen = gateway.http.get(format!("{}/objects", gateway.public));
            let answer = send(stolen.header("authorization", format!("{scheme} {token}"))).await;
            assert_problem(&answer, 401, "dpop_proof_invalid");
        }
    }
    // The trail names the person.
    let (_, page) = gateway.admin_get("/admin/audit?app=where2eat&limit=100").await;
    let entries = page["entries"].as_array().unwrap();
    let of_person = |action: &str| entries.iter().any(|entry| entry["action"] == action && entry["user"] == "analyst");
    assert!(of_person("requestUpload") && of_person("requestDownload"), "{page}");
    let given_back: Vec<&Value> = entries.iter().filter(|entry| entry["action"] == "revokeToken").collect();
    assert_eq!((given_back.len(), given_back[0]["user"].as_str()), (1, Some("analyst")), "{page}");
}

fn origin_of(url: &str) -> String {
    url.parse::<url::Url>().unwrap().origin().ascii_serialization()
}

/// A gateway that trusts the provider, and whose app `where2eat` lists this origin and the page's client.
async fn gateway(provider: &Provider, origin: &str) -> Gateway {
    let origins = "origins = [\"https://where2eat.example.com\"]";
    let listed = format!("origins = [\"{origin}\"]");
    let dir = edited_policies(&[("apps/where2eat.toml", origins, &listed)]);
    crate::identity_provider::trusting(provider, dir).await
}
