//! `GET /admin/audit` and `GET /admin/dead-letters`.

use actix_web::{HttpResponse, web};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::domain::refusal::{Reason, Refusal};
use crate::http::context::Context;
use crate::http::operates::{Look, Operates};
use crate::http::parameters::Parameters;
use crate::http::problem::Problem;
use crate::store::AuditQuery;

/// The query of `GET /admin/audit`.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct AuditParameters {
    /// Only of this app.
    app: Option<String>,
    /// Only of this token.
    token: Option<String>,
    /// Only about this object.
    object: Option<String>,
    /// Only at or after (RFC 3339).
    #[param(value_type = Option<String>, format = DateTime)]
    since: Option<Timestamp>,
    /// Only before (RFC 3339).
    #[param(value_type = Option<String>, format = DateTime)]
    until: Option<Timestamp>,
    /// `nextCursor` of the page before.
    cursor: Option<i64>,
    /// Records a page: 1 to 1,000, 100 where absent.
    limit: Option<usize>,
}

impl AuditParameters {
    fn parse(self) -> Result<AuditQuery, Refusal> {
        fn invalid(field: &str, error: impl std::fmt::Display) -> Refusal {
            Refusal::new(Reason::InvalidField, format!("{field}: {error}."))
        }
        let limit = self.limit.unwrap_or(100);
        if !(1..=1000).contains(&limit) {
            return Err(invalid("limit", "must be 1 to 1000").limit(1000));
        }
        Ok(AuditQuery {
            app: self.app.map(|app| app.parse()).transpose().map_err(|error| invalid("app", error))?,
            token: self.token.map(|token| token.parse()).transpose().map_err(|error| invalid("token", error))?,
            object: self.object.map(|object| object.parse()).transpose().map_err(|error| invalid("object", error))?,
            since: self.since,
            until: self.until,
            before: self.cursor,
            limit,
        })
    }
}

/// A page of the audit trail.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct AuditPage {
    /// Newest first; each as in the JSON lines.
    #[schema(value_type = Vec<Object>)]
    entries: Vec<serde_json::Value>,
    /// Send it as `cursor` for the next page; null at the end.
    next_cursor: Option<i64>,
}

/// A page of the audit trail.
#[utoipa::path(
    get, path = "/admin/audit", tag = "audit", security(("bearer" = [])), params(AuditParameters),
    responses((status = 200, description = "A page", body = AuditPage))
)]
pub(in crate::http) async fn query_audit(
    app: web::Data<App>,
    who: Operates<Look>,
    context: Context,
    query: Parameters<AuditParameters>,
) -> Result<HttpResponse, Problem> {
    let query = query.0.and_then(AuditParameters::parse);
    let limit = query.as_ref().map_or(0, |query| query.limit);
    let entries = app
        .audit_trail(&context.0, &who.who, query)
        .await
        .map_err(|refusal| Problem::new(refusal, context.0.request_id))?;
    let next_cursor = entries.last().filter(|_| entries.len() == limit).map(|(sequence, _)| *sequence);
    let entries = entries.iter().filter_map(|(_, entry)| serde_json::to_value(entry).ok()).collect();
    Ok(HttpResponse::Ok().json(AuditPage { entries, next_cursor }))
}

/// An event that nobody could read.
#[derive(Serialize, utoipa::ToSchema)]
pub(in crate::http) struct DeadLetterView {
    /// Where it came from.
    source: String,
    /// When it was received.
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// Why it could not be read.
    reason: String,
    /// What it said, cut to 16 KiB.
    body: String,
}

/// Events that nobody could read, newest first.
#[utoipa::path(
    get, path = "/admin/dead-letters", tag = "audit", security(("bearer" = [])),
    responses((status = 200, description = "At most 200", body = Vec<DeadLetterView>))
)]
pub(in crate::http) async fn dead_letters(
    app: web::Data<App>,
    who: Operates<Look>,
    context: Context,
) -> Result<HttpResponse, Problem> {
    let letters =
        app.dead_letters(&context.0, &who.who).await.map_err(|refusal| Problem::new(refusal, context.0.request_id))?;
    let view = |letter: crate::store::DeadLetter| DeadLetterView {
        source: letter.source,
        at: letter.at,
        reason: letter.reason,
        body: letter.body,
    };
    Ok(HttpResponse::Ok().json(letters.into_iter().map(view).collect::<Vec<_>>()))
}
