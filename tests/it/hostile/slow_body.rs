//! A request whose body comes after its token was revoked.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::gateway::{Gateway, PATIENCE};

/// A request without the last byte of its body.
struct Begun {
    socket: TcpStream,
    last: u8,
}

impl Begun {
    /// Sends all but the last byte, and waits until whoever has authenticated the head has done so long ago.
    async fn send(address: &str, path: &str, token: &str, body: &Value) -> Self {
        let mut socket = TcpStream::connect(address.trim_start_matches("http://")).await.unwrap();
        let body = body.to_string();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let (most, last) = body.as_bytes().split_at(body.len() - 1);
        socket.write_all(&[head.as_bytes(), most].concat()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
        Self { socket, last: last[0] }
    }

    /// Sends the rest: the status, and the whole answer.
    async fn end(mut self) -> (u16, String) {
        self.socket.write_all(&[self.last]).await.unwrap();
        let mut answer = String::new();
        tokio::time::timeout(PATIENCE, self.socket.read_to_string(&mut answer)).await.unwrap().unwrap();
        (answer[9..12].parse().unwrap(), answer)
    }
}

async fn revoke(gateway: &Gateway, token: &str) {
    let id = token.split('_').nth(2).unwrap();
    let body = json!({ "kind": "token", "id": id, "reason": "it was stolen" });
    let (status, revoked) = gateway.admin_post("/admin/revocations", body).await;
    assert_eq!(status, 201, "{revoked}");
}

#[tokio::test]
async fn a_workflow_whose_token_was_revoked_meanwhile_gets_no_url() {
    let gateway = Gateway::start().await;
    let photo = json!({ "filename": "menu.jpg", "size": 1000, "contentType": "image/jpeg" });
    let slow = Begun::send(&gateway.public, "/request-upload", &gateway.token, &photo).await;
    let (status, answer) = slow.end().await;
    assert_eq!(status, 201, "slowness alone is no offence: {answer}");

    let stolen = gateway.create_token(json!({ "app": "where2eat", "workflow": "stolen" })).await;
    let upload = Begun::send(&gateway.public, "/request-upload", &stolen, &photo).await;
    let download = json!({ "path": "uploads/menu.jpg" });
    let download = Begun::send(&gateway.public, "/request-download", &stolen, &download).await;
    revoke(&gateway, &stolen).await;
    for (begun, act) in [(upload, "requestUpload"), (download, "requestDownload")] {
        let (status, answer) = begun.end().await;
        assert!(status == 401 && answer.contains("token_revoked"), "{answer}");
        let (_, page) = gateway.admin_get("/admin/audit?limit=20").await;
        let entry = page["entries"].as_array().unwrap().iter().find(|entry| entry["action"] == act).unwrap();
        let told = ["outcome", "reason", "workflow"].map(|field| entry[field].as_str().unwrap_or_default());
        assert_eq!(told, ["refused", "token_revoked", "stolen"], "{entry}");
    }
}

#[tokio::test]
async fn an_operator_whose_token_was_revoked_meanwhile_makes_no_token() {
    let gateway = Gateway::start().await;
    let (_, mallory) = gateway.admin_post("/admin/tokens", json!({ "operator": "mallory" })).await;
    let stolen = mallory["token"].as_str().unwrap();
    let begun = Begun::send(&gateway.admin, "/admin/tokens", stolen, &json!({ "operator": "eve" })).await;
    revoke(&gateway, stolen).await;
    let (status, answer) = begun.end().await;
    assert!(status == 401 && answer.contains("token_revoked"), "{answer}");
    let (_, list) = gateway.admin_get("/admin/tokens").await;
    assert!(!list.to_string().contains("eve"), "{list}");
}
