//! Errors as `application/problem+json` (RFC 9457).
//!
//! Made from a refusal and the request's id; code, status and title come from the one table in `domain::refusal`.

use std::fmt;
use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpResponse, ResponseError};
use jiff::Timestamp;
use serde::Serialize;

use crate::domain::refusal::{Reason, Refusal};

use super::possession::challenges;

/// A refusal on its way to the client.
#[derive(Debug)]
pub struct Problem {
    refusal: Refusal,
    request_id: Arc<str>,
    allow: Option<String>,
    oauth: Option<Oauth>,
}

/// How a refusal is told to OAuth's clients: always with `error` and `error_description`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Oauth {
    /// At the token endpoint, to a form (RFC 6749 section 5.2): `application/json`, and 400 where a token is not accepted.
    Token,
    /// To a client that has to say who it is (RFC 6749 section 5.2): `application/json`.
    Client,
    /// To a token in the header, as problem document.
    Header,
}

impl Oauth {
    fn status(self, reason: Reason) -> u16 {
        match reason.status() {
            401 if self == Self::Token => 400,
            status => status,
        }
    }

    /// The code of RFC 6749 section 5.2, RFC 8693 section 2.2.2, RFC 9449 section 5 or RFC 8628 section 3.5.
    fn error(self, reason: Reason) -> &'static str {
        match (reason, reason.status()) {
            (Reason::GrantTypeUnsupported, _) => "unsupported_grant_type",
            (Reason::ScopeNotGranted, _) => "invalid_scope",
            (Reason::ExchangeTargetInvalid | Reason::AppUnknown, _) => "invalid_target",
            (Reason::DpopNonceRequired, _) => "use_dpop_nonce",
            (Reason::DpopProofInvalid, _) => "invalid_dpop_proof",
            (_, 401) if self == Self::Client => "invalid_client",
            (_, 401) if self == Self::Header => "invalid_token",
            (_, 403) => "access_denied",
            (_, 429) => "slow_down",
            (_, 503) => "temporarily_unavailable",
            (_, 500) => "server_error",
            _ => "invalid_request",
        }
    }
}

/// The problem document.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Document<'a> {
    /// The address of the row in the error table.
    #[serde(rename = "type")]
    #[schema(example = "/docs#type_not_allowed")]
    kind: String,
    /// The kind of problem; the same for every occurrence.
    title: &'a str,
    /// The HTTP status.
    status: u16,
    /// What was wrong, what is allowed, what to do next.
    detail: &'a str,
    /// OAuth's code, at its endpoints.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "invalid_scope")]
    error: Option<&'a str>,
    /// The detail once more, for OAuth's clients.
    #[serde(rename = "error_description", skip_serializing_if = "Option::is_none")]
    error_description: Option<String>,
    /// The stable code.
    #[schema(example = "type_not_allowed")]
    code: &'a str,
    /// The request's id, for your platform team.
    request_id: &'a str,
    /// The limit that was met.
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u64>,
    /// What was met: a limit as the headers RateLimit and RateLimit-Policy name it, or a quota as `GET /limits` does.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "workflow-second")]
    quota: Option<&'a str>,
    /// What would be accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    allowed: Option<&'a [String]>,
    /// Seconds after which a retry makes sense.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u32>,
    /// Before when the object may not be deleted (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    retained_until: Option<Timestamp>,
}

impl Problem {
    /// This refusal as the answer to that request.
    pub fn new(refusal: Refusal, request_id: impl Into<Arc<str>>) -> Self {
        Self { refusal, request_id: request_id.into(), allow: None, oauth: None }
    }

    /// Tells it to a client of OAuth.
    #[must_use]
    pub(super) fn oauth(mut self, manner: Oauth) -> Self {
        self.oauth = Some(manner);
        self
    }

    /// What was wrong, for a page.
    pub(super) fn detail(&self) -> &str {
        &self.refusal.detail
    }

    /// Adds the methods that the resource has (RFC 9110 section 10.2.1).
    #[must_use]
    pub(super) fn allow(mut self, methods: impl Into<String>) -> Self {
        self.allow = Some(methods.into());
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.refusal, f)
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        let reason = self.refusal.reason;
        let status = self.oauth.map_or_else(|| reason.status(), |manner| manner.status(reason));
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        let reason = self.refusal.reason;
        let document = Document {
            kind: format!("/docs#{}", reason.code()),
            title: reason.title(),
            status: self.status_code().as_u16(),
            detail: &self.refusal.detail,
            error: self.oauth.map(|manner| manner.error(reason)),
            error_description: self.oauth.map(|_| described(&self.refusal.detail)),
            code: reason.code(),
            request_id: &self.request_id,
            limit: self.refusal.limit,
            quota: self.refusal.quota,
            allowed: self.refusal.allowed.as_deref(),
            retry_after: self.refusal.retry_after,
            retained_until: self.refusal.retained_until.as_deref().copied(),
        };
        let mut answer = HttpResponse::build(self.status_code());
        let plain = matches!(self.oauth, Some(Oauth::Token | Oauth::Client));
        answer.insert_header((CONTENT_TYPE, if plain { "application/json" } else { "application/problem+json" }));
        if let Some(seconds) = self.refusal.retry_after {
            answer.insert_header((RETRY_AFTER, seconds.to_string()));
        }
        if reason == Reason::RequestTimeout {
            // The rest of the body would be read as the next request.
            answer.force_close();
        }
        if let Some(methods) = &self.allow {
            answer.insert_header((ALLOW, methods.as_str()));
        }
        if self.status_code() == StatusCode::UNAUTHORIZED {
            for challenge in challenges(reason) {
                answer.append_header((WWW_AUTHENTICATE, challenge));
            }
        }
        answer.body(serde_json::to_vec(&document).unwrap_or_default())
    }
}

/// A detail as OAuth takes it: visible ASCII and spaces, without `"` and `\` (RFC 6749 section 5.2).
fn described(detail: &str) -> String {
    let plain = |c: char| match c {
        '"' | '\\' => '\'',
        c if c == ' ' || c.is_ascii_graphic() => c,
        _ => '?',
    };
    detail.chars().map(plain).collect()
}
