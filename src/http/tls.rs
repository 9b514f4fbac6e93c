//! TLS by rustls, with certificates that are read again when their files change.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_util::sync::CancellationToken;

use crate::identity::ClientCertificates;

use super::client_certificates::verifier;

/// Why certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The files hold no certificate and key in PEM.
    #[error("cannot read {0}: {1}")]
    File(PathBuf, rustls::pki_types::pem::Error),
    /// The file of authorities for clients' certificates holds none that can be used.
    #[error("{0} holds no authority that can be used: {1}")]
    Authorities(PathBuf, String),
    /// Certificate and key do not belong together, or are of no supported kind.
    #[error("certificate and key cannot be used: {0}")]
    Unusable(#[from] rustls::Error),
}

/// Holds the certificate in use and replaces it when its files change.
#[derive(Debug)]
pub struct CertificateReloader {
    certificate: PathBuf,
    key: PathBuf,
    clients: ClientCertificates,
    current: ArcSwap<CertifiedKey>,
}

impl CertificateReloader {
    /// Reads certificate and key; `clients` says whether clients are asked for theirs.
    ///
    /// # Errors
    /// [`TlsError`] where they cannot be used; a listener never starts without.
    pub fn open(certificate: PathBuf, key: PathBuf, clients: ClientCertificates) -> Result<Arc<Self>, TlsError> {
        let current = ArcSwap::from_pointee(read(&certificate, &key)?);
        Ok(Arc::new(Self { certificate, key, clients, current }))
    }

    /// Whether clients are asked for their certificates.
    pub fn asks_clients(&self) -> bool {
        self.clients != ClientCertificates::Off
    }

    /// TLS 1.2 and 1.3, HTTP/1.1 only.
    ///
    /// # Errors
    /// [`TlsError`] where the crypto provider has no common protocol version, or the authorities for clients' certificates
    /// cannot be read.
    pub fn server_config(self: &Arc<Self>) -> Result<ServerConfig, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let resolver: Arc<dyn ResolvesServerCert> = Arc::clone(self) as _;
        let clients = verifier(&self.clients, &provider)?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(clients)
            .with_cert_resolver(resolver);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }

    /// Reads the files again; keeps what is in use where they cannot be used.
    pub fn reload(&self) {
        match read(&self.certificate, &self.key) {
            Ok(fresh) => {
                if self.current.load().cert != fresh.cert {
                    tracing::info!(file = %self.certificate.display(), "took a new certificate");
                    self.current.store(Arc::new(fresh));
                }
            }
            Err(error) => tracing::error!(%error, "the certificate in use is kept"),
        }
    }

    /// Looks at the files every half minute until `shutdown`.
    pub async fn watch(self: Arc<Self>, shutdown: CancellationToken) {
        let modified = |reloader: &Self| {
            let at = |path| fs::metadata(path).and_then(|file| file.modified()).ok();
            (at(&reloader.certificate), at(&reloader.key))
        };
        let mut seen = modified(&self);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(Duration::from_secs(30)) => {}
            }
            let now = modified(&self);
            if now != seen {
                seen = now;
                self.reload();
            }
        }
    }
}

fn read(certificate: &PathBuf, key: &PathBuf) -> Result<CertifiedKey, TlsError> {
    let file = |path: &PathBuf| {
        let path = path.clone();
        move |error| TlsError::File(path, error)
    };
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(file(certificate))?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(file(key))?;
    Ok(CertifiedKey::from_der(chain, private, &aws_lc_rs::default_provider())?)
}

impl ResolvesServerCert for CertificateReloader {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }
}
