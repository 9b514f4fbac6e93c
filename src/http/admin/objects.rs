//! `/admin/objects`: look at, release, delete, inspect again. Every act needs a written reason.

use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};

use crate::app::{App, ObjectView, ReviewAct, Reviewed};
use crate::domain::audit::AuditAction;
use crate::domain::ids::{AppName, ObjectId};
use crate::domain::object::Object;
use crate::domain::refusal::{Reason, Refusal};
use crate::http::body::Body;
use crate::http::context::Context;
use crate::http::operates::{Look, Operates, Review};
use crate::http::parameters::Parameters;
use crate::http::problem::{Document, Problem};
use crate::http::public::{object_id, state};
use crate::store::ObjectQuery;

/// Why a reviewer acts.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"reason":"false alarm, checked with the security team"}))]
pub(in crate::http) struct ReasonBody {
    /// 3 to 1,000 characters; goes into the audit trail.
    pub(super) reason: String,
}

impl ReasonBody {
    /// The reason as it was written.
    pub(super) fn into_reason(self) -> String {
        self.reason
    }
}

/// An object as a reviewer sees it.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct HeldObject {
    /// Whose it is.
    app: String,
    /// Which workflow uploaded it.
    workflow: String,
    /// Who answers for that workflow.
    owner: String,
    /// Which bucket or container it lies in.
    target: String,
    /// Where the uploaded bytes lie or lay.
    staging_key: String,
    /// The ETag of the bytes that inspection read.
    #[serde(skip_serializing_if = "Option::is_none")]
    inspected_etag: Option<String>,
    /// Their version, where the storage keeps versions.
    #[serde(skip_serializing_if = "Option::is_none")]
    inspected_version: Option<String>,
    #[serde(flatten)]
    object: ObjectView,
}

impl From<&Object> for HeldObject {
    fn from(object: &Object) -> Self {
        let inspected = object.life.verdict().map(|verdict| &verdict.bytes);
        Self {
            app: object.app.to_string(),
            workflow: object.workflow.to_string(),
            owner: object.owner.to_string(),
            target: object.target.to_string(),
            staging_key: object.keys.staging.path().to_owned(),
            inspected_etag: inspected.map(|bytes| bytes.etag.clone()),
            inspected_version: inspected.and_then(|bytes| bytes.version.clone()),
            object: ObjectView::from(object),
        }
    }
}

/// A page of objects.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct HeldObjects {
    /// Newest first.
    objects: Vec<HeldObject>,
    /// Send it as `cursor` for the next page; null at the end.
    next_cursor: Option<String>,
}

/// The query of `GET /admin/objects`.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct HeldQuery {
    /// Only this app's.
    app: Option<String>,
    /// Only in this state; `quarantined` and `unscannable` are those that wait for a review.
    state: Option<String>,
    /// `nextCursor` of the page before.
    cursor: Option<String>,
    /// Objects a page: 1 to 200, 50 where absent.
    limit: Option<usize>,
}

impl HeldQuery {
    fn parse(self) -> Result<ObjectQuery, Refusal> {
        let invalid = |field: &str, error: String| Refusal::new(Reason::InvalidField, format!("{field}: {error}."));
        let app = self.app.map(|app| app.parse::<AppName>()).transpose();
        let before = self.cursor.map(|cursor| cursor.parse::<ObjectId>()).transpose();
        let limit = self.limit.unwrap_or(50);
        if !(1..=200).contains(&limit) {
            return Err(invalid("limit", "must be 1 to 200".into()).limit(200));
        }
        Ok(ObjectQuery {
            app: app.map_err(|error| invalid("app", error.to_string()))?,
            prefix: String::new(),
            state: self.state.as_deref().map(state).transpose()?,
            before: before.map_err(|_| invalid("cursor", "send the nextCursor of a page".into()))?,
            limit,
        })
    }
}

