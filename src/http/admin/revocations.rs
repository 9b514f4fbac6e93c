//! `/admin/revocations`: revoke, look at it, lift its block.

use actix_web::{HttpResponse, web};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::app::{App, Deeds, Holdings, NewRevocation, RevocationNow};
use crate::domain::audit::Outcome;
use crate::domain::ids::RevocationId;
use crate::domain::refusal::{Reason, Refusal};
use crate::domain::revocation::RevocationTarget;
use crate::http::body::Body;
use crate::http::context::Context;
use crate::http::operates::{Administer, Look, Operates, Revoke};
use crate::http::parameters::Parameters;
use crate::http::problem::{Document, Problem};
use crate::store::{RevocationQuery, RevocationRecord};

use super::objects::ReasonBody;

/// What to revoke, and how.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(example = json!({"kind":"workflow","app":"where2eat","id":"menu-import","reason":"its token was pasted in a chat","contain":true}))]
pub(in crate::http) struct RevocationBody {
    /// `token`, `workflow`, `app`, `user`, `device`, `owner` or `key`.
    kind: String,
    /// Which one: a tokenId, a name, a person's or device's id, a signing key's id.
    id: String,
    /// Only of a workflow: the app that it belongs to.
    app: Option<String>,
    /// 3 to 1,000 characters; goes into the audit trail.
    reason: String,
    /// Whether no new token is made for it until the revocation is lifted; true where absent. Of a single token there is
    /// nothing to block.
    block: Option<bool>,
    /// Whether what was uploaded under it is held for review, and uploads that are still awaited end.
    #[serde(default)]
    contain: bool,
}

impl TryFrom<RevocationBody> for NewRevocation {
    type Error = Refusal;

    fn try_from(body: RevocationBody) -> Result<Self, Refusal> {
        fn invalid(field: &str, error: impl std::fmt::Display) -> Refusal {
            Refusal::new(Reason::InvalidField, format!("{field}: {error}."))
        }
        let RevocationBody { kind, id, app, reason, block, contain } = body;
        if app.is_some() != (kind == "workflow") {
            return Err(invalid("app", "a workflow needs its app, and nothing else takes one"));
        }
        let target = RevocationTarget::parse(&kind, app.as_deref(), &id).map_err(|error| invalid("kind, id", error))?;
        Ok(Self { target, reason, block: block.unwrap_or(true), contain })
    }
}

/// A revocation as it was recorded.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct RevocationView {
    revocation_id: String,
    /// What was revoked: `token`, `workflow`, `app`, `user`, `device`, `owner` or `key` …
    kind: &'static str,
    /// … and which one.
    id: String,
    /// Of a workflow: its app.
    #[serde(skip_serializing_if = "Option::is_none")]
    app: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// The operator.
    by: String,
    reason: String,
    /// Whether it forbids new tokens, unless it was lifted.
    blocks: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    lifted_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lifted_by: Option<String>,
    /// Whether what was uploaded under it is held for review.
    contain: bool,
    /// When that was done; absent while it is under way.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    contained_at: Option<Timestamp>,
    /// How many tokens died by it.
    killed: u64,
}

impl From<&RevocationRecord> for RevocationView {
    fn from(record: &RevocationRecord) -> Self {
        let (app, id) = record.target.parts();
        Self {
            revocation_id: record.id.to_string(),
            kind: record.target.kind(),
            id,
            app,
            at: record.at,
            by: record.by.clone(),
            reason: record.reason.clone(),
            blocks: record.blocks,
            lifted_at: record.lifted.as_ref().map(|lifted| lifted.at),
            lifted_by: record.lifted.as_ref().map(|lifted| lifted.by.clone()),
            contain: record.contain,
            contained_at: record.contained_at,
            killed: record.killed,
        }
    }
}

/// One kind of act with one outcome.
#[derive(Serialize, utoipa::ToSchema)]
pub(in crate::http) struct DeedView {
    /// As the audit trail names it.
    action: String,
    /// `allowed` or `refused`.
    #[schema(value_type = String)]
    outcome: Outcome,
    count: u64,
    #[schema(value_type = String, format = DateTime)]
    first: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    last: Timestamp,
}

/// What the tokens did.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct DeedsView {
    /// Of how many tokens; the newest, where it is fewer than died.
    tokens: usize,
    /// Whether all of it was counted; else the newest.
    complete: bool,
    /// What was done most often first.
    acts: Vec<DeedView>,
    /// The newest entries of the audit trail, by their numbers; `GET /admin/audit?token=` shows them.
    newest_entries: Vec<i64>,
    /// Until then a download URL from before may still work; absent where none does.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    downloads_may_work_until: Option<Timestamp>,
}

