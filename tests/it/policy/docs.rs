//! docs/policy.md: every snippet of a policy file is run.
//!
//! A snippet begins with a comment that names its file, for example `# apps/menu-photos.toml` or
//! `// base.cedar`. A later snippet of the
//! same file that says `(add)` is appended to it. Together they are a policy directory that loads.

use std::collections::BTreeMap;

use vestibule::policy::cases::{PolicyFiles, run};
use vestibule::policy::{PolicySet, check};

use super::{Files, base, write};

fn guide() -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/policy.md");
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))
}

fn blocks<'t>(text: &'t str, language: &str) -> Vec<&'t str> {
    let open = format!("```{language}\n");
    text.split(open.as_str()).skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

fn snippets(text: &str) -> Files {
    let mut files: BTreeMap<String, String> = Files::new();
    let cedar = blocks(text, "cedar").into_iter().map(|block| (block, "// "));
    for (block, comment) in blocks(text, "toml").into_iter().map(|block| (block, "# ")).chain(cedar) {
        let first = block.lines().next().unwrap();
        let name = first.strip_prefix(comment).unwrap_or_else(|| panic!("{first:?} does not name the snippet's file"));
        match name.strip_suffix(" (add)") {
            Some(name) => files.get_mut(name).unwrap_or_else(|| panic!("{name} has no first snippet")).push_str(block),
            None => assert!(files.insert(name.to_owned(), block.to_owned()).is_none(), "{name} is there twice"),
        }
    }
    files
}

#[test]
fn the_snippets_of_the_guide_make_a_directory_that_loads() {
    let files = snippets(&guide());
    assert!(files.len() >= 3, "{:?}", files.keys());
    let report = check(write(&files).path());
    assert!(report.is_good(), "{report}");
}

#[test]
fn the_cases_of_the_guide_go_as_it_says() {
    let dir = write(&snippets(&guide()));
    let files = PolicyFiles::read(dir.path()).unwrap();
    let set = files.set().unwrap();
    let cases = files.cases(&set).unwrap();
    let report = run(&set, &cases, "", super::methods);
    assert!(report.is_good() && report.cases >= 4, "{report}");
}

#[test]
fn the_mistake_that_the_guide_shows_is_the_one_that_is_printed() {
    let guide = guide();
    let mut files = snippets(&guide);
    let name = "apps/menu-photos.toml";
    let text = files[name].replace("target = \"photos\"", "target = \"fotos\"").replace("max_size =", "max_sise =");
    files.insert(name.to_owned(), text);
    let report = check(write(&files).path());
    let shown = blocks(&guide, "text").concat();
    assert!(shown.contains(&report.to_string()), "the guide shows\n{shown}\nand the program prints\n{report}");
}

/// The keys of a table, as the message about an unknown one lists them.
fn keys_of(file: &str, heading: &str) -> Vec<String> {
    let mut files = base();
    files.insert("access.toml".to_owned(), super::access::ACCESS.to_owned());
    let text = files[file].replacen(heading, &format!("{heading}\nnonsense-key-of-this-test = 1\n"), 1);
    files.insert(file.to_owned(), text);
    let mistakes = PolicySet::load(write(&files).path()).unwrap_err();
    let (_, keys) = mistakes[0].remedy.split_once("keys are: ").unwrap_or_else(|| panic!("{mistakes:?}"));
    keys.split(", ").map(ToOwned::to_owned).collect()
}

#[test]
fn the_guide_explains_every_key_that_there_is() {
    let guide = guide();
    let (manifest, targets, classes) = ("apps/menus.toml", "targets.toml", "classifications.toml");
    let mut count = 0;
    for (file, heading) in [
        (manifest, "owner = \"marketing\""),
        (manifest, "[quota]"),
        (manifest, "[content]"),
        (manifest, "[limits]"),
        (manifest, "[limits.workflow]"),
        ("limits.toml", "[workflow]"),
        ("access.toml", "self_approval = [\"test\"]"),
        ("access.toml", "[[automatic]]"),
        ("owners.toml", "[marketing]"),
        ("owners.toml", "[marketing.quota]"),
        (targets, "[images]"),
        (targets, "[clinic]"),
        (targets, "[images-test.retention]"),
        (classes, "[ttl]"),
        (classes, "[internal]"),
    ] {
        for key in keys_of(file, heading) {
            assert!(
                guide.contains(&format!("`{key}`")) || guide.contains(&format!("`[{key}]`")),
                "{key} is not explained"
            );
            count += 1;
        }
    }
    assert!(count > 40, "{count}");
}
