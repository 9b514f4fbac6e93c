//! What the parts of Cedar's side must keep: questions fit the schema, slices and remembered answers change no answer.

use cedar_policy::{Entities, Request, Schema};
use proptest::prelude::*;

use super::ask::{Act, Asked, Asker, Fact, Question};
use super::{Answer, Owners, Rules, SCHEMA, entities, evaluate, read};
use crate::domain::admin::AdminRoles;
use crate::domain::ids::{AppName, ClassName, ObjectId, OwnerName};
use crate::domain::principal::{Environment, Operator, Principal, Subject};
use crate::domain::target::{ProviderSettings, Target};
use crate::policy::mistake::Report;
use crate::policy::reader::File;

fn name<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().expect("a valid name")
}

fn rules(text: &str, apps: &Owners<'_>) -> Rules {
    let report = Report::default();
    let file = File { name: "test.cedar", text, report: &report };
    let classes = vec!["public", "internal", "regulated"];
    let named = read::Named { apps, targets: vec!["images"], classes, roles: vec!["clinician", "cook"] };
    let rules = read::read(&[&file], &named);
    rules.unwrap_or_else(|| panic!("{:#?}", report.into_parts()))
}

/// Everything that a question is made of, owned.
#[derive(Clone, Debug)]
struct Facts {
    act: Act,
    app: AppName,
    owner: OwnerName,
    principal: Principal,
    operator: Operator,
    class: ClassName,
    path: String,
    id: Option<ObjectId>,
    target: Target,
    size: u64,
    content_type: String,
    lawful_basis: Option<String>,
    source: Option<std::net::IpAddr>,
    now: jiff::Timestamp,
}

