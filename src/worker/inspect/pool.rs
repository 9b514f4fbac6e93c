//! The clamd servers, and the slots that each has.
//!
//! A scan gets the server with the fewest scans for its slots; where that is the same, the one with the fewest bytes on
//! their way. A server that does not answer is left out until it answers again; only where none answers is one tried all
//! the same, since somebody has to find out. A slot is given back when it is dropped, so that no scan that ends early
//! keeps it. Deliberately absent: asking the servers; the inspector does that and notes here what it found.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

use super::VERSION_AGE;
use super::clamd::Clamd;
use super::config::{Concurrency, ScannerConfig};
use super::error::InspectError;
use super::load::{Look, next_limit};
use super::reply::Version;

/// One clamd.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) clamd: Clamd,
    version: tokio::sync::Mutex<Option<(Instant, Version)>>,
}

impl Server {
    /// What it says of itself, not older than [`VERSION_AGE`].
    pub(super) async fn version(&self) -> Result<Version, InspectError> {
        let mut cached = self.version.lock().await;
        match &*cached {
            Some((at, version)) if at.elapsed() < VERSION_AGE => Ok(version.clone()),
            _ => self.fetch(&mut cached).await,
        }
    }

    /// What it says of itself, now.
    pub(super) async fn ask(&self) -> Result<Version, InspectError> {
        self.fetch(&mut *self.version.lock().await).await
    }

    async fn fetch(&self, cached: &mut Option<(Instant, Version)>) -> Result<Version, InspectError> {
        *cached = None;
        let version = self.clamd.version().await?;
        *cached = Some((Instant::now(), version.clone()));
        Ok(version)
    }
}

/// How one server is used.
#[derive(Clone, Copy, Debug)]
pub(super) struct Use {
    /// Whether it answered last time; believed of a server that was never asked.
    pub(super) answers: bool,
    /// Scans that it may get at the same time.
    pub(super) limit: usize,
    /// Scans that it has.
    pub(super) scans: usize,
    /// Bytes of the objects that it scans.
    bytes: u64,
    /// Whether `limit` was told by the server.
    told: bool,
}

/// All servers.
#[derive(Debug)]
pub(super) struct Pool {
    servers: Vec<Server>,
    // A std Mutex, because nothing awaits while it is held.
    uses: Mutex<Vec<Use>>,
    changed: Notify,
}

impl Pool {
    pub(super) fn new(config: &ScannerConfig) -> Self {
        let (limit, told) = match config.concurrency {
            // One at a time, until it has told how many threads it has.
            Concurrency::Auto => (1, false),
            Concurrency::Fixed(limit) => (limit.max(1), true),
        };
        let servers: Vec<_> = config
            .addresses
            .iter()
            .map(|address| Server {
                clamd: Clamd { address: address.clone(), connect_timeout: config.connect_timeout },
                version: tokio::sync::Mutex::default(),
            })
            .collect();
        let uses = vec![Use { answers: true, limit, scans: 0, bytes: 0, told }; servers.len()];
        Self { servers, uses: Mutex::new(uses), changed: Notify::new() }
    }

    pub(super) fn servers(&self) -> &[Server] {
        &self.servers
    }

    /// How each server is used at the moment, in their order.
    pub(super) fn uses(&self) -> MutexGuard<'_, Vec<Use>> {
        self.uses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Slots of the servers that answer; `None` where none answers.
    pub(super) fn width(&self) -> Option<usize> {
        let uses = self.uses();
        let answering = uses.iter().filter(|one| one.answers);
        answering.map(|one| one.limit).reduce(usize::saturating_add)
    }

    /// Waits for a slot on a server that is not among `tried`. `None` where all were.
    pub(super) async fn take(&self, tried: &[usize], bytes: u64) -> Option<Slot<'_>> {
        loop {
            // Made before the look, so that no change in between is missed.
            let changed = self.changed.notified();
            {
                let mut uses = self.uses();
                let untried = || uses.iter().enumerate().filter(|(index, _)| !tried.contains(index));
                let answers = untried().any(|(_, one)| one.answers);
                untried().next()?;
                let free = untried().filter(|(_, one)| one.answers == answers && one.scans < one.limit);
                if let Some((index, _)) = free.min_by(|(_, one), (_, other)| by_load(one, other)) {
                    uses[index].scans += 1;
                    uses[index].bytes += bytes;
                    return Some(Slot { pool: self, index, bytes, answered: answers });
                }
            }
            changed.await;
        }
    }

    /// Notes whether a server answers. `true` where that is new.
    pub(super) fn note(&self, index: usize, answers: bool) -> bool {
        let before = std::mem::replace(&mut self.uses()[index].answers, answers);
        if before != answers {
            self.changed.notify_waiters();
        }
        before != answers
    }

    /// Adapts a server's slots to what a look at it showed.
    pub(super) fn adapt(&self, index: usize, look: Look) {
        let mut uses = self.uses();
        let one = &mut uses[index];
        one.limit = next_limit(one.told.then_some(one.limit), look);
        one.told = true;
        drop(uses);
        self.changed.notify_waiters();
    }

    /// Waits until a server no longer answers while another does.
    pub(super) async fn left_behind(&self, index: usize) {
        loop {
            let changed = self.changed.notified();
            let (here, elsewhere) = {
                let uses = self.uses();
                (uses[index].answers, uses.iter().any(|one| one.answers))
            };
            if !here && elsewhere {
                return;
            }
            changed.await;
        }
    }
}

