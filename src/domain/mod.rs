//! The words of the project as types: ids, keys, the life of an object, grants, verdicts, audit entries.
//!
//! Pure: no I/O, no clock, no randomness, no async. Imports nothing from the layers above. Everything that comes from
//! outside is parsed into these types at the edge, and no raw string is an id, a key or a scope past that.

pub mod access;
pub mod admin;
pub mod asked;
pub mod audit;
pub mod binding;
pub mod bytes;
pub mod content;
pub mod filename;
pub mod filetype;
pub mod grant;
pub mod hint;
pub mod ids;
pub mod job;
pub mod key;
pub mod life;
pub mod limits;
pub mod media;
pub mod object;
pub mod principal;
pub mod quota;
pub mod refusal;
pub mod retention;
pub mod revocation;
pub mod scope;
pub mod target;
pub(crate) mod text;
pub mod usage;
pub mod verdict;
