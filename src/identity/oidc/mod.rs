//! Whose word about people is taken: trusted OpenID providers, their keys, and the tokens that they sign.
//!
//! [`Issuers::verify`] turns an id_token (OpenID Connect Core 3.1.3.7) or a JWT access token (RFC 9068 section 4) of a
//! configured issuer into an [`Assertion`], or says what is wrong with it. What is not configured is not trusted: algorithms
//! are pinned, keys come from the issuer's JWKS and from nowhere else, and where the keys cannot be had nothing is believed
//! (P6). Absent on purpose: logging anybody in; what an assertion may be exchanged for; symmetric keys.

mod assertion;
mod check;
mod claims;
mod compact;
mod config;
mod fetch;
mod issuers;
mod keys;
mod rules;
mod source;

pub use assertion::{Assertion, AssertionError, AssertionKind, Flaw, Use};
pub use check::Finding;
pub use claims::{ClaimPath, ClaimsConfig, FlagClaim, MappedValue, TextClaim};
pub use config::{IssuerConfig, OperatorsConfig, SigningAlgorithm};
pub use fetch::is_safe;
pub use issuers::Issuers;
