//! The keys with which the gateway signs access tokens: the one in use, and those before it while they are accepted.
//!
//! They lie in the database, the same for all nodes; the first node that needs one makes it, also after the one in use was
//! revoked. What was read is used for [`MAX_AGE`], so that a rotation is known everywhere within a second. A key that is not
//! accepted any more verifies nothing. Absent on purpose: rotating; that is an act of operators.

use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwapOption;
use jiff::Timestamp;
use secrecy::ExposeSecret;
use tokio::sync::Mutex;

use super::access_token::{KeyError, PublicJwk, SigningKey};
use super::freshness::{MAX_AGE, turn};
use super::gateway_keys::{KeyringError, keys_in_use};
use crate::clock::Clock;
use crate::domain::ids::KeyId;
use crate::store::{GatewayKey, KeyPurpose, Store};

/// The keys that sign access tokens. One for each process.
pub struct Keyring {
    store: Arc<dyn Store>,
    clock: Clock,
    read: ArcSwapOption<Read>,
    /// One read at a time.
    gate: Mutex<()>,
}

struct Read {
    at: Instant,
    /// The one in use first.
    keys: Vec<Known>,
}

struct Known {
    record: GatewayKey,
    key: Arc<SigningKey>,
}

impl Keyring {
    /// The keys of this database.
    pub fn new(store: Arc<dyn Store>, clock: Clock) -> Self {
        Self { store, clock, read: ArcSwapOption::empty(), gate: Mutex::new(()) }
    }

    /// The key to sign with; where none is in use, the next one is made.
    ///
    /// # Errors
    /// [`KeyringError`].
    pub async fn signing(&self) -> Result<Arc<SigningKey>, KeyringError> {
        let in_use = |read: &Read| {
            read.keys.first().filter(|known| known.record.is_in_use()).map(|known| Arc::clone(&known.key))
        };
        if let Some(key) = in_use(&*self.current().await?) {
            return Ok(key);
        }
        let at = Instant::now();
        let keys = keys_in_use(self.store.as_ref(), KeyPurpose::TokenSigning, &self.clock).await?;
        Ok(in_use(&*self.keep(at, keys)?).ok_or(KeyError)?)
    }

    /// The key with this id, where what it signed is still accepted, and until when where that has an end.
    ///
    /// # Errors
    /// [`KeyringError`].
    pub async fn accepted(&self, id: &KeyId) -> Result<Option<(Arc<SigningKey>, Option<Timestamp>)>, KeyringError> {
        let of = |read: &Read| {
            read.keys.iter().find(|known| known.record.id == *id).map(|Known { record, key }| {
                record.is_accepted(self.clock.now()).then(|| (Arc::clone(key), record.accepted_until))
            })
        };
        match of(&*self.current().await?) {
            Some(found) => Ok(found),
            // Another node may have made it a moment ago.
            None => Ok(of(&*self.read_again().await?).flatten()),
        }
    }

    /// The public halves of the accepted keys, the one in use first.
    ///
    /// # Errors
    /// [`KeyringError`].
    pub async fn public(&self) -> Result<Vec<PublicJwk>, KeyringError> {
        self.signing().await?;
        let (read, now) = (self.current().await?, self.clock.now());
        Ok(read.keys.iter().filter(|known| known.record.is_accepted(now)).map(|known| known.key.jwk()).collect())
    }

    async fn current(&self) -> Result<Arc<Read>, KeyringError> {
        if let Some(read) = self.fresh() {
            return Ok(read);
        }
        let _turn = turn(&self.gate).await;
        if let Some(read) = self.fresh() {
            return Ok(read);
        }
        self.read_again().await
    }

    fn fresh(&self) -> Option<Arc<Read>> {
        self.read.load_full().filter(|read| read.at.elapsed() < MAX_AGE)
    }

    async fn read_again(&self) -> Result<Arc<Read>, KeyringError> {
        let at = Instant::now();
        self.keep(at, self.store.gateway_keys(KeyPurpose::TokenSigning).await?)
    }

    fn keep(&self, at: Instant, records: Vec<GatewayKey>) -> Result<Arc<Read>, KeyringError> {
        let known = |record: GatewayKey| {
            let key = Arc::new(SigningKey::read(record.id.clone(), record.secret.expose_secret())?);
            Ok(Known { record, key })
        };
        let read = Arc::new(Read { at, keys: records.into_iter().map(known).collect::<Result<_, KeyError>>()? });
        self.read.store(Some(Arc::clone(&read)));
        Ok(read)
    }

    /// Forgets what was read, to be called after a key was revoked or rotated here.
    pub fn forget(&self) {
        self.read.store(None);
    }
}
