//! Decisions: may this principal do this, and within which limits?
//!
//! Only these functions make permits. The order of the checks is fixed, from who asks to what is asked, so that a
//! stranger to an app learns nothing of its rules and every refusal has one cause: app registered and on; proof of
//! possession; environment; scope; for an upload then path, type, extension, size, class with its proof, workflow, person,
//! lawful basis, residency, method, metadata, conditions, and at last what Cedar's policies say. Where a class is narrower than its app, the class decides.
//! Quotas travel in the permit; the store counts them. Nothing here does I/O or reads a clock, and an allowing decision
//! costs a few small allocations.

use std::sync::Arc;

use crate::domain::content::ContentRules;
use crate::domain::grant::{Disposition, DownloadPermit, UploadMethod, UploadPermit};
use crate::domain::ids::{AppName, RoleName, TargetName};
use crate::domain::key::Prefix;
use crate::domain::object::Object;
use crate::domain::principal::{Environment, Operator, Principal};
use crate::domain::quota::QuotaLimits;
use crate::domain::refusal::{Reason, Refusal};
use crate::domain::scope::{Action, Scope};
use crate::domain::target::Target;

use super::cedar::Act;
use super::conditions::{self, Facts};
use super::last_word;
use super::possession;
use super::regulated;
use super::request::{Circumstances, DownloadRequest, UploadRequest};
use super::upload_rules as rules;
use super::{Classification, Manifest, PolicySet};

/// Decides on `POST /request-upload`. `methods` says which upload methods a target's provider can sign.
///
/// # Errors
/// The first rule that the request does not meet.
pub fn decide_upload(
    set: &PolicySet,
    who: &Principal,
    request: &UploadRequest,
    methods: impl Fn(&Target) -> &'static [UploadMethod],
    circumstances: &Circumstances,
) -> Result<UploadPermit, Refusal> {
    let app = admitted(set, &who.app)?;
    possession::of_app(app, who)?;
    let target = own_target(set, app, who)?;
    let home = rules::home(app, who, circumstances.now)?;
    let path = request.path.as_ref().unwrap_or(&home);
    in_scope(app, who, &target.name, Action::Write, path.as_str())?;
    rules::path(app, target, &home, path, &request.filename)?;
    let class = rules::classification(set, app, request.classification.as_ref());
    let known = class.as_ref().ok().copied();
    rules::content_type(app, known, &request.content_type)?;
    rules::extension(app, &request.filename, &request.content_type)?;
    rules::size(app, known, request.size, &request.content_type)?;
    let class = class?;
    possession::of_class(class, who)?;
    regulated::workflow(app, who, class)?;
    regulated::user(app, who, class)?;
    rules::lawful_basis(class, request.lawful_basis.as_deref())?;
    rules::residency(class, target)?;
    regulated::region(set, app, class, &target.residency)?;
    rules::method(app, request.method, methods(target))?;
    rules::metadata(&request.metadata)?;
    conditions::meet(app, || Facts {
        size: request.size,
        content_type: request.content_type.as_str(),
        extension: request.filename.extension().unwrap_or_default(),
        classification: class.name.as_str(),
        method: request.method.as_str(),
        environment: who.environment.as_str(),
        role: who.subject.as_ref().and_then(|subject| subject.role.as_ref()).map(RoleName::as_str),
        workflow: who.workflow.as_str(),
        path,
    })?;
    let bounds = set.ttl.upload;
    let ttl = app.upload_ttl.min(class.max_upload_ttl.unwrap_or(bounds.max));
    let what = (target, &class.name, path.as_str());
    let rule = last_word::upload(set, app, who, what, request, circumstances)?;
    Ok(UploadPermit {
        target: target.name.clone(),
        prefix: path.clone(),
        staging: target.staging_prefix.clone(),
        classification: class.name.clone(),
        residency: target.residency.clone(),
        ttl: ttl.clamp(bounds.min, bounds.max),
        owner: app.owner.clone(),
        quota: quotas(set, app),
        rule,
    })
}

