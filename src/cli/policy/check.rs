//! `vestibule policy check DIR`.

use std::path::PathBuf;

use crate::cli::Failure;
use crate::policy;

/// Name every mistake in a policy directory, with its file, its line and the remedy.
#[derive(clap::Args)]
pub(in crate::cli) struct Check {
    /// The directory with targets.toml, classifications.toml and apps/.
    dir: PathBuf,
}

impl Check {
    pub(super) fn run(self) -> Result<(), Failure> {
        let report = policy::check(&self.dir);
        print!("{report}");
        if report.is_good() { Ok(()) } else { Err(Failure::Told(format!("{} is not usable", self.dir.display()))) }
    }
}
