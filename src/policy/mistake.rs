//! What is wrong with a policy directory, in the form in which a person can repair it.
//!
//! Every mistake names a file, a line and a column, says what is wrong, and what to write instead. Mistakes are collected
//! and never cut short at the first: whoever edits ten files wants one list. Notes are remarks that refuse nothing.

use std::cell::RefCell;
use std::fmt;

/// One mistake in a policy file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mistake {
    /// The file, relative to the policy directory, for example `apps/where2eat.toml`.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
    /// What is wrong.
    pub problem: String,
    /// What to write instead.
    pub remedy: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}; {}", self.file, self.line, self.column, self.problem, self.remedy)
    }
}

impl std::error::Error for Mistake {}

/// Collects mistakes and notes while a directory is read.
#[derive(Debug, Default)]
pub(super) struct Report {
    mistakes: RefCell<Vec<Mistake>>,
    notes: RefCell<Vec<String>>,
}

impl Report {
    pub(super) fn mistake(&self, mistake: Mistake) {
        self.mistakes.borrow_mut().push(mistake);
    }

    pub(super) fn note(&self, note: String) {
        self.notes.borrow_mut().push(note);
    }

    /// Mistakes by file and line, and the notes.
    pub(super) fn into_parts(self) -> (Vec<Mistake>, Vec<String>) {
        let mut mistakes = self.mistakes.into_inner();
        mistakes.sort();
        mistakes.dedup();
        (mistakes, self.notes.into_inner())
    }
}

/// The candidate that `word` was probably meant to be: at most a third of its letters differ.
pub(super) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let most = (word.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= most)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// The remedy for an unknown name: the nearest one where there is one, and all of them where that stays readable.
pub(super) fn one_of(kind: &str, word: &str, names: &[&str]) -> String {
    let all = if names.is_empty() { "none yet".to_owned() } else { names.join(", ") };
    match nearest(word, names.iter().copied()) {
        Some(name) if names.len() > 8 => format!("did you mean '{name}'?"),
        Some(name) => format!("did you mean '{name}'? {kind} are: {all}"),
        None => format!("{kind} are: {all}"),
    }
}

/// How many insertions, removals, replacements and swaps of neighbours lead from one word to the other.
fn distance(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().take(64).collect(), to.chars().take(64).collect());
    let width = to.len() + 1;
    let mut cells = vec![0; (from.len() + 1) * width];
    for i in 0..=from.len() {
        for j in 0..=to.len() {
            cells[i * width + j] = if i == 0 || j == 0 {
                i + j
            } else {
                let replace = cells[(i - 1) * width + j - 1] + usize::from(from[i - 1] != to[j - 1]);
                let mut best = replace.min(cells[(i - 1) * width + j] + 1).min(cells[i * width + j - 1] + 1);
                if i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1] {
                    best = best.min(cells[(i - 2) * width + j - 2] + 1);
                }
                best
            };
        }
    }
    cells[from.len() * width + to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_a_slip_away() {
        assert_eq!(nearest("max_sise", ["max_size", "types"]), Some("max_size"));
        assert_eq!(nearest("tpyes", ["max_size", "types"]), Some("types"));
        assert_eq!(nearest("colour", ["max_size", "types"]), None);
    }

    #[test]
    fn a_mistake_reads_like_a_compiler_message() {
        let mistake = Mistake {
            file: "apps/where2eat.toml".into(),
            line: 12,
            column: 9,
            problem: "unknown target 'imgs'".into(),
            remedy: one_of("targets", "imgs", &["images", "finance"]),
        };
        assert_eq!(
            mistake.to_string(),
            "apps/where2eat.toml:12:9: unknown target 'imgs'; targets are: images, finance"
        );
    }
}
