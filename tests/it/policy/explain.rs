//! Explanations and the matrix: what decided, what was checked before, and what would be allowed.

use vestibule::policy::cases::{Explanation, PolicyFiles, case_of_file, explain, matrix};

use super::{base, examples, load, methods};

/// What the base set says about an upload of menus, with these changes of the case.
fn upload(changes: &str) -> Explanation {
    let usual = "filename = 'menu.jpg', size = 1000, contentType = 'image/jpeg'";
    asked(&format!("app = 'menus'\naction = 'upload'\nproof_of_possession = true\nrequest = {{ {usual} }}\n"), changes)
}

/// `request.key = value` replaces or adds; every other line is added.
fn asked(case: &str, changes: &str) -> Explanation {
    let mut table: toml_edit::DocumentMut = case.parse().unwrap();
    let changes: toml_edit::DocumentMut = changes.parse().unwrap();
    for (key, value) in changes.iter() {
        match (key, value.as_table_like()) {
            ("request", Some(own)) => own.iter().for_each(|(key, value)| table["request"][key] = value.clone()),
            _ => table[key] = value.clone(),
        }
    }
    let mut files = base();
    let demanding = files["apps/menus.toml"].replacen("\n[", "\nproof_of_possession = \"any\"\n[", 1);
    files.insert("apps/menus.toml".into(), demanding);
    explain(&files, &load(&files), &case_of_file("ask.toml", &table.to_string()).unwrap(), methods)
}

#[test]
fn a_refusal_shows_its_line_and_what_would_be_allowed() {
    let explanation = upload("request.size = '11 MiB'");
    assert_eq!(
        (explanation.allowed, explanation.code, explanation.status),
        (false, Some("size_not_allowed"), Some(403))
    );
    assert_eq!(explanation.decided_by[0].rule, "apps/menus.toml:8 max_size");
    assert_eq!(explanation.decided_by[0].text.as_deref(), Some("max_size = \"10 MiB\""));
    assert_eq!(explanation.passed.last(), Some(&"the extension"));
    let possible = explanation.would_be_allowed.unwrap();
    assert_eq!(possible.types, ["image/jpeg up to 10 MiB (.jpg .jpeg .jpe .jfif)", "image/png up to 1 MiB (.png)"]);
    assert_eq!(possible.paths, ["/uploads/"]);
    assert_eq!(possible.classifications, ["internal for 5m", "personal for 3m"], "none lies in ch");
    assert_eq!(possible.methods, ["PUT"]);
    assert!(possible.lawful_bases.contains(&"consent"), "{possible:?}");
}

#[test]
fn a_scope_narrows_what_would_be_allowed() {
    let explanation = upload("scopes = ['storage:*:menus:write:prefix=/uploads/u-1/']");
    assert_eq!(explanation.code, Some("scope_insufficient"));
    assert_eq!(explanation.would_be_allowed.unwrap().paths, ["/uploads/u-1/"]);
}

#[test]
fn a_permit_shows_its_terms_and_every_check() {
    let explanation = upload("");
    assert!(explanation.allowed && explanation.code.is_none());
    let rules: Vec<&str> = explanation.decided_by.iter().map(|own| own.rule.as_str()).collect();
    assert_eq!(rules, ["apps/menus.toml", "base.cedar:1 within-the-manifests"]);
    assert!(explanation.decided_by[1].text.as_ref().unwrap().contains("permit"), "{:?}", explanation.decided_by);
    assert_eq!((explanation.permit["ttl"].as_str(), explanation.permit["target"].as_str()), ("5m", "images"));
    assert_eq!(explanation.passed.last(), Some(&"Cedar's policies"));
    let json = serde_json::to_value(&explanation).unwrap();
    assert!(json["decidedBy"].is_array() && json["wouldBeAllowed"]["paths"].is_array(), "{json}");
}

#[test]
fn a_cedar_policy_is_shown_whole() {
    let mut files = base();
    let text =
        "// First.\n@id(\"no-nights\")\nforbid (principal, action == Action::\"delete\", resource)\nwhen { true };\n";
    files.insert("guards.cedar".into(), text.into());
    let case = case_of_file("ask.toml", "app = 'menus'\naction = 'delete'\n").unwrap();
    let explanation = explain(&files, &load(&files), &case, methods);
    assert_eq!(explanation.decided_by[0].rule, "guards.cedar:2 no-nights");
    let shown = explanation.decided_by[0].text.as_deref().unwrap();
    assert!(shown.starts_with("@id") && shown.ends_with("when { true };"), "{shown}");
    assert_eq!(explanation.passed.last(), Some(&"the person may handle the class"));
}

/// One mistake for each check, in the order of the decision; with this one and all later ones, this one decides.
#[test]
fn the_checks_stand_in_the_order_in_which_they_are_made() {
    let mistakes = [
        ("the request can be read", "request.path = '../'"),
        ("the app is registered and switched on", "app = 'unheard-of'"),
        ("the app's proof of possession", "proof_of_possession = false"),
        ("a scope of the token covers it", "scopes = []"),
        ("the path lies under the app's prefix", "request.path = 'invoices/'"),
        ("the content type", "request.contentType = 'text/csv'"),
        ("the extension", "request.filename = 'menu.png'"),
        ("the size", "request.size = '11 MiB'"),
        ("the data class", "request.classification = 'secret'"),
        ("the lawful basis", "request.classification = 'personal'"),
        ("the target's region", "request.classification = 'swiss'"),
        ("the upload method", "request.method = 'POST'"),
        ("the metadata", "request.metadata = { Table = '7' }"),
    ];
    let every = upload("").passed;
    for (at, (name, _)) in mistakes.iter().enumerate() {
        let mut lines: Vec<&str> = Vec::new();
        for (_, mistake) in &mistakes[at..] {
            let key = mistake.split(" = ").next().unwrap();
            if !lines.iter().any(|line| line.starts_with(key)) {
                lines.push(mistake);
            }
        }
        let explanation = upload(&lines.join("\n"));
        let position = every.iter().position(|check| check == name).unwrap();
        assert_eq!(explanation.passed, every[..position], "{name}: {:?}", explanation.detail);
    }
}

#[test]
fn the_matrix_of_the_examples_is_the_committed_one() {
    let set = PolicyFiles::read(&examples()).unwrap().set().unwrap();
    let text = matrix(&set, methods);
    for app in set.apps() {
        assert!(text.contains(&format!("\n## {}\n", app.app)), "{}", app.app);
    }
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/decision-matrix.md");
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(committed.ends_with(&text), "write it anew: cargo run -- generate docs");
}
