//! An operator looks: at objects of every app, at the audit trail, at what nobody could read.
//!
//! Looking is an admin act, and it is recorded before the answer.

use crate::domain::audit::{AuditAction, AuditEntry, Outcome};
use crate::domain::ids::ObjectId;
use crate::domain::object::Object;
use crate::domain::principal::Operator;
use crate::domain::refusal::Refusal;
use crate::store::{AuditQuery, DeadLetter, ObjectQuery};

use super::failure::Refused;
use super::request_download::not_found;
use super::{App, ObjectPage, RequestContext};

impl App {
    /// A page of objects of every app.
    ///
    /// # Errors
    /// The refusal, recorded.
    pub async fn review_list(
        &self,
        context: &RequestContext,
        who: &Operator,
        query: Result<ObjectQuery, Refusal>,
    ) -> Result<ObjectPage, Refusal> {
        let mut query = self.looked(context, who, AuditAction::ListObjects, query).await?;
        query.limit += 1;
        let mut objects = self.store.objects(query.clone()).await?;
        let more = objects.len() == query.limit;
        objects.truncate(query.limit - 1);
        Ok(ObjectPage { next: objects.last().filter(|_| more).map(|object| object.id), objects })
    }

    /// One object of any app.
    ///
    /// # Errors
    /// The refusal, recorded.
    pub async fn review_look(&self, context: &RequestContext, who: &Operator, id: ObjectId) -> Result<Object, Refusal> {
        let object = match self.store.object(id).await {
            Ok(found) => found.ok_or_else(not_found),
            Err(error) => Err(error.into()),
        };
        self.looked(context, who, AuditAction::ReadObject, object).await
    }

    /// A page of the audit trail, newest first, each with its sequence number.
    ///
    /// # Errors
    /// The refusal, recorded.
    pub async fn audit_trail(
        &self,
        context: &RequestContext,
        who: &Operator,
        query: Result<AuditQuery, Refusal>,
    ) -> Result<Vec<(i64, AuditEntry)>, Refusal> {
        let query = self.looked(context, who, AuditAction::ReadAudit, query).await?;
        Ok(self.store.audit_entries(query).await?)
    }

    /// Events that nobody could read, newest first.
    ///
    /// # Errors
    /// The refusal, recorded.
    pub async fn dead_letters(&self, context: &RequestContext, who: &Operator) -> Result<Vec<DeadLetter>, Refusal> {
        self.looked(context, who, AuditAction::ReadAudit, Ok(())).await?;
        Ok(self.store.dead_letters(200).await?)
    }

    /// Records the look, allowed or refused.
    pub(super) async fn looked<T>(
        &self,
        context: &RequestContext,
        who: &Operator,
        action: AuditAction,
        what: Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        match what {
            Ok(what) => {
                let entry = context.entry(self.clock.now(), action, Outcome::Allowed, 200).by_operator(who);
                self.store.audit(entry).await?;
                Ok(what)
            }
            Err(refusal) => Err(self.refuse(context, Refused::Operator(who), action, None, refusal).await),
        }
    }
}
