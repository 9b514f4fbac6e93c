//! What happens around every request: its id, its span, its metric, and the headers that every answer carries.

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{CACHE_CONTROL, HeaderName, HeaderValue, ORIGIN, X_CONTENT_TYPE_OPTIONS};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage};
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Instrument;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::app::App;
use crate::domain::ids::AppName;

use super::{context, cors};

/// The name of the id header, in and out.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Wraps a request of the public listener.
pub(super) async fn public(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    around("public", request, next).await
}

/// Wraps a request of the admin listener.
pub(super) async fn admin(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    around("admin", request, next).await
}

async fn around<B: MessageBody>(
    listener: &'static str,
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let context = context::gather(&request);
    let started = context.0.started;
    let request_id = context.0.request_id.clone();
    let context_method = context.0.method;
    let span = tracing::info_span!(
        "request",
        listener,
        method = context.0.method,
        request_id = %request_id,
        route = tracing::field::Empty,
        status = tracing::field::Empty,
    );
    if request.headers().contains_key("traceparent") {
        let parent = TraceContextPropagator::new().extract(&Headers(&request));
        // Without a collector there is nothing to attach to.
        let _ = span.set_parent(parent);
    }
    request.extensions_mut().insert(context);

    let clock = request.app_data::<actix_web::web::Data<App>>().map(|app| app.clock.clone());
    let mut response = next.call(request).instrument(span.clone()).await?;
    let (route, status) = (context::route(response.request()), response.status().as_u16());
    span.record("route", route).record("status", status);
    if let Some(clock) = clock {
        let seconds = clock.now().duration_since(started).as_secs_f64();
        metrics::histogram!("vestibule_request_seconds", "listener" => listener, "route" => route, "status" => status_class(status))
            .record(seconds);
        span.in_scope(|| tracing::debug!(route, status, seconds, "answered"));
    }
    let origin = response.request().headers().get(ORIGIN).cloned();
    let asking = response.request().extensions().get::<AppName>().cloned();
    let app = response.request().app_data::<actix_web::web::Data<App>>().cloned();
    let headers = response.headers_mut();
    if let (Some(origin), Some(app), "public") = (origin, app, listener)
        && context_method != "OPTIONS"
    {
        cors::allow(&app, asking.as_ref(), &origin, headers);
    }
    if let Ok(id) = HeaderValue::from_str(&request_id) {
        headers.insert(REQUEST_ID, id);
    }
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if !headers.contains_key(CACHE_CONTROL) {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    Ok(response)
}

fn status_class(status: u16) -> &'static str {
    match status {
        200..=299 => "2xx",
        300..=399 => "3xx",
        400..=499 => "4xx",
        _ => "5xx",
    }
}

/// The request's headers for the W3C trace context propagator.
struct Headers<'a>(&'a ServiceRequest);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.headers().get(key).and_then(|value| value.to_str().ok())
    }

    fn keys(&self) -> Vec<&str> {
        self.0.headers().keys().map(HeaderName::as_str).collect()
    }
}
