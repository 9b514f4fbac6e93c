//! `POST /events/eventgrid` and `POST /events/sns`: push delivery.
//!
//! The decisions (key, signature, handshake) are `worker::events::push`'s, the one sideways import of this layer; here
//! they become status codes. A delivery is answered with success only after everything in it is durable.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};

use crate::app::App;
use crate::domain::refusal::{Reason, Refusal};
use crate::worker::events::push::PushOutcome;
use crate::worker::events::push::eventgrid::{self as event_grid, KEY_HEADER};
use crate::worker::events::push::sns::SnsReceiver;
use crate::worker::events::{HintHandler, deliver};

use super::body::RawBody;
use super::context::Context;
use super::problem::{Document, Problem};

/// What the endpoints need; each is closed where its part is absent.
pub struct Push {
    /// Who takes the hints.
    pub handler: Arc<dyn HintHandler>,
    /// Checks SNS deliveries.
    pub sns: Option<SnsReceiver>,
}

/// Takes a delivery by Event Grid, in its own schema or as CloudEvents.
#[utoipa::path(
    post, path = "/events/eventgrid", tag = "events",
    request_body(content = Vec<Object>, description = "Event Grid events, or CloudEvents 1.0"),
    responses(
        (status = 200, description = "Everything in it is recorded, or the handshake is answered"),
        (status = "4XX", description = "Refused; see `code`", body = Document, content_type = "application/problem+json"),
        (status = 503, description = "Could not be recorded; send it again", body = Document, content_type = "application/problem+json"),
    )
)]
pub(super) async fn eventgrid(
    app: web::Data<App>,
    push: web::Data<Push>,
    context: Context,
    request: HttpRequest,
    body: RawBody,
) -> Result<HttpResponse, Problem> {
    let body = match body.0 {
        Ok(body) => body,
        Err(refusal) => return Err(refuse(&app, &context, refusal).await),
    };
    let key = request.headers().get(KEY_HEADER).map(|value| value.as_bytes());
    let outcome = match app.event_grid_keys().await {
        Ok(accepted) => event_grid::handle(&accepted, key, &body),
        Err(error) => PushOutcome::Away(error.to_string()),
    };
    answer(&app, &push, &context, "push:eventgrid", &body, outcome).await
}

/// The handshake of CloudEvents webhooks (HTTP 1.1 Web Hooks for Event Delivery, section 4).
pub(super) async fn eventgrid_handshake(
    app: web::Data<App>,
    context: Context,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let accepted =
        app.event_grid_keys().await.map_err(|error| Problem::new(error.into(), context.0.request_id.clone()))?;
    let origin = request.headers().get("webhook-request-origin").and_then(|value| value.to_str().ok());
    match event_grid::preflight(&accepted, origin) {
        Some(headers) => {
            let mut answer = HttpResponse::Ok();
            for header in headers {
                answer.insert_header(header);
            }
            Ok(answer.finish())
        }
        None => {
            let refusal =
                Refusal::new(Reason::NotFound, "Only Event Grid may ask, and only where a key is configured.");
            Err(refuse(&app, &context, refusal).await)
        }
    }
}

/// Takes a delivery by SNS; its signature is checked.
#[utoipa::path(
    post, path = "/events/sns", tag = "events",
    request_body(content = Object, description = "A message of SNS", content_type = "text/plain"),
    responses(
        (status = 200, description = "Everything in it is recorded, or the subscription is confirmed"),
        (status = "4XX", description = "Refused; see `code`", body = Document, content_type = "application/problem+json"),
        (status = 503, description = "Could not be recorded; send it again", body = Document, content_type = "application/problem+json"),
    )
)]
pub(super) async fn sns(
    app: web::Data<App>,
    push: web::Data<Push>,
    context: Context,
    body: RawBody,
) -> Result<HttpResponse, Problem> {
    let body = match body.0 {
        Ok(body) => body,
        Err(refusal) => return Err(refuse(&app, &context, refusal).await),
    };
    let outcome = match &push.sns {
        Some(receiver) => receiver.handle(&body).await,
        None => PushOutcome::Refused("events.sns is not configured"),
    };
    answer(&app, &push, &context, "push:sns", &body, outcome).await
}

/// Records that a delivery was refused, and says so.
async fn refuse(app: &App, context: &Context, refusal: Refusal) -> Problem {
    Problem::new(app.refuse_anonymous(&context.0, refusal).await, context.0.request_id.clone())
}

async fn answer(
    app: &App,
    push: &Push,
    context: &Context,
    source: &str,
    body: &[u8],
    outcome: PushOutcome,
) -> Result<HttpResponse, Problem> {
    let away = |cause: &str| {
        tracing::warn!(source, cause, "a delivery could not be taken");
        let refusal = Refusal::new(Reason::DatabaseUnavailable, "The delivery could not be recorded. Send it again.");
        Problem::new(refusal.retry_after(10), context.0.request_id.clone())
    };
    match outcome {
        PushOutcome::Validation(body) => Ok(HttpResponse::Ok().content_type("application/json").body(body)),
        PushOutcome::Done => Ok(HttpResponse::Ok().finish()),
        PushOutcome::Refused(cause) => {
            tracing::warn!(source, cause, "a delivery was refused");
            let refusal = Refusal::new(Reason::TokenInvalid, "The delivery could not prove where it comes from.");
            Err(refuse(app, context, refusal).await)
        }
        PushOutcome::Away(cause) => Err(away(&cause)),
        PushOutcome::Events(parsed) => {
            let text = String::from_utf8_lossy(body);
            match deliver(push.handler.as_ref(), source, &text, &parsed).await {
                Ok(_) => Ok(HttpResponse::Ok().finish()),
                Err(error) => Err(away(&error.0)),
            }
        }
    }
}
