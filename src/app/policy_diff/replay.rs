//! From an entry of the audit trail back to the question that was asked.
//!
//! Who asked is what the entry says, completed from the token's record; what was asked for is what the entry or the object
//! says. A path or a class that the old set would have filled in by itself counts as left out, so that the new set fills
//! in its own.

use std::collections::HashMap;

use crate::domain::asked::AskedFor;
use crate::domain::audit::{AuditAction, AuditEntry, Outcome};
use crate::domain::bytes::StoredBytes;
use crate::domain::grant::Disposition;
use crate::domain::ids::TokenId;
use crate::domain::life::{Life, State};
use crate::domain::object::Object;
use crate::domain::principal::{Environment, Subject};
use crate::domain::refusal::Reason;
use crate::domain::scope::Scope;
use crate::policy::PolicySet;
use crate::policy::bodies::{DownloadBody, UploadBody};
use crate::policy::cases::{About, Asked, Question};
use crate::store::{Store, StoreError, TokenHolder};

/// Why a request cannot be asked again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NotReplayed {
    /// An older version wrote the entry, without what was asked for.
    NotRecorded,
    /// It could not be read as a request, so that no policy was asked.
    Unreadable,
    /// It was refused before any policy was asked, by a rate limit or because something was away.
    BeforePolicies,
    /// There is no record of its object.
    NoObject,
    /// There is no record of its token.
    NoToken,
}

impl NotReplayed {
    /// The reason in words.
    pub fn as_str(self) -> &'static str {
        match self {
            NotReplayed::NotRecorded => "what was asked for was not recorded; an older version wrote the entry",
            NotReplayed::Unreadable => "it could not be read as a request, so no policy was asked",
            NotReplayed::BeforePolicies => "it was refused before any policy was asked",
            NotReplayed::NoObject => "there is no record of its object",
            NotReplayed::NoToken => "there is no record of its token",
        }
    }
}

/// What is taken from a token's record.
pub(super) type Holder = Option<(Environment, Option<Subject>)>;

/// Tokens that are remembered; beyond that the memory begins anew.
const REMEMBERED: usize = 10_000;

/// The tokens that were looked up.
#[derive(Default)]
pub(super) struct Tokens(HashMap<TokenId, Holder>);

impl Tokens {
    pub(super) async fn holder(&mut self, store: &dyn Store, id: &TokenId) -> Result<Holder, StoreError> {
        if let Some(holder) = self.0.get(id) {
            return Ok(holder.clone());
        }
        let holder = match store.token(id).await?.map(|record| record.holder) {
            Some(TokenHolder::Workflow { environment, subject, .. }) => Some((environment, subject)),
            _ => None,
        };
        if self.0.len() >= REMEMBERED {
            self.0.clear();
        }
        self.0.insert(id.clone(), holder.clone());
        Ok(holder)
    }
}

/// Whether a policy decided on this.
pub(super) fn is_decision(entry: &AuditEntry) -> bool {
    matches!(
        entry.action,
        AuditAction::RequestUpload
            | AuditAction::RequestDownload
            | AuditAction::ListObjects
            | AuditAction::DeleteObject
            | AuditAction::ReleaseObject
    )
}

/// The question behind an entry.
pub(super) fn question(
    entry: &AuditEntry,
    object: Option<&Object>,
    holder: Holder,
    old: &PolicySet,
) -> Result<Question, NotReplayed> {
    let asked = asked(entry, object)?;
    let of_object = |object: &Object| (object.app.clone(), object.workflow.clone());
    let (app, workflow) = match (&entry.app, &entry.workflow) {
        (Some(app), Some(workflow)) => (app.clone(), workflow.clone()),
        _ => object.map(of_object).ok_or(NotReplayed::NoObject)?,
    };
    let (environment, user) = match (holder, &asked) {
        (Some(holder), _) => holder,
        (None, Asked::Release(_)) => (object.map_or(Environment::Live, |object| object.environment), None),
        (None, _) => return Err(NotReplayed::NoToken),
    };
    let scopes: Vec<Scope> = entry.scopes.iter().filter_map(|text| text.parse().ok()).collect();
    let mut question = Question {
        asked,
        app,
        workflow,
        owner: entry.owner.clone(),
        environment,
        scopes: Some(scopes),
        user,
        operator: entry.operator.clone().unwrap_or_default(),
        possession: None,
        source: entry.source_address,
        time: entry.time,
    };
    leave_out_the_usual(&mut question, old);
    Ok(question)
}

