//! A workflow looks at, lists and deletes its app's objects.

use crate::domain::asked::AskedFor;
use crate::domain::audit::{AuditAction, Outcome};
use crate::domain::ids::ObjectId;
use crate::domain::job::JobKind;
use crate::domain::key::Prefix;
use crate::domain::life::{Life, State};
use crate::domain::object::Object;
use crate::domain::principal::Principal;
use crate::domain::refusal::{Reason, Refusal};
use crate::domain::scope::Action;
use crate::policy;
use crate::store::ObjectQuery;

use super::failure::Refused;
use super::request_download::Which;
use super::{Admission, App, Change, RequestContext};

/// A page of objects, newest first.
pub struct ObjectPage {
    /// The objects.
    pub objects: Vec<Object>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<ObjectId>,
}

impl App {
    /// One object's record.
    ///
    /// # Errors
    /// The refusal, recorded.
    pub async fn object(&self, context: &RequestContext, who: &Principal, id: ObjectId) -> Result<Object, Refusal> {
        let (who_is, action) = (Refused::Principal(who), AuditAction::ReadObject);
        let object = match self.find_own(who, &Which::Id(id)).await {
            Ok(object) => object,
            Err(refusal) => return Err(self.refuse(context, who_is, action, None, refusal).await),
        };
        let circumstances = context.circumstances(self.clock.now());
        match policy::decide_on_object(&self.policies.current(), who, &object, Action::Read, &circumstances) {
            Ok(_) => Ok(object),
            Err(refusal) => Err(self.refuse(context, who_is, action, Some(&object), refusal).await),
        }
    }

    /// A page of the app's objects under `prefix`, at most `limit`.
    ///
    /// # Errors
    /// The refusal, recorded.
    pub async fn list_objects(
        &self,
        context: &RequestContext,
        who: &Principal,
        _: Admission,
        query: Result<(Prefix, Option<State>, Option<ObjectId>, usize), Refusal>,
    ) -> Result<ObjectPage, Refusal> {
        let mut asked = None;
        let result = async {
            let (prefix, state, before, limit) = query?;
            let circumstances = context.circumstances(self.clock.now());
            let policies = self.policies.current();
            policy::decide_list(&policies, who, &prefix, &circumstances)
                .inspect_err(|_| asked = Some(AskedFor { path: Some(prefix.clone()), ..AskedFor::default() }))?;
            let query = ObjectQuery {
                app: Some(who.app.clone()),
                prefix: prefix.as_str().to_owned(),
                state,
                before,
                limit: limit + 1,
            };
            let mut objects = self.store.objects(query).await?;
            let more = objects.len() > limit;
            objects.truncate(limit);
            let next = objects.last().filter(|_| more).map(|object| object.id);
            let shown = |object: &Object| policy::may_see(&policies, who, object, &circumstances);
            objects.retain(|object| object.environment == who.environment && shown(object));
            Ok(ObjectPage { objects, next })
        };
        match result.await {
            Ok(page) => Ok(page),
            Err(refusal) => {
                let who = Refused::Principal(who);
                Err(self.refuse_request(context, who, AuditAction::ListObjects, (None, asked), refusal).await)
            }
        }
    }

    /// Deletes an object: at once for clients, its bytes as soon as the storage answers. Deleting twice is success.
    ///
    /// # Errors
    /// The refusal, recorded. What is being scanned or held for review cannot be deleted by its app.
    pub async fn delete_object(
        &self,
        context: &RequestContext,
        who: &Principal,
        _: Admission,
        id: ObjectId,
    ) -> Result<(), Refusal> {
        let mut seen = None;
        match self.try_delete_object(context, who, id, &mut seen).await {
            Ok(()) => Ok(()),
            Err(refusal) => {
                let who = Refused::Principal(who);
                Err(self.refuse(context, who, AuditAction::DeleteObject, seen.as_ref(), refusal).await)
            }
        }
    }

    async fn try_delete_object(
        &self,
        context: &RequestContext,
        who: &Principal,
        id: ObjectId,
        seen: &mut Option<Object>,
    ) -> Result<(), Refusal> {
        let object = self.find_own(who, &Which::Id(id)).await?;
        let object = seen.insert(object);
        let now = self.clock.now();
        let circumstances = context.circumstances(now);
        let rule = policy::decide_on_object(&self.policies.current(), who, object, Action::Delete, &circumstances)?;
        let mut audit =
            context.entry(now, AuditAction::DeleteObject, Outcome::Allowed, 204).by_principal(who).about_object(object);
        audit.rule = Some(rule);
        match object.life.state() {
            State::Deleted => {
                audit.detail = Some("it was deleted before".into());
                return Ok(self.store.audit(audit).await?);
            }
            State::Quarantined | State::Unscannable => {
                return Err(Refusal::new(
                    Reason::ObjectHeld,
                    "The object is held for review; only a reviewer can delete or release it. Ask your platform team.",
                ));
            }
            State::Scanning | State::Promoting => {
                return Err(Refusal::new(
                    Reason::ObjectBusy,
                    "The object is being scanned. Delete it when that has ended.",
                )
                .retry_after(2));
            }
            _ => {}
        }
        self.refuse_kept(object).await?;
        let next = object
            .life
            .clone()
            .delete("deleted by its app".into())
            .map_err(|error| Refusal::new(Reason::ObjectGone, format!("The object is gone already: {error}.")))?;
        let change = Change::to(next).job(JobKind::Purge, purge_due(object, self)).audit(audit);
        if self.advance(object, change).await?.is_none() {
            return Err(Refusal::new(Reason::ObjectBusy, "The object is changing. Try again shortly.").retry_after(1));
        }
        Ok(())
    }
}

/// Bytes are removed at once, except where a client may still be sending them: then when its URL has ended.
pub(super) fn purge_due(object: &Object, app: &App) -> jiff::Timestamp {
    match object.life {
        Life::Issued => object.upload_expires_at + app.settings.grace_for(object.size),
        _ => app.clock.now(),
    }
}
