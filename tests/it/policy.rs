//! The policy directory: the example set, broken sets, decisions, reload.
//!
//! `base()` is a small set whose line numbers the cases name; each case breaks one thing in it.

mod access;
mod broken;
mod cases;
mod cedar;
mod conditions;
mod decisions;
mod docs;
mod exchange;
mod explain;
mod limits;
mod owners;
mod possession;
mod properties;
mod regulated;

use std::collections::BTreeMap;
use std::path::Path;

use jiff::Timestamp;
use tempfile::TempDir;
use vestibule::domain::grant::UploadMethod;
use vestibule::domain::ids::ObjectId;
use vestibule::domain::key::ObjectKeys;
use vestibule::domain::life::Life;
use vestibule::domain::object::Object;
use vestibule::domain::principal::{Environment, Principal, Subject};
use vestibule::domain::target::{ProviderSettings, Target};
use vestibule::policy::{Circumstances, Policies, PolicySet, UploadRequest, check};

/// Name and text of each file.
type Files = BTreeMap<String, String>;

const TARGETS: &str = r#"[images]
provider = "s3"
bucket = "b-images"
region = "eu-central-1"
residency = "eu"
environment = "live"
[images-test]
provider = "s3"
bucket = "b-test"
region = "eu-central-1"
residency = "eu"
environment = "test"
staging_bucket = "b-test-in"
[clinic]
provider = "azure"
account = "devstoreaccount1"
container = "b-clinic"
residency = "eu"
environment = "live"
[images-test.retention]
mode = "governance"
period = "90d"
"#;

const CLASSES: &str = r#"[ttl]
upload_max = "10m"
[internal]
residency = ["any"]
scanner = "clamav"
[swiss]
residency = ["ch"]
scanner = "clamav"
[personal]
residency = ["eu"]
scanner = "clamav"
lawful_basis = ["consent", "contract"]
max_upload_ttl = "3m"
max_download_ttl = "60s"
one_time_downloads = true
"#;

const MENUS: &str = r#"app = "menus"
owner = "marketing"
target = "images"
test_target = "images-test"
prefix = "uploads/"
types = ["image/jpeg", "image/png"]
inline_types = ["image/png"]
max_size = "10 MiB"
classifications = ["internal", "swiss", "personal"]
default_classification = "internal"
upload_ttl = "5m"
download_ttl = "2m"
methods = ["PUT"]
origins = ["https://menus.example.com"]
[max_size_per_type]
"image/png" = "1 MiB"
[quota]
bytes = "1 GiB"
objects = 1000
[content]
encrypted = "hold"
[limits]
same_request_per_minute = 20
[limits.workflow]
second = 10
[limits.app]
hour = 3_000
"#;

const FORMS: &str = r#"app = "forms"
owner = "clinic"
target = "clinic"
prefix = "forms/{user}/"
types = ["application/pdf"]
max_size = "20 MiB"
classifications = ["internal"]
[quota]
bytes = "1 GiB"
objects = 1000
"#;

const OWNERS: &str = r#"[marketing]
region = "eu"
[marketing.quota]
bytes = "3 GiB"
uploads_per_hour = 500
"#;

const LIMITS: &str = r#"same_request_per_minute = 40
[workflow]
hour = 2_000
[owners.marketing]
day = 9_000
"#;

fn base() -> Files {
    [
        ("targets.toml", TARGETS),
        ("classifications.toml", CLASSES),
        ("base.cedar", "@id(\"within-the-manifests\")\npermit (principal, action, resource);\n"),
        ("limits.toml", LIMITS),
        ("owners.toml", OWNERS),
        ("apps/menus.toml", MENUS),
        ("apps/forms.toml", FORMS),
    ]
    .map(|(name, text)| (name.to_owned(), text.to_owned()))
    .into()
}

fn write(files: &Files) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    rewrite(dir.path(), files);
    dir
}

fn rewrite(dir: &Path, files: &Files) {
    std::fs::create_dir_all(dir.join("apps")).unwrap();
    for (name, text) in files {
        std::fs::create_dir_all(dir.join(name).parent().unwrap()).unwrap();
        std::fs::write(dir.join(name), text).unwrap();
    }
}

