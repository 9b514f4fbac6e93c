//! Regulated data: all five of app, workflow, person, lawful basis and place, and classes that are narrower than their apps.

mod mistakes;

use std::time::Duration;

use proptest::prelude::*;
use vestibule::domain::object::Object;
use vestibule::domain::principal::{Environment, Principal, Subject};
use vestibule::domain::refusal::{Reason, Refusal};
use vestibule::domain::scope::Action;
use vestibule::policy::{
    DownloadRequest, PolicySet, UploadRequest, decide_download, decide_on_object, decide_upload, known_basis, may_see,
};

use super::{CLASSES, Files, OWNERS, anna, base, examples, load, methods, object, request, then, who};

const CARE_CLASSES: &str = r#"[care]
regulated = true
roles = ["clinician", "nurse"]
residency = ["eu", "ch"]
lawful_basis = ["consent", "vital-interests"]
scanner = "clamav"
max_size = "2 MB"
types = ["application/pdf"]
max_upload_ttl = "4m"
max_download_ttl = "90s"
[roles]
clinician = "Treats patients"
nurse = "Cares for patients"
cook = "Cooks for patients"
"#;

const CARE: &str = r#"app = "care"
owner = "ward"
target = "images"
test_target = "images-test"
prefix = "care/"
types = ["application/pdf", "text/csv"]
max_size = "10 MiB"
classifications = ["internal", "care"]
upload_ttl = "4m"
download_ttl = "2m"
[quota]
bytes = "1 GiB"
objects = 1000
[workflows.intake]
classifications = ["care", "internal"]
[workflows.export]
classifications = ["internal"]
"#;

fn care() -> Files {
    let mut files = base();
    files.insert("classifications.toml".into(), format!("{CLASSES}{CARE_CLASSES}"));
    files.insert("owners.toml".into(), format!("{OWNERS}[ward]\nregion = \"eu\"\n"));
    files.insert("apps/care.toml".into(), CARE.into());
    files
}

fn person(role: Option<&str>) -> Subject {
    Subject { role: role.map(|role| role.parse().unwrap()), device_attested: true, ..anna() }
}

/// Somebody of whom everything is right.
fn nurse() -> Principal {
    let mut nurse = who("care", Environment::Live, &["storage:*:care:*"]);
    (nurse.workflow, nurse.subject) = ("intake".parse().unwrap(), Some(person(Some("nurse"))));
    nurse
}

fn form() -> UploadRequest {
    let mut form = request();
    (form.content_type, form.filename) = ("application/pdf".parse().unwrap(), "f.pdf".to_owned().try_into().unwrap());
    (form.classification, form.lawful_basis) = (Some("care".parse().unwrap()), Some("consent".into()));
    form
}

fn stored() -> Object {
    let mut stored = object();
    (stored.app, stored.owner) = ("care".parse().unwrap(), "ward".parse().unwrap());
    (stored.classification, stored.lawful_basis) = ("care".parse().unwrap(), Some("consent".into()));
    stored.content_type = "application/pdf".parse().unwrap();
    stored
}

fn download(set: &PolicySet, who: &Principal, object: &Object) -> Result<Option<String>, Refusal> {
    decide_download(set, who, object, &DownloadRequest::default(), &then()).map(|permit| permit.lawful_basis)
}

/// Names neither workflows nor roles that the asker does not hold.
fn assert_discreet(refusal: &Refusal, allowed: bool) {
    assert!(refusal.detail.contains("ask ") && refusal.detail.chars().count() <= 300, "{}", refusal.detail);
    assert!(!refusal.detail.contains("nurse") && !refusal.detail.contains("clinician"), "{}", refusal.detail);
    assert!(allowed || refusal.allowed.is_none(), "{refusal:?}");
}

