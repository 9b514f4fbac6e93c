//! `GET /openapi.json` and `GET /docs`: the description for machines and for people.

use actix_web::HttpResponse;
use actix_web::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};

use crate::http::openapi::{self, Written};

/// This description (OpenAPI 3.1).
#[utoipa::path(get, path = "/openapi.json", tag = "operation", responses((status = 200, description = "OpenAPI 3.1", body = Object)))]
pub(in crate::http) async fn openapi() -> HttpResponse {
    description(openapi::public_written())
}

/// This description as a page, with the table of errors.
#[utoipa::path(get, path = "/docs", tag = "operation", responses((status = 200, description = "A page", body = String, content_type = "text/html")))]
pub(in crate::http) async fn docs() -> HttpResponse {
    docs_page(openapi::public_written())
}

/// A description for machines.
pub(in crate::http) fn description(written: &'static Written) -> HttpResponse {
    HttpResponse::Ok().insert_header((CONTENT_TYPE, "application/json")).body(written.json.clone())
}

/// A page that shows a description; needs nothing from anywhere else.
pub(in crate::http) fn docs_page(written: &'static Written) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/html; charset=utf-8"))
        .insert_header((CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'"))
        .body(written.page.clone())
}