fn load(files: &Files) -> PolicySet {
    PolicySet::load(write(files).path()).unwrap_or_else(|mistakes| panic!("{mistakes:#?}"))
}

/// When and from where every request of these tests comes.
fn then() -> Circumstances {
    Circumstances { now: now(), source: None }
}

fn anna() -> Subject {
    Subject { user: "anna".into(), role: None, project: None, device: None, device_attested: false }
}

fn now() -> Timestamp {
    "2026-11-21T20:00:00Z".parse().unwrap()
}

fn who(app: &str, environment: Environment, scopes: &[&str]) -> Principal {
    Principal {
        token: "AAAAAAAAAAAAAAAA".parse().unwrap(),
        app: app.parse().unwrap(),
        workflow: "nightly".parse().unwrap(),
        owner: "marketing".parse().unwrap(),
        environment,
        scopes: scopes.iter().map(|scope| scope.parse().unwrap()).collect::<Vec<_>>().into(),
        subject: None,
        possession: None,
        sunset: None,
    }
}

fn menus() -> Principal {
    who("menus", Environment::Live, &["storage:*:menus:*"])
}

fn request() -> UploadRequest {
    UploadRequest {
        original_filename: "menu.jpg".into(),
        filename: "menu.jpg".to_owned().try_into().unwrap(),
        size: 48_213,
        content_type: "image/jpeg".parse().unwrap(),
        path: None,
        classification: None,
        sha256: None,
        method: UploadMethod::Put,
        metadata: BTreeMap::new(),
        lawful_basis: None,
    }
}

/// What the providers can sign, as the enforcement table says.
fn methods(target: &Target) -> &'static [UploadMethod] {
    match target.provider {
        ProviderSettings::Azure { .. } => &[UploadMethod::Put],
        _ => &[UploadMethod::Put, UploadMethod::Post],
    }
}

fn object() -> Object {
    let id: ObjectId = "obj_00000000000000000000000000000007".parse().unwrap();
    let filename = "menu.jpg".to_owned().try_into().unwrap();
    Object {
        id,
        grant: "grt_00000000000000000000000000000007".parse().unwrap(),
        app: "menus".parse().unwrap(),
        workflow: "nightly".parse().unwrap(),
        token: "AAAAAAAAAAAAAAAA".parse().unwrap(),
        owner: "marketing".parse().unwrap(),
        environment: Environment::Live,
        user: None,
        target: "images".parse().unwrap(),
        keys: ObjectKeys::new(&"incoming/".parse().unwrap(), &"uploads/".parse().unwrap(), id, &filename).unwrap(),
        filename,
        original_filename: "menu.jpg".into(),
        content_type: "image/jpeg".parse().unwrap(),
        size: 48_213,
        sha256: None,
        method: UploadMethod::Put,
        classification: "internal".parse().unwrap(),
        lawful_basis: None,
        residency: "eu".into(),
        metadata: BTreeMap::new(),
        created_at: now(),
        upload_expires_at: now(),
        updated_at: now(),
        revision: 0,
        life: Life::Issued,
    }
}

fn examples() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("policies")
}

#[test]
fn the_example_set_loads_and_says_what_its_apps_may_do() {
    let report = check(&examples());
    assert!(report.is_good() && report.notes.is_empty(), "{report}");
    let printed = report.to_string();
    assert!(printed.ends_with("good: 3 apps, 4 targets, 4 classes, 6 Cedar policies\n"), "{printed}");
    let set = report.set.unwrap();
    let apps: Vec<(&str, &str)> = set.apps().map(|app| (app.app.as_str(), app.prefix.as_str())).collect();
    assert_eq!(apps, [("clinic-forms", "forms/"), ("finance-invoices", "invoices/"), ("where2eat", "uploads/")]);
    let where2eat = set.app(&"where2eat".parse().unwrap()).unwrap();
    assert_eq!(where2eat.max_size, 10 << 20);
    assert_eq!(where2eat.target_for(Environment::Test).unwrap().as_str(), "images-test");
    let images = set.target(where2eat.target_for(Environment::Live).unwrap()).unwrap();
    assert_eq!((images.bucket(), &*images.residency), ("vestibule-images", "eu"));
    assert_eq!(images.staging_prefix.as_str(), "incoming/");
    let regulated = set.class(&"regulated".parse().unwrap()).unwrap();
    assert!(regulated.regulated && regulated.one_time_downloads && !regulated.lawful_basis.is_empty());
    assert!(regulated.roles.iter().all(|role| set.roles().contains_key(role)), "{:?}", regulated.roles);
    let clinic = set.app(&"clinic-forms".parse().unwrap()).unwrap();
    assert_eq!(clinic.default_classification.as_ref().unwrap().as_str(), "regulated");
    assert_eq!(clinic.content.types, clinic.types);
}

