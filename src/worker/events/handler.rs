//! The seam between the sources of events and what is done about them.
//!
//! A source hands over every hint of a message, then the message itself where a part of it was unreadable, and
//! acknowledges only after all of that returned. So whatever [`HintHandler`] answers must be durable by then.
//! Absent on purpose: permanent failures. A handler that cannot do its work now says so and gets the hint again.

use async_trait::async_trait;

use super::parse::Parsed;
use crate::domain::hint::Hint;

/// What is done about a hint. Implementations are idempotent: every hint may come twice, late, and out of order.
#[async_trait]
pub trait HintHandler: Send + Sync {
    /// Takes a hint. When it returns, the state that follows and its job are durable.
    ///
    /// # Errors
    /// [`HandleError`] where it cannot be handled now; the message comes back.
    async fn hint(&self, source: &str, hint: &Hint) -> Result<(), HandleError>;

    /// Keeps a message that could not be read, or not in whole, with the reason. Durable when it returns.
    ///
    /// # Errors
    /// [`HandleError`] where it cannot be kept now; the message comes back.
    async fn unreadable(&self, source: &str, body: &str, reason: &str) -> Result<(), HandleError>;
}

/// Why a hint could not be handled now. The text holds no secret; it is logged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct HandleError(pub String);

/// Hands over all that a message says.
///
/// Hints go first: a message whose hints fail comes back whole and must not leave a dead letter each time.
///
/// # Errors
/// The first [`HandleError`]; the message must then not be acknowledged.
pub async fn deliver(handler: &dyn HintHandler, source: &str, body: &str, parsed: &Parsed) -> Result<(), HandleError> {
    for hint in &parsed.hints {
        handler.hint(source, hint).await?;
    }
    metrics::counter!("vestibule_event_hints_total", "source" => source.to_owned())
        .increment(parsed.hints.len().try_into().unwrap_or(u64::MAX));
    if let Some(unreadable) = &parsed.unreadable {
        handler.unreadable(source, body, &unreadable.to_string()).await?;
        metrics::counter!("vestibule_event_unreadable_total", "source" => source.to_owned()).increment(1);
        tracing::warn!(source, reason = %unreadable, "an event message was unreadable; it is kept as a dead letter");
    }
    Ok(())
}
