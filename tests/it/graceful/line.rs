//! HTTP/1.1 by hand over one kept connection: it sees what a library would hide, and repeats nothing.

use std::io;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// One connection.
pub(super) struct Line(pub(super) TcpStream);

/// An answer, its body read.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) closes: bool,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// `127.0.0.1:4711` of `http://127.0.0.1:4711`.
pub(super) fn authority(url: &str) -> &str {
    url.strip_prefix("http://").unwrap()
}

/// A request for a small upload.
pub(super) fn upload(token: &str) -> String {
    let body = r#"{"filename":"menu.jpg","size":10,"contentType":"image/jpeg"}"#;
    format!(
        "POST /request-upload HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A request without a body.
pub(super) fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: gateway\r\n\r\n")
}

impl Line {
    pub(super) async fn to(url: &str) -> io::Result<Self> {
        let line = TcpStream::connect(authority(url)).await?;
        line.set_nodelay(true)?;
        Ok(Self(line))
    }

    /// Sends a request and reads its answer.
    pub(super) async fn ask(&mut self, request: &str) -> io::Result<Answer> {
        self.0.write_all(request.as_bytes()).await?;
        self.answer().await
    }

    pub(super) async fn answer(&mut self) -> io::Result<Answer> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.0.read_u8().await?);
        }
        let head = String::from_utf8(head).unwrap().to_lowercase();
        let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let mut body = vec![0; field("content-length:").map_or(0, |length| length.parse().unwrap())];
        self.0.read_exact(&mut body).await?;
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Ok(Answer { status, closes: field("connection:") == Some("close"), body })
    }

    /// Sends this every so often until the gateway ends the connection; how long that took, and what it said.
    pub(super) async fn trickle(mut self, bytes: &[u8], every: Duration) -> (Duration, String) {
        let began = Instant::now();
        let mut said = Vec::new();
        let mut part = [0; 4096];
        loop {
            assert!(began.elapsed() < Duration::from_secs(120), "the connection is held for ever");
            match tokio::time::timeout(every, self.0.read(&mut part)).await {
                Err(_) => drop(self.0.write_all(bytes).await),
                Ok(Ok(count @ 1..)) => said.extend_from_slice(&part[..count]),
                Ok(_) => return (began.elapsed(), String::from_utf8_lossy(&said).into_owned()),
            }
        }
    }
}