/// What SIGHUP does: load first, and only a whole set replaces the one in force.
fn reload(policies: &Policies) -> Result<(), Vec<vestibule::policy::Mistake>> {
    policies.read_again().map(|set| policies.replace(set))
}

#[test]
fn a_reload_replaces_the_set_and_a_broken_directory_never_does() {
    let mut files = base();
    let dir = write(&files);
    let policies = Policies::open(dir.path(), None).unwrap();
    let limit = || policies.current().app(&"menus".parse().unwrap()).unwrap().max_size;
    let first = policies.current();
    assert_eq!(limit(), 10 << 20);

    files.insert("apps/menus.toml".into(), MENUS.replace("10 MiB", "20 MiB"));
    files.insert("apps/forms.toml".into(), FORMS.replace("clinic", "clinc"));
    rewrite(dir.path(), &files);
    assert_eq!(reload(&policies).unwrap_err().len(), 1);
    assert_eq!(limit(), 10 << 20, "the good half of a broken set was used");
    assert_eq!(policies.current().digest(), first.digest());

    files.insert("apps/forms.toml".into(), FORMS.into());
    rewrite(dir.path(), &files);
    reload(&policies).unwrap();
    assert_eq!(limit(), 20 << 20);
    assert_ne!(policies.current().digest(), first.digest());

    std::fs::remove_dir_all(dir.path()).unwrap();
    reload(&policies).unwrap_err();
    assert_eq!(limit(), 20 << 20);
}

#[test]
fn a_gateway_of_one_environment_takes_no_set_with_targets_of_the_other() {
    let dir = write(&base());
    for (only, foreign) in [(Environment::Live, vec!["images-test"]), (Environment::Test, vec!["clinic", "images"])] {
        let mistakes = Policies::open(dir.path(), Some(only)).unwrap_err();
        let named: Vec<&str> = mistakes.iter().map(|mistake| mistake.problem.split('\'').nth(1).unwrap()).collect();
        assert_eq!(named, foreign, "{mistakes:?}");
    }
    // Production's directory stays in force where staging's is copied over it.
    let mut files = base();
    let targets = TARGETS.split("[images-test]").next().unwrap();
    let clinic = TARGETS.split("[clinic]").nth(1).unwrap().split("[images-test.retention]").next().unwrap();
    files.insert("targets.toml".into(), format!("{targets}[clinic]{clinic}"));
    files.insert("apps/menus.toml".into(), MENUS.replace("test_target = \"images-test\"\n", ""));
    let dir = write(&files);
    let policies = Policies::open(dir.path(), Some(Environment::Live)).unwrap();
    rewrite(dir.path(), &base());
    let mistakes = reload(&policies).unwrap_err();
    assert!(mistakes[0].to_string().contains("'images-test' is a test target"), "{mistakes:?}");
    assert_eq!(policies.current().targets().len(), 2);
}

#[test]
fn files_of_other_kinds_are_noted_and_ignored() {
    let mut files = base();
    files.insert("README.md".into(), "# ours".into());
    files.insert("apps/menus.toml.bak".into(), "{".into());
    files.insert(".DS_Store".into(), "\u{0}".into());
    let report = check(write(&files).path());
    assert!(report.is_good(), "{report}");
    assert_eq!(report.notes.len(), 2, "{:?}", report.notes);
    assert!(report.to_string().contains("note: apps/menus.toml.bak does not end in .toml"), "{report}");
}
