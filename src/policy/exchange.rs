//! Decides on tokens for people: who may have one of an app, for what, and how long it lives.
//!
//! What a token may allow at most is {the app's target of the environment} × {the actions of `[exchange]`} × {where the
//! app keeps this person's files}; what is asked for lies in it or is refused, never cut down silently. The life is the
//! shortest that any rule says. Cedar has the last word, and is asked about the token as it would be.

use std::sync::Arc;
use std::time::Duration;

use crate::domain::ids::{AppName, OwnerName, TargetName, WorkflowName};
use crate::domain::principal::{Environment, Possession, Subject};
use crate::domain::refusal::{Reason, Refusal};
use crate::domain::scope::{Action, Scope, Scopes};

use super::decide::{admitted, target_of};
use super::exchange_file::{ExchangeRules, TOKEN_TTL};
use super::request::Circumstances;
use super::{Manifest, PolicySet, last_word, possession};

/// What a token shall allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Everything that it may.
    Everything,
    /// These actions, on everything of the person's.
    Actions(Vec<Action>),
    /// Exactly these.
    Scopes(Vec<Scope>),
}

/// A person's wish for a token.
#[derive(Clone, Debug)]
pub struct ExchangeRequest {
    /// Real or for trying things out, as whoever vouches for the person is.
    pub environment: Environment,
    /// What the token shall allow.
    pub wanted: Wanted,
    /// How long it shall live at most.
    pub ttl: Duration,
    /// How it was proven that whoever asks holds the key that it will be bound to; none where it is bound to none.
    pub possession: Option<Possession>,
}

/// A token as it may be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExchangePermit {
    /// Whose token it is.
    pub workflow: WorkflowName,
    /// Who answers for it.
    pub owner: OwnerName,
    /// What it allows.
    pub scopes: Scopes,
    /// How long it lives.
    pub ttl: Duration,
    /// What decided.
    pub rule: Arc<str>,
}

/// Decides on a person's wish for a token of an app. Whether the issuer and the client may ask is looked at before, since
/// it says which app is meant.
///
/// # Errors
/// The first rule that the wish does not meet: the app is registered, on, and gives tokens; its proof of possession; the person has one of the
/// roles; the environment has a target; the scopes; Cedar's policies.
pub fn decide_exchange(
    set: &PolicySet,
    who: &Subject,
    app: &AppName,
    request: &ExchangeRequest,
    circumstances: &Circumstances,
) -> Result<ExchangePermit, Refusal> {
    let app = admitted(set, app)?;
    let Some(rules) = &app.exchange else {
        let detail = format!(
            "app '{}' gives no tokens to people; ask its owner '{}' or your platform team for the table [exchange]",
            app.app, app.owner
        );
        return Err(Refusal::new(Reason::ExchangeNotAllowed, detail).rule(app.rule("exchange")));
    };
    possession::bound_as_demanded(app, request.possession)?;
    has_role(app, rules, who)?;
    let most = most(set, app, rules, who, request.environment)?;
    let scopes = narrowed(rules, &most, request)?;
    let ttl = longest(set, app).min(rules.max_ttl).min(request.ttl);
    let actions: Vec<&str> =
        Action::ALL.into_iter().filter(|action| allows(&scopes, *action)).map(Action::as_str).collect();
    let asked = (actions.as_slice(), ttl.as_secs());
    let rule = last_word::exchange(set, app, who, asked, request.possession.is_some(), circumstances)?;
    Ok(ExchangePermit { workflow: rules.workflow.clone(), owner: app.owner.clone(), scopes, ttl, rule })
}

/// Decides on a workflow's wish for a narrower token of its own: everything but the scopes was decided when it got the one
/// that it has. Cedar is asked where a person is behind it.
///
/// # Errors
/// As for [`decide_exchange`].
pub fn decide_derivation(
    set: &PolicySet,
    who: Option<&Subject>,
    app: &AppName,
    request: &ExchangeRequest,
    own: &Scopes,
    circumstances: &Circumstances,
) -> Result<(Scopes, Duration, Arc<str>), Refusal> {
    let app = admitted(set, app)?;
    possession::bound_as_demanded(app, request.possession)?;
    let target = target_of(set, app, request.environment)?;
    let asked = match &request.wanted {
        Wanted::Everything => own.to_vec(),
        Wanted::Scopes(scopes) => scopes.clone(),
        Wanted::Actions(actions) => {
            actions.iter().flat_map(|action| of_action(own, app, &target.name, *action)).collect()
        }
    };
    let scopes = own.narrowed_to(asked).map_err(|wider| not_granted(&wider, own, "token scopes"))?;
    let own_ttl = app.exchange.as_ref().map_or(TOKEN_TTL.max, |rules| rules.max_ttl);
    let ttl = longest(set, app).min(own_ttl).min(request.ttl);
    let rule = match who {
        None => app.file(),
        Some(who) => {
            let actions: Vec<&str> =
                Action::ALL.into_iter().filter(|action| allows(&scopes, *action)).map(Action::as_str).collect();
            let asked = (actions.as_slice(), ttl.as_secs());
            last_word::exchange(set, app, who, asked, request.possession.is_some(), circumstances)?
        }
    };
    Ok((scopes, ttl, rule))
}

