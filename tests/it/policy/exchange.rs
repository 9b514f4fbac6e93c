//! Tokens for people: who may have one, what it allows at most, how long it lives, and the mistakes of `[exchange]`.

use std::time::Duration;

use vestibule::domain::principal::{Environment, Possession, Subject};
use vestibule::domain::refusal::{Reason, Refusal};
use vestibule::domain::scope::{Action, Scope, Scopes};
use vestibule::policy::{
    ExchangePermit, ExchangeRequest, PolicySet, Wanted, check, decide_derivation, decide_exchange,
};

use super::{Files, anna, base, load, then, write};

const EXCHANGE: &str = r#"[exchange]
workflow = "page"
issuers = ["company"]
clients = ["menus-page"]
roles = ["cook", "waiter"]
actions = ["write", "read"]
max_ttl = "5m"
"#;

const ROLES: &str = "[roles]\ncook = \"Cooks\"\nwaiter = \"Serves\"\n";

fn files(exchange: &str) -> Files {
    let mut files = base();
    files.get_mut("apps/menus.toml").unwrap().push_str(exchange);
    files.get_mut("classifications.toml").unwrap().push_str(ROLES);
    files
}

fn cook() -> Subject {
    Subject { role: Some("cook".parse().unwrap()), ..anna() }
}

fn wish(wanted: Wanted) -> ExchangeRequest {
    ExchangeRequest { environment: Environment::Live, wanted, ttl: Duration::from_secs(900), possession: None }
}

fn ask(set: &PolicySet, who: &Subject, wish: &ExchangeRequest) -> Result<ExchangePermit, Refusal> {
    decide_exchange(set, who, &"menus".parse().unwrap(), wish, &then())
}

fn scopes(texts: &[&str]) -> Vec<Scope> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn refused(answer: Result<ExchangePermit, Refusal>, reason: Reason, rule: &str) -> Refusal {
    let refusal = answer.unwrap_err();
    assert_eq!((refusal.reason, refusal.rule.as_deref()), (reason, Some(rule)), "{refusal}");
    refusal
}

#[test]
fn a_person_gets_the_apps_target_its_actions_and_its_place() {
    let set = load(&files(EXCHANGE));
    let permit = ask(&set, &cook(), &wish(Wanted::Everything)).unwrap();
    assert_eq!(
        permit.scopes.to_list(),
        "storage:images:menus:write:prefix=/uploads/ storage:images:menus:read:prefix=/uploads/"
    );
    assert_eq!((permit.workflow.as_str(), permit.owner.as_str()), ("page", "marketing"));
    assert_eq!(permit.ttl, Duration::from_secs(300), "the manifest's");
    assert_eq!(&*permit.rule, "apps/menus.toml, base.cedar:1 within-the-manifests");

    let test = ExchangeRequest { environment: Environment::Test, ..wish(Wanted::Actions(vec![Action::Read])) };
    let permit = ask(&set, &cook(), &test).unwrap();
    assert_eq!(permit.scopes.to_list(), "storage:images-test:menus:read:prefix=/uploads/");

    let narrower = wish(Wanted::Scopes(scopes(&["storage:images:menus:read:prefix=/uploads/anna/"])));
    let permit = ask(&set, &cook(), &ExchangeRequest { ttl: Duration::from_secs(7), ..narrower }).unwrap();
    assert_eq!(permit.scopes.to_list(), "storage:images:menus:read:prefix=/uploads/anna/");
    assert_eq!(permit.ttl, Duration::from_secs(7), "what was asked for");
}

#[test]
fn a_place_of_ones_own_is_in_the_scope_and_dates_are_not() {
    let forms =
        "[exchange]\nworkflow = \"page\"\nissuers = [\"company\"]\nclients = [\"forms\"]\nactions = [\"read\"]\n";
    let mut files = base();
    let manifest = files.get_mut("apps/forms.toml").unwrap();
    *manifest = manifest.replace("forms/{user}/", "forms/{user}/{yyyy}/{mm}/") + forms;
    let set = load(&files);
    let ask = |user: &str| {
        let who = Subject { user: user.to_owned(), ..anna() };
        decide_exchange(&set, &who, &"forms".parse().unwrap(), &wish(Wanted::Everything), &then())
    };
    assert_eq!(ask("anna").unwrap().scopes.to_list(), "storage:clinic:forms:read:prefix=/forms/anna/");
    assert_eq!(ask("anna b").unwrap().scopes.to_list(), "storage:clinic:forms:read:prefix=/forms/anna%20b/");
    for user in ["../anna", "..", "anna/../paul", "auth0|1", "a\\b", "a*"] {
        refused(ask(user), Reason::ExchangeNotAllowed, "apps/forms.toml:4 prefix");
    }
}

