//! How the gateway's own keys are made: the first one of a purpose by the node that needs it, each next one by a rotation.

use secrecy::SecretSlice;

use super::access_token::{KeyError, SigningKey};
use super::token::random_text;
use crate::clock::Clock;
use crate::domain::audit::{AuditAction, AuditEntry, Outcome};
use crate::domain::ids::KeyId;
use crate::store::{GatewayKey, KeyPurpose, Store, StoreError};

/// Length of a key that people carry to another system: 43 characters of base 62 hold 256 bits.
const CARRIED: usize = 43;

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

/// A new key, to be used after `newest`.
///
/// # Errors
/// [`KeyError`] where the operating system has no randomness.
pub fn new_key(purpose: KeyPurpose, newest: Option<&GatewayKey>, clock: &Clock) -> Result<GatewayKey, KeyError> {
    let secret = match purpose {
        KeyPurpose::TokenSigning => SigningKey::generate()?,
        KeyPurpose::DpopNonce => clock.random::<32>().to_vec(),
        KeyPurpose::EventGrid => random_text(clock, CARRIED).into_bytes(),
    };
    let number = newest.map_or(1, |newest| newest.number + 1);
    Ok(GatewayKey { number, ..first_key(purpose, secret.into(), clock) })
}

/// The first key of a purpose, where the secret is there already.
pub fn first_key(purpose: KeyPurpose, secret: SecretSlice<u8>, clock: &Clock) -> GatewayKey {
    GatewayKey {
        id: KeyId::made(purpose.as_str(), clock.random()),
        purpose,
        number: 1,
        secret,
        created_at: clock.now(),
        accepted_until: None,
    }
}

/// The keys of a purpose, the one in use first. Where none is in use, because there has never been one or because it was
/// revoked, the next one is made.
///
/// # Errors
/// [`KeyringError`].
pub(super) async fn keys_in_use(
    store: &dyn Store,
    purpose: KeyPurpose,
    clock: &Clock,
) -> Result<Vec<GatewayKey>, KeyringError> {
    let keys = store.gateway_keys(purpose).await?;
    let newest = keys.first();
    if newest.is_some_and(GatewayKey::is_in_use) {
        return Ok(keys);
    }
    let key = new_key(purpose, newest, clock)?;
    let now = clock.now();
    let mut audit = AuditEntry::new(now, AuditAction::RotateKey, Outcome::Allowed);
    audit.detail = Some(match newest {
        None => format!("key {}, the first one for {}", key.id, purpose.as_str()),
        Some(revoked) => format!("key {} for {}; {} was revoked", key.id, purpose.as_str(), revoked.id),
    });
    // Where another node was faster, its key is in use.
    store.add_gateway_key(key, None, audit).await?;
    Ok(store.gateway_keys(purpose).await?)
}
