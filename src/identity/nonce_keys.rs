//! The keys of nonces: in the database, the same for all nodes, made by the first node that starts, rotated by operators.
//!
//! What was read is used for some seconds. A nonce that fits none of them may be by a key that another node has read already,
//! so that then the keys are read again, at most twice a second however many such nonces come.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use jiff::Timestamp;
use secrecy::SecretSlice;
use tokio::sync::Mutex;

use super::dpop::NonceKeys;
use super::freshness::turn;
use super::gateway_keys::{KeyringError, keys_in_use};
use crate::clock::Clock;
use crate::store::{GatewayKey, KeyPurpose, Store, StoreError};

/// The keys of the database.
pub struct StoredNonceKeys {
    store: Arc<dyn Store>,
    read: ArcSwap<Read>,
    /// One read at a time.
    gate: Mutex<()>,
}

struct Read {
    at: Instant,
    /// The one in use first.
    keys: Vec<GatewayKey>,
}

impl StoredNonceKeys {
    /// Reads the keys; makes the first one where there is none.
    ///
    /// # Errors
    /// [`KeyringError`] where the store cannot be asked, or no key can be made.
    pub async fn open(store: Arc<dyn Store>, clock: &Clock) -> Result<Self, KeyringError> {
        let at = Instant::now();
        let keys = keys_in_use(store.as_ref(), KeyPurpose::DpopNonce, clock).await?;
        Ok(Self { store, read: ArcSwap::from_pointee(Read { at, keys }), gate: Mutex::new(()) })
    }

    fn is_younger(&self, age: Duration) -> bool {
        self.read.load().at.elapsed() < age
    }
}

#[async_trait]
impl NonceKeys for StoredNonceKeys {
    fn current(&self, now: Timestamp) -> Vec<SecretSlice<u8>> {
        let read = self.read.load();
        read.keys.iter().filter(|key| key.is_accepted(now)).map(|key| key.secret.clone()).collect()
    }

    async fn refresh(&self, age: Duration) -> Result<(), StoreError> {
        if self.is_younger(age) {
            return Ok(());
        }
        let _turn = turn(&self.gate).await;
        if !self.is_younger(age) {
            let at = Instant::now();
            let keys = self.store.gateway_keys(KeyPurpose::DpopNonce).await?;
            self.read.store(Arc::new(Read { at, keys }));
        }
        Ok(())
    }
}
