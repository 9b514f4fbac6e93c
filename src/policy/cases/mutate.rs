//! Every rule of a policy directory that a decision can see, with texts in which it is another one.
//!
//! A rule is a key of a TOML file, an entry of a list in one, or a Cedar policy. Its mutants differ from the directory in
//! that one place: an entry dropped, a number or a time halved or doubled, a flag turned, a name exchanged, a policy left
//! out or turned round. The texts are edited by the places of their values, so that everything else stays as it is.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::policy::units::{parse_duration, parse_size};

use super::statements::statements;

/// A rule with its mutants.
pub(super) struct Rule {
    pub(super) file: String,
    pub(super) line: u32,
    /// The key with those of its tables, for example `max_size_per_type.image/png`, or a Cedar policy's id.
    pub(super) key: String,
    pub(super) mutants: Vec<Mutant>,
}

/// A text in which one rule is another one.
pub(super) struct Mutant {
    /// What was done, for example `dropped "image/png"`.
    pub(super) what: String,
    /// The file's text.
    pub(super) text: String,
}

/// Keys that no decision looks at: how a place is reached, what inspection does, what is counted elsewhere. The path of a
/// key begins with one of these; `*` is any name.
const NOT_DECIDED: [(&str, &[&str]); 6] = [
    (
        "apps/",
        &["app", "origins", "quota", "limits", "content", "exchange.workflow", "exchange.issuers", "exchange.clients"],
    ),
    (
        "targets.toml",
        &[
            "*.provider",
            "*.bucket",
            "*.region",
            "*.account",
            "*.container",
            "*.endpoint",
            "*.path_style",
            "*.credentials",
            "*.staging_prefix",
            "*.staging_bucket",
            "*.retention",
        ],
    ),
    ("classifications.toml", &["*.scanner"]),
    ("limits.toml", &["workflow", "owners", "same_request_per_minute"]),
    // A region that does not fit is a mistake of the directory, and where none is asked for nobody sees it.
    ("owners.toml", &["*.quota", "*.region"]),
    ("access.toml", &["claim_ttl", "max_token_ttl", "change_window", "self_approval", "automatic"]),
];

/// The values of the set that can stand in for each other, by the key that they stand under.
struct Names<'a> {
    targets: Vec<&'a str>,
    classes: Vec<&'a str>,
    /// Of a key, everything that any file writes under it.
    others: BTreeMap<String, Vec<&'a str>>,
}

/// Every rule, by file and line.
pub(super) fn rules(files: &BTreeMap<String, String>) -> Vec<Rule> {
    let mut leaves = Vec::new();
    for (name, text) in files.iter().filter(|(name, _)| name.ends_with(".toml")) {
        let Ok(table) = DeTable::parse(text) else { continue };
        let mut walk = Walk { file: name, text, path: Vec::new(), leaves: &mut leaves };
        walk.table(table.get_ref());
    }
    let names = Names::of(&leaves, files);
    let decided = leaves.iter().filter(|leaf| leaf.is_decided() && !names.is_out_of_sight(leaf));
    let mut rules: Vec<Rule> = decided.map(|leaf| leaf.rule(&names)).collect();
    for (name, text) in files.iter().filter(|(name, _)| name.ends_with(".cedar")) {
        rules.extend(statements(text).into_iter().map(|own| own.rule(name, text)));
    }
    rules.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
    rules
}

/// A value that is no table, or one entry of a list, with its place.
struct Leaf<'a> {
    file: &'a str,
    text: &'a str,
    path: Vec<String>,
    key: Range<usize>,
    /// Of the whole value.
    span: Range<usize>,
    value: Value,
}

enum Value {
    Flag(bool),
    Number(u64),
    Text(String),
    /// One entry of a list: which one, and the places of all.
    Entry(usize, Vec<Range<usize>>, Option<String>),
}

struct Walk<'w, 'a> {
    file: &'a str,
    text: &'a str,
    path: Vec<String>,
    leaves: &'w mut Vec<Leaf<'a>>,
}

impl<'a> Walk<'_, 'a> {
    fn table(&mut self, table: &DeTable<'_>) {
        for (key, value) in table {
            self.path.push(key.get_ref().to_string());
            self.value(key.span(), value);
            self.path.pop();
        }
    }

    fn value(&mut self, key: Range<usize>, value: &Spanned<DeValue<'_>>) {
        let span = value.span();
        let mut leaf = |found: Value| {
            let (file, text, path) = (self.file, self.text, self.path.clone());
            self.leaves.push(Leaf { file, text, path, key: key.clone(), span: span.clone(), value: found });
        };
        match value.get_ref() {
            DeValue::Table(table) => self.table(table),
            DeValue::Boolean(flag) => leaf(Value::Flag(*flag)),
            DeValue::Integer(number) => leaf(Value::Number(number.as_str().replace('_', "").parse().unwrap_or(0))),
            DeValue::String(text) => leaf(Value::Text(text.to_string())),
            DeValue::Array(entries) => {
                let places: Vec<Range<usize>> = entries.iter().map(Spanned::span).collect();
                for (at, entry) in entries.iter().enumerate() {
                    let text = entry.get_ref().as_str().map(str::to_owned);
                    leaf(Value::Entry(at, places.clone(), text));
                }
            }
            DeValue::Float(_) | DeValue::Datetime(_) => {}
        }
    }
}

