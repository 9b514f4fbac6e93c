//! `POST /request-upload`.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};

use crate::app::App;
use crate::domain::audit::AuditAction;
use crate::domain::bytes::Sha256Digest;
use crate::domain::refusal::{Reason, Refusal};
use crate::http::answer::{UploadAnswer, json};
use crate::http::auth::{Authorized, CreateUpload};
use crate::http::body::Body;
use crate::http::context::Context;
use crate::http::limits::admit;
use crate::http::problem::Problem;
use crate::policy::bodies::UploadBody;
use crate::store::Idempotency;

/// Asks to upload one object.
#[utoipa::path(
    post, path = "/request-upload", tag = "objects", request_body = UploadBody,
    security(("bearer" = []), ("workflowToken" = [])),
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes a repeated request answer with the same object; 1 to 200 visible ASCII characters")),
    responses(
        (status = 201, description = "The URL and exactly what to send to it", body = UploadAnswer),
        (status = "4XX", description = "Refused; see `code`", body = Document, content_type = "application/problem+json"),
        (status = 503, description = "A dependency is away", body = Document, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn request_upload(
    app: web::Data<App>,
    who: Authorized<CreateUpload>,
    context: Context,
    request: HttpRequest,
    body: Body<UploadBody>,
) -> Result<HttpResponse, Problem> {
    let context = context.with_body(body.digest);
    let admission = admit(&app, &who.who, &context, &request, AuditAction::RequestUpload).await?;
    let key = idempotency(&request, body.digest);
    let parsed = body.parsed.and_then(TryInto::try_into);
    let (parsed, key) = match key {
        Ok(key) => (parsed, key),
        Err(refusal) => (Err(refusal), None),
    };
    let issued = app
        .request_upload(&context.0, &who.who, admission, parsed, key)
        .await
        .map_err(|refusal| Problem::new(refusal, context.0.request_id))?;
    Ok(json(StatusCode::CREATED, &UploadAnswer::from(issued)))
}

fn idempotency(request: &HttpRequest, body: Option<Sha256Digest>) -> Result<Option<Idempotency>, Refusal> {
    let Some(value) = request.headers().get("idempotency-key") else { return Ok(None) };
    let key = value.to_str().unwrap_or_default().trim().trim_matches('"');
    if !(1..=200).contains(&key.len()) || !key.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(Refusal::new(
            Reason::InvalidField,
            "Idempotency-Key: must be 1 to 200 visible ASCII characters, for example a UUID.",
        ));
    }
    Ok(body.map(|body| Idempotency { key: key.to_owned(), body }))
}

use crate::http::problem::Document;
