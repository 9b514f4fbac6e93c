//! From a presented token to a principal, with a short-lived cache before the store.
//!
//! What was read may be used for [`MAX_AGE`], counted from the *start* of the read, so that a revocation by any process
//! is effective everywhere within a second (P7) however slow the read was. After that it may be used for as long again as
//! the store says that no token has changed since, which is one read for all tokens together. A revocation by this
//! process is effective at once. Secrets are compared on every call, cached or not. A store that is away refuses everybody
//! (P6).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use moka::sync::Cache;
use tokio::sync::{Mutex, MutexGuard};

use super::changes::Changes;
use super::token::{self, Identity, PresentedToken, Token, TokenKind};
use super::wrong_secrets::{WrongSecretCounter, WrongSecrets};
use crate::clock::Clock;
use crate::domain::ids::TokenId;
use crate::domain::principal::{Operator, Principal};
use crate::domain::refusal::{Reason, Refusal};
use crate::store::{Store, StoreError, TokenRecord};

/// How long a token's record, or that no token has changed, is believed without asking the store again.
pub const MAX_AGE: Duration = Duration::from_millis(500);
/// How long a token's record is used at most, for what changes a table behind the gateway's back.
const LONGEST: Duration = Duration::from_secs(60);
/// Tokens that are remembered at most, unknown ones included.
const CAPACITY: u64 = 20_000;
/// How long a look-up waits for another one of the same before it goes by itself.
const PATIENCE: Duration = Duration::from_millis(50);

/// Why nobody was authenticated.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// The token is not accepted.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Nobody could look.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Checks tokens. One for each process, shared by both listeners.
pub struct Authenticator {
    store: Arc<dyn Store>,
    clock: Clock,
    cache: Cache<TokenId, Arc<Remembered>>,
    /// One look-up at a time for each token.
    gates: Cache<TokenId, Arc<Mutex<()>>>,
    changes: Changes,
    /// Counts the revocations of this process: what was read before the last one is not remembered.
    revocations: AtomicU64,
    wrong_secrets: WrongSecretCounter,
}

/// What a read has found.
struct Remembered {
    read_at: Instant,
    /// The generation of tokens before the read.
    generation: u64,
    found: Option<Known>,
}

struct Known {
    record: TokenRecord,
    who: Who,
}

/// An [`Identity`] that is cheap to hand out.
enum Who {
    Workflow(Arc<Principal>),
    Operator(Operator),
}

impl Authenticator {
    /// An authenticator in front of `store`.
    pub fn new(store: Arc<dyn Store>, clock: Clock) -> Self {
        Self {
            changes: Changes::new(store.clone()),
            store,
            clock,
            cache: Cache::builder().max_capacity(CAPACITY).time_to_live(LONGEST).build(),
            gates: Cache::builder().max_capacity(CAPACITY).time_to_idle(Duration::from_secs(60)).build(),
            revocations: AtomicU64::new(0),
            wrong_secrets: WrongSecretCounter::default(),
        }
    }

    /// The workflow whose token this is.
    ///
    /// # Errors
    /// [`AuthError::Refused`] with `token_invalid`, `token_expired` or `token_revoked`; [`AuthError::Store`] where the
    /// store could not be asked.
    pub async fn workflow(&self, presented: &str) -> Result<Arc<Principal>, AuthError> {
        let presented = parse(presented)?;
        if presented.kind == TokenKind::Operator {
            let detail = "this is an operator's token; send the workflow's, which starts with vst_live_ or vst_test_";
            return Err(Refusal::new(Reason::TokenInvalid, detail).into());
        }
        let remembered = self.look_up(&presented.id).await?;
        match &self.known(&presented, &remembered)?.who {
            Who::Workflow(principal) => Ok(principal.clone()),
            Who::Operator(_) => Err(token::invalid().into()),
        }
    }

    /// The operator whose token this is.
    ///
    /// # Errors
    /// As for [`Authenticator::workflow`].
    pub async fn operator(&self, presented: &str) -> Result<Operator, AuthError> {
        let presented = parse(presented)?;
        if presented.kind != TokenKind::Operator {
            let detail = "this is a workflow's token; the admin listener needs one that starts with vst_admin_";
            return Err(Refusal::new(Reason::TokenInvalid, detail).into());
        }
        let remembered = self.look_up(&presented.id).await?;
        match &self.known(&presented, &remembered)?.who {
            Who::Operator(operator) => Ok(operator.clone()),
            Who::Workflow(_) => Err(token::invalid().into()),
        }
    }

