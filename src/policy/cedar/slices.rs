//! The policies that concern an app and an action.
//!
//! A policy whose head names an app (`principal in App::"…"`, `resource in App::"…"`), one of its workflows or its owner
//! can never apply to another app's request, so that another app's slice does not hold it; the same for actions. What
//! names none of them is in every slice. So a decision costs what the policies about its app cost, however many others
//! there are.

use std::collections::HashMap;

use cedar_policy::{
    ActionConstraint, EntityUid, Policy, PolicySet, PolicySetError, PrincipalConstraint, ResourceConstraint,
};

use super::Owners;
use super::ask::Act;
use super::sight::Sight;
use crate::domain::ids::AppName;

/// The policies about one app and action.
pub(super) struct Slice {
    /// Tells this slice's answers from those of others.
    pub(super) number: u32,
    pub(super) policies: PolicySet,
    pub(super) sight: Sight,
}

/// Every slice of a policy set.
pub(super) struct Slices {
    apps: HashMap<AppName, [Slice; 6]>,
    /// For objects whose app is no longer registered.
    others: [Slice; 6],
}

/// Whom a policy's head concerns.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Concern {
    Everybody,
    Owner(String),
    App(String),
}

/// A policy with what its head says.
struct Sorted<'p> {
    policy: &'p Policy,
    sight: Sight,
    acts: Vec<Act>,
    concern: Concern,
}

impl Slices {
    /// Sorts the policies of a set, each with its JSON form.
    pub(super) fn new(
        policies: &[(Policy, serde_json::Value)],
        apps: &Owners<'_>,
    ) -> Result<Self, Box<PolicySetError>> {
        let mut everybody = Vec::new();
        let mut owners: HashMap<String, Vec<Sorted<'_>>> = HashMap::new();
        let mut own: HashMap<String, Vec<Sorted<'_>>> = HashMap::new();
        for (policy, json) in policies {
            let sorted = sort(policy, json);
            match &sorted.concern {
                Concern::Everybody => everybody.push(sorted),
                Concern::Owner(name) => owners.entry(name.clone()).or_default().push(sorted),
                Concern::App(name) => own.entry(name.clone()).or_default().push(sorted),
            }
        }
        let mut number = 0;
        let none = Vec::new();
        let mut cut = |parts: &[&Vec<Sorted<'_>>]| -> Result<[Slice; 6], Box<PolicySetError>> {
            let mut slices = Vec::with_capacity(6);
            for act in Act::ALL {
                number += 1;
                let policies = parts.iter().flat_map(|part| part.iter()).filter(|policy| policy.acts.contains(&act));
                slices.push(slice(number, policies)?);
            }
            // `Act::ALL` has six of them.
            slices.try_into().map_err(|_| unreachable!("six actions make six slices"))
        };
        let mut slices = HashMap::with_capacity(apps.len());
        for (app, owner) in apps {
            let (of_owner, of_app) = (owners.get(owner.as_str()), own.get(app.as_str()));
            let slice = cut(&[&everybody, of_owner.unwrap_or(&none), of_app.unwrap_or(&none)])?;
            slices.insert((*app).clone(), slice);
        }
        let rest: Vec<&Vec<Sorted<'_>>> = std::iter::once(&everybody).chain(owners.values()).collect();
        Ok(Self { apps: slices, others: cut(&rest)? })
    }

    pub(super) fn of(&self, app: &AppName, act: Act) -> &Slice {
        &self.apps.get(app).unwrap_or(&self.others)[act as usize]
    }
}

fn slice<'p>(number: u32, policies: impl Iterator<Item = &'p Sorted<'p>>) -> Result<Slice, Box<PolicySetError>> {
    let mut slice = Slice { number, policies: PolicySet::new(), sight: Sight::default() };
    for sorted in policies {
        slice.policies.add(sorted.policy.clone())?;
        slice.sight.join(&sorted.sight);
    }
    Ok(slice)
}

fn sort<'p>(policy: &'p Policy, json: &serde_json::Value) -> Sorted<'p> {
    let mut sight = Sight::default();
    sight.add(policy, json);
    let named = |uids: Vec<EntityUid>| {
        Act::ALL.into_iter().filter(|act| uids.iter().any(|uid| uid.id().unescaped() == act.as_str())).collect()
    };
    let acts = match policy.action_constraint() {
        ActionConstraint::Any => Act::ALL.to_vec(),
        ActionConstraint::Eq(uid) => named(vec![uid]),
        ActionConstraint::In(uids) => named(uids),
    };
    let principal = match policy.principal_constraint() {
        PrincipalConstraint::Eq(uid) | PrincipalConstraint::In(uid) | PrincipalConstraint::IsIn(_, uid) => Some(uid),
        PrincipalConstraint::Any | PrincipalConstraint::Is(_) => None,
    };
    let resource = match policy.resource_constraint() {
        ResourceConstraint::Eq(uid) | ResourceConstraint::In(uid) | ResourceConstraint::IsIn(_, uid) => Some(uid),
        ResourceConstraint::Any | ResourceConstraint::Is(_) => None,
    };
    let concern = [principal, resource].into_iter().flatten().map(|uid| concern(&uid));
    let concern = concern.max_by_key(Concern::narrowness).unwrap_or(Concern::Everybody);
    Sorted { policy, sight, acts, concern }
}

fn concern(uid: &EntityUid) -> Concern {
    let id = uid.id().unescaped();
    match uid.type_name().basename() {
        "App" => Concern::App(id.to_owned()),
        "Workflow" => Concern::App(id.split_once('/').map_or(id, |(app, _)| app).to_owned()),
        "Owner" => Concern::Owner(id.to_owned()),
        _ => Concern::Everybody,
    }
}

impl Concern {
    /// Where both ends of the head name somebody, the narrower one says whose slice it is: the other can only add to it.
    fn narrowness(&self) -> u8 {
        match self {
            Concern::Everybody => 0,
            Concern::Owner(_) => 1,
            Concern::App(_) => 2,
        }
    }
}
