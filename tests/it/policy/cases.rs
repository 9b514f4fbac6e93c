//! Cases: how they are written, run and reported; and that no rule of the example set could change unseen.

use vestibule::policy::cases::{Case, PolicyFiles, case_of_file, mutations, run};
use vestibule::policy::{Mistake, PolicySet, check};

use super::{base, examples, load, methods, write};

const GOOD: &str = r#"app = "menus"
request = { filename = "menu.jpg", size = "1 MiB", contentType = "image/jpeg" }
user = { id = "anna", role = "chef", project = "p-7", device = "tablet", device_attested = true }

[[case]]
name = "a photo"
action = "upload"
time = 2026-11-21T20:00:00Z
source = "192.0.2.7"
proof_of_possession = true
expect = "allow"
rule = "apps/menus.toml"
permits = { ttl = "5m", owner = "marketing", prefix = "uploads/", target = "images", classification = "internal", residency = "eu" }

[[case]]
name = "a large photo"
action = "upload"
request = { size = "11 MiB" }
expect = "deny"
code = "size_not_allowed"
rule = "apps/menus.toml max_size"

[[case]]
name = "a personal photo is read through a link"
action = "download"
object = { classification = "personal" }
expect = "allow"
permits = { ttl = "60s", one_time = true, disposition = "attachment" }

[[case]]
name = "nobody"
app = "unheard-of"
action = "list"
request = { prefix = "a/" }
expect = "deny"
code = "app_unknown"
"#;

fn files(cases: &str) -> PolicyFiles {
    let tests = [("tests/menus.toml".to_owned(), cases.to_owned())].into();
    PolicyFiles { policies: base(), tests }
}

fn cases(text: &str) -> Result<Vec<Case>, Vec<Mistake>> {
    files(text).cases(&load(&base()))
}

#[test]
fn cases_ask_what_a_client_would_and_compare_every_part_of_the_answer() {
    let (set, good) = (load(&base()), cases(GOOD).unwrap());
    assert_eq!(good.len(), 4);
    let report = run(&set, &good, "", methods);
    assert!(report.is_good(), "{report}");
    assert_eq!(run(&set, &good, "photo", methods).cases, 3);
    assert!(!run(&set, &good, "nothing is called this", methods).is_good(), "no case proves nothing");
    for (old, new, said) in [
        (
            "expect = \"allow\"\nrule",
            "expect = \"deny\"\ncode = \"app_disabled\"\n#",
            "expected deny app_disabled, got allow by apps/menus.toml",
        ),
        ("\"11 MiB\"", "\"10 MiB\"", "expected deny size_not_allowed by apps/menus.toml max_size, got allow"),
        ("menus.toml max_size", "menus.toml types", "got deny size_not_allowed by apps/menus.toml max_size"),
        ("ttl = \"5m\", owner", "ttl = \"6m\", owner", "expected ttl 6m, got 5m"),
        ("owner = \"marketing\"", "owner = \"finance\"", "expected owner finance, got marketing"),
        ("prefix = \"uploads/\"", "prefix = \"up/\"", "expected prefix up/, got uploads/"),
        ("target = \"images\"", "target = \"clinic\"", "expected target clinic, got images"),
        ("residency = \"eu\"", "residency = \"us\"", "expected residency us, got eu"),
        ("one_time = true", "one_time = false", "expected one_time false, got true"),
        ("\"attachment\"", "\"inline\"", "expected disposition inline, got attachment"),
        (
            "rule = \"apps/menus.toml\"",
            "rule = \"apps/forms.toml\"",
            "expected rule apps/forms.toml, got apps/menus.toml",
        ),
    ] {
        assert!(GOOD.contains(old), "{old}");
        let text = GOOD.replacen(old, new, 1).replace("#  = \"apps/menus.toml\"\npermits", "#");
        let text = if said.contains("app_disabled") { text.replacen("permits", "# permits", 1) } else { text };
        let report = run(&set, &cases(&text).unwrap_or_else(|found| panic!("{new}: {found:?}")), "", methods);
        let printed = report.to_string();
        assert_eq!(report.failed.len(), 1, "{new}: {printed}");
        assert!(printed.contains(said), "{said:?} is not in\n{printed}");
    }
}

