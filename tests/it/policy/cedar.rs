//! Cedar's last word: what it denies, how it says so, and which mistakes a directory may not have.

use vestibule::domain::admin::AdminRoles;
use vestibule::domain::grant::UploadPermit;
use vestibule::domain::principal::{Environment, Operator, Subject};
use vestibule::domain::refusal::{Reason, Refusal};
use vestibule::domain::scope::Action;
use vestibule::policy::{
    Circumstances, DownloadRequest, ExchangeRequest, PolicySet, Wanted, check, decide_download, decide_exchange,
    decide_list, decide_on_object, decide_review, decide_upload,
};

use super::{Files, anna, base, examples, load, menus, methods, now, object, request, then, who, write};

fn with(policies: &str) -> Files {
    let mut files = base();
    files.insert("guards.cedar".into(), policies.into());
    files
}

fn upload(
    set: &PolicySet,
    change: impl FnOnce(&mut vestibule::policy::UploadRequest),
) -> Result<UploadPermit, Refusal> {
    let mut request = request();
    change(&mut request);
    decide_upload(set, &menus(), &request, methods, &then())
}

#[test]
fn what_the_manifest_allows_a_policy_may_forbid_and_says_which_one() {
    let set = load(&with(
        "// A comment.\n\n@id(\"no-large-nights\")\n@message(\"Photos above 40 KB wait for the day; ask again after 06:00.\")\n\
         forbid (principal, action == Action::\"upload\", resource)\nwhen { context.size > 40000 };\n",
    ));
    let refusal = upload(&set, |_| {}).unwrap_err();
    assert_eq!(refusal.reason, Reason::DeniedByPolicy);
    assert_eq!(refusal.rule.as_deref(), Some("guards.cedar:3 no-large-nights"));
    assert_eq!(refusal.detail, "Photos above 40 KB wait for the day; ask again after 06:00.");
    let permit = upload(&set, |request| request.size = 40_000).unwrap();
    assert_eq!(&*permit.rule, "apps/menus.toml, base.cedar:1 within-the-manifests");
}

#[test]
fn nothing_is_permitted_where_no_policy_permits_it() {
    let mut files = base();
    files.insert(
        "base.cedar".into(),
        "@id(\"lists\") permit (principal, action == Action::\"list\", resource);\n".into(),
    );
    let set = load(&files);
    let refusal = upload(&set, |_| {}).unwrap_err();
    assert_eq!((refusal.reason, refusal.rule.as_deref()), (Reason::DeniedByPolicy, Some("no policy permits upload")));
    assert!(refusal.detail.contains("no policy of your platform team permits this upload"), "{}", refusal.detail);
    assert!(decide_list(&set, &menus(), &"uploads/".parse().unwrap(), &then()).is_ok());
}

#[test]
fn a_policy_that_cannot_be_evaluated_denies_even_where_it_would_be_skipped() {
    // Strict validation proves types, not the absence of overflows.
    for effect in ["forbid", "permit"] {
        let text = format!(
            "@id(\"overflow\") {effect} (principal, action == Action::\"upload\", resource)\n\
             when {{ context.size * 9223372036854775807 < 0 }};\n"
        );
        let refusal = upload(&load(&with(&text)), |_| {}).unwrap_err();
        assert_eq!(refusal.reason, Reason::DeniedByPolicy, "{effect}");
        assert_eq!(refusal.rule.as_deref(), Some("guards.cedar:1 overflow (could not be evaluated)"));
        assert!(refusal.detail.contains("could not be evaluated"), "{}", refusal.detail);
    }
}

