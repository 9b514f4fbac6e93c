//! `--bind-jkt` and `--bind-certificate`: the key that a new token is bound to.

use std::path::{Path, PathBuf};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::domain::binding::{Binding, Thumbprint};

use super::Failure;

/// The key that whoever sends the token must prove to hold.
#[derive(clap::Args)]
pub(super) struct Bind {
    /// Bind the token to a DPoP key, by the thumbprint of its JWK (RFC 7638): without its proof the token is nothing.
    #[arg(long, value_name = "THUMBPRINT", allow_hyphen_values = true)]
    bind_jkt: Option<Thumbprint>,
    /// Bind the token to a client certificate, in PEM: without it the token is nothing.
    #[arg(long, value_name = "FILE", conflicts_with = "bind_jkt")]
    bind_certificate: Option<PathBuf>,
}

impl Bind {
    /// The binding, where one is asked for.
    pub(super) fn binding(&self) -> Result<Option<Binding>, Failure> {
        let certificate = self.bind_certificate.as_deref().map(certificate).transpose()?;
        Ok(self.bind_jkt.map(Binding::Dpop).or(certificate))
    }
}

/// The binding to the first certificate of a PEM file.
fn certificate(file: &Path) -> Result<Binding, Failure> {
    let certificate = CertificateDer::from_pem_file(file)
        .map_err(|error| Failure::Told(format!("cannot read a certificate from {}: {error}", file.display())))?;
    Ok(Binding::Certificate(Thumbprint::of(&certificate)))
}