#[test]
fn mistakes_in_cases_are_told_with_place_and_remedy() {
    for (old, new, said) in [
        (
            "action = \"upload\"\ntime",
            "action = \"uplaod\"\ntime",
            "7:10: 'action' cannot be 'uplaod'; did you mean 'upload'?",
        ),
        ("expect = \"allow\"", "expct = \"allow\"", "11:1: unknown key 'expct' in [case]"),
        (
            "code = \"size_not_allowed\"",
            "code = \"size_not_alowed\"",
            "'code' cannot be 'size_not_alowed'; did you mean 'size_not_allowed'?",
        ),
        ("code = \"size_not_allowed\"\n", "", "a refusal without 'code' proves little"),
        (
            "request = { size = \"11 MiB\" }",
            "request = { sise = 11 }",
            "unknown key 'sise' in [request]; did you mean 'size'?",
        ),
        ("contentType = \"image/jpeg\" }", "path = \"uploads/\" }", "key 'contentType' is missing in [request]"),
        ("app = \"menus\"", "app = \"menu\"", "no app 'menu' is registered; did you mean 'menus'?"),
        ("app = \"menus\"", "", "no app asks"),
        ("name = \"a large photo\"", "name = \"a photo\"", "another case is called 'a photo' too"),
        ("permits = { ttl = \"60s\", one_time", "permits = { ttl = \"60s\", onetime", "did you mean 'one_time'?"),
        ("[[case]]\nname = \"nobody\"", "[[cases]]\nname = \"nobody\"", "unknown key 'cases'; did you mean 'case'?"),
        ("time = 2026-11-21T20:00:00Z", "time = 2026-11-21", "'time' cannot be 2026-11-21"),
        ("source = \"192.0.2.7\"", "source = \"home\"", "'source' cannot be 'home'; write an address"),
        ("id = \"anna\", ", "", "key 'id' is missing in [user]"),
    ] {
        assert!(GOOD.contains(old), "{old}");
        let found = cases(&GOOD.replacen(old, new, 1)).expect_err(new);
        let told = found.iter().map(|mistake| format!("{mistake}\n")).collect::<String>();
        assert!(told.contains("tests/menus.toml:") && told.contains(said), "{said:?} is not in\n{told}");
    }
}

#[test]
fn cases_are_no_part_of_the_set_and_cannot_spoil_it() {
    let dir = write(&base());
    let digest = |dir: &std::path::Path| PolicySet::load(dir).unwrap().digest();
    let before = digest(dir.path());
    std::fs::create_dir(dir.path().join("tests")).unwrap();
    std::fs::write(dir.path().join("tests/broken.toml"), "[[case").unwrap();
    assert_eq!(digest(dir.path()), before);
    assert!(check(dir.path()).notes.is_empty());
    let files = PolicyFiles::read(dir.path()).unwrap();
    assert!(files.cases(&files.set().unwrap()).unwrap_err()[0].to_string().starts_with("tests/broken.toml:1:"));
}

#[test]
fn a_question_may_be_json_or_a_case_as_it_stands_in_its_file() {
    let json = r#"{"action": "upload", "app": "menus", "time": "2026-11-21T20:00:00Z", "source": null,
                   "request": {"filename": "a.jpg", "size": 7, "contentType": "image/jpeg", "path": null}}"#;
    let set = load(&base());
    assert!(case_of_file("ask.json", json).unwrap().ask(&set, methods).is_ok());
    let toml = "name = 'a'\napp = 'menus'\naction = 'delete'\nexpect = 'deny'\ncode = 'x'\n";
    assert!(case_of_file("ask.toml", toml).unwrap().ask(&set, methods).is_ok());
    let found = case_of_file("ask.json", &json.replace("filename", "filenam")).unwrap_err();
    assert!(found.iter().any(|mistake| mistake.to_string().contains("did you mean 'filename'?")), "{found:?}");
    assert!(case_of_file("ask.json", "{").unwrap_err()[0].problem.contains("not valid JSON"));
}

#[test]
fn a_rule_that_no_case_misses_is_listed_with_its_line() {
    let files = files(GOOD);
    let report = mutations(&files, &cases(GOOD).unwrap(), methods);
    assert!(!report.is_good() && report.noticed > 5, "{report}");
    let printed = report.to_string();
    assert!(!printed.contains("apps/menus.toml:8 max_size: no case"), "{printed}");
    assert!(printed.contains("apps/menus.toml:7 inline_types \"image/png\": no case fails when it is"), "{printed}");
}

#[test]
fn the_example_set_has_cases_and_no_rule_of_it_can_change_unseen() {
    let files = PolicyFiles::read(&examples()).unwrap();
    let set = files.set().unwrap();
    let cases = files.cases(&set).unwrap();
    assert!(cases.len() >= 70, "{} cases", cases.len());
    let ran = run(&set, &cases, "", methods);
    assert!(ran.is_good(), "{ran}");
    let report = mutations(&files, &cases, methods);
    assert!(report.is_good() && report.noticed >= 40, "{report}");
}