#[test]
fn every_attribute_of_the_schema_can_decide() {
    let person = Subject {
        role: Some("clinician".parse().unwrap()),
        project: Some("p-7".into()),
        device: Some("laptop-1".into()),
        device_attested: true,
        ..anna()
    };
    let mut asker = menus();
    asker.subject = Some(person);
    let circumstances = Circumstances { now: now(), source: Some("10.1.2.3".parse().unwrap()) };
    let mut request = request();
    request.lawful_basis = Some("consent".into());
    // Each holds for this request, so that a forbid on it denies.
    let conditions = [
        "principal.app == App::\"menus\"",
        "principal.owner == Owner::\"marketing\"",
        "principal.environment == \"live\"",
        "principal has user && principal.user == User::\"anna\"",
        "principal has user && principal.user has projectId && principal.user.projectId == \"p-7\"",
        "principal has user && principal.user has device && principal.user.device like \"laptop-*\"",
        "principal has user && principal.user.deviceAttested",
        "principal in App::\"menus\"",
        "principal in Owner::\"marketing\"",
        "resource in Target::\"images\"",
        "resource.app == principal.app && resource.owner == principal.owner",
        "resource.target.environment == \"live\" && resource.target.provider == \"s3\"",
        "resource.target.region == \"eu\" && resource.region == \"eu\" && resource.environment == \"live\"",
        "resource.classification == \"internal\"",
        "resource.path like \"uploads/*\"",
        "context.size == 48213",
        "context.contentType == \"image/jpeg\"",
        "context.method == \"PUT\"",
        "context has lawfulBasis && context.lawfulBasis == \"consent\"",
        "context has sourceAddress && context.sourceAddress.isInRange(ip(\"10.0.0.0/8\"))",
        "context.time.toTime() == duration(\"20h\") && context.time < datetime(\"2026-11-21T20:00:00.001Z\")",
        "!context.proofOfPossession",
    ];
    for condition in conditions {
        let policy = |condition: &str| {
            format!("@id(\"x\") forbid (principal, action == Action::\"upload\", resource) when {{ {condition} }};\n")
        };
        let set = load(&with(&policy(condition)));
        let refusal = decide_upload(&set, &asker, &request, methods, &circumstances).unwrap_err();
        assert_eq!(refusal.rule.as_deref(), Some("guards.cedar:1 x"), "{condition}");
        let set = load(&with(&policy(&format!("!({condition})"))));
        assert!(decide_upload(&set, &asker, &request, methods, &circumstances).is_ok(), "not {condition}");
    }
}

#[test]
fn each_action_is_asked_about() {
    let operator = Operator { token: None, name: "rita".into(), targets: vec![], roles: AdminRoles::admin() };
    let (object, plain, prefix) = (object(), DownloadRequest::default(), "uploads/".parse().unwrap());
    let token = ExchangeRequest {
        environment: Environment::Live,
        wanted: Wanted::Everything,
        ttl: std::time::Duration::from_secs(300),
        possession: None,
    };
    for action in ["upload", "download", "list", "delete", "exchange", "release"] {
        let mut files = with(&format!("@id(\"none\") forbid (principal, action == Action::\"{action}\", resource);\n"));
        files.get_mut("apps/menus.toml").unwrap().push_str(
            "[exchange]\nworkflow = \"page\"\nissuers = [\"company\"]\nclients = [\"page\"]\nactions = [\"read\"]\n",
        );
        let set = load(&files);
        let denied = [
            ("upload", upload(&set, |_| {}).is_err()),
            ("download", decide_download(&set, &menus(), &object, &plain, &then()).is_err()),
            ("list", decide_list(&set, &menus(), &prefix, &then()).is_err()),
            ("list", decide_on_object(&set, &menus(), &object, Action::Read, &then()).is_err()),
            ("delete", decide_on_object(&set, &menus(), &object, Action::Delete, &then()).is_err()),
            ("delete", decide_review(&set, &operator, &object, false, &then()).is_err()),
            ("release", decide_review(&set, &operator, &object, true, &then()).is_err()),
            ("exchange", decide_exchange(&set, &anna(), &object.app, &token, &then()).is_err()),
        ];
        assert_eq!(denied, denied.map(|(name, _)| (name, name == action)), "{action}");
    }
}

#[test]
fn a_policy_of_another_app_changes_nothing_for_this_one() {
    let set = load(&with("@id(\"forms-off\") forbid (principal in App::\"forms\", action, resource);\n"));
    assert!(upload(&set, |_| {}).is_ok());
    let mut pdf = request();
    (pdf.content_type, pdf.filename) = ("application/pdf".parse().unwrap(), "a.pdf".to_owned().try_into().unwrap());
    let mut forms = who("forms", Environment::Live, &["storage:*:forms:*"]);
    forms.subject = Some(anna());
    assert_eq!(
        decide_upload(&set, &forms, &pdf, methods, &then()).unwrap_err().rule.as_deref(),
        Some("guards.cedar:1 forms-off")
    );
}

