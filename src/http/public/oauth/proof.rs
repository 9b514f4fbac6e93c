//! The key that a request to the token endpoint shows to hold: the new token is bound to it (RFC 9449 section 5,
//! RFC 8705 section 3). A proof is looked at here and used up when the token is made.

use actix_web::HttpRequest;

use crate::app::App;
use crate::domain::refusal::Refusal;
use crate::http::possession::{certificate, proof};
use crate::identity::{HeldKey, ProofError, Scheme, ShownProof};

/// The key, where one is shown. `subject` is the token of the header, which a proof must then name, under its scheme.
pub(super) async fn held(
    app: &App,
    request: &HttpRequest,
    subject: Option<(Scheme, &str)>,
) -> Result<Option<HeldKey>, Refusal> {
    let proof = proof(request.headers())?;
    if subject.is_some_and(|(scheme, _)| (scheme == Scheme::Dpop) != proof.is_some()) {
        return Err(ProofError::Scheme.into());
    }
    let Some(proof) = proof else { return Ok(certificate(request)?.map(HeldKey::Certificate)) };
    let (method, path, token) = (request.method().as_str(), request.path(), subject.map(|(_, token)| token));
    let shown = ShownProof { proof, method, path, token, key: None };
    Ok(Some(HeldKey::Dpop(app.authenticator.proofs().check(&shown).await?)))
}