impl<'a> Names<'a> {
    fn of(leaves: &'a [Leaf<'a>], files: &'a BTreeMap<String, String>) -> Self {
        let heads = |file: &str| -> Vec<&'a str> {
            let own = leaves.iter().filter(|leaf| leaf.file == file && leaf.path.len() > 1);
            let mut names: Vec<&str> = own.map(|leaf| leaf.path[0].as_str()).collect();
            names.dedup();
            names
        };
        let mut others: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for leaf in leaves.iter().filter(|leaf| files.contains_key(leaf.file)) {
            let (Value::Text(text) | Value::Entry(_, _, Some(text))) = &leaf.value else { continue };
            let own = others.entry(leaf.kind().to_owned()).or_default();
            if !own.contains(&text.as_str()) {
                own.push(text);
            }
        }
        let classes =
            heads("classifications.toml").into_iter().filter(|name| !["ttl", "roles"].contains(name)).collect();
        Names { targets: heads("targets.toml"), classes, others }
    }

    /// A place in a class where no target lies: no decision can be about it.
    fn is_out_of_sight(&self, leaf: &Leaf<'_>) -> bool {
        let Value::Entry(_, _, Some(place)) = &leaf.value else { return false };
        let targets = self.others.get("place of a target");
        leaf.file == "classifications.toml"
            && leaf.kind() == "residency"
            && place != "any"
            && !targets.is_some_and(|targets| targets.contains(&place.as_str()))
    }

    fn instead_of(&self, leaf: &Leaf<'_>, text: &str) -> Vec<String> {
        let kind = leaf.kind();
        let own: Vec<&str> = match kind {
            "target" | "test_target" => self.targets.clone(),
            "classifications" | "default_classification" => self.classes.clone(),
            "residency" | "region" | "place of a target" => {
                let mut places: Vec<&str> = self.others.get("residency").cloned().unwrap_or_default();
                places.push("elsewhere");
                places.retain(|place| *place != "any");
                places
            }
            "prefix" => vec!["another-place/"],
            "types" | "inline_types" => vec!["application/x-another"],
            "environment" => vec!["live", "test"],
            "methods" => vec!["PUT", "POST"],
            "extensions" => vec!["another"],
            _ => self.others.get(kind).cloned().unwrap_or_default(),
        };
        own.into_iter().filter(|other| *other != text).map(|other| format!("\"{other}\"")).collect()
    }
}

impl Leaf<'_> {
    /// The key that says what kind of value it is.
    fn kind(&self) -> &str {
        let key = self.path.last().map(String::as_str).unwrap_or_default();
        if self.file == "targets.toml" && key == "residency" { "place of a target" } else { key }
    }

    fn is_decided(&self) -> bool {
        let mut not = NOT_DECIDED.iter().filter(|(file, _)| self.file.starts_with(file)).flat_map(|(_, keys)| *keys);
        !not.any(|key| {
            let parts: Vec<&str> = key.split('.').collect();
            parts.len() <= self.path.len()
                && parts.iter().zip(&self.path).all(|(part, own)| *part == "*" || *part == own.as_str())
        })
    }

    fn rule(&self, names: &Names<'_>) -> Rule {
        let line = line_of(self.text, self.key.start);
        let mut key = self.path.join(".");
        let mut mutants = Vec::new();
        let mut mutant = |what: String, text: String| mutants.push(Mutant { what, text });
        match &self.value {
            Value::Flag(flag) => mutant(format!("turned to {}", !flag), self.put(&(!flag).to_string())),
            Value::Number(number) => {
                for (what, other) in changed(*number) {
                    mutant(format!("{what} to {other}"), self.put(&other.to_string()));
                }
            }
            Value::Text(text) => {
                let (bytes, time) = (parse_size(text).ok(), parse_duration(text).ok().map(|time| time.as_secs()));
                let measured = bytes.map(|bytes| (bytes, " B")).or(time.map(|seconds| (seconds, "s")));
                for (what, other) in measured.into_iter().flat_map(|(number, _)| changed(number)) {
                    let unit = measured.map_or("", |(_, unit)| unit);
                    mutant(format!("{what} to {other}{unit}"), self.put(&format!("\"{other}{unit}\"")));
                }
                for other in names.instead_of(self, text) {
                    mutant(format!("changed to {other}"), self.put(&other));
                }
                // A number that is left out has its usual value, which may be the very same.
                if measured.is_none() {
                    mutant("removed".to_owned(), self.removed());
                }
            }
            Value::Entry(at, places, text) => {
                let own = &self.text[places[*at].clone()];
                key = format!("{key} {own}");
                mutant(format!("{own} dropped"), self.put(&self.without(*at, places)));
                for other in text.iter().flat_map(|text| names.instead_of(self, text)) {
                    mutant(format!("{own} changed to {other}"), spliced(self.text, places[*at].clone(), &other));
                }
                if places.len() == 1 {
                    mutant("removed".to_owned(), self.removed());
                }
            }
        }
        Rule { file: self.file.to_owned(), line, key, mutants }
    }

    fn put(&self, value: &str) -> String {
        spliced(self.text, self.span.clone(), value)
    }

    fn without(&self, at: usize, places: &[Range<usize>]) -> String {
        let others = places.iter().enumerate().filter(|(index, _)| *index != at);
        let others: Vec<&str> = others.map(|(_, place)| &self.text[place.clone()]).collect();
        format!("[{}]", others.join(", "))
    }

    /// Without the key and its value, and without the comma that followed inside a table on one line.
    fn removed(&self) -> String {
        let rest = &self.text[self.span.end..];
        let comma = rest.trim_start_matches(' ').starts_with(',');
        let end = if comma { self.span.end + rest.find(',').map_or(0, |at| at + 1) } else { self.span.end };
        spliced(self.text, self.key.start..end, "")
    }
}

