//! Amazon S3 and servers that speak its protocol.
//!
//! [`Presigner`] mints URLs and forms with our own Signature Version 4 and touches no network; the embedded store uses it
//! too.

pub mod address;
pub(in crate::storage) mod encode;
mod post_policy;
pub mod presigner;
mod sigv4;

pub use address::{AddressError, Location};
pub use presigner::Presigner;
