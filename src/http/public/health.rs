//! `GET /healthz` and `GET /readyz`.

use actix_web::{HttpResponse, web};

use crate::app::{App, Health};

/// The process answers.
#[utoipa::path(get, path = "/healthz", tag = "operation", responses((status = 200, description = "The process answers")))]
pub(in crate::http) async fn healthz() -> HttpResponse {
    HttpResponse::Ok().json(serde_json::json!({ "status": "ok" }))
}

/// Whether every required dependency answers, and which does not. As last found in the background, a few seconds ago.
#[utoipa::path(
    get, path = "/readyz", tag = "operation",
    responses(
        (status = 200, description = "Every required dependency answers", body = Health),
        (status = 503, description = "A required dependency is away", body = Health),
    )
)]
pub(in crate::http) async fn readyz(app: web::Data<App>) -> HttpResponse {
    told(app.health().without_details())
}

/// The same with what was found, for operators.
pub(in crate::http) async fn readyz_in_detail(app: web::Data<App>) -> HttpResponse {
    told(app.health())
}

fn told(health: Health) -> HttpResponse {
    let mut answer = if health.ready { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    answer.json(health)
}
