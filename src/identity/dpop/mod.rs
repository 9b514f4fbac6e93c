//! Proofs of possession by DPoP (RFC 9449): the proof itself, where it was made for, nonces, and that each is used once.
//!
//! A proof is accepted in two steps: [`Proofs::check`] looks at everything that needs no write, and [`Proofs::spend`] uses it
//! up, in the database that all nodes share. A proof brings its own key, so that anybody can make one: between the two
//! lies the look whether the key is the one of a known token, or, at the token endpoint, whether there will be a token
//! for it. So nobody fills the table who has no token. Absent on purpose: which token needs a proof; that is the
//! authenticator's.

mod jwk;
mod nonce;
mod proof;
#[cfg(test)]
mod testing;
mod uri;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret, SecretSlice};

use crate::clock::Clock;
use crate::domain::binding::Thumbprint;
use crate::domain::refusal::{Reason, Refusal};
use crate::store::{Store, StoreError};

use self::nonce::Standing;
use self::proof::{Proof, Request, Window};
use self::uri::Base;
use super::freshness::MAX_AGE;

pub use jwk::ALGORITHMS;

/// Why a proof is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// A bound token came as one that is not.
    #[error("the token is bound to a key; send it as Authorization: DPoP <token>, with a proof in the header DPoP")]
    Bearer,
    /// There is none.
    #[error("the token is bound to a key, and the request has no proof in a header DPoP")]
    Missing,
    /// There are several, and nobody could tell which one counts.
    #[error("the request has more than one header DPoP")]
    Several,
    /// No JWT, or one that is too long.
    #[error("the proof is no JWT of header, claims and signature in base64url without padding, at most 4,096 bytes")]
    Form,
    /// A JWT of another kind.
    #[error("the proof's header has typ dpop+jwt and no crit")]
    Type,
    /// Not one of [`ALGORITHMS`].
    #[error("the proof's alg is not one of {}", ALGORITHMS.join(", "))]
    Algorithm,
    /// The key is no public key of the algorithm.
    #[error("the proof's jwk is no public key of its alg in canonical form")]
    Key,
    /// A secret was sent.
    #[error("the proof's jwk has private members; never send them, and make a new key")]
    PrivateKey,
    /// Not signed by the key inside.
    #[error("the proof's signature is not by the key in its jwk")]
    Signature,
    /// A claim is missing, twice there, or of another type.
    #[error("the proof needs the claims jti (at most 256 characters), htm, htu and iat, each once")]
    Claims,
    /// For another method.
    #[error("the proof's htm is not {0}")]
    Method(String),
    /// For another address.
    #[error("the proof's htu is not {0}")]
    Address(String),
    /// Made too long ago.
    #[error("the proof's iat lies too far in the past; make a proof for each request")]
    Old,
    /// Made in the future.
    #[error("the proof's iat lies in the future; look at the clock")]
    Future,
    /// No `ath`.
    #[error("the proof has no ath; it is the SHA-256 of the token in base64url without padding")]
    NoToken,
    /// The `ath` of another token.
    #[error("the proof's ath is that of another token")]
    OtherToken,
    /// A proof without the scheme, or the scheme without a proof.
    #[error("Authorization: DPoP <token> and a proof in the header DPoP go together; the request has one of the two")]
    Scheme,
    /// By another key than the token's.
    #[error("the proof is by another key than the one that the token is bound to")]
    OtherKey,
    /// Used before.
    #[error("the proof was used before; make a proof for each request")]
    Used,
    /// No nonce.
    #[error("the proof has no nonce")]
    NoNonce,
    /// An old nonce, or one that is none of ours.
    #[error("the proof's nonce is not good any more")]
    OldNonce,
}

impl From<ProofError> for Refusal {
    fn from(error: ProofError) -> Self {
        let reason = match error {
            ProofError::NoNonce | ProofError::OldNonce => Reason::DpopNonceRequired,
            _ => Reason::DpopProofInvalid,
        };
        Refusal::new(reason, format!("{error}; {}", reason.remedy()))
    }
}

/// Why nobody proved anything.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The proof is not accepted.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// Nobody could tell whether it was used before.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How strict proofs are.
#[derive(Clone, Copy, Debug)]
pub struct ProofRules {
    /// Whether every proof needs a nonce of ours.
    pub nonces: bool,
    /// How long a nonce is good.
    pub nonce_life: Duration,
    /// How old a proof may be.
    pub max_age: Duration,
    /// How far a client's clock may be off, in both directions.
    pub clock_skew: Duration,
}

/// A proof as a request shows it.
#[derive(Clone, Copy, Debug)]
pub struct ShownProof<'r> {
    /// The header `DPoP`.
    pub proof: &'r str,
    /// The request's method, in upper case.
    pub method: &'r str,
    /// The request's path as it was sent, without query.
    pub path: &'r str,
    /// The access token that is sent with the proof, whose hash must be in it; none at the token endpoint.
    pub token: Option<&'r str>,
    /// The key that it must be by, where one is known already.
    pub key: Option<&'r Thumbprint>,
}

