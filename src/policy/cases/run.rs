//! Runs cases against a set.

use std::fmt;

use crate::policy::PolicySet;

use super::expect::Expected;
use super::question::{Methods, Question};

/// A question with what is expected of the answer.
#[derive(Clone, Debug)]
pub struct Case {
    /// What it says, in the author's words; no two cases of a directory have the same.
    pub name: String,
    /// The file, for example `tests/where2eat.toml`.
    pub file: String,
    /// Where it begins.
    pub line: u32,
    /// The question.
    pub question: Question,
    /// The answer that it should get.
    pub expected: Expected,
}

impl Case {
    /// What differs from what is expected; `None` where nothing does.
    pub fn differs(&self, set: &PolicySet, methods: Methods) -> Option<Failed> {
        let answer = self.question.ask(set, methods);
        let what = self.expected.differs(&answer)?;
        let detail = answer.err().map(|refusal| refusal.detail);
        Some(Failed { file: self.file.clone(), line: self.line, name: self.name.clone(), what, detail })
    }
}

/// A case that got another answer.
#[derive(Clone, Debug)]
pub struct Failed {
    /// The case's file.
    pub file: String,
    /// Its line.
    pub line: u32,
    /// Its name.
    pub name: String,
    /// What was expected, and what came.
    pub what: String,
    /// The refusal's sentence.
    pub detail: Option<String>,
}

/// How the cases ended.
#[derive(Clone, Debug, Default)]
pub struct CaseReport {
    /// How many there were.
    pub cases: usize,
    /// Those that got another answer.
    pub failed: Vec<Failed>,
}

/// Runs the cases whose name contains `filter`.
pub fn run(set: &PolicySet, cases: &[Case], filter: &str, methods: Methods) -> CaseReport {
    let chosen: Vec<&Case> = cases.iter().filter(|case| case.name.contains(filter)).collect();
    let failed = chosen.iter().filter_map(|case| case.differs(set, methods)).collect();
    CaseReport { cases: chosen.len(), failed }
}

impl CaseReport {
    /// Whether there were cases, and all went as expected.
    pub fn is_good(&self) -> bool {
        self.cases > 0 && self.failed.is_empty()
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}\n    {}", self.file, self.line, self.name, self.what)?;
        if let Some(detail) = &self.detail {
            write!(f, "\n    {detail}")?;
        }
        Ok(())
    }
}

impl fmt::Display for CaseReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for failed in &self.failed {
            writeln!(f, "{failed}")?;
        }
        let passed = self.cases - self.failed.len();
        writeln!(f, "{} cases: {passed} passed, {} failed", self.cases, self.failed.len())
    }
}
