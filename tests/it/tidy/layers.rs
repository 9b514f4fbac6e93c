//! Imports point down only.
//!
//! `cli → startup → {http, worker} → app → {policy, identity, storage, store, audit} → domain`; backoff, clock, fault and
//! telemetry are bases, and config holds the settings of the modules that it configures. The table names what each may import.

use super::{File, files, none};

/// A top module of the library and the others that it may name.
const MAY_IMPORT: [(&str, &[&str]); 18] = [
    ("domain", &[]),
    ("backoff", &[]),
    ("clock", &[]),
    ("fault", &[]),
    ("telemetry", &[]),
    ("audit", &["domain"]),
    ("policy", &["domain"]),
    ("store", &["clock", "domain", "fault"]),
    ("storage", &["clock", "domain"]),
    ("identity", &["backoff", "clock", "domain", "store"]),
    ("limits", &["clock", "domain"]),
    ("app", &["audit", "clock", "domain", "fault", "identity", "limits", "policy", "storage", "store"]),
    ("worker", &["app", "backoff", "clock", "domain", "fault", "policy", "storage", "store"]),
    ("http", &["app", "clock", "domain", "identity", "policy", "store"]),
    ("config", &["domain", "identity", "limits", "storage", "store", "telemetry", "worker"]),
    (
        "startup",
        &[
            "app",
            "audit",
            "clock",
            "config",
            "domain",
            "http",
            "identity",
            "limits",
            "policy",
            "storage",
            "store",
            "telemetry",
            "worker",
        ],
    ),
    (
        "cli",
        &["app", "clock", "config", "domain", "http", "policy", "startup", "storage", "store", "telemetry", "worker"],
    ),
    ("main", &["cli"]),
];

/// The one step sideways: the push endpoints hand what they receive to the parsers of the queues.
const SIDEWAYS: [(&str, &str); 1] = [("src/http/events.rs", "worker")];

#[test]
fn imports_point_down_only() {
    let mut findings = Vec::new();
    for file in files(&["src"]).iter().filter(|file| file.path.ends_with(".rs") && file.path != "src/lib.rs") {
        let own = top(&file.path);
        let Some((_, allowed)) = MAY_IMPORT.iter().find(|(name, _)| *name == own) else {
            findings.push(format!("{}: '{own}' is not in the table of layers", file.path));
            continue;
        };
        for (line, name) in imports(file) {
            let sideways = SIDEWAYS.contains(&(file.path.as_str(), name.as_str()));
            if name != own && !allowed.contains(&name.as_str()) && !sideways {
                findings.push(format!("{}:{line}: {own} may not import {name}", file.path));
            }
        }
    }
    none("imports point down only", findings);
}

#[test]
fn the_table_of_layers_has_no_cycle() {
    let mut settled: Vec<&str> = Vec::new();
    while settled.len() < MAY_IMPORT.len() {
        let next = MAY_IMPORT
            .iter()
            .find(|(name, allowed)| !settled.contains(name) && allowed.iter().all(|below| settled.contains(below)));
        settled.push(next.unwrap_or_else(|| panic!("a cycle beyond {settled:?}")).0);
    }
}

#[test]
fn imports_are_found_in_every_form() {
    let text = "use crate::{a::x, b::{y, z},\n    c};\nuse super::super::clock::Clock;\n// crate::no\nlet d = crate::d::f();\n\
                use super::inner;\nvestibule::e::f();\n";
    let file = File { path: "src/http/public/x.rs".into(), text: text.into() };
    let names: Vec<String> = imports(&file).into_iter().map(|(_, name)| name).collect();
    assert_eq!(names, ["a", "b", "c", "d", "e"]);
    let file = File { path: "src/app/x.rs".into(), text: text.into() };
    assert!(imports(&file).contains(&(3, "clock".into())));
}

/// `src/http/admin/mod.rs` and `src/http.rs` both belong to `http`.
fn top(path: &str) -> &str {
    let inner = path.strip_prefix("src/").unwrap_or(path);
    inner.split(['/', '.']).next().unwrap_or(inner)
}

/// The top modules that a file names, by `crate::`, by enough `super::`, or by the library's name; with their lines.
fn imports(file: &File) -> Vec<(usize, String)> {
    let code: String = file
        .text
        .lines()
        .flat_map(|line| [if line.trim_start().starts_with("//") { "" } else { line }, "\n"])
        .collect();
    let mut found = Vec::new();
    for start in ["crate::", "vestibule::"] {
        for (at, _) in code.match_indices(start) {
            if !code[..at].ends_with(is_word) {
                let line = line_of(&code, at);
                found.extend(heads(&code[at + start.len()..]).into_iter().map(|name| (line, name)));
            }
        }
    }
    let depth = depth(&file.path);
    let chain = "super::".repeat(depth);
    for (at, _) in code.match_indices(&chain) {
        let names = heads(&code[at + chain.len()..]);
        let line = line_of(&code, at);
        found.extend(names.into_iter().filter(|name| is_top(name)).map(|name| (line, name)));
    }
    found.sort();
    found
}

/// How many `super::` lead from this file to the crate.
fn depth(path: &str) -> usize {
    let inner = path.strip_prefix("src/").unwrap_or(path);
    let parts = inner.split('/').count();
    if inner.ends_with("mod.rs") { parts - 1 } else { parts }
}

fn is_top(name: &str) -> bool {
    MAY_IMPORT.iter().any(|(top, _)| *top == name)
}

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_' || letter == '$'
}

fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

/// The first segments of a path, or of each path in braces.
fn heads(rest: &str) -> Vec<String> {
    let Some(group) = rest.strip_prefix('{') else {
        return vec![rest.chars().take_while(|letter| is_word(*letter)).collect()];
    };
    let (mut names, mut level, mut name, mut done) = (Vec::new(), 0, String::new(), false);
    for letter in group.chars() {
        match letter {
            '{' => level += 1,
            '}' if level > 0 => level -= 1,
            '}' => break,
            ',' if level == 0 => {
                names.push(std::mem::take(&mut name));
                done = false;
            }
            _ if level == 0 && !done && is_word(letter) => name.push(letter),
            _ if !name.is_empty() => done = true,
            _ => {}
        }
    }
    names.push(name);
    names.retain(|name| !name.is_empty());
    names
}
