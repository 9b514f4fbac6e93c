//! A question as Cedar's request and entities: exactly what `vestibule.cedarschema` describes.
//!
//! Built only where no answer is remembered. A test holds every question against the schema.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use cedar_policy::{Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, Request, RestrictedExpression};

use super::ask::{Act, Asked, Asker, Fact, Question};
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

type Attributes = HashMap<String, RestrictedExpression>;

fn text(value: &str) -> RestrictedExpression {
    RestrictedExpression::new_string(value.to_owned())
}

fn attributes<const N: usize>(pairs: [(&str, RestrictedExpression); N]) -> Attributes {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn entity(uid: EntityUid, attributes: Attributes, parents: &[&EntityUid]) -> Result<Entity, Failure> {
    Ok(Entity::new(uid, attributes, parents.iter().map(|parent| (*parent).clone()).collect::<HashSet<_>>())?)
}

/// The request and every entity that it touches.
pub(super) fn build(question: &Question<'_>) -> Result<(Request, Entities), Failure> {
    let (owner, app) = (uid(&TYPES.owner, question.owner.as_str()), uid(&TYPES.app, question.app.as_str()));
    let refer = |uid: &EntityUid| RestrictedExpression::new_entity_uid(uid.clone());
    let region = question.region.map(|region| ("region".to_owned(), text(region)));
    let mut entities = Vec::with_capacity(7);
    entities.push(entity(app.clone(), attributes([("owner", refer(&owner))]), &[&owner])?);
    entities.push(entity(owner.clone(), region.into_iter().collect(), &[])?);

    let user = user(question, &mut entities)?;
    let principal = match question.who {
        Asker::Workflow(principal) => {
            let workflow = uid(&TYPES.workflow, &format!("{}/{}", principal.app, principal.workflow));
            let mut own = attributes([
                ("app", refer(&app)),
                ("owner", refer(&owner)),
                ("environment", text(principal.environment.as_str())),
            ]);
            own.extend(user.as_ref().map(|user| ("user".to_owned(), refer(user))));
            entities.push(entity(workflow.clone(), own, &[&app])?);
            workflow
        }
        Asker::Operator(_) | Asker::Person(_) => user.ok_or("nobody asks")?,
    };
    let resource = match question.asked {
        Asked::App => app.clone(),
        Asked::Object { id, owner: charged, target, environment, region, classification, path } => {
            let charged = uid(&TYPES.owner, charged.as_str());
            if charged != owner {
                entities.push(entity(charged.clone(), Attributes::new(), &[])?);
            }
            let place = uid(&TYPES.target, target.map_or("", |target| target.name.as_str()));
            entities.push(entity(place.clone(), target_attributes(target), &[])?);
            let object = uid(&TYPES.object, id.map(|id| id.text()).as_ref().map_or("new", |id| id.as_str()));
            let own = attributes([
                ("app", refer(&app)),
                ("owner", refer(&charged)),
                ("target", refer(&place)),
                ("environment", text(environment.as_str())),
                ("region", text(region)),
                ("classification", text(classification.as_str())),
                ("path", text(path)),
            ]);
            entities.push(entity(object.clone(), own, &[&app, &place])?);
            object
        }
    };
    let context = question.context.iter().map(|(name, fact)| ((*name).to_owned(), value(fact)));
    let action = ACTIONS[question.act as usize].clone();
    let request = Request::new(principal, action, resource, Context::from_pairs(context)?, None)?;
    Ok((request, Entities::from_entities(entities, None)?))
}

/// The person who asks or stands behind the workflow.
fn user(question: &Question<'_>, entities: &mut Vec<Entity>) -> Result<Option<EntityUid>, Failure> {
    let flag = RestrictedExpression::new_bool;
    let (id, own) = match (question.who, question.person()) {
        (Asker::Operator(operator), _) => {
            (operator.name.as_str(), attributes([("role", text("operator")), ("deviceAttested", flag(false))]))
        }
        (_, Some(person)) => {
            let optional = [
                ("role", person.role.as_ref().map(|role| role.as_str())),
                ("projectId", person.project.as_deref()),
                ("device", person.device.as_deref()),
            ];
            let known = optional.into_iter().filter_map(|(name, value)| Some((name.to_owned(), text(value?))));
            let attested = ("deviceAttested".to_owned(), flag(person.device_attested));
            (person.user.as_str(), known.chain([attested]).collect())
        }
        (_, None) => return Ok(None),
    };
    let user = uid(&TYPES.user, id);
    entities.push(entity(user.clone(), own, &[])?);
    Ok(Some(user))
}

/// A target that is no longer configured has empty attributes: no comparison with a real one holds.
fn target_attributes(target: Option<&Target>) -> Attributes {
    let provider = target.map(|target| match target.provider {
        ProviderSettings::S3 { .. } => "s3",
        ProviderSettings::Azure { .. } => "azure",
        ProviderSettings::Embedded { .. } => "embedded",
    });
    attributes([
        ("environment", text(target.map_or("", |target| target.environment.as_str()))),
        ("region", text(target.map_or("", |target| &target.residency))),
        ("provider", text(provider.unwrap_or_default())),
    ])
}

fn value(fact: &Fact<'_>) -> RestrictedExpression {
    match fact {
        Fact::Text(value) => text(value),
        Fact::Number(value) => RestrictedExpression::new_long(i64::try_from(*value).unwrap_or(i64::MAX)),
        Fact::Flag(value) => RestrictedExpression::new_bool(*value),
        Fact::Words(words) => RestrictedExpression::new_set(words.iter().map(|word| text(word))),
        Fact::Address(address) => RestrictedExpression::new_ip(address.to_string()),
        // Cedar's datetime has milliseconds and a fixed form (RFC 80 of Cedar).
        Fact::Moment(time) => RestrictedExpression::new_datetime(time.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()),
    }
}
