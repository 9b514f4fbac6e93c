//! The routes of operators. Pages of other origins get no leave to call them.

mod access;
mod access_review;
mod audit;
mod installation;
mod keys;
mod metrics;
mod objects;
mod revocations;
mod rotate;
mod token_list;
mod tokens;

use actix_web::http::Method;
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpResponse, Route};

use crate::domain::admin::AdminAct;

use super::public::{description, docs_page, not_found, readyz_in_detail, same_origin as resource};

pub(super) use access::{
    __path_approve_access, __path_deny_access, __path_get_access, __path_list_access, __path_request_access,
    AccessAnswer, AccessBody, AccessList, AccessView,
};
pub use access_review::review_json;
pub(super) use access_review::{__path_review_access, ReviewAnswer, ReviewRow};
pub(super) use audit::{__path_dead_letters, __path_query_audit, AuditPage, DeadLetterView};
pub(super) use installation::{__path_list_apps, __path_list_nodes, AppList, AppView, NodeList, NodeView};
pub(super) use keys::{__path_list_keys, __path_rotate_key, KeyList, KeyView, RotateKeyBody, RotatedKeyAnswer};
pub(super) use metrics::Metrics;
pub(super) use objects::{
    __path_delete_object, __path_get_object, __path_inspect_object, __path_list_objects, __path_release_object,
    HeldObject, HeldObjects, ReasonBody, WaitingRelease,
};
pub(super) use revocations::{
    __path_get_revocation, __path_lift_revocation, __path_list_revocations, __path_revoke, DeedView, DeedsView,
    HoldingsView, RevocationAnswer, RevocationBody, RevocationList, RevocationView,
};
pub(super) use rotate::{__path_rotate_token, RotateBody, RotatedAnswer};
pub(super) use token_list::{__path_list_tokens, TokenList};
pub(super) use tokens::{__path_create_token, __path_revoke_token, CreatedTokenAnswer, NewTokenBody, TokenView};

/// One route of the admin listener.
pub struct AdminRoute {
    /// The HTTP method.
    pub method: &'static str,
    /// The pattern, for example `/admin/tokens/{id}`.
    pub path: &'static str,
    /// What an operator's role must cover; none where no token is asked for.
    pub needs: Option<AdminAct>,
    handler: fn() -> Route,
}

macro_rules! routes {
    ($($method:ident $path:literal, $needs:expr => $handler:path;)*) => {
        &[$(AdminRoute {
            method: stringify!($method),
            path: $path,
            needs: $needs,
            handler: || web::method(Method::$method).to($handler),
        }),*]
    };
}

/// Every route. `docs/admin-roles.md` is made from it, and a test asks each of them in each role. The permission that a
/// handler's signature names is what holds.
pub const ROUTES: &[AdminRoute] = routes! {
    GET "/admin/tokens", Some(AdminAct::Look) => token_list::list_tokens;
    POST "/admin/tokens", Some(AdminAct::Provision) => tokens::create_token;
    DELETE "/admin/tokens/{id}", Some(AdminAct::Revoke) => tokens::revoke_token;
    POST "/admin/tokens/{id}/rotate", Some(AdminAct::Provision) => rotate::rotate_token;
    GET "/admin/access-requests", Some(AdminAct::Look) => access::list_access;
    POST "/admin/access-requests", Some(AdminAct::AskForAccess) => access::request_access;
    GET "/admin/access-requests/{id}", Some(AdminAct::Look) => access::get_access;
    POST "/admin/access-requests/{id}/approve", Some(AdminAct::Provision) => access::approve_access;
    POST "/admin/access-requests/{id}/deny", Some(AdminAct::Provision) => access::deny_access;
    GET "/admin/access-review", Some(AdminAct::Look) => access_review::review_access;
    GET "/admin/revocations", Some(AdminAct::Look) => revocations::list_revocations;
    POST "/admin/revocations", Some(AdminAct::Revoke) => revocations::revoke;
    GET "/admin/revocations/{id}", Some(AdminAct::Look) => revocations::get_revocation;
    POST "/admin/revocations/{id}/lift", Some(AdminAct::Administer) => revocations::lift_revocation;
    GET "/admin/nodes", Some(AdminAct::Look) => installation::list_nodes;
    GET "/admin/apps", Some(AdminAct::Look) => installation::list_apps;
    GET "/admin/objects", Some(AdminAct::Look) => objects::list_objects;
    GET "/admin/objects/{id}", Some(AdminAct::Look) => objects::get_object;
    POST "/admin/objects/{id}/release", Some(AdminAct::Review) => objects::release_object;
    POST "/admin/objects/{id}/delete", Some(AdminAct::Review) => objects::delete_object;
    POST "/admin/objects/{id}/inspect", Some(AdminAct::Review) => objects::inspect_object;
    GET "/admin/audit", Some(AdminAct::Look) => audit::query_audit;
    GET "/admin/dead-letters", Some(AdminAct::Look) => audit::dead_letters;
    GET "/admin/keys", Some(AdminAct::Look) => keys::list_keys;
    POST "/admin/keys/{purpose}/rotate", Some(AdminAct::Administer) => keys::rotate_key;
    GET "/metrics", None => metrics::render;
    GET "/healthz", None => HttpResponse::Ok;
    GET "/readyz", None => readyz_in_detail;
    GET "/openapi.json", None => openapi;
    GET "/docs", None => docs;
};

/// Adds the routes, those of one path as one resource.
pub(super) fn configure(config: &mut ServiceConfig) {
    for routes in ROUTES.chunk_by(|one, next| one.path == next.path) {
        let methods: Vec<_> = routes.iter().map(|route| (route.method, route.handler)).collect();
        resource(config, routes[0].path, &methods);
    }
    config.default_service(web::to(not_found));
}

async fn openapi() -> HttpResponse {
    description(super::openapi::admin_written())
}

async fn docs() -> HttpResponse {
    docs_page(super::openapi::admin_written())
}
