//! `GET /objects`, `GET /objects/{id}`, `DELETE /objects/{id}`.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};

use crate::app::{App, ObjectView};
use crate::domain::audit::AuditAction;
use crate::domain::ids::ObjectId;
use crate::domain::key::Prefix;
use crate::domain::life::State;
use crate::domain::refusal::{Reason, Refusal};
use crate::http::auth::{Authorized, DeleteObject, ListObjects, ReadObject};
use crate::http::context::Context;
use crate::http::limits::admit;
use crate::http::parameters::Parameters;
use crate::http::problem::{Document, Problem};
use crate::policy::bodies::list_prefix;

/// How one object stands.
#[utoipa::path(
    get, path = "/objects/{id}", tag = "objects",
    security(("bearer" = []), ("workflowToken" = [])),
    params(("id" = String, Path, description = "The objectId")),
    responses(
        (status = 200, description = "State, verdict and reason", body = ObjectView),
        (status = "4XX", description = "Refused; see `code`", body = Document, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn get_object(
    app: web::Data<App>,
    who: Authorized<ReadObject>,
    context: Context,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let result = match object_id(&id) {
        Ok(id) => app.object(&context.0, &who.who, id).await,
        Err(refusal) => Err(app.refuse_known(&context.0, &who.who, refusal).await),
    };
    let object = result.map_err(|refusal| Problem::new(refusal, context.0.request_id))?;
    Ok(HttpResponse::Ok().json(ObjectView::from(&object)))
}

/// The query of `GET /objects`.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct ListQuery {
    /// Only paths that start with this.
    prefix: Option<String>,
    /// Only objects in this state.
    state: Option<String>,
    /// `nextCursor` of the page before.
    cursor: Option<String>,
    /// Objects a page: 1 to 200, 50 where absent.
    limit: Option<usize>,
}

/// A page of objects.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct ObjectList {
    /// Newest first.
    objects: Vec<ObjectView>,
    /// Send it as `cursor` for the next page; null at the end.
    next_cursor: Option<String>,
}

/// The app's objects, newest first.
#[utoipa::path(
    get, path = "/objects", tag = "objects", params(ListQuery),
    security(("bearer" = []), ("workflowToken" = [])),
    responses(
        (status = 200, description = "A page", body = ObjectList),
        (status = "4XX", description = "Refused; see `code`", body = Document, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn list_objects(
    app: web::Data<App>,
    who: Authorized<ListObjects>,
    context: Context,
    request: HttpRequest,
    query: Parameters<ListQuery>,
) -> Result<HttpResponse, Problem> {
    let admission = admit(&app, &who.who, &context, &request, AuditAction::ListObjects).await?;
    let query = query.0.and_then(ListQuery::parse);
    let page = app
        .list_objects(&context.0, &who.who, admission, query)
        .await
        .map_err(|refusal| Problem::new(refusal, context.0.request_id))?;
    let objects = page.objects.iter().map(ObjectView::from).collect();
    Ok(HttpResponse::Ok().json(ObjectList { objects, next_cursor: page.next.map(|id| id.to_string()) }))
}

/// Deletes an object and its bytes.
#[utoipa::path(
    delete, path = "/objects/{id}", tag = "objects",
    security(("bearer" = []), ("workflowToken" = [])),
    params(("id" = String, Path, description = "The objectId")),
    responses(
        (status = 204, description = "Deleted; deleting twice is success"),
        (status = "4XX", description = "Refused; see `code`", body = Document, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn delete_object(
    app: web::Data<App>,
    who: Authorized<DeleteObject>,
    context: Context,
    request: HttpRequest,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let admission = admit(&app, &who.who, &context, &request, AuditAction::DeleteObject).await?;
    let result = match object_id(&id) {
        Ok(id) => app.delete_object(&context.0, &who.who, admission, id).await,
        Err(refusal) => Err(app.refuse_known(&context.0, &who.who, refusal).await),
    };
    result.map_err(|refusal| Problem::new(refusal, context.0.request_id))?;
    Ok(HttpResponse::NoContent().finish())
}

/// An id in an address; what is none is simply not there.
pub(in crate::http) fn object_id(text: &str) -> Result<ObjectId, Refusal> {
    text.parse().map_err(|_| {
        Refusal::new(Reason::ObjectNotFound, "There is no such object: an objectId looks like obj_ and 32 digits.")
    })
}

impl ListQuery {
    fn parse(self) -> Result<(Prefix, Option<State>, Option<ObjectId>, usize), Refusal> {
        let invalid = |field: &str, what: String| Refusal::new(Reason::InvalidField, format!("{field}: {what}."));
        let prefix = list_prefix(self.prefix.as_deref())?;
        let state = match self.state {
            None => None,
            Some(name) => Some(state(&name)?),
        };
        let before = match self.cursor {
            None => None,
            Some(cursor) => {
                Some(cursor.parse().map_err(|_| invalid("cursor", "send the nextCursor of a page".into()))?)
            }
        };
        let limit = self.limit.unwrap_or(50);
        if !(1..=200).contains(&limit) {
            return Err(invalid("limit", "must be 1 to 200".into()).limit(200));
        }
        Ok((prefix, state, before, limit))
    }
}

/// A state by its name.
pub(in crate::http) fn state(name: &str) -> Result<State, Refusal> {
    State::from_name(name).ok_or_else(|| {
        Refusal::new(Reason::InvalidField, "state: there is no such state.").allowed(State::ALL.map(State::as_str))
    })
}