impl From<&Deeds> for DeedsView {
    fn from(deeds: &Deeds) -> Self {
        let acts = deeds.acts.iter().map(|deed| DeedView {
            action: deed.action.clone(),
            outcome: deed.outcome,
            count: deed.count,
            first: deed.first,
            last: deed.last,
        });
        Self {
            tokens: deeds.tokens,
            complete: deeds.complete,
            acts: acts.collect(),
            newest_entries: deeds.newest.clone(),
            downloads_may_work_until: deeds.downloads_end,
        }
    }
}

/// What was uploaded.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct HoldingsView {
    /// How many objects.
    objects: u64,
    /// How many of them are in which state; with containment those that are held are `quarantined`.
    states: std::collections::BTreeMap<&'static str, u64>,
    /// Whether all of them were counted. By a token, a device or a key only what was uploaded with tokens whose rows are there:
    /// exchanged and derived ones are removed a week after their end.
    complete: bool,
    /// Until then an upload URL from before may still work; absent where none does.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    uploads_may_work_until: Option<Timestamp>,
}

impl From<&Holdings> for HoldingsView {
    fn from(holdings: &Holdings) -> Self {
        Self {
            objects: holdings.states.values().sum(),
            states: holdings.states.iter().map(|(state, count)| (state.as_str(), *count)).collect(),
            complete: holdings.complete,
            uploads_may_work_until: holdings.uploads_end,
        }
    }
}

/// A revocation with what is known about it now.
#[derive(Serialize, utoipa::ToSchema)]
pub(in crate::http) struct RevocationAnswer {
    #[serde(flatten)]
    view: RevocationView,
    /// The first hundred tokens that died by it.
    tokens: Vec<String>,
    /// Of a single token that was rotated: the one that goes on working in its place, to be revoked by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    successor: Option<String>,
    /// Absent where the audit trail could not be read in time; ask again.
    #[serde(skip_serializing_if = "Option::is_none")]
    did: Option<DeedsView>,
    /// Absent where the records could not be read in time; ask again.
    #[serde(skip_serializing_if = "Option::is_none")]
    uploaded: Option<HoldingsView>,
}

impl From<&RevocationNow> for RevocationAnswer {
    fn from(now: &RevocationNow) -> Self {
        Self {
            view: RevocationView::from(&now.record),
            tokens: now.tokens.iter().map(ToString::to_string).collect(),
            successor: now.successor.as_ref().map(ToString::to_string),
            did: now.deeds.as_ref().map(DeedsView::from),
            uploaded: now.holdings.as_ref().map(HoldingsView::from),
        }
    }
}

/// A page of revocations.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct RevocationList {
    /// Newest first.
    revocations: Vec<RevocationView>,
    /// Send it as `cursor` for the next page; null at the end.
    next_cursor: Option<String>,
}

/// The query of `GET /admin/revocations`.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct RevocationParameters {
    /// Only those whose block is in force.
    #[serde(default)]
    in_force: bool,
    /// `nextCursor` of the page before.
    cursor: Option<String>,
    /// Revocations a page: 1 to 200, 50 where absent.
    limit: Option<usize>,
}

impl RevocationParameters {
    fn parse(self) -> Result<RevocationQuery, Refusal> {
        let invalid = |field: &str, text: &str| Refusal::new(Reason::InvalidField, format!("{field}: {text}."));
        let limit = self.limit.unwrap_or(50);
        if !(1..=200).contains(&limit) {
            return Err(invalid("limit", "must be 1 to 200").limit(200));
        }
        let before = self.cursor.map(|cursor| cursor.parse()).transpose();
        let before = before.map_err(|_| invalid("cursor", "send the nextCursor of a page"))?;
        Ok(RevocationQuery { blocking: self.in_force, target: None, before, limit })
    }
}

