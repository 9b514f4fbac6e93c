//! A real clamd behind a relay that holds scans back until it is told to let them through.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::harness;

pub(super) struct SlowScanner {
    pub(super) address: String,
    open: watch::Sender<bool>,
}

impl SlowScanner {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("tcp:{}", listener.local_addr().unwrap());
        let (open, is_open) = watch::channel(false);
        tokio::spawn(async move {
            while let Ok((line, _)) = listener.accept().await {
                tokio::spawn(relay(line, is_open.clone()));
            }
        });
        Self { address, open }
    }

    /// Lets scans through, those that wait and later ones.
    pub(super) fn open(&self) {
        self.open.send_replace(true);
    }
}

async fn relay(mut line: TcpStream, mut open: watch::Receiver<bool>) {
    let mut command = Vec::new();
    while !command.ends_with(b"\0") {
        let Ok(byte) = line.read_u8().await else { return };
        command.push(byte);
    }
    if command == b"zINSTREAM\0" {
        let _ = open.wait_for(|open| *open).await;
    }
    let mut clamd = TcpStream::connect(harness::env("VESTIBULE_TEST_CLAMD_TCP")).await.unwrap();
    if clamd.write_all(&command).await.is_ok() {
        let _ = tokio::io::copy_bidirectional(&mut line, &mut clamd).await;
    }
}
