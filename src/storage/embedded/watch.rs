//! A connection that knows whether anything moves on it.
//!
//! hyper bounds the time in which a request's head must arrive, and `super::receive` how long a body may pause; nothing
//! bounds a client that stops reading its answer. This wrapper counts bytes in both directions, so that a connection on
//! which nothing moves can be ended, unless it is the store itself that is at work.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// How long nothing may move.
const IDLE: Duration = Duration::from_secs(30);

/// Bytes that moved so far, and whether a request is being worked on.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    moved: AtomicU64,
    busy: AtomicBool,
}

/// While this lives, the connection waits for the store and not for the client. HTTP/1 has one request at a time.
pub(super) struct Busy(Progress);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.0.moved.fetch_add(1, Ordering::Relaxed);
        self.0.0.busy.store(false, Ordering::Relaxed);
    }
}

impl Progress {
    /// A request is being worked on.
    pub(super) fn busy(&self) -> Busy {
        self.0.busy.store(true, Ordering::Relaxed);
        Busy(self.clone())
    }

    /// Returns once nothing moved for thirty seconds, a minute at most.
    pub(super) async fn stalled(&self) {
        let mut last = self.0.moved.load(Ordering::Relaxed);
        loop {
            tokio::time::sleep(IDLE).await;
            let now = self.0.moved.load(Ordering::Relaxed);
            if now == last && !self.0.busy.load(Ordering::Relaxed) {
                return;
            }
            last = now;
        }
    }
}

/// A watched connection.
pub(super) struct Watched {
    stream: TcpStream,
    progress: Progress,
}

impl Watched {
    pub(super) fn new(stream: TcpStream) -> (Self, Progress) {
        let progress = Progress::default();
        (Self { stream, progress: progress.clone() }, progress)
    }

    fn moved(&self, bytes: usize) {
        self.progress.0.moved.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.moved(buf.filled().len() - before);
        polled
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        if let Poll::Ready(Ok(bytes)) = &polled {
            self.moved(*bytes);
        }
        polled
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        if let Poll::Ready(Ok(bytes)) = &polled {
            self.moved(*bytes);
        }
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
