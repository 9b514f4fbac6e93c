//! `GET /limits`: what an app may do, and what is left.

use std::collections::BTreeMap;

use actix_web::{HttpResponse, web};
use serde::Serialize;

use crate::app::{App, LimitsNow, QuotaNow};
use crate::domain::limits::{SAME_REQUEST_SECONDS, quota_name};
use crate::domain::quota::{QuotaHolder, QuotaKind};
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
    /// Every quota of the app and of its owner, and what is left of it.
    quotas: Vec<QuotaLeft>,
    /// What the app may do with this token at all.
    may: May,
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

/// A quota of the app, or of all apps of its owner together.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct QuotaLeft {
    /// As in problem documents.
    #[schema(example = "app-bytes-day")]
    name: &'static str,
    /// `app` or `owner`.
    holder: &'static str,
    /// `bytes`, `objects` or `uploads`.
    unit: &'static str,
    /// At most.
    limit: u64,
    /// In use.
    used: u64,
    /// Left.
    remaining: u64,
    /// Seconds until the hour, day or month (UTC) ends; absent for what is stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    resets_in_seconds: Option<u32>,
}

/// What the app may do with this token.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct May {
    /// `live` or `test`.
    environment: &'static str,
    /// The target that the token reaches; absent where the app has none in this environment.
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    /// Where the app's files lie; placeholders are filled in at each request.
    #[schema(example = "uploads/")]
    prefix: String,
    /// The content types that it may upload.
    types: Vec<String>,
    /// Largest file in bytes.
    max_size: u64,
    /// Smaller limits of single types.
    max_size_per_type: BTreeMap<String, u64>,
    /// The data classes that it may store.
    classifications: Vec<String>,
    /// The class of a request that names none.
    #[serde(skip_serializing_if = "Option::is_none")]
    default_classification: Option<String>,
    /// How bytes may be sent.
    methods: Vec<&'static str>,
    /// Longest life of an upload URL in seconds; a class may say less.
    upload_ttl_seconds: u64,
    /// Longest life of a download URL in seconds; a class may say less.
    download_ttl_seconds: u64,
    /// Whether every download is a link that works once.
    one_time_downloads: bool,
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
        let stored = |kind| {
            let own = now.quotas.iter().find(|quota| quota.holder == QuotaHolder::App && quota.kind == kind);
            let (limit, used) = own.map_or((0, 0), |quota| (quota.limit, quota.used));
            Amount { limit, used, remaining: limit.saturating_sub(used) }
        };
        Self {
            app,
            workflow,
            shared: now.shared,
            requests: requests.collect(),
            same_request: SameRequestLimit {
                window_seconds: SAME_REQUEST_SECONDS,
                limit: now.standing.limits.same_request(),
            },
            stored: Stored { bytes: stored(QuotaKind::BytesStored), objects: stored(QuotaKind::ObjectsStored) },
            quotas: now.quotas.iter().map(QuotaLeft::of).collect(),
            may: May::of(now),
        }
    }
}

impl QuotaLeft {
    fn of(quota: &QuotaNow) -> Self {
        Self {
            name: quota.name,
            holder: quota.holder.as_str(),
            unit: quota.kind.unit(),
            limit: quota.limit,
            used: quota.used,
            remaining: quota.limit.saturating_sub(quota.used),
            resets_in_seconds: quota.ends_in,
        }
    }
}

impl May {
    fn of(now: &LimitsNow) -> Self {
        let manifest = &now.manifest;
        Self {
            environment: now.environment.as_str(),
            target: manifest.target_for(now.environment).map(ToString::to_string),
            prefix: manifest.prefix.as_str().to_owned(),
            types: manifest.types.iter().map(ToString::to_string).collect(),
            max_size: manifest.max_size,
            max_size_per_type: manifest.max_size_per_type.iter().map(|(own, size)| (own.to_string(), *size)).collect(),
            classifications: manifest.classifications.iter().map(ToString::to_string).collect(),
            default_classification: manifest.default_classification.as_ref().map(ToString::to_string),
            methods: now.methods.iter().map(|method| method.as_str()).collect(),
            upload_ttl_seconds: manifest.upload_ttl.as_secs(),
            download_ttl_seconds: manifest.download_ttl.as_secs(),
            one_time_downloads: manifest.one_time_downloads,
        }
    }
}
