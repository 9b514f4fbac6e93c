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

use super::authenticator::turn;
use super::dpop::NonceKeys;
use crate::clock::Clock;
use crate::domain::audit::{AuditAction, AuditEntry, Outcome};
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
    keys: Vec<(SecretSlice<u8>, Option<Timestamp>)>,
}

impl StoredNonceKeys {
    /// Reads the keys; makes the first one where there is none.
    ///
    /// # Errors
    /// [`StoreError`] where the store cannot be asked.
    pub async fn open(store: Arc<dyn Store>, clock: &Clock) -> Result<Self, StoreError> {
        let mut read = read(store.as_ref()).await?;
        if read.keys.is_empty() {
            let now = clock.now();
            let name = format!("nonce-1-{}", hex::encode(clock.random::<4>()));
            let id = name.parse().map_err(|_| StoreError::Corrupt(format!("'{name}' is no id of a key")))?;
            let mut audit = AuditEntry::new(now, AuditAction::RotateKey, Outcome::Allowed);
            audit.detail = Some(format!("key {name}, the first one for {}", KeyPurpose::DpopNonce.as_str()));
            let first = GatewayKey {
                id,
                purpose: KeyPurpose::DpopNonce,
                number: 1,
                secret: clock.random::<32>().to_vec().into(),
                created_at: now,
                accepted_until: None,
            };
            // Where another node was faster, its key is the first one.
            store.add_gateway_key(first, None, audit).await?;
            read = self::read(store.as_ref()).await?;
        }
        Ok(Self { store, read: ArcSwap::from_pointee(read), gate: Mutex::new(()) })
    }

    fn is_younger(&self, age: Duration) -> bool {
        self.read.load().at.elapsed() < age
    }
}

async fn read(store: &dyn Store) -> Result<Read, StoreError> {
    let at = Instant::now();
    let keys = store.gateway_keys(KeyPurpose::DpopNonce).await?;
    Ok(Read { at, keys: keys.into_iter().map(|key| (key.secret, key.accepted_until)).collect() })
}

#[async_trait]
impl NonceKeys for StoredNonceKeys {
    fn current(&self, now: Timestamp) -> Vec<SecretSlice<u8>> {
        let read = self.read.load();
        let accepted = read.keys.iter().filter(|(_, until)| until.is_none_or(|until| until > now));
        accepted.map(|(key, _)| key.clone()).collect()
    }

    async fn refresh(&self, age: Duration) -> Result<(), StoreError> {
        if self.is_younger(age) {
            return Ok(());
        }
        let _turn = turn(&self.gate).await;
        if !self.is_younger(age) {
            self.read.store(Arc::new(read(self.store.as_ref()).await?));
        }
        Ok(())
    }
}