/// Objects of every app, for example those that wait for a review.
#[utoipa::path(
    get, path = "/admin/objects", tag = "review", security(("bearer" = [])), params(HeldQuery),
    responses((status = 200, description = "A page", body = HeldObjects))
)]
pub(in crate::http) async fn list_objects(
    app: web::Data<App>,
    who: Operates<Look>,
    context: Context,
    query: Parameters<HeldQuery>,
) -> Result<HttpResponse, Problem> {
    let query = query.0.and_then(HeldQuery::parse);
    let page = app
        .review_list(&context.0, &who.who, query)
        .await
        .map_err(|refusal| Problem::new(refusal, context.0.request_id))?;
    let objects = page.objects.iter().map(HeldObject::from).collect();
    Ok(HttpResponse::Ok().json(HeldObjects { objects, next_cursor: page.next.map(|id| id.to_string()) }))
}

/// One object of any app.
#[utoipa::path(
    get, path = "/admin/objects/{id}", tag = "review", security(("bearer" = [])),
    params(("id" = String, Path, description = "The objectId")),
    responses(
        (status = 200, description = "The object", body = HeldObject),
        (status = 404, description = "There is no such object", body = Document, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn get_object(
    app: web::Data<App>,
    who: Operates<Look>,
    context: Context,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let result = match object_id(&id) {
        Ok(id) => app.review_look(&context.0, &who.who, id).await,
        Err(refusal) => Err(app.refuse_operator(&context.0, &who.who, AuditAction::ReadObject, refusal).await),
    };
    let object = result.map_err(|refusal| Problem::new(refusal, context.0.request_id))?;
    Ok(HttpResponse::Ok().json(HeldObject::from(&object)))
}

/// A release that waits for other reviewers.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct WaitingRelease {
    /// The object, which is held as before.
    object: HeldObject,
    /// Who has agreed so far.
    approved_by: Vec<String>,
    /// How many different reviewers must.
    approvals_needed: u8,
}

fn answer(reviewed: &Reviewed) -> HttpResponse {
    match reviewed {
        Reviewed::Done(object) => HttpResponse::Ok().json(HeldObject::from(object)),
        Reviewed::Waiting { object, approved_by, needed } => HttpResponse::Accepted().json(WaitingRelease {
            object: HeldObject::from(object),
            approved_by: approved_by.clone(),
            approvals_needed: *needed,
        }),
    }
}

macro_rules! review_act {
    ($(#[$doc:meta])* $handler:ident, $path:literal, $act:ident) => {
        $(#[$doc])*
        #[utoipa::path(
            post, path = $path, tag = "review", security(("bearer" = [])), request_body = ReasonBody,
            params(("id" = String, Path, description = "The objectId")),
            responses(
                (status = 200, description = "The object as it stands now", body = HeldObject),
                (status = 202, description = "Recorded; a release waits until others agree", body = WaitingRelease),
                (status = "4XX", description = "Refused; see `code`", body = Document, content_type = "application/problem+json"),
            )
        )]
        pub(in crate::http) async fn $handler(
            app: web::Data<App>,
            who: Operates<Review>,
            context: Context,
            id: web::Path<String>,
            body: Body<ReasonBody>,
        ) -> Result<HttpResponse, Problem> {
            let context = context.with_body(body.digest);
            let result = match object_id(&id) {
                Ok(id) => app.review(&context.0, &who.who, id, body.parsed.map(|body| body.reason), ReviewAct::$act).await,
                Err(refusal) => Err(app.refuse_operator(&context.0, &who.who, ReviewAct::$act.action(), refusal).await),
            };
            let reviewed = result.map_err(|refusal| Problem::new(refusal, context.0.request_id))?;
            Ok(answer(&reviewed))
        }
    };
}

review_act!(
    /// Lets a held object through, once as many different reviewers have agreed as the policy asks for.
    release_object, "/admin/objects/{id}/release", Release
);
review_act!(
    /// Deletes an object and its bytes.
    delete_object, "/admin/objects/{id}/delete", Delete
);
review_act!(
    /// Has an unscannable object inspected again.
    inspect_object, "/admin/objects/{id}/inspect", InspectAgain
);
