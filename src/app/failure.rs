//! What went wrong below, told as a refusal; and the one place that records refusals.
//!
//! Fails closed: where the refusal itself cannot be recorded, the answer is that the database is away. Such an answer is
//! the one thing that may leave without a record.

use std::time::Duration;

use crate::audit;
use crate::domain::asked::AskedFor;
use crate::domain::audit::{AuditAction, AuditEntry, Outcome};
use crate::domain::object::Object;
use crate::domain::principal::{Operator, Principal};
use crate::domain::refusal::{Reason, Refusal};
use crate::identity::VerifyError;
use crate::storage::{MintError, StorageError};
use crate::store::StoreError;

use super::{App, LimitRefusals, RequestContext};

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(cause) => {
                tracing::error!(%cause, "the database is away");
                Refusal::new(
                    Reason::DatabaseUnavailable,
                    "The gateway cannot record the request at the moment, so it was not carried out. Try again shortly.",
                )
                .retry_after(5)
            }
            StoreError::Overloaded => {
                Refusal::new(Reason::Overloaded, "Too many requests are waiting. Try again shortly.").retry_after(1)
            }
            StoreError::Corrupt(cause) | StoreError::Schema(cause) => {
                tracing::error!(%cause, "unreadable record in the database");
                Refusal::new(Reason::Internal, "A record of the gateway could not be read.")
            }
        }
    }
}

impl From<VerifyError> for Refusal {
    fn from(error: VerifyError) -> Self {
        match error {
            VerifyError::Proof(error) => error.into(),
            VerifyError::Store(error) => error.into(),
        }
    }
}

impl From<MintError> for Refusal {
    fn from(error: MintError) -> Self {
        match error {
            MintError::Credentials => Refusal::new(
                Reason::StorageUnavailable,
                "The gateway has no storage credentials that live long enough at the moment. Try again shortly.",
            )
            .retry_after(10),
            MintError::Grant => {
                tracing::error!("a grant cannot be signed as it is");
                Refusal::new(Reason::Internal, "The gateway cannot sign this request.")
            }
            MintError::Unsupported => {
                Refusal::new(Reason::MethodNotSupported, "The target's storage cannot sign this upload method.")
            }
        }
    }
}

impl From<StorageError> for Refusal {
    fn from(error: StorageError) -> Self {
        tracing::error!(%error, "a call to the storage failed");
        Refusal::new(Reason::StorageUnavailable, "The storage does not answer at the moment. Try again shortly.")
            .retry_after(5)
    }
}

/// How long an answer waits for its record where the database was just seen to be away.
const LAST_TRY: Duration = Duration::from_millis(500);