#[test]
fn a_workflow_must_be_named_for_the_class_and_its_person_must_have_a_role() {
    let set = load(&care());
    assert!(decide_upload(&set, &nurse(), &form(), methods, &then()).is_ok());
    assert_eq!(download(&set, &nurse(), &stored()).unwrap().as_deref(), Some("consent"));
    let changed = |change: fn(&mut Principal)| {
        let mut principal = nurse();
        change(&mut principal);
        principal
    };
    let (workflow, user) = (Reason::WorkflowNotAuthorised, Reason::UserNotAuthorised);
    let cases = [
        (changed(|p| p.workflow = "nightly".parse().unwrap()), workflow, "apps/care.toml:14 workflows", "'nightly'"),
        (
            changed(|p| p.workflow = "export".parse().unwrap()),
            workflow,
            "apps/care.toml:16 workflows.export",
            "'export'",
        ),
        (changed(|p| p.subject = None), user, "classifications.toml:18 roles", "acts for no person"),
        (changed(|p| p.subject = Some(person(None))), user, "classifications.toml:18 roles", "has no role"),
        (changed(|p| p.subject = Some(person(Some("cook")))), user, "classifications.toml:18 roles", "the role 'cook'"),
    ];
    for (principal, reason, rule, part) in cases {
        let of_upload = decide_upload(&set, &principal, &form(), methods, &then()).unwrap_err();
        let of_download = download(&set, &principal, &stored()).unwrap_err();
        let acts = [Action::Read, Action::Delete];
        let of_object = acts.map(|act| decide_on_object(&set, &principal, &stored(), act, &then()).unwrap_err());
        for refusal in [of_upload, of_download].into_iter().chain(of_object) {
            assert_eq!((refusal.reason, refusal.rule.as_deref()), (reason, Some(rule)), "{}", refusal.detail);
            assert!(refusal.detail.contains(part), "{part}: {}", refusal.detail);
            assert_discreet(&refusal, rule.ends_with("export"));
        }
        assert!(!may_see(&set, &principal, &stored(), &then()), "no list shows it");
    }
    assert!(may_see(&set, &nurse(), &stored(), &then()));
    for act in [Action::Read, Action::Delete] {
        assert!(decide_on_object(&set, &nurse(), &stored(), act, &then()).is_ok());
    }
}

#[test]
fn a_lawful_basis_is_given_by_the_upload_and_may_be_another_for_a_download() {
    let set = load(&care());
    for basis in [None, Some("contract"), Some("because")] {
        let mut form = form();
        form.lawful_basis = basis.map(str::to_owned);
        let refusal = decide_upload(&set, &nurse(), &form, methods, &then()).unwrap_err();
        assert_eq!(refusal.reason, Reason::LawfulBasisRequired);
        let lawful_basis = basis.and_then(known_basis);
        let request = DownloadRequest { lawful_basis, ..DownloadRequest::default() };
        let mut without = stored();
        without.lawful_basis = None;
        let refusal = decide_download(&set, &nurse(), &without, &request, &then()).unwrap_err();
        assert_eq!(refusal.reason, Reason::LawfulBasisRequired, "{basis:?}");
    }
    let other = DownloadRequest { lawful_basis: Some("vital-interests"), ..DownloadRequest::default() };
    let permit = decide_download(&set, &nurse(), &stored(), &other, &then()).unwrap();
    assert_eq!(permit.lawful_basis.as_deref(), Some("vital-interests"));
    // Erasing needs none.
    let mut without = stored();
    without.lawful_basis = None;
    assert!(decide_on_object(&set, &nurse(), &without, Action::Delete, &then()).is_ok());
}

#[test]
fn the_data_lies_in_the_region_of_the_owner_or_is_not_handed_out() {
    let set = load(&care());
    let mut abroad = stored();
    abroad.residency = "ch".into();
    let refusal = download(&set, &nurse(), &abroad).unwrap_err();
    assert_eq!(
        (refusal.reason, refusal.rule.as_deref(), refusal.allowed.as_deref()),
        (Reason::ResidencyMismatch, Some("owners.toml:7 region"), Some(&["eu".to_owned()][..]))
    );
    assert!(refusal.detail.contains("'eu'; it would lie in 'ch'"), "{}", refusal.detail);
    assert!(
        decide_on_object(&set, &nurse(), &abroad, Action::Delete, &then()).is_ok(),
        "what lies wrong can be erased"
    );
}

