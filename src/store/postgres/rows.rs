//! Rows of PostgreSQL: how its columns are read, and what its text can hold.
//!
//! What a row means is in [`crate::store::columns`]. Ids are UUIDs. PostgreSQL's text holds every character but NUL, which
//! is written as U+FFFD.

use std::borrow::Cow;

use sqlx::postgres::PgRow;
use sqlx::{Column, Decode, Postgres, Row, Type};
use uuid::Uuid;

use super::error::Failure;
use crate::domain::ids::{GrantId, ObjectId};
use crate::domain::object::Object;
use crate::store::TokenRecord;
use crate::store::columns::{self, Columns};

/// Text without NUL.
pub(in crate::store) fn text(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { text.replace('\0', "\u{fffd}").into() } else { text.into() }
}

/// Any value as a JSON column.
pub(super) fn to_json(value: &impl serde::Serialize) -> Result<String, Failure> {
    serde_json::to_string(value).map_err(Failure::unwritable)
}

/// The columns of a row from left to right.
pub(super) struct PgColumns<'r> {
    row: &'r PgRow,
    next: usize,
}

impl<'r> PgColumns<'r> {
    pub(super) fn of(row: &'r PgRow) -> Self {
        Self { row, next: 0 }
    }

    /// The next column as the driver reads it.
    pub(super) fn get<T: Decode<'r, Postgres> + Type<Postgres>>(&mut self) -> Result<T, Failure> {
        self.next += 1;
        self.row.try_get(self.next - 1).map_err(|error| self.unreadable(error))
    }
}

impl<'r> Columns<'r> for PgColumns<'r> {
    type Failure = Failure;

    fn unreadable(&self, error: impl std::fmt::Display) -> Failure {
        Failure::unreadable(self.row.column(self.next - 1).name(), error)
    }

    fn optional_str(&mut self) -> Result<Option<&'r str>, Failure> {
        self.get()
    }

    fn optional_number(&mut self) -> Result<Option<i64>, Failure> {
        self.get()
    }

    fn optional_bytes(&mut self) -> Result<Option<&'r [u8]>, Failure> {
        self.get()
    }

    fn object_id(&mut self) -> Result<ObjectId, Failure> {
        self.get::<Uuid>().map(ObjectId::from_uuid)
    }

    fn grant_id(&mut self) -> Result<GrantId, Failure> {
        self.get::<Uuid>().map(GrantId::from_uuid)
    }
}

pub(super) fn object(row: &PgRow) -> Result<Object, Failure> {
    columns::object(&mut PgColumns::of(row))
}

pub(super) fn token(row: &PgRow) -> Result<TokenRecord, Failure> {
    columns::token(&mut PgColumns::of(row))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nul_becomes_a_replacement_character() {
        assert_eq!(text("a\0b"), "a\u{fffd}b");
        assert!(matches!(text("plain"), Cow::Borrowed("plain")));
    }
}
