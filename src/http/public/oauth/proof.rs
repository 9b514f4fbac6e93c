//! The key that a request to the token endpoint proves to hold: the new token is bound to it (RFC 9449 section 5,
//! RFC 8705 section 3).

use actix_web::{HttpMessage, HttpRequest};

use crate::app::App;
use crate::domain::binding::Binding;
use crate::domain::refusal::Refusal;
use crate::http::possession::{FreshNonce, certificate, proof};
use crate::identity::{ShownProof, VerifyError};

/// The key, where one is proven. `token` is the one of the header `Authorization: DPoP`, whose hash must be in the proof.
pub(super) async fn proven(app: &App, request: &HttpRequest, token: Option<&str>) -> Result<Option<Binding>, Refusal> {
    let result = look(app, request, token).await;
    let wants_nonce = match &result {
        Ok((_, renew)) => *renew,
        Err(refusal) => FreshNonce::helps(refusal.reason),
    };
    if let Some(nonce) = Some(app).filter(|_| wants_nonce).and_then(FreshNonce::of) {
        // The middleware tells it.
        request.extensions_mut().insert(nonce);
    }
    result.map(|(binding, _)| binding)
}

async fn look(app: &App, request: &HttpRequest, token: Option<&str>) -> Result<(Option<Binding>, bool), Refusal> {
    let Some(proof) = proof(request.headers())? else {
        return Ok((certificate(request)?.map(Binding::Certificate), false));
    };
    let shown = ShownProof { proof, method: request.method().as_str(), path: request.path(), token, key: None };
    let proven = app.authenticator.proofs().verify(&shown).await.map_err(|error| match error {
        VerifyError::Proof(error) => Refusal::from(error),
        VerifyError::Store(error) => error.into(),
    })?;
    Ok((Some(Binding::Dpop(proven.key)), proven.renew))
}
