//! The event sources' other side: hands hints to the use cases.

use std::sync::Arc;

use async_trait::async_trait;

use crate::app::App;
use crate::domain::hint::Hint;

use super::events::{HandleError, HintHandler};

/// Hands hints to the use cases.
pub struct Hints(pub Arc<App>);

#[async_trait]
impl HintHandler for Hints {
    async fn hint(&self, source: &str, hint: &Hint) -> Result<(), HandleError> {
        let arrival = self.0.follow_hint(hint).await.map_err(|error| HandleError(error.to_string()))?;
        tracing::debug!(source, ?arrival, "followed a hint");
        Ok(())
    }

    async fn unreadable(&self, source: &str, body: &str, reason: &str) -> Result<(), HandleError> {
        self.0.keep_unreadable(source, body, reason).await.map_err(|error| HandleError(error.to_string()))
    }
}
