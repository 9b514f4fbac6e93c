//! The gateway's own keys: which there are, and how a new one takes the place of the one in use.
//!
//! A rotation makes the next key, which is used at once on every node; what the one before it made is accepted until the
//! window ends. No restart, and nobody sees a key but whoever must carry it to another system: Event Grid's. A key of the
//! configuration counts as the first one, so that its window ends too.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret, SecretString};

use crate::domain::admin::AdminAct;
use crate::domain::audit::{AuditAction, AuditEntry, Outcome};
use crate::domain::bytes::Sha256Digest;
use crate::domain::ids::KeyId;
use crate::domain::principal::Operator;
use crate::domain::refusal::{Reason, Refusal};
use crate::identity::{first_key, new_key};
use crate::store::{GatewayKey, KeyPurpose, StoreError};

use super::authenticate::may;
use super::exchange::no_key;
use super::failure::Refused;
use super::{App, RequestContext};

/// Longest window: a key that is to be replaced is not good for ever.
const LONGEST_WINDOW: Duration = Duration::from_secs(90 * 86_400);

/// What a rotation has made.
pub struct RotatedKey {
    /// The key in use from now on.
    pub key: GatewayKey,
    /// The one before, and until when it is accepted.
    pub previous: Option<(KeyId, Timestamp)>,
    /// The key as text, where somebody has to carry it to another system; shown once.
    pub secret: Option<SecretString>,
}

/// How long what the key before made is accepted, where nobody says: longer than anything that it made lives.
fn usual_window(purpose: KeyPurpose) -> Duration {
    match purpose {
        KeyPurpose::TokenSigning => Duration::from_secs(3600),
        KeyPurpose::DpopNonce => Duration::from_secs(600),
        KeyPurpose::EventGrid => Duration::from_secs(86_400),
    }
}

impl App {
    /// Every key of the gateway, without its secret, by purpose and the one in use first.
    ///
    /// # Errors
    /// The refusal, recorded.
    pub async fn list_keys(&self, context: &RequestContext, who: &Operator) -> Result<Vec<GatewayKey>, Refusal> {
        let audit = context.entry(self.clock.now(), AuditAction::ListKeys, Outcome::Allowed, 200).by_operator(who);
        self.store.audit(audit).await?;
        let mut all = Vec::new();
        for purpose in KeyPurpose::ALL {
            all.extend(self.store.gateway_keys(purpose).await?);
        }
        Ok(all)
    }

    /// Puts a new key in the place of the one in use; every node takes it within a second.
    ///
    /// # Errors
    /// The refusal, recorded.
    pub async fn rotate_key(
        &self,
        context: &RequestContext,
        who: &Operator,
        asked: Result<(KeyPurpose, Option<Duration>), Refusal>,
    ) -> Result<RotatedKey, Refusal> {
        match self.try_rotate_key(context, who, asked).await {
            Ok(rotated) => Ok(rotated),
            Err(refusal) => {
                Err(self.refuse(context, Refused::Operator(who), AuditAction::RotateKey, None, refusal).await)
            }
        }
    }

    async fn try_rotate_key(
        &self,
        context: &RequestContext,
        who: &Operator,
        asked: Result<(KeyPurpose, Option<Duration>), Refusal>,
    ) -> Result<RotatedKey, Refusal> {
        may(who, AdminAct::Administer)?;
        let (purpose, window) = asked?;
        let window = window.unwrap_or_else(|| usual_window(purpose));
        if window > LONGEST_WINDOW {
            let detail = format!("window: at most {} days.", LONGEST_WINDOW.as_secs() / 86_400);
            return Err(Refusal::new(Reason::InvalidField, detail).limit(LONGEST_WINDOW.as_secs()));
        }
        let now = self.clock.now();
        let ends = now.saturating_add(SignedDuration::try_from(window).unwrap_or(SignedDuration::MAX)).unwrap_or(now);
        let entry = || context.entry(now, AuditAction::RotateKey, Outcome::Allowed, 201).by_operator(who);
        let mut newest = self.store.gateway_keys(purpose).await?.into_iter().next();
        if newest.is_none()
            && purpose == KeyPurpose::EventGrid
            && let Some(configured) = &self.settings.event_grid_key
        {
            let key = first_key(purpose, configured.expose_secret().as_bytes().to_vec().into(), &self.clock);
            self.save_key(&key, None, entry(), "taken over from the configuration").await?;
            newest = Some(key);
        }
        let key = new_key(purpose, newest.as_ref(), &self.clock).map_err(|error| no_key(error.into()))?;
        // One that was revoked has ended: nothing of it is accepted any more.
        let previous = newest.filter(GatewayKey::is_in_use);
        let what = match &previous {
            Some(_) => format!("the one before is accepted until {ends}"),
            None => "none before it is in use".to_owned(),
        };
        self.save_key(&key, Some(ends), entry(), &what).await?;
        let secret = (purpose == KeyPurpose::EventGrid)
            .then(|| SecretString::from(String::from_utf8_lossy(key.secret.expose_secret()).into_owned()));
        Ok(RotatedKey { key, previous: previous.map(|key| (key.id, ends)), secret })
    }

    async fn save_key(
        &self,
        key: &GatewayKey,
        previous_until: Option<Timestamp>,
        mut audit: AuditEntry,
        what: &str,
    ) -> Result<(), Refusal> {
        audit.detail = Some(format!("key {} for {}; {what}", key.id, key.purpose.as_str()));
        if self.store.add_gateway_key(key.clone(), previous_until, audit).await? {
            self.authenticator.keys().forget();
            return Ok(());
        }
        let detail = "Somebody else rotated this key at the same moment. Look at the keys, and try again if need be.";
        Err(Refusal::new(Reason::StateConflict, detail))
    }

    /// The digests of what Event Grid may send to prove that it is ours; none where the endpoint is closed.
    ///
    /// # Errors
    /// [`StoreError`] where the store could not be asked.
    pub async fn event_grid_keys(&self) -> Result<Vec<Sha256Digest>, StoreError> {
        let now = self.clock.now();
        let keys = self.store.gateway_keys(KeyPurpose::EventGrid).await?;
        if keys.is_empty() {
            let configured = self.settings.event_grid_key.iter();
            return Ok(configured.map(|key| Sha256Digest::of(key.expose_secret().as_bytes())).collect());
        }
        let accepted = keys.iter().filter(|key| key.is_accepted(now));
        Ok(accepted.map(|key| Sha256Digest::of(key.secret.expose_secret())).collect())
    }
}