/// Half and double, where they differ.
fn changed(number: u64) -> Vec<(&'static str, u64)> {
    let half = (number / 2).max(1);
    let both = [("halved", half), ("doubled", number.saturating_mul(2))];
    both.into_iter().filter(|(_, other)| *other != number).collect()
}

/// The text with one part replaced; lines stay where they were.
pub(super) fn spliced(text: &str, place: Range<usize>, value: &str) -> String {
    let lost = text[place.clone()].matches('\n').count().saturating_sub(value.matches('\n').count());
    let mut spliced = String::with_capacity(text.len() + value.len());
    spliced.push_str(&text[..place.start]);
    spliced.push_str(value);
    let rest = &text[place.end..];
    let (line, others) = rest.split_at(rest.find('\n').unwrap_or(rest.len()));
    spliced.push_str(line);
    spliced.push_str(&"\n".repeat(lost));
    spliced.push_str(others);
    spliced
}

/// The line of a byte offset, from 1.
pub(super) fn line_of(text: &str, at: usize) -> u32 {
    u32::try_from(text[..at].matches('\n').count() + 1).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mutants(file: &str, text: &str) -> Vec<(String, Vec<(String, String)>)> {
        let files = BTreeMap::from([(file.to_owned(), text.to_owned())]);
        let own = |rule: Rule| (rule.key, rule.mutants.into_iter().map(|own| (own.what, own.text)).collect());
        rules(&files).into_iter().map(own).collect()
    }

    #[test]
    fn a_list_loses_one_entry_at_a_time_and_a_size_is_halved_and_doubled() {
        let found = mutants("apps/a.toml", "types = [\n  \"a/b\",\n  \"c/d\",\n]\nmax_size = \"10 B\" # why\n");
        let keys: Vec<&str> = found.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(keys, ["types \"a/b\"", "types \"c/d\"", "max_size"]);
        assert_eq!(
            found[0].1[0],
            ("\"a/b\" dropped".into(), "types = [\"c/d\"]\n\n\n\nmax_size = \"10 B\" # why\n".into())
        );
        let sizes: Vec<&str> = found[2].1.iter().map(|(what, _)| what.as_str()).collect();
        assert_eq!(sizes, ["halved to 5 B", "doubled to 20 B"]);
        assert!(found[2].1[0].1.ends_with("max_size = \"5 B\" # why\n"), "{}", found[2].1[0].1);
    }

    #[test]
    fn keys_that_no_decision_sees_are_left_alone() {
        let text = "[a]\nprovider = \"s3\"\nbucket = \"b\"\nresidency = \"eu\"\nenvironment = \"live\"\n";
        let keys: Vec<String> = mutants("targets.toml", text).into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, ["a.residency", "a.environment"]);
        assert!(mutants("limits.toml", "[workflow]\nhour = 3\n").is_empty());
    }

    #[test]
    fn every_mutant_of_a_table_on_one_line_is_toml() {
        let found = mutants("apps/a.toml", "x = { one = true, two = \"five\", three = [1] }\n");
        assert_eq!(found.len(), 3);
        for (what, text) in found.into_iter().flat_map(|(_, mutants)| mutants) {
            assert!(DeTable::parse(&text).is_ok(), "{what}: {text}");
        }
    }
}
