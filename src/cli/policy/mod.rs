//! `vestibule policy`: look at a policy directory, try it, and explain it, before it goes live.
//!
//! None of these commands needs a running gateway, and none changes anything.

mod check;
mod diff;
mod explain;
mod matrix;
mod test;

use std::fmt::Write;

use clap::Subcommand;

use crate::domain::grant::UploadMethod;
use crate::domain::target::Target;
use crate::policy::{self, Mistake};
use crate::storage::Provider;

use super::Failure;

#[derive(Subcommand)]
pub(super) enum Policy {
    Check(check::Check),
    Test(test::Test),
    Explain(explain::Explain),
    Matrix(matrix::Matrix),
    Diff(diff::Diff),
    /// Print what Cedar policies can see, for vestibule.cedarschema beside them.
    Schema,
}

impl Policy {
    pub(super) async fn run(self) -> Result<(), Failure> {
        match self {
            Policy::Check(check) => check.run(),
            Policy::Test(test) => test.run(),
            Policy::Explain(explain) => explain.run(),
            Policy::Matrix(matrix) => matrix.run(),
            Policy::Diff(diff) => diff.run().await,
            Policy::Schema => {
                print!("{}", policy::CEDAR_SCHEMA);
                Ok(())
            }
        }
    }
}

pub(super) use matrix::matrix_of;

/// Which upload methods a target's provider can sign.
fn methods(target: &Target) -> &'static [UploadMethod] {
    Provider::of(target).methods()
}

/// Prints the mistakes; the failure to end with.
fn mistakes(what: &str, found: &[Mistake]) -> Failure {
    let mut text = format!("{what} is not usable");
    for mistake in found {
        let _ = write!(text, "\n  - {mistake}");
    }
    Failure::Told(text)
}