impl Facts {
    fn ask<T>(&self, then: impl FnOnce(&Question<'_>) -> T) -> T {
        let mut context = vec![("time", Fact::Moment(self.now)), ("proofOfPossession", Fact::Flag(false))];
        context.extend(self.source.map(|address| ("sourceAddress", Fact::Address(address))));
        let what = [("size", Fact::Number(self.size)), ("contentType", Fact::Text(&self.content_type))];
        let basis = self.lawful_basis.as_deref().map(|basis| ("lawfulBasis", Fact::Text(basis)));
        match self.act {
            Act::Upload => context.extend(what.into_iter().chain([("method", Fact::Text("PUT"))]).chain(basis)),
            Act::Download => {
                let how = [("oneTime", Fact::Flag(false)), ("inline", Fact::Flag(true))];
                context.extend(what.into_iter().chain(how).chain(basis));
            }
            Act::List => context.push(("prefix", Fact::Text(&self.path))),
            Act::Delete => context.extend(what),
            Act::Exchange => context.extend([("actions", Fact::Words(&["read"])), ("seconds", Fact::Number(300))]),
            Act::Release => context.extend(what.into_iter().chain([("state", Fact::Text("quarantined"))])),
        }
        let object = Asked::Object {
            id: self.id,
            owner: &self.owner,
            owner_region: Some("eu"),
            target: Some(&self.target),
            environment: Environment::Live,
            region: "eu",
            classification: &self.class,
            path: &self.path,
        };
        let (who, asked) = match self.act {
            Act::Release => (Asker::Operator(&self.operator), object),
            Act::Exchange => match &self.principal.subject {
                Some(person) => (Asker::Person(person), Asked::App),
                None => (Asker::Operator(&self.operator), Asked::App),
            },
            Act::List => (Asker::Workflow(&self.principal), Asked::App),
            _ => (Asker::Workflow(&self.principal), object),
        };
        then(&Question {
            act: self.act,
            who,
            app: &self.app,
            owner: &self.owner,
            region: Some("eu"),
            asked,
            context: &context,
        })
    }
}

fn facts() -> impl Strategy<Value = Facts> {
    let person = proptest::option::of(("[ab]", proptest::option::of("clinician|cook"), any::<bool>()));
    let who = (prop::sample::select(vec!["menus", "forms", "gone"]), "[xy]", person);
    let what = ("public|internal|regulated", "[pq]/", proptest::option::of(0..3_u8), 0..3_u64, "image/png|text/csv");
    let how = (proptest::option::of("consent|contract"), proptest::option::of(0..3_u8), 0..3_i64);
    (prop::sample::select(Act::ALL.to_vec()), who, what, how).prop_map(
        |(act, (app, workflow, person), (class, path, id, size, content_type), (basis, source, hour))| {
            let subject = person.map(|(user, role, attested)| Subject {
                user,
                role: role.map(|role| name(&role)),
                project: None,
                device: None,
                device_attested: attested,
            });
            let owner = if app == "forms" { "clinic" } else { "marketing" };
            let mut principal =
                Principal { app: name(app), workflow: name(&workflow), subject, ..Principal::example() };
            principal.owner = name(owner);
            Facts {
                act,
                app: name(app),
                owner: name(owner),
                operator: Operator {
                    token: None,
                    name: "rita".to_owned(),
                    targets: vec![],
                    roles: AdminRoles::admin(),
                },
                principal,
                class: name(&class),
                path,
                id: id.map(|id| ObjectId::from_uuid(uuid::Uuid::from_u128(id.into()))),
                target: Target {
                    name: name("images"),
                    environment: Environment::Live,
                    residency: "eu".into(),
                    staging_prefix: name("incoming/"),
                    staging_bucket: None,
                    provider: ProviderSettings::Embedded { bucket: "images".into() },
                    credentials: None,
                    retention: None,
                },
                size,
                content_type,
                lawful_basis: basis,
                source: source.map(|last| std::net::IpAddr::from([10, 0, 0, last])),
                now: jiff::Timestamp::from_second(1_795_000_000 + hour * 3600).expect("a time"),
            }
        },
    )
}

/// Policies that read every kind of fact, by every way in which it can be read.
const MANY: &str = r#"
@id("all") permit (principal, action, resource);
@id("menus-only") forbid (principal in App::"menus", action == Action::"upload", resource)
  when { context.size == 2 };
@id("workflow") forbid (principal == Workflow::"forms/x", action, resource);
@id("clinic") forbid (principal, action in [Action::"upload", Action::"download"], resource in Owner::"clinic")
  unless { principal has user && principal.user has role && principal.user.role == "clinician" };
@id("escaped") forbid (principal, action == Action::"upload", resource)
  when { context["content\u{54}ype"] == "text/csv" && context.size == 1 };
@id("basis") forbid (principal, action == Action::"download", resource)
  when { context has lawfulBasis && context.lawfulBasis == "contract" };
@id("same-owner") forbid (principal is Workflow, action == Action::"delete", resource)
  unless { principal.owner == resource.owner && resource in principal.app };
@id("address") forbid (principal, action == Action::"list", resource)
  when { context has sourceAddress && context.sourceAddress.isInRange(ip("10.0.0.2/32")) };
@id("device") forbid (principal is User, action == Action::"exchange", resource) unless { principal.deviceAttested };
@id("state") forbid (principal, action == Action::"release", resource)
  when { resource.classification == "regulated" && context.state == "quarantined" };
"#;
const WITH_PATH: &str =
    r#"@id("path") forbid (principal, action, resource is Object) when { resource.path like "q*" };"#;
const WITH_TIME: &str = r#"@id("time") forbid (principal, action, resource)
  when { context.time > datetime("2026-11-18T11:30:00Z") };"#;
const WITH_OBJECT: &str =
    r#"@id("object") forbid (principal, action, resource == Object::"obj_00000000000000000000000000000001");"#;
const WHOLE: &str = r#"@id("whole") forbid (principal, action == Action::"list", resource)
  when { context == {"prefix": "p/"} };"#;
const MANY_READ: &str = r#"forbid (principal, action == Action::"list", resource)
  when { context.prefix == "p/" && context["prefix"] like "p*" && context has sourceAddress };"#;

/// Asks for ancestors that no policy names.
const CLIMBS: &str = r#"@id("all") permit (principal, action, resource);
@id("climbs") forbid (principal, action == Action::"list", resource)
  when { principal in resource && context.prefix like "p*" };
@id("is-in") forbid (principal, action == Action::"upload", resource)
  when { resource is Object in principal.app && context.size == 2 };"#;

fn sets() -> Vec<String> {
    let mut sets: Vec<String> = [WITH_PATH, WITH_TIME, WITH_OBJECT].map(|more| format!("{MANY}{more}")).into();
    sets.extend([MANY, CLIMBS].map(str::to_owned));
    sets
}

#[test]
fn what_is_remembered_is_what_would_be_said_and_slices_leave_out_nothing_that_counts() {
    let (menus, forms, marketing, clinic): (AppName, AppName, OwnerName, OwnerName) =
        (name("menus"), name("forms"), name("marketing"), name("clinic"));
    let apps = [(&menus, &marketing), (&forms, &clinic)];
    for text in sets() {
        let rules = rules(&text, &apps);
        // Every policy in one slice: no app is registered, so that nothing could be sorted away but by action.
        let whole: cedar_policy::PolicySet = text.parse().expect("policies");
        let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
            cases: 1500,
            failure_persistence: None,
            ..ProptestConfig::default()
        });
        let allowed = std::cell::Cell::new((0, 0));
        let property = |facts: Facts| {
            facts.ask(|question| {
                let said = rules.decide(question, None);
                let slice = rules.slices.of(question.app, question.act);
                let anew = evaluate(slice, question, None);
                prop_assert!(same_result(&said, &anew, question.act), "{said:?} {anew:?}");
                let (request, entities) = entities::build(question, &entities::View::whole()).expect("a question");
                let response = cedar_policy::Authorizer::new().is_authorized(&request, &whole, &entities);
                let allows = response.decision() == cedar_policy::Decision::Allow;
                prop_assert_eq!(said.is_ok(), allows);
                let (yes, no) = allowed.get();
                allowed.set(if allows { (yes + 1, no) } else { (yes, no + 1) });
                Ok(())
            })
        };
        runner.run(&facts(), property).expect("the property holds");
        assert!(allowed.get().0 > 100 && allowed.get().1 > 100, "{:?}: the property proves little", allowed.get());
    }
}

