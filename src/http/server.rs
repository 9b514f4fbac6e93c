//! Binds the two listeners and runs them until shutdown.

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use actix_http::{Extensions, HttpService, Protocol, Request};
use actix_service::{IntoServiceFactory, ServiceFactoryExt, fn_service, map_config};
use actix_tls::accept::TlsError as AcceptError;
use actix_tls::accept::rustls_0_23::{Acceptor, TlsStream};
use actix_web::dev::{AppConfig, Server, ServerHandle};
use actix_web::http::header::HeaderName;
use actix_web::middleware::from_fn;
use actix_web::rt::net::TcpStream;
use actix_web::{App as ActixApp, web};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpSocket;

use crate::app::App;

use super::admin::Metrics;
use super::admission::Places;
use super::client_certificates::MayKnowPeer;
use super::endpoint::Endpoint;
use super::events::Push;
use super::guarded::Guarded;
use super::tls::{CertificateReloader, TlsError};
use super::{admin, middleware, public};

/// Proxies whose `X-Forwarded-For` is believed, and the header in which they tell the client's certificate.
pub(super) struct Proxies {
    pub(super) trusted: Vec<IpAddr>,
    pub(super) certificate_header: Option<HeaderName>,
    /// Whether any client's certificate can be known: by TLS here, or by such a header.
    pub(super) knows_certificates: bool,
}

impl Proxies {
    fn of(listener: &Listener) -> Self {
        let (trusted, certificate_header) =
            (listener.trusted_proxies.clone(), listener.client_certificate_header.clone());
        let told = certificate_header.is_some() && !trusted.is_empty();
        let knows_certificates = told || listener.tls.as_ref().is_some_and(|tls| tls.asks_clients());
        Self { trusted, certificate_header, knows_certificates }
    }

    /// Whether this is one of them. A listener for both protocols tells IPv4 peers as `::ffff:a.b.c.d`.
    pub(super) fn trusts(&self, peer: IpAddr) -> bool {
        self.trusted.iter().any(|proxy| proxy.to_canonical() == peer.to_canonical())
    }
}

/// Where and how to listen.
pub struct Listener {
    /// Address and port; port 0 takes a free one.
    pub address: SocketAddr,
    /// The certificate; plain HTTP where absent.
    pub tls: Option<Arc<CertificateReloader>>,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpAddr>,
    /// The header in which they tell the client's certificate.
    pub client_certificate_header: Option<HeaderName>,
    /// Connections at the same time; further ones wait to be accepted.
    pub connections: usize,
}

/// A listener that holds its port.
pub struct Bound {
    listener: Listener,
    socket: TcpListener,
}

/// Why a listener cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address is taken or not ours.
    #[error("cannot listen on {0}: {1}")]
    Bind(SocketAddr, std::io::Error),
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

impl Bound {
    /// Takes the port, so that it is known before anything is served. Inside a runtime of tokio.
    ///
    /// # Errors
    /// [`ServeError::Bind`] where the address is taken or not ours.
    pub fn new(listener: Listener) -> Result<Self, ServeError> {
        let address = listener.address;
        let bind = || {
            let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
            // The port of a process that has just ended may be taken at once.
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            socket.listen(BACKLOG)?.into_std()
        };
        let socket = bind().map_err(|error| ServeError::Bind(address, error))?;
        Ok(Self { listener, socket })
    }

    /// The address with the port that was taken.
    pub fn address(&self) -> SocketAddr {
        self.socket.local_addr().unwrap_or(self.listener.address)
    }
}

/// How long a client may take to send the head of its first request; [`Guarded`] bounds the later ones.
const HEAD: Duration = Duration::from_secs(10);
/// How long an idle connection is kept: longer than balancers keep theirs, so that they end it.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// How long a connection that is to be closed is read for what its peer still sends.
const LINGER: Duration = Duration::from_secs(2);
/// Connections that the kernel keeps until they are accepted.
const BACKLOG: u32 = 4096;

/// actix names no type for its app factories, so that a function could take either of the two.
macro_rules! http {
    ($factory:expr, $ending:expr) => {
        HttpService::build()
            .graceful_shutdown_signal({
                let ending = $ending.clone();
                move || {
                    let ending = ending.clone();
                    async move { ending.notified().await }
                }
            })
            .keep_alive(KEEP_ALIVE)
            .client_request_timeout(HEAD)
            .client_disconnect_timeout(LINGER)
            .on_connect_ext(tell_peer)
            .finish(map_config(
                IntoServiceFactory::<_, Request>::into_factory($factory())
                    .map_err(|error: actix_web::Error| error.error_response()),
                |()| AppConfig::default(),
            ))
    };
}

