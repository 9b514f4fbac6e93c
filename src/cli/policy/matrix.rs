//! `vestibule policy matrix DIR`: who may do what with which data, as a table.

use std::path::{Path, PathBuf};

use crate::cli::Failure;
use crate::policy::PolicySet;
use crate::policy::cases::matrix;

use super::{methods, mistakes};

/// Print the decision matrix as Markdown: role × action × class, for each app.
///
/// Commit it, so that a change of authority shows in review.
#[derive(clap::Args)]
pub(in crate::cli) struct Matrix {
    /// The policy directory.
    dir: PathBuf,
}

impl Matrix {
    pub(super) fn run(self) -> Result<(), Failure> {
        print!("{}", matrix_of(&self.dir)?);
        Ok(())
    }
}

/// The matrix of a policy directory.
pub(in crate::cli) fn matrix_of(dir: &Path) -> Result<String, Failure> {
    let set = PolicySet::load(dir).map_err(|found| mistakes(&dir.display().to_string(), &found))?;
    Ok(matrix(&set, methods))
}