/// A policy file, where its first mistake is, and what the message says.
const BROKEN: &[(&str, &str, &str)] = &[
    ("@id(\"a\")\npermit (principal, action, resource)\n", "guards.cedar:", "unexpected end of input"),
    ("@id(\"a\") permit (principal, action, resource) when { context.sise > 1 };\n", "guards.cedar:1:", "sise"),
    (
        "\n@id(\"a\") permit (principal is Workflow, action, resource) when { principal.user.role == \"cook\" };\n",
        "guards.cedar:2:",
        "role",
    ),
    ("@id(\"a\") permit (principal, action == Action::\"uplaod\", resource);\n", "guards.cedar:1:", "uplaod"),
    (
        "@id(\"a\") forbid (principal in App::\"menu\", action, resource);\n",
        "guards.cedar:1:1:",
        "did you mean 'menus'?",
    ),
    (
        "@id(\"a\") forbid (principal in Owner::\"marketting\", action, resource);\n",
        "guards.cedar:1:1:",
        "did you mean 'marketing'?",
    ),
    (
        "@id(\"a\") forbid (principal, action, resource in Target::\"image\");\n",
        "guards.cedar:1:1:",
        "the target 'image', which is not there",
    ),
    (
        "@id(\"a\") forbid (principal == Workflow::\"nightly\", action, resource);\n",
        "guards.cedar:1:1:",
        "without its app",
    ),
    (
        "@id(\"a\") forbid (principal, action, resource is Object) when { resource.classification == \"intern\" };\n",
        "guards.cedar:1:1:",
        "compares 'classification' with 'intern', which it never is",
    ),
    (
        "@id(\"a\") forbid (principal, action, resource is Object) when { [\"swiss\", \"privat\"].contains(resource.classification) };\n",
        "guards.cedar:1:1:",
        "'privat'",
    ),
    ("permit (principal, action, resource);\n", "guards.cedar:1:1:", "the policy has no name; write @id("),
    ("@id(\"A B\") permit (principal, action, resource);\n", "guards.cedar:1:1:", "'A B' is no name"),
    (
        "@id(\"within-the-manifests\")\npermit (principal, action, resource);\n",
        "guards.cedar:1:1:",
        "the name of another policy too (base.cedar:1 within-the-manifests)",
    ),
    ("@id(\"a\") permit (principal == ?principal, action, resource);\n", "guards.cedar:1:1:", "a template"),
];

#[test]
fn a_mistake_is_named_with_its_place_and_nothing_of_the_directory_is_used() {
    for (text, place, message) in BROKEN {
        let mistakes = PolicySet::load(write(&with(text)).path()).unwrap_err();
        let first = mistakes.iter().find(|mistake| mistake.file == "guards.cedar").unwrap_or_else(|| panic!("{text}"));
        let printed = first.to_string();
        assert!(printed.starts_with(place) && printed.contains(message), "{text}\n{printed}");
    }
}

#[test]
fn a_directory_without_a_policy_is_refused_and_says_which_one_to_write() {
    let mut files = base();
    files.remove("base.cedar");
    let mistakes = PolicySet::load(write(&files).path()).unwrap_err();
    assert_eq!(mistakes.len(), 1, "{mistakes:?}");
    assert!(mistakes[0].remedy.contains("permit (principal, action, resource);"), "{}", mistakes[0]);
}

#[test]
fn a_policy_that_can_never_apply_and_another_schema_are_remarked_on() {
    let mut files = with("@id(\"never\") forbid (principal is User, action == Action::\"upload\", resource);\n");
    files.insert("vestibule.cedarschema".into(), "entity App;".into());
    let report = check(write(&files).path());
    assert!(report.is_good(), "{report}");
    assert!(report.notes.iter().any(|note| note.starts_with("guards.cedar:1: ")), "{:?}", report.notes);
    assert!(report.notes.iter().any(|note| note.contains("vestibule policy schema")), "{:?}", report.notes);
}

#[test]
fn the_example_set_carries_the_schema_of_this_program() {
    let report = check(&examples());
    assert!(report.is_good() && report.notes.is_empty(), "{report}");
}
