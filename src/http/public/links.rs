//! `GET /d/{link}`: one-time links.

use actix_web::http::header::{CACHE_CONTROL, LOCATION, REFERRER_POLICY};
use actix_web::{HttpResponse, web};

use crate::app::App;
use crate::http::context::Context;
use crate::http::problem::{Document, Problem};

/// Follows a one-time link.
#[utoipa::path(
    get, path = "/d/{link}", tag = "objects",
    params(("link" = String, Path, description = "The secret of the link")),
    responses(
        (status = 302, description = "To a provider URL of at most 60 seconds"),
        (status = 404, description = "Unknown, used or ended", body = Document, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn follow_link(
    app: web::Data<App>,
    context: Context,
    link: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let minted =
        app.follow_link(&context.0, &link).await.map_err(|refusal| Problem::new(refusal, context.0.request_id))?;
    Ok(HttpResponse::Found()
        .insert_header((LOCATION, minted.url.into_exposed()))
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header((REFERRER_POLICY, "no-referrer"))
        .finish())
}
