//! `POST /oauth/token`, `POST /exchange`, `POST /issue-token`: one verb in three forms.
//!
//! The first is RFC 8693, form-encoded. The second takes that too, and a short form in JSON with the token in the header.
//! The third is the short form for a platform that has signed the person in already and sends its session's access token.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderValue, PRAGMA};
use actix_web::{HttpMessage, HttpRequest, HttpResponse, web};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::app::{App, ExchangeWish, IssuedToken, TokenType};
use crate::domain::binding::Binding;
use crate::domain::bytes::Sha256Digest;
use crate::domain::ids::TokenId;
use crate::domain::refusal::{Reason, Refusal};
use crate::domain::scope::{Action, Scopes};
use crate::http::answer::json;
use crate::http::auth::{self, CUSTOM_HEADER};
use crate::http::body::{self, RawBody};
use crate::http::context::Context;
use crate::http::possession::offer_nonce;
use crate::http::problem::{Document, Oauth, Problem};
use crate::identity::HeldKey;
use crate::policy::Wanted;
use crate::policy::bodies::invalid;

use super::form::{Form, is_form};
use super::proof::held;

/// RFC 8693 section 2.1.
pub(super) const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

/// The form of RFC 8693.
#[derive(utoipa::ToSchema)]
#[allow(dead_code, reason = "describes the form")]
pub(in crate::http) struct TokenForm {
    /// Always `urn:ietf:params:oauth:grant-type:token-exchange`.
    grant_type: String,
    /// The id_token or access_token of a trusted identity provider, or a workflow's own token.
    subject_token: String,
    /// `urn:ietf:params:oauth:token-type:id_token`, `…:access_token` or `…:jwt`.
    subject_token_type: String,
    /// The app, as `app:<app>`, or its bucket, as `bucket:<target>`; also their addresses below the gateway's.
    resource: Option<String>,
    /// The app's name.
    audience: Option<String>,
    /// Scopes, separated by spaces; everything that the token may have where absent.
    scope: Option<String>,
    /// `urn:ietf:params:oauth:token-type:access_token`.
    requested_token_type: Option<String>,
    /// The client to which the subject token was given.
    client_id: Option<String>,
    /// Longest life in seconds; not of RFC 8693.
    ttl: Option<u64>,
}

/// The short form.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(example = json!({"resource": "bucket:project-123", "actions": ["read", "write"], "ttl": 300}))]
pub(in crate::http) struct ExchangeBody {
    /// The app, as `app:<app>`, or its bucket, as `bucket:<target>`.
    resource: Option<String>,
    /// The app's name.
    audience: Option<String>,
    /// `write`, `read`, `list`, `delete`: on everything of the person's in the app.
    actions: Option<Vec<String>>,
    /// Scopes, separated by spaces, in place of actions.
    scope: Option<String>,
    /// Longest life in seconds.
    ttl: Option<u64>,
}

/// The answer (RFC 8693 section 2.2.1), with what it was made of.
#[derive(Serialize, utoipa::ToSchema)]
pub(in crate::http) struct TokenAnswer {
    /// The token. A credential: keep it in memory.
    access_token: String,
    /// `Bearer`, or `DPoP` where it is bound to a key that was proven by DPoP.
    token_type: &'static str,
    /// How many seconds it works.
    expires_in: u64,
    /// `urn:ietf:params:oauth:token-type:access_token`.
    issued_token_type: &'static str,
    /// What it allows: scopes, separated by spaces.
    scope: String,
    /// Its public id, as in the audit trail.
    #[schema(value_type = String, example = "K3w9sVbX2mQ7tLpA")]
    token_id: TokenId,
    /// When it was made (RFC 3339).
    #[schema(value_type = String, format = DateTime)]
    issued_at: Timestamp,
    /// The key that it is bound to, `jkt:…` or `x5t#S256:…`; null where it is bound to none.
    #[schema(value_type = Option<String>)]
    binding: Option<Binding>,
}

impl From<IssuedToken> for TokenAnswer {
    fn from(issued: IssuedToken) -> Self {
        use secrecy::ExposeSecret;
        let binding = issued.record.binding;
        Self {
            access_token: issued.token.expose_secret().to_owned(),
            token_type: if matches!(binding, Some(Binding::Dpop(_))) { "DPoP" } else { "Bearer" },
            expires_in: issued.expires_in,
            issued_token_type: TokenType::AccessToken.as_str(),
            scope: issued.scopes.to_list(),
            token_id: issued.record.id,
            issued_at: Timestamp::from_second(issued.record.created_at.as_second()).unwrap_or_default(),
            binding,
        }
    }
}

