//! What clients find out by themselves: `GET /.well-known/oauth-authorization-server` (RFC 8414) and
//! `GET /.well-known/jwks.json` (RFC 7517).

use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, HeaderValue};
use actix_web::{HttpResponse, web};
use serde::Serialize;

use crate::app::App;
use crate::http::answer::json;
use crate::http::context::Context;
use crate::http::problem::{Document, Problem};
use crate::http::server::Proxies;
use crate::identity::ALGORITHMS;
use crate::identity::access_token::PublicJwk;

use super::exchange::GRANT_TYPE;

/// The gateway as an authorization server.
#[derive(Serialize, utoipa::ToSchema)]
pub(in crate::http) struct Metadata {
    /// The gateway's public address; `iss` of its tokens.
    issuer: String,
    /// Where tokens are exchanged.
    token_endpoint: String,
    /// Where workflows ask about tokens.
    introspection_endpoint: String,
    /// Where tokens are given back.
    revocation_endpoint: String,
    /// Where the keys of its tokens lie.
    jwks_uri: String,
    /// None: people sign in at their identity provider.
    response_types_supported: [&'static str; 0],
    /// Token exchange alone.
    grant_types_supported: [&'static str; 1],
    /// None: the subject token says who asks.
    token_endpoint_auth_methods_supported: [&'static str; 1],
    /// A workflow's token: as a bearer, with a DPoP proof, or as a password with its id as the name.
    introspection_endpoint_auth_methods_supported: [&'static str; 3],
    /// None: the token itself is enough.
    revocation_endpoint_auth_methods_supported: [&'static str; 1],
    /// The algorithms of DPoP proofs.
    dpop_signing_alg_values_supported: [&'static str; ALGORITHMS.len()],
    /// Whether a token that is asked for with a client certificate is bound to it: not where nobody is asked for one.
    tls_client_certificate_bound_access_tokens: bool,
    /// The description for people.
    service_documentation: String,
}

/// The keys of the gateway's tokens.
#[derive(Serialize, utoipa::ToSchema)]
pub(in crate::http) struct KeySet {
    /// The one in use first: `kty`, `crv`, `x`, `y`, `alg`, `use`, `kid`.
    #[schema(value_type = Vec<Object>)]
    keys: Vec<PublicJwk>,
}

/// Says where everything is (RFC 8414).
#[utoipa::path(
    get, path = "/.well-known/oauth-authorization-server", tag = "tokens",
    responses((status = 200, description = "The metadata; an hour's", body = Metadata))
)]
pub(in crate::http) async fn metadata(app: web::Data<App>, proxies: web::Data<Proxies>) -> HttpResponse {
    let issuer = app.settings.public_url.clone();
    let at = |path: &str| format!("{issuer}{path}");
    let metadata = Metadata {
        token_endpoint: at("/oauth/token"),
        introspection_endpoint: at("/introspect"),
        revocation_endpoint: at("/revoke"),
        jwks_uri: at("/.well-known/jwks.json"),
        response_types_supported: [],
        grant_types_supported: [GRANT_TYPE],
        token_endpoint_auth_methods_supported: ["none"],
        introspection_endpoint_auth_methods_supported: ["client_secret_basic", "Bearer", "DPoP"],
        revocation_endpoint_auth_methods_supported: ["none"],
        dpop_signing_alg_values_supported: ALGORITHMS,
        tls_client_certificate_bound_access_tokens: proxies.knows_certificates,
        service_documentation: at("/docs"),
        issuer,
    };
    cached(json(StatusCode::OK, &metadata), HOUR)
}

/// The keys that verify the gateway's access tokens, where they are JWTs.
#[utoipa::path(
    get, path = "/.well-known/jwks.json", tag = "tokens",
    responses(
        (status = 200, description = "The keys; five minutes'. Ask again where a token names a key that is not there", body = KeySet),
        (status = 503, description = "A dependency is away", body = Document, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn jwks(app: web::Data<App>, context: Context) -> Result<HttpResponse, Problem> {
    match app.public_keys(&context.0).await {
        Ok(keys) => Ok(cached(json(StatusCode::OK, &KeySet { keys }), FIVE_MINUTES)),
        Err(refusal) => Err(Problem::new(refusal, context.0.request_id)),
    }
}

const HOUR: HeaderValue = HeaderValue::from_static("public, max-age=3600");
const FIVE_MINUTES: HeaderValue = HeaderValue::from_static("public, max-age=300");

fn cached(mut answer: HttpResponse, how_long: HeaderValue) -> HttpResponse {
    answer.headers_mut().insert(CACHE_CONTROL, how_long);
    answer
}
