//! What `vestibule policy check DIR` prints: every mistake, or a table of what the set allows.

use std::fmt;
use std::path::Path;

use comfy_table::{Table, presets};

use super::PolicySet;
use super::load;
use super::mistake::Mistake;
use super::units::{show_duration, show_size_twice};

/// The result of checking a directory.
#[derive(Debug)]
pub struct CheckReport {
    /// Every mistake, by file and line.
    pub mistakes: Vec<Mistake>,
    /// Remarks that refuse nothing, for example ignored files.
    pub notes: Vec<String>,
    /// The set, where there is no mistake.
    pub set: Option<PolicySet>,
}

/// Checks a directory without putting it in force.
pub fn check(dir: &Path) -> CheckReport {
    let (set, mistakes, notes) = load::load(dir);
    CheckReport { mistakes, notes, set }
}

impl CheckReport {
    /// Whether the directory would be accepted.
    pub fn is_good(&self) -> bool {
        self.set.is_some()
    }
}

impl fmt::Display for CheckReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for note in &self.notes {
            writeln!(f, "note: {note}")?;
        }
        for mistake in &self.mistakes {
            writeln!(f, "{mistake}")?;
        }
        let Some(set) = &self.set else {
            let count = self.mistakes.len();
            return writeln!(
                f,
                "{count} mistake{}; nothing of this directory is used",
                if count == 1 { "" } else { "s" }
            );
        };
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_header(["app", "owner", "target", "test target", "prefix", "size", "upload", "download", "classes"]);
        for app in set.apps() {
            let name = |target: &Option<_>| target.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string);
            let classes: Vec<&str> = app.classifications.iter().map(|class| class.as_str()).collect();
            table.add_row([
                if app.enabled { app.app.to_string() } else { format!("{} (off)", app.app) },
                app.owner.to_string(),
                name(&app.live_target),
                name(&app.test_target),
                app.prefix.as_str().to_owned(),
                show_size_twice(app.max_size),
                show_duration(app.upload_ttl),
                show_duration(app.download_ttl),
                classes.join(", "),
            ]);
        }
        writeln!(f, "{}", table.trim_fmt())?;
        let (apps, targets, classes) = (set.apps().len(), set.targets().len(), set.classes().len());
        let policies = set.rules.len();
        writeln!(f, "good: {apps} apps, {targets} targets, {classes} classes, {policies} Cedar policies")
    }
}