/// Decides on `POST /request-download` for an object of the principal's app. Whether the object is visible is not asked
/// here.
///
/// # Errors
/// The first rule that the request does not meet.
pub fn decide_download(
    set: &PolicySet,
    who: &Principal,
    object: &Object,
    request: &DownloadRequest,
    circumstances: &Circumstances,
) -> Result<DownloadPermit, Refusal> {
    let app = on_object(set, who, object, Action::Read)?;
    let class = class_of(set, object)?;
    let lawful_basis = on_regulated(set, app, who, class, object, request)?;
    let disposition = request.disposition.unwrap_or_default();
    if disposition == Disposition::Inline && !app.inline_types.contains(&object.content_type) {
        let detail = format!(
            "files of type {} cannot be shown inline in app '{}'; ask for disposition attachment, or ask your platform \
             team to list the type in inline_types",
            object.content_type, app.app
        );
        return Err(Refusal::new(Reason::DispositionNotAllowed, detail)
            .allowed([Disposition::Attachment.as_str()])
            .rule(app.rule("inline_types")));
    }
    let bounds = set.ttl.download;
    let ttl = app.download_ttl.min(class.max_download_ttl.unwrap_or(bounds.max));
    let permit = DownloadPermit {
        ttl: ttl.clamp(bounds.min, bounds.max),
        one_time: request.one_time || app.one_time_downloads || class.one_time_downloads,
        disposition,
        owner: app.owner.clone(),
        quota: quotas(set, app),
        lawful_basis,
        rule: app.file(),
    };
    let rule = last_word::download(set, app, who, object, &permit, circumstances)?;
    Ok(DownloadPermit { rule, ..permit })
}

/// Decides on reading the state of an object or deleting it; answers with the rule that allowed it.
///
/// # Errors
/// The first rule that the request does not meet.
pub fn decide_on_object(
    set: &PolicySet,
    who: &Principal,
    object: &Object,
    action: Action,
    circumstances: &Circumstances,
) -> Result<Arc<str>, Refusal> {
    let app = on_object(set, who, object, action)?;
    regulated::handle(app, who, class_of(set, object)?)?;
    last_word::on_object(set, app, who, object, action, circumstances)
}

/// Decides on listing the app's objects under a prefix; answers with the rule that allowed it.
///
/// # Errors
/// The first rule that the request does not meet.
pub fn decide_list(
    set: &PolicySet,
    who: &Principal,
    prefix: &Prefix,
    circumstances: &Circumstances,
) -> Result<Arc<str>, Refusal> {
    let app = admitted(set, &who.app)?;
    possession::of_app(app, who)?;
    let target = own_target(set, app, who)?;
    in_scope(app, who, &target.name, Action::List, prefix.as_str())?;
    last_word::list(set, app, who, prefix.as_str(), circumstances)
}

/// Decides on an operator's release of a held object, or on his deleting one; answers with the policies that permit it.
///
/// # Errors
/// `denied_by_policy`.
pub fn decide_review(
    set: &PolicySet,
    who: &Operator,
    object: &Object,
    release: bool,
    circumstances: &Circumstances,
) -> Result<Arc<str>, Refusal> {
    let act = if release { Act::Release } else { Act::Delete };
    last_word::review(set, who, object, act, circumstances)
}

/// Decides on looking at what the app may do: every workflow of a registered app may.
///
/// # Errors
/// Where the app is not registered or switched off.
pub fn decide_limits<'s>(set: &'s PolicySet, who: &Principal) -> Result<&'s Manifest, Refusal> {
    admitted(set, &who.app)
}

/// The quotas of an app and of the team that answers for it.
pub fn quotas(set: &PolicySet, app: &Manifest) -> QuotaLimits {
    let owner = set.owner(&app.owner).map(|owner| owner.quota).unwrap_or_default();
    QuotaLimits { app: app.quota, owner }
}

/// What inspection does with this object; `None` where its app is no longer registered, which allows nothing.
pub fn content_rules(set: &PolicySet, object: &Object) -> Option<ContentRules> {
    set.app(&object.app).map(|app| app.content.clone())
}

/// The app is registered and switched on.
pub(super) fn admitted<'s>(set: &'s PolicySet, name: &AppName) -> Result<&'s Manifest, Refusal> {
    let Some(app) = set.app(name) else {
        let detail = format!("no app '{name}' is registered; ask your platform team to add a manifest for it");
        return Err(Refusal::new(Reason::AppUnknown, detail).rule("apps"));
    };
    if !app.enabled {
        let detail = format!("app '{name}' is switched off; ask its owner '{}' or your platform team", app.owner);
        return Err(Refusal::new(Reason::AppDisabled, detail).rule(app.rule("enabled")));
    }
    Ok(app)
}

/// The target that this principal's environment reaches. A test token never gets a live target, nor the reverse.
fn own_target<'s>(set: &'s PolicySet, app: &Manifest, who: &Principal) -> Result<&'s Target, Refusal> {
    target_of(set, app, who.environment)
}

