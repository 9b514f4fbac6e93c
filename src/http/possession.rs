//! What a request shows of its sender's keys: the scheme of its token, its DPoP proof, its client certificate.
//!
//! It is looked at only for tokens that are bound, so that all others pay nothing. A certificate is that of the connection,
//! or, where a proxy ends TLS, the one that the proxy tells in a header (RFC 9440). That header is believed from the listed
//! proxies alone and refused from everybody else; and of a listed proxy nothing else is believed, since the connection's
//! certificate would be the proxy's own.

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_web::{HttpMessage, HttpRequest, web};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use percent_encoding::percent_decode;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::app::App;
use crate::domain::binding::Thumbprint;
use crate::domain::refusal::{Reason, Refusal};
use crate::identity::{ALGORITHMS, Evidence, ProofError, Scheme};

use super::client_certificates::PeerCertificate;
use super::server::Proxies;

/// The proof of a request.
const DPOP: HeaderName = HeaderName::from_static("dpop");
/// The nonce for the next proofs (RFC 9449 section 8.2).
const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");

/// A request with the scheme under which its token came.
pub(super) struct Shown<'r> {
    pub(super) request: &'r HttpRequest,
    pub(super) scheme: Scheme,
}

impl Evidence for Shown<'_> {
    fn scheme(&self) -> Scheme {
        self.scheme
    }

    fn proof(&self) -> Result<&str, ProofError> {
        proof(self.request.headers())?.ok_or(ProofError::Missing)
    }

    fn method(&self) -> &str {
        self.request.method().as_str()
    }

    fn path(&self) -> &str {
        self.request.path()
    }

    fn certificate(&self) -> Result<Option<Thumbprint>, Refusal> {
        certificate(self.request)
    }
}

/// The one proof of a request, where there is one.
pub(super) fn proof(headers: &HeaderMap) -> Result<Option<&str>, ProofError> {
    let mut proofs = headers.get_all(DPOP);
    match (proofs.next(), proofs.next()) {
        (None, _) => Ok(None),
        (Some(proof), None) => proof.to_str().map(Some).map_err(|_| ProofError::Form),
        (Some(_), Some(_)) => Err(ProofError::Several),
    }
}

/// The certificate whose key the client holds.
pub(super) fn certificate(request: &HttpRequest) -> Result<Option<Thumbprint>, Refusal> {
    let proxies = request.app_data::<web::Data<Proxies>>();
    let by_proxy = proxies.is_some_and(|proxies| request.peer_addr().is_some_and(|peer| proxies.trusts(peer.ip())));
    let own = || request.conn_data::<PeerCertificate>().map(|certificate| certificate.0);
    let Some(name) = proxies.and_then(|proxies| proxies.certificate_header.as_ref()) else {
        // A proxy that tells nothing has a certificate for itself alone, and not for each of its clients.
        return Ok(if by_proxy { None } else { own() });
    };
    match told(request.headers(), name)? {
        told if by_proxy => Ok(told),
        None => Ok(own()),
        Some(_) => Err(mismatch(format!("The header {name} is believed from the gateway's own proxies only."))),
    }
}

/// The certificate in a proxy's header.
fn told(headers: &HeaderMap, name: &HeaderName) -> Result<Option<Thumbprint>, Refusal> {
    let mut values = headers.get_all(name);
    let value = match (values.next(), values.next()) {
        (None, _) => return Ok(None),
        (Some(value), None) => value,
        (Some(_), Some(_)) => return Err(mismatch(format!("The request has more than one header {name}."))),
    };
    let der = der(value).ok_or_else(|| {
        mismatch(format!("The header {name} is neither a certificate as RFC 9440 writes it nor one in escaped PEM."))
    })?;
    Ok(Some(Thumbprint::of(&der)))
}

/// `:base64:` (RFC 9440 section 2.1), or PEM with percent-encodings, as nginx and Amazon's balancers send it.
fn der(value: &HeaderValue) -> Option<Vec<u8>> {
    let text = value.to_str().ok()?.trim();
    if let Some(encoded) = text.strip_prefix(':') {
        return BASE64_STANDARD.decode(encoded.strip_suffix(':')?).ok().filter(|der| !der.is_empty());
    }
    let pem: Vec<u8> = percent_decode(text.as_bytes()).collect();
    // The client's own comes first; what follows are its intermediates.
    CertificateDer::from_pem_slice(&pem).ok().map(|certificate| certificate.to_vec())
}

fn mismatch(detail: impl Into<String>) -> Refusal {
    Refusal::new(Reason::CertificateMismatch, detail)
}

/// Gives the answer a nonce where it needs one: the one in the proof ends soon (`renew`), or whoever was refused can do
/// better with it.
pub(super) fn offer_nonce(request: &HttpRequest, app: &App, renew: bool, refusal: Option<&Refusal>) {
    let helps = |refusal: &Refusal| matches!(refusal.reason, Reason::DpopNonceRequired | Reason::DpopProofInvalid);
    if !renew && !refusal.is_some_and(helps) {
        return;
    }
    if let Some(nonce) = FreshNonce::of(app) {
        // The middleware tells it.
        request.extensions_mut().insert(nonce);
    }
}

/// A nonce that the answer carries.
pub(super) struct FreshNonce(HeaderValue);

