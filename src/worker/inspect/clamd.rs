//! The connection to clamd: `INSTREAM`, `VERSION` and `STATS` over a unix socket or TCP.
//!
//! `clamav-client` speaks the protocol; what it lacks is added here: a bound on the connection time, a bound on the
//! length of a reply, and reading the reply although a write failed. (Over `StreamMaxLength` clamd answers and closes
//! while the gateway is still sending; the answer lies in the receive buffer, and the write that meets the closed
//! connection must not hide it.) One connection per command: clamd closes it after the reply to a `z` command.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use clamav_client::tokio::TransportProtocol;
use futures::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use super::config::ScannerAddress;
use super::error::InspectError;
use super::reply::{Reply, Version};

/// Longest reply that is read; clamd's are far shorter. What is cut off can never be the exact clean reply.
const MAX_REPLY: usize = 4096;

/// Largest chunk written to clamd in one piece (measured in docs/decisions/0005-inspection.md).
const CHUNK: usize = 64 * 1024;

/// A clamd at an address.
#[derive(Clone, Debug)]
pub(super) struct Clamd {
    pub(super) address: ScannerAddress,
    pub(super) connect_timeout: Duration,
}

impl Clamd {
    /// Sends the stream by `INSTREAM` and reads the answer. The caller bounds the time.
    pub(super) async fn scan(&self, stream: impl Stream<Item = io::Result<Bytes>>) -> Result<Reply, InspectError> {
        let bytes = clamav_client::tokio::scan_stream(stream, self, Some(CHUNK)).await.map_err(away)?;
        if bytes.is_empty() {
            return Err(away(io::ErrorKind::UnexpectedEof.into()));
        }
        Ok(Reply::parse(&bytes)?)
    }

    /// The engine and its database.
    pub(super) async fn version(&self) -> Result<Version, InspectError> {
        let bytes = self.bounded(clamav_client::tokio::get_version(self)).await?;
        Ok(Version::parse(&bytes)?)
    }

    /// clamd's `MaxThreads`, as `STATS` tells it (`THREADS: live 1  idle 0 max 8 idle-timeout 30`).
    pub(super) async fn max_threads(&self) -> Result<Option<usize>, InspectError> {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let bytes = self
            .bounded(async {
                let mut line = self.connect().await?;
                line.write_all(b"zSTATS\0").await?;
                let mut reply = Vec::new();
                line.read_to_end(&mut reply).await?;
                Ok(reply)
            })
            .await?;
        let text = String::from_utf8_lossy(&bytes);
        let threads = text.lines().find_map(|line| line.strip_prefix("THREADS:"));
        let mut words = threads.unwrap_or_default().split_whitespace().skip_while(|word| *word != "max").skip(1);
        Ok(words.next().and_then(|word| word.parse().ok()))
    }

    async fn bounded(&self, call: impl Future<Output = io::Result<Vec<u8>>>) -> Result<Vec<u8>, InspectError> {
        match tokio::time::timeout(self.connect_timeout, call).await {
            Ok(answer) => answer.map_err(away),
            Err(_) => Err(InspectError::ScannerTimeout(self.connect_timeout)),
        }
    }
}

fn away(error: io::Error) -> InspectError {
    InspectError::ScannerAway(error)
}

impl TransportProtocol for Clamd {
    type Stream = Line;

    async fn connect(&self) -> io::Result<Line> {
        let connecting = async {
            Ok(match &self.address {
                ScannerAddress::Unix(path) => Line::new(Socket::Unix(UnixStream::connect(path).await?)),
                ScannerAddress::Tcp(address) => Line::new(Socket::Tcp(TcpStream::connect(address).await?)),
            })
        };
        tokio::time::timeout(self.connect_timeout, connecting)
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }
}

enum Socket {
    Unix(UnixStream),
    Tcp(TcpStream),
}

/// A connection whose writes never fail once the peer has closed it, so that its reply is read, and whose reply ends
/// after [`MAX_REPLY`] bytes.
pub(super) struct Line {
    socket: Socket,
    deaf: bool,
    replied: usize,
}

impl Line {
    fn new(socket: Socket) -> Self {
        Self { socket, deaf: false, replied: 0 }
    }

    fn forgiving(&mut self, length: usize, result: io::Result<usize>) -> Poll<io::Result<usize>> {
        match result {
            Err(error) if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) => {
                self.deaf = true;
                Poll::Ready(Ok(length))
            }
            other => Poll::Ready(other),
        }
    }
}

impl AsyncRead for Line {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let line = &mut *self;
        let room = (MAX_REPLY - line.replied).min(buf.remaining());
        if room == 0 {
            return Poll::Ready(Ok(()));
        }
        let mut part = buf.take(room);
        let result = ready!(match &mut line.socket {
            Socket::Unix(socket) => Pin::new(socket).poll_read(cx, &mut part),
            Socket::Tcp(socket) => Pin::new(socket).poll_read(cx, &mut part),
        });
        let read = part.filled().len();
        line.replied += read;
        // `part` borrowed the unfilled end of `buf` and initialised exactly `read` bytes of it; copying them over
        // again is the price of doing without unsafe code.
        let copy = part.filled().to_vec();
        buf.put_slice(&copy);
        match result {
            // The reply was read before the reset came.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset && line.replied > 0 => Poll::Ready(Ok(())),
            other => Poll::Ready(other),
        }
    }
}

impl AsyncWrite for Line {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let line = &mut *self;
        if line.deaf {
            return Poll::Ready(Ok(bytes.len()));
        }
        let result = ready!(match &mut line.socket {
            Socket::Unix(socket) => Pin::new(socket).poll_write(cx, bytes),
            Socket::Tcp(socket) => Pin::new(socket).poll_write(cx, bytes),
        });
        line.forgiving(bytes.len(), result)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let line = &mut *self;
        if line.deaf {
            return Poll::Ready(Ok(()));
        }
        let result = ready!(match &mut line.socket {
            Socket::Unix(socket) => Pin::new(socket).poll_flush(cx),
            Socket::Tcp(socket) => Pin::new(socket).poll_flush(cx),
        });
        line.forgiving(0, result.map(|()| 0)).map_ok(|_| ())
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.socket {
            Socket::Unix(socket) => Pin::new(socket).poll_shutdown(cx),
            Socket::Tcp(socket) => Pin::new(socket).poll_shutdown(cx),
        }
    }
}
