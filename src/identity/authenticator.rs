//! From a presented token to a principal, with a short-lived cache before the store.
//!
//! What was read may be used for [`MAX_AGE`], counted from the *start* of the read, so that a revocation by any process
//! is effective everywhere within a second (P7) however slow the read was. After that it may be used for as long again as
//! the store says that no token has changed since, which is one read for all tokens together. A revocation by this
//! process is effective at once. Secrets are compared on every call, cached or not. A store that is away refuses everybody
//! (P6).

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use moka::sync::Cache;
use tokio::sync::Mutex;

use super::auth_error::AuthError;
use super::changes::Changes;
use super::dpop::{ProofError, Proofs, ShownProof};
use super::evidence::{Evidence, Scheme};
use super::freshness::{MAX_AGE, turn};
use super::gateway_keys::KeyringError;
use super::keys::Keyring;
use super::token::{self, Identity, PresentedToken, TokenKind};
use super::uses::{Minute, NotedUses, Uses};
use super::wrong_secrets::{WrongSecretCounter, WrongSecrets};
use crate::clock::Clock;
use crate::domain::binding::Binding;
use crate::domain::ids::TokenId;
use crate::domain::principal::{Operator, Principal, Sunset};
use crate::domain::refusal::{Reason, Refusal};
use crate::store::{Store, StoreError, TokenRecord};

/// How long a token's record is used at most, for what changes a table behind the gateway's back.
const LONGEST: Duration = Duration::from_secs(60);
/// Tokens that are remembered at most, unknown ones included.
const CAPACITY: u64 = 20_000;

/// A workflow whose token was accepted.
#[derive(Clone, Debug)]
pub struct Authenticated {
    /// Who asks.
    pub who: Arc<Principal>,
    /// Whether the answer should carry a new nonce for DPoP proofs.
    pub renew_nonce: bool,
}

/// Checks tokens. One for each process, shared by both listeners.
pub struct Authenticator {
    store: Arc<dyn Store>,
    clock: Clock,
    cache: Cache<TokenId, Arc<Remembered>>,
    /// One look-up at a time for each token.
    gates: Cache<TokenId, Arc<Mutex<()>>>,
    changes: Changes,
    proofs: Proofs,
    keys: Keyring,
    /// Counts the revocations of this process: what was read before the last one is not remembered.
    revocations: AtomicU64,
    wrong_secrets: WrongSecretCounter,
    uses: Uses,
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
    /// Until when the signature of a signed token is good, in microseconds of the epoch, once that was looked at.
    signed_until: AtomicI64,
    who: Who,
    noted: Minute,
}

/// An [`Identity`] that is cheap to hand out.
enum Who {
    Workflow(Arc<Principal>),
    Operator(Operator),
}

impl Authenticator {
    /// An authenticator in front of `store`; `proofs` are those of bound tokens.
    pub fn new(store: Arc<dyn Store>, clock: Clock, proofs: Proofs) -> Self {
        Self {
            proofs,
            keys: Keyring::new(store.clone(), clock.clone()),
            changes: Changes::new(store.clone()),
            store,
            clock,
            cache: Cache::builder().max_capacity(CAPACITY).time_to_live(LONGEST).build(),
            gates: Cache::builder().max_capacity(CAPACITY).time_to_idle(Duration::from_secs(60)).build(),
            revocations: AtomicU64::new(0),
            wrong_secrets: WrongSecretCounter::default(),
            uses: Uses::default(),
        }
    }

    /// The workflow whose token this is. A token that is bound to a key is accepted with the proof alone that the sender of
    /// the request holds it; `evidence` is looked at for no other.
    ///
    /// # Errors
    /// [`AuthError::Refused`] with `token_invalid`, `token_expired` or `token_revoked`; [`AuthError::Unproven`] with
    /// `dpop_proof_invalid`, `dpop_nonce_required` or `certificate_mismatch`; [`AuthError::Store`] where the store could not
    /// be asked.
    pub async fn workflow(&self, token: &str, evidence: &dyn Evidence) -> Result<Authenticated, AuthError> {
        let presented = parse(token)?;
        if presented.kind == Some(TokenKind::Operator) {
            let detail = "this is an operator's token; send the workflow's, which starts with vst_live_ or vst_test_";
            return Err(Refusal::new(Reason::TokenInvalid, detail).into());
        }
        let remembered = self.look_up(&presented.id).await?;
        let known = self.known(&presented, &remembered)?;
        self.signature(token, known).await?;
        let Who::Workflow(who) = &known.who else { return Err(token::invalid().into()) };
        let renew_nonce = match (&known.record.binding, evidence.scheme()) {
            (None, Scheme::Bearer) => false,
            (None, Scheme::Dpop) => {
                let detail = "this token is bound to no key; send it as Authorization: Bearer <token>";
                return Err(Refusal::new(Reason::TokenInvalid, detail).into());
            }
            // Apart, so that tokens that are not bound do not carry the room for it.
            (Some(binding), _) => match Box::pin(self.prove(binding, token, evidence)).await {
                Err(AuthError::Refused(refusal)) => return Err(AuthError::Unproven(Arc::clone(who), refusal)),
                proven => proven?,
            },
        };
        self.used(known);
        Ok(Authenticated { who: Arc::clone(who), renew_nonce })
    }

