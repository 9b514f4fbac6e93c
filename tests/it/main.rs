//! The integration tests: one binary, a file per subject, real components only.

mod conformance;
mod harness;