/// What a workflow's own scopes allow of one action at its target; where that is nothing, a scope that they do not cover.
fn of_action(own: &Scopes, app: &Manifest, target: &TargetName, action: Action) -> Vec<Scope> {
    let here = |scope: &&Scope| {
        scope.target.as_ref().is_none_or(|own| own == target) && scope.action.is_none_or(|own| own == action)
    };
    let single = |scope: &Scope| Scope { target: Some(target.clone()), action: Some(action), ..scope.clone() };
    let found: Vec<Scope> = own.iter().filter(here).map(single).collect();
    if found.is_empty() { vec![single(&Scope::whole_app(app.app.clone()))] } else { found }
}

fn has_role(app: &Manifest, rules: &ExchangeRules, who: &Subject) -> Result<(), Refusal> {
    if rules.roles.is_empty() || who.role.as_ref().is_some_and(|role| rules.roles.contains(role)) {
        return Ok(());
    }
    let roles: Vec<&str> = rules.roles.iter().map(|role| role.as_str()).collect();
    let detail = format!(
        "app '{}' gives tokens to people with a role of {} only; ask your platform team which role you have",
        app.app,
        roles.join(", ")
    );
    Err(Refusal::new(Reason::ExchangeNotAllowed, detail).allowed(roles).rule(rules.rule("exchange.roles")))
}

/// Everything that a person's token may allow.
fn most(
    set: &PolicySet,
    app: &Manifest,
    rules: &ExchangeRules,
    who: &Subject,
    environment: Environment,
) -> Result<Scopes, Refusal> {
    let target = target_of(set, app, environment)?;
    let home = app.prefix.lasting(&app.app, &rules.workflow, Some(&who.user)).map_err(|error| {
        let detail = format!("app '{}' has no place for this person: {error}; ask your platform team", app.app);
        Refusal::new(Reason::ExchangeNotAllowed, detail).rule(app.rule("prefix"))
    })?;
    let scope = |action: &Action| Scope {
        target: Some(target.name.clone()),
        app: app.app.clone(),
        action: Some(*action),
        prefix: home.clone(),
    };
    Ok(rules.actions.iter().map(scope).collect::<Vec<_>>().into())
}

fn narrowed(rules: &ExchangeRules, most: &Scopes, request: &ExchangeRequest) -> Result<Scopes, Refusal> {
    let asked = match &request.wanted {
        Wanted::Everything => most.to_vec(),
        Wanted::Scopes(scopes) => scopes.clone(),
        Wanted::Actions(actions) => {
            let of = |action: &Action| most.first().map(|one| Scope { action: Some(*action), ..one.clone() });
            actions.iter().filter_map(of).collect()
        }
    };
    most.narrowed_to(asked).map_err(|wider| not_granted(&wider, most, &rules.rule("exchange.actions")))
}

fn not_granted(wider: &Scope, most: &Scopes, rule: &str) -> Refusal {
    let detail =
        format!("the scope '{wider}' is more than this token may have; ask for what 'allowed' lists, or leave it out");
    Refusal::new(Reason::ScopeNotGranted, detail).allowed(most.texts().iter().map(String::as_str)).rule(rule)
}

fn allows(scopes: &Scopes, action: Action) -> bool {
    scopes.iter().any(|scope| scope.action.is_none_or(|own| own == action))
}

/// The longest life of a token that every class of the app bears.
fn longest(set: &PolicySet, app: &Manifest) -> Duration {
    let classes = app.classifications.iter().filter_map(|name| set.class(name)?.max_token_ttl);
    classes.min().unwrap_or(TOKEN_TTL.max)
}