    /// The workflow whose token this is, for a request that shows it as a thing to be exchanged or narrowed and not as its
    /// own credential: where it is bound, `proven` is the key that the request has proven to hold.
    ///
    /// # Errors
    /// As for [`Authenticator::workflow`].
    pub async fn subject(&self, token: &str, proven: Option<&Binding>) -> Result<Arc<Principal>, AuthError> {
        let presented = parse(token)?;
        let remembered = self.look_up(&presented.id).await?;
        let known = self.known(&presented, &remembered)?;
        self.signature(token, known).await?;
        let Who::Workflow(who) = &known.who else { return Err(token::invalid().into()) };
        let unproven = match (&known.record.binding, proven) {
            (None, _) => None,
            (Some(own), Some(proven)) if own == proven => None,
            (Some(Binding::Dpop(_)), None) => Some(ProofError::Missing.into()),
            (Some(Binding::Dpop(_)), Some(_)) => Some(ProofError::OtherKey.into()),
            (Some(Binding::Certificate(_)), _) => Some(other_certificate()),
        };
        if let Some(refusal) = unproven {
            return Err(AuthError::Unproven(Arc::clone(who), refusal));
        }
        self.used(known);
        Ok(Arc::clone(who))
    }

    /// The record of a token as it is now in the database, where the token is in force; whether its key is proven is not
    /// looked at.
    ///
    /// # Errors
    /// [`AuthError::Store`] where the store could not be asked.
    pub async fn look_again(&self, token: &str) -> Result<Option<TokenRecord>, AuthError> {
        let Ok(presented) = PresentedToken::parse(token) else { return Ok(None) };
        let Some(record) = self.store.token(&presented.id).await? else { return Ok(None) };
        let good = token::check(&presented, &record, self.clock.now()).is_ok()
            && self.signed_until(token, &record).await?.is_some();
        Ok(good.then_some(record))
    }

    /// The keys that sign access tokens.
    pub fn keys(&self) -> &Keyring {
        &self.keys
    }

