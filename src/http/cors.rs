//! Cross-origin requests: the origins in the app's manifest, and nothing else.
//!
//! A preflight carries no token, so that the app is not known: it is allowed where any app lists the origin. The answer
//! itself carries `Access-Control-Allow-Origin` only where the asking app lists it.

use actix_web::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, HeaderMap, HeaderValue, ORIGIN, VARY,
};
use actix_web::{HttpRequest, HttpResponse, web};

use crate::app::App;
use crate::domain::ids::AppName;

const REQUEST_HEADERS: &str =
    "authorization, content-type, dpop, idempotency-key, traceparent, x-request-id, x-workflow-token";

/// Answers a preflight.
pub(super) async fn preflight(request: HttpRequest, app: web::Data<App>) -> HttpResponse {
    let policies = app.policies.current();
    let listed = |origin: &str| policies.apps().any(|manifest| manifest.origins.iter().any(|own| own == origin));
    let mut answer = HttpResponse::NoContent();
    answer.insert_header((VARY, "origin"));
    match request.headers().get(ORIGIN).filter(|origin| origin.to_str().is_ok_and(listed)) {
        Some(origin) => answer
            .insert_header((ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone()))
            .insert_header((ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, DELETE"))
            .insert_header((ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS))
            .insert_header((ACCESS_CONTROL_MAX_AGE, "600"))
            .finish(),
        None => answer.finish(),
    }
}

/// Lets the page of a listed origin read the answer.
pub(super) fn allow(app: &App, asking: Option<&AppName>, origin: &HeaderValue, headers: &mut HeaderMap) {
    let policies = app.policies.current();
    let Ok(text) = origin.to_str() else { return };
    let listed = match asking {
        Some(name) => policies.app(name).is_some_and(|manifest| manifest.origins.iter().any(|own| own == text)),
        // Not authenticated: the refusal holds nothing secret, and the page's author needs to read it.
        None => policies.apps().any(|manifest| manifest.origins.iter().any(|own| own == text)),
    };
    headers.append(VARY, HeaderValue::from_static("origin"));
    if listed {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        headers.insert(
            ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static(
                "dpop-nonce, ratelimit, ratelimit-policy, retry-after, x-request-id, www-authenticate, deprecation, sunset",
            ),
        );
    }
}
