//! `access.toml`: lives, access that is allowed in advance, and whatever is wrong with it.

use std::time::Duration;

use vestibule::domain::access::AskedAccess;
use vestibule::domain::principal::Environment;
use vestibule::policy::{AccessRules, PolicySet};

use super::{Files, base, load, write};

/// The file, as other tests take it.
pub(super) const ACCESS: &str = r#"claim_ttl = "2h"
max_token_ttl = "90d"
change_window = "1h"
self_approval = ["test"]
[[automatic]]
name = "readers"
apps = ["menus"]
environments = ["live", "test"]
actions = ["read", "list"]
owners = ["marketing"]
max_ttl = "30d"
[[automatic]]
name = "trying-out"
apps = ["menus", "forms"]
environments = ["test"]
actions = ["write", "read", "list", "delete"]
max_ttl = "1d"
require_reason = false
"#;

const DAY: Duration = Duration::from_secs(24 * 3600);

fn files(text: &str) -> Files {
    let mut files = base();
    files.insert("access.toml".into(), text.into());
    files
}

fn asked(app: &str, owner: &str, environment: Environment, scopes: &[&str]) -> AskedAccess {
    AskedAccess {
        app: app.parse().unwrap(),
        workflow: "nightly".parse().unwrap(),
        owner: owner.parse().unwrap(),
        environment,
        scopes: scopes.iter().map(|scope| scope.parse().unwrap()).collect(),
        expires_at: None,
        changes: None,
        before: None,
        binding: None,
    }
}

#[test]
fn a_rule_allows_what_it_lists_and_nothing_else() {
    let set = load(&files(ACCESS));
    let rules = set.access();
    let rule = |asked: &AskedAccess, life, reason| rules.automatic(asked, life, reason).map(|rule| rule.rule());
    let readers = Some("access.toml:5 automatic \"readers\"".to_owned());
    let trying_out = Some("access.toml:12 automatic \"trying-out\"".to_owned());
    let read = asked("menus", "marketing", Environment::Live, &["storage:*:menus:read", "storage:images:menus:list"]);
    assert_eq!(rule(&read, None, true), readers);
    assert_eq!(rule(&read, Some(30 * DAY), true), readers);
    assert_eq!(rule(&read, Some(31 * DAY), true), None, "for too long");
    assert_eq!(rule(&read, None, false), None, "a reason is needed where nothing is said");
    for (other, why) in [
        (asked("menus", "finance", Environment::Live, &["storage:*:menus:read"]), "another owner"),
        (asked("forms", "marketing", Environment::Live, &["storage:*:forms:read"]), "another app"),
        (asked("menus", "marketing", Environment::Live, &["storage:*:menus:write"]), "another action"),
        (asked("menus", "marketing", Environment::Live, &["storage:*:menus:*"]), "every action is more than two"),
        (asked("menus", "marketing", Environment::Live, &["storage:*:menus:read", "storage:*:menus:delete"]), "one"),
        (asked("menus", "marketing", Environment::Live, &[]), "no scope"),
    ] {
        assert_eq!(rule(&other, None, true), None, "{why}");
    }
    let token = Some("0123456789abcdef".parse().unwrap());
    assert_eq!(rule(&AskedAccess { changes: token, ..read }, None, true), None, "somebody else's token would end");
    let every = asked("forms", "whoever", Environment::Test, &["storage:*:forms:*"]);
    assert_eq!(rule(&every, Some(DAY), false), trying_out, "every owner, every action, without a reason");
    let elsewhere = asked("forms", "clinic", Environment::Live, &["storage:*:forms:read"]);
    assert_eq!(rule(&elsewhere, Some(DAY), true), None, "test alone");
}

#[test]
fn without_the_file_a_person_decides_on_everything() {
    let set = load(&base());
    assert_eq!(*set.access(), AccessRules::default());
    let read = asked("menus", "marketing", Environment::Test, &["storage:*:menus:read"]);
    assert!(set.access().automatic(&read, None, true).is_none());
    assert_eq!(set.access().self_approval(Environment::Test), None);
    let set = load(&files(ACCESS));
    let rules = set.access();
    assert_eq!((rules.claim_ttl, rules.max_token_ttl), (DAY / 12, 90 * DAY));
    assert_eq!(rules.change_window, DAY / 24);
    assert_eq!(rules.self_approval(Environment::Test).as_deref(), Some("access.toml:4 self_approval"));
    assert_eq!(rules.self_approval(Environment::Live), None);
}

#[test]
fn every_mistake_is_named_with_its_place() {
    for (from, to, place, part) in [
        ("\"2h\"", "\"8d\"", "access.toml:1:13:", "'claim_ttl' cannot be 8d; write \"1m\" to \"7d\""),
        ("\"2h\"", "\"2 weeks\"", "access.toml:1:13:", "write a whole number with s, m, h or d"),
        ("\"90d\"", "\"5m\"", "access.toml:2:17:", "'max_token_ttl' cannot be 5m; write \"1h\""),
        (
            "self_approval = [\"test\"]",
            "self_approval = [\"prod\"]",
            "access.toml:4:18:",
            "possible values are: live, test",
        ),
        ("\"readers\"", "\"Readers!\"", "access.toml:6:8:", "write 1 to 64 characters of a-z, 0-9 and '-'"),
        ("\"trying-out\"", "\"readers\"", "access.toml:13:8:", "line 5 has a rule named 'readers' already"),
        ("apps = [\"menus\"]", "apps = [\"menu\"]", "access.toml:7:9:", "unknown app 'menu'; did you mean 'menus'?"),
        ("apps = [\"menus\"]", "apps = []", "access.toml:7:8:", "'apps' is empty"),
        ("apps = [\"menus\"]\n", "", "access.toml:5:1:", "key 'apps' is missing in [automatic]"),
        ("[\"read\", \"list\"]", "[\"read\", \"own\"]", "access.toml:9:20:", "possible values are: write, read, list"),
        ("[\"marketing\"]", "[\"marketnig\"]", "access.toml:10:11:", "no app has the owner 'marketnig'"),
        ("[\"marketing\"]", "[]", "access.toml:10:10:", "leave the key out for every owner"),
        ("\"30d\"", "\"91d\"", "access.toml:11:11:", "'max_ttl' cannot be 91d; write \"1h\" to \"90d\""),
        ("require_reason = false", "require_reasons = false", "access.toml:18:1:", "did you mean 'require_reason'?"),
    ] {
        assert!(ACCESS.contains(from), "{from}");
        let mistakes = PolicySet::load(write(&files(&ACCESS.replacen(from, to, 1))).path()).unwrap_err();
        let lines: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        assert!(lines.iter().any(|line| line.starts_with(place) && line.contains(part)), "{to}: {lines:#?}");
    }
}