    /// The signature of a signed token, looked at once for each read of its record: the digest says already that it is the
    /// text that was made here, and the key's window is remembered with it.
    async fn signature(&self, token: &str, known: &Known) -> Result<(), AuthError> {
        let now = self.clock.now().as_microsecond();
        if known.record.key.is_some() && known.signed_until.load(Ordering::Relaxed) <= now {
            let until = self.signed_until(token, &known.record).await?.ok_or_else(token::invalid)?;
            known.signed_until.store(until, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Until when the signature is accepted; `None` where it is not.
    async fn signed_until(&self, token: &str, record: &TokenRecord) -> Result<Option<i64>, AuthError> {
        let Some(id) = &record.key else { return Ok(Some(i64::MAX)) };
        match self.keys.accepted(id).await {
            Ok(found) => Ok(found
                .filter(|(key, _)| key.signed(token))
                .map(|(_, until)| until.map_or(i64::MAX, Timestamp::as_microsecond))),
            Err(KeyringError::Store(error)) => Err(error.into()),
            Err(KeyringError::Key(error)) => Err(StoreError::Corrupt(error.to_string()).into()),
        }
    }

    /// Proofs of possession.
    pub fn proofs(&self) -> &Proofs {
        &self.proofs
    }

    /// Whether the request proves to hold the key; answers whether it needs a new nonce.
    async fn prove(&self, binding: &Binding, token: &str, evidence: &dyn Evidence) -> Result<bool, AuthError> {
        match (binding, evidence.scheme()) {
            (Binding::Dpop(_), Scheme::Bearer) => Err(ProofError::Bearer.into()),
            (Binding::Dpop(key), Scheme::Dpop) => {
                let (proof, method, path) = (evidence.proof()?, evidence.method(), evidence.path());
                let shown = ShownProof { proof, method, path, token: Some(token), key: Some(key) };
                Ok(self.proofs.verify(&shown).await?.renew)
            }
            (Binding::Certificate(own), Scheme::Bearer) => match evidence.certificate()? {
                Some(shown) if shown.is(own) => Ok(false),
                _ => Err(other_certificate().into()),
            },
            (Binding::Certificate(_), Scheme::Dpop) => {
                let detail = "this token is bound to a certificate; send it as Authorization: Bearer <token>";
                Err(Refusal::new(Reason::TokenInvalid, detail).into())
            }
        }
    }

    /// The operator whose token this is.
    ///
    /// # Errors
    /// As for [`Authenticator::workflow`].
    pub async fn operator(&self, presented: &str) -> Result<Operator, AuthError> {
        let presented = parse(presented)?;
        if presented.kind != Some(TokenKind::Operator) {
            let detail = "this is a workflow's token; the admin listener needs one that starts with vst_admin_";
            return Err(Refusal::new(Reason::TokenInvalid, detail).into());
        }
        let remembered = self.look_up(&presented.id).await?;
        let known = self.known(&presented, &remembered)?;
        let Who::Operator(operator) = &known.who else { return Err(token::invalid().into()) };
        self.used(known);
        Ok(operator.clone())
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

    /// Forgets every token and the keys, to be called after many were revoked at once.
    pub fn forget_everything(&self) {
        self.revocations.fetch_add(1, Ordering::SeqCst);
        self.cache.invalidate_all();
        self.keys.forget();
    }

    /// For which tokens wrong secrets were presented, and how many: each once a minute, or `everything` at the end.
    pub fn take_wrong_secrets(&self, everything: bool) -> Vec<WrongSecrets> {
        self.wrong_secrets.take(self.clock.now(), everything)
    }

    /// When tokens were used last, and which rotated ones, as far as it is not yet written.
    pub fn take_uses(&self) -> NotedUses {
        self.uses.take(self.clock.now())
    }

    /// Keeps what could not be written for the next time.
    pub fn put_back_uses(&self, uses: NotedUses) {
        self.uses.put_back(uses);
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

    /// To be called once the token was accepted, with all that it needs.
    fn used(&self, known: &Known) {
        self.uses.note(&known.noted, &known.record, self.clock.now());
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

    /// Whom a record stands for, and what has to be told where another token has followed it.
    async fn understand(&self, record: TokenRecord) -> Result<Known, StoreError> {
        let who = match Identity::of(&record) {
            Identity::Workflow(mut principal) => {
                if let (Some(successor), Some(ends_at)) = (&record.successor, record.expires_at) {
                    let successor = self.store.token(successor).await?;
                    principal.sunset = successor.map(|next| Sunset { since: next.created_at, ends_at });
                }
                Who::Workflow(Arc::new(principal))
            }
            Identity::Operator(operator) => Who::Operator(operator),
        };
        Ok(Known { record, signed_until: AtomicI64::new(i64::MIN), who, noted: Minute::default() })
    }

    async fn read(&self, id: &TokenId) -> Result<Arc<Remembered>, StoreError> {
        let revocations = self.revocations.load(Ordering::SeqCst);
        let generation = self.changes.last_known();
        let read_at = Instant::now();
        let found = match self.store.token(id).await? {
            Some(record) => Some(self.understand(record).await?),
            None => None,
        };
        let remembered = Arc::new(Remembered { read_at, generation, found });
        self.cache.insert(id.clone(), remembered.clone());
        // A revocation between the read and the insertion has invalidated too early for this entry.
        if self.revocations.load(Ordering::SeqCst) != revocations {
            self.cache.invalidate(id);
        }
        Ok(remembered)
    }
}

fn other_certificate() -> Refusal {
    token::refusal(
        Reason::CertificateMismatch,
        "this token is bound to a client certificate, and the request came with none or with another one",
    )
}

fn parse(presented: &str) -> Result<PresentedToken, Refusal> {
    PresentedToken::parse(presented).map_err(|error| token::refusal(Reason::TokenInvalid, error))
}
