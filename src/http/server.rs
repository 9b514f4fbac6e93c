//! Binds the two listeners and runs them until shutdown.

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::{Server, ServerHandle};
use actix_web::middleware::from_fn;
use actix_web::{App as ActixApp, HttpServer, web};
use metrics_exporter_prometheus::PrometheusHandle;

use crate::app::App;

use super::admin::Metrics;
use super::endpoint::Endpoint;
use super::events::Push;
use super::tls::{CertificateReloader, TlsError};
use super::{admin, middleware, public};

/// Proxies whose `X-Forwarded-For` is believed.
pub(super) struct Proxies(pub(super) Vec<IpAddr>);

/// Where and how to listen.
pub struct Listener {
    /// Address and port; port 0 takes a free one.
    pub address: SocketAddr,
    /// The certificate; plain HTTP where absent.
    pub tls: Option<Arc<CertificateReloader>>,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpAddr>,
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
    /// Takes the port, so that it is known before anything is served.
    ///
    /// # Errors
    /// [`ServeError::Bind`] where the address is taken or not ours.
    pub fn new(listener: Listener) -> Result<Self, ServeError> {
        let address = listener.address;
        let socket = TcpListener::bind(address).map_err(|error| ServeError::Bind(address, error))?;
        Ok(Self { listener, socket })
    }

    /// The address with the port that was taken.
    pub fn address(&self) -> SocketAddr {
        self.socket.local_addr().unwrap_or(self.listener.address)
    }
}

/// How long a client may take to send its headers, and how long an idle connection is kept.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(10);
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// How long requests under way may take to end at shutdown, in seconds.
const DRAIN: u64 = 20;
/// Connections of one listener and worker thread.
const CONNECTIONS: usize = 12_500;

/// actix names no type for its app factories, so that a function could take either of the two.
macro_rules! serve {
    ($bound:expr, $factory:expr) => {{
        let Bound { listener, socket } = $bound;
        let address = listener.address;
        let server = HttpServer::new($factory)
            .client_request_timeout(CLIENT_TIMEOUT)
            .keep_alive(KEEP_ALIVE)
            .max_connections(CONNECTIONS)
            .shutdown_timeout(DRAIN)
            .disable_signals();
        let server = match listener.tls {
            Some(tls) => server.listen_rustls_0_23(socket, tls.server_config()?),
            None => server.listen(socket),
        };
        server.map_err(|error| ServeError::Bind(address, error))?.run()
    }};
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
    ) -> Result<Self, ServeError> {
        let app = web::Data::from(app);
        let push = web::Data::new(push);
        let metrics = web::Data::new(Metrics(metrics));
        let public_proxies = web::Data::new(Proxies(public.listener.trusted_proxies.clone()));
        let admin_proxies = web::Data::new(Proxies(admin.listener.trusted_proxies.clone()));
        let public = {
            let app = app.clone();
            serve!(public, move || {
                ActixApp::new()
                    .app_data(app.clone())
                    .app_data(push.clone())
                    .app_data(public_proxies.clone())
                    .app_data(Endpoint::other())
                    .wrap(from_fn(middleware::public))
                    .configure(public::configure)
            })
        };
        let admin = serve!(admin, move || {
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
