//! What no decision may ever do, whatever is asked: leave the prefix, leave the bounds, cross environments.

use proptest::prelude::*;
use vestibule::domain::filetype::known_extensions;
use vestibule::domain::key::Prefix;
use vestibule::domain::principal::Environment;
use vestibule::policy::{DownloadRequest, PolicySet, UploadRequest, decide_download, decide_upload};

use super::{base, examples, load, methods, now, object, request, then, who};

/// The base set and the example set.
fn sets() -> [PolicySet; 2] {
    [load(&base()), PolicySet::load(&examples()).unwrap()]
}

fn path() -> impl Strategy<Value = Option<Prefix>> {
    let text = prop_oneof![
        2 => "(uploads|forms|invoices|forms/anna)(/[a-c]{1,2}){0,3}/?",
        1 => "(/?(uploads|forms|invoices|incoming|[a-c]{1,2})){0,4}/?",
        1 => "[./a-z%\\\\{}]{0,12}",
    ];
    proptest::option::of(text.prop_filter_map("no path", |text| text.parse().ok()))
}

prop_compose! {
    fn any_request()(
        path in path(),
        size in prop_oneof![4 => 1..2_000_000_u64, 1 => any::<u64>()],
        kind in prop::sample::select(vec![("a.jpg", "image/jpeg"), ("a.png", "image/png"), ("a.pdf", "application/pdf"), ("a.csv", "text/csv"), ("a.json", "application/json")]),
        class in proptest::option::weighted(0.4, prop::sample::select(vec!["internal", "swiss", "regulated", "personal", "public", "confidential"])),
        basis in proptest::option::of(prop::sample::select(vec!["consent", "contract"])),
    ) -> UploadRequest {
        let mut request = request();
        (request.path, request.size) = (path, size);
        request.filename = kind.0.to_owned().try_into().unwrap();
        request.content_type = kind.1.parse().unwrap();
        request.classification = class.map(|class| class.parse().unwrap());
        request.lawful_basis = basis.map(ToOwned::to_owned);
        request
    }
}

#[test]
fn no_decision_leaves_prefix_bounds_or_environment() {
    let sets = sets();
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 3000,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let allowed = std::cell::Cell::new(0);
    let apps = prop::sample::select(vec![
        (0, "menus"),
        (0, "forms"),
        (1, "where2eat"),
        (1, "finance-invoices"),
        (1, "clinic-forms"),
    ]);
    let scopes = prop::sample::select(vec!["", "", ":prefix=/uploads/a/", ":prefix=/forms/"]);
    let strategy = (apps, any::<bool>(), scopes, any::<bool>(), any::<bool>(), any_request());
    let outcome = runner.run(&strategy, |((index, app), test, scope, user, fitting, mut request)| {
        let set = &sets[index];
        let environment = if test { Environment::Test } else { Environment::Live };
        let mut who = who(app, environment, &[&format!("storage:*:{app}:*{scope}")]);
        who.subject = user.then(super::anna);
        if fitting {
            request.content_type = set.app(&who.app).unwrap().types[0].clone();
            let extension = known_extensions(&request.content_type)[0];
            request.filename = format!("a.{extension}").try_into().unwrap();
        }
        let Ok(permit) = decide_upload(set, &who, &request, methods, &then()) else { return Ok(()) };
        allowed.set(allowed.get() + 1);
        let (manifest, class) = (set.app(&who.app).unwrap(), set.class(&permit.classification).unwrap());
        prop_assert!(class.takes(&request.content_type) && class.max_size.is_none_or(|most| request.size <= most));
        prop_assert!(class.max_upload_ttl.is_none_or(|most| permit.ttl <= most));
        let target = set.target(&permit.target).unwrap();
        prop_assert_eq!(target.environment, environment);
        prop_assert!(manifest.prefix.render(&who, now()).unwrap().contains(&permit.prefix));
        prop_assert!(who.scopes[0].prefix.contains(&permit.prefix));
        prop_assert!(!target.staging_prefix.contains(&permit.prefix));
        prop_assert!(set.ttl().upload.admit(permit.ttl) && permit.ttl <= manifest.upload_ttl);
        prop_assert!(manifest.types.contains(&request.content_type) && request.size <= manifest.max_size);
        prop_assert!(class.may_reside_in(&target.residency));
        Ok(())
    });
    outcome.unwrap();
    assert!(allowed.get() > 100, "only {} of 3,000 requests were allowed: the property proves little", allowed.get());
}

#[test]
fn a_download_lives_within_the_bounds_whatever_its_class() {
    let [set, _] = sets();
    for class in set.classes() {
        for one_time in [false, true] {
            let mut object = object();
            object.classification = class.name.clone();
            let request = DownloadRequest { disposition: None, one_time, lawful_basis: None };
            let permit = decide_download(&set, &super::menus(), &object, &request, &then()).unwrap();
            assert!(set.ttl().download.admit(permit.ttl), "{permit:?}");
            assert!(permit.one_time || !(one_time || class.one_time_downloads), "{permit:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_the_reader_panic_or_forget_a_line(text in "\\PC{0,200}|([a-z_]{1,12} = [\"\\[\\]{}a-z0-9, ]{0,20}\n?){0,8}") {
        let mut files = base();
        for name in ["targets.toml", "classifications.toml", "apps/menus.toml"] {
            let old = files.insert(name.to_owned(), text.clone()).unwrap();
            if let Err(mistakes) = PolicySet::load(super::write(&files).path()) {
                prop_assert!(mistakes.iter().all(|mistake| mistake.line >= 1 && mistake.column >= 1));
            }
            files.insert(name.to_owned(), old);
        }
    }
}
