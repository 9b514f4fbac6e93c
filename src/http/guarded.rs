//! A connection that nobody can hold for nothing.
//!
//! actix bounds the first request's head and an idle connection; what it leaves open is bounded here, whatever the peer
//! does: from the first byte of any request until its answer begins, and from the moment at which an answer does not fit
//! the socket until all of it has been taken. So a head that trickles in on a kept connection, a client that never reads
//! and a peer that vanished all end. One timer a connection, which is moved only when it rings: a request that is
//! answered in time costs no timer at all.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// From the first byte of a request until the first byte of its answer.
pub(super) const ANSWERED: Duration = Duration::from_secs(30);
/// From the first write that has to wait until the client has taken all of what was to be written.
pub(super) const TAKEN: Duration = Duration::from_secs(30);

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    /// That a request is complete and answered.
    Answer(Instant),
    /// That the peer reads.
    Taken(Instant),
}

/// A stream whose reads and writes fail once something is overdue.
pub(super) struct Guarded<T> {
    io: T,
    due: Option<Due>,
    alarm: Option<Pin<Box<Sleep>>>,
    answered: Duration,
    taken: Duration,
}

impl<T> Guarded<T> {
    /// Guards a fresh connection.
    pub(super) fn new(io: T) -> Self {
        Self { io, due: None, alarm: None, answered: ANSWERED, taken: TAKEN }
    }

    /// The connection itself.
    pub(super) fn get_ref(&self) -> &T {
        &self.io
    }

    /// The error where something is overdue; otherwise this task is woken when it is.
    fn overdue(&mut self, context: &mut Context<'_>) -> Option<io::Error> {
        let due = match self.due? {
            Due::Answer(due) | Due::Taken(due) => due,
        };
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(due)));
        if alarm.deadline() > due {
            alarm.as_mut().reset(due);
        }
        while alarm.as_mut().poll(context).is_ready() {
            if alarm.deadline() >= due {
                return Some(io::ErrorKind::TimedOut.into());
            }
            alarm.as_mut().reset(due);
        }
        None
    }

    /// What came of a write: where it has to wait, not for ever.
    fn written<R>(&mut self, context: &mut Context<'_>, result: Poll<io::Result<R>>) -> Poll<io::Result<R>> {
        match (&result, self.due) {
            (Poll::Ready(_), Some(Due::Answer(_))) => self.due = None,
            (Poll::Ready(_), _) => {}
            (Poll::Pending, due) => {
                if !matches!(due, Some(Due::Taken(_))) {
                    self.due = Some(Due::Taken(Instant::now() + self.taken));
                }
                if let Some(error) = self.overdue(context) {
                    return Poll::Ready(Err(error));
                }
            }
        }
        result
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Guarded<T> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let result = Pin::new(&mut this.io).poll_read(context, buf);
        if buf.filled().len() > before && this.due.is_none() {
            this.due = Some(Due::Answer(Instant::now() + this.answered));
        }
        if result.is_pending()
            && let Some(error) = this.overdue(context)
        {
            return Poll::Ready(Err(error));
        }
        result
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Guarded<T> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.io).poll_write(context, bytes);
        this.written(context, result)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.io).poll_write_vectored(context, slices);
        this.written(context, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    /// Called once everything was written, so that nothing has to be taken any more.
    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.io).poll_flush(context);
        match (&result, this.due) {
            (Poll::Ready(_), Some(Due::Taken(_))) => this.due = None,
            (Poll::Pending, _) => return this.written(context, result),
            _ => {}
        }
        result
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.io).poll_shutdown(context);
        this.written(context, result)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::time::sleep;

    use super::*;

    /// Both bounds, short enough to wait for.
    const BOUND: Duration = Duration::from_millis(400);

    /// A guarded end and its peer's, with room for 16 bytes in between.
    fn pair() -> (Guarded<DuplexStream>, DuplexStream) {
        let (ours, peer) = duplex(16);
        (Guarded { answered: BOUND, taken: BOUND, ..Guarded::new(ours) }, peer)
    }

    #[tokio::test]
    async fn an_idle_connection_is_left_to_the_server() {
        let (mut ours, mut peer) = pair();
        let talking = tokio::spawn(async move {
            sleep(BOUND * 2).await;
            peer.write_all(b"GET").await.unwrap();
            peer
        });
        ours.read_exact(&mut [0; 3]).await.unwrap();
        talking.await.unwrap();
    }

    #[tokio::test]
    async fn a_request_that_trickles_in_is_cut_off_and_each_answered_one_had_all_its_time() {
        let (mut ours, mut peer) = pair();
        for _ in 0..4 {
            peer.write_all(b"G").await.unwrap();
            ours.read_u8().await.unwrap();
            sleep(BOUND / 3).await;
            ours.write_all(b"answer").await.unwrap();
            ours.flush().await.unwrap();
            peer.read_exact(&mut [0; 6]).await.unwrap();
        }
        let began = Instant::now();
        let trickling = tokio::spawn(async move {
            while peer.write_all(b"x").await.is_ok() {
                sleep(BOUND / 10).await;
            }
        });
        let error = loop {
            if let Err(error) = ours.read_u8().await {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(began.elapsed() >= BOUND, "{:?}", began.elapsed());
        drop(ours);
        trickling.await.unwrap();
    }

    #[tokio::test]
    async fn a_client_that_never_reads_and_one_that_reads_too_slowly_are_cut_off() {
        for every in [Duration::from_secs(3600), BOUND / 10] {
            let (mut ours, mut peer) = pair();
            let reading = tokio::spawn(async move {
                loop {
                    sleep(every).await;
                    if peer.read_u8().await.is_err() {
                        return;
                    }
                }
            });
            let error = ours.write_all(&[0; 1000]).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
            reading.abort();
        }
    }

    #[tokio::test]
    async fn a_client_that_reads_in_time_gets_all_of_it() {
        let (mut ours, mut peer) = pair();
        let reading = tokio::spawn(async move {
            let mut all = Vec::new();
            peer.read_to_end(&mut all).await.unwrap();
            all.len()
        });
        for _ in 0..3 {
            ours.write_all(&[0; 1000]).await.unwrap();
            ours.flush().await.unwrap();
            sleep(BOUND * 2).await;
        }
        drop(ours);
        assert_eq!(reading.await.unwrap(), 3000);
    }
}
