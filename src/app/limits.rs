//! How often a workflow may ask.
//!
//! The first step of every limited verb, after authentication and before any decision: an [`Admission`] exists only for a
//! request that was counted, and those verbs take one. What was refused is recorded like every refusal, the many of a
//! storm together (see [`super::throttled`]). Looking at an object's state and at the limits themselves is not limited:
//! clients are told to do the one, and need the other when they have met a limit.

use jiff::SignedDuration;

use crate::domain::audit::AuditAction;
use crate::domain::grant::UploadMethod;
use crate::domain::limits::{LimitScope, Window};
use crate::domain::principal::{Environment, Principal};
use crate::domain::quota::{QuotaHolder, QuotaKind, quota_name};
use crate::domain::refusal::{Reason, Refusal};
use crate::limits::{Ask, Away, Met, Quota, SameRequest, Verdict};
use crate::policy::{self, Manifest, PolicySet};
use crate::storage::Provider;

use super::failure::Refused;
use super::{App, RequestContext};

pub use crate::limits::{Standing, Used};

/// A request that was counted and may go on.
#[derive(Debug)]
pub struct Admission {
    standing: Standing,
}

impl Admission {
    /// How the limits stand with this request.
    pub fn standing(&self) -> &Standing {
        &self.standing
    }
}

/// A request that may not go on.
#[derive(Debug)]
pub struct NotAdmitted {
    /// Why; recorded.
    pub refusal: Refusal,
    /// How the limits stand, where that is known.
    pub standing: Option<Standing>,
}

/// What an app may do, and what is left.
#[derive(Debug)]
pub struct LimitsNow {
    /// The limits on requests.
    pub standing: Standing,
    /// Whether other nodes count into the same windows.
    pub shared: bool,
    /// The quotas of the app and of its owner, and what is used of them.
    pub quotas: Vec<QuotaNow>,
    /// The environment of the token.
    pub environment: Environment,
    /// What the app may do at all.
    pub manifest: Manifest,
    /// How bytes may be sent to the target of the token's environment; none where the app has no such target.
    pub methods: Vec<UploadMethod>,
}

/// A quota, and what is used of it.
#[derive(Clone, Copy, Debug)]
pub struct QuotaNow {
    /// As in problem documents.
    pub name: &'static str,
    /// Whose.
    pub holder: QuotaHolder,
    /// What is counted.
    pub kind: QuotaKind,
    /// At most.
    pub limit: u64,
    /// In use.
    pub used: u64,
    /// Seconds until the window ends; `None` for what is stored.
    pub ends_in: Option<u32>,
}

impl App {
    /// Counts a request of a known workflow.
    ///
    /// # Errors
    /// [`NotAdmitted`] where a limit is met. The refusal is recorded as one of `action`.
    pub async fn admit(
        &self,
        context: &RequestContext,
        who: &Principal,
        action: AuditAction,
    ) -> Result<Admission, Box<NotAdmitted>> {
        let policies = self.policies.current();
        let ask = ask(&policies, context, who);
        let (standing, refusal) = match self.limiter.take(&ask).await {
            Ok(Verdict::Admitted(standing)) => return Ok(Admission { standing }),
            Ok(Verdict::Refused(standing, met)) => {
                count_refusal(met.quota);
                (Some(standing), self.explain(&policies, who, &met))
            }
            Err(away) => (None, away.into()),
        };
        let refusal = self.refuse(context, Refused::Principal(who), action, None, refusal).await;
        Err(Box::new(NotAdmitted { refusal, standing }))
    }

    /// What a workflow's app may do, and what is left.
    ///
    /// # Errors
    /// The refusal, recorded.
    pub async fn limits(&self, context: &RequestContext, who: &Principal) -> Result<LimitsNow, Refusal> {
        let result = async {
            let policies = self.policies.current();
            let manifest = policy::decide_limits(&policies, who)?.clone();
            let standing = self.limiter.look(&ask(&policies, context, who)).await?;
            let quotas = self.quotas_now(&policies, &manifest).await?;
            let environment = who.environment;
            let target = manifest.target_for(environment).and_then(|name| policies.target(name));
            let signed = target.map_or(&[][..], |target| Provider::of(target).methods());
            let methods = manifest.methods.iter().copied().filter(|method| signed.contains(method)).collect();
            let shared = self.limiter.is_shared();
            Ok(LimitsNow { standing, shared, quotas, environment, manifest, methods })
        };
        match result.await {
            Ok(now) => Ok(now),
            Err(refusal) => {
                Err(self.refuse(context, Refused::Principal(who), AuditAction::ReadLimits, None, refusal).await)
            }
        }
    }

