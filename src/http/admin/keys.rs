//! `/admin/keys`: which keys the gateway has, and a new one in the place of the one in use.

use std::time::Duration;

use actix_web::{HttpResponse, web};
use jiff::Timestamp;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::domain::refusal::{Reason, Refusal};
use crate::http::body::Body;
use crate::http::context::Context;
use crate::http::operates::{Administer, Look, Operates};
use crate::http::problem::{Document, Problem};
use crate::policy::parse_life;
use crate::store::{GatewayKey, KeyPurpose};

/// How a key is rotated.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(example = json!({"window":"1h"}))]
pub(in crate::http) struct RotateKeyBody {
    /// How long what the key before made is still accepted, for example `24h`; `0s` for not at all. Where absent: an hour for
    /// `token-signing`, ten minutes for `dpop-nonce`, a day for `eventgrid`.
    window: Option<String>,
}

/// A key without its secret.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct KeyView {
    /// Its name; the `kid` of what it signs.
    key_id: String,
    /// `token-signing`, `dpop-nonce` or `eventgrid`.
    purpose: &'static str,
    /// Which key of its purpose.
    number: u64,
    /// Whether it is the one in use.
    in_use: bool,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// Until when what it made is accepted; absent for the one in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    accepted_until: Option<Timestamp>,
}

impl From<&GatewayKey> for KeyView {
    fn from(key: &GatewayKey) -> Self {
        Self {
            key_id: key.id.to_string(),
            purpose: key.purpose.as_str(),
            number: key.number,
            in_use: key.is_in_use(),
            created_at: key.created_at,
            accepted_until: key.accepted_until,
        }
    }
}

/// Every key of the gateway.
#[derive(Serialize, utoipa::ToSchema)]
pub(in crate::http) struct KeyList {
    /// By purpose, the one in use first.
    keys: Vec<KeyView>,
}

/// A rotation.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct RotatedKeyAnswer {
    #[serde(flatten)]
    key: KeyView,
    /// The key before, where there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    previous_key_id: Option<String>,
    /// Until when that one is accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    previous_accepted_until: Option<Timestamp>,
    /// What the delivery property of Event Grid's subscription has to hold from now on; shown once. A credential.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
}

/// Lists the gateway's keys, without secrets.
#[utoipa::path(
    get, path = "/admin/keys", tag = "keys", security(("bearer" = [])),
    responses((status = 200, description = "Every key", body = KeyList))
)]
pub(in crate::http) async fn list_keys(
    app: web::Data<App>,
    who: Operates<Look>,
    context: Context,
) -> Result<HttpResponse, Problem> {
    let keys =
        app.list_keys(&context.0, &who.who).await.map_err(|refusal| Problem::new(refusal, context.0.request_id))?;
    Ok(HttpResponse::Ok().json(KeyList { keys: keys.iter().map(KeyView::from).collect() }))
}

/// Makes a new key, which is used at once; the one before is accepted until the window ends.
#[utoipa::path(
    post, path = "/admin/keys/{purpose}/rotate", tag = "keys", security(("bearer" = [])), request_body = RotateKeyBody,
    params(("purpose" = String, Path, description = "`token-signing`, `dpop-nonce` or `eventgrid`")),
    responses(
        (status = 201, description = "The new key", body = RotatedKeyAnswer),
        (status = "4XX", description = "Refused; see `code`", body = Document, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn rotate_key(
    app: web::Data<App>,
    who: Operates<Administer>,
    context: Context,
    purpose: web::Path<String>,
    body: Body<RotateKeyBody>,
) -> Result<HttpResponse, Problem> {
    let context = context.with_body(body.digest);
    let asked = body.parsed.and_then(|body| asked(&purpose, &body));
    let rotated = app
        .rotate_key(&context.0, &who.who, asked)
        .await
        .map_err(|refusal| Problem::new(refusal, context.0.request_id))?;
    let (previous_key_id, previous_accepted_until) =
        rotated.previous.map(|(id, until)| (id.to_string(), until)).unzip();
    let secret = rotated.secret.map(|secret| secret.expose_secret().to_owned());
    let key = KeyView::from(&rotated.key);
    Ok(HttpResponse::Created().json(RotatedKeyAnswer { key, previous_key_id, previous_accepted_until, secret }))
}

fn asked(purpose: &str, body: &RotateKeyBody) -> Result<(KeyPurpose, Option<Duration>), Refusal> {
    let purposes = || KeyPurpose::ALL.map(KeyPurpose::as_str);
    let purpose = KeyPurpose::from_name(purpose)
        .ok_or_else(|| Refusal::new(Reason::NotFound, "There is no key for this purpose.").allowed(purposes()))?;
    let window = body.window.as_deref().map(parse_life).transpose();
    let window = window.map_err(|error| Refusal::new(Reason::InvalidField, format!("window: {error}.")))?;
    Ok((purpose, window))
}
