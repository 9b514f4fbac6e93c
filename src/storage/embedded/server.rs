//! HTTP around the S3 operations: connections, the gate, cross-origin answers.
//!
//! Bounded in connections, in the time for a request's head, and in how long nothing may move. The S3 library logs
//! signatures and forms at its debug level and every refused request as an error, so it runs without a subscriber; a
//! failure of the store itself is logged by `super::disk`, without the address.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use s3s::Body;
use s3s::config::{S3Config, StaticConfigProvider};
use s3s::service::{S3Service, S3ServiceBuilder};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::instrument::WithSubscriber;
use tracing::subscriber::NoSubscriber;

use super::credentials::Keys;
use super::disk::Disk;
use super::events::{Act, Events};
use super::gate::{self, Refusal, Route};
use super::s3::{Authority, Operations};
use super::{EmbeddedConfig, form, watch};
use crate::clock::Clock;

/// Connections at once.
const CONNECTIONS: usize = 1024;
/// Time for a request's head.
const HEAD: Duration = Duration::from_secs(10);
/// Largest XML body, for example a set of tags.
const XML: usize = 64 << 10;
/// Time for requests in flight when the server stops.
pub(super) const DRAIN: Duration = Duration::from_secs(10);

const REQUEST_ID: HeaderName = HeaderName::from_static("x-amz-request-id");

/// What a request needs.
pub(super) struct Inner {
    pub(super) disk: Arc<Disk>,
    pub(super) keys: Arc<Keys>,
    events: Arc<Events>,
    clock: Clock,
    origins: Vec<String>,
    max_object_bytes: u64,
    s3: S3Service,
}

impl Inner {
    pub(super) fn new(config: &EmbeddedConfig, clock: Clock, disk: Disk, keys: Keys, events: Events) -> Self {
        let (disk, keys, events) = (Arc::new(disk), Arc::new(keys), Arc::new(events));
        let max_object_bytes = config.max_object_bytes;
        let operations = Operations { disk: Arc::clone(&disk), events: Arc::clone(&events), max_object_bytes };
        let mut builder = S3ServiceBuilder::new(operations);
        builder.set_auth(Authority(Arc::clone(&keys)));
        builder.set_access(Authority(Arc::clone(&keys)));
        let mut limits = S3Config::default();
        limits.xml_max_body_size = XML;
        // Forms do not reach the library; should one ever, it finds no room.
        limits.post_object_max_file_size = 0;
        limits.form_max_fields_size = XML;
        builder.set_config(Arc::new(StaticConfigProvider::new(Arc::new(limits))));
        let origins = config.origins.clone();
        Self { disk, keys, events, clock, origins, max_object_bytes, s3: builder.build() }
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let origin = request.headers().get(header::ORIGIN).filter(|origin| self.allows(origin)).cloned();
        let sending = !request.body().is_end_stream();
        let mut response = if request.method() == Method::OPTIONS {
            preflight(request.headers(), origin.is_some())
        } else {
            self.serve(request).await
        };
        let id = self.clock.uuid().simple().to_string().to_uppercase();
        let refused = response.status().is_client_error() || response.status().is_server_error();
        let headers = response.headers_mut();
        if refused && sending {
            // The body may not have been read, and then the connection ends: a client that kept it for its next request
            // would lose that one (RFC 9112 section 9.6).
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if let Ok(id) = HeaderValue::from_str(&id) {
            headers.insert(REQUEST_ID, id);
        }
        headers.append(header::VARY, HeaderValue::from_static("origin"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if let Some(origin) = origin {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("etag, x-amz-request-id"));
        }
        response
    }

    fn allows(&self, origin: &HeaderValue) -> bool {
        self.origins.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes())
    }

    async fn serve(&self, request: Request<Incoming>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let route = match gate::check(&parts, self.clock.now(), self.max_object_bytes) {
            Ok(route) => route,
            Err(refusal) => return refuse(refusal),
        };
        match route {
            Route::Form { bucket, boundary } => self.form(&bucket, body, &boundary).await,
            Route::S3 => {
                let request = Request::from_parts(parts, Body::from(body));
                let called = Box::pin(self.s3.call(request).with_subscriber(NoSubscriber::default()));
                called.await.unwrap_or_else(|_| {
                    refuse(Refusal {
                        status: StatusCode::INTERNAL_SERVER_ERROR,
                        code: "InternalError",
                        message: "the store failed; try again",
                    })
                })
            }
        }
    }

    async fn form(&self, bucket: &str, body: Incoming, boundary: &str) -> Response<Body> {
        let body = body.into_data_stream();
        let now = self.clock.now();
        let posted = form::post(&self.disk, &self.keys, bucket, body, boundary, now, self.max_object_bytes).await;
        let form::Posted { record, status } = match posted {
            Ok(posted) => posted,
            Err(refusal) => return refuse(refusal),
        };
        self.events.tell(bucket, Act::Created("Post", &record));
        let mut response = Response::new(Body::empty());
        if status == StatusCode::CREATED {
            let (key, etag) = (escape(&record.key), escape(&record.etag()));
            let (key, etag) = (key.as_str(), etag.as_str());
            response = xml(format!(
                "<PostResponse><Location>/{bucket}/{key}</Location><Bucket>{bucket}</Bucket><Key>{key}</Key>\
                 <ETag>{etag}</ETag></PostResponse>"
            ));
        }
        *response.status_mut() = status;
        if let Ok(etag) = HeaderValue::from_str(&record.etag()) {
            response.headers_mut().insert(header::ETAG, etag);
        }
        response
    }
}

/// Answers a browser that asks whether it may (Fetch standard, CORS protocol).
fn preflight(headers: &HeaderMap, allowed: bool) -> Response<Body> {
    if !allowed || !headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD) {
        return refuse(Refusal::denied("this origin is not allowed"));
    }
    let mut response = Response::new(Body::empty());
    let answer = response.headers_mut();
    answer.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, HEAD, PUT, POST"));
    if let Some(wanted) = headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
        // What headers may say is for the signature to decide.
        answer.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
    }
    answer.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("3000"));
    response
}

