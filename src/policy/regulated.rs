//! Who may handle a class: the workflow, the person behind it, and the place.
//!
//! A regulated class needs all of them, besides an app that lists it and a lawful basis. Each has a code of its own, and
//! each refusal says whom to ask; none says which other workflows, roles or places there are. Reading an object's state
//! and deleting it need workflow and person, but neither basis nor place: erasure must be possible where data should
//! never have been.

use crate::domain::ids::ClassName;
use crate::domain::object::Object;
use crate::domain::principal::Principal;
use crate::domain::refusal::{Reason, Refusal};
use crate::domain::scope::Action;

use super::last_word;
use super::possession;
use super::request::Circumstances;
use super::{Classification, Manifest, Owner, PolicySet};

/// The workflow may store this class: its table in the manifest names it, or it has none and the class is not regulated.
pub(super) fn workflow(app: &Manifest, who: &Principal, class: &Classification) -> Result<(), Refusal> {
    let own = app.workflows.get(&who.workflow);
    match own {
        Some(own) if own.classifications.contains(&class.name) => return Ok(()),
        None if !class.regulated => return Ok(()),
        _ => {}
    }
    let detail = format!(
        "workflow '{}' is not authorised for '{}' data in app '{}'; ask '{}', who answers for the app, or your platform \
         team to name the class in [workflows.{}] of the app's manifest",
        who.workflow, class.name, app.app, app.owner, who.workflow
    );
    let rule = own.map_or_else(|| app.rule("workflows"), |own| own.rule.clone());
    let refusal = Refusal::new(Reason::WorkflowNotAuthorised, detail).rule(rule);
    Err(match own {
        Some(own) => refusal.allowed(own.classifications.iter().map(ClassName::as_str)),
        None => refusal,
    })
}

/// The person behind the token has a role of the class, where it names any.
pub(super) fn user(app: &Manifest, who: &Principal, class: &Classification) -> Result<(), Refusal> {
    let role = who.subject.as_ref().and_then(|subject| subject.role.as_ref());
    if class.roles.is_empty() || role.is_some_and(|role| class.roles.contains(role)) {
        return Ok(());
    }
    let missing = match (&who.subject, role) {
        (None, _) => "this token acts for no person".to_owned(),
        (Some(_), None) => "the person behind this token has no role".to_owned(),
        (Some(_), Some(role)) => format!("the role '{role}' of the person behind this token is not one of them"),
    };
    let detail = format!(
        "'{}' data is for people of certain roles, and {missing}; ask your platform team for a token for a person who may \
         handle it, or '{}', who answers for app '{}'",
        class.name, app.owner, app.app
    );
    Err(Refusal::new(Reason::UserNotAuthorised, detail).rule(class.lines.rule("roles")))
}

/// Regulated data lies in the region of the app's owner, and nowhere else.
pub(super) fn region(set: &PolicySet, app: &Manifest, class: &Classification, place: &str) -> Result<(), Refusal> {
    let region = set.region_of(&app.owner);
    if !class.regulated || region == Some(place) {
        return Ok(());
    }
    let must = region.map_or_else(|| "and none is known".to_owned(), |region| format!("'{region}'"));
    let detail = format!(
        "'{}' data must lie in the region of '{}', who answers for app '{}', {must}; it would lie in '{place}'; ask your \
         platform team for a target there",
        class.name, app.owner, app.app
    );
    let rule = set.owner(&app.owner).map_or_else(|| "owners.toml".to_owned(), Owner::region_rule);
    let refusal = Refusal::new(Reason::ResidencyMismatch, detail).rule(rule);
    Err(match region {
        Some(region) => refusal.allowed([region]),
        None => refusal,
    })
}

/// Workflow and person may handle an object of this class that is there already, with the proof that it asks for. What narrows a workflow to classes that
/// are not regulated is about what it stores.
pub(super) fn handle(app: &Manifest, who: &Principal, class: &Classification) -> Result<(), Refusal> {
    possession::of_class(class, who)?;
    if class.regulated {
        workflow(app, who, class)?;
    }
    user(app, who, class)
}

/// Whether a list shows an object of its app to this principal: where it is regulated, only to whoever may handle it; and
/// only what Cedar would show alone. A class that no longer exists allows nothing.
pub fn may_see(set: &PolicySet, who: &Principal, object: &Object, circumstances: &Circumstances) -> bool {
    let (Some(app), Some(class)) = (set.app(&object.app), set.class(&object.classification)) else { return false };
    handle(app, who, class).is_ok() && last_word::on_object(set, app, who, object, Action::Read, circumstances).is_ok()
}
