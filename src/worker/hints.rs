//! The event sources' other side: hands hints to the use cases.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::app::{App, Arrival};
use crate::domain::hint::Hint;
use crate::domain::ids::ObjectId;

use super::events::{HandleError, Handled, HintHandler};

/// Longest time for which a message waits for its object; after that the message is let go, the job is in the store.
const LONGEST: Duration = Duration::from_secs(3600);

/// Hands hints to the use cases.
pub struct Hints(pub Arc<App>);

#[async_trait]
impl HintHandler for Hints {
    async fn hint(&self, source: &str, hint: &Hint) -> Result<Handled, HandleError> {
        let arrival = self.0.follow_hint(hint).await.map_err(|error| HandleError(error.to_string()))?;
        tracing::debug!(source, ?arrival, "followed a hint");
        Ok(match arrival {
            Arrival::Arrived(object) | Arrival::Settling(object) => Handled::Settling(object),
            _ => Handled::Done,
        })
    }

    async fn settled(&self, object: ObjectId) {
        self.0.wait_until_settled(object, LONGEST).await;
    }

    async fn unreadable(&self, source: &str, body: &str, reason: &str) -> Result<(), HandleError> {
        self.0.keep_unreadable(source, body, reason).await.map_err(|error| HandleError(error.to_string()))
    }
}
