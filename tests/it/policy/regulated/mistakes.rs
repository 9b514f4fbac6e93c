//! What a regulated class may not leave open, and what a manifest may not say beyond its classes.

use vestibule::policy::PolicySet;

use super::super::write;
use super::care;

/// File, text to replace, new text, expected place, part of the message.
const MISTAKES: &[(&str, &str, &str, &str, &str)] = &[
    (
        "classifications.toml",
        "roles = [\"clinician\", \"nurse\"]\n",
        "",
        "classifications.toml:16:2:",
        "names no roles",
    ),
    ("classifications.toml", "[\"clinician\", \"nurse\"]", "[]", "classifications.toml:18:9:", "names no roles"),
    (
        "classifications.toml",
        "lawful_basis = [\"consent\", \"vital-interests\"]\n",
        "",
        "classifications.toml:16:2:",
        "asks for no lawful basis",
    ),
    ("classifications.toml", "[\"eu\", \"ch\"]", "[\"any\"]", "classifications.toml:19:14:", "may lie anywhere"),
    (
        "classifications.toml",
        "[\"eu\", \"ch\"]",
        "[\"ch\"]",
        "apps/care.toml:8:32:",
        "may not lie in 'eu', the region of",
    ),
    (
        "owners.toml",
        "[ward]\nregion = \"eu\"",
        "[ward]",
        "apps/care.toml:8:32:",
        "the owner 'ward' of this app has no region; add [ward]",
    ),
    (
        "owners.toml",
        "[ward]\nregion = \"eu\"",
        "[ward]\nregion = \"ch\"",
        "apps/care.toml:3:10:",
        "must lie in 'ch', the region of 'ward'; 'target' 'images' lies in 'eu'",
    ),
    (
        "owners.toml",
        "[ward]\nregion = \"eu\"",
        "[ward]\nregion = \"ch\"",
        "apps/care.toml:4:15:",
        "'test_target' 'images-test' lies in 'eu'",
    ),
    (
        "apps/care.toml",
        "[\"care\", \"internal\"]",
        "[\"internal\"]",
        "apps/care.toml:8:32:",
        "no workflow of this app is authorised for it; add [workflows.<name>]",
    ),
    ("apps/care.toml", "[\"care\", \"internal\"]", "[\"car\"]", "apps/care.toml:15:20:", "did you mean 'care'?"),
    ("apps/care.toml", "[\"care\", \"internal\"]", "[]", "apps/care.toml:15:19:", "'classifications' is empty"),
    (
        "apps/care.toml",
        "[workflows.intake]",
        "[workflows.Intake]",
        "apps/care.toml:14:12:",
        "a workflow cannot be named 'Intake'",
    ),
    (
        "apps/care.toml",
        "[workflows.export]\n",
        "[workflows.export]\nroles = [\"x\"]\n",
        "apps/care.toml:17:1:",
        "unknown key 'roles' in [export]",
    ),
    (
        "apps/care.toml",
        "[\"internal\", \"care\"]",
        "[\"care\"]",
        "apps/care.toml:7:12:",
        "no class of this app allows more than 2 MB; write at most \"2 MB\"",
    ),
    (
        "apps/care.toml",
        "[\"internal\", \"care\"]",
        "[\"care\"]",
        "apps/care.toml:6:29:",
        "no class of this app may have the type 'text/csv'",
    ),
    (
        "apps/care.toml",
        "[\"internal\", \"care\"]",
        "[\"care\"]",
        "apps/care.toml:10:16:",
        "'download_ttl' is 2m, and no class of this app allows more than 90s",
    ),
    (
        "apps/care.toml",
        "classifications = [\"internal\", \"care\"]\nupload_ttl = \"4m\"",
        "classifications = [\"care\"]\nupload_ttl = \"5m\"",
        "apps/care.toml:9:14:",
        "'upload_ttl' is 5m, and no class of this app allows more than 4m",
    ),
];

#[test]
fn what_a_regulated_class_leaves_open_and_what_is_wider_than_every_class_is_a_mistake() {
    for (file, from, to, place, part) in MISTAKES {
        let mut files = care();
        assert!(files[*file].contains(from), "{file}: {from}");
        let text = files[*file].replacen(from, to, 1);
        files.insert((*file).to_owned(), text);
        let mistakes = PolicySet::load(write(&files).path()).unwrap_err();
        let told: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        assert!(told.iter().any(|one| one.starts_with(place) && one.contains(part)), "{to}: {part}: {told:#?}");
    }
    // Of two classes one may be narrower: the request decides then.
    assert!(PolicySet::load(write(&care()).path()).is_ok());
}
