//! `/claim/{secret}`: a link that gives a token, once.
//!
//! GET shows what it is for and spends nothing, since chats and mail scanners open every link that they see. POST spends it
//! and shows the token. The page is one static text without a script; its policy lets it load nothing and post to itself
//! alone, and nobody may frame it. JSON for whoever does not ask for HTML.

use std::sync::LazyLock;

use actix_web::http::StatusCode;
use actix_web::http::header::{ACCEPT, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_FRAME_OPTIONS};
use actix_web::{HttpRequest, HttpResponse, ResponseError, web};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use serde::Serialize;

use crate::app::{App, Claimable, ClaimedToken};
use crate::domain::access::AccessRequest;
use crate::domain::bytes::Sha256Digest;
use crate::http::context::Context;
use crate::http::openapi::escape;
use crate::http::problem::{Document, Problem};

/// What a claim link is for.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct ClaimView {
    app: String,
    workflow: String,
    owner: String,
    environment: &'static str,
    scopes: Vec<String>,
    /// When the token stops working.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
    /// Until when the link works.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    claim_ends_at: Option<Timestamp>,
}

impl ClaimView {
    fn of(request: &AccessRequest, claim_ends_at: Option<Timestamp>) -> Self {
        let asked = &request.asked;
        Self {
            app: asked.app.to_string(),
            workflow: asked.workflow.to_string(),
            owner: asked.owner.to_string(),
            environment: asked.environment.as_str(),
            scopes: asked.scopes.iter().map(ToString::to_string).collect(),
            expires_at: asked.expires_at,
            claim_ends_at,
        }
    }
}

/// A token that was just claimed. It is shown here and never again.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct ClaimAnswer {
    /// The whole token. A credential: put it where the workflow keeps its secrets.
    token: String,
    /// The public half; appears in logs and in the audit trail.
    token_id: String,
    #[serde(flatten)]
    view: ClaimView,
    /// The token that it takes the place of …
    #[serde(skip_serializing_if = "Option::is_none")]
    replaces: Option<String>,
    /// … and until when that one works.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    replaced_until: Option<Timestamp>,
}

impl From<&ClaimedToken> for ClaimAnswer {
    fn from(claimed: &ClaimedToken) -> Self {
        Self {
            token: claimed.created.token.expose().to_owned(),
            token_id: claimed.created.record.id.to_string(),
            view: ClaimView::of(&claimed.request, None),
            replaces: claimed.replaces.as_ref().map(|(old, _)| old.to_string()),
            replaced_until: claimed.replaces.as_ref().map(|(_, at)| *at),
        }
    }
}

