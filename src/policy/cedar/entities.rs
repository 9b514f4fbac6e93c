//! A question as Cedar's request and entities: exactly what `vestibule.cedarschema` describes.
//!
//! Built only where no answer is remembered, and only what the slice can see. A test holds every question against the
//! schema, and answers against those that the whole question gets.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use cedar_policy::{Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, Request, RestrictedExpression};

use super::ask::{Act, Asked, Asker, Fact, Question};
use super::sight::Sight;
use crate::domain::target::{ProviderSettings, Target};

/// Why a question could not be put.
pub(super) type Failure = Box<dyn std::error::Error>;

/// The entity types of the schema.
struct Types {
    owner: EntityTypeName,
    app: EntityTypeName,
    workflow: EntityTypeName,
    user: EntityTypeName,
    target: EntityTypeName,
    object: EntityTypeName,
    action: EntityTypeName,
}

#[allow(clippy::expect_used, reason = "literals; a test reads them")]
static TYPES: LazyLock<Types> = LazyLock::new(|| {
    let name = |text: &str| text.parse().expect("a valid type name");
    Types {
        owner: name("Owner"),
        app: name("App"),
        workflow: name("Workflow"),
        user: name("User"),
        target: name("Target"),
        object: name("Object"),
        action: name("Action"),
    }
});

static ACTIONS: LazyLock<[EntityUid; 6]> = LazyLock::new(|| Act::ALL.map(|act| uid(&TYPES.action, act.as_str())));

fn uid(kind: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id))
}

/// What is put before a slice: only what it can see, since nothing else can change its answer (see [`super::sight`]).
pub(super) struct View<'s>(Option<&'s Sight>);

impl<'s> View<'s> {
    /// Everything that the schema promises.
    #[cfg(test)]
    pub(super) fn whole() -> Self {
        Self(None)
    }

    /// What this slice can see.
    pub(super) fn of(sight: &'s Sight) -> Self {
        Self(Some(sight))
    }

    fn sees(&self, name: &str) -> bool {
        self.0.is_none_or(|sight| sight.names(name))
    }

    fn climbs(&self, kind: &str, attribute: &str) -> bool {
        self.0.is_none_or(|sight| sight.climbs(kind, attribute))
    }

