//! Decisions: a case for every refusal, and what a permit holds.

use std::collections::BTreeMap;
use std::time::Duration;

use vestibule::domain::grant::{Disposition, UploadMethod, UploadPermit};
use vestibule::domain::principal::{Environment, Principal, Subject};
use vestibule::domain::quota::{QuotaKind, Quotas};
use vestibule::domain::refusal::{Reason, Refusal};
use vestibule::domain::scope::Action;
use vestibule::policy::{
    DownloadRequest, PolicySet, UploadRequest, content_rules, decide_download, decide_list, decide_on_object,
    decide_upload,
};

use super::{MENUS, base, load, menus, methods, object, request, then, who};

fn upload(set: &PolicySet, who: &Principal, request: &UploadRequest) -> Result<UploadPermit, Refusal> {
    decide_upload(set, who, request, methods, &then())
}

/// Changes the request, and says which reason, rule and part of the detail follow.
type Case = (fn(&mut UploadRequest), Reason, &'static str, &'static str);

#[test]
fn each_rule_of_an_upload_refuses_with_its_reason_line_and_advice() {
    let set = load(&base());
    let cases: &[Case] = &[
        (
            |r| r.path = Some("invoices/".parse().unwrap()),
            Reason::PathNotAllowed,
            "apps/menus.toml:5 prefix",
            "begin it with '/uploads/'",
        ),
        (
            |r| r.path = Some("uploads-2/".parse().unwrap()),
            Reason::PathNotAllowed,
            "apps/menus.toml:5 prefix",
            "'/uploads-2/'",
        ),
        (|r| r.path = Some("/".parse().unwrap()), Reason::PathNotAllowed, "apps/menus.toml:5 prefix", "the path '/'"),
        (
            |r| r.content_type = "application/pdf".parse().unwrap(),
            Reason::TypeNotAllowed,
            "apps/menus.toml:6 types",
            "it takes image/jpeg, image/png",
        ),
        (
            |r| r.filename = "menu.exe".to_owned().try_into().unwrap(),
            Reason::ExtensionMismatch,
            "apps/menus.toml:6 types",
            "ends in .exe",
        ),
        (
            |r| r.size = (10 << 20) + 1,
            Reason::SizeNotAllowed,
            "apps/menus.toml:8 max_size",
            "10485761 bytes (10.0 MiB)",
        ),
        (|r| r.size = 0, Reason::SizeNotAllowed, "apps/menus.toml allow_empty", "the file is empty"),
        (
            |r| r.classification = Some("secret".parse().unwrap()),
            Reason::ClassificationNotAllowed,
            "apps/menus.toml:9 classifications",
            "may not store 'secret' data; use internal, swiss, personal",
        ),
        (
            |r| r.classification = Some("personal".parse().unwrap()),
            Reason::LawfulBasisRequired,
            "classifications.toml:12 lawful_basis",
            "none was sent; send lawfulBasis with one of consent, contract",
        ),
        (|r| r.lawful_basis = Some("because".into()), Reason::InvalidField, "lawful basis", "GDPR Article 6"),
        (
            |r| r.classification = Some("swiss".parse().unwrap()),
            Reason::ResidencyMismatch,
            "classifications.toml:7 residency",
            "must stay in ch",
        ),
        (|r| r.method = UploadMethod::Post, Reason::MethodNotSupported, "apps/menus.toml:13 methods", "use PUT"),
        (
            |r| r.metadata = BTreeMap::from([("Table".into(), "7".into())]),
            Reason::InvalidField,
            "metadata bounds",
            "'Table'",
        ),
        (
            |r| r.metadata = BTreeMap::from([("vestibule-object".into(), "7".into())]),
            Reason::InvalidField,
            "metadata bounds",
            "do not begin",
        ),
        (
            |r| r.metadata = BTreeMap::from([("table".into(), "für 2".into())]),
            Reason::InvalidField,
            "metadata bounds",
            "without accents",
        ),
        (
            |r| r.metadata = BTreeMap::from([("table".into(), "7\r\nx: y".into())]),
            Reason::InvalidField,
            "metadata bounds",
            "'table'",
        ),
        (
            |r| r.metadata = (0..17).map(|i| (format!("k{i}"), String::new())).collect(),
            Reason::InvalidField,
            "metadata bounds",
            "17 entries",
        ),
        (
            |r| r.metadata = BTreeMap::from([("k".into(), "x".repeat(2048))]),
            Reason::InvalidField,
            "metadata bounds",
            "2049 bytes",
        ),
    ];
    for (change, reason, rule, part) in cases {
        let mut request = request();
        change(&mut request);
        let refusal = upload(&set, &menus(), &request).unwrap_err();
        assert_eq!((refusal.reason, refusal.rule.as_deref()), (*reason, Some(*rule)), "{}", refusal.detail);
        assert!(refusal.detail.contains(part), "{part:?} is not in {:?}", refusal.detail);
    }
}