fn same_result(said: &Result<std::sync::Arc<str>, crate::domain::refusal::Refusal>, anew: &Answer, act: Act) -> bool {
    let anew = anew.clone().into_result(act);
    match (said, anew) {
        (Ok(one), Ok(other)) => *one == other,
        (Err(one), Err(other)) => one.rule == other.rule && one.detail == other.detail,
        _ => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_question_fits_the_schema(facts in facts()) {
        let (schema, _) = Schema::from_cedarschema_str(SCHEMA).expect("the schema is valid");
        // An exchange without a person is no question that anybody puts.
        prop_assume!(facts.act != Act::Exchange || facts.principal.subject.is_some());
        facts.ask(|question| {
            let (request, entities) = entities::build(question, &entities::View::whole()).expect("a question");
            let parts = (request.principal().cloned(), request.action().cloned(), request.resource().cloned());
            let (Some(principal), Some(action), Some(resource)) = parts else { panic!("a whole request") };
            let context = request.context().cloned().expect("a context");
            Request::new(principal, action, resource, context, Some(&schema)).expect("the request fits");
            Entities::from_entities(entities.iter().cloned(), Some(&schema)).expect("the entities fit");
        });
    }
}

#[test]
fn a_comparison_with_the_whole_context_makes_everything_seen() {
    // Strict validation refuses it today, since a part of every context may be absent; nothing here relies on that.
    for (text, seen) in [(WHOLE, true), (MANY_READ, false)] {
        let mut sight = super::sight::Sight::default();
        let policy = cedar_policy::Policy::parse(None, text).expect("a policy");
        sight.add(&policy, &policy.to_json().expect("its JSON form"));
        assert_eq!(sight.names("contentType"), seen, "{text}");
    }
    assert!(!super::sight::Sight::default().names("time"));
}

#[test]
fn what_names_a_single_object_is_never_remembered_and_what_names_their_type_is() {
    let (menus, marketing) = (name("menus"), name("marketing"));
    let sight_of = |text: &str| {
        let rules = rules(text, &[(&menus, &marketing)]);
        let operator = Operator { token: None, name: "rita".into(), targets: vec![], roles: AdminRoles::admin() };
        let (who, asked) = (Asker::Operator(&operator), Asked::App);
        let question =
            Question { act: Act::List, who, app: &menus, owner: &marketing, region: None, asked, context: &[] };
        rules.slices.of(&menus, Act::List).sight.key(1, &question).is_some()
    };
    assert!(sight_of(WITH_PATH) && sight_of(WITH_TIME));
    assert!(!sight_of(WITH_OBJECT));
    let inside = r#"@id("x") forbid (principal, action, resource) when { resource in Object::"new" };"#;
    assert!(!sight_of(inside));
}

#[test]
fn a_slice_holds_what_concerns_its_app_and_action_however_many_others_there_are() {
    let names: Vec<(AppName, OwnerName)> = (0..50).map(|at| (name(&format!("app-{at}")), name("marketing"))).collect();
    let apps: Vec<_> = names.iter().map(|(app, owner)| (app, owner)).collect();
    let mut text = String::from("@id(\"all\") permit (principal, action, resource);\n");
    for at in 0..50 {
        text += &format!("@id(\"a{at}\") forbid (principal in App::\"app-{at}\", action, resource);\n");
        text += &format!(
            "@id(\"u{at}\") forbid (principal, action == Action::\"upload\", resource in App::\"app-{at}\");\n"
        );
    }
    text += "@id(\"o\") forbid (principal in Owner::\"marketing\", action == Action::\"list\", resource);\n";
    let rules = rules(&text, &apps);
    assert_eq!(Act::ALL.map(|act| rules.count(&names[7].0, act)), [3, 2, 3, 2, 2, 2]);
    assert_eq!(Act::ALL.map(|act| rules.count(&name("gone"), act)), [1, 1, 2, 1, 1, 1]);
}
