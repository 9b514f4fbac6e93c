//! `GET /admin/nodes` and `GET /admin/apps`: what the installation consists of.

use actix_web::{HttpResponse, web};
use jiff::Timestamp;
use serde::Serialize;

use crate::app::App;
use crate::http::context::Context;
use crate::http::operates::{Look, Operates};
use crate::http::problem::Problem;

/// A node that was heard of in the last ten minutes.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct NodeView {
    node_id: String,
    /// Where its public listener answers, and no other node's.
    url: String,
    /// The program's version.
    version: String,
    #[schema(value_type = String, format = DateTime)]
    started_at: Timestamp,
    /// When it said last that it runs.
    #[schema(value_type = String, format = DateTime)]
    seen_at: Timestamp,
    /// Whether it said so in the last 15 seconds.
    alive: bool,
}

/// The nodes.
#[derive(Serialize, utoipa::ToSchema)]
pub(in crate::http) struct NodeList {
    nodes: Vec<NodeView>,
}

/// An app, as the policies register it.
#[derive(Serialize, utoipa::ToSchema)]
pub(in crate::http) struct AppView {
    app: String,
    /// Who answers for it.
    owner: String,
    /// Whether it gets URLs.
    enabled: bool,
    /// For which environments it has a target: `live`, `test`.
    environments: Vec<&'static str>,
}

/// The apps.
#[derive(Serialize, utoipa::ToSchema)]
pub(in crate::http) struct AppList {
    apps: Vec<AppView>,
}

/// The nodes of the installation, those that ended in order left out.
#[utoipa::path(
    get, path = "/admin/nodes", tag = "installation", security(("bearer" = [])),
    responses((status = 200, description = "The nodes", body = NodeList))
)]
pub(in crate::http) async fn list_nodes(
    app: web::Data<App>,
    who: Operates<Look>,
    context: Context,
) -> Result<HttpResponse, Problem> {
    let nodes = app.nodes(&context.0, &who.who).await.map_err(|refusal| Problem::new(refusal, context.0.request_id))?;
    let view = |node: crate::app::Node| NodeView {
        node_id: node.record.id.to_string(),
        url: node.record.url,
        version: node.record.version,
        started_at: node.record.started_at,
        seen_at: node.record.seen_at,
        alive: node.alive,
    };
    Ok(HttpResponse::Ok().json(NodeList { nodes: nodes.into_iter().map(view).collect() }))
}

/// The apps of the policies in force.
#[utoipa::path(
    get, path = "/admin/apps", tag = "installation", security(("bearer" = [])),
    responses((status = 200, description = "The apps", body = AppList))
)]
pub(in crate::http) async fn list_apps(
    app: web::Data<App>,
    who: Operates<Look>,
    context: Context,
) -> Result<HttpResponse, Problem> {
    let apps = app
        .registered_apps(&context.0, &who.who)
        .await
        .map_err(|refusal| Problem::new(refusal, context.0.request_id))?;
    let view = |app: crate::app::RegisteredApp| AppView {
        app: app.app.to_string(),
        owner: app.owner.to_string(),
        enabled: app.enabled,
        environments: app.environments.iter().map(|environment| environment.as_str()).collect(),
    };
    Ok(HttpResponse::Ok().json(AppList { apps: apps.into_iter().map(view).collect() }))
}