#[test]
fn a_refusal_carries_what_would_be_accepted() {
    let set = load(&base());
    let mut wrong = request();
    wrong.content_type = "application/pdf".parse().unwrap();
    let refusal = upload(&set, &menus(), &wrong).unwrap_err();
    assert_eq!(refusal.allowed.unwrap(), ["image/jpeg", "image/png"]);
    let mut large = request();
    (large.content_type, large.filename) = ("image/png".parse().unwrap(), "a.png".to_owned().try_into().unwrap());
    large.size = (1 << 20) + 1;
    let refusal = upload(&set, &menus(), &large).unwrap_err();
    assert_eq!(
        (refusal.limit, refusal.rule.as_deref().unwrap()),
        (Some(1 << 20), "apps/menus.toml:15 max_size_per_type")
    );
}

#[test]
fn who_asks_is_checked_before_what_is_asked() {
    let mut files = base();
    files.insert("apps/off.toml".into(), {
        let text = MENUS.replace("\"menus\"", "\"off\"").replace("uploads/", "off/");
        text.replace("owner", "enabled = false\nowner")
    });
    let set = load(&files);
    let mut wrong = request();
    wrong.size = u64::MAX;
    let (live, test) = (Environment::Live, Environment::Test);
    for (principal, reason, part) in [
        (who("nobody", live, &["storage:*:nobody:*"]), Reason::AppUnknown, "no app 'nobody'"),
        (who("off", live, &["storage:*:off:*"]), Reason::AppDisabled, "switched off"),
        (who("forms", test, &["storage:*:forms:*"]), Reason::EnvironmentMismatch, "has no test target"),
        (who("menus", live, &[]), Reason::ScopeInsufficient, "storage:images:menus:write"),
        (who("menus", live, &["storage:images:menus:read"]), Reason::ScopeInsufficient, "may not write"),
        (who("menus", live, &["storage:clinic:menus:write"]), Reason::ScopeInsufficient, "may not write"),
        (who("menus", live, &["storage:*:forms:*"]), Reason::ScopeInsufficient, "may not write"),
        (
            who("menus", live, &["storage:*:menus:write:prefix=/uploads/a/"]),
            Reason::ScopeInsufficient,
            "under /uploads/a/ only",
        ),
    ] {
        let refusal = upload(&set, &principal, &wrong).unwrap_err();
        assert_eq!(refusal.reason, reason, "{}", refusal.detail);
        assert!(refusal.detail.contains(part), "{part:?} is not in {:?}", refusal.detail);
    }
}