/// The fewest scans for its slots first.
fn by_load(one: &Use, other: &Use) -> std::cmp::Ordering {
    let scans = (one.scans * other.limit).cmp(&(other.scans * one.limit));
    scans.then(one.bytes.cmp(&other.bytes))
}

/// The right to one scan on one server.
#[derive(Debug)]
pub(super) struct Slot<'a> {
    pool: &'a Pool,
    index: usize,
    bytes: u64,
    /// Whether the server answered when the slot was taken.
    pub(super) answered: bool,
}

impl Slot<'_> {
    /// The server's place in the list.
    pub(super) fn index(&self) -> usize {
        self.index
    }

    pub(super) fn server(&self) -> &Server {
        &self.pool.servers[self.index]
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        let mut uses = self.pool.uses();
        uses[self.index].scans -= 1;
        uses[self.index].bytes -= self.bytes;
        drop(uses);
        self.pool.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(concurrency: Concurrency, servers: usize) -> Pool {
        let addresses = (1..=servers).map(|port| format!("tcp:127.0.0.1:{port}").parse().unwrap()).collect();
        Pool::new(&ScannerConfig { concurrency, ..ScannerConfig::on(addresses) })
    }

    async fn index(pool: &Pool, tried: &[usize], bytes: u64) -> usize {
        let slot = pool.take(tried, bytes).await.unwrap();
        let index = slot.index();
        std::mem::forget(slot);
        index
    }

    #[tokio::test]
    async fn a_scan_goes_where_the_fewest_are_for_the_slots_and_then_where_the_fewest_bytes_are() {
        let pool = pool(Concurrency::Fixed(2), 2);
        pool.uses()[1].limit = 4;
        assert_eq!(index(&pool, &[], 100).await, 0, "nothing anywhere: the first");
        assert_eq!(index(&pool, &[], 100).await, 1);
        assert_eq!(index(&pool, &[], 1).await, 1, "a quarter is less than a half");
        pool.uses()[1].bytes = 5;
        assert_eq!(index(&pool, &[], 1).await, 1, "half and half: fewer bytes");
        assert_eq!(index(&pool, &[1], 1).await, 0, "not where it was tried");
        assert!(pool.take(&[0, 1], 1).await.is_none());
    }

    #[tokio::test]
    async fn a_server_that_is_away_is_left_out_unless_all_are() {
        let pool = pool(Concurrency::Fixed(1), 2);
        assert_eq!(pool.width(), Some(2));
        assert!(pool.note(0, false) && !pool.note(0, false));
        assert_eq!(pool.width(), Some(1));
        let slot = pool.take(&[], 1).await.unwrap();
        assert!((slot.index(), slot.answered) == (1, true));
        pool.left_behind(0).await;
        pool.note(1, false);
        assert_eq!(pool.width(), None);
        let other = pool.take(&[], 1).await.unwrap();
        assert!((other.index(), other.answered) == (0, false));
    }

    #[tokio::test]
    async fn who_waits_for_a_slot_gets_the_first_that_is_given_back_or_added() {
        let pool = pool(Concurrency::Auto, 1);
        let first = pool.take(&[], 1).await.unwrap();
        let give_back = async {
            tokio::task::yield_now().await;
            drop(first);
        };
        let (second, ()) = tokio::join!(pool.take(&[], 1), give_back);
        let grow = async {
            tokio::task::yield_now().await;
            pool.adapt(0, Look::Untold);
        };
        let (third, ()) = tokio::join!(pool.take(&[], 1), grow);
        assert!(second.is_some() && third.is_some());
        let one = pool.uses()[0];
        assert_eq!((one.scans, one.limit), (2, 4));
    }
}