/// Exchanges a token for a narrower one of an app (RFC 8693).
#[utoipa::path(
    post, path = "/oauth/token", tag = "tokens",
    request_body(content = TokenForm, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "The token; there is none to renew it with", body = TokenAnswer),
        (status = "4XX", description = "Refused; see `error` (RFC 6749 section 5.2) and `code`", body = Document),
        (status = 503, description = "A dependency is away", body = Document),
    )
)]
pub(in crate::http) async fn token(
    app: web::Data<App>,
    context: Context,
    request: HttpRequest,
    body: RawBody,
) -> Result<HttpResponse, Problem> {
    answer(&app, context, &request, body.0, |body| form(&request, body), Oauth::Token).await
}

/// Exchanges a token for a narrower one of an app: as `/oauth/token`, or the short form with the token in the header.
#[utoipa::path(
    post, path = "/exchange", tag = "tokens",
    security(("bearer" = []), ("workflowToken" = [])),
    request_body(content(
        (ExchangeBody = "application/json"), (TokenForm = "application/x-www-form-urlencoded")
    )),
    responses(
        (status = 200, description = "The token; there is none to renew it with", body = TokenAnswer),
        (status = "4XX", description = "Refused; see `code`", body = Document, content_type = "application/problem+json"),
        (status = 503, description = "A dependency is away", body = Document, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn exchange(
    app: web::Data<App>,
    context: Context,
    request: HttpRequest,
    body: RawBody,
) -> Result<HttpResponse, Problem> {
    if is_form(&request) {
        return answer(&app, context, &request, body.0, |body| form(&request, body), Oauth::Token).await;
    }
    answer(&app, context, &request, body.0, |body| short(&request, body, None), Oauth::Header).await
}

/// Gives a platform's page a token for the person of its session: the access token of the session is in the header. Asked
/// again with the session's token of then, it renews.
#[utoipa::path(
    post, path = "/issue-token", tag = "tokens", request_body = ExchangeBody,
    security(("bearer" = [])),
    responses(
        (status = 200, description = "The token; there is none to renew it with", body = TokenAnswer),
        (status = "4XX", description = "Refused; see `code`", body = Document, content_type = "application/problem+json"),
        (status = 503, description = "A dependency is away", body = Document, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn issue_token(
    app: web::Data<App>,
    context: Context,
    request: HttpRequest,
    body: RawBody,
) -> Result<HttpResponse, Problem> {
    let kind = Some(TokenType::AccessToken);
    answer(&app, context, &request, body.0, |body| short(&request, body, kind), Oauth::Header).await
}

async fn answer(
    app: &App,
    context: Context,
    request: &HttpRequest,
    body: Result<Vec<u8>, Refusal>,
    read: impl FnOnce(&[u8]) -> Result<ExchangeWish, Refusal>,
    manner: Oauth,
) -> Result<HttpResponse, Problem> {
    let digest = body.as_ref().ok().map(|body| Sha256Digest::of(body));
    let context = context.with_body(digest);
    let wish = body.and_then(|body| read(&body));
    let subject = match manner {
        Oauth::Header => auth::presented(request, CUSTOM_HEADER).ok(),
        _ => None,
    };
    let (wish, key) = match wish {
        Ok(wish) => match held(app, request, subject).await {
            Ok(key) => (Ok(wish), key),
            Err(refusal) => (Err(refusal), None),
        },
        Err(refusal) => (Err(refusal), None),
    };
    let renew = matches!(&key, Some(HeldKey::Dpop(proof)) if proof.renew());
    let result = app.exchange(&context.0, wish, key).await;
    offer_nonce(request, app, renew, result.as_ref().err().map(|refused| &refused.refusal));
    match result {
        Ok(issued) => {
            request.extensions_mut().insert(issued.standing.clone());
            // The middleware answers cross-origin pages of this app.
            request.extensions_mut().insert(issued.app.clone());
            let mut answer = json(StatusCode::OK, &TokenAnswer::from(issued));
            // RFC 6749 section 5.1; Cache-Control: no-store is on every answer.
            answer.headers_mut().insert(PRAGMA, HeaderValue::from_static("no-cache"));
            Ok(answer)
        }
        Err(refused) => {
            if let Some(standing) = refused.standing {
                request.extensions_mut().insert(standing);
            }
            Err(Problem::new(refused.refusal, context.0.request_id).oauth(manner))
        }
    }
}

/// Reads the form of RFC 8693.
fn form(request: &HttpRequest, body: &[u8]) -> Result<ExchangeWish, Refusal> {
    if !matches!(auth::presented(request, CUSTOM_HEADER), Err(refusal) if refusal.reason == Reason::TokenMissing) {
        let detail = "Send one token: as subject_token in the form, or in the header with the short form in JSON.";
        return Err(Refusal::new(Reason::MalformedRequest, detail));
    }
    let form = Form::read(request, body)?;
    let grant = form.required("grant_type")?;
    if grant != GRANT_TYPE {
        let detail =
            "grant_type: this gateway exchanges tokens and nothing else; people sign in at their identity provider.";
        return Err(Refusal::new(Reason::GrantTypeUnsupported, detail).allowed([GRANT_TYPE]));
    }
    for name in ["actor_token", "actor_token_type"] {
        if form.one(name)?.is_some() {
            let detail = format!("{name}: nobody acts for somebody else here; leave it out.");
            return Err(Refusal::new(Reason::TokenTypeUnsupported, detail));
        }
    }
    let kind = known_type(&form, "subject_token_type", &TokenType::ALL)?
        .ok_or_else(|| Refusal::new(Reason::InvalidField, "subject_token_type: is missing."))?;
    known_type(&form, "requested_token_type", &[TokenType::AccessToken])?;
    let ttl = form.one("ttl")?.map(|text| text.parse().map_err(|error| invalid("ttl", error))).transpose()?;
    Ok(ExchangeWish {
        subject: form.required("subject_token")?.into(),
        kind: Some(kind),
        resources: form.all("resource"),
        audiences: form.all("audience"),
        wanted: scopes(form.one("scope")?)?,
        ttl: seconds(ttl)?,
        client: form.one("client_id")?.map(str::to_owned),
    })
}

/// Reads the short form.
fn short(request: &HttpRequest, body: &[u8], kind: Option<TokenType>) -> Result<ExchangeWish, Refusal> {
    let (_, token) = auth::presented(request, CUSTOM_HEADER)?;
    let body: ExchangeBody = body::json(request, body)?;
    let wanted = match (body.actions, body.scope) {
        (Some(_), Some(_)) => return Err(Refusal::new(Reason::InvalidField, "Send either actions or scope.")),
        (None, scope) => scopes(scope.as_deref())?,
        (Some(actions), None) => Wanted::Actions(known_actions(&actions)?),
    };
    Ok(ExchangeWish {
        subject: token.into(),
        kind,
        resources: body.resource.into_iter().collect(),
        audiences: body.audience.into_iter().collect(),
        wanted,
        ttl: seconds(body.ttl)?,
        client: None,
    })
}

fn known_type(form: &Form, name: &str, known: &[TokenType]) -> Result<Option<TokenType>, Refusal> {
    let Some(text) = form.one(name)? else { return Ok(None) };
    known.iter().copied().find(|kind| kind.as_str() == text).map(Some).ok_or_else(|| {
        Refusal::new(Reason::TokenTypeUnsupported, format!("{name}: this type is not taken here."))
            .allowed(known.iter().map(|kind| kind.as_str()))
    })
}

fn scopes(text: Option<&str>) -> Result<Wanted, Refusal> {
    let Some(text) = text else { return Ok(Wanted::Everything) };
    let scopes = Scopes::parse_list(text)
        .map_err(|error| Refusal::new(Reason::ScopeNotGranted, format!("scope: {error}.")).rule("scope syntax"))?;
    Ok(if scopes.is_empty() { Wanted::Everything } else { Wanted::Scopes(scopes) })
}

fn known_actions(names: &[String]) -> Result<Vec<Action>, Refusal> {
    let unknown = || {
        Refusal::new(Reason::InvalidField, "actions: lists one or more of write, read, list and delete.")
            .allowed(Action::ALL.map(Action::as_str))
    };
    // Each becomes a scope of the token.
    if names.is_empty() || names.len() > Action::ALL.len() {
        return Err(unknown());
    }
    let mut actions = Vec::new();
    for name in names {
        let action = Action::ALL.into_iter().find(|action| action.as_str() == name).ok_or_else(unknown)?;
        if !actions.contains(&action) {
            actions.push(action);
        }
    }
    Ok(actions)
}

fn seconds(ttl: Option<u64>) -> Result<Option<Duration>, Refusal> {
    match ttl {
        Some(0) => Err(Refusal::new(Reason::InvalidField, "ttl: is at least 1 second.")),
        ttl => Ok(ttl.map(Duration::from_secs)),
    }
}
