//! Which rules could be changed without any case noticing.
//!
//! Each rule is changed in memory, one way after the other; a change that does not load is no change that could go live,
//! and counts for nothing. A rule is noticed where one of its changes makes a case fail.

use std::fmt;

use crate::policy::PolicySet;

use super::mutate::{Rule, rules};
use super::question::Methods;
use super::run::Case;
use super::source::PolicyFiles;

/// What became of the rules.
#[derive(Clone, Debug, Default)]
pub struct MutationReport {
    /// Rules of which a change makes a case fail.
    pub noticed: usize,
    /// Rules that cannot be changed so that the directory still loads: `policy check` holds them.
    pub held: usize,
    /// Rules that could be changed and nobody would notice.
    pub unnoticed: Vec<Unnoticed>,
}

/// A rule that could be changed and nobody would notice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unnoticed {
    /// The file.
    pub file: String,
    /// The line.
    pub line: u32,
    /// The key, with the entry of a list, or a Cedar policy's id.
    pub key: String,
    /// The changes that no case noticed, for example `halved to 5 B`.
    pub changes: Vec<String>,
}

/// Changes every rule in turn.
pub fn mutations(files: &PolicyFiles, cases: &[Case], methods: Methods) -> MutationReport {
    let mut report = MutationReport::default();
    let mut policies = files.policies.clone();
    for rule in rules(&files.policies) {
        let Rule { file, line, key, mutants } = rule;
        let (mut changes, mut noticed) = (Vec::new(), false);
        for mutant in mutants {
            let original = policies.insert(file.clone(), mutant.text);
            let set = PolicySet::from_files(&policies);
            policies.extend(original.map(|text| (file.clone(), text)));
            let Ok(set) = set else { continue };
            changes.push(mutant.what);
            noticed = cases.iter().any(|case| case.differs(&set, methods).is_some());
            if noticed {
                break;
            }
        }
        match (noticed, changes.is_empty()) {
            (true, _) => report.noticed += 1,
            (false, true) => report.held += 1,
            (false, false) => report.unnoticed.push(Unnoticed { file, line, key, changes }),
        }
    }
    report
}

impl MutationReport {
    /// Whether there were rules, and every change of one would be noticed.
    pub fn is_good(&self) -> bool {
        self.noticed > 0 && self.unnoticed.is_empty()
    }
}

impl fmt::Display for MutationReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Unnoticed { file, line, key, changes } in &self.unnoticed {
            writeln!(f, "{file}:{line} {key}: no case fails when it is {}", changes.join(", or "))?;
        }
        let (all, lost) = (self.noticed + self.held + self.unnoticed.len(), self.unnoticed.len());
        writeln!(
            f,
            "{all} rules: {} noticed by a case, {} held by policy check, {lost} unnoticed",
            self.noticed, self.held
        )
    }
}
