//! The routes of operators. Pages of other origins get no leave to call them.

mod access;
mod access_review;
mod audit;
mod installation;
mod metrics;
mod objects;
mod revocations;
mod rotate;
mod token_list;
mod tokens;

use actix_web::HttpResponse;
use actix_web::web::{self, ServiceConfig};

use super::public::{description, docs_page, not_found, readyz_in_detail, same_origin as resource};

pub(super) use access::{
    __path_approve_access, __path_deny_access, __path_get_access, __path_list_access, __path_request_access,
    AccessAnswer, AccessBody, AccessList, AccessView,
};
pub use access_review::review_json;
pub(super) use access_review::{__path_review_access, ReviewAnswer, ReviewRow};
pub(super) use audit::{__path_dead_letters, __path_query_audit, AuditPage, DeadLetterView};
pub(super) use installation::{__path_list_apps, __path_list_nodes, AppList, AppView, NodeList, NodeView};
pub(super) use metrics::Metrics;
pub(super) use objects::{
    __path_delete_object, __path_get_object, __path_inspect_object, __path_list_objects, __path_release_object,
    HeldObject, HeldObjects, ReasonBody,
};
pub(super) use revocations::{
    __path_get_revocation, __path_lift_revocation, __path_list_revocations, __path_revoke, DeedView, DeedsView,
    HoldingsView, RevocationAnswer, RevocationBody, RevocationList, RevocationView,
};
pub(super) use rotate::{__path_rotate_token, RotateBody, RotatedAnswer};
pub(super) use token_list::{__path_list_tokens, TokenList};
pub(super) use tokens::{__path_create_token, __path_revoke_token, CreatedTokenAnswer, NewTokenBody, TokenView};

/// Adds the routes.
pub(super) fn configure(config: &mut ServiceConfig) {
    resource(
        config,
        "/admin/tokens",
        &[("GET", || web::get().to(token_list::list_tokens)), ("POST", || web::post().to(tokens::create_token))],
    );
    resource(config, "/admin/tokens/{id}", &[("DELETE", || web::delete().to(tokens::revoke_token))]);
    resource(
        config,
        "/admin/revocations",
        &[("GET", || web::get().to(revocations::list_revocations)), ("POST", || web::post().to(revocations::revoke))],
    );
    resource(config, "/admin/revocations/{id}", &[("GET", || web::get().to(revocations::get_revocation))]);
    resource(config, "/admin/revocations/{id}/lift", &[("POST", || web::post().to(revocations::lift_revocation))]);
    resource(config, "/admin/nodes", &[("GET", || web::get().to(installation::list_nodes))]);
    resource(config, "/admin/apps", &[("GET", || web::get().to(installation::list_apps))]);
    resource(config, "/admin/tokens/{id}/rotate", &[("POST", || web::post().to(rotate::rotate_token))]);
    resource(
        config,
        "/admin/access-requests",
        &[("GET", || web::get().to(access::list_access)), ("POST", || web::post().to(access::request_access))],
    );
    resource(config, "/admin/access-requests/{id}", &[("GET", || web::get().to(access::get_access))]);
    resource(config, "/admin/access-requests/{id}/approve", &[("POST", || web::post().to(access::approve_access))]);
    resource(config, "/admin/access-requests/{id}/deny", &[("POST", || web::post().to(access::deny_access))]);
    resource(config, "/admin/access-review", &[("GET", || web::get().to(access_review::review_access))]);
    resource(config, "/admin/objects", &[("GET", || web::get().to(objects::list_objects))]);
    resource(config, "/admin/objects/{id}", &[("GET", || web::get().to(objects::get_object))]);
    resource(config, "/admin/objects/{id}/release", &[("POST", || web::post().to(objects::release_object))]);
    resource(config, "/admin/objects/{id}/delete", &[("POST", || web::post().to(objects::delete_object))]);
    resource(config, "/admin/objects/{id}/inspect", &[("POST", || web::post().to(objects::inspect_object))]);
    resource(config, "/admin/audit", &[("GET", || web::get().to(audit::query_audit))]);
    resource(config, "/admin/dead-letters", &[("GET", || web::get().to(audit::dead_letters))]);
    resource(config, "/metrics", &[("GET", || web::get().to(metrics::render))]);
    resource(config, "/healthz", &[("GET", || web::get().to(HttpResponse::Ok))]);
    resource(config, "/readyz", &[("GET", || web::get().to(readyz_in_detail))]);
    resource(config, "/openapi.json", &[("GET", || web::get().to(openapi))]);
    resource(config, "/docs", &[("GET", || web::get().to(docs))]);
    config.default_service(web::to(not_found));
}

async fn openapi() -> HttpResponse {
    description(super::openapi::admin_written())
}

async fn docs() -> HttpResponse {
    docs_page(super::openapi::admin_written())
}
