//! `/admin/access-requests`: ask for access, look at requests, approve or deny them.

use actix_web::{HttpResponse, web};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::app::{AccessDecision, App, NewAccessRequest, Requested};
use crate::domain::access::{AccessRequest, AccessState, AccessStateName};
use crate::domain::ids::AccessRequestId;
use crate::domain::principal::{Environment, Operator};
use crate::domain::refusal::{Reason, Refusal};
use crate::http::body::Body;
use crate::http::context::Context;
use crate::http::operates::{AskForAccess, Look, Operates, Provision};
use crate::http::parameters::Parameters;
use crate::http::problem::{Document, Problem};
use crate::store::AccessQuery;

use super::objects::ReasonBody;
use super::tokens::SubjectBody;

/// What access is asked for: a new token, or with `changes` other scopes than a token has.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(example = json!({"app":"where2eat","workflow":"menu-import","environment":"test",
    "scopes":["storage:*:where2eat:write"],"reason":"imports the menus each night"}))]
pub(in crate::http) struct AccessBody {
    /// The app; must have a manifest. Not needed with `changes`.
    app: Option<String>,
    /// The workflow that will hold the token. Not needed with `changes`.
    workflow: Option<String>,
    /// The business unit that answers for it; the manifest's owner where absent.
    owner: Option<String>,
    /// `live` (the default) or `test`.
    environment: Option<String>,
    /// What the token should allow; at least one.
    scopes: Vec<String>,
    /// Why, in 3 to 1,000 characters; only what `access.toml` allows in advance may go without.
    reason: Option<String>,
    /// When the token should stop working (RFC 3339); after the longest life that is allowed where absent.
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
    /// The tokenId whose scopes should change. Claiming gives a new token and ends that one after a window.
    changes: Option<String>,
    /// The key that whoever sends the token must prove to hold: `jkt:` or `x5t#S256:` and a thumbprint. An app may demand one.
    #[schema(example = "jkt:0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I")]
    binding: Option<String>,
}

fn invalid(field: &str, error: impl std::fmt::Display) -> Refusal {
    Refusal::new(Reason::InvalidField, format!("{field}: {error}."))
}

fn field<T: std::str::FromStr<Err: std::fmt::Display>>(name: &str, text: Option<&str>) -> Result<Option<T>, Refusal> {
    text.map(str::parse).transpose().map_err(|error| invalid(name, error))
}

impl TryFrom<AccessBody> for NewAccessRequest {
    type Error = Refusal;

    fn try_from(body: AccessBody) -> Result<Self, Refusal> {
        let environment = match body.environment.as_deref() {
            None => None,
            Some("live") => Some(Environment::Live),
            Some("test") => Some(Environment::Test),
            Some(_) => return Err(invalid("environment", "must be live or test").allowed(["live", "test"])),
        };
        let scopes = body.scopes.iter().map(|scope| scope.parse().map_err(|error| invalid("scopes", error)));
        Ok(Self {
            app: field("app", body.app.as_deref())?,
            workflow: field("workflow", body.workflow.as_deref())?,
            owner: field("owner", body.owner.as_deref())?,
            environment,
            scopes: scopes.collect::<Result<_, _>>()?,
            reason: body.reason,
            expires_at: body.expires_at,
            changes: field("changes", body.changes.as_deref())?,
            binding: field("binding", body.binding.as_deref())?,
        })
    }
}

/// A request for access as it stands.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct AccessView {
    /// The request's id.
    #[schema(value_type = String, example = "arq_019c41d6b8f07c3e9a52d1b0c4f7e802")]
    request_id: AccessRequestId,
    /// `pending`, `approved`, `claimed`, `denied`, or `lapsed`: approved, and nobody claimed in time.
    #[schema(example = "pending")]
    state: &'static str,
    app: String,
    workflow: String,
    owner: String,
    environment: &'static str,
    scopes: Vec<String>,
    /// Why, as whoever asked wrote it.
    reason: String,
    /// Who asked.
    requested_by: String,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When the token stops working.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
    /// The token whose scopes it changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    changes: Option<String>,
    /// For whom that token acts; the new one will too.
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<SubjectBody>,
    /// The key that that token is bound to.
    #[serde(skip_serializing_if = "Option::is_none")]
    changes_binding: Option<String>,
    /// The key that the token will be bound to.
    #[serde(skip_serializing_if = "Option::is_none")]
    binding: Option<String>,
    /// Who decided; `access.toml` where a rule did.
    #[serde(skip_serializing_if = "Option::is_none")]
    decided_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    decided_at: Option<Timestamp>,
    /// The written reason of the decision.
    #[serde(skip_serializing_if = "Option::is_none")]
    decision: Option<String>,
    /// The rule that allowed it in advance, or that allowed the requester to decide.
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<String>,
    /// Until when it can be claimed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    claim_ends_at: Option<Timestamp>,
    /// The token that was claimed.
    #[serde(skip_serializing_if = "Option::is_none")]
    token_id: Option<String>,
}