/// What a proof has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proven {
    /// The key that the sender holds (`jkt`).
    pub key: Thumbprint,
    /// Whether the answer should carry a new nonce: the one in the proof is about to end.
    pub renew: bool,
}

/// A proof that is good, of which nobody has looked yet whether it was used before.
#[derive(Debug)]
pub struct Unspent {
    id: [u8; 32],
    keep_until: Timestamp,
    proven: Proven,
}

impl Unspent {
    /// The key that it is by.
    pub fn key(&self) -> Thumbprint {
        self.proven.key
    }

    /// As [`Proven::renew`].
    pub fn renew(&self) -> bool {
        self.proven.renew
    }
}

/// Verifies proofs. One for each process.
pub struct Proofs {
    store: Arc<dyn Store>,
    clock: Clock,
    base: Base,
    rules: ProofRules,
    keys: Arc<dyn NonceKeys>,
}

/// The keys of nonces, the same on all nodes.
#[async_trait]
pub trait NonceKeys: Send + Sync {
    /// Those that are accepted at this time, the one to sign with first.
    fn current(&self, now: Timestamp) -> Vec<SecretSlice<u8>>;

    /// Reads them again where that was longer ago than this.
    async fn refresh(&self, age: Duration) -> Result<(), StoreError>;
}

/// How long the keys of nonces are used before they are read again.
const KEYS_AGE: Duration = Duration::from_secs(5);
/// How far the clocks of two nodes may be apart, whatever is said about those of clients.
const NODES_APART: SignedDuration = SignedDuration::from_mins(1);

impl Proofs {
    /// For a gateway that clients reach at `public_url`.
    pub fn new(
        store: Arc<dyn Store>,
        clock: Clock,
        public_url: &str,
        rules: ProofRules,
        keys: Arc<dyn NonceKeys>,
    ) -> Self {
        Self { store, clock, base: Base::new(public_url), rules, keys }
    }

    /// Accepts a proof, once: [`Proofs::check`] and [`Proofs::spend`] in one, for a proof that must be by a known key.
    ///
    /// # Errors
    /// [`VerifyError::Proof`] where it is not good for this request; [`VerifyError::Store`] where nobody could tell whether
    /// it was used before.
    pub async fn verify(&self, shown: &ShownProof<'_>) -> Result<Proven, VerifyError> {
        self.spend(self.check(shown).await?).await
    }

    /// Looks at everything but whether it was used before. Writes nothing.
    ///
    /// # Errors
    /// [`VerifyError::Proof`] where it is not good for this request; [`VerifyError::Store`] where the keys of nonces could
    /// not be read.
    pub async fn check(&self, shown: &ShownProof<'_>) -> Result<Unspent, VerifyError> {
        let now = self.clock.now();
        let proof = Proof::parse(shown.proof)?;
        let seconds = |duration| SignedDuration::try_from(duration).unwrap_or(SignedDuration::ZERO);
        let (age, skew) = (seconds(self.rules.max_age), seconds(self.rules.clock_skew));
        let window = Window { past: age + skew, future: skew };
        let request = Request { method: shown.method, path: shown.path, token: shown.token };
        proof.fits(&request, &self.base, now, window)?;
        if shown.key.is_some_and(|key| !key.is(&proof.key)) {
            return Err(ProofError::OtherKey.into());
        }
        let standing = self.standing(&proof, now).await?;
        // As long as any node, whose clock may be another one, could take it for new.
        let kept = window.past + skew + skew + NODES_APART;
        let keep_until = proof.made().unwrap_or(now).saturating_add(kept).unwrap_or(now);
        let proven = Proven { key: proof.key, renew: standing == Standing::Ageing };
        Ok(Unspent { id: proof.id(), keep_until, proven })
    }

    /// Uses a proof up, on all nodes: one durable write.
    ///
    /// # Errors
    /// [`VerifyError::Proof`] where it was used before; [`VerifyError::Store`] where nobody could tell.
    pub async fn spend(&self, proof: Unspent) -> Result<Proven, VerifyError> {
        if !self.store.use_proof(proof.id, proof.keep_until).await? {
            return Err(ProofError::Used.into());
        }
        Ok(proof.proven)
    }

    async fn standing(&self, proof: &Proof, now: Timestamp) -> Result<Standing, VerifyError> {
        if !self.rules.nonces {
            return Ok(Standing::Fresh);
        }
        let nonce = proof.nonce().ok_or(ProofError::NoNonce)?;
        // An unknown nonce may be by a key that another node knows already.
        for age in [KEYS_AGE, MAX_AGE] {
            self.keys.refresh(age).await?;
            let keys = self.keys.current(now);
            match nonce::look(keys.iter().map(ExposeSecret::expose_secret), nonce, now, self.rules.nonce_life) {
                Standing::Unusable => {}
                standing => return Ok(standing),
            }
        }
        Err(ProofError::OldNonce.into())
    }

    /// A nonce for the header `DPoP-Nonce`; none where none is asked for.
    pub fn nonce(&self) -> Option<String> {
        let now = self.clock.now();
        let keys = self.keys.current(now);
        let key = keys.first().filter(|_| self.rules.nonces)?;
        Some(nonce::make(key.expose_secret(), now))
    }
}
