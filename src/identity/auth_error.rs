//! Why nobody was authenticated: refused, not proven, or nobody could look.

use std::sync::Arc;

use super::dpop::{ProofError, VerifyError};
use crate::domain::principal::Principal;
use crate::domain::refusal::Refusal;
use crate::store::StoreError;

/// Why nobody was authenticated.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// The token is not accepted.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The token is good, and whoever sends it has not proven to hold its key: perhaps a thief.
    #[error("{1}")]
    Unproven(Arc<Principal>, Refusal),
    /// Nobody could look.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<ProofError> for AuthError {
    fn from(error: ProofError) -> Self {
        Self::Refused(error.into())
    }
}

impl From<VerifyError> for AuthError {
    fn from(error: VerifyError) -> Self {
        match error {
            VerifyError::Proof(error) => error.into(),
            VerifyError::Store(error) => Self::Store(error),
        }
    }
}