fn asked(entry: &AuditEntry, object: Option<&Object>) -> Result<Asked, NotReplayed> {
    let about = || object.map(|object| About::Object(Box::new(object.clone()))).ok_or(NotReplayed::NoObject);
    let recorded = || entry.request.as_deref().ok_or_else(|| unrecorded(entry));
    let refused = entry.outcome == Outcome::Refused;
    match entry.action {
        AuditAction::RequestUpload if refused => Ok(Asked::Upload(upload(recorded()?)?)),
        AuditAction::RequestUpload => Ok(Asked::Upload(upload_of(object.ok_or(NotReplayed::NoObject)?))),
        AuditAction::RequestDownload if refused => {
            Ok(Asked::Download(about_known(entry, about)?, download(recorded()?)))
        }
        AuditAction::RequestDownload => {
            let usual = AskedFor::default();
            Ok(Asked::Download(about()?, download(entry.request.as_deref().unwrap_or(&usual))))
        }
        AuditAction::ListObjects => Ok(Asked::List(recorded()?.path.as_ref().map(ToString::to_string))),
        AuditAction::ReleaseObject => match object {
            Some(object) => Ok(Asked::Release(About::Object(Box::new(as_held(object.clone(), entry))))),
            None => Err(NotReplayed::NoObject),
        },
        _ => Ok(Asked::Delete(about_known(entry, about)?)),
    }
}

/// Of a refusal that came before the object was found, the reason says why it cannot be asked again.
fn about_known(entry: &AuditEntry, about: impl Fn() -> Result<About, NotReplayed>) -> Result<About, NotReplayed> {
    about().map_err(|missing| match entry.reason.map(before_policies) {
        Some(Some(why)) => why,
        _ => missing,
    })
}

fn unrecorded(entry: &AuditEntry) -> NotReplayed {
    entry.reason.and_then(before_policies).unwrap_or(NotReplayed::NotRecorded)
}

/// What ended a request before a policy was asked.
fn before_policies(reason: Reason) -> Option<NotReplayed> {
    match reason.status() {
        // What the rules refuse as a wrong field is recorded with the request.
        400 | 405 | 408 | 413 | 415 => Some(NotReplayed::Unreadable),
        429 | 500..=599 => Some(NotReplayed::BeforePolicies),
        _ if reason == Reason::MethodNotSupported => Some(NotReplayed::Unreadable),
        _ => None,
    }
}

fn upload(asked: &AskedFor) -> Result<UploadBody, NotReplayed> {
    let text = |value: Option<String>| value.ok_or(NotReplayed::NotRecorded);
    let extension = asked.extension.as_ref().map_or_else(String::new, |extension| format!(".{extension}"));
    Ok(UploadBody {
        filename: format!("file{extension}"),
        size: asked.size.ok_or(NotReplayed::NotRecorded)?,
        content_type: text(asked.content_type.as_ref().map(ToString::to_string))?,
        path: asked.path.as_ref().map(ToString::to_string),
        classification: asked.classification.as_ref().map(ToString::to_string),
        method: asked.method.map(|method| method.as_str().to_owned()),
        lawful_basis: asked.lawful_basis.clone(),
        ..UploadBody::default()
    })
}

fn upload_of(object: &Object) -> UploadBody {
    let asked = crate::policy::asked_for(object);
    UploadBody {
        // What a file is called is nobody's business who compares policies; what counts is how its name ends.
        filename: object.filename.extension().map_or_else(|| "file".to_owned(), |end| format!("file.{end}")),
        size: object.size,
        content_type: object.content_type.to_string(),
        path: asked.path.map(|path| path.to_string()),
        classification: Some(object.classification.to_string()),
        sha256: None,
        method: Some(object.method.as_str().to_owned()),
        metadata: Some(object.metadata.clone()),
        lawful_basis: object.lawful_basis.clone(),
    }
}

fn download(asked: &AskedFor) -> DownloadBody {
    let disposition = asked.disposition.map(Disposition::as_str).map(str::to_owned);
    let lawful_basis = asked.lawful_basis.clone();
    DownloadBody { disposition, one_time: asked.one_time, lawful_basis, ..DownloadBody::default() }
}

/// The object as it waited for its review: what it became since is not what the rule looked at.
fn as_held(mut object: Object, entry: &AuditEntry) -> Object {
    let was = entry.from_state.as_deref() == Some(State::Unscannable.as_str());
    if was && object.life.state() != State::Unscannable {
        let staged = StoredBytes { etag: String::new(), version: None, size: object.size };
        object.life = Life::Unscannable { staged, verdict: None, detail: String::new() };
    }
    object
}

/// What the old set fills in by itself is not known to have been said.
fn leave_out_the_usual(question: &mut Question, old: &PolicySet) {
    let (app, who) = (old.app(&question.app), question.principal(old));
    let (Some(app), Ok(who), Asked::Upload(body)) = (app, who, &mut question.asked) else { return };
    let home = app.prefix.render(&who, question.time).ok().map(|home| home.to_string());
    if body.path.is_some() && body.path == home {
        body.path = None;
    }
    let usual = app.default_classification.as_ref().map(ToString::to_string);
    if body.classification.is_some() && body.classification == usual {
        body.classification = None;
    }
}
