//! `store copy`: from a SQLite file into an empty database, all of it or nothing.