impl FreshNonce {
    /// One made now; none where the gateway asks for none.
    fn of(app: &App) -> Option<Self> {
        let nonce = app.authenticator.proofs().nonce()?;
        HeaderValue::from_str(&nonce).ok().map(Self)
    }

    pub(super) fn tell(self, headers: &mut HeaderMap) {
        headers.insert(DPOP_NONCE, self.0);
    }
}

/// The challenges of an answer with status 401, each in a header of its own (RFC 6750 section 3, RFC 9449 section 7.1): no
/// error code where no token was sent.
pub(super) fn challenges(reason: Reason) -> Vec<String> {
    let bearer = |rest: &str| format!("Bearer realm=\"vestibule\"{rest}");
    let dpop = |error: &str| {
        let error = if error.is_empty() { String::new() } else { format!(" error=\"{error}\",") };
        format!("DPoP realm=\"vestibule\",{error} algs=\"{}\"", ALGORITHMS.join(" "))
    };
    match reason {
        Reason::TokenMissing => vec![bearer(""), dpop("")],
        Reason::DpopProofInvalid => vec![dpop("invalid_dpop_proof")],
        Reason::DpopNonceRequired => vec![dpop("use_dpop_nonce")],
        _ => vec![bearer(", error=\"invalid_token\"")],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The certificate of RFC 9440 appendix A, in DER and base64.
    const RFC9440: &str = "MIIBqDCCAU6gAwIBAgIBBzAKBggqhkjOPQQDAjA6MRswGQYDVQQKDBJMZXQncyBBdXRoZW50aWNhdGUxGzAZBgNVBAMMEkxBIEludGVybWVkaWF0ZSBDQTAeFw0yMDAxMTQyMjU1MzNaFw0yMTAxMjMyMjU1MzNaMA0xCzAJBgNVBAMMAkJDMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE8YnXXfaUgmnMtOXU/IncWalRhebrXmckC8vdgJ1p5Be5F/3YC8OthxM4+k1M6aEAEFcGzkJiNy6J84y7uzo9M6NyMHAwCQYDVR0TBAIwADAfBgNVHSMEGDAWgBRm3WjLa38lbEYCuiCPct0ZaSED2DAOBgNVHQ8BAf8EBAMCBsAwEwYDVR0lBAwwCgYIKwYBBQUHAwIwHQYDVR0RAQH/BBMwEYEPYmRjQGV4YW1wbGUuY29tMAoGCCqGSM49BAMCA0gAMEUCIBHda/r1vaL6G3VliL4/Di6YK0Q6bMjeSkC3dFCOOB8TAiEAx/kHSB4urmiZ0NX5r5XarmPk0wmuydBVoU4hBVZ1yhk=";

    fn headers(values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(HeaderName::from_static("client-cert"), HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    fn read(values: &[&str]) -> Result<Option<Thumbprint>, Reason> {
        told(&headers(values), &HeaderName::from_static("client-cert")).map_err(|refusal| refusal.reason)
    }

    #[test]
    fn a_certificate_is_the_same_in_both_ways_to_write_it() {
        let der = BASE64_STANDARD.decode(RFC9440).unwrap();
        let own = Ok(Some(Thumbprint::of(&der)));
        assert_eq!(read(&[&format!(":{RFC9440}:")]), own);
        let lines = RFC9440.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect::<Vec<_>>();
        let pem = format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"));
        // nginx escapes everything but letters and digits; Amazon leaves +, = and / as they are.
        let nginx = percent_encoding::utf8_percent_encode(&pem, percent_encoding::NON_ALPHANUMERIC).to_string();
        let amazon = pem.replace('\n', "%0A").replace(' ', "%20");
        assert_eq!(read(&[&nginx]), own);
        assert_eq!(read(&[&amazon]), own);
        assert_eq!(read(&[&format!("{amazon}{amazon}")]), own, "a chain begins with the client's own");
        assert_eq!(read(&[]), Ok(None));
    }

    #[test]
    fn what_is_no_certificate_or_more_than_one_is_refused() {
        let good = format!(":{RFC9440}:");
        for values in [&[good.as_str(), good.as_str()][..], &[""], &[":"], &["::"], &[RFC9440], &[":%%%:"], &["none"]] {
            assert_eq!(read(values), Err(Reason::CertificateMismatch), "{values:?}");
        }
    }

    #[test]
    fn one_proof_is_a_proof_and_two_are_none() {
        let mut headers = HeaderMap::new();
        assert_eq!(proof(&headers), Ok(None));
        headers.append(DPOP, HeaderValue::from_static("a.b.c"));
        assert_eq!(proof(&headers), Ok(Some("a.b.c")));
        headers.append(DPOP, HeaderValue::from_static("a.b.c"));
        assert_eq!(proof(&headers), Err(ProofError::Several));
    }

    #[test]
    fn a_challenge_says_what_to_do_better() {
        assert_eq!(
            challenges(Reason::DpopNonceRequired),
            [r#"DPoP realm="vestibule", error="use_dpop_nonce", algs="ES256 ES384 Ed25519 EdDSA PS256 RS256""#]
        );
        assert_eq!(challenges(Reason::TokenMissing)[0], r#"Bearer realm="vestibule""#);
        assert_eq!(challenges(Reason::TokenRevoked), [r#"Bearer realm="vestibule", error="invalid_token""#]);
    }
}
