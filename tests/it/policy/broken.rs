//! Broken sets: each case breaks one thing in the base set and names the place and the message.

use super::{base, load, write};
use vestibule::policy::{PolicySet, check};

/// File, text to replace (all of the file where empty), new text, expected place, part of the message.
type Case = (&'static str, &'static str, &'static str, &'static str, &'static str);

const T: &str = "targets.toml";
const C: &str = "classifications.toml";
const M: &str = "apps/menus.toml";
const F: &str = "apps/forms.toml";
const L: &str = "limits.toml";
const O: &str = "owners.toml";

const CASES: &[Case] = &[
    // Retention.
    (T, "\"90d\"", "\"90h\"", "targets.toml:22:10:", "write a whole number of days with d, for example \"90d\""),
    (T, "\"90d\"", "\"0d\"", "targets.toml:22:10:", "write \"1d\" to \"36500d\""),
    (T, "\"90d\"", "\"36501d\"", "targets.toml:22:10:", "write \"1d\" to \"36500d\""),
    (T, "period = \"90d\"\n", "", "targets.toml:20:14:", "key 'period' is missing in [retention]"),
    (T, "\"governance\"", "\"goverment\"", "targets.toml:21:8:", "possible values are: governance, compliance"),
    (T, "mode = \"governance\"", "hold = true", "targets.toml:21:1:", "unknown key 'hold' in [retention]"),
    (
        T,
        "staging_bucket = \"b-test-in\"\n",
        "",
        "targets.toml:19:14:",
        "stages where it serves; give staging a bucket of its own",
    ),
    (T, "\"b-test-in\"", "\"b-test\"", "targets.toml:20:14:", "stages where it serves"),
    // Rate limits.
    (
        M,
        "second = 10",
        "second = 0",
        "apps/menus.toml:25:10:",
        "'second' cannot be 0; write a whole number of at least 1",
    ),
    (M, "second = 10", "second = \"10\"", "apps/menus.toml:25:10:", "'second' is text, not a whole number"),
    (M, "second = 10", "second = 1_000_000_001", "apps/menus.toml:25:10:", "write at most 1000000000"),
    (M, "second = 10", "minute = 10", "apps/menus.toml:25:1:", "keys are: second, hour, day"),
    (M, "[limits.app]", "[limits.owner]", "apps/menus.toml:26:9:", "unknown key 'owner' in [limits]"),
    (M, "second = 10", "second = 2_001", "apps/menus.toml:25:10:", "'hour' allows 2000 requests, fewer than 'second'"),
    (
        M,
        "hour = 3_000",
        "second = 9\nhour = 3",
        "apps/menus.toml:28:8:",
        "'hour' allows 3 requests, fewer than 'second'",
    ),
    (L, "hour = 2_000", "hour = 5_001", "limits.toml:3:8:", "'day' allows 5000 requests, fewer than 'hour'"),
    (L, "[owners.marketing]", "[owners.marketnig]", "limits.toml:4:9:", "did you mean 'marketing'?"),
    (L, "[owners.marketing]", "[owners.Marketing]", "limits.toml:4:9:", "an owner cannot be named 'Marketing'"),
    (L, "[workflow]", "[workflows]", "limits.toml:2:2:", "did you mean 'workflow'?"),
    (L, "same_request_per_minute = 40", "same_request_per_minute = true", "limits.toml:1:27:", "is true or false"),
    // Owners.
    (
        O,
        "[marketing]",
        "[marketnig]",
        "owners.toml:1:2:",
        "no app has the owner 'marketnig'; did you mean 'marketing'?",
    ),
    (O, "[marketing]", "[Marketing]", "owners.toml:1:2:", "an owner cannot be named 'Marketing'"),
    (O, "region = \"eu\"", "region = \"The EU\"", "owners.toml:2:10:", "'region' cannot be 'The EU'"),
    (O, "region = \"eu\"", "regoin = \"eu\"", "owners.toml:2:1:", "unknown key 'regoin' in [marketing]"),
    (O, "\"3 GiB\"", "\"9 MiB\"", "owners.toml:4:9:", "lower 'max_size' of app 'menus'"),
    (O, "uploads_per_hour = 500", "uploads_per_hour = 0", "owners.toml:5:20:", "at least 1"),
    (O, "uploads_per_hour", "uploads_per_day", "owners.toml:5:1:", "keys are: bytes, objects, bytes_per_day"),
    (
        M,
        "objects = 1000",
        "objects = 1000\nbytes_per_day = \"9 MiB\"",
        "apps/menus.toml:20:17:",
        "raise 'bytes_per_day'",
    ),
    // Manifests: names and keys.
    (
        M,
        "target = \"images\"",
        "target = \"imgs\"",
        "apps/menus.toml:3:10:",
        "unknown target 'imgs'; targets are: images, images-test, clinic",
    ),
    (M, "target = \"images\"", "target = \"image\"", "apps/menus.toml:3:10:", "did you mean 'images'?"),
    (M, "max_size", "max_sise", "apps/menus.toml:1:1:", "'max_size' is missing"),
    (M, "download_ttl", "donwload_ttl", "apps/menus.toml:12:1:", "did you mean 'download_ttl'?"),
    (
        M,
        "encrypted",
        "encripted",
        "apps/menus.toml:21:1:",
        "unknown key 'encripted' in [content]; did you mean 'encrypted'",
    ),
    (M, "app = \"menus\"", "app = \"menu\"", "apps/menus.toml:1:7:", "the file is named for 'menus'"),
    (M, "owner = \"marketing\"\n", "", "apps/menus.toml:1:1:", "key 'owner' is missing; add for example owner ="),
    (M, "\"marketing\"", "\"The Marketing\"", "apps/menus.toml:2:9:", "'owner' cannot be 'The Marketing'"),
    (
        M,
        "prefix = \"uploads/\"",
        "prefix = \"../x\"",
        "apps/menus.toml:5:10:",
        "a path has no empty, '.' or '..' parts",
    ),
    (M, "prefix = \"uploads/\"", "prefix = \"u/{tenant}/\"", "apps/menus.toml:5:10:", "{workflow}"),
    (M, "prefix = \"uploads/\"", "prefix = 7", "apps/menus.toml:5:10:", "'prefix' is a number, not text"),
    // Manifests: types.
    (M, "[\"image/jpeg\", \"image/png\"]", "[]", "apps/menus.toml:6:9:", "'types' is empty"),
    (
        M,
        "\"image/jpeg\", \"image/png\"]",
        "\"image/*\", \"image/png\"]",
        "apps/menus.toml:6:10:",
        "written as type/subtype",
    ),
    (M, "\"image/jpeg\", ", "\"image/png\", ", "apps/menus.toml:6:23:", "lists \"image/png\" twice"),
    (
        M,
        "types = [\"image/jpeg\", \"image/png\"]",
        "types = \"image/png\"",
        "apps/menus.toml:6:9:",
        "is text, not a list",
    ),
    (M, "inline_types = [\"image/png\"]", "inline_types = [\"image/gif\"]", "apps/menus.toml:7:17:", "not in 'types'"),
    (
        M,
        "inline_types = [\"image/png\"]",
        "inline_types = [\"image/svg+xml\"]",
        "apps/menus.toml:7:17:",
        "carry scripts",
    ),
    (M, "inline_types = [\"image/png\"]", "inline_types = [\"text/html\"]", "apps/menus.toml:7:17:", "carry scripts"),
    (M, "inline_types = [\"image/png\"]", "extensions = [\".jpg\"]", "apps/menus.toml:7:15:", "without its dot"),
    // Manifests: sizes and lives.
    (M, "\"10 MiB\"", "\"10 KB\"", "apps/menus.toml:8:12:", "did you mean \"10 kB\"?"),
    (
        M,
        "\"10 MiB\"",
        "10485760",
        "apps/menus.toml:8:12:",
        "'max_size' is a number, not text; write it in quotes with a unit",
    ),
    (M, "\"10 MiB\"", "\"0 B\"", "apps/menus.toml:8:12:", "at least \"1 B\""),
    (M, "\"1 GiB\"", "\"9 MiB\"", "apps/menus.toml:18:9:", "the quota of 9 MiB is less than one file of 10 MiB"),
    (M, "\"1 MiB\"", "\"11 MiB\"", "apps/menus.toml:16:15:", "above 'max_size'"),
    (
        M,
        "\"image/png\" = \"1 MiB\"",
        "\"image/gif\" = \"1 MiB\"",
        "apps/menus.toml:16:1:",
        "'image/gif' is not in 'types'",
    ),
    (M, "upload_ttl = \"5m\"", "upload_ttl = \"11m\"", "apps/menus.toml:11:14:", "allow 2m to 10m"),
    (M, "upload_ttl = \"5m\"", "upload_ttl = \"5 minutes\"", "apps/menus.toml:11:14:", "for example \"5m\""),
    (M, "download_ttl = \"2m\"", "download_ttl = \"30s\"", "apps/menus.toml:12:16:", "allow 1m to 5m"),
    (M, "objects = 1000", "objects = 0", "apps/menus.toml:19:11:", "at least 1"),
    (M, "objects = 1000", "objects = \"many\"", "apps/menus.toml:19:11:", "is text, not a whole number"),
    (M, "[quota]\nbytes = \"1 GiB\"\nobjects = 1000\n", "", "apps/menus.toml:1:1:", "key 'quota' is missing"),
    (
        F,
        "20 MiB",
        "6 GiB",
        "apps/forms.toml:6:12:",
        "more than 'clinic' takes in one upload; write at most \"5000 MiB\"",
    ),
    // Manifests: classes, methods, origins, content.
    (M, "\"internal\", \"swiss\"", "\"internal\", \"swis\"", "apps/menus.toml:9:32:", "did you mean 'swiss'?"),
    (
        M,
        "default_classification = \"internal\"",
        "default_classification = \"public\"",
        "apps/menus.toml:10:26:",
        "choose one of: internal",
    ),
    (
        M,
        "default_classification = \"internal\"",
        "default_classification = \"swiss\"",
        "apps/menus.toml:10:26:",
        "may not lie in 'eu'",
    ),
    (F, "[\"internal\"]", "[\"swiss\"]", "apps/forms.toml:7:19:", "no class of this app may lie in 'eu'"),
    (M, "[\"PUT\"]", "[\"PATCH\"]", "apps/menus.toml:13:12:", "possible values are: PUT, POST"),
    (M, "[\"PUT\"]", "[]", "apps/menus.toml:13:11:", "'methods' is empty"),
    (
        F,
        "classifications",
        "methods = [\"PUT\", \"POST\"]\nclassifications",
        "apps/forms.toml:7:19:",
        "upload forms exist on S3 only",
    ),
    (M, "https://menus.example.com", "https://menus.example.com/app", "apps/menus.toml:14:12:", "without a path"),
    (M, "https://menus.example.com", "*", "apps/menus.toml:14:12:", "an origin is scheme and host"),
    (M, "https://menus.example.com", "http://menus.example.com", "apps/menus.toml:14:12:", "an origin uses https"),
    (M, "\"hold\"", "\"quarantine\"", "apps/menus.toml:21:13:", "possible values are: reject, hold, allow"),
    (M, "[content]", "content = true\n[x]", "apps/menus.toml:20:1:", ""),
    // Environments and overlaps.
    (
        M,
        "test_target = \"images-test\"",
        "test_target = \"clinic\"",
        "apps/menus.toml:4:15:",
        "a live target, and must be a test one",
    ),
    (F, "target = \"clinic\"", "target = \"images-test\"", "apps/forms.toml:3:10:", "live targets are: images, clinic"),
    (
        F,
        "target = \"clinic\"\nprefix = \"forms/{user}/\"",
        "target = \"images\"\nprefix = \"uploads/pdf/\"",
        "apps/menus.toml:5:10:",
        "overlaps the prefix of app 'forms' ('uploads/pdf/', apps/forms.toml:4)",
    ),
    (
        F,
        "prefix = \"forms/{user}/\"",
        "prefix = \"{user}/\"",
        "apps/forms.toml:4:10:",
        "overlaps the staging prefix of target 'clinic'",
    ),
    (F, "prefix = \"forms/{user}/\"", "prefix = \"incoming/forms/\"", "apps/forms.toml:4:10:", "targets.toml:14"),
    (T, "bucket = \"b-test\"", "bucket = \"b-images\"", "targets.toml:7:2:", "share a bucket"),
    // Targets.
    (T, "provider = \"azure\"", "provider = \"azur\"", "targets.toml:15:12:", "did you mean 'azure'?"),
    (T, "account = \"devstoreaccount1\"\n", "", "targets.toml:14:2:", "key 'account' is missing in [clinic]"),
    (T, "container = \"b-clinic\"", "container = \"B_Clinic\"", "targets.toml:17:13:", "3 to 63 characters"),
    (T, "container = ", "bucket = \"x\"\ncontainer = ", "targets.toml:17:1:", "unknown key 'bucket' in [clinic]"),
    (
        T,
        "region = \"eu-central-1\"\nresidency = \"eu\"\nenvironment = \"test\"",
        "region = \"eu-central-1\"\nresidency = \"eu\"\nenvironment = \"staging\"",
        "targets.toml:12:15:",
        "possible values are: live, test",
    ),
    (T, "[images-test]", "endpoint = \"ftp://x\"\n[images-test]", "targets.toml:7:12:", "write an address like"),
    (T, "[images-test]", "staging_prefix = \"\"\n[images-test]", "targets.toml:7:18:", "'staging_prefix' is empty"),
    (T, "[clinic]", "[Klinik]", "targets.toml:14:2:", "a target cannot be named 'Klinik'"),
    (T, "[images]", "residency = \"eu\"\n[images]", "targets.toml:1:1:", "'residency' is text, not a table"),
    // Classes.
    (C, "upload_max = \"10m\"", "upload_max = \"1h\"", "classifications.toml:2:14:", "choose a value from 2m to 15m"),
    (
        C,
        "upload_max = \"10m\"",
        "upload_min = \"9m\"\nupload_max = \"8m\"",
        "classifications.toml:3:14:",
        "less than 'upload_min'",
    ),
    (C, "\"consent\"", "\"concent\"", "classifications.toml:12:17:", "did you mean 'consent'?"),
    (C, "max_upload_ttl = \"3m\"", "max_upload_ttl = \"1m\"", "classifications.toml:13:18:", "allow 2m to 10m"),
    (C, "residency = [\"any\"]\n", "", "classifications.toml:3:2:", "key 'residency' is missing in [internal]"),
    (
        C,
        "scanner = \"clamav\"\n[swiss]",
        "scanner = \"none\"\n[swiss]",
        "classifications.toml:5:11:",
        "nothing becomes visible unscanned",
    ),
    (
        C,
        "one_time_downloads = true",
        "one_time_downloads = \"yes\"",
        "classifications.toml:15:22:",
        "write true or false without quotes",
    ),
    // What a class allows, and what a manifest makes of it.
    (C, "[swiss]", "[regulated]", "classifications.toml:6:2:", "the class 'regulated' is not; add regulated = true"),
    (C, "[swiss]", "max_size = \"0 B\"\n[swiss]", "classifications.toml:6:12:", "at least \"1 B\""),
    (C, "[swiss]", "types = []\n[swiss]", "classifications.toml:6:9:", "'types' is empty"),
    (C, "[swiss]", "[roles]\ncook = 7\n[swiss]", "classifications.toml:7:8:", "'cook' is a number, not text"),
    (C, "[swiss]", "[roles]\nCook = \"Cooks\"\n[swiss]", "classifications.toml:7:1:", "a role cannot be named 'Cook'"),
    (
        C,
        "[swiss]",
        "roles = [\"cok\"]\n[roles]\ncook = \"Cooks\"\n[swiss]",
        "classifications.toml:6:10:",
        "unknown role 'cok'; did you mean 'cook'?",
    ),
    // Files.
    (M, "owner = \"marketing\"", "owner = \"marketing", "apps/menus.toml:2:", "not valid TOML"),
    (M, "owner = \"marketing\"", "owner = \"marketing\"\nowner = \"finance\"", "apps/menus.toml:3:1:", "duplicate key"),
    ("apps/Menus2.toml", "", "app = \"menus\"\n", "apps/Menus2.toml:1:1:", "an app cannot be named 'Menus2'"),
    ("target.toml", "", "", "target.toml:1:1:", "did you mean targets.toml?"),
];

#[test]
fn every_mistake_is_named_with_its_place_and_remedy() {
    let mut failures = Vec::new();
    for (file, from, to, place, part) in CASES {
        let mut files = base();
        let old = files.remove(*file).unwrap_or_default();
        assert!(old.contains(from), "{file} does not hold {from:?}");
        let new = if from.is_empty() { (*to).to_owned() } else { old.replacen(from, to, 1) };
        files.insert((*file).to_owned(), new);
        match PolicySet::load(write(&files).path()) {
            Ok(_) => failures.push(format!("{file}: {to:?} was accepted")),
            Err(mistakes) => {
                let lines: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
                if !lines.iter().any(|line| line.starts_with(place) && line.contains(part)) {
                    failures.push(format!(
                        "{file}: {to:?}: expected {place} … {part}\n    got {}",
                        lines.join("\n        ")
                    ));
                }
                if mistakes.iter().any(|mistake| mistake.line == 0 || mistake.remedy.is_empty()) {
                    failures.push(format!("{file}: {to:?}: a mistake without line or remedy"));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn one_run_lists_every_mistake_of_every_file() {
    let mut files = base();
    for (file, from, to) in [
        (M, "\"images\"", "\"imgs\""),
        (M, "\"10 MiB\"", "\"10\""),
        (M, "origins", "orgins"),
        (F, "20 MiB", "20"),
        (T, "b-clinic", "B"),
        (C, "\"any\"", "7"),
    ] {
        let text = files[file].replacen(from, to, 1);
        files.insert(file.to_owned(), text);
    }
    let report = check(write(&files).path());
    let places: Vec<String> = report.mistakes.iter().map(|m| format!("{}:{}", m.file, m.line)).collect();
    let expected = ["apps/forms.toml:6", "apps/menus.toml:3", "apps/menus.toml:8", "apps/menus.toml:14", C, T];
    for place in expected {
        assert!(places.iter().any(|own| own.starts_with(place)), "{place} is not in {report}");
    }
    assert!(report.to_string().ends_with("6 mistakes; nothing of this directory is used\n"), "{report}");
}

#[test]
fn a_missing_file_or_directory_is_a_mistake() {
    for name in [T, C] {
        let mut files = base();
        files.remove(name);
        let mistakes = PolicySet::load(write(&files).path()).unwrap_err();
        assert_eq!(mistakes.len(), 1, "{mistakes:?}");
        assert!(mistakes[0].to_string().starts_with(&format!("{name}:1:1: the file is missing; create it")));
    }
    let dir = write(&base());
    std::fs::remove_dir_all(dir.path().join("apps")).unwrap();
    assert_eq!(PolicySet::load(dir.path()).unwrap_err()[0].file, "apps");
    let mistakes = PolicySet::load(&dir.path().join("nowhere")).unwrap_err();
    assert!(mistakes[0].problem.starts_with("the directory cannot be read"), "{mistakes:?}");
}

#[test]
fn text_that_is_not_utf_8_is_named_with_its_line() {
    let dir = write(&base());
    std::fs::write(dir.path().join(M), b"app = \"menus\"\nowner = \"M\xfcnchen\"\n").unwrap();
    let mistakes = PolicySet::load(dir.path()).unwrap_err();
    assert_eq!(
        mistakes[0].to_string(),
        "apps/menus.toml:2:11: the text is not UTF-8; save the file with the encoding UTF-8"
    );
}

#[test]
fn files_with_windows_line_ends_and_a_byte_order_mark_load() {
    let mut files = base();
    files.values_mut().for_each(|text| *text = format!("\u{feff}{}", text.replace('\n', "\r\n")));
    load(&files);
}

#[test]
fn the_name_of_the_app_may_stand_for_itself_in_a_prefix() {
    let mut files = base();
    for name in ["one", "two"] {
        let text = super::FORMS.replace("\"forms\"", &format!("\"{name}\"")).replace("forms/{user}/", "{app}/{user}/");
        files.insert(format!("apps/{name}.toml"), text);
    }
    load(&files);
}
