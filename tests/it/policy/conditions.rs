//! `conditions` of a manifest: what they let through, how they refuse, and which of them can never hold.

use vestibule::domain::grant::UploadMethod;
use vestibule::domain::principal::{Environment, Principal, Subject};
use vestibule::domain::refusal::{Reason, Refusal};
use vestibule::policy::{PolicySet, UploadRequest, decide_upload};

use super::{CLASSES, Files, MENUS, anna, base, load, menus, methods, request, then, who, write};

/// The base set with these conditions in the twelfth line of the manifest, and two roles.
fn with(conditions: &str) -> Files {
    let mut files = base();
    files.insert("classifications.toml".into(), format!("{CLASSES}[roles]\ncook = \"Cooks\"\nwaiter = \"Serves\"\n"));
    let text = MENUS.replace("methods = [\"PUT\"]", "methods = [\"PUT\", \"POST\"]");
    let text = text.replace("download_ttl", &format!("conditions = {conditions}\ndownload_ttl"));
    files.insert("apps/menus.toml".into(), text);
    files
}

fn upload(set: &PolicySet, who: &Principal, change: impl FnOnce(&mut UploadRequest)) -> Result<(), Refusal> {
    let mut request = request();
    change(&mut request);
    decide_upload(set, who, &request, methods, &then()).map(|_| ())
}

fn png(request: &mut UploadRequest) {
    request.content_type = "image/png".parse().unwrap();
    request.filename = "a.png".to_owned().try_into().unwrap();
}

#[test]
fn an_upload_meets_one_of_the_conditions_or_hears_what_does_not_fit_in_the_nearest() {
    let set = load(&with(
        r#"["size < 50kB and content-type is image/jpeg", "size >= 100kB and content-type is image/png and path starts with /uploads/menus/"]"#,
    ));
    assert_eq!(upload(&set, &menus(), |_| {}), Ok(()));
    let large = |request: &mut UploadRequest| {
        png(request);
        request.size = 200_000;
        request.path = Some("uploads/menus/today/".parse().unwrap());
    };
    assert_eq!(upload(&set, &menus(), large), Ok(()));
    let refusal = upload(&set, &menus(), |request| request.size = 50_000).unwrap_err();
    assert_eq!(
        (refusal.reason, refusal.rule.as_deref()),
        (Reason::ConditionNotMet, Some("apps/menus.toml:12 conditions"))
    );
    assert_eq!(
        refusal.detail,
        "size is 50 kB, and not 'size < 50kB'; app 'menus' takes an upload that meets one of its conditions, and this is \
         the nearest: 'size < 50kB and content-type is image/jpeg'"
    );
    assert_eq!(refusal.allowed.unwrap().len(), 2);
    let refusal = upload(&set, &menus(), |request| {
        large(request);
        request.path = None;
    });
    assert!(refusal.unwrap_err().detail.starts_with("path is /uploads/, and not 'path starts with /uploads/menus/'; "));
}

