//! Policies tried without a server: cases with what is expected of them, mutations, explanations, the matrix.
//!
//! Everything here asks the same [`super::decide`] as the gateway does, through one [`Question`]; nothing decides by
//! itself, so that what a test or an explanation says is what a client would hear. Quotas, rate limits and the state of an
//! object are not asked: they are counted and recorded elsewhere. `tests/*.toml` of a policy directory hold the cases;
//! they are no part of the set that is put in force.

mod expect;
mod explain;
mod matrix;
mod mutate;
mod mutations;
mod question;
mod read;
mod run;
mod source;
mod statements;

pub use expect::Expected;
pub use explain::{Decider, Explanation, Possible, explain};
pub use matrix::matrix;
pub use mutations::{MutationReport, Unnoticed, mutations};
pub use question::{About, Asked, Methods, ObjectFacts, Permitted, Question};
pub use run::{Case, CaseReport, Failed, run};
pub use source::{PolicyFiles, case_of_file};