    async fn quotas_now(&self, policies: &PolicySet, manifest: &Manifest) -> Result<Vec<QuotaNow>, Refusal> {
        let limits = policy::quotas(policies, manifest);
        let usage = self.store.usage(&manifest.app, &manifest.owner).await?;
        let now = self.clock.now();
        let mut quotas = Vec::new();
        for (holder, usage) in [(QuotaHolder::App, usage.app), (QuotaHolder::Owner, usage.owner)] {
            for (kind, limit) in limits.of(holder).each() {
                let ends = kind.window().map(|window| window.end(window.number(now)));
                let ends_in = ends.map(|end| end.as_second() - now.as_second());
                quotas.push(QuotaNow {
                    name: quota_name(holder, kind),
                    holder,
                    kind,
                    limit,
                    used: usage.used(kind, now),
                    ends_in: ends_in.map(|seconds| u32::try_from(seconds.max(1)).unwrap_or(u32::MAX)),
                });
            }
        }
        Ok(quotas)
    }

    /// Forgets the counts of windows that are over.
    pub fn prune_limits(&self) {
        self.limiter.prune();
    }

    fn explain(&self, policies: &PolicySet, who: &Principal, met: &Met) -> Refusal {
        let manifest = policies.app(&who.app);
        let free_at = (self.clock.now() + SignedDuration::from_secs(met.free_in.into())).as_second();
        let free_at = jiff::Timestamp::from_second(free_at).unwrap_or_default();
        let wait = in_words(met.retry_after);
        let limit = met.limit;
        let (reason, detail) = match met.quota {
            Quota::Window(scope, window) => {
                let whose = match scope {
                    LimitScope::Workflow => format!("The workflow '{}'", who.workflow),
                    LimitScope::App => format!("The app '{}' with all its workflows", who.app),
                    LimitScope::Owner => {
                        let owner = manifest.map_or(&who.owner, |manifest| &manifest.owner);
                        format!("The owner '{owner}' with all apps")
                    }
                };
                let s = if limit == 1 { "" } else { "s" };
                let per = match window {
                    Window::Second => "a second",
                    Window::Hour => "an hour",
                    Window::Day => "a day",
                };
                let detail = format!(
                    "{whose} may make {limit} request{s} {per}, and they are used up until {free_at}. Try again in \
                     {wait}; GET /limits shows what is left. Where this is regular use, ask your platform team for more."
                );
                (Reason::RateLimited, detail)
            }
            Quota::SameRequest => {
                let detail = format!(
                    "The workflow '{}' has sent this very request {limit} times within a minute, which looks like a loop; \
                     it is accepted again from {free_at}. Look for the loop, and try again in {wait}.",
                    who.workflow
                );
                (Reason::RequestRepeated, detail)
            }
        };
        let rule = match (met.quota, manifest) {
            (Quota::Window(LimitScope::Owner, _), _) | (_, None) => "limits.toml".to_owned(),
            (_, Some(manifest)) => manifest.rule("limits"),
        };
        Refusal::new(reason, detail).limit(limit.into()).retry_after(met.retry_after).quota(met.quota.name()).rule(rule)
    }
}

fn ask<'a>(policies: &'a PolicySet, context: &RequestContext, who: &'a Principal) -> Ask<'a> {
    Ask {
        app: &who.app,
        workflow: &who.workflow,
        // The manifest's, not the token's: whoever makes a token cannot choose whose limits it uses up.
        owner: policies.app(&who.app).map(|manifest| &manifest.owner),
        limits: policies.limits_of(&who.app),
        same: context.body.as_ref().map(SameRequest::of),
    }
}

impl From<Away> for Refusal {
    fn from(away: Away) -> Self {
        Refusal::new(
            Reason::LimitsUnavailable,
            format!(
                "The gateway cannot count requests at the moment, so this one was not carried out. Try again in {}.",
                in_words(away.retry_after)
            ),
        )
        .retry_after(away.retry_after)
    }
}

fn count_refusal(quota: Quota) {
    let (scope, window) = match quota {
        Quota::Window(scope, window) => (scope.as_str(), window.as_str()),
        Quota::SameRequest => ("workflow", "same-request"),
    };
    metrics::counter!("vestibule_limited_total", "scope" => scope, "window" => window).increment(1);
}

/// A wait as people say it.
pub(super) fn in_words(seconds: u32) -> String {
    let (count, unit) = match seconds {
        0..120 => (seconds, "second"),
        120..7200 => (seconds.div_ceil(60), "minute"),
        7200..172_800 => (seconds.div_ceil(Window::Hour.seconds()), "hour"),
        _ => (seconds.div_ceil(Window::Day.seconds()), "day"),
    };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_told_in_the_unit_that_people_use_and_never_too_short() {
        assert_eq!(in_words(1), "1 second");
        assert_eq!(in_words(119), "119 seconds");
        assert_eq!(in_words(121), "3 minutes");
        assert_eq!(in_words(7201), "3 hours");
        assert_eq!(in_words(172_801), "3 days");
    }
}