#[test]
fn an_app_that_no_longer_lists_the_class_hands_nothing_of_it_out() {
    let mut files = care();
    let text = CARE
        .replace("[\"internal\", \"care\"]", "[\"internal\"]")
        .replace("[\"care\", \"internal\"]", "[\"internal\"]");
    files.insert("apps/care.toml".into(), text);
    let set = load(&files);
    assert_eq!(download(&set, &nurse(), &stored()).unwrap_err().reason, Reason::ClassificationNotAllowed);
    assert!(!may_see(&set, &nurse(), &stored(), &then()));
}

#[test]
fn a_table_of_a_workflow_narrows_what_it_stores_of_other_classes_too() {
    let mut files = care();
    files.insert("apps/care.toml".into(), CARE.replace("[\"care\", \"internal\"]", "[\"care\"]"));
    let set = load(&files);
    let mut plain = form();
    (plain.classification, plain.lawful_basis) = (Some("internal".parse().unwrap()), None);
    let refusal = decide_upload(&set, &nurse(), &plain, methods, &then()).unwrap_err();
    assert_eq!((refusal.reason, refusal.allowed), (Reason::WorkflowNotAuthorised, Some(vec!["care".to_owned()])));
    // A workflow without a table stores what is not regulated, for whomever.
    let other = who("care", Environment::Live, &["storage:*:care:*"]);
    assert!(decide_upload(&set, &other, &plain, methods, &then()).is_ok());
    let mut internal = stored();
    internal.classification = "internal".parse().unwrap();
    assert!(download(&set, &nurse(), &internal).is_ok(), "it narrows what is stored");
}

#[test]
fn the_narrower_of_app_and_class_decides_and_is_named() {
    let set = load(&care());
    let mut large = form();
    large.size = 2_000_001;
    let refusal = decide_upload(&set, &nurse(), &large, methods, &then()).unwrap_err();
    assert_eq!(
        (refusal.reason, refusal.limit, refusal.rule.as_deref()),
        (Reason::SizeNotAllowed, Some(2_000_000), Some("classifications.toml:22 max_size"))
    );
    assert!(refusal.detail.contains("files of 'care' data of up to 2000000 bytes (2 MB)"), "{}", refusal.detail);
    // Already at the app's own limit the class's is told: what would be refused next is known now.
    large.size = 20 << 20;
    assert_eq!(decide_upload(&set, &nurse(), &large, methods, &then()).unwrap_err().limit, Some(2_000_000));
    large.classification = Some("internal".parse().unwrap());
    let refusal = decide_upload(&set, &nurse(), &large, methods, &then()).unwrap_err();
    assert_eq!((refusal.limit, refusal.rule.as_deref()), (Some(10 << 20), Some("apps/care.toml:7 max_size")));

    let mut table = form();
    (table.content_type, table.filename) = ("text/csv".parse().unwrap(), "f.csv".to_owned().try_into().unwrap());
    let refusal = decide_upload(&set, &nurse(), &table, methods, &then()).unwrap_err();
    assert_eq!(
        (refusal.reason, refusal.rule.as_deref(), refusal.allowed),
        (Reason::TypeNotAllowed, Some("classifications.toml:23 types"), Some(vec!["application/pdf".to_owned()]))
    );
    assert_eq!(decide_upload(&set, &nurse(), &form(), methods, &then()).unwrap().ttl, Duration::from_secs(240));
    let permit = decide_download(&set, &nurse(), &stored(), &DownloadRequest::default(), &then()).unwrap();
    assert_eq!(permit.ttl, Duration::from_secs(90));
}

