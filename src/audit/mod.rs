//! The audit trail: how entries are filled in, and where their lines go besides the database.
//!
//! The table in the store is the record of truth, written in the transaction of what it records. [`JsonLines`] gets the
//! same text after each commit, for a log collector. Absent on purpose: a way to write the file without the table.

mod entry;
mod sink;

pub use entry::{changed, refused};
pub use sink::JsonLines;
