//! The connection to clamd: `INSTREAM`, `VERSION` and `STATS` over a unix socket or TCP (clamd(8)).
//!
//! One connection for each command: clamd closes it after the reply to a `z` command. Over `StreamMaxLength` clamd answers
//! and closes while the gateway is still sending; the answer lies in the receive buffer, so that a write that fails ends
//! the sending and never hides the reply. The length of a reply and the time of a connection are bounded.
//! The protocol is three commands, and written here: a client library that goes on reading the object after the scanner
//! is gone would keep the scan from its next server.

use std::io;
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures::{Stream, StreamExt};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use super::config::ScannerAddress;
use super::error::InspectError;
use super::load::{Look, Threads};
use super::reply::{Reply, Version};

/// Longest reply that is read; clamd's are far shorter. What is cut off can never be the exact clean reply.
const MAX_REPLY: u64 = 4096;

/// Largest chunk written to clamd in one piece (measured in docs/decisions/0005-inspection.md).
const CHUNK: usize = 64 * 1024;

/// A clamd at an address.
#[derive(Clone, Debug)]
pub(super) struct Clamd {
    pub(super) address: ScannerAddress,
    pub(super) connect_timeout: Duration,
}

trait Line: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Line for T {}

impl Clamd {
    /// Sends the stream by `INSTREAM` and reads the answer. The caller bounds the time.
    pub(super) async fn scan(&self, stream: impl Stream<Item = Bytes>) -> Result<Reply, InspectError> {
        let mut line = self.connect().await.map_err(InspectError::ScannerAway)?;
        let sent = send(&mut line, stream).await;
        let mut reply = Vec::new();
        let read = line.take(MAX_REPLY).read_to_end(&mut reply).await;
        if reply.is_empty() {
            let silent = || io::Error::from(io::ErrorKind::UnexpectedEof);
            return Err(InspectError::ScannerLost(sent.and(read.map(drop)).err().unwrap_or_else(silent)));
        }
        Ok(Reply::parse(&reply)?)
    }

    /// The engine and its database.
    pub(super) async fn version(&self) -> Result<Version, InspectError> {
        let reply = self.command(b"zVERSION\0").await.map_err(InspectError::ScannerAway)?;
        Ok(Version::parse(&reply)?)
    }

    /// How its threads stand. Needs a thread itself, where `VERSION` needs none.
    pub(super) async fn look(&self) -> Look {
        match self.command(b"zSTATS\0").await {
            Ok(reply) => Threads::parse(&String::from_utf8_lossy(&reply)).map_or(Look::Untold, Look::Told),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => Look::Busy,
            Err(_) => Look::Untold,
        }
    }

    /// A short command and its whole reply, within the time for a connection.
    async fn command(&self, command: &[u8]) -> io::Result<Vec<u8>> {
        let call = async {
            let mut line = self.connect().await?;
            line.write_all(command).await?;
            let mut reply = Vec::new();
            line.take(MAX_REPLY).read_to_end(&mut reply).await?;
            if reply.is_empty() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(reply) }
        };
        tokio::time::timeout(self.connect_timeout, call).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    async fn connect(&self) -> io::Result<Box<dyn Line>> {
        let connecting = async {
            Ok::<Box<dyn Line>, io::Error>(match &self.address {
                ScannerAddress::Unix(path) => Box::new(UnixStream::connect(path).await?),
                ScannerAddress::Tcp(address) => {
                    let line = TcpStream::connect(address).await?;
                    // The empty chunk at the end would wait for the acknowledgement of what was sent before.
                    line.set_nodelay(true)?;
                    Box::new(line)
                }
            })
        };
        tokio::time::timeout(self.connect_timeout, connecting)
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }
}

/// Each chunk behind its length, then a chunk without any.
async fn send(line: &mut (impl AsyncWrite + Unpin), stream: impl Stream<Item = Bytes>) -> io::Result<()> {
    let mut stream = std::pin::pin!(stream);
    line.write_all(b"zINSTREAM\0").await?;
    while let Some(mut bytes) = stream.next().await {
        while !bytes.is_empty() {
            let chunk = bytes.split_to(bytes.len().min(CHUNK));
            // CHUNK fits.
            let length = (chunk.len() as u32).to_be_bytes();
            line.write_all_buf(&mut Buf::chain(length.as_slice(), chunk)).await?;
        }
    }
    line.write_all(&[0; 4]).await?;
    line.flush().await
}
