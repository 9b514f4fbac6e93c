//! How the windows stand, and which of them refuses: the part that does not depend on where they are counted.

use std::sync::Arc;

use crate::domain::limits::{LimitScope, RateLimits, Window, quota_name};

/// One window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// Requests that were admitted in it.
    pub used: u32,
    /// Seconds until it ends, at least 1.
    pub ends_in: u32,
}

/// All windows of a request, after it was counted or refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// What is allowed.
    pub limits: Arc<RateLimits>,
    /// By scope and window. What has no limit means nothing.
    pub windows: [[Used; 3]; 3],
}

impl Standing {
    /// Every limit with what is left of it and the seconds until its window ends.
    pub fn each(&self) -> impl Iterator<Item = Left> {
        self.limits.each().map(|(scope, window, limit)| {
            let used = self.windows[scope as usize][window as usize];
            let remaining = limit.saturating_sub(used.used);
            Left { scope, window, limit, remaining, ends_in: used.ends_in }
        })
    }
}

/// What is left of one limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// Whose.
    pub scope: LimitScope,
    /// In which window.
    pub window: Window,
    /// Requests a window.
    pub limit: u32,
    /// Requests that this window still admits.
    pub remaining: u32,
    /// Seconds until it ends.
    pub ends_in: u32,
}

/// What a limiter says to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was counted.
    Admitted(Standing),
    /// It was not counted anywhere.
    Refused(Standing, Met),
}

/// The limit that was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Met {
    /// Which one; of several, the one that takes longest to be free again, and a loop before all others.
    pub quota: Quota,
    /// Its limit.
    pub limit: u32,
    /// Seconds until every limit that was met is free again.
    pub free_in: u32,
    /// Seconds that the client is told to wait: more than `free_in` where it has kept asking.
    pub retry_after: u32,
}

/// What counts requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quota {
    /// A window of a scope.
    Window(LimitScope, Window),
    /// The same request in one minute.
    SameRequest,
}

impl Quota {
    /// The name in headers, problem documents and metrics, for example `workflow-second`.
    pub fn name(self) -> &'static str {
        match self {
            Quota::Window(scope, window) => quota_name(scope, window),
            Quota::SameRequest => "same-request",
        }
    }
}

/// Which limit refuses one more request, if any; `retry_after` is not yet more than `free_in`.
pub(super) fn met(limits: &RateLimits, windows: &[[Used; 3]; 3], same: Option<Used>) -> Option<Met> {
    let mut found: Option<Met> = None;
    for (scope, window, limit) in limits.each() {
        let used = windows[scope as usize][window as usize];
        if used.used >= limit && found.is_none_or(|found| used.ends_in > found.free_in) {
            let (quota, free_in) = (Quota::Window(scope, window), used.ends_in);
            found = Some(Met { quota, limit, free_in, retry_after: free_in });
        }
    }
    let limit = limits.same_request();
    if let Some(same) = same.filter(|same| same.used >= limit) {
        let free_in = found.map_or(0, |found| found.free_in).max(same.ends_in);
        found = Some(Met { quota: Quota::SameRequest, limit, free_in, retry_after: free_in });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::limits::Rates;

    #[test]
    fn the_limit_that_is_told_is_the_one_that_takes_longest_and_a_loop_before_all() {
        let limits = RateLimits::new(Rates([Some(1), Some(2), None]), Rates::default(), Rates::default(), 3);
        let mut windows = [[Used { used: 0, ends_in: 1 }, Used { used: 0, ends_in: 900 }, Used::default()]; 3];
        assert_eq!(met(&limits, &windows, None), None);
        windows[0][0].used = 1;
        assert_eq!(met(&limits, &windows, None).unwrap().quota.name(), "workflow-second");
        windows[0][1].used = 2;
        let both = met(&limits, &windows, None).unwrap();
        assert_eq!((both.quota.name(), both.free_in), ("workflow-hour", 900));
        let looping = met(&limits, &windows, Some(Used { used: 3, ends_in: 30 })).unwrap();
        assert_eq!((looping.quota.name(), looping.limit, looping.free_in), ("same-request", 3, 900));
        assert_eq!(met(&limits, &[[Used::default(); 3]; 3], Some(Used { used: 2, ends_in: 30 })), None);
    }
}
