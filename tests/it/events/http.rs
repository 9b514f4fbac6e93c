//! A loopback HTTP server of a few lines: keeps what is posted, and serves one file.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Request line and body of each request, in order.
type Requests = Arc<Mutex<Vec<(String, Vec<u8>)>>>;

pub struct Server {
    pub origin: String,
    requests: Requests,
    task: JoinHandle<()>,
}

impl Server {
    /// Answers every GET with `file`, or 404 where its path ends in `missing.pem`.
    pub async fn start(file: Vec<u8>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let requests = Requests::default();
        let kept = requests.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, file.clone(), kept.clone()));
            }
        });
        Self { origin, requests, task }
    }

    /// Bodies of what was posted.
    pub fn posted(&self) -> Vec<Vec<u8>> {
        let requests = self.requests.lock().unwrap();
        requests.iter().filter(|(line, _)| line.starts_with("POST")).map(|(_, body)| body.clone()).collect()
    }

    /// Request lines of what was asked for.
    pub fn asked(&self) -> Vec<String> {
        let requests = self.requests.lock().unwrap();
        requests.iter().map(|(line, _)| line.clone()).filter(|line| line.starts_with("GET")).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: TcpStream, file: Vec<u8>, kept: Requests) {
    let mut received = Vec::new();
    let head = loop {
        if let Some(end) = received.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(&mut received).await.unwrap_or(0) == 0 {
            return;
        }
    };
    let text = String::from_utf8_lossy(&received[..head]).to_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:")).map_or("0", str::trim);
    let length: usize = length.parse().unwrap();
    while received.len() < head + length {
        if stream.read_buf(&mut received).await.unwrap_or(0) == 0 {
            return;
        }
    }
    let line = String::from_utf8_lossy(&received[..head]).lines().next().unwrap().to_owned();
    let status = if line.contains("missing.pem") { "404 Not Found" } else { "200 OK" };
    kept.lock().unwrap().push((line, received[head..].to_vec()));
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", file.len());
    let _ = stream.write_all(head.as_bytes()).await;
    let _ = stream.write_all(&file).await;
}