#[test]
fn what_is_asked_for_lies_within_or_is_refused_with_what_is_allowed() {
    let set = load(&files(EXCHANGE));
    for wider in [
        "storage:images:menus:delete:prefix=/uploads/",
        "storage:images:menus:read",
        "storage:images:menus:read:prefix=/upload",
        "storage:images:menus:*:prefix=/uploads/",
        "storage:*:menus:read:prefix=/uploads/",
        "storage:images-test:menus:read:prefix=/uploads/",
        "storage:clinic:forms:read:prefix=/uploads/",
    ] {
        let asked = scopes(&["storage:images:menus:read:prefix=/uploads/x/", wider]);
        let answer = ask(&set, &cook(), &wish(Wanted::Scopes(asked)));
        let refusal = refused(answer, Reason::ScopeNotGranted, "apps/menus.toml:33 exchange.actions");
        assert!(refusal.detail.contains(&format!("'{wider}")), "{}", refusal.detail);
        assert_eq!(refusal.allowed.unwrap().len(), 2);
    }
    let delete = ask(&set, &cook(), &wish(Wanted::Actions(vec![Action::Read, Action::Delete])));
    refused(delete, Reason::ScopeNotGranted, "apps/menus.toml:33 exchange.actions");
}

#[test]
fn app_role_environment_and_cedar_are_all_asked() {
    let set = load(&files(EXCHANGE));
    let everything = wish(Wanted::Everything);
    for role in [None, Some("guest".parse().unwrap())] {
        let refusal = refused(
            ask(&set, &Subject { role, ..anna() }, &everything),
            Reason::ExchangeNotAllowed,
            "apps/menus.toml:32 exchange.roles",
        );
        assert_eq!(refusal.allowed.unwrap(), ["cook", "waiter"]);
    }
    let forms = decide_exchange(&set, &cook(), &"forms".parse().unwrap(), &everything, &then());
    refused(forms, Reason::ExchangeNotAllowed, "apps/forms.toml exchange");
    let nothing = decide_exchange(&set, &cook(), &"nothing".parse().unwrap(), &everything, &then());
    refused(nothing, Reason::AppUnknown, "apps");

    let mut off = files(EXCHANGE);
    off.get_mut("apps/menus.toml").unwrap().insert_str(0, "enabled = false\n");
    refused(ask(&load(&off), &cook(), &everything), Reason::AppDisabled, "apps/menus.toml:1 enabled");

    let mut live = files(EXCHANGE);
    let manifest = live.get_mut("apps/menus.toml").unwrap();
    *manifest = manifest.replace("test_target = \"images-test\"\n", "");
    let test = ExchangeRequest { environment: Environment::Test, ..everything.clone() };
    refused(ask(&load(&live), &cook(), &test), Reason::EnvironmentMismatch, "apps/menus.toml test_target");

    let mut bound = files(EXCHANGE);
    bound.get_mut("apps/menus.toml").unwrap().insert_str(0, "proof_of_possession = \"mtls\"\n");
    let set = load(&bound);
    let dpop = ExchangeRequest { possession: Some(Possession::Dpop), ..everything.clone() };
    let rule = "apps/menus.toml:1 proof_of_possession";
    refused(ask(&set, &cook(), &everything), Reason::ProofOfPossessionRequired, rule);
    refused(ask(&set, &cook(), &dpop), Reason::ProofOfPossessionRequired, rule);
    assert!(ask(&set, &cook(), &ExchangeRequest { possession: Some(Possession::MutualTls), ..dpop }).is_ok());

    let mut guarded = files(EXCHANGE);
    let policy = "@id(\"g\") forbid (principal, action == Action::\"exchange\", resource)\n\
                  when { context.seconds > 200 && context.actions.contains(\"write\") && !context.proofOfPossession };\n";
    guarded.insert("guards.cedar".into(), policy.into());
    let set = load(&guarded);
    refused(ask(&set, &cook(), &everything), Reason::DeniedByPolicy, "guards.cedar:1 g");
    assert!(ask(&set, &cook(), &ExchangeRequest { possession: Some(Possession::Dpop), ..everything.clone() }).is_ok());
    assert!(ask(&set, &cook(), &ExchangeRequest { ttl: Duration::from_secs(200), ..everything }).is_ok());
    assert!(ask(&set, &cook(), &wish(Wanted::Actions(vec![Action::Read]))).is_ok());
}