impl From<&AccessRequest> for AccessView {
    fn from(request: &AccessRequest) -> Self {
        let (asked, decision) = (&request.asked, request.state.decision());
        Self {
            request_id: request.id,
            state: request.state.name().as_str(),
            app: asked.app.to_string(),
            workflow: asked.workflow.to_string(),
            owner: asked.owner.to_string(),
            environment: asked.environment.as_str(),
            scopes: asked.scopes.iter().map(ToString::to_string).collect(),
            reason: request.reason.clone(),
            requested_by: request.by.clone(),
            created_at: request.created_at,
            expires_at: asked.expires_at,
            changes: asked.changes.as_ref().map(ToString::to_string),
            subject: asked.before.as_ref().and_then(|before| before.subject.as_ref()).map(SubjectBody::from),
            changes_binding: asked.before.as_ref().and_then(|before| before.binding).map(|key| key.to_string()),
            binding: asked.binding.map(|binding| binding.to_string()),
            decided_by: decision.map(|decision| decision.by.clone()),
            decided_at: decision.map(|decision| decision.at),
            decision: decision.map(|decision| decision.reason.clone()),
            rule: decision.and_then(|decision| decision.rule.clone()),
            claim_ends_at: request.state.claim().map(|claim| claim.ends_at),
            token_id: match &request.state {
                AccessState::Claimed { token, .. } => Some(token.to_string()),
                _ => None,
            },
        }
    }
}

/// A request for access, with the claim link where it was just approved.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct AccessAnswer {
    #[serde(flatten)]
    view: AccessView,
    /// Whoever opens it and presses the button gets the token, once. A credential: give it to the workflow's people alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "https://files.example/claim/…")]
    claim_url: Option<String>,
}

impl AccessAnswer {
    fn of(requested: &Requested, app: &App) -> Self {
        let claim_url = requested.claim.as_ref().map(|link| link.address(&app.settings.public_url));
        Self { view: AccessView::from(&requested.request), claim_url }
    }
}

/// The query of `GET /admin/access-requests`.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct AccessParameters {
    /// Only in this state: `pending`, `approved`, `claimed` or `denied`.
    state: Option<String>,
    /// Only of this app.
    app: Option<String>,
    /// `nextCursor` of the page before.
    cursor: Option<String>,
    /// Requests a page: 1 to 1,000, 100 where absent.
    limit: Option<usize>,
}

impl AccessParameters {
    fn parse(self) -> Result<AccessQuery, Refusal> {
        let limit = self.limit.unwrap_or(100);
        if !(1..=1000).contains(&limit) {
            return Err(invalid("limit", "must be 1 to 1000").limit(1000));
        }
        let known = || AccessStateName::ALL.into_iter().filter(|state| *state != AccessStateName::Lapsed);
        let state = self.state.map(|name| {
            known().find(|state| state.as_str() == name).ok_or_else(|| {
                invalid("state", "no request is kept in this state").allowed(known().map(AccessStateName::as_str))
            })
        });
        Ok(AccessQuery {
            state: state.transpose()?,
            app: field("app", self.app.as_deref())?,
            before: field("cursor", self.cursor.as_deref())?,
            limit,
        })
    }
}

/// A page of requests.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct AccessList {
    /// Newest first.
    requests: Vec<AccessView>,
    /// Send it as `cursor` for the next page; null at the end.
    next_cursor: Option<String>,
}

