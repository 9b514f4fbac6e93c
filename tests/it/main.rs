//! The integration tests: one binary, a file per subject, real components only.

mod conformance;
mod harness;
mod identity;
mod store_conformance;
mod store_sqlite;
