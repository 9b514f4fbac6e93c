//! `GET /admin/access-review`: who has what and what of it should go, as JSON or CSV.

use actix_web::http::header::{ACCEPT, CONTENT_DISPOSITION, CONTENT_TYPE};
use actix_web::{HttpRequest, HttpResponse, web};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::app::{AccessReview, App, Finding, ReviewQuery, ReviewedToken};
use crate::domain::refusal::{Reason, Refusal};
use crate::http::context::Context;
use crate::http::operates::{Look, Operates};
use crate::http::parameters::Parameters;
use crate::http::problem::Problem;

use super::tokens::TokenView;

/// The query of `GET /admin/access-review`.
#[derive(Default, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct ReviewParameters {
    /// Days without use after which a token counts as unused: 0 to 3,650, 90 where absent.
    unused_days: Option<u16>,
    /// Days before its end from which on a token counts as expiring: 0 to 3,650, 30 where absent.
    expiring_days: Option<u16>,
    /// `json` or `csv`; as the header Accept says where absent.
    format: Option<String>,
}

impl ReviewParameters {
    fn parse(&self) -> Result<ReviewQuery, Refusal> {
        let usual = ReviewQuery::default();
        let days = |name: &str, given: Option<u16>, usual: u16| {
            let days = given.unwrap_or(usual);
            let text = format!("{name}: must be 0 to 3650.");
            if (0..=3650).contains(&days) { Ok(days) } else { Err(Refusal::new(Reason::InvalidField, text)) }
        };
        if let Some(format) = self.format.as_deref().filter(|format| !["json", "csv"].contains(format)) {
            let detail = format!("format: must be json or csv, not '{format}'.");
            return Err(Refusal::new(Reason::InvalidField, detail).allowed(["json", "csv"]));
        }
        Ok(ReviewQuery {
            unused_days: days("unusedDays", self.unused_days, usual.unused_days)?,
            expiring_days: days("expiringDays", self.expiring_days, usual.expiring_days)?,
        })
    }
}

/// The report.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct ReviewAnswer {
    /// As of when.
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// Days without use after which a token counts as unused.
    unused_days: u16,
    /// Days before its end from which on a token counts as expiring.
    expiring_days: u16,
    /// How many tokens have each finding.
    #[schema(value_type = Object)]
    summary: serde_json::Map<String, serde_json::Value>,
    /// Every provisioned token in force, newest first.
    tokens: Vec<ReviewRow>,
}

/// One token.
#[derive(Serialize, utoipa::ToSchema)]
pub(in crate::http) struct ReviewRow {
    #[serde(flatten)]
    view: TokenView,
    /// What is remarkable: `neverUsed`, `unused`, `ownerGone`, `appGone`, `expiring`, `noExpiry`, `rotatedInUse`.
    findings: Vec<&'static str>,
}

impl From<&ReviewedToken> for ReviewRow {
    fn from(token: &ReviewedToken) -> Self {
        let findings = token.findings.iter().map(|finding| finding.as_str()).collect();
        Self { view: TokenView::from(&token.record), findings }
    }
}

impl From<&AccessReview> for ReviewAnswer {
    fn from(review: &AccessReview) -> Self {
        let count = |finding: Finding| (finding.as_str().to_owned(), review.count(finding).into());
        Self {
            at: review.at,
            unused_days: review.query.unused_days,
            expiring_days: review.query.expiring_days,
            summary: Finding::ALL.into_iter().map(count).collect(),
            tokens: review.tokens.iter().map(ReviewRow::from).collect(),
        }
    }
}

/// The report as JSON, for the command line.
pub fn review_json(review: &AccessReview) -> serde_json::Value {
    serde_json::to_value(ReviewAnswer::from(review)).unwrap_or_default()
}

/// Who has what, and what of it should go.
#[utoipa::path(
    get, path = "/admin/access-review", tag = "access", security(("bearer" = [])), params(ReviewParameters),
    responses((status = 200, description = "JSON, or CSV (RFC 4180) with Accept: text/csv or format=csv", body = ReviewAnswer))
)]
pub(in crate::http) async fn review_access(
    app: web::Data<App>,
    who: Operates<Look>,
    context: Context,
    request: HttpRequest,
    query: Parameters<ReviewParameters>,
) -> Result<HttpResponse, Problem> {
    let query = query.0;
    let csv = match query.as_ref().ok().and_then(|query| query.format.as_deref()) {
        Some(format) => format == "csv",
        None => request.headers().get(ACCEPT).is_some_and(|accept| accept.as_bytes().starts_with(b"text/csv")),
    };
    let review = app
        .review_access(&context.0, &who.who, query.and_then(|query| query.parse()))
        .await
        .map_err(|refusal| Problem::new(refusal, context.0.request_id))?;
    if !csv {
        return Ok(HttpResponse::Ok().json(ReviewAnswer::from(&review)));
    }
    let name = format!("attachment; filename=\"access-review-{}.csv\"", review.at.strftime("%Y-%m-%d"));
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/csv; charset=utf-8; header=present"))
        .insert_header((CONTENT_DISPOSITION, name))
        .body(crate::app::review_csv(&review)))
}
