//! The files of a policy directory in memory, with its cases: what is tried out is never written.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::domain::refusal::Reason;
use crate::policy::PolicySet;
use crate::policy::load;
use crate::policy::mistake::{Mistake, Report, one_of};
use crate::policy::reader::File;

use super::question::Question;
use super::read;
use super::run::Case;

/// The texts of a directory: those of the set, and those of its cases.
#[derive(Clone, Debug, Default)]
pub struct PolicyFiles {
    /// Name and text of each file of the set.
    pub policies: BTreeMap<String, String>,
    /// Name and text of each file of cases, for example `tests/where2eat.toml`.
    pub tests: BTreeMap<String, String>,
}

impl PolicyFiles {
    /// Reads the files, without looking into them.
    ///
    /// # Errors
    /// Files that cannot be read or must not be there.
    pub fn read(dir: &Path) -> Result<PolicyFiles, Vec<Mistake>> {
        let report = Report::default();
        let files = PolicyFiles { policies: load::read_directory(dir, &report), tests: load::read_tests(dir, &report) };
        none(report, files)
    }

    /// The set that the files make.
    ///
    /// # Errors
    /// Every mistake of every file.
    pub fn set(&self) -> Result<PolicySet, Vec<Mistake>> {
        PolicySet::from_files(&self.policies)
    }

    /// The cases.
    ///
    /// # Errors
    /// Every mistake of every file of cases. An app that no manifest names is one, unless just that is expected.
    pub fn cases(&self, set: &PolicySet) -> Result<Vec<Case>, Vec<Mistake>> {
        let report = Report::default();
        let mut cases: Vec<Case> = Vec::new();
        let mut names = BTreeSet::new();
        for (name, text) in &self.tests {
            let file = File { name, text, report: &report };
            for case in read::read(&file) {
                let mistake = |problem: String, remedy: String| {
                    let (file, line) = (case.file.clone(), case.line);
                    report.mistake(Mistake { file, line, column: 1, problem, remedy });
                };
                if !names.insert(case.name.clone()) {
                    mistake(
                        format!("another case is called '{}' too", case.name),
                        "give each a name of its own".into(),
                    );
                }
                let app = &case.question.app;
                if set.app(app).is_none() && case.expected.code != Some(Reason::AppUnknown) {
                    let apps: Vec<&str> = set.apps().map(|own| own.app.as_str()).collect();
                    mistake(format!("no app '{app}' is registered"), one_of("apps", app.as_str(), &apps));
                }
                cases.push(case);
            }
        }
        none(report, cases)
    }
}

/// One question from a file of its own, in TOML or JSON: a case without what is expected of it.
///
/// # Errors
/// Every mistake; those of JSON without their places.
pub fn case_of_file(name: &str, text: &str) -> Result<Question, Vec<Mistake>> {
    let json = name.ends_with(".json") || text.trim_start().starts_with('{');
    let converted = if json { Some(from_json(name, text)?) } else { None };
    let report = Report::default();
    let file = File { name, text: converted.as_deref().unwrap_or(text), report: &report };
    let question = read::read_question(&file);
    let question = none(report, question).map_err(|mut mistakes| {
        if json {
            mistakes.iter_mut().for_each(|mistake| (mistake.line, mistake.column) = (1, 1));
        }
        mistakes
    })?;
    question.ok_or_else(|| vec![whole(name, "the file asks nothing", "see docs/policy.md for how a case is written")])
}

/// JSON as TOML, so that both are read by the same code. A member that is null is absent.
fn from_json(name: &str, text: &str) -> Result<String, Vec<Mistake>> {
    let wrong = |problem: String| vec![whole(name, &problem, "send a JSON object like {\"action\": \"upload\", …}")];
    let mut value: serde_json::Value =
        serde_json::from_str(text).map_err(|error| wrong(format!("not valid JSON: {error}")))?;
    without_nulls(&mut value);
    toml::to_string(&value).map_err(|error| wrong(format!("cannot be read: {error}")))
}

fn without_nulls(value: &mut serde_json::Value) {
    if let serde_json::Value::Object(members) = value {
        members.retain(|_, member| !member.is_null());
        members.values_mut().for_each(without_nulls);
    }
}

fn whole(name: &str, problem: &str, remedy: &str) -> Mistake {
    let (problem, remedy) = (problem.to_owned(), remedy.to_owned());
    Mistake { file: name.to_owned(), line: 1, column: 1, problem, remedy }
}

fn none<T>(report: Report, good: T) -> Result<T, Vec<Mistake>> {
    let (mistakes, _) = report.into_parts();
    if mistakes.is_empty() { Ok(good) } else { Err(mistakes) }
}
