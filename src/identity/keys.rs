//! The keys with which the gateway signs access tokens: the one in use, and those before it while they are accepted.
//!
//! They lie in the database, the same for all nodes; the first node that needs one makes it. What was read is used for
//! [`MAX_AGE`], so that a rotation is known everywhere within a second. A key that is not accepted any more verifies
//! nothing. Absent on purpose: rotating; that is an act of operators.

use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwapOption;
use jiff::Timestamp;
use secrecy::ExposeSecret;
use tokio::sync::Mutex;

use super::access_token::{KEY_PREFIX, KeyError, PublicJwk, SigningKey};
use super::authenticator::{MAX_AGE, turn};
use crate::clock::Clock;
use crate::domain::audit::{AuditAction, AuditEntry, Outcome};
use crate::domain::ids::KeyId;
use crate::store::{GatewayKey, KeyPurpose, Store, StoreError};

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// Nobody could look.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What lies there is no key, or none can be made.
    #[error(transparent)]
    Key(#[from] KeyError),
}

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
    key: Arc<SigningKey>,
    accepted_until: Option<Timestamp>,
}

impl Known {
    fn is_accepted(&self, now: Timestamp) -> bool {
        self.accepted_until.is_none_or(|until| until > now)
    }
}

impl Keyring {
    /// The keys of this database.
    pub fn new(store: Arc<dyn Store>, clock: Clock) -> Self {
        Self { store, clock, read: ArcSwapOption::empty(), gate: Mutex::new(()) }
    }

    /// The key to sign with; where there is none yet, it is made.
    ///
    /// # Errors
    /// [`KeyringError`].
    pub async fn signing(&self) -> Result<Arc<SigningKey>, KeyringError> {
        if let Some(known) = self.current().await?.keys.first() {
            return Ok(Arc::clone(&known.key));
        }
        let now = self.clock.now();
        let random: [u8; 4] = self.clock.random();
        let id: KeyId = format!("{KEY_PREFIX}1-{}", hex::encode(random)).parse().map_err(|_| KeyError)?;
        let mut audit = AuditEntry::new(now, AuditAction::RotateKey, Outcome::Allowed);
        audit.detail = Some(format!("key {id}, the first one for {}", KeyPurpose::TokenSigning.as_str()));
        let first = GatewayKey {
            id,
            purpose: KeyPurpose::TokenSigning,
            number: 1,
            secret: SigningKey::generate()?.into(),
            created_at: now,
            accepted_until: None,
        };
        // Where another node was faster, its key is the first one.
        self.store.add_gateway_key(first, None, audit).await?;
        let read = self.read_again().await?;
        Ok(read.keys.first().map(|known| Arc::clone(&known.key)).ok_or(KeyError)?)
    }

    /// The key with this id, where what it signed is still accepted.
    ///
    /// # Errors
    /// [`KeyringError`].
    pub async fn accepted(&self, id: &KeyId) -> Result<Option<Arc<SigningKey>>, KeyringError> {
        let of = |read: &Read| {
            read.keys
                .iter()
                .find(|known| known.key.id() == id)
                .map(|known| known.is_accepted(self.clock.now()).then(|| Arc::clone(&known.key)))
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
        Ok(read.keys.iter().filter(|known| known.is_accepted(now)).map(|known| known.key.jwk()).collect())
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
        let mut keys = Vec::new();
        for key in self.store.gateway_keys(KeyPurpose::TokenSigning).await? {
            let signing = SigningKey::read(key.id, key.secret.expose_secret())?;
            keys.push(Known { key: Arc::new(signing), accepted_until: key.accepted_until });
        }
        let read = Arc::new(Read { at, keys });
        self.read.store(Some(Arc::clone(&read)));
        Ok(read)
    }
}