#[test]
fn a_permit_holds_the_place_the_class_the_life_and_the_quota() {
    let set = load(&base());
    let permit = upload(&set, &menus(), &request()).unwrap();
    assert_eq!(
        (permit.target.as_str(), permit.prefix.as_str(), permit.staging.as_str()),
        ("images", "uploads/", "incoming/")
    );
    assert_eq!((permit.classification.as_str(), &*permit.residency), ("internal", "eu"));
    assert_eq!(permit.ttl, Duration::from_secs(300));
    assert_eq!(permit.quota.app, Quotas::stored(1 << 30, 1000));
    let owner = Quotas::default().with(QuotaKind::BytesStored, 3 << 30).with(QuotaKind::UploadsHour, 500);
    assert_eq!((permit.owner.as_str(), permit.quota.owner), ("marketing", owner));
    assert_eq!(&*permit.rule, "apps/menus.toml, base.cedar:1 within-the-manifests");

    let mut asked = request();
    asked.path = Some("/uploads/u-42".parse().unwrap());
    (asked.classification, asked.lawful_basis) = (Some("personal".parse().unwrap()), Some("contract".into()));
    asked.metadata = BTreeMap::from([("table".into(), "7".into())]);
    let permit = upload(&set, &menus(), &asked).unwrap();
    assert_eq!((permit.prefix.as_str(), permit.ttl), ("uploads/u-42/", Duration::from_secs(180)));

    let test = who("menus", Environment::Test, &["storage:*:menus:*"]);
    assert_eq!(upload(&set, &test, &request()).unwrap().target.as_str(), "images-test");
}

#[test]
fn a_form_needs_the_manifest_and_the_provider() {
    let mut files = base();
    files.insert("apps/menus.toml".into(), MENUS.replace("[\"PUT\"]", "[\"PUT\", \"POST\"]"));
    let set = load(&files);
    let mut form = request();
    form.method = UploadMethod::Post;
    assert!(upload(&set, &menus(), &form).is_ok());
    let refusal = decide_upload(&set, &menus(), &form, |_| &[UploadMethod::Put], &then()).unwrap_err();
    assert_eq!((refusal.reason, refusal.allowed.unwrap()), (Reason::MethodNotSupported, vec!["PUT".to_owned()]));
}

#[test]
fn a_prefix_with_a_user_holds_that_user_only() {
    let set = load(&base());
    let mut pdf = request();
    (pdf.content_type, pdf.filename) = ("application/pdf".parse().unwrap(), "a.pdf".to_owned().try_into().unwrap());
    let mut anna = who("forms", Environment::Live, &["storage:*:forms:*"]);
    assert_eq!(upload(&set, &anna, &pdf).unwrap_err().reason, Reason::PathNotAllowed);
    anna.subject = Some(super::anna());
    assert_eq!(upload(&set, &anna, &pdf).unwrap().prefix.as_str(), "forms/anna/");
    for path in ["forms/ann/", "forms/anna-2/", "forms/"] {
        pdf.path = Some(path.parse().unwrap());
        assert_eq!(upload(&set, &anna, &pdf).unwrap_err().reason, Reason::PathNotAllowed, "{path}");
    }
    pdf.path = None;
    for user in ["..", "a/b", "{user}", "", "a\0"] {
        anna.subject = Some(Subject { user: user.into(), ..super::anna() });
        assert_eq!(upload(&set, &anna, &pdf).unwrap_err().reason, Reason::PathNotAllowed, "{user:?}");
    }
}

#[test]
fn a_path_that_leaves_no_room_for_the_key_is_refused() {
    let mut files = base();
    let text =
        super::TARGETS.replace("[images-test]", &format!("staging_prefix = \"{}\"\n[images-test]", "s".repeat(500)));
    files.insert("targets.toml".into(), text);
    let mut deep = request();
    deep.path = Some(format!("uploads/{}", "p".repeat(490)).parse().unwrap());
    let refusal = upload(&load(&files), &menus(), &deep).unwrap_err();
    assert_eq!(refusal.reason, Reason::InvalidPath, "{}", refusal.detail);
}