#[test]
fn no_decision_is_wider_than_its_class_and_none_on_regulated_data_lacks_one_of_five() {
    let sets = [load(&care()), PolicySet::load(&examples()).unwrap()];
    let choose = |words: &'static [&'static str]| proptest::option::weighted(0.8, prop::sample::select(words));
    let strategy = (
        prop::sample::select(vec![(0, "care"), (0, "menus"), (1, "clinic-forms"), (1, "finance-invoices")]),
        prop::sample::select(vec!["intake", "intake", "intake", "export", "nightly"]),
        choose(&["clinician", "clinician", "nurse", "cook"]),
        choose(&["consent", "vital-interests", "legitimate-interests"]),
        choose(&["care", "care", "regulated", "regulated", "internal", "confidential"]),
        prop::sample::select(vec![
            ("a.pdf", "application/pdf"),
            ("a.pdf", "application/pdf"),
            ("a.csv", "text/csv"),
            ("a.json", "application/json"),
        ]),
        prop_oneof![4 => 1..3_000_000_u64, 1 => any::<u64>()],
        prop::sample::select(vec!["eu", "eu", "ch"]),
    );
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 4000,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let regulated = std::cell::Cell::new((0, 0));
    let outcome = runner.run(&strategy, |((index, app), workflow, role, basis, class, kind, size, place)| {
        let set = &sets[index];
        let mut who = who(app, Environment::Live, &[&format!("storage:*:{app}:*")]);
        who.workflow = workflow.parse().unwrap();
        who.subject = role.map(|role| person(Some(role)));
        let mut form = form();
        (form.filename, form.content_type) = (kind.0.to_owned().try_into().unwrap(), kind.1.parse().unwrap());
        form.classification = class.map(|class| class.parse().unwrap());
        (form.size, form.lawful_basis) = (size, basis.map(str::to_owned));
        let app = set.app(&who.app).unwrap();
        let region = set.owner(&app.owner).and_then(|owner| owner.region.as_deref());
        let five = |name: &vestibule::domain::ids::ClassName, basis: Option<&str>, place: &str| {
            let class = set.class(name).unwrap();
            !class.regulated
                || (app.classifications.contains(name)
                    && workflow == "intake"
                    && role.is_some_and(|role| class.roles.iter().any(|own| own.as_str() == role))
                    && basis.is_some_and(|basis| class.lawful_basis.iter().any(|own| own == basis))
                    && region == Some(place))
        };
        if let Ok(permit) = decide_upload(set, &who, &form, methods, &then()) {
            let class = set.class(&permit.classification).unwrap();
            prop_assert!(class.max_size.is_none_or(|most| size <= most) && class.takes(&form.content_type));
            prop_assert!(class.max_upload_ttl.is_none_or(|most| permit.ttl <= most));
            prop_assert!(class.may_reside_in(&permit.residency));
            prop_assert!(five(&class.name, basis, &permit.residency), "{permit:?}");
            let (uploads, downloads) = regulated.get();
            regulated.set((uploads + usize::from(class.regulated), downloads));
        }
        let mut stored = stored();
        (stored.app, stored.target) = (who.app.clone(), app.target_for(Environment::Live).unwrap().clone());
        stored.classification = class.unwrap_or("internal").parse().unwrap();
        (stored.residency, stored.lawful_basis) = (place.into(), basis.map(str::to_owned));
        if set.class(&stored.classification).is_none() {
            return Ok(());
        }
        if let Ok(permit) = decide_download(set, &who, &stored, &DownloadRequest::default(), &then()) {
            let class = set.class(&stored.classification).unwrap();
            prop_assert!(class.max_download_ttl.is_none_or(|most| permit.ttl <= most));
            prop_assert!(permit.one_time || !class.one_time_downloads);
            prop_assert!(five(&class.name, permit.lawful_basis.as_deref(), place), "{permit:?}");
            prop_assert!(may_see(set, &who, &stored, &then()));
            let (uploads, downloads) = regulated.get();
            regulated.set((uploads, downloads + usize::from(class.regulated)));
        }
        Ok(())
    });
    outcome.unwrap();
    let (uploads, downloads) = regulated.get();
    assert!(uploads > 20 && downloads > 20, "{uploads} and {downloads} of 4,000: the property proves little");
}
