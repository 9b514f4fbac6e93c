//! The routes that apps call.
//!
//! What is no route, or no method of one, is answered without an audit entry: it asks for nothing that could be allowed.
//! It is counted by `vestibule_request_seconds`.

mod claim;
mod downloads;
mod health;
mod limits;
mod links;
mod oauth;
mod objects;
mod pages;
mod uploads;

use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, Resource, Route};

use crate::domain::refusal::{Reason, Refusal};

use super::context::Context;
use super::endpoint::Endpoint;
use super::problem::Problem;
use super::{cors, events};

pub(super) use claim::{__path_claim_token, __path_look_at_claim, ClaimAnswer, ClaimView};
pub(super) use downloads::__path_request_download;
pub(super) use health::{__path_healthz, __path_readyz, readyz_in_detail};
pub(super) use limits::{__path_get_limits, LimitsAnswer};
pub(super) use links::__path_follow_link;
pub(super) use oauth::{
    __path_exchange, __path_introspect, __path_issue_token, __path_jwks, __path_metadata, __path_revoke, __path_token,
    ExchangeBody, IntrospectionAnswer, KeySet, Metadata, OneToken, TokenAnswer, TokenForm,
};
pub(super) use objects::{__path_delete_object, __path_get_object, __path_list_objects, ObjectList, object_id, state};
pub(super) use pages::{__path_docs, __path_openapi, description, docs_page};
pub(super) use uploads::__path_request_upload;

/// Adds the routes.
pub(super) fn configure(config: &mut ServiceConfig) {
    resource(config, "/request-upload", &[("POST", || web::post().to(uploads::request_upload))]);
    resource(config, "/request-download", &[("POST", || web::post().to(downloads::request_download))]);
    resource(config, "/objects", &[("GET", || web::get().to(objects::list_objects))]);
    resource(
        config,
        "/objects/{id}",
        &[("GET", || web::get().to(objects::get_object)), ("DELETE", || web::delete().to(objects::delete_object))],
    );
    resource(config, "/limits", &[("GET", || web::get().to(limits::get_limits))]);
    resource(config, "/d/{link}", &[("GET", || web::get().to(links::follow_link))]);
    same_origin(
        config,
        "/claim/{secret}",
        &[("GET", || web::get().to(claim::look_at_claim)), ("POST", || web::post().to(claim::claim_token))],
    );
    config.service(
        named("/events/eventgrid")
            .route(web::post().to(events::eventgrid))
            .route(web::method(actix_web::http::Method::OPTIONS).to(events::eventgrid_handshake))
            .default_service(web::to(
                |context: Context| async move { Err::<String, _>(wrong_method(context, "POST")) },
            )),
    );
    resource(config, "/events/sns", &[("POST", || web::post().to(events::sns))]);
    resource(config, "/exchange", &[("POST", || web::post().to(oauth::exchange))]);
    resource(config, "/oauth/token", &[("POST", || web::post().to(oauth::token))]);
    resource(config, "/issue-token", &[("POST", || web::post().to(oauth::issue_token))]);
    resource(config, "/introspect", &[("POST", || web::post().to(oauth::introspect))]);
    resource(config, "/revoke", &[("POST", || web::post().to(oauth::revoke))]);
    resource(config, "/.well-known/oauth-authorization-server", &[("GET", || web::get().to(oauth::metadata))]);
    resource(config, "/.well-known/jwks.json", &[("GET", || web::get().to(oauth::jwks))]);
    resource(config, "/healthz", &[("GET", || web::get().to(health::healthz))]);
    resource(config, "/readyz", &[("GET", || web::get().to(health::readyz))]);
    resource(config, "/openapi.json", &[("GET", || web::get().to(pages::openapi))]);
    resource(config, "/docs", &[("GET", || web::get().to(pages::docs))]);
    config.default_service(web::to(not_found));
}

/// A method's name and what makes its route.
type Method = (&'static str, fn() -> Route);

/// One resource that pages of other origins may use: its methods and the preflight.
fn resource(config: &mut ServiceConfig, path: &'static str, methods: &[Method]) {
    let preflight = web::method(actix_web::http::Method::OPTIONS).to(cors::preflight);
    serve(config, named(path).route(preflight), methods);
}

/// One resource that no page of another origin may use.
pub(super) fn same_origin(config: &mut ServiceConfig, path: &'static str, methods: &[Method]) {
    serve(config, named(path), methods);
}

/// A resource that knows its own pattern.
fn named(path: &'static str) -> Resource {
    web::resource(path).app_data(Endpoint::new(path))
}

/// The methods, and 405 with `Allow` for every other one.
fn serve(config: &mut ServiceConfig, mut resource: Resource, methods: &[Method]) {
    let mut allow = Vec::new();
    for (name, route) in methods {
        allow.push(*name);
        resource = resource.route(route());
    }
    let allow = allow.join(", ");
    config.service(resource.default_service(web::to(move |context: Context| {
        let problem = wrong_method(context, &allow);
        async move { Err::<String, _>(problem) }
    })));
}

fn wrong_method(context: Context, allow: &str) -> Problem {
    let detail = format!("This address takes {allow}, not {}.", context.0.method);
    let refusal = Refusal::new(Reason::MethodNotAllowed, detail).allowed(allow.split(", "));
    Problem::new(refusal, context.0.request_id).allow(allow)
}

/// What is not a route.
pub(super) async fn not_found(context: Context, _: HttpRequest) -> Result<String, Problem> {
    let refusal = Refusal::new(Reason::NotFound, "There is nothing under this address. GET /docs lists what there is.");
    Err(Problem::new(refusal, context.0.request_id))
}