#[test]
fn a_download_lives_as_its_class_allows_and_is_an_attachment_unless_safe() {
    let set = load(&base());
    let plain = decide_download(&set, &menus(), &object(), &DownloadRequest::default(), &then()).unwrap();
    assert_eq!(
        (plain.ttl, plain.one_time, plain.disposition),
        (Duration::from_secs(120), false, Disposition::Attachment)
    );
    let mut personal = object();
    personal.classification = "personal".parse().unwrap();
    let permit = decide_download(&set, &menus(), &personal, &DownloadRequest::default(), &then()).unwrap();
    assert_eq!((permit.ttl, permit.one_time), (Duration::from_secs(60), true));
    let inline = DownloadRequest { disposition: Some(Disposition::Inline), one_time: true, lawful_basis: None };
    let refusal = decide_download(&set, &menus(), &object(), &inline, &then()).unwrap_err();
    assert_eq!(
        (refusal.reason, refusal.rule.as_deref()),
        (Reason::DispositionNotAllowed, Some("apps/menus.toml:7 inline_types"))
    );
    let mut png = object();
    png.content_type = "image/png".parse().unwrap();
    let permit = decide_download(&set, &menus(), &png, &inline, &then()).unwrap();
    assert_eq!((permit.disposition, permit.one_time), (Disposition::Inline, true));
}

#[test]
fn acts_on_an_object_need_its_app_its_environment_and_a_scope() {
    let set = load(&base());
    let (live, test) = (Environment::Live, Environment::Test);
    for action in [Action::Read, Action::Delete] {
        assert_eq!(
            &*decide_on_object(&set, &menus(), &object(), action, &then()).unwrap(),
            "apps/menus.toml, base.cedar:1 within-the-manifests"
        );
        for (principal, reason) in [
            (who("forms", live, &["storage:*:forms:*", "storage:*:menus:*"]), Reason::ObjectNotFound),
            (who("menus", test, &["storage:*:menus:*"]), Reason::EnvironmentMismatch),
            (who("menus", live, &["storage:*:menus:write", "storage:*:menus:list"]), Reason::ScopeInsufficient),
            (who("menus", live, &["storage:*:menus:*:prefix=/uploads/a/"]), Reason::ScopeInsufficient),
        ] {
            assert_eq!(decide_on_object(&set, &principal, &object(), action, &then()).unwrap_err().reason, reason);
            let refusal =
                decide_download(&set, &principal, &object(), &DownloadRequest::default(), &then()).unwrap_err();
            assert_eq!(refusal.reason, reason);
        }
    }
    let mut moved = object();
    moved.target = "images-test".parse().unwrap();
    assert_eq!(
        decide_on_object(&set, &menus(), &moved, Action::Read, &then()).unwrap_err().reason,
        Reason::EnvironmentMismatch
    );
    let mut classless = object();
    classless.classification = "gone".parse().unwrap();
    let refusal = decide_download(&set, &menus(), &classless, &DownloadRequest::default(), &then()).unwrap_err();
    assert_eq!(refusal.reason, Reason::ClassificationNotAllowed);
}

#[test]
fn a_listing_needs_a_scope_that_covers_its_prefix() {
    let set = load(&base());
    let reader = who("menus", Environment::Live, &["storage:*:menus:list:prefix=/uploads/a/"]);
    assert!(decide_list(&set, &reader, &"uploads/a/b/".parse().unwrap(), &then()).is_ok());
    let refusal = decide_list(&set, &reader, &"uploads/".parse().unwrap(), &then()).unwrap_err();
    assert_eq!((refusal.reason, refusal.allowed.unwrap()), (Reason::ScopeInsufficient, vec!["/uploads/a/".to_owned()]));
}

#[test]
fn inspection_gets_the_rules_of_the_objects_app_or_none() {
    let set = load(&base());
    assert_eq!(content_rules(&set, &object()).unwrap().types.len(), 2);
    let mut orphan = object();
    orphan.app = "gone".parse().unwrap();
    assert_eq!(content_rules(&set, &orphan), None);
}
