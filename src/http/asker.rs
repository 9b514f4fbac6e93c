//! Who asks, looked at once more where the body was slow to come.
//!
//! The token is checked when the head of a request has arrived. A body may follow seconds later, and a token that was revoked
//! meanwhile must not act any more (P7). So `Body` looks again before it hands over what it has read, and no handler can
//! forget to. A proof of possession is not asked for twice: it is used up.

use std::sync::Arc;
use std::time::Duration;

use actix_web::{HttpMessage, HttpRequest, web};

use crate::app::App;
use crate::domain::principal::Principal;
use crate::domain::refusal::Refusal;

use super::auth;
use super::operates;

/// A body that takes longer is slow.
pub(super) const PROMPT: Duration = Duration::from_millis(100);

/// Who was let in.
pub(super) enum Asker {
    /// A workflow.
    Workflow(Arc<Principal>),
    /// An operator.
    Operator,
}

impl Asker {
    /// Notes who was let in with this request.
    pub(super) fn note(self, request: &HttpRequest) {
        request.extensions_mut().insert(self);
    }
}

/// Whether whoever was let in would be let in now.
///
/// # Errors
/// The refusal, not yet recorded.
pub(super) async fn look_again(request: &HttpRequest) -> Result<(), Refusal> {
    let Some(app) = request.app_data::<web::Data<App>>().cloned() else { return Err(auth::missing()) };
    let workflow = match request.extensions().get::<Asker>() {
        // Whoever is let in after the body came was looked at late enough.
        None => return Ok(()),
        Some(Asker::Workflow(who)) => Some(Arc::clone(who)),
        Some(Asker::Operator) => None,
    };
    match workflow {
        Some(who) => app.still_holds(&who).await,
        None => app.authenticate_operator(operates::presented(request)?).await.map(drop),
    }
}
