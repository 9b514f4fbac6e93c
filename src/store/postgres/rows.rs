//! Domain types to columns and back.
//!
//! Nothing is trusted on the way back: every column is parsed again, and a row that this version does not understand is
//! an error with the column's name, never a guess. The order of columns is written once for each table. PostgreSQL's text
//! holds every character but NUL, which is written as U+FFFD.

use std::borrow::Cow;
use std::str::FromStr;

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use sqlx::postgres::PgRow;
use sqlx::{Column, Decode, Postgres, Row, Type};
use uuid::Uuid;

use super::error::Failure;
use crate::domain::bytes::Sha256Digest;
use crate::domain::filename::Filename;
use crate::domain::ids::{GrantId, ObjectId};
use crate::domain::key::{Area, ObjectKey, ObjectKeys};
use crate::domain::object::Object;
use crate::store::{TokenHolder, TokenRecord, names};

/// An unsigned number as PostgreSQL keeps it. Callers refuse sizes beyond `i64` before they come here.
pub(super) fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A number of rows as a `LIMIT`.
pub(super) fn limit(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Text without NUL.
pub(in crate::store) fn text(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { text.replace('\0', "\u{fffd}").into() } else { text.into() }
}

/// Any value as a JSON column.
pub(super) fn to_json(value: &impl serde::Serialize) -> Result<String, Failure> {
    serde_json::to_string(value).map_err(|error| Failure::unreadable("a value that cannot be written", error))
}

/// The columns of a row from left to right.
pub(super) struct Columns<'r> {
    row: &'r PgRow,
    next: usize,
}

impl<'r> Columns<'r> {
    pub(super) fn of(row: &'r PgRow) -> Self {
        Self { row, next: 0 }
    }

    fn unreadable(&self, error: impl std::fmt::Display) -> Failure {
        Failure::unreadable(self.row.column(self.next - 1).name(), error)
    }

    /// The next column as the driver reads it.
    pub(super) fn get<T: Decode<'r, Postgres> + Type<Postgres>>(&mut self) -> Result<T, Failure> {
        self.next += 1;
        self.row.try_get(self.next - 1).map_err(|error| self.unreadable(error))
    }

    pub(super) fn parsed<T: FromStr<Err: std::fmt::Display>>(&mut self) -> Result<T, Failure> {
        self.with(T::from_str)
    }

    /// A text that `read` understands.
    pub(super) fn with<T, E: std::fmt::Display>(
        &mut self,
        read: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<T, Failure> {
        let text: &str = self.get()?;
        read(text).map_err(|error| self.unreadable(error))
    }

    /// A text that is the name of something.
    pub(super) fn named<T>(&mut self, from_name: impl FnOnce(&str) -> Option<T>) -> Result<T, Failure> {
        let text: &str = self.get()?;
        from_name(text).ok_or_else(|| self.unreadable(format_args!("'{text}' is unknown")))
    }

    pub(super) fn json<T: DeserializeOwned>(&mut self) -> Result<T, Failure> {
        self.with(|text| serde_json::from_str(text))
    }

    pub(super) fn unsigned(&mut self) -> Result<u64, Failure> {
        let number: i64 = self.get()?;
        u64::try_from(number).map_err(|error| self.unreadable(error))
    }

    pub(super) fn time(&mut self) -> Result<Timestamp, Failure> {
        let micros: i64 = self.get()?;
        Timestamp::from_microsecond(micros).map_err(|error| self.unreadable(error))
    }

    fn optional_time(&mut self) -> Result<Option<Timestamp>, Failure> {
        let micros: Option<i64> = self.get()?;
        micros.map(Timestamp::from_microsecond).transpose().map_err(|error| self.unreadable(error))
    }

    pub(super) fn digest(&mut self) -> Result<Sha256Digest, Failure> {
        self.optional_digest()?.ok_or_else(|| self.unreadable("missing"))
    }

    fn optional_digest(&mut self) -> Result<Option<Sha256Digest>, Failure> {
        let bytes: Option<&[u8]> = self.get()?;
        bytes.map(|bytes| bytes.try_into().map(Sha256Digest)).transpose().map_err(|error| self.unreadable(error))
    }

    pub(super) fn object_id(&mut self) -> Result<ObjectId, Failure> {
        self.get::<Uuid>().map(ObjectId::from_uuid)
    }

    pub(super) fn grant_id(&mut self) -> Result<GrantId, Failure> {
        self.get::<Uuid>().map(GrantId::from_uuid)
    }
}

/// What [`object`] reads, in its order.
macro_rules! object_columns {
    () => {
        "id, grant_id, app, workflow, token_id, owner, environment, user_id, target, staging_path, served_path, \
         filename, original_filename, content_type, size, sha256, method, classification, lawful_basis, residency, \
         metadata, created_at, upload_expires_at, updated_at, revision, life"
    };
}
pub(super) use object_columns;

pub(super) fn object(row: &PgRow) -> Result<Object, Failure> {
    let columns = &mut Columns::of(row);
    Ok(Object {
        id: columns.object_id()?,
        grant: columns.grant_id()?,
        app: columns.parsed()?,
        workflow: columns.parsed()?,
        token: columns.parsed()?,
        owner: columns.parsed()?,
        environment: columns.named(names::environment)?,
        user: columns.get()?,
        target: columns.parsed()?,
        keys: ObjectKeys {
            staging: columns.with(|path| ObjectKey::parse(Area::Staging, path))?,
            served: columns.with(|path| ObjectKey::parse(Area::Served, path))?,
        },
        filename: columns.with(Filename::sanitise)?,
        original_filename: columns.get()?,
        content_type: columns.parsed()?,
        size: columns.unsigned()?,
        sha256: columns.optional_digest()?,
        method: columns.named(names::method)?,
        classification: columns.parsed()?,
        lawful_basis: columns.get()?,
        residency: columns.get::<&str>()?.into(),
        metadata: columns.json()?,
        created_at: columns.time()?,
        upload_expires_at: columns.time()?,
        updated_at: columns.time()?,
        revision: columns.unsigned()?,
        life: columns.json()?,
    })
}

/// What [`token`] reads, in its order.
macro_rules! token_columns {
    () => {
        "id, hash, holder, name, app, owner, environment, scopes, created_at, expires_at, revoked_at"
    };
}
pub(super) use token_columns;

pub(super) fn token(row: &PgRow) -> Result<TokenRecord, Failure> {
    let columns = &mut Columns::of(row);
    let (id, hash) = (columns.parsed()?, columns.digest()?);
    let holder = if columns.get::<&str>()? == "operator" {
        let name = columns.get()?;
        for _ in ["app", "owner", "environment", "scopes"] {
            columns.get::<Option<&str>>()?;
        }
        TokenHolder::Operator { name }
    } else {
        TokenHolder::Workflow {
            workflow: columns.parsed()?,
            app: columns.parsed()?,
            owner: columns.parsed()?,
            environment: columns.named(names::environment)?,
            scopes: columns.json()?,
        }
    };
    let (created_at, expires_at, revoked_at) = (columns.time()?, columns.optional_time()?, columns.optional_time()?);
    Ok(TokenRecord { id, hash, holder, created_at, expires_at, revoked_at })
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