    /// The attributes that are seen.
    fn attributes<const N: usize>(&self, pairs: [(&str, Lazy<'_>); N]) -> Attributes {
        let seen = pairs.into_iter().filter(|(name, _)| self.sees(name));
        seen.map(|(name, value)| (name.to_owned(), value.into())).collect()
    }
}

type Attributes = HashMap<String, RestrictedExpression>;

/// A value that is made only where it is seen.
#[derive(Clone, Copy)]
enum Lazy<'a> {
    Text(&'a str),
    Flag(bool),
    Entity(&'a EntityUid),
}

impl From<Lazy<'_>> for RestrictedExpression {
    fn from(value: Lazy<'_>) -> Self {
        match value {
            Lazy::Text(value) => text(value),
            Lazy::Flag(value) => RestrictedExpression::new_bool(value),
            Lazy::Entity(uid) => RestrictedExpression::new_entity_uid(uid.clone()),
        }
    }
}

fn text(value: &str) -> RestrictedExpression {
    RestrictedExpression::new_string(value.to_owned())
}

fn entity<'p>(
    uid: &EntityUid,
    attributes: Attributes,
    parents: impl IntoIterator<Item = &'p EntityUid>,
) -> Result<Entity, Failure> {
    Ok(Entity::new(uid.clone(), attributes, parents.into_iter().cloned().collect::<HashSet<_>>())?)
}

/// The request and every entity that it touches.
pub(super) fn build(question: &Question<'_>, view: &View<'_>) -> Result<(Request, Entities), Failure> {
    let (owner, app) = (uid(&TYPES.owner, question.owner.as_str()), uid(&TYPES.app, question.app.as_str()));
    let mut entities = Vec::with_capacity(7);
    // A parent that no policy names, by its type or as an attribute, is no parent of anything that counts.
    let owners = view.climbs("Owner", "owner");
    let apps = owners || view.climbs("App", "app");
    if owners {
        let region = question.region.filter(|_| view.sees("region")).map(|region| ("region".to_owned(), text(region)));
        entities.push(entity(&owner, region.into_iter().collect(), [])?);
    }
    if apps {
        entities.push(entity(&app, view.attributes([("owner", Lazy::Entity(&owner))]), owners.then_some(&owner))?);
    }
    let user = user(question, view, &mut entities)?;
    let principal = match question.who {
        Asker::Workflow(principal) => {
            let workflow = uid(&TYPES.workflow, &format!("{}/{}", principal.app, principal.workflow));
            let mut own = view.attributes([
                ("app", Lazy::Entity(&app)),
                ("owner", Lazy::Entity(&owner)),
                ("environment", Lazy::Text(principal.environment.as_str())),
            ]);
            if let Some(user) = &user {
                own.extend(view.attributes([("user", Lazy::Entity(user))]));
            }
            entities.push(entity(&workflow, own, apps.then_some(&app))?);
            workflow
        }
        Asker::Operator(_) | Asker::Person(_) => user.ok_or("nobody asks")?,
    };
    let resource = match question.asked {
        Asked::App => app,
        Asked::Object { .. } => object(question, view, (&app, &owner), apps, &mut entities)?,
    };
    let seen = question.context.iter().filter(|(name, _)| view.sees(name));
    let context = Context::from_pairs(seen.map(|(name, fact)| ((*name).to_owned(), value(fact))))?;
    let request = Request::new(principal, ACTIONS[question.act as usize].clone(), resource, context, None)?;
    Ok((request, Entities::from_entities(entities, None)?))
}

/// The object that is asked about, and the target that it lies in.
fn object(
    question: &Question<'_>,
    view: &View<'_>,
    (app, answers): (&EntityUid, &EntityUid),
    in_app: bool,
    entities: &mut Vec<Entity>,
) -> Result<EntityUid, Failure> {
    let Asked::Object { id, owner, owner_region, target, environment, region, classification, path } = question.asked
    else {
        return Err("no object is asked about".into());
    };
    let charged = uid(&TYPES.owner, owner.as_str());
    if charged != *answers && view.sees("owner") {
        let own = owner_region.map(|region| view.attributes([("region", Lazy::Text(region))])).unwrap_or_default();
        entities.push(entity(&charged, own, [])?);
    }
    let place = uid(&TYPES.target, target.map_or("", |target| target.name.as_str()));
    let placed = view.climbs("Target", "target");
    if placed {
        entities.push(entity(&place, target_attributes(target, view), [])?);
    }
    let object = uid(&TYPES.object, id.map(|id| id.text()).as_ref().map_or("new", |id| id.as_str()));
    let own = view.attributes([
        ("app", Lazy::Entity(app)),
        ("owner", Lazy::Entity(&charged)),
        ("target", Lazy::Entity(&place)),
        ("environment", Lazy::Text(environment.as_str())),
        ("region", Lazy::Text(region)),
        ("classification", Lazy::Text(classification.as_str())),
        ("path", Lazy::Text(path)),
    ]);
    entities.push(entity(&object, own, in_app.then_some(app).into_iter().chain(placed.then_some(&place)))?);
    Ok(object)
}

/// The person who asks or stands behind the workflow.
fn user(question: &Question<'_>, view: &View<'_>, entities: &mut Vec<Entity>) -> Result<Option<EntityUid>, Failure> {
    let (id, own) = match (question.who, question.person()) {
        (Asker::Operator(operator), _) => {
            let own = [("role", Lazy::Text("operator")), ("deviceAttested", Lazy::Flag(false))];
            (operator.name.as_str(), view.attributes(own))
        }
        (Asker::Workflow(_), Some(_)) if !view.sees("user") => return Ok(None),
        (_, Some(person)) => {
            let mut own = view.attributes([("deviceAttested", Lazy::Flag(person.device_attested))]);
            let optional = [
                ("role", person.role.as_ref().map(|role| role.as_str())),
                ("projectId", person.project.as_deref()),
                ("device", person.device.as_deref()),
            ];
            for (name, value) in optional {
                own.extend(value.map(|value| view.attributes([(name, Lazy::Text(value))])).into_iter().flatten());
            }
            (person.user.as_str(), own)
        }
        (_, None) => return Ok(None),
    };
    let user = uid(&TYPES.user, id);
    entities.push(entity(&user, own, [])?);
    Ok(Some(user))
}

/// A target that is no longer configured has empty attributes: no comparison with a real one holds.
fn target_attributes(target: Option<&Target>, view: &View<'_>) -> Attributes {
    let provider = target.map(|target| match target.provider {
        ProviderSettings::S3 { .. } => "s3",
        ProviderSettings::Azure { .. } => "azure",
        ProviderSettings::Embedded { .. } => "embedded",
    });
    view.attributes([
        ("environment", Lazy::Text(target.map_or("", |target| target.environment.as_str()))),
        ("region", Lazy::Text(target.map_or("", |target| &target.residency))),
        ("provider", Lazy::Text(provider.unwrap_or_default())),
    ])
}

fn value(fact: &Fact<'_>) -> RestrictedExpression {
    match fact {
        Fact::Text(value) => text(value),
        Fact::Number(value) => RestrictedExpression::new_long(i64::try_from(*value).unwrap_or(i64::MAX)),
        Fact::Flag(value) => RestrictedExpression::new_bool(*value),
        Fact::Words(words) => RestrictedExpression::new_set(words.iter().map(|word| text(word))),
        Fact::Address(address) => RestrictedExpression::new_ip(address.to_string()),
        // The form that Cedar reads (docs.cedarpolicy.com, "datetime"), in whole seconds: see `Fact::Moment`.
        Fact::Moment(time) => RestrictedExpression::new_datetime(time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()),
    }
}
