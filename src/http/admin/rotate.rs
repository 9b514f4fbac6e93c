//! `POST /admin/tokens/{id}/rotate`: a second token with the same rights; both work until the window ends.

use actix_web::{HttpResponse, web};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::app::{App, Rotation};
use crate::domain::refusal::{Reason, Refusal};
use crate::http::body::Body;
use crate::http::context::Context;
use crate::http::operates::{Operates, Provision};
use crate::http::problem::{Document, Problem};
use crate::policy::parse_life;

use super::tokens::CreatedTokenAnswer;

/// How a token is rotated.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(example = json!({"window":"24h"}))]
pub(in crate::http) struct RotateBody {
    /// How long both work, for example `24h`; at most 30 days. As `change_window` in `access.toml` says where absent.
    window: Option<String>,
    /// When the new one stops working (RFC 3339); after as long a life as the old one was given where absent.
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
}

impl TryFrom<RotateBody> for Rotation {
    type Error = Refusal;

    fn try_from(body: RotateBody) -> Result<Self, Refusal> {
        let window = body.window.as_deref().map(parse_life).transpose();
        let window = window.map_err(|error| Refusal::new(Reason::InvalidField, format!("window: {error}.")))?;
        Ok(Self { window, expires_at: body.expires_at })
    }
}

/// A token that was just rotated.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct RotatedAnswer {
    #[serde(flatten)]
    created: CreatedTokenAnswer,
    /// The old token.
    replaces: String,
    /// Until when it works.
    #[schema(value_type = String, format = DateTime)]
    replaced_until: Timestamp,
}

/// Rotates a token.
#[utoipa::path(
    post, path = "/admin/tokens/{id}/rotate", tag = "tokens", request_body = RotateBody, security(("bearer" = [])),
    params(("id" = String, Path, description = "The tokenId")),
    responses(
        (status = 201, description = "The new token, shown once", body = RotatedAnswer),
        (status = "4XX", description = "Refused; see `code`", body = Document, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn rotate_token(
    app: web::Data<App>,
    who: Operates<Provision>,
    context: Context,
    id: web::Path<String>,
    body: Body<RotateBody>,
) -> Result<HttpResponse, Problem> {
    let context = context.with_body(body.digest);
    let old = id.parse().map_err(|error| Refusal::new(Reason::NotFound, format!("There is no such token: {error}.")));
    let rotated = app
        .rotate_token(&context.0, &who.who, old, body.parsed.and_then(TryInto::try_into))
        .await
        .map_err(|refusal| Problem::new(refusal, context.0.request_id))?;
    Ok(HttpResponse::Created().json(RotatedAnswer {
        created: CreatedTokenAnswer::from(&rotated.created),
        replaces: id.into_inner(),
        replaced_until: rotated.old_ends_at,
    }))
}