#[test]
fn conditions_narrow_and_never_widen() {
    let set = load(&with(r#"["size < 4GB and content-type is one of image/jpeg, image/png"]"#));
    for (change, reason) in [
        ((|r| r.size = (10 << 20) + 1) as fn(&mut UploadRequest), Reason::SizeNotAllowed),
        (|r| r.content_type = "text/csv".parse().unwrap(), Reason::TypeNotAllowed),
        (|r| r.path = Some("other/".parse().unwrap()), Reason::PathNotAllowed),
    ] {
        assert_eq!(upload(&set, &menus(), change).unwrap_err().reason, reason);
    }
}

#[test]
fn every_field_can_decide() {
    let mut cook = menus();
    cook.subject = Some(Subject { role: Some("cook".parse().unwrap()), ..anna() });
    let trial = who("menus", Environment::Test, &["storage:*:menus:*"]);
    let mut other = menus();
    other.workflow = "weekly".parse().unwrap();
    let plain = |_: &mut UploadRequest| {};
    let (none, jpeg): (Option<&Principal>, _) = (None, menus());
    type Change = fn(&mut UploadRequest);
    type Asked<'a> = (Option<&'a Principal>, Change);
    // Condition, and what meets it and what does not.
    let cases: [(&str, Asked<'_>, Asked<'_>); 12] = [
        ("size <= 48213 B", (none, plain), (none, |r| r.size += 1)),
        ("size > 48213 B", (none, |r| r.size += 1), (none, plain)),
        ("size >= 48213 B", (none, plain), (none, |r| r.size -= 1)),
        ("size = 48213 B", (none, plain), (none, |r| r.size -= 1)),
        ("content-type is not image/png", (none, plain), (none, png)),
        ("extension is one of jpg, png", (none, png), (none, |r| r.filename = "a.jpeg".to_owned().try_into().unwrap())),
        (
            "classification is internal",
            (none, plain),
            (none, |r| {
                (r.classification, r.lawful_basis) = (Some("personal".parse().unwrap()), Some("consent".into()));
            }),
        ),
        ("method is PUT", (none, plain), (none, |r| r.method = UploadMethod::Post)),
        ("environment is live", (none, plain), (Some(&trial), plain)),
        ("workflow is not weekly", (none, plain), (Some(&other), plain)),
        ("role is one of cook, waiter", (Some(&cook), plain), (none, plain)),
        // Nobody's role is no role: such a request meets neither this nor its opposite.
        ("role is not waiter", (Some(&cook), plain), (none, plain)),
    ];
    for (condition, met, unmet) in cases {
        let set = load(&with(&format!("[\"{condition}\"]")));
        assert_eq!(upload(&set, met.0.unwrap_or(&jpeg), met.1), Ok(()), "{condition}");
        let refusal = upload(&set, unmet.0.unwrap_or(&jpeg), unmet.1).unwrap_err();
        assert_eq!(refusal.reason, Reason::ConditionNotMet, "{condition}: {}", refusal.detail);
        assert!(refusal.detail.contains(condition), "{condition}: {}", refusal.detail);
    }
}

#[test]
fn a_condition_that_is_wrong_or_can_never_hold_is_a_mistake_at_its_place() {
    for (conditions, place, part) in [
        ("[]", "12:14", "'conditions' is empty"),
        ("7", "12:14", "is a number, not a list"),
        (r#"["siez < 10MB"]"#, "12:16", "'conditions' begins a term with 'siez', no field; did you mean 'size'?"),
        (r#"["size < 10MB and content-typ is image/png"]"#, "12:32", "did you mean 'content-type'?"),
        (r#"['method is PUT', "size < 10"]"#, "12:40", "powers of 1024"),
        (r#"["""size < 10MB or size > 20MB"""]"#, "12:30", "a condition of its own in the list"),
        (
            r#"["content-type is text/csv"]"#,
            "12:32",
            "is never 'text/csv' in this app; its values are: image/jpeg, image/png",
        ),
        (r#"["content-type is one of image/png, image/jpg"]"#, "12:50", "did you mean 'image/jpeg'?"),
        (r#"["extension is pdf"]"#, "12:29", "is never 'pdf' in this app"),
        (r#"["classification is interna"]"#, "12:34", "did you mean 'internal'?"),
        (r#"["role is cok"]"#, "12:24", "did you mean 'cook'?"),
        (r#"["path starts with /other/"]"#, "12:33", "the app's files lie under '/uploads/'"),
        (r#"["size > 10MiB"]"#, "12:15", "its files have at most 10 MiB"),
        (r#"["size > 1MiB and content-type is image/png"]"#, "12:15", "its files have at most 1 MiB"),
        (r#"["size < 1kB and size > 2kB"]"#, "12:15", "no upload of this app can meet"),
        (r#"["content-type is image/png and extension is jpg"]"#, "12:15", "its terms exclude each other"),
        (r#"["method is PUT and method is POST"]"#, "12:15", "its terms exclude each other"),
    ] {
        let mistakes = PolicySet::load(write(&with(conditions)).path()).unwrap_err();
        let told: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        let place = format!("apps/menus.toml:{place}:");
        assert!(
            told.iter().any(|one| one.starts_with(&place) && one.contains(part)),
            "{conditions}: {part}: {told:#?}"
        );
    }
    // An escape moves what follows; the condition's own place is named then.
    let mistakes = PolicySet::load(write(&with(r#"["size \u003c 10MB and x"]"#)).path()).unwrap_err();
    assert_eq!((mistakes[0].line, mistakes[0].column), (12, 15), "{mistakes:?}");
}
