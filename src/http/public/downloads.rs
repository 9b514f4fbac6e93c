//! `POST /request-download`.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};

use crate::app::{App, DownloadQuery};
use crate::domain::audit::AuditAction;
use crate::http::answer::{DownloadAnswer, json};
use crate::http::auth::{Authorized, CreateDownload};
use crate::http::body::Body;
use crate::http::context::Context;
use crate::http::limits::admit;
use crate::http::problem::{Document, Problem};
use crate::policy::bodies::DownloadBody;

/// Asks to download one visible object.
#[utoipa::path(
    post, path = "/request-download", tag = "objects", request_body = DownloadBody,
    security(("bearer" = []), ("workflowToken" = [])),
    responses(
        (status = 200, description = "The URL and what it leads to", body = DownloadAnswer),
        (status = 404, description = "The app has no such object", body = Document, content_type = "application/problem+json"),
        (status = 409, description = "Not visible yet, or held for review", body = Document, content_type = "application/problem+json"),
        (status = 410, description = "Rejected, expired or deleted", body = Document, content_type = "application/problem+json"),
        (status = "4XX", description = "Refused; see `code`", body = Document, content_type = "application/problem+json"),
        (status = 503, description = "A dependency is away", body = Document, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn request_download(
    app: web::Data<App>,
    who: Authorized<CreateDownload>,
    context: Context,
    request: HttpRequest,
    body: Body<DownloadBody>,
) -> Result<HttpResponse, Problem> {
    let query: Result<DownloadQuery, _> = body.parsed.and_then(TryInto::try_into);
    let named = query.as_ref().ok().and_then(|query| query.which.id());
    let context = context.with_body(body.digest).about(named);
    let admission = admit(&app, &who.who, &context, &request, AuditAction::RequestDownload).await?;
    let issued = app
        .request_download(&context.0, &who.who, admission, query)
        .await
        .map_err(|refusal| Problem::new(refusal, context.0.request_id))?;
    Ok(json(StatusCode::OK, &DownloadAnswer::from(issued)))
}
