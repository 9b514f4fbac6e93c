//! What happens around every request: its id, its span, its metric, and the headers that every answer carries.

use std::sync::Arc;
use std::time::Duration;

use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::ConnectionType;
use actix_web::http::header::{CACHE_CONTROL, HeaderName, HeaderValue, ORIGIN, X_CONTENT_TYPE_OPTIONS};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage};
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Instrument;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::app::{App, Standing};
use crate::domain::ids::AppName;
use crate::domain::principal::Sunset;

use super::admission::{self, Places};
use super::endpoint::Endpoint;
use super::possession::FreshNonce;
use super::{context, cors, limits, query, sunset};

/// The name of the id header, in and out.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Wraps a request of the public listener, where there is a place for it.
pub(super) async fn public(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let place = match request.app_data::<Arc<Places>>() {
        Some(places) if !admission::is_about_health(&request) => match places.enter() {
            None => {
                let answer = admission::refuse(&request).await;
                return Ok(request.into_response(answer).map_into_right_body());
            }
            place => place,
        },
        _ => None,
    };
    let answer = around("public", request, next).await?;
    drop(place);
    Ok(answer.map_into_left_body())
}

/// Wraps a request of the admin listener.
pub(super) async fn admin(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    around("admin", request, next).await
}

async fn around<B: MessageBody + 'static>(
    listener: &'static str,
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    let context = context::gather(&request);
    let started = context.0.started;
    let request_id = context.0.request_id.clone();
    let context_method = context.0.method;
    let span = tracing::info_span!("request", listener, method = context.0.method, request_id = &*request_id,);
    if request.headers().contains_key("traceparent") {
        let parent = TraceContextPropagator::new().extract(&Headers(&request));
        // Without a collector there is nothing to attach to.
        let _ = span.set_parent(parent);
    }
    request.extensions_mut().insert(context);

    let app = request.app_data::<actix_web::web::Data<App>>().cloned();
    let mut response = match query::refusal(request.query_string()) {
        None => next.call(request).instrument(span.clone()).await?.map_into_left_body(),
        // Whatever the route: the address is in somebody's log already.
        Some(refusal) => {
            // Boxed: what is rare must not make the future of every connection larger.
            let answer = Box::pin(query::refuse(&request, app.as_ref(), refusal)).instrument(span.clone()).await;
            request.into_response(answer).map_into_right_body()
        }
    };
    let status = response.status().as_u16();
    if let (Some(app), Some(endpoint)) = (&app, response.request().app_data::<Endpoint>()) {
        let took = Duration::try_from(app.clock.now().duration_since(started)).unwrap_or_default();
        endpoint.answered(listener, status, took);
        // For the collector alone: a line of the log would be written anew for each attribute.
        span.set_attribute("route", endpoint.pattern);
        span.set_attribute("status", i64::from(status));
        span.in_scope(|| tracing::debug!(route = endpoint.pattern, status, ?took, "answered"));
    }
    if let Some(origin) = response.request().headers().get(ORIGIN).cloned()
        && listener == "public"
        && context_method != "OPTIONS"
    {
        allow_origin(&mut response, &origin);
    }
    let standing = response.request().extensions_mut().remove::<Standing>();
    let nonce = response.request().extensions_mut().remove::<FreshNonce>();
    let sunset = response.request().extensions_mut().remove::<Sunset>();
    if app.is_some_and(|app| app.is_draining()) {
        // Whoever keeps the connection would meet its end with a later request.
        response.response_mut().head_mut().set_connection_type(ConnectionType::Close);
    }
    let headers = response.headers_mut();
    if let Some(standing) = standing {
        limits::tell(&standing, headers);
    }
    if let Some(nonce) = nonce {
        nonce.tell(headers);
    }
    if let Some(sunset) = sunset {
        sunset::tell(sunset, headers);
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

fn allow_origin<B>(response: &mut ServiceResponse<B>, origin: &HeaderValue) {
    let asking = response.request().extensions().get::<AppName>().cloned();
    if let Some(app) = response.request().app_data::<actix_web::web::Data<App>>().cloned() {
        cors::allow(&app, asking.as_ref(), origin, response.headers_mut());
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
