//! Who asks: tokens and how they are checked.
//!
//! [`Token`] makes and reads `vst_live_…` tokens, [`access_token`] signed ones, [`Authenticator`] turns a presented one into a
//! principal or an operator. Nothing above this module sees a secret: what leaves it is a
//! [`crate::domain::principal::Principal`] or a refusal. Unknown tokens and wrong secrets get the same answer. Absent on
//! purpose: any decision about what the caller may do; that is `policy`.

pub mod access_token;
mod auth_error;
mod authenticator;
mod changes;
mod client_certificates;
mod dpop;
mod evidence;
mod freshness;
mod gateway_keys;
mod keys;
mod nonce_keys;
pub mod oidc;
mod token;
mod uses;
mod wrong_secrets;

pub use auth_error::AuthError;
pub use authenticator::{Authenticated, Authenticator};
pub use client_certificates::ClientCertificates;
pub use dpop::{ALGORITHMS, NonceKeys, ProofError, ProofRules, Proofs, Proven, ShownProof, Unspent, VerifyError};
pub use evidence::{Evidence, HeldKey, Scheme};
pub use freshness::MAX_AGE;
pub use gateway_keys::{KeyringError, first_key, new_key};
pub use keys::Keyring;
pub use nonce_keys::StoredNonceKeys;
pub use token::{Identity, PresentedToken, Token, TokenError, TokenKind, names_token, random_text, verify};
pub use uses::NotedUses;
pub use wrong_secrets::WrongSecrets;
