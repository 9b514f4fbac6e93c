//! The questions that the decisions put to Cedar, once the manifests have allowed: one function for each action.
//!
//! Each gathers what `vestibule.cedarschema` promises for its action, and nothing else. The answer is the rule that the
//! audit trail names: the manifest, and the policies that permit.

use std::sync::Arc;

use crate::domain::grant::{Disposition, DownloadPermit};
use crate::domain::ids::{AppName, ClassName};
use crate::domain::life::State;
use crate::domain::object::Object;
use crate::domain::principal::{Operator, Principal, Subject};
use crate::domain::refusal::Refusal;
use crate::domain::scope::Action;
use crate::domain::target::Target;

use super::cedar::{Act, Asked, Asker, Fact, Question};
use super::request::{Circumstances, UploadRequest};
use super::{Manifest, PolicySet};

type Context<'a> = Vec<(&'static str, Fact<'a>)>;

/// What every action's context holds.
fn context<'a>(circumstances: &Circumstances, proof_of_possession: bool) -> Context<'a> {
    let mut context = Vec::with_capacity(10);
    context.push(("time", Fact::Moment(circumstances.now)));
    context.push(("proofOfPossession", Fact::Flag(proof_of_possession)));
    context.extend(circumstances.source.map(|address| ("sourceAddress", Fact::Address(address))));
    context
}

/// A workflow asks to upload to `path`.
pub(super) fn upload(
    set: &PolicySet,
    app: &Manifest,
    who: &Principal,
    (target, class, path): (&Target, &ClassName, &str),
    request: &UploadRequest,
    circumstances: &Circumstances,
) -> Result<Arc<str>, Refusal> {
    let mut context = context(circumstances, who.possession.is_some());
    context.push(("size", Fact::Number(request.size)));
    context.push(("contentType", Fact::Text(request.content_type.as_str())));
    context.push(("method", Fact::Text(request.method.as_str())));
    context.extend(request.lawful_basis.as_deref().map(|basis| ("lawfulBasis", Fact::Text(basis))));
    let asked = Asked::Object {
        id: None,
        owner: &app.owner,
        owner_region: set.region_of(&app.owner),
        target: Some(target),
        environment: who.environment,
        region: &target.residency,
        classification: class,
        path,
    };
    ask(set, app, Act::Upload, Asker::Workflow(who), asked, &context)
}

/// A workflow asks to download an object, as the permit allows it.
pub(super) fn download(
    set: &PolicySet,
    app: &Manifest,
    who: &Principal,
    object: &Object,
    permit: &DownloadPermit,
    circumstances: &Circumstances,
) -> Result<Arc<str>, Refusal> {
    let mut context = context(circumstances, who.possession.is_some());
    context.extend(what(object));
    context.push(("oneTime", Fact::Flag(permit.one_time)));
    context.push(("inline", Fact::Flag(permit.disposition == Disposition::Inline)));
    context.extend(permit.lawful_basis.as_deref().map(|basis| ("lawfulBasis", Fact::Text(basis))));
    ask(set, app, Act::Download, Asker::Workflow(who), about(set, object), &context)
}

/// A workflow lists what lies under `prefix`, or looks at the state of what lies there.
pub(super) fn list(
    set: &PolicySet,
    app: &Manifest,
    who: &Principal,
    prefix: &str,
    circumstances: &Circumstances,
) -> Result<Arc<str>, Refusal> {
    let mut context = context(circumstances, who.possession.is_some());
    context.push(("prefix", Fact::Text(prefix)));
    ask(set, app, Act::List, Asker::Workflow(who), Asked::App, &context)
}

/// A workflow does something with an object's record.
pub(super) fn on_object(
    set: &PolicySet,
    app: &Manifest,
    who: &Principal,
    object: &Object,
    action: Action,
    circumstances: &Circumstances,
) -> Result<Arc<str>, Refusal> {
    if action != Action::Delete {
        return list(set, app, who, object.keys.served.path(), circumstances);
    }
    let mut context = context(circumstances, who.possession.is_some());
    context.extend(what(object));
    ask(set, app, Act::Delete, Asker::Workflow(who), about(set, object), &context)
}

/// An operator releases or deletes an object. Its app may be registered no more: then its recorded owner is asked about.
pub(super) fn review(
    set: &PolicySet,
    who: &Operator,
    object: &Object,
    act: Act,
    circumstances: &Circumstances,
) -> Result<Arc<str>, Refusal> {
    let mut context = context(circumstances, false);
    context.extend(what(object));
    if act == Act::Release {
        let state = if object.life.state() == State::Unscannable { "unscannable" } else { "quarantined" };
        context.push(("state", Fact::Text(state)));
    }
    let manifest = set.app(&object.app);
    let owner = manifest.map_or(&object.owner, |manifest| &manifest.owner);
    let question = Question {
        act,
        who: Asker::Operator(who),
        app: &object.app,
        owner,
        region: set.region_of(owner),
        asked: about(set, object),
        context: &context,
    };
    set.rules.decide(&question, None)
}

/// A person asks for a token of an app, for these actions and so many seconds.
pub(super) fn exchange(
    set: &PolicySet,
    app: &Manifest,
    who: &Subject,
    (actions, seconds): (&[&str], u64),
    proof_of_possession: bool,
    circumstances: &Circumstances,
) -> Result<Arc<str>, Refusal> {
    let mut context = context(circumstances, proof_of_possession);
    context.push(("actions", Fact::Words(actions)));
    context.push(("seconds", Fact::Number(seconds)));
    ask(set, app, Act::Exchange, Asker::Person(who), Asked::App, &context)
}

fn ask(
    set: &PolicySet,
    app: &Manifest,
    act: Act,
    who: Asker<'_>,
    asked: Asked<'_>,
    context: &[(&'static str, Fact<'_>)],
) -> Result<Arc<str>, Refusal> {
    let (name, owner): (&AppName, _) = (&app.app, &app.owner);
    let question = Question { act, who, app: name, owner, region: set.region_of(owner), asked, context };
    set.rules.decide(&question, Some(&app.file()))
}

fn about<'a>(set: &'a PolicySet, object: &'a Object) -> Asked<'a> {
    Asked::Object {
        id: Some(object.id),
        owner: &object.owner,
        owner_region: set.region_of(&object.owner),
        target: set.target(&object.target),
        environment: object.environment,
        region: &object.residency,
        classification: &object.classification,
        path: object.keys.served.path(),
    }
}

fn what(object: &Object) -> [(&'static str, Fact<'_>); 2] {
    [("size", Fact::Number(object.size)), ("contentType", Fact::Text(object.content_type.as_str()))]
}
