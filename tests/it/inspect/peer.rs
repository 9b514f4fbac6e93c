//! Listeners that answer as a broken clamd would. They know the protocol only as far as to answer `VERSION`.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use vestibule::worker::inspect::ScannerAddress;

const VERSION: &[u8] = b"ClamAV 1.4.6/27830/Fri Nov 20 09:00:00 2026\0";

/// A port on which nobody listens.
pub(super) async fn closed() -> ScannerAddress {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    ScannerAddress::Tcp(listener.local_addr().unwrap().to_string())
}

/// Reads the whole stream, then sends `reply` and closes; an empty reply hangs.
pub(super) async fn answering(reply: &'static [u8]) -> ScannerAddress {
    listen(move |mut line| async move {
        read_stream(&mut line, usize::MAX).await;
        if reply.is_empty() {
            std::future::pending::<()>().await;
        }
        drop(line.write_all(reply).await);
    })
    .await
}

/// Reads the whole stream and closes without a word.
pub(super) async fn closing() -> ScannerAddress {
    listen(|mut line| async move { read_stream(&mut line, usize::MAX).await }).await
}

/// Sends `reply` and closes once `limit` bytes have come.
pub(super) async fn stopping_after(limit: usize, reply: &'static [u8]) -> ScannerAddress {
    listen(move |mut line| async move {
        read_stream(&mut line, limit).await;
        drop(line.write_all(reply).await);
    })
    .await
}

/// Says of itself what it is told to, and of every stream that it is clean.
pub(super) async fn calling_itself(version: &'static [u8]) -> ScannerAddress {
    listen_as(version, |mut line| async move {
        read_stream(&mut line, usize::MAX).await;
        drop(line.write_all(b"stream: OK\0").await);
    })
    .await
}

async fn listen<F, T>(serve: F) -> ScannerAddress
where
    F: Fn(TcpStream) -> T + Clone + Send + 'static,
    T: Future<Output = ()> + Send,
{
    listen_as(VERSION, serve).await
}

async fn listen_as<F, T>(version: &'static [u8], serve: F) -> ScannerAddress
where
    F: Fn(TcpStream) -> T + Clone + Send + 'static,
    T: Future<Output = ()> + Send,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = ScannerAddress::Tcp(listener.local_addr().unwrap().to_string());
    tokio::spawn(async move {
        while let Ok((mut line, _)) = listener.accept().await {
            let serve = serve.clone();
            tokio::spawn(async move {
                let mut command = Vec::new();
                while !command.ends_with(b"\0") {
                    command.push(line.read_u8().await.unwrap_or(0));
                }
                match command.as_slice() {
                    b"zVERSION\0" => drop(line.write_all(version).await),
                    _ => serve(line).await,
                }
            });
        }
    });
    address
}

/// Reads length-prefixed chunks up to the empty one, or until `limit` bytes.
async fn read_stream(line: &mut TcpStream, limit: usize) {
    let mut total = 0;
    while let Ok(length) = line.read_u32().await {
        if length == 0 || total > limit {
            return;
        }
        let mut chunk = vec![0; length as usize];
        if line.read_exact(&mut chunk).await.is_err() {
            return;
        }
        total += chunk.len();
    }
}