fn refuse(refusal: Refusal) -> Response<Body> {
    let Refusal { status, code, message } = refusal;
    let mut response = xml(format!("<Error><Code>{code}</Code><Message>{message}</Message></Error>"));
    *response.status_mut() = status;
    response
}

fn xml(element: String) -> Response<Body> {
    let body = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{element}");
    let mut response = Response::new(Body::from(body));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    response
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Takes connections until it is told to stop.
pub(super) async fn accept(listener: TcpListener, inner: Arc<Inner>, stop: CancellationToken, tasks: TaskTracker) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let place = tokio::select! {
            () = stop.cancelled() => return,
            place = Arc::clone(&room).acquire_owned() => place,
        };
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of file descriptors, most likely: wait for some to be closed.
                tracing::warn!(%error, "the embedded store cannot take a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (inner, stop) = (Arc::clone(&inner), stop.clone());
        tasks.spawn(async move {
            let _place = place;
            // An answer is one write; waiting to fill a packet only delays it.
            let _ = stream.set_nodelay(true);
            let (stream, progress) = watch::Watched::new(stream);
            let service = service_fn(|request| {
                let (inner, busy) = (Arc::clone(&inner), progress.busy());
                async move {
                    let _busy = busy;
                    Ok::<_, Infallible>(inner.answer(request).await)
                }
            });
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(64 << 10);
            let mut connection = std::pin::pin!(http.serve_connection(TokioIo::new(stream), service));
            tokio::select! {
                _ = connection.as_mut() => return,
                () = progress.stalled() => return,
                () = stop.cancelled() => connection.as_mut().graceful_shutdown(),
            }
            let _ = tokio::time::timeout(DRAIN, connection).await;
        });
    }
}