/// Asks for access. What `access.toml` allows in advance is approved at once.
#[utoipa::path(
    post, path = "/admin/access-requests", tag = "access", request_body = AccessBody, security(("bearer" = [])),
    responses(
        (status = 201, description = "Asked; with claimUrl where a rule allowed it in advance", body = AccessAnswer),
        (status = "4XX", description = "Refused; see `code`", body = Document, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn request_access(
    app: web::Data<App>,
    who: Operates<AskForAccess>,
    context: Context,
    body: Body<AccessBody>,
) -> Result<HttpResponse, Problem> {
    let context = context.with_body(body.digest);
    let requested = app
        .request_access(&context.0, &who.who, body.parsed.and_then(TryInto::try_into))
        .await
        .map_err(|refusal| Problem::new(refusal, context.0.request_id))?;
    Ok(HttpResponse::Created().json(AccessAnswer::of(&requested, &app)))
}

/// Lists requests for access.
#[utoipa::path(
    get, path = "/admin/access-requests", tag = "access", security(("bearer" = [])), params(AccessParameters),
    responses((status = 200, description = "A page", body = AccessList))
)]
pub(in crate::http) async fn list_access(
    app: web::Data<App>,
    who: Operates<Look>,
    context: Context,
    query: Parameters<AccessParameters>,
) -> Result<HttpResponse, Problem> {
    let query = query.0.and_then(AccessParameters::parse);
    let page = app
        .list_access(&context.0, &who.who, query)
        .await
        .map_err(|refusal| Problem::new(refusal, context.0.request_id))?;
    let requests = page.requests.iter().map(AccessView::from).collect();
    Ok(HttpResponse::Ok().json(AccessList { requests, next_cursor: page.next.map(|id| id.to_string()) }))
}

/// One request for access.
#[utoipa::path(
    get, path = "/admin/access-requests/{id}", tag = "access", security(("bearer" = [])),
    params(("id" = String, Path, description = "The requestId")),
    responses(
        (status = 200, description = "As it stands", body = AccessView),
        (status = 404, description = "There is no such request", body = Document, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn get_access(
    app: web::Data<App>,
    who: Operates<Look>,
    context: Context,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let request = app
        .read_access(&context.0, &who.who, request_id(&id))
        .await
        .map_err(|refusal| Problem::new(refusal, context.0.request_id))?;
    Ok(HttpResponse::Ok().json(AccessView::from(&request)))
}

/// Approves a request, with a written reason; not one's own, unless `access.toml` says so.
#[utoipa::path(
    post, path = "/admin/access-requests/{id}/approve", tag = "access", request_body = ReasonBody,
    security(("bearer" = [])), params(("id" = String, Path, description = "The requestId")),
    responses(
        (status = 200, description = "Approved; claimUrl is told once", body = AccessAnswer),
        (status = "4XX", description = "Refused; see `code`", body = Document, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn approve_access(
    app: web::Data<App>,
    who: Operates<Provision>,
    context: Context,
    id: web::Path<String>,
    body: Body<ReasonBody>,
) -> Result<HttpResponse, Problem> {
    decide(&app, &who.who, context, &id, body, AccessDecision::Approve).await
}

/// Denies a request, with a written reason; an approval that nobody has claimed is taken back, and its link dies.
#[utoipa::path(
    post, path = "/admin/access-requests/{id}/deny", tag = "access", request_body = ReasonBody,
    security(("bearer" = [])), params(("id" = String, Path, description = "The requestId")),
    responses(
        (status = 200, description = "Denied", body = AccessAnswer),
        (status = "4XX", description = "Refused; see `code`", body = Document, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn deny_access(
    app: web::Data<App>,
    who: Operates<Provision>,
    context: Context,
    id: web::Path<String>,
    body: Body<ReasonBody>,
) -> Result<HttpResponse, Problem> {
    decide(&app, &who.who, context, &id, body, AccessDecision::Deny).await
}

async fn decide(
    app: &App,
    who: &Operator,
    context: Context,
    id: &str,
    body: Body<ReasonBody>,
    decision: AccessDecision,
) -> Result<HttpResponse, Problem> {
    let context = context.with_body(body.digest);
    let reason = body.parsed.map(|body| body.reason);
    let requested = app
        .decide_access(&context.0, who, request_id(id), reason, decision)
        .await
        .map_err(|refusal| Problem::new(refusal, context.0.request_id))?;
    Ok(HttpResponse::Ok().json(AccessAnswer::of(&requested, app)))
}

fn request_id(text: &str) -> Result<AccessRequestId, Refusal> {
    text.parse().map_err(|error| Refusal::new(Reason::NotFound, format!("There is no such request: {error}.")))
}
