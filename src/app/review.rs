//! A reviewer decides on a held object, with a written reason.

use crate::domain::audit::{AuditAction, AuditEntry, Outcome};
use crate::domain::ids::ObjectId;
use crate::domain::job::JobKind;
use crate::domain::life::{InvalidTransition, Life, Review, State};
use crate::domain::object::Object;
use crate::domain::principal::Operator;
use crate::domain::refusal::{Reason, Refusal};
use crate::domain::text::without_tokens;
use crate::policy::{self, Approvals};
use crate::store::ReleaseApproval;

use super::failure::Refused;
use super::objects::purge_due;
use super::request_download::not_found;
use super::{App, Change, RequestContext};

/// Shortest and longest written reason, in characters.
const REASON_LENGTH: std::ops::RangeInclusive<usize> = 3..=1000;

/// How a reviewer's decision ended.
#[derive(Clone, Debug)]
pub enum Reviewed {
    /// Carried out; the object as it stands now.
    Done(Object),
    /// Recorded. Other reviewers must agree before the object is released.
    Waiting {
        /// The object, which is held as before.
        object: Object,
        /// Who has agreed, the first one first.
        approved_by: Vec<String>,
        /// How many must.
        needed: u8,
    },
}

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
    /// Carries out a reviewer's decision, with a written reason. A release waits for as many different reviewers as the
    /// policy asks for; what they agreed on is void once the object changes.
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
    ) -> Result<Reviewed, Refusal> {
        let mut seen = None;
        match self.try_review(context, who, id, reason, act, &mut seen).await {
            Ok(reviewed) => Ok(reviewed),
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
    ) -> Result<Reviewed, Refusal> {
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
                let release = |by| object.life.clone().release(Review { by, reason: reason.clone() }).map_err(conflict);
                release(who.name.clone())?;
                let Approvals { needed, rule } =
                    policy::release_approvals(&self.policies.current(), &object.app, &object.classification);
                let approved_by = match needed {
                    1 => vec![who.name.clone()],
                    _ => self.approve(object, who, reason.clone(), (needed, rule), audit.clone()).await?,
                };
                if approved_by.len() < usize::from(needed) {
                    return Ok(Reviewed::Waiting { object: object.clone(), approved_by, needed });
                }
                let next = release(approved_by.join(", "))?;
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
                return Ok(Reviewed::Done(object.clone()));
            }
            ReviewAct::Delete => {
                self.refuse_kept(object).await?;
                let next = object.life.clone().delete(reason).map_err(conflict)?;
                Change::to(next).job(JobKind::Purge, purge_due(object, self))
            }
        };
        self.advance(object, change.audit(audit)).await?.map(Reviewed::Done).ok_or_else(|| {
            Refusal::new(Reason::ObjectBusy, "The object is changing. Try again shortly.").retry_after(1)
        })
    }
}

impl App {
    /// Records that a reviewer agrees to a release that needs others too; the names of all who do, and still may.
    async fn approve(
        &self,
        object: &Object,
        who: &Operator,
        reason: String,
        (needed, rule): (u8, String),
        mut audit: AuditEntry,
    ) -> Result<Vec<String>, Refusal> {
        audit.action = AuditAction::ApproveRelease;
        audit.status = Some(202);
        audit.detail = Some(format!("one of {needed} reviewers ({rule}): {reason}"));
        let now = audit.time;
        let approval = ReleaseApproval {
            object: object.id,
            revision: object.revision,
            by: who.name.clone(),
            targets: who.targets.clone(),
            reason,
            at: now,
        };
        let mut approved_by = Vec::new();
        for ReleaseApproval { by, targets, at, .. } in self.store.approve_release(approval, audit).await? {
            // What somebody agreed to who was shut out since may have been a thief's word.
            if at >= now - ReleaseApproval::COUNTS && self.store.revoked_since(&targets, at).await?.is_none() {
                approved_by.push(by);
            }
        }
        Ok(approved_by)
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
/// [`Reason::InvalidField`] where it is shorter than 3 or longer than 1,000 characters, or holds control characters beside
/// the ends of lines.
pub(super) fn written_reason(reason: Result<String, Refusal>, what: &str) -> Result<String, Refusal> {
    let reason = without_tokens(reason?.trim());
    if REASON_LENGTH.contains(&reason.chars().count()) && !reason.chars().any(|c| c.is_control() && c != '\n') {
        return Ok(reason);
    }
    let text = "needs a written reason of 3 to 1,000 characters in the field 'reason', without control characters.";
    Err(Refusal::new(Reason::InvalidField, format!("{what} {text}")))
}

fn conflict(error: InvalidTransition) -> Refusal {
    Refusal::new(Reason::StateConflict, format!("This cannot be done now: {error}."))
}