#[test]
fn a_class_may_shorten_the_tokens_of_its_apps() {
    let mut short = files(EXCHANGE);
    let classes = short.get_mut("classifications.toml").unwrap();
    *classes = classes.replace("[personal]\n", "[personal]\nmax_token_ttl = \"2m\"\n");
    let permit = ask(&load(&short), &cook(), &wish(Wanted::Everything)).unwrap();
    assert_eq!(permit.ttl, Duration::from_secs(120));
}

#[test]
fn a_workflow_narrows_its_own_and_never_widens_it() {
    let set = load(&files(EXCHANGE));
    let own: Scopes = scopes(&["storage:*:menus:read:prefix=/uploads/", "storage:images:menus:write"]).into();
    let ask = |wanted| decide_derivation(&set, None, &"menus".parse().unwrap(), &wish(wanted), &own, &then());
    let (same, ttl, rule) = ask(Wanted::Everything).unwrap();
    assert_eq!((same, ttl, &*rule), (own.clone(), Duration::from_secs(300), "apps/menus.toml"));
    let (read, ..) = ask(Wanted::Actions(vec![Action::Read, Action::Write])).unwrap();
    assert_eq!(read.to_list(), "storage:images:menus:read:prefix=/uploads/ storage:images:menus:write");
    for wider in ["storage:*:menus:write", "storage:images:menus:read", "storage:images:forms:read:prefix=/uploads/"] {
        let refusal = ask(Wanted::Scopes(scopes(&[wider]))).unwrap_err();
        assert_eq!(
            (refusal.reason, refusal.rule.as_deref()),
            (Reason::ScopeNotGranted, Some("token scopes")),
            "{wider}"
        );
    }
    assert_eq!(ask(Wanted::Actions(vec![Action::List])).unwrap_err().reason, Reason::ScopeNotGranted);
}

#[test]
fn mistakes_of_the_table_are_named_with_their_place() {
    for (from, to, place, message) in [
        ("workflow = \"page\"\n", "", "apps/menus.toml:28:2", "key 'workflow' is missing in [exchange]"),
        ("[\"company\"]", "[]", "apps/menus.toml:30:11", "'issuers' is empty"),
        ("[\"company\"]", "[\"Company\"]", "apps/menus.toml:30:12", "'issuers' cannot be 'Company'"),
        ("[\"menus-page\"]", "[\"menus page\"]", "apps/menus.toml:31:12", "1 to 200 visible ASCII characters"),
        ("\"waiter\"", "\"waitre\"", "apps/menus.toml:32:18", "did you mean 'waiter'?"),
        ("[\"cook\", \"waiter\"]", "[]", "apps/menus.toml:32:9", "leave the key out for everybody"),
        ("[\"write\", \"read\"]", "[\"write\", \"own\"]", "apps/menus.toml:33:21", "possible values are: write, read"),
        ("\"5m\"", "\"16m\"", "apps/menus.toml:34:11", "1m to 15m"),
        ("\"5m\"", "\"59s\"", "apps/menus.toml:34:11", "1m to 15m"),
        ("max_ttl", "max_tll", "apps/menus.toml:34:1", "did you mean 'max_ttl'?"),
    ] {
        let broken = EXCHANGE.replace(from, to);
        assert_ne!(broken, EXCHANGE, "{from}");
        let printed = check(write(&files(&broken)).path()).to_string();
        assert!(printed.contains(place) && printed.contains(message), "{from} → {to}\n{printed}");
    }
    let mut dated = files(EXCHANGE);
    let manifest = dated.get_mut("apps/menus.toml").unwrap();
    *manifest = manifest.replace("\"uploads/\"", "\"uploads/{yyyy}/{user}/\"");
    let printed = check(write(&dated).path()).to_string();
    assert!(printed.contains("apps/menus.toml:28:2: people cannot have tokens of an app whose prefix"), "{printed}");
}
