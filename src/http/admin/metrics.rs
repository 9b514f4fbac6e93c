//! `GET /metrics`, in the Prometheus text format. Needs no token: it holds counts only, and the listener is not public.

use actix_web::{HttpResponse, web};
use metrics_exporter_prometheus::PrometheusHandle;

/// Renders the process's metrics; absent where none are recorded.
pub(in crate::http) struct Metrics(pub(in crate::http) Option<PrometheusHandle>);

/// All metrics.
pub(in crate::http) async fn render(metrics: web::Data<Metrics>) -> HttpResponse {
    match &metrics.0 {
        Some(handle) => HttpResponse::Ok().content_type("text/plain; version=0.0.4").body(handle.render()),
        None => HttpResponse::NotFound().finish(),
    }
}