/// A server of actix with [`Guarded`] connections, which `HttpServer` has no place for.
macro_rules! serve {
    ($bound:expr, $grace:expr, $factory:expr) => {{
        let Bound { listener, socket } = $bound;
        let (address, factory) = (listener.address, $factory);
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let server = Server::build()
            .workers(threads)
            .max_concurrent_connections(listener.connections.div_ceil(threads).max(1))
            .shutdown_timeout($grace.as_secs().max(1))
            .disable_signals();
        let ending = server.graceful_shutdown_signal();
        let server = match listener.tls {
            None => server.listen("http", socket, move || {
                fn_service(|io: TcpStream| async move { Ok(connection(&io).guarding(io)) })
                    .and_then(http!(factory, ending))
            }),
            Some(tls) => {
                let mut acceptor = Acceptor::new(tls.server_config()?);
                acceptor.set_handshake_timeout(HANDSHAKE);
                server.listen("https", socket, move || {
                    acceptor
                        .clone()
                        .map_init_err(|()| ())
                        .map_err(AcceptError::into_service_error)
                        .and_then(|io: TlsStream<TcpStream>| async move { Ok(connection(io.get_ref().0).guarding(io)) })
                        .and_then(http!(factory, ending).map_err(AcceptError::Service))
                })
            }
        };
        server.map_err(|error| ServeError::Bind(address, error))?.run()
    }};
}

/// What is known of a connection before its first byte.
struct Fresh {
    peer: Option<SocketAddr>,
}

fn connection(io: &TcpStream) -> Fresh {
    // Answers are small and complete: waiting for more to send with them only delays them.
    let _ = io.set_nodelay(true);
    Fresh { peer: io.peer_addr().ok() }
}

impl Fresh {
    /// What actix wants to know of a connection, which is guarded from now on.
    fn guarding<T>(self, io: T) -> (Guarded<T>, Protocol, Option<SocketAddr>) {
        (Guarded::new(io), Protocol::Http1, self.peer)
    }
}

/// Leaves the peer's certificate with its connection, for every request on it.
fn tell_peer<T: MayKnowPeer>(io: &Guarded<T>, data: &mut Extensions) {
    if let Some(certificate) = io.get_ref().peer_certificate() {
        data.insert(certificate);
    }
}

/// What bounds the servers.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Requests that the public listener works on at the same time; further ones are refused.
    pub requests: usize,
    /// How long requests under way may take to end at shutdown; whole seconds, at least one.
    pub grace: Duration,
}

/// Both servers, running.
pub struct Servers {
    public: Server,
    admin: Server,
}

impl Servers {
    /// Starts to serve on both listeners.
    ///
    /// # Errors
    /// [`ServeError`] where a certificate or socket cannot be used.
    pub fn start(
        public: Bound,
        admin: Bound,
        app: Arc<App>,
        push: Push,
        metrics: Option<PrometheusHandle>,
        bounds: Bounds,
    ) -> Result<Self, ServeError> {
        let places = Places::new(bounds.requests);
        let app = web::Data::from(app);
        let push = web::Data::new(push);
        let metrics = web::Data::new(Metrics(metrics));
        let proxies = |bound: &Bound| web::Data::new(Proxies::of(&bound.listener));
        let (public_proxies, admin_proxies) = (proxies(&public), proxies(&admin));
        let public = {
            let app = app.clone();
            serve!(public, bounds.grace, move || {
                ActixApp::new()
                    .app_data(app.clone())
                    .app_data(push.clone())
                    .app_data(Arc::clone(&places))
                    .app_data(public_proxies.clone())
                    .app_data(Endpoint::other())
                    .wrap(from_fn(middleware::public))
                    .configure(public::configure)
            })
        };
        let admin = serve!(admin, bounds.grace, move || {
            ActixApp::new()
                .app_data(app.clone())
                .app_data(metrics.clone())
                .app_data(admin_proxies.clone())
                .app_data(Endpoint::other())
                .wrap(from_fn(middleware::admin))
                .configure(admin::configure)
        });
        Ok(Self { public, admin })
    }

    /// Handles that stop the servers: gracefully, requests under way are finished.
    pub fn handles(&self) -> [ServerHandle; 2] {
        [self.public.handle(), self.admin.handle()]
    }

    /// Serves until both are stopped.
    ///
    /// # Errors
    /// The listener's I/O error where one ends by itself.
    pub async fn run(self) -> std::io::Result<()> {
        tokio::try_join!(self.public, self.admin).map(|_| ())
    }
}
