//! `POST /introspect` (RFC 7662): a workflow asks whether a token of its own app is good.

use actix_web::http::StatusCode;
use actix_web::http::header::AUTHORIZATION;
use actix_web::{HttpMessage, HttpRequest, HttpResponse, web};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Serialize;

use crate::app::App;
use crate::domain::binding::Binding;
use crate::domain::ids::TokenId;
use crate::domain::refusal::{Reason, Refusal};
use crate::domain::scope::Scopes;
use crate::http::answer::json;
use crate::http::auth::{self, CUSTOM_HEADER};
use crate::http::body::RawBody;
use crate::http::context::Context;
use crate::http::possession::{Shown, offer_nonce};
use crate::http::problem::{Document, Oauth, Problem};
use crate::identity::Scheme;
use crate::identity::access_token::Confirmation;
use crate::store::{TokenHolder, TokenRecord};

use super::form::{OneToken, one_token};

/// What is told of a token. Everything but `active` is absent where it is not good, or of another app.
#[derive(Default, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct IntrospectionAnswer {
    /// Whether it is good.
    active: bool,
    /// What it allows: scopes, separated by spaces.
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
    /// Its workflow, as `<app>/<workflow>`.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<String>,
    /// The person on whose behalf it acts, or its workflow.
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<String>,
    /// The gateway.
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<String>,
    /// The gateway.
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<String>,
    /// When it ends, in seconds since 1970; absent where it has no end.
    #[serde(skip_serializing_if = "Option::is_none")]
    exp: Option<i64>,
    /// When it was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    iat: Option<i64>,
    /// Its id.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    jti: Option<TokenId>,
    /// `Bearer` or `DPoP`.
    #[serde(skip_serializing_if = "Option::is_none")]
    token_type: Option<&'static str>,
    /// The key that it is bound to, as `jkt` or `x5t#S256`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    cnf: Option<Confirmation>,
}

/// Says whether a token of the asker's own app is good. Never from memory.
#[utoipa::path(
    post, path = "/introspect", tag = "tokens",
    request_body(content = OneToken, content_type = "application/x-www-form-urlencoded"),
    security(("bearer" = []), ("workflowToken" = []), ("basic" = [])),
    responses(
        (status = 200, description = "`{\"active\": false}` for everything that is not a good token of the app", body = IntrospectionAnswer),
        (status = "4XX", description = "Refused; see `error` and `code`", body = Document),
        (status = 503, description = "A dependency is away", body = Document),
    )
)]
pub(in crate::http) async fn introspect(
    app: web::Data<App>,
    context: Context,
    request: HttpRequest,
    body: RawBody,
) -> Result<HttpResponse, Problem> {
    let problem = |refusal| Problem::new(refusal, context.0.request_id.clone()).oauth(Oauth::Client);
    let (scheme, own) = match credentials(&request) {
        Ok(found) => found,
        Err(refusal) => return Err(problem(app.refuse_anonymous(&context.0, refusal).await)),
    };
    let evidence = Shown { request: &request, scheme };
    let asker = app.authenticate(&context.0, &own, &evidence).await;
    offer_nonce(&request, &app, asker.as_ref().is_ok_and(|asker| asker.renew_nonce), asker.as_ref().err());
    let asker = asker.map_err(problem)?;
    // The middleware answers cross-origin pages of this app.
    request.extensions_mut().insert(asker.who.app.clone());
    let token = one_token(&request, body.0);
    let found = app.introspect(&context.0, &asker.who, token).await.map_err(problem)?;
    let answer = found.map(|record| describe(record, &app.settings.public_url)).unwrap_or_default();
    Ok(json(StatusCode::OK, &answer))
}

/// The asker's own token: as a bearer, or as `client_secret_basic` (RFC 6749 section 2.3.1) with its id as the name.
fn credentials(request: &HttpRequest) -> Result<(Scheme, String), Refusal> {
    let header = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let basic = header.and_then(|value| {
        let (scheme, rest) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("basic").then_some(rest.trim())
    });
    let Some(basic) = basic.filter(|_| !request.headers().contains_key(CUSTOM_HEADER)) else {
        return auth::presented(request, CUSTOM_HEADER).map(|(scheme, token)| (scheme, token.to_owned()));
    };
    if request.headers().get_all(AUTHORIZATION).count() > 1 {
        return Err(Refusal::new(
            Reason::TokenInvalid,
            "The request has more than one header Authorization. Send one.",
        ));
    }
    basic_token(basic).map(|token| (Scheme::Bearer, token)).ok_or_else(|| {
        let detail = "Send the id of your token as the name and the token itself as the password, each form-encoded.";
        Refusal::new(Reason::TokenInvalid, detail)
    })
}

fn basic_token(encoded: &str) -> Option<String> {
    let text = String::from_utf8(BASE64_STANDARD.decode(encoded).ok()?).ok()?;
    let (name, password) = text.split_once(':')?;
    // A form of one name without a value: the encoding that the standard asks for.
    let decoded = |text: &str| url::form_urlencoded::parse(text.as_bytes()).next().map(|(name, _)| name.into_owned());
    let (name, password) = (decoded(name)?, decoded(password)?);
    crate::identity::names_token(&password, &name.parse().ok()?).then_some(password)
}

fn describe(record: TokenRecord, gateway: &str) -> IntrospectionAnswer {
    let TokenHolder::Workflow { app, workflow, scopes, subject, .. } = record.holder else {
        return IntrospectionAnswer::default();
    };
    let client = format!("{app}/{workflow}");
    IntrospectionAnswer {
        active: true,
        scope: Some(Scopes::from(scopes).to_list()),
        sub: Some(subject.map_or_else(|| client.clone(), |subject| subject.user)),
        client_id: Some(client),
        iss: Some(gateway.to_owned()),
        aud: Some(gateway.to_owned()),
        exp: record.expires_at.map(|at| at.as_second()),
        iat: Some(record.created_at.as_second()),
        jti: Some(record.id),
        token_type: Some(if matches!(record.binding, Some(Binding::Dpop(_))) { "DPoP" } else { "Bearer" }),
        cnf: record.binding.map(Confirmation),
    }
}
