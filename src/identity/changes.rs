//! Whether any token has changed, asked for all of them together.
//!
//! The store keeps a value that is another one after each revocation and rotation ([`TOKENS_AS_OF`]). It is read at
//! most every [`MAX_AGE`], counted from the start of the read, by one caller at a time; where it is not as it was, a new
//! generation begins. The first read always begins one: what was before it is not known.

use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use tokio::sync::Mutex;

use super::freshness::{MAX_AGE, turn};
use crate::store::{Store, StoreError, TOKENS_AS_OF};

/// Counts the generations of tokens that this process has seen.
pub(super) struct Changes {
    store: Arc<dyn Store>,
    seen: ArcSwap<Seen>,
    /// One read at a time.
    gate: Mutex<()>,
}

struct Seen {
    generation: u64,
    /// When the last read began, and what it found; `None` before the first.
    found: Option<(Instant, Option<Vec<u8>>)>,
}

impl Changes {
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        Self { store, seen: ArcSwap::from_pointee(Seen { generation: 0, found: None }), gate: Mutex::new(()) }
    }

    /// The generation as it was known last, however long ago: to be taken before a token is read.
    pub(super) fn last_known(&self) -> u64 {
        self.seen.load().generation
    }

    /// The generation as of [`MAX_AGE`] ago at most.
    pub(super) async fn generation(&self) -> Result<u64, StoreError> {
        if let Some(generation) = self.fresh() {
            return Ok(generation);
        }
        let _turn = turn(&self.gate).await;
        if let Some(generation) = self.fresh() {
            return Ok(generation);
        }
        let read_at = Instant::now();
        let value = self.store.setting(TOKENS_AS_OF).await?;
        // A read that began later knows better.
        self.seen.rcu(|seen| match &seen.found {
            Some((at, _)) if *at >= read_at => Arc::clone(seen),
            before => {
                let same = before.as_ref().is_some_and(|(_, last)| *last == value);
                Arc::new(Seen { generation: seen.generation + u64::from(!same), found: Some((read_at, value.clone())) })
            }
        });
        Ok(self.last_known())
    }

    /// The generation, where it was read lately enough.
    fn fresh(&self) -> Option<u64> {
        let seen = self.seen.load();
        let (read_at, _) = seen.found.as_ref()?;
        (read_at.elapsed() < MAX_AGE).then_some(seen.generation)
    }
}
