//! What happens without a request: events arrive, bytes are inspected and promoted, the sweep finds what was missed.
//!
//! Every worker exposes one step, which a loop drives in production and a test by hand. Workers hold no state that a
//! restart would lose: what is to be done lies in the store, under leases.

pub mod containment;
pub mod events;
pub mod heartbeat;
pub mod hints;
pub mod housekeeping;
pub mod inspect;
pub mod jobs;
pub mod lane;
pub mod probe;
mod promote;
pub mod stop;
pub mod sweep;