/// Revokes a token, or everything of a workflow, an app, a person, a device, an owner or a signing key; effective on every
/// node within a second. The answer says what the tokens did.
#[utoipa::path(
    post, path = "/admin/revocations", tag = "revocations", request_body = RevocationBody, security(("bearer" = [])),
    responses(
        (status = 201, description = "Revoked", body = RevocationAnswer),
        (status = "4XX", description = "Refused; see `code`", body = Document, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn revoke(
    app: web::Data<App>,
    who: Operates<Revoke>,
    context: Context,
    body: Body<RevocationBody>,
) -> Result<HttpResponse, Problem> {
    let context = context.with_body(body.digest);
    let new = body.parsed.and_then(TryInto::try_into);
    let now =
        app.revoke(&context.0, &who.who, new).await.map_err(|refusal| Problem::new(refusal, context.0.request_id))?;
    Ok(HttpResponse::Created().json(RevocationAnswer::from(&now)))
}

/// Revocations, newest first.
#[utoipa::path(
    get, path = "/admin/revocations", tag = "revocations", security(("bearer" = [])), params(RevocationParameters),
    responses((status = 200, description = "A page", body = RevocationList))
)]
pub(in crate::http) async fn list_revocations(
    app: web::Data<App>,
    who: Operates<Look>,
    context: Context,
    query: Parameters<RevocationParameters>,
) -> Result<HttpResponse, Problem> {
    let query = query.0.and_then(RevocationParameters::parse);
    let (found, next) = app
        .revocations(&context.0, &who.who, query)
        .await
        .map_err(|refusal| Problem::new(refusal, context.0.request_id))?;
    let next_cursor = next.map(|last| last.to_string());
    let revocations = found.iter().map(RevocationView::from).collect();
    Ok(HttpResponse::Ok().json(RevocationList { revocations, next_cursor }))
}

/// One revocation: how far its containment is, and what its tokens did.
#[utoipa::path(
    get, path = "/admin/revocations/{id}", tag = "revocations", security(("bearer" = [])),
    params(("id" = String, Path, description = "The revocationId")),
    responses(
        (status = 200, description = "The revocation", body = RevocationAnswer),
        (status = 404, description = "There is no such revocation", body = Document, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn get_revocation(
    app: web::Data<App>,
    who: Operates<Look>,
    context: Context,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let now = app
        .revocation(&context.0, &who.who, revocation_id(&id))
        .await
        .map_err(|refusal| Problem::new(refusal, context.0.request_id))?;
    Ok(HttpResponse::Ok().json(RevocationAnswer::from(&now)))
}

/// Lifts a revocation's block: new tokens may be made again. What is dead stays dead.
#[utoipa::path(
    post, path = "/admin/revocations/{id}/lift", tag = "revocations", request_body = ReasonBody, security(("bearer" = [])),
    params(("id" = String, Path, description = "The revocationId")),
    responses(
        (status = 200, description = "The revocation; lifting twice is success", body = RevocationView),
        (status = "4XX", description = "Refused; see `code`", body = Document, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn lift_revocation(
    app: web::Data<App>,
    who: Operates<Administer>,
    context: Context,
    id: web::Path<String>,
    body: Body<ReasonBody>,
) -> Result<HttpResponse, Problem> {
    let context = context.with_body(body.digest);
    let record = app
        .lift_revocation(&context.0, &who.who, revocation_id(&id), body.parsed.map(ReasonBody::into_reason))
        .await
        .map_err(|refusal| Problem::new(refusal, context.0.request_id))?;
    Ok(HttpResponse::Ok().json(RevocationView::from(&record)))
}

fn revocation_id(text: &str) -> Result<RevocationId, Refusal> {
    text.parse().map_err(|error| Refusal::new(Reason::NotFound, format!("There is no such revocation: {error}.")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<NewRevocation, Refusal> {
        serde_json::from_str::<RevocationBody>(json).unwrap().try_into()
    }

    #[test]
    fn a_revocation_blocks_unless_it_is_told_not_to_and_holds_nothing_unless_it_is_told_to() {
        let new = read(r#"{"kind":"app","id":"where2eat","reason":"a leak"}"#).unwrap();
        assert_eq!((new.target.kind(), new.block, new.contain), ("app", true, false));
        let new = read(r#"{"kind":"workflow","app":"where2eat","id":"w","reason":"r","block":false,"contain":true}"#);
        let new = new.unwrap();
        assert_eq!((new.target.parts(), new.block, new.contain), ((Some("where2eat".into()), "w".into()), false, true));
    }

    #[test]
    fn a_target_that_is_none_is_refused() {
        for body in [
            r#"{"kind":"planet","id":"x","reason":"a leak"}"#,
            r#"{"kind":"workflow","id":"x","reason":"a leak"}"#,
            r#"{"kind":"token","id":"short","reason":"a leak"}"#,
            r#"{"kind":"app","id":"Not a name","reason":"a leak"}"#,
            r#"{"kind":"user","id":"","reason":"a leak"}"#,
            r#"{"kind":"user","app":"where2eat","id":"u","reason":"a leak"}"#,
        ] {
            assert_eq!(read(body).unwrap_err().reason, Reason::InvalidField, "{body}");
        }
    }
}
