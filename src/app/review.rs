//! A reviewer decides on a held object, with a written reason.

use crate::domain::audit::{AuditAction, Outcome};
use crate::domain::ids::ObjectId;
use crate::domain::job::JobKind;
use crate::domain::life::{InvalidTransition, Life, Review, State};
use crate::domain::object::Object;
use crate::domain::principal::Operator;
use crate::domain::refusal::{Reason, Refusal};
use crate::domain::text::without_tokens;
use crate::policy;

use super::failure::Refused;
use super::objects::purge_due;
use super::request_download::not_found;
use super::{App, Change, RequestContext};

/// Shortest and longest written reason, in characters.
const REASON_LENGTH: std::ops::RangeInclusive<usize> = 3..=1000;

/// What a reviewer does with an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReviewAct {
    /// Lets a quarantined or unscannable object through.
    Release,
    /// Deletes an object, whoever's it is.
    Delete,
    /// Has an unscannable object inspected again.
    InspectAgain,
}

impl App {
    /// Carries out a reviewer's decision, with a written reason. The object as it stands then.
    ///
    /// # Errors
    /// The refusal, recorded.
    pub async fn review(
        &self,
        context: &RequestContext,
        who: &Operator,
        id: ObjectId,
        reason: Result<String, Refusal>,
        act: ReviewAct,
    ) -> Result<Object, Refusal> {
        let mut seen = None;
        match self.try_review(context, who, id, reason, act, &mut seen).await {
            Ok(object) => Ok(object),
            Err(refusal) => {
                Err(self.refuse(context, Refused::Operator(who), act.action(), seen.as_ref(), refusal).await)
            }
        }
    }

    async fn try_review(
        &self,
        context: &RequestContext,
        who: &Operator,
        id: ObjectId,
        reason: Result<String, Refusal>,
        act: ReviewAct,
        seen: &mut Option<Object>,
    ) -> Result<Object, Refusal> {
        let reason = written_reason(reason, "A review")?;
        let object = self.store.object(id).await?.ok_or_else(not_found)?;
        let object = seen.insert(object);
        let now = self.clock.now();
        let mut audit = context.entry(now, act.action(), Outcome::Allowed, 200).by_operator(who).about_object(object);
        if act != ReviewAct::InspectAgain {
            let (policies, release) = (self.policies.current(), act == ReviewAct::Release);
            let circumstances = context.circumstances(now);
            audit.rule = Some(policy::decide_review(&policies, who, object, release, &circumstances)?);
        }
        audit.detail = Some(reason.clone());
        let change = match act {
            ReviewAct::Release => {
                let review = Review { by: who.name.clone(), reason };
                let next = object.life.clone().release(review).map_err(conflict)?;
                // What was contained goes back to where it was.
                let job = match next.state() {
                    State::Promoting => Some(JobKind::Promote),
                    State::Uploaded => Some(JobKind::Inspect),
                    _ => None,
                };
                job.into_iter().fold(Change::to(next), |change, job| change.job(job, now))
            }
            ReviewAct::InspectAgain => {
                Change::to(object.life.clone().inspect_again().map_err(conflict)?).job(JobKind::Inspect, now)
            }
            ReviewAct::Delete if matches!(object.life, Life::Deleted { .. }) => {
                self.store.audit(audit).await?;
                return Ok(object.clone());
            }
            ReviewAct::Delete => {
                self.refuse_kept(object).await?;
                let next = object.life.clone().delete(reason).map_err(conflict)?;
                Change::to(next).job(JobKind::Purge, purge_due(object, self))
            }
        };
        self.advance(object, change.audit(audit)).await?.ok_or_else(|| {
            Refusal::new(Reason::ObjectBusy, "The object is changing. Try again shortly.").retry_after(1)
        })
    }
}

impl ReviewAct {
    /// How the audit trail names it.
    pub fn action(self) -> AuditAction {
        match self {
            ReviewAct::Release => AuditAction::ReleaseObject,
            ReviewAct::Delete => AuditAction::ReviewDelete,
            ReviewAct::InspectAgain => AuditAction::InspectAgain,
        }
    }
}

/// The reason that whoever does `what` has written, fit for the audit trail.
///
/// # Errors
/// [`Reason::InvalidField`] where it is shorter than 3 or longer than 1,000 characters.
pub(super) fn written_reason(reason: Result<String, Refusal>, what: &str) -> Result<String, Refusal> {
    let reason = without_tokens(reason?.trim());
    if REASON_LENGTH.contains(&reason.chars().count()) {
        return Ok(reason);
    }
    let text = "needs a written reason of 3 to 1,000 characters in the field 'reason'.";
    Err(Refusal::new(Reason::InvalidField, format!("{what} {text}")))
}

fn conflict(error: InvalidTransition) -> Refusal {
    Refusal::new(Reason::StateConflict, format!("This cannot be done now: {error}."))
}
