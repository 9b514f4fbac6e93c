//! Whose fault a failed statement is, and what can be done about it.
//!
//! The distinction decides what happens to a batch: a database that is away fails every operation in it alike, a single
//! operation that the database refuses must not take its neighbours with it, and what only came too close to another
//! transaction is run again. The codes are PostgreSQL's (its manual, appendix A). No text here holds the address or the
//! password: the driver's errors do not, and nothing is added.

use crate::store::StoreError;

/// Why an operation or a transaction failed.
#[derive(Debug, Clone)]
pub(in crate::store) enum Failure {
    /// The server is away, frozen, starting, full, or only reads: every operation would fail. The connection is useless.
    Away(String),
    /// This operation only: a constraint, or a row that cannot be read.
    Refused(String),
    /// Another transaction was in the way: the same again may succeed.
    Again(String),
    /// A number of the audit trail is taken: another writer makes the same ones.
    NumberTaken,
    /// A month has no partition yet.
    NoPartition(String),
    /// The schema is too old or too new.
    Schema(String),
}

impl Failure {
    /// A row that this version does not understand.
    pub(super) fn unreadable(what: &str, error: impl std::fmt::Display) -> Self {
        Failure::Refused(format!("{what}: {error}"))
    }

    /// A value that has no text.
    pub(super) fn unwritable(error: serde_json::Error) -> Self {
        Failure::unreadable("a value that cannot be written", error)
    }
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        let Some(database) = error.as_database_error() else {
            return match error {
                sqlx::Error::Encode(_)
                | sqlx::Error::Decode(_)
                | sqlx::Error::ColumnDecode { .. }
                | sqlx::Error::ColumnIndexOutOfBounds { .. }
                | sqlx::Error::TypeNotFound { .. } => Failure::Refused(error.to_string()),
                other => Failure::Away(other.to_string()),
            };
        };
        let code = database.code().unwrap_or_default().into_owned();
        let table = database.table().unwrap_or_default();
        let told = format!("{} (SQLSTATE {code})", database.message());
        match code.as_str() {
            // unique_violation: a number of the trail, or a key that another transaction has just used.
            "23505" if table.starts_with("audit") || table == "dead_letters" => Failure::NumberTaken,
            "23505" if table == "idempotency" => Failure::Again(told),
            // check_violation without a constraint: no partition of relation found for row.
            "23514" if database.constraint().is_none() => Failure::NoPartition(told),
            // serialization_failure, deadlock_detected, lock_not_available.
            "40001" | "40P01" | "55P03" => Failure::Again(told),
            // The plan of a prepared statement, or the statement itself, is gone: a migration ran meanwhile.
            "0A000" | "26000" => Failure::Away(told),
            // read_only_sql_transaction: this server has become a standby.
            "25006" => Failure::Away(told),
            // connection, authorisation, resources, operator intervention, system error, internal error.
            code if ["08", "28", "3D", "53", "57", "58", "XX", "25"].iter().any(|class| code.starts_with(class)) => {
                Failure::Away(told)
            }
            _ => Failure::Refused(told),
        }
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Away(why) | Failure::Again(why) | Failure::NoPartition(why) => StoreError::Unavailable(why),
            Failure::NumberTaken => StoreError::Unavailable("no free number in the audit trail".into()),
            Failure::Refused(why) => StoreError::Corrupt(why),
            Failure::Schema(why) => StoreError::Schema(why),
        }
    }
}
