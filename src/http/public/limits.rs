//! `GET /limits`: what an app may do, and what is left.

use actix_web::{HttpResponse, web};
use serde::Serialize;

use crate::app::{App, LimitsNow};
use crate::domain::limits::{SAME_REQUEST_SECONDS, quota_name};
use crate::http::auth::{Authorized, ReadLimits};
use crate::http::context::Context;
use crate::http::limits::tell;
use crate::http::problem::{Document, Problem};

/// The answer of `GET /limits`.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct LimitsAnswer {
    /// The app of the token.
    #[schema(example = "where2eat")]
    app: String,
    /// The workflow of the token.
    #[schema(example = "nightly")]
    workflow: String,
    /// Whether other nodes of the gateway count into the same windows.
    shared: bool,
    /// How many requests are admitted, and how many are left.
    requests: Vec<RequestLimit>,
    /// How often the very same request is accepted.
    same_request: SameRequestLimit,
    /// What the app may hold at a time.
    stored: Stored,
}

/// One limit on requests.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct RequestLimit {
    /// As in the headers and in problem documents.
    #[schema(example = "workflow-second")]
    name: &'static str,
    /// `workflow`, `app` or `owner`.
    scope: &'static str,
    /// Length of the window; windows begin at multiples of it (UTC).
    window_seconds: u32,
    /// Requests a window.
    limit: u32,
    /// Requests that the current window still admits.
    remaining: u32,
    /// Seconds until the next window begins.
    resets_in_seconds: u32,
}

/// The guard against loops.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct SameRequestLimit {
    /// Length of the window.
    window_seconds: u32,
    /// Requests with the same body a window.
    limit: u32,
}

/// What the app holds, reservations of uploads under way included.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct Stored {
    bytes: Amount,
    objects: Amount,
}

/// A quota.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct Amount {
    /// At most.
    limit: u64,
    /// In use.
    used: u64,
    /// Left.
    remaining: u64,
}

/// What the token's app and workflow may do, and what is left. Asking does not count as a request.
#[utoipa::path(
    get, path = "/limits", tag = "objects",
    security(("bearer" = []), ("workflowToken" = [])),
    responses(
        (status = 200, description = "Limits and quotas, and what is left of them", body = LimitsAnswer),
        (status = "4XX", description = "Refused; see `code`", body = Document, content_type = "application/problem+json"),
        (status = 503, description = "A dependency is away", body = Document, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn get_limits(
    app: web::Data<App>,
    who: Authorized<ReadLimits>,
    context: Context,
) -> Result<HttpResponse, Problem> {
    let now = app.limits(&context.0, &who.who).await.map_err(|refusal| Problem::new(refusal, context.0.request_id))?;
    let mut answer =
        HttpResponse::Ok().json(LimitsAnswer::new(who.who.app.to_string(), who.who.workflow.to_string(), &now));
    tell(&now.standing, answer.headers_mut());
    Ok(answer)
}

impl LimitsAnswer {
    fn new(app: String, workflow: String, now: &LimitsNow) -> Self {
        let requests = now.standing.each().map(|left| RequestLimit {
            name: quota_name(left.scope, left.window),
            scope: left.scope.as_str(),
            window_seconds: left.window.seconds(),
            limit: left.limit,
            remaining: left.remaining,
            resets_in_seconds: left.ends_in,
        });
        let amount = |limit: u64, used: u64| Amount { limit, used, remaining: limit.saturating_sub(used) };
        Self {
            app,
            workflow,
            shared: now.shared,
            requests: requests.collect(),
            same_request: SameRequestLimit {
                window_seconds: SAME_REQUEST_SECONDS,
                limit: now.standing.limits.same_request(),
            },
            stored: Stored {
                bytes: amount(now.quota.bytes, now.usage.bytes),
                objects: amount(now.quota.objects, now.usage.objects),
            },
        }
    }
}
