//! How many requests a node works on at once, and what becomes of the others.
//!
//! Beyond the bound a request is refused before anything is looked up, so that refusing it costs a fraction of serving it
//! and what was admitted is served as fast as ever. The refusal waits a moment before it is sent: a client that does not
//! heed `Retry-After` could otherwise spend the node's time on refusals. Health is asked for past the bound. Such a
//! refusal has no audit entry: nobody has been asked yet who it is, and nothing was decided.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use actix_web::dev::ServiceRequest;
use actix_web::{HttpResponse, ResponseError};

use crate::domain::refusal::{Reason, Refusal};

use super::context;
use super::problem::Problem;

/// How long a refusal waits.
const PAUSE: Duration = Duration::from_secs(1);

/// The bound of one listener.
#[derive(Debug)]
pub(super) struct Places {
    inside: AtomicUsize,
    most: usize,
}

/// A request that is worked on; its place is free again when this goes.
#[derive(Debug)]
pub(super) struct Place(Arc<Places>);

impl Places {
    /// At most so many.
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { inside: AtomicUsize::new(0), most })
    }

    /// A place, where one is free.
    pub(super) fn enter(self: &Arc<Self>) -> Option<Place> {
        let before = self.inside.fetch_add(1, Ordering::Relaxed);
        let place = Place(Arc::clone(self));
        (before < self.most).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.inside.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Whether this asks how the node is.
pub(super) fn is_about_health(request: &ServiceRequest) -> bool {
    matches!(request.path(), "/healthz" | "/readyz")
}

/// The answer to a request for which there is no place.
pub(super) async fn refuse(request: &ServiceRequest) -> HttpResponse {
    metrics::counter!("vestibule_requests_shed_total").increment(1);
    tokio::time::sleep(PAUSE).await;
    let refusal = Refusal::new(Reason::Overloaded, "This node has too many requests at the moment. Try again shortly.")
        .retry_after(1);
    Problem::new(refusal, context::request_id_of(request)).error_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_free_again_once_it_is_left() {
        let places = Places::new(2);
        let (first, second) = (places.enter().unwrap(), places.enter());
        assert!(second.is_some() && places.enter().is_none() && places.enter().is_none());
        drop(first);
        assert!(places.enter().is_some());
    }
}
