//! What the public listener does about certificates of clients (RFC 8705), as operators set it.

use std::path::PathBuf;

use serde::Deserialize;

/// Whether TLS asks clients for a certificate. A client that has none is served all the same: its token decides.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientCertificates {
    /// No certificate is asked for.
    #[default]
    Off,
    /// Any is taken, self-signed ones too: a token is bound to one certificate, whoever signed that.
    Any,
    /// Only what these authorities have signed, as a PEM file.
    Ca(PathBuf),
}
