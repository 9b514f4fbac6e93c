//! Rate limits as numbers: whose requests are counted, in which windows, and how many are allowed.
//!
//! Windows are aligned to the Unix epoch in UTC, so that everybody agrees where one begins. Counting them is the business
//! of `crate::limits`; what an app may do is the policy's. Absent on purpose: a limit of none. Every workflow has all
//! three windows.

use std::fmt::Write;
use std::sync::Arc;

/// The largest limit that can be set; far beyond what one gateway serves, and it fits every header.
pub const LARGEST_LIMIT: u32 = 1_000_000_000;

/// Length of the window in which the same request is counted, in seconds.
pub const SAME_REQUEST_SECONDS: u32 = 60;

/// How long a window is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Window {
    /// 1 second.
    Second,
    /// 3,600 seconds.
    Hour,
    /// 86,400 seconds.
    Day,
}

impl Window {
    /// From the shortest to the longest.
    pub const ALL: [Window; 3] = [Window::Second, Window::Hour, Window::Day];

    /// Its length.
    pub const fn seconds(self) -> u32 {
        match self {
            Window::Second => 1,
            Window::Hour => 3600,
            Window::Day => 86_400,
        }
    }

    /// The key in a manifest.
    pub const fn as_str(self) -> &'static str {
        match self {
            Window::Second => "second",
            Window::Hour => "hour",
            Window::Day => "day",
        }
    }
}

/// Whose requests are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LimitScope {
    /// One workflow of one app, whichever of its tokens is used.
    Workflow,
    /// All workflows of an app.
    App,
    /// All apps of an owner.
    Owner,
}

impl LimitScope {
    /// From the narrowest to the widest.
    pub const ALL: [LimitScope; 3] = [LimitScope::Workflow, LimitScope::App, LimitScope::Owner];

    /// The name in messages, metrics and the policy files.
    pub const fn as_str(self) -> &'static str {
        match self {
            LimitScope::Workflow => "workflow",
            LimitScope::App => "app",
            LimitScope::Owner => "owner",
        }
    }
}

/// The name of a quota in `RateLimit` and in problem documents, for example `workflow-second`.
pub const fn quota_name(scope: LimitScope, window: Window) -> &'static str {
    const NAMES: [[&str; 3]; 3] = [
        ["workflow-second", "workflow-hour", "workflow-day"],
        ["app-second", "app-hour", "app-day"],
        ["owner-second", "owner-hour", "owner-day"],
    ];
    NAMES[scope as usize][window as usize]
}

/// Requests that one scope may make in each window; `None` where the window has no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates(pub [Option<u32>; 3]);

impl Rates {
    /// What a workflow may do where no file says otherwise: 5 a second, 1,000 an hour, 5,000 a day.
    pub const USUAL: Rates = Rates([Some(5), Some(1000), Some(5000)]);

    /// The limit of a window.
    pub fn of(&self, window: Window) -> Option<u32> {
        self.0[window as usize]
    }

    /// Whether no window has a limit.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(Option::is_none)
    }
}

/// Everything that limits the requests of one app's workflows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateLimits {
    scopes: [Rates; 3],
    same_request: u32,
    header: Arc<str>,
}

impl RateLimits {
    /// How often the same request is accepted in a minute where no file says otherwise.
    pub const USUAL_SAME_REQUEST: u32 = 30;

    /// These limits.
    pub fn new(workflow: Rates, app: Rates, owner: Rates, same_request: u32) -> Self {
        let scopes = [workflow, app, owner];
        let mut header = String::new();
        for (scope, window, limit) in limits(&scopes) {
            let comma = if header.is_empty() { "" } else { ", " };
            // Writing to a String cannot fail.
            let _ = write!(header, "{comma}\"{}\";q={limit};w={}", quota_name(scope, window), window.seconds());
        }
        Self { scopes, same_request, header: header.into() }
    }

    /// The limits of one scope.
    pub fn of(&self, scope: LimitScope) -> &Rates {
        &self.scopes[scope as usize]
    }

    /// How often the same request is accepted in a minute.
    pub fn same_request(&self) -> u32 {
        self.same_request
    }

    /// Every limit that there is, from the narrowest scope and the shortest window.
    pub fn each(&self) -> impl Iterator<Item = (LimitScope, Window, u32)> {
        limits(&self.scopes)
    }

    /// The value of the header `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers): a list of quotas, each with its
    /// limit and its window in seconds.
    pub fn header(&self) -> &str {
        &self.header
    }
}

impl Default for RateLimits {
    fn default() -> Self {
        Self::new(Rates::USUAL, Rates::default(), Rates::default(), Self::USUAL_SAME_REQUEST)
    }
}

fn limits(scopes: &[Rates; 3]) -> impl Iterator<Item = (LimitScope, Window, u32)> {
    let windows = |scope| Window::ALL.into_iter().map(move |window| (scope, window));
    LimitScope::ALL
        .into_iter()
        .flat_map(windows)
        .filter_map(|(scope, window)| Some((scope, window, scopes[scope as usize].of(window)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_lists_every_limit_with_its_window() {
        assert_eq!(
            RateLimits::default().header(),
            "\"workflow-second\";q=5;w=1, \"workflow-hour\";q=1000;w=3600, \"workflow-day\";q=5000;w=86400"
        );
        let limits = RateLimits::new(Rates::USUAL, Rates::default(), Rates([None, Some(7), None]), 1);
        assert!(limits.header().ends_with(", \"owner-hour\";q=7;w=3600"), "{}", limits.header());
        assert_eq!(limits.each().count(), 4);
    }
}
