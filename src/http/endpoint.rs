//! A route as metrics and the audit trail know it: by its pattern, never by the raw address.
//!
//! Each resource carries its own as app data, and each listener carries [`Endpoint::other`] for what is none. It also holds
//! the route's histograms, so that no request looks them up by name.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use metrics::Histogram;

/// One pattern, or everything that is no route.
#[derive(Clone)]
pub(super) struct Endpoint {
    /// For example `/objects/{id}`.
    pub(super) pattern: &'static str,
    /// By class of status, from 2xx to 5xx. Made when they are first needed: a route that nobody calls shows nowhere.
    seconds: Arc<[OnceLock<Histogram>; CLASSES.len()]>,
}

const CLASSES: [&str; 4] = ["2xx", "3xx", "4xx", "5xx"];

impl Endpoint {
    /// The route with this pattern.
    pub(super) fn new(pattern: &'static str) -> Self {
        Self { pattern, seconds: Arc::default() }
    }

    /// What is no route.
    pub(super) fn other() -> Self {
        Self::new("other")
    }

    /// Records one answer in `vestibule_request_seconds`.
    pub(super) fn answered(&self, listener: &'static str, status: u16, took: Duration) {
        let class = usize::from((status / 100).clamp(2, 5) - 2);
        let labels = || {
            let (route, status) = (self.pattern, CLASSES[class]);
            metrics::histogram!("vestibule_request_seconds", "listener" => listener, "route" => route, "status" => status)
        };
        self.seconds[class].get_or_init(labels).record(took);
    }
}
