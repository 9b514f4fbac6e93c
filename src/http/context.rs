//! The circumstances of a request, gathered once by the middleware and read by handlers.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use actix_web::dev::{Payload, ServiceRequest};
use actix_web::{FromRequest, HttpMessage, HttpRequest, web};

use crate::app::{App, RequestContext};
use crate::domain::bytes::Sha256Digest;
use crate::domain::ids::ObjectId;

use super::endpoint::Endpoint;
use super::query::holds_token;
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

    /// With the object that the body names; the one in the address is known already.
    pub(super) fn about(mut self, object: Option<ObjectId>) -> Self {
        self.0.object = object;
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
            request_id: Arc::default(),
            route: "",
            method: "",
            source: None,
            body: None,
            object: None,
            started: jiff::Timestamp::UNIX_EPOCH,
        })
    });
    context.0.route = route(request);
    context.0.object = request.match_info().get("id").and_then(|id| id.parse().ok());
    context
}

/// The route's pattern, one of a known few, so that it may label metrics.
fn route(request: &HttpRequest) -> &'static str {
    request.app_data::<Endpoint>().map_or("other", |endpoint| endpoint.pattern)
}

/// Gathers what is known before the handler runs.
pub(super) fn gather(request: &ServiceRequest) -> Context {
    let app = request.app_data::<web::Data<App>>();
    let proxies = request.app_data::<web::Data<Proxies>>();
    Context(RequestContext {
        request_id: request_id(request, app.map(|app| app.as_ref())),
        route: "other",
        method: method(request.method().as_str()),
        source: source(request, proxies.map(|proxies| proxies.trusted.as_slice()).unwrap_or_default()),
        body: None,
        object: None,
        started: app.map_or(jiff::Timestamp::UNIX_EPOCH, |app| app.clock.now()),
    })
}

/// The id of a request that is not looked at any further.
pub(super) fn request_id_of(request: &ServiceRequest) -> Arc<str> {
    request_id(request, request.app_data::<web::Data<App>>().map(|app| app.as_ref()))
}

/// The client's id where it is short and harmless in a log, else ours.
fn request_id(request: &ServiceRequest, app: Option<&App>) -> Arc<str> {
    let sent = request.headers().get("x-request-id").and_then(|value| value.to_str().ok());
    let sound = |id: &&str| {
        (1..=100).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b))
    };
    match sent.filter(sound) {
        // A token pasted into the wrong header must not reach a log.
        Some(id) if !holds_token(id) => id.into(),
        _ => app.map(|app| format!("req_{}", app.clock.uuid().simple()).into()).unwrap_or_default(),
    }
}

fn method(name: &str) -> &'static str {
    ["GET", "POST", "PUT", "DELETE", "OPTIONS", "HEAD", "PATCH"]
        .into_iter()
        .find(|known| *known == name)
        .unwrap_or("OTHER")
}

/// Who asks: the peer, or the client that a listed proxy names.
fn source(request: &ServiceRequest, proxies: &[IpAddr]) -> Option<IpAddr> {
    let peer = request.peer_addr()?.ip();
    // What is no text is no address either, and must not make the hop before it look like the last one.
    let lines = request.headers().get_all("x-forwarded-for").map(|value| value.to_str().unwrap_or("?"));
    Some(client(peer, proxies, &lines.collect::<Vec<_>>()))
}

/// Behind a listed proxy, the last hop in `X-Forwarded-For` that is none; whatever stands before it, anybody may have
/// written. The peer where that hop is no address or there is none.
///
/// A listener for both protocols tells IPv4 clients as `::ffff:a.b.c.d`, which no rule about addresses means: so the answer is
/// canonical.
fn client(peer: IpAddr, proxies: &[IpAddr], lines: &[&str]) -> IpAddr {
    let listed = |address: &IpAddr| proxies.iter().any(|proxy| proxy.to_canonical() == address.to_canonical());
    if !listed(&peer) {
        return peer.to_canonical();
    }
    let hops = lines.iter().rev().flat_map(|line| line.rsplit(','));
    match hops.map(|hop| address(hop.trim())).find(|hop| hop.as_ref().is_none_or(|hop| !listed(hop))) {
        Some(Some(hop)) => hop.to_canonical(),
        _ => peer.to_canonical(),
    }
}

/// A hop: an address, with a port where the proxy writes one (Azure Application Gateway does).
fn address(hop: &str) -> Option<IpAddr> {
    hop.parse().ok().or_else(|| Some(hop.parse::<SocketAddr>().ok()?.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_listed_proxy_appended_is_believed() {
        let proxies: Vec<IpAddr> = ["10.0.0.1", "10.0.0.2"].map(|ip| ip.parse().unwrap()).into();
        let from = |peer: &str, lines: &[&str]| client(peer.parse().unwrap(), &proxies, lines).to_string();
        assert_eq!(from("192.0.2.9", &["198.51.100.1"]), "192.0.2.9", "a stranger's header says nothing");
        assert_eq!(from("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(from("10.0.0.1", &["198.51.100.1"]), "198.51.100.1");
        assert_eq!(from("10.0.0.1", &["203.0.113.5, 198.51.100.1, 10.0.0.2"]), "198.51.100.1");
        assert_eq!(from("10.0.0.1", &["203.0.113.5", "198.51.100.1,10.0.0.2"]), "198.51.100.1");
        assert_eq!(from("10.0.0.1", &["203.0.113.5, nonsense, 10.0.0.2"]), "10.0.0.1", "not the forged hop before it");
        assert_eq!(from("10.0.0.1", &["nonsense, 198.51.100.1"]), "198.51.100.1", "junk in front changes nothing");
        assert_eq!(from("10.0.0.1", &["203.0.113.5,"]), "10.0.0.1");
        assert_eq!(from("10.0.0.1", &["10.0.0.2, 10.0.0.1"]), "10.0.0.1");
        assert_eq!(from("::ffff:10.0.0.1", &["198.51.100.1:4711"]), "198.51.100.1");
        assert_eq!(from("10.0.0.1", &["[2001:db8::1]:443"]), "2001:db8::1");
        assert_eq!(from("::ffff:192.0.2.9", &[]), "192.0.2.9");
        assert_eq!(from("10.0.0.1", &["::ffff:198.51.100.1"]), "198.51.100.1");
    }
}
