//! The project's own rules, read from its files: layers, walls, shapes, words.
//!
//! A failure names the file, the line and the rule. The tables here are the rules; what they allow was decided, and a new
//! exception is a change to be discussed. It reads text, not syntax: comments are left out, and names that only macros
//! would make are not seen.

mod layers;
mod walls;

use std::path::{Path, PathBuf};

/// A file of the project.
struct File {
    /// From the project's root, for example `src/http/mod.rs`.
    path: String,
    text: String,
}

impl File {
    /// The lines that are code, with their numbers: no comments, and nothing from the first test module on.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let of_tests = self.path.ends_with("/tests.rs");
        self.text
            .lines()
            .enumerate()
            .take_while(move |(_, line)| !of_tests && *line != "#[cfg(test)]")
            .filter(|(_, line)| !line.trim_start().starts_with("//"))
            .map(|(at, line)| (at + 1, line))
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Everything below these directories or files that would be committed, in order.
fn files(tops: &[&str]) -> Vec<File> {
    let mut found = Vec::new();
    for top in tops {
        walk(&root().join(top), &mut found);
    }
    found.sort();
    found
        .into_iter()
        .filter_map(|path| {
            let text = std::fs::read_to_string(&path).ok()?; // pictures and the like are no text
            Some(File { path: path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned(), text })
        })
        .collect()
}

fn walk(path: &Path, found: &mut Vec<PathBuf>) {
    const NOT_COMMITTED: [&str; 6] = [".git", ".state", ".vestibule", "target", "node_modules", "__pycache__"];
    if path.file_name().and_then(|name| name.to_str()).is_some_and(|name| NOT_COMMITTED.contains(&name)) {
        return;
    }
    let Ok(entries) = std::fs::read_dir(path) else {
        if path.is_file() {
            found.push(path.to_owned());
        }
        return;
    };
    for entry in entries {
        walk(&entry.unwrap().path(), found);
    }
}

fn rust() -> Vec<File> {
    let files: Vec<File> = files(&["src", "tests", "benches", "examples"]);
    files.into_iter().filter(|file| file.path.ends_with(".rs")).collect()
}

/// Fails with every finding, not only the first.
fn none(rule: &str, findings: Vec<String>) {
    assert!(findings.is_empty(), "{rule}:\n  {}", findings.join("\n  "));
}

#[test]
fn every_file_says_what_it_is_for() {
    let silent = rust().into_iter().filter(|file| !file.text.starts_with("//! ")).map(|file| file.path);
    none("a Rust file opens with a `//!` header", silent.collect());
}

#[test]
fn files_are_small_enough_to_hold_in_the_head() {
    let long = rust().into_iter().filter_map(|file| {
        let limit = if file.path.starts_with("tests/") { 700 } else { 400 };
        let lines = file.text.lines().count();
        (lines > limit).then(|| format!("{}: {lines} lines, at most {limit}", file.path))
    });
    none("a file has a bounded length", long.collect());
}

#[test]
fn nothing_is_left_for_later_and_no_test_is_left_out() {
    // In pieces, so that this file does not find itself.
    let words = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("todo", "!("),
        concat!("unimplemented", "!("),
        concat!("#[ign", "ore"),
    ];
    let endings = [".rs", ".sh", ".py", ".md", ".toml", ".sql", ".html", "/up", "/down", "/run"];
    let mut findings = Vec::new();
    for file in files(&["."]).iter().filter(|file| endings.iter().any(|ending| file.path.ends_with(ending))) {
        for (at, line) in file.text.lines().enumerate() {
            if let Some(word) = words.iter().find(|word| line.contains(*word)) {
                findings.push(format!("{}:{}: {word}", file.path, at + 1));
            }
        }
    }
    none("nothing is left for later", findings);
}

#[test]
fn no_file_is_a_virus_sample_or_names_a_private_path() {
    let eicar = String::from_utf8(crate::harness::eicar()).unwrap();
    let private = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/var/", "tmp/")];
    let mut findings = Vec::new();
    for file in files(&["."]) {
        if file.text.contains(&eicar) {
            findings.push(format!("{}: holds the EICAR text; put it together at run time", file.path));
        }
        let prose = file.path.ends_with(".md") || file.path.ends_with(".html");
        for (at, line) in file.text.lines().enumerate().filter(|_| prose) {
            if let Some(path) = private.iter().find(|path| line.contains(*path)) {
                findings.push(format!("{}:{}: {path}", file.path, at + 1));
            }
        }
    }
    none("files can be given to anybody", findings);
}

#[test]
fn decisions_are_numbered_without_gaps_and_fit_a_page() {
    let decisions = files(&["docs/decisions"]);
    assert!(!decisions.is_empty());
    let mut findings = Vec::new();
    for (at, file) in decisions.iter().enumerate() {
        let number = format!("{:04}", at + 1);
        if !file.path.starts_with(&format!("docs/decisions/{number}-")) {
            findings.push(format!("{}: number {number} should be here", file.path));
        }
        let lines = file.text.lines().count();
        if lines > 80 {
            findings.push(format!("{}: {lines} lines, a page has 80", file.path));
        }
        for part in ["## Context", "## Decision", "## Consequences"] {
            if !file.text.contains(part) {
                findings.push(format!("{}: has no '{part}'", file.path));
            }
        }
    }
    none("a decision record is one numbered page", findings);
}
