//! What a request shows beside its token. Only a bound token looks at it.

use crate::domain::binding::{Binding, Thumbprint};
use crate::domain::refusal::Refusal;

use super::dpop::{ProofError, Unspent};

/// The authentication scheme under which a token came (RFC 6750 section 2.1, RFC 9449 section 7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `Bearer`, or a header that holds the token alone.
    Bearer,
    /// `DPoP`.
    Dpop,
}

/// The key that the sender of a request for a token holds.
#[derive(Debug)]
pub enum HeldKey {
    /// By a proof, which is used up when the token is made.
    Dpop(Unspent),
    /// By a client certificate.
    Certificate(Thumbprint),
}

impl HeldKey {
    /// What a token is bound to that is bound to this key.
    pub fn binding(&self) -> Binding {
        match self {
            Self::Dpop(proof) => Binding::Dpop(proof.key()),
            Self::Certificate(own) => Binding::Certificate(*own),
        }
    }
}

/// A request, as far as proofs of possession are about it.
pub trait Evidence {
    /// The scheme of the token.
    fn scheme(&self) -> Scheme;

    /// The DPoP proof.
    ///
    /// # Errors
    /// Where there is none or more than one.
    fn proof(&self) -> Result<&str, ProofError>;

    /// The method, in upper case.
    fn method(&self) -> &str;

    /// The path as it was sent, without query.
    fn path(&self) -> &str;

    /// The certificate whose key the client has proven to hold.
    ///
    /// # Errors
    /// `certificate_mismatch` where somebody claims one who may not, or more than one is claimed.
    fn certificate(&self) -> Result<Option<Thumbprint>, Refusal>;
}