    /// The workflow that holds the token with this id, if it is in force, for whoever follows something that was made
    /// under it: a one-time link dies with its token.
    ///
    /// # Errors
    /// [`StoreError`] where the store could not be asked.
    pub async fn holder_in_force(&self, id: &TokenId) -> Result<Option<Arc<Principal>>, StoreError> {
        let now = self.clock.now();
        let remembered = self.look_up(id).await?;
        let Some(known) = &remembered.found else { return Ok(None) };
        let in_force =
            known.record.revoked_at.is_none() && known.record.expires_at.is_none_or(|expires_at| expires_at > now);
        Ok(match &known.who {
            Who::Workflow(principal) if in_force => Some(Arc::clone(principal)),
            _ => None,
        })
    }

    /// Forgets a token, to be called after its revocation or creation was committed: the next call asks the store.
    pub fn forget(&self, id: &TokenId) {
        self.revocations.fetch_add(1, Ordering::SeqCst);
        self.cache.invalidate(id);
    }

    /// Forgets every token, to be called after many were revoked at once.
    pub fn forget_everything(&self) {
        self.revocations.fetch_add(1, Ordering::SeqCst);
        self.cache.invalidate_all();
    }

    /// For which tokens wrong secrets were presented, and how many: each once a minute, or `everything` at the end.
    pub fn take_wrong_secrets(&self, everything: bool) -> Vec<WrongSecrets> {
        self.wrong_secrets.take(self.clock.now(), everything)
    }

    /// Keeps what could not be recorded for the next time.
    pub fn put_back_wrong_secrets(&self, wrong: WrongSecrets) {
        self.wrong_secrets.put_back(wrong);
    }

    fn known<'r>(&self, presented: &PresentedToken, remembered: &'r Remembered) -> Result<&'r Known, Refusal> {
        let known = remembered.found.as_ref().ok_or_else(token::invalid)?;
        token::check(presented, &known.record, self.clock.now()).inspect_err(|_| {
            if !presented.is_secret_of(&known.record) {
                self.wrong_secrets.count(&known.record);
            }
        })?;
        Ok(known)
    }

    async fn look_up(&self, id: &TokenId) -> Result<Arc<Remembered>, StoreError> {
        if let Some(remembered) = self.remembered(id).await? {
            return Ok(remembered);
        }
        let gate = self.gates.get_with_by_ref(id, Arc::default);
        let _turn = turn(&gate).await;
        if let Some(remembered) = self.remembered(id).await? {
            return Ok(remembered);
        }
        self.read(id).await
    }

    async fn remembered(&self, id: &TokenId) -> Result<Option<Arc<Remembered>>, StoreError> {
        let Some(remembered) = self.cache.get(id) else { return Ok(None) };
        let age = remembered.read_at.elapsed();
        // A new token is no change of those that there are, so that an unknown one may be known by now.
        let lasts = remembered.found.is_some() && age < LONGEST;
        let good = age < MAX_AGE || (lasts && self.changes.generation().await? == remembered.generation);
        Ok(good.then_some(remembered))
    }

    async fn read(&self, id: &TokenId) -> Result<Arc<Remembered>, StoreError> {
        let revocations = self.revocations.load(Ordering::SeqCst);
        let generation = self.changes.last_known();
        let read_at = Instant::now();
        let found = self.store.token(id).await?.map(|record| {
            let who = match Identity::of(&record) {
                Identity::Workflow(principal) => Who::Workflow(Arc::new(principal)),
                Identity::Operator(operator) => Who::Operator(operator),
            };
            Known { record, who }
        });
        let remembered = Arc::new(Remembered { read_at, generation, found });
        self.cache.insert(id.clone(), remembered.clone());
        // A revocation between the read and the insertion has invalidated too early for this entry.
        if self.revocations.load(Ordering::SeqCst) != revocations {
            self.cache.invalidate(id);
        }
        Ok(remembered)
    }
}

/// Waits for whoever reads the same. Whoever waits too long gets no turn and reads by himself: a store that hangs must not
/// hang its callers one after the other.
pub(super) async fn turn(gate: &Mutex<()>) -> Option<MutexGuard<'_, ()>> {
    tokio::time::timeout(PATIENCE, gate.lock()).await.ok()
}

fn parse(presented: &str) -> Result<PresentedToken, Refusal> {
    Token::parse(presented).map_err(|error| token::refusal(Reason::TokenInvalid, error))
}
