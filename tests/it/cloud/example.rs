//! `vestibule.toml`, the annotated example: it loads as it is, says the defaults, and leaves no setting out.

use std::path::{Path, PathBuf};

use vestibule::config::{self, Config, ConfigError};

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn load(text: &str) -> Result<Config, ConfigError> {
    let file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
    std::fs::write(file.path(), text).unwrap();
    config::load(Some(file.path()))
}

/// The example with every setting in force. Prose begins with "# ", a setting that is commented out with "#" alone.
fn everything() -> String {
    let text = std::fs::read_to_string(root("vestibule.toml")).unwrap();
    let setting = |line: &str| match line.strip_prefix('#') {
        Some(rest) if !rest.starts_with(' ') => rest.to_owned(),
        _ => line.to_owned(),
    };
    text.lines().map(setting).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_example_loads_as_it_is_and_says_the_defaults() {
    let mut loaded = config::load(Some(&root("vestibule.toml"))).unwrap();
    // The file is named; it is the one that is taken where neither a file nor a database is.
    assert_eq!(loaded.store.path.take(), Some(Config::default().store.sqlite()));
    assert_eq!(loaded.source.take(), Some(root("vestibule.toml")));
    assert_eq!(format!("{loaded:#?}"), format!("{:#?}", Config::default()));
}

#[test]
fn the_example_loads_with_every_setting_but_for_files_that_are_not_there() {
    let Err(ConfigError(mistakes)) = load(&everything()) else { panic!("there are no such certificates") };
    let (missing, others): (Vec<_>, Vec<_>) =
        mistakes.iter().partition(|mistake| mistake.starts_with("tls: there is no file /etc/vestibule/"));
    assert_eq!(missing.len(), 4, "{mistakes:#?}");
    // A file and a database cannot both be in force, and a header is nobody's without a proxy.
    let told = [
        "store.url: is given beside store.path; leave one of them out",
        "public.client_certificate_header: is believed from trusted_proxies only; name them",
    ];
    assert_eq!(others, told);
}

/// The names that a section knows, which it tells to whoever writes one that it does not.
fn known(heading: &str) -> Vec<String> {
    let Err(ConfigError(mistakes)) = load(&format!("{heading}\nno_such_setting = 1\n")) else {
        panic!("{heading} takes any name")
    };
    let text = mistakes.iter().find(|mistake| mistake.contains("no_such_setting`")).unwrap();
    let (_, names) = text.split_once("expected").unwrap();
    names.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn the_example_leaves_no_setting_out() {
    let example: toml::Table = everything().parse().unwrap();
    let mut sections = known("");
    sections.sort();
    let mut written: Vec<_> = example.keys().cloned().collect();
    written.sort();
    assert_eq!(written, sections);

    for heading in [
        "[public]",
        "[admin]",
        "[public.tls]",
        "[store]",
        "[limits]",
        "[identity]",
        "[[identity.issuers]]",
        "[[identity.issuers]]\n[identity.issuers.claims]",
        "[[identity.issuers]]\n[identity.issuers.operators]",
        "[policies]",
        "[scanner]",
        "[events]",
        "[[events.sqs]]",
        "[[events.azure_queues]]",
        "[events.eventgrid]",
        "[events.sns]",
        "[sweep]",
        "[audit]",
        "[telemetry]",
        "[embedded]",
        "[credentials.x]",
    ] {
        let names = known(heading);
        assert!(!names.is_empty(), "{heading}");
        let path = heading.lines().last().unwrap().trim_matches(['[', ']']);
        let mut here = toml::Value::Table(example.clone());
        for part in path.split('.') {
            here = match part {
                // Any name will do there; the example has one for each provider.
                "x" => here
                    .as_table()
                    .unwrap()
                    .values()
                    .flat_map(|entry| entry.as_table().unwrap().clone())
                    .collect::<toml::Table>()
                    .into(),
                part => here.get(part).unwrap_or_else(|| panic!("{path} is not in the example")).clone(),
            };
            here = here.as_array().map_or(here.clone(), |list| list[0].clone());
        }
        // The other name of `addresses`, for one server.
        for name in names.into_iter().filter(|name| (path, name.as_str()) != ("scanner", "address")) {
            assert!(here.get(&name).is_some(), "{path}.{name} is not in the example");
        }
    }
}
