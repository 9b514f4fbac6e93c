//! What happens without a request: events arrive, bytes are inspected and promoted, the sweep finds what was missed.

pub mod events;
pub mod inspect;
