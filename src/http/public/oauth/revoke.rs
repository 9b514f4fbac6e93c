//! `POST /revoke` (RFC 7009): whoever holds a token ends it.

use actix_web::{HttpRequest, HttpResponse, web};

use crate::app::App;
use crate::http::body::RawBody;
use crate::http::context::Context;
use crate::http::problem::{Document, Oauth, Problem};

use super::form::{OneToken, one_token};

/// Ends a token and those derived from it; to have it is enough. The answer is the same for what is no token.
#[utoipa::path(
    post, path = "/revoke", tag = "tokens",
    request_body(content = OneToken, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "It does not work, on any node, within a second"),
        (status = "4XX", description = "No token was sent; see `error` and `code`", body = Document),
        (status = 503, description = "A dependency is away; the token may still work", body = Document),
    )
)]
pub(in crate::http) async fn revoke(
    app: web::Data<App>,
    context: Context,
    request: HttpRequest,
    body: RawBody,
) -> Result<HttpResponse, Problem> {
    let token = one_token(&request, body.0);
    match app.give_back_token(&context.0, token).await {
        Ok(()) => Ok(HttpResponse::Ok().finish()),
        Err(refusal) => Err(Problem::new(refusal, context.0.request_id).oauth(Oauth::Token)),
    }
}