/// What a claim link is for. Spends nothing.
#[utoipa::path(
    get, path = "/claim/{secret}", tag = "access",
    params(("secret" = String, Path, description = "The secret of the link")),
    responses(
        (status = 200, description = "What it is for; a page with a button where Accept asks for HTML", body = ClaimView),
        (status = 403, description = "What it is for is blocked", body = Document, content_type = "application/problem+json"),
        (status = 404, description = "Unknown, used, ended or revoked", body = Document, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn look_at_claim(
    app: web::Data<App>,
    context: Context,
    request: HttpRequest,
    secret: web::Path<String>,
) -> HttpResponse {
    let html = wants_html(&request);
    match app.look_at_claim(&context.0, &secret).await {
        Ok(Claimable { request, ends_at }) if html => page(StatusCode::OK, &offer(&request, ends_at)),
        Ok(Claimable { request, ends_at }) => plain(StatusCode::OK, &ClaimView::of(&request, Some(ends_at))),
        Err(refusal) => refused(&Problem::new(refusal, context.0.request_id), html),
    }
}

/// Spends a claim link: the token, once.
#[utoipa::path(
    post, path = "/claim/{secret}", tag = "access",
    params(("secret" = String, Path, description = "The secret of the link")),
    responses(
        (status = 201, description = "The token, shown once; a page where Accept asks for HTML", body = ClaimAnswer),
        (status = 403, description = "What it is for is blocked", body = Document, content_type = "application/problem+json"),
        (status = 404, description = "Unknown, used, ended or revoked", body = Document, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn claim_token(
    app: web::Data<App>,
    context: Context,
    request: HttpRequest,
    secret: web::Path<String>,
) -> HttpResponse {
    let html = wants_html(&request);
    match app.claim_token(&context.0, None, &secret).await {
        Ok(claimed) if html => page(StatusCode::CREATED, &shown(&claimed)),
        Ok(claimed) => plain(StatusCode::CREATED, &ClaimAnswer::from(&claimed)),
        Err(refusal) => refused(&Problem::new(refusal, context.0.request_id), html),
    }
}

fn refused(problem: &Problem, html: bool) -> HttpResponse {
    if !html {
        return problem.error_response();
    }
    let text = format!("<h1>This link does not work</h1><p>{}</p>", escape(problem.detail()));
    page(problem.status_code(), &text)
}

fn wants_html(request: &HttpRequest) -> bool {
    let accept = request.headers().get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    accept.contains("text/html")
}

fn plain(status: StatusCode, answer: &impl Serialize) -> HttpResponse {
    HttpResponse::build(status).insert_header((REFERRER_POLICY, "no-referrer")).json(answer)
}

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:42rem;margin:3rem auto;padding:0 1rem;color:#222}\
    code{font:14px/1.4 ui-monospace,monospace;background:#f4f4f4;border-radius:3px;padding:.1em .3em;\
    overflow-wrap:anywhere}.token{display:block;padding:1em;user-select:all}\
    button{font:inherit;padding:.6em 1.2em;cursor:pointer}dt{font-weight:600;margin-top:.5em}dd{margin-left:0}";

/// The page's policy: its own style by digest, its own address for the form, and nothing else.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    let digest = BASE64_STANDARD.encode(Sha256Digest::of(STYLE.as_bytes()).0);
    format!(
        "default-src 'none'; style-src 'sha256-{digest}'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    )
});

fn page(status: StatusCode, content: &str) -> HttpResponse {
    let html = format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>\
         <meta name=robots content='noindex,nofollow'><title>A token of Vestibule</title><style>{STYLE}</style>{content}"
    );
    HttpResponse::build(status)
        .insert_header((CONTENT_TYPE, "text/html; charset=utf-8"))
        .insert_header((CONTENT_SECURITY_POLICY, POLICY.as_str()))
        .insert_header((X_FRAME_OPTIONS, "DENY"))
        .insert_header((REFERRER_POLICY, "no-referrer"))
        .body(html)
}

fn offer(request: &AccessRequest, ends_at: Timestamp) -> String {
    format!(
        "<h1>A token is waiting</h1>{}<p>This link works once, until {ends_at:.0}. Press the button only when you can put \
         the token where the workflow keeps its secrets: it is shown once and never again.</p>\
         <form method=post><button type=submit>Show the token</button></form>",
        facts(request)
    )
}

fn shown(claimed: &ClaimedToken) -> String {
    let replaced = claimed.replaces.as_ref().map_or_else(String::new, |(old, at)| {
        format!("<p>It takes the place of token <code>{old}</code>, which works until {at:.0}.</p>")
    });
    format!(
        "<h1>Your token</h1><code class=token>{}</code><p>Copy it now, into the store of secrets of its workflow and nowhere \
         else. This page cannot be opened again.</p>{replaced}{}",
        escape(claimed.created.token.expose()),
        facts(&claimed.request)
    )
}

fn facts(request: &AccessRequest) -> String {
    let asked = &request.asked;
    let scopes: Vec<String> =
        asked.scopes.iter().map(|scope| format!("<dd><code>{}</code>", escape(&scope.to_string()))).collect();
    format!(
        "<dl><dt>App and workflow<dd>{}/{} ({})<dt>Who answers for it<dd>{}<dt>What it allows{}<dt>Works until<dd>{}</dl>",
        escape(asked.app.as_str()),
        escape(asked.workflow.as_str()),
        asked.environment.as_str(),
        escape(asked.owner.as_str()),
        scopes.concat(),
        asked.expires_at.map_or_else(|| "it is revoked".to_owned(), |at| format!("{at:.0}")),
    )
}