/// The target that tokens of an environment reach.
pub(super) fn target_of<'s>(
    set: &'s PolicySet,
    app: &Manifest,
    environment: Environment,
) -> Result<&'s Target, Refusal> {
    let target = app.target_for(environment).and_then(|name| set.target(name));
    target.filter(|target| target.environment == environment).ok_or_else(|| {
        let (own, other) = environments(environment);
        let detail = format!(
            "this is a {own} token, and app '{}' has no {own} target; use a {other} token, or ask your platform team for \
             a {own} target",
            app.app
        );
        let key = if environment == Environment::Test { "test_target" } else { "target" };
        Refusal::new(Reason::EnvironmentMismatch, detail).allowed([other]).rule(app.rule(key))
    })
}

fn environments(own: Environment) -> (&'static str, &'static str) {
    match own {
        Environment::Live => ("live", "test"),
        Environment::Test => ("test", "live"),
    }
}

/// One of the token's scopes covers the action on this path.
fn in_scope(app: &Manifest, who: &Principal, target: &TargetName, action: Action, path: &str) -> Result<(), Refusal> {
    if who.may(target, action, path) {
        return Ok(());
    }
    let covers = |scope: &&Scope| {
        scope.app == app.app
            && scope.target.as_ref().is_none_or(|own| own == target)
            && scope.action.is_none_or(|own| own == action)
    };
    let prefixes = who.scopes.iter().filter(covers).map(|scope| format!("/{}", scope.prefix)).collect::<Vec<_>>();
    let own = app.app.as_str();
    let verb = action.as_str();
    let detail = if prefixes.is_empty() {
        format!("this token may not {verb} in app '{own}'; use a token with the scope storage:{target}:{own}:{verb}")
    } else {
        format!(
            "this token may {verb} under {} only, not under '/{path}'; use such a path, or a token with the scope \
             storage:{target}:{own}:{verb}:prefix=/{path}",
            prefixes.join(", ")
        )
    };
    let refusal = Refusal::new(Reason::ScopeInsufficient, detail).rule("token scopes");
    Err(if prefixes.is_empty() { refusal } else { refusal.allowed(prefixes) })
}

/// What every act on an object needs. An object of another app does not exist for the principal.
fn on_object<'s>(
    set: &'s PolicySet,
    who: &Principal,
    object: &Object,
    action: Action,
) -> Result<&'s Manifest, Refusal> {
    let app = admitted(set, &who.app)?;
    possession::of_app(app, who)?;
    if object.app != who.app {
        let detail = format!("there is no object {}; check the objectId in the answer of request-upload", object.id);
        return Err(Refusal::new(Reason::ObjectNotFound, detail).rule("object of another app"));
    }
    let at_home = |target: &Target| target.environment == object.environment;
    if object.environment != who.environment || !set.target(&object.target).is_some_and(at_home) {
        let ((own, _), (its, _)) = (environments(who.environment), environments(object.environment));
        let detail = if own == its {
            format!("the target of this {its} object is no longer configured as a {its} one; ask your platform team")
        } else {
            format!("this is a {own} token, and the object is a {its} one; use a {its} token of the same app")
        };
        return Err(Refusal::new(Reason::EnvironmentMismatch, detail).allowed([its]).rule("targets.toml"));
    }
    in_scope(app, who, &object.target, action, object.keys.served.path())?;
    Ok(app)
}

/// What a download asks besides: the app still lists the class where it is regulated, workflow and person may handle it,
/// the data lies where it must, and there is a lawful basis. Answers with that: the request's, or else the object's.
fn on_regulated(
    set: &PolicySet,
    app: &Manifest,
    who: &Principal,
    class: &Classification,
    object: &Object,
    request: &DownloadRequest,
) -> Result<Option<String>, Refusal> {
    let basis = request.lawful_basis.or(object.lawful_basis.as_deref());
    if class.regulated {
        rules::classification(set, app, Some(&class.name))?;
    }
    regulated::handle(app, who, class)?;
    if class.regulated || request.lawful_basis.is_some() {
        rules::lawful_basis(class, basis)?;
    }
    for place in [Some(&object.residency), set.target(&object.target).map(|target| &target.residency)] {
        regulated::region(set, app, class, place.map_or("", |place| place))?;
    }
    Ok(basis.map(str::to_owned))
}

/// The object's class, as it stands today. A class that no longer exists allows nothing.
fn class_of<'s>(set: &'s PolicySet, object: &Object) -> Result<&'s Classification, Refusal> {
    set.class(&object.classification).ok_or_else(|| {
        let detail = format!(
            "the object's classification '{}' no longer exists, so nothing is allowed with it; ask your platform team",
            object.classification
        );
        Refusal::new(Reason::ClassificationNotAllowed, detail).rule("classifications.toml")
    })
}
