//! `GET /healthz` and `GET /readyz`.

use actix_web::{HttpResponse, web};

use crate::app::{App, Health};

/// The process answers.
#[utoipa::path(get, path = "/healthz", tag = "operation", responses((status = 200, description = "The process answers")))]
pub(in crate::http) async fn healthz() -> HttpResponse {
    HttpResponse::Ok().json(serde_json::json!({ "status": "ok" }))
}

/// Whether every dependency answers, and which does not.
#[utoipa::path(
    get, path = "/readyz", tag = "operation",
    responses(
        (status = 200, description = "Every dependency answers", body = Health),
        (status = 503, description = "Some dependency is away", body = Health),
    )
)]
pub(in crate::http) async fn readyz(app: web::Data<App>) -> HttpResponse {
    let health = app.health().await;
    let mut answer = if health.ready { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    answer.json(health)
}
