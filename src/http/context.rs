//! The circumstances of a request, gathered once by the middleware and read by handlers.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::net::IpAddr;

use actix_web::dev::{Payload, ServiceRequest};
use actix_web::{FromRequest, HttpMessage, HttpRequest, web};

use crate::app::{App, RequestContext};
use crate::domain::bytes::Sha256Digest;

use super::server::Proxies;

/// The request's context as an extractor.
#[derive(Clone)]
pub(super) struct Context(pub(super) RequestContext);

impl Context {
    /// With the digest of the body that was read.
    pub(super) fn with_body(mut self, digest: Option<Sha256Digest>) -> Self {
        self.0.body = digest;
        self
    }
}

impl FromRequest for Context {
    type Error = Infallible;
    type Future = Ready<Result<Self, Infallible>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Ok(of(request)))
    }
}

/// The context that the middleware left, completed with the route.
pub(super) fn of(request: &HttpRequest) -> Context {
    let mut context = request.extensions().get::<Context>().cloned().unwrap_or_else(|| {
        Context(RequestContext {
            request_id: String::new(),
            route: "",
            method: "",
            source: None,
            body: None,
            started: jiff::Timestamp::UNIX_EPOCH,
        })
    });
    context.0.route = route(request);
    context
}

/// The route's pattern, one of a known few, so that it may label metrics.
pub(super) fn route(request: &HttpRequest) -> &'static str {
    request.match_pattern().and_then(|pattern| known_route(&pattern)).unwrap_or("other")
}

fn known_route(pattern: &str) -> Option<&'static str> {
    super::public::ROUTES.iter().chain(super::admin::ROUTES).copied().find(|route| *route == pattern)
}

/// Gathers what is known before the handler runs.
pub(super) fn gather(request: &ServiceRequest) -> Context {
    let app = request.app_data::<web::Data<App>>();
    let proxies = request.app_data::<web::Data<Proxies>>();
    Context(RequestContext {
        request_id: request_id(request, app.map(|app| app.as_ref())),
        route: "other",
        method: method(request.method().as_str()),
        source: source(request, proxies.map(|proxies| proxies.0.as_slice()).unwrap_or_default()),
        body: None,
        started: app.map_or(jiff::Timestamp::UNIX_EPOCH, |app| app.clock.now()),
    })
}

/// The client's id where it is short and harmless in a log, else ours.
fn request_id(request: &ServiceRequest, app: Option<&App>) -> String {
    let sent = request.headers().get("x-request-id").and_then(|value| value.to_str().ok());
    let sound = |id: &&str| {
        (1..=100).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b))
    };
    match sent.filter(sound) {
        // A token pasted into the wrong header must not reach a log.
        Some(id) if !id.contains("vst_") => id.to_owned(),
        _ => app.map(|app| format!("req_{}", app.clock.uuid().simple())).unwrap_or_default(),
    }
}

fn method(name: &str) -> &'static str {
    ["GET", "POST", "PUT", "DELETE", "OPTIONS", "HEAD", "PATCH"]
        .into_iter()
        .find(|known| *known == name)
        .unwrap_or("OTHER")
}

/// The peer's address; behind a listed proxy, the last address in `X-Forwarded-For` that is no listed proxy.
fn source(request: &ServiceRequest, proxies: &[IpAddr]) -> Option<IpAddr> {
    let peer = request.peer_addr()?.ip();
    if !proxies.contains(&peer) {
        return Some(peer);
    }
    let forwarded = request.headers().get_all("x-forwarded-for").filter_map(|value| value.to_str().ok());
    let hops: Vec<IpAddr> =
        forwarded.flat_map(|line| line.split(',')).map_while(|hop| hop.trim().parse().ok()).collect();
    hops.into_iter().rev().find(|hop| !proxies.contains(hop)).or(Some(peer))
}
