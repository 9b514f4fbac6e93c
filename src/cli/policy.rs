//! `vestibule policy check DIR` and `vestibule policy schema`.

use std::path::PathBuf;

use clap::Subcommand;

use crate::policy;

use super::Failure;

#[derive(Subcommand)]
pub(super) enum Policy {
    /// Name every mistake in a policy directory, with its file, its line and the remedy.
    Check {
        /// The directory with targets.toml, classifications.toml and apps/.
        dir: PathBuf,
    },
    /// Print what Cedar policies can see, for vestibule.cedarschema beside them.
    Schema,
}

impl Policy {
    pub(super) fn run(self) -> Result<(), Failure> {
        let dir = match self {
            Policy::Check { dir } => dir,
            Policy::Schema => {
                print!("{}", policy::CEDAR_SCHEMA);
                return Ok(());
            }
        };
        let report = policy::check(&dir);
        print!("{report}");
        if report.is_good() { Ok(()) } else { Err(Failure::Told(format!("{} is not usable", dir.display()))) }
    }
}
