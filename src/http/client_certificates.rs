//! Certificates of clients at the TLS listener (RFC 8705): asked for, never demanded.
//!
//! The handshake proves that the client holds the key of the certificate that it shows. Where any certificate is taken,
//! nothing else is looked at: a token is bound to one certificate by its thumbprint, so that who signed it, and until when
//! it is good, adds nothing (section 2.2). Absent on purpose: which requests need one; that is the token's and the policy's.

use std::path::Path;
use std::sync::Arc;

use actix_tls::accept::rustls_0_23::TlsStream;
use actix_web::rt::net::TcpStream;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme};

use crate::domain::binding::Thumbprint;
use crate::identity::ClientCertificates;

use super::tls::TlsError;

/// What verifies the certificates of a listener.
pub(super) fn verifier(
    wanted: &ClientCertificates,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    Ok(match wanted {
        ClientCertificates::Off => WebPkiClientVerifier::no_client_auth(),
        ClientCertificates::Any => Arc::new(AnyCertificate(Arc::clone(provider))),
        ClientCertificates::Ca(file) => WebPkiClientVerifier::builder_with_provider(roots(file)?, Arc::clone(provider))
            .allow_unauthenticated()
            .build()
            .map_err(|error| TlsError::Authorities(file.clone(), error.to_string()))?,
    })
}

fn roots(file: &Path) -> Result<Arc<RootCertStore>, TlsError> {
    let unreadable = |error| TlsError::File(file.to_owned(), error);
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).map_err(unreadable)? {
        roots.add(certificate.map_err(unreadable)?)?;
    }
    Ok(Arc::new(roots))
}

/// Takes any certificate whose key the client holds.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ClientCertVerifier for AnyCertificate {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        // The signature of the handshake, which follows, says that the client holds its key.
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// The certificate that the peer of a connection has shown, by its thumbprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PeerCertificate(pub(super) Thumbprint);

/// A connection that may know its peer's certificate.
pub(super) trait MayKnowPeer {
    /// The certificate, where one was shown and its key proven.
    fn peer_certificate(&self) -> Option<PeerCertificate>;
}

impl MayKnowPeer for TcpStream {
    fn peer_certificate(&self) -> Option<PeerCertificate> {
        None
    }
}

impl MayKnowPeer for TlsStream<TcpStream> {
    fn peer_certificate(&self) -> Option<PeerCertificate> {
        let shown = self.get_ref().1.peer_certificates()?;
        shown.first().map(|certificate| PeerCertificate(Thumbprint::of(certificate)))
    }
}
