//! `vestibule policy test DIR`: run the cases of a directory, and look for rules that no case would miss.

use std::path::PathBuf;

use crate::cli::Failure;
use crate::policy::cases::{PolicyFiles, mutations, run};

use super::{methods, mistakes};

/// Run the cases in tests/*.toml of a policy directory, and print those that got another answer.
///
/// Ends with exit code 1 where a case fails or where there is none.
#[derive(clap::Args)]
pub(in crate::cli) struct Test {
    /// The policy directory.
    dir: PathBuf,
    /// Only cases whose name contains this.
    #[arg(long, value_name = "TEXT", default_value = "", conflicts_with = "mutations")]
    filter: String,
    /// Then change every rule in memory, one at a time, and list those whose change no case notices.
    #[arg(long)]
    mutations: bool,
}

impl Test {
    pub(super) fn run(self) -> Result<(), Failure> {
        let shown = self.dir.display().to_string();
        let refused = |found: Vec<_>| mistakes(&shown, &found);
        let files = PolicyFiles::read(&self.dir).map_err(refused)?;
        let set = files.set().map_err(refused)?;
        let cases = files.cases(&set).map_err(refused)?;
        let report = run(&set, &cases, &self.filter, methods);
        print!("{report}");
        if report.cases == 0 {
            let next = if cases.is_empty() {
                "write some in tests/*.toml, see docs/policy.md"
            } else {
                "no name contains the filter"
            };
            return Err(Failure::Told(format!("no case was run; {next}")));
        }
        if !report.is_good() {
            return Err(Failure::Told(format!("{shown}: {} of {} cases failed", report.failed.len(), report.cases)));
        }
        if self.mutations {
            let report = mutations(&files, &cases, methods);
            print!("{report}");
            if !report.is_good() {
                return Err(Failure::Told(format!(
                    "{shown}: {} rules have no case that notices",
                    report.unnoticed.len()
                )));
            }
        }
        Ok(())
    }
}
