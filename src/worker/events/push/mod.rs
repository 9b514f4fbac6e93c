//! What to answer to an event that is delivered over HTTP.
//!
//! Decides only: who may deliver, and what the delivery says. The HTTP layer passes headers and body in, hands
//! [`PushOutcome::Events`] to [`deliver`](super::handler::deliver), and answers. The invariant: nothing that could not
//! prove where it comes from reaches the handler, not even the dead letters, so that a stranger cannot fill them.
//! Absent on purpose: anything of the HTTP framework.

pub mod eventgrid;
pub mod sns;

mod certificate;
mod signature;

pub use sns::SnsReceiver;

use super::parse::Parsed;

/// What a delivery comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PushOutcome {
    /// Answer 200 with this JSON body: the validation handshake of Event Grid.
    Validation(String),
    /// Hand these over, then answer 200; 503 where handing over fails, so that the sender tries again.
    Events(Parsed),
    /// Answer 200; there is nothing to hand over (an SNS subscription was confirmed, or ended).
    Done,
    /// Answer 401; the text is for the log.
    Refused(&'static str),
    /// Answer 503: it could not be found out whether the delivery is genuine. The text is for the log.
    Away(String),
}
