//! Counting a request before its verb runs, and the headers that say how the limits stand.
//!
//! `RateLimit-Policy` and `RateLimit` are those of draft-ietf-httpapi-ratelimit-headers, as lists of structured fields
//! (RFC 9651): each quota by its name, with `q` requests a window of `w` seconds, `r` left and `t` seconds until the window
//! ends. The middleware adds them to every answer of a limited route, refusals included.

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_web::{HttpMessage, HttpRequest};

use crate::app::{Admission, App, Standing};
use crate::domain::audit::AuditAction;
use crate::domain::limits::quota_name;
use crate::domain::principal::Principal;

use super::context::Context;
use super::problem::Problem;

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LIMIT: HeaderName = HeaderName::from_static("ratelimit");
/// Room for one quota in bytes.
const ITEM: usize = 48;

/// Counts the request as one of `action`, or answers that it is one too many.
pub(super) async fn admit(
    app: &App,
    who: &Principal,
    context: &Context,
    request: &HttpRequest,
    action: AuditAction,
) -> Result<Admission, Problem> {
    match app.admit(&context.0, who, action).await {
        Ok(admission) => {
            request.extensions_mut().insert(admission.standing().clone());
            Ok(admission)
        }
        Err(refused) => {
            if let Some(standing) = refused.standing {
                request.extensions_mut().insert(standing);
            }
            Err(Problem::new(refused.refusal, context.0.request_id.clone()))
        }
    }
}

/// Adds the headers.
pub(super) fn tell(standing: &Standing, headers: &mut HeaderMap) {
    // Names and digits are always a header's value.
    if let Ok(value) = HeaderValue::from_str(standing.limits.header()) {
        headers.insert(POLICY, value);
    }
    if let Ok(value) = HeaderValue::try_from(left(standing)) {
        headers.insert(LIMIT, value);
    }
}

/// The value of `RateLimit`, in one buffer.
fn left(standing: &Standing) -> String {
    let mut text = String::with_capacity(standing.limits.each().count() * ITEM);
    let mut digits = itoa::Buffer::new();
    for left in standing.each() {
        text.push_str(if text.is_empty() { "\"" } else { ", \"" });
        text.push_str(quota_name(left.scope, left.window));
        text.push_str("\";r=");
        text.push_str(digits.format(left.remaining));
        text.push_str(";t=");
        text.push_str(digits.format(left.ends_in));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::app::Used;
    use crate::domain::limits::{RateLimits, Rates};

    #[test]
    fn every_quota_is_told_with_what_is_left_and_until_when() {
        let mut windows = [[Used { used: 3, ends_in: 1 }; 3]; 3];
        windows[0][2] = Used { used: 6000, ends_in: 86_399 };
        let limits = Arc::new(RateLimits::new(Rates::USUAL, Rates([None, Some(9), None]), Rates::default(), 1));
        let standing = Standing { limits, windows };
        assert_eq!(
            left(&standing),
            "\"workflow-second\";r=2;t=1, \"workflow-hour\";r=997;t=1, \"workflow-day\";r=0;t=86399, \"app-hour\";r=6;t=1"
        );
        let mut headers = HeaderMap::new();
        tell(&standing, &mut headers);
        assert!(headers.get("RateLimit-Policy").unwrap().to_str().unwrap().ends_with("\"app-hour\";q=9;w=3600"));
        assert!(left(&standing).len() < 4 * ITEM, "one buffer is enough");
    }
}