/// Who was refused.
#[derive(Clone, Copy)]
pub(super) enum Refused<'a> {
    Nobody,
    Principal(&'a Principal),
    Operator(&'a Operator),
}

impl App {
    /// Records a refusal durably and returns it; the client hears of it only after that. Of many refusals of nobody in
    /// particular, and of those by a limit, most are only counted: see [`super::anonymous`] and [`super::throttled`].
    pub(super) async fn refuse(
        &self,
        context: &RequestContext,
        who: Refused<'_>,
        action: AuditAction,
        object: Option<&Object>,
        refusal: Refusal,
    ) -> Refusal {
        self.refuse_request(context, who, action, (object, None), refusal).await
    }

    /// [`App::refuse`], where `about` says in the entry what was to be changed.
    pub(super) async fn refuse_about(
        &self,
        context: &RequestContext,
        who: Refused<'_>,
        action: AuditAction,
        about: impl FnOnce(AuditEntry) -> AuditEntry,
        refusal: Refusal,
    ) -> Refusal {
        let entry = about(self.refused_entry(context, who, action, &refusal));
        self.record_refusal(context, who, entry, refusal).await
    }

    /// [`App::refuse`], with what was asked for where that could be read.
    pub(super) async fn refuse_request(
        &self,
        context: &RequestContext,
        who: Refused<'_>,
        action: AuditAction,
        (object, asked): (Option<&Object>, Option<AskedFor>),
        refusal: Refusal,
    ) -> Refusal {
        if let Refused::Principal(who) = who
            && LimitRefusals::folds(refusal.reason)
            && !self.throttled.deserves_a_row(context, who, action, refusal.reason, self.clock.now())
        {
            metrics::counter!("vestibule_refused_total", "code" => refusal.reason.code()).increment(1);
            return refusal;
        }
        let mut entry = self.refused_entry(context, who, action, &refusal);
        if let Some(object) = object {
            entry = entry.about_object(object);
        }
        if let Some(asked) = &asked {
            entry = self.foreseen(who, action, asked, entry);
        }
        entry.request = asked.map(|asked| Box::new(asked.without_tokens()));
        self.record_refusal(context, who, entry, refusal).await
    }

    fn refused_entry(
        &self,
        context: &RequestContext,
        who: Refused<'_>,
        action: AuditAction,
        refusal: &Refusal,
    ) -> AuditEntry {
        let entry = context.entry(self.clock.now(), action, Outcome::Refused, refusal.reason.status());
        let entry = audit::refused(entry, refusal);
        match who {
            Refused::Nobody => entry,
            Refused::Principal(principal) => entry.by_principal(principal),
            Refused::Operator(operator) => entry.by_operator(operator),
        }
    }

    async fn record_refusal(
        &self,
        context: &RequestContext,
        who: Refused<'_>,
        entry: AuditEntry,
        refusal: Refusal,
    ) -> Refusal {
        metrics::counter!("vestibule_refused_total", "code" => refusal.reason.code()).increment(1);
        if matches!(refusal.reason, Reason::DatabaseUnavailable | Reason::Overloaded) {
            // The answer says that the database is away already. Often only a read was late, and the record succeeds.
            if !matches!(who, Refused::Nobody) {
                let _ = tokio::time::timeout(LAST_TRY, self.store.audit(entry)).await;
            }
            return refusal;
        }
        if matches!(who, Refused::Nobody)
            && !self.anonymous.deserves_a_row(context, entry.action, refusal.reason, self.clock.now())
        {
            return refusal;
        }
        match self.store.audit(entry).await {
            Ok(()) => refusal,
            Err(error) => error.into(),
        }
    }

    /// Adds what a request named: its class and its lawful basis, and for an upload, where it would have lain.
    fn foreseen(&self, who: Refused<'_>, action: AuditAction, asked: &AskedFor, mut entry: AuditEntry) -> AuditEntry {
        entry.classification = entry.classification.or_else(|| asked.classification.clone());
        entry.lawful_basis = asked.lawful_basis.clone().or(entry.lawful_basis);
        if let (Refused::Principal(who), AuditAction::RequestUpload) = (who, action) {
            let (class, place) = self.policies.current().usual(who);
            entry.classification = entry.classification.or(class);
            entry.residency = entry.residency.or(place);
        }
        entry
    }

    /// Records that someone unknown, or known too late, was refused. For refusals before any use case begins.
    pub async fn refuse_anonymous(&self, context: &RequestContext, refusal: Refusal) -> Refusal {
        self.refuse(context, Refused::Nobody, AuditAction::Authenticate, None, refusal).await
    }

    /// Records that an operator's request could not be read.
    pub async fn refuse_operator(
        &self,
        context: &RequestContext,
        who: &Operator,
        action: AuditAction,
        refusal: Refusal,
    ) -> Refusal {
        self.refuse(context, Refused::Operator(who), action, None, refusal).await
    }
}

/// Says before an entry's detail what it is about, for example a token's id.
pub(super) fn of(what: impl std::fmt::Display, mut entry: AuditEntry) -> AuditEntry {
    let detail = entry.detail.take().unwrap_or_default();
    entry.detail = Some(format!("{what}: {detail}"));
    entry
}
