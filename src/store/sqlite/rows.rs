//! Rows of SQLite: how its columns are read, and how whole objects are written.
//!
//! What a row means is in [`crate::store::columns`]. Ids are kept as their text.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row, Statement, ToSql, params};

use super::error::Failure;
use crate::domain::ids::{GrantId, ObjectId};
use crate::domain::life::Life;
use crate::domain::object::Object;
use crate::store::TokenRecord;
use crate::store::columns::{self, Columns, object_columns};
use crate::store::values::int;

/// An unsigned number again; the schema's checks keep negative ones out.
pub(super) fn uint(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

/// The columns of a row from left to right.
pub(super) struct SqliteColumns<'r> {
    row: &'r Row<'r>,
    next: usize,
}

impl<'r> SqliteColumns<'r> {
    fn of(row: &'r Row<'r>) -> Self {
        Self { row, next: 0 }
    }

    fn value(&mut self) -> Result<ValueRef<'r>, Failure> {
        self.next += 1;
        Ok(self.row.get_ref(self.next - 1)?)
    }
}

impl<'r> Columns<'r> for SqliteColumns<'r> {
    type Failure = Failure;

    fn unreadable(&self, error: impl std::fmt::Display) -> Failure {
        let name = self.row.as_ref().column_name(self.next - 1).unwrap_or("?").to_owned();
        Failure::unreadable(&name, error)
    }

    fn optional_str(&mut self) -> Result<Option<&'r str>, Failure> {
        self.value()?.as_str_or_null().map_err(|error| self.unreadable(error))
    }

    fn optional_number(&mut self) -> Result<Option<i64>, Failure> {
        self.value()?.as_i64_or_null().map_err(|error| self.unreadable(error))
    }

    fn optional_bytes(&mut self) -> Result<Option<&'r [u8]>, Failure> {
        self.value()?.as_blob_or_null().map_err(|error| self.unreadable(error))
    }

    fn object_id(&mut self) -> Result<ObjectId, Failure> {
        self.parsed()
    }

    fn grant_id(&mut self) -> Result<GrantId, Failure> {
        self.parsed()
    }
}

pub(super) fn object(columns: &mut SqliteColumns<'_>) -> Result<Object, Failure> {
    columns::object(columns)
}

pub(super) fn token(columns: &mut SqliteColumns<'_>) -> Result<TokenRecord, Failure> {
    columns::token(columns)
}

/// The first row, decoded.
pub(super) fn one<T>(
    conn: &Connection,
    sql: &str,
    params: &[&dyn ToSql],
    decode: impl FnOnce(&mut SqliteColumns<'_>) -> Result<T, Failure>,
) -> Result<Option<T>, Failure> {
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    rows.next()?.map(|row| decode(&mut SqliteColumns::of(row))).transpose()
}

/// Every row, decoded.
pub(super) fn many<T>(
    conn: &Connection,
    sql: &str,
    params: &[&dyn ToSql],
    mut decode: impl FnMut(&mut SqliteColumns<'_>) -> Result<T, Failure>,
) -> Result<Vec<T>, Failure> {
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    let mut decoded = Vec::new();
    while let Some(row) = rows.next()? {
        decoded.push(decode(&mut SqliteColumns::of(row))?);
    }
    Ok(decoded)
}

/// What [`insert_object`] runs.
pub(super) const INSERT_OBJECT: &str = concat!(
    "INSERT INTO objects (",
    object_columns!(),
    ", state, held_bytes) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, \
     ?20, ?21, ?22, ?23, ?24, ?25, ?26, ?27, ?15)"
);

/// Writes a new object, which holds its declared size, with a statement of [`INSERT_OBJECT`].
pub(super) fn insert_object(insert: &mut Statement<'_>, object: &Object) -> Result<(), Failure> {
    insert.execute(params![
        object.id.text().as_str(),
        object.grant.text().as_str(),
        object.app.as_str(),
        object.workflow.as_str(),
        object.token.as_str(),
        object.owner.as_str(),
        object.environment.as_str(),
        object.user,
        object.target.as_str(),
        object.keys.staging.path(),
        object.keys.served.path(),
        object.filename.as_str(),
        object.original_filename,
        object.content_type.as_str(),
        int(object.size),
        object.sha256.map(|digest| digest.0),
        object.method.as_str(),
        object.classification.as_str(),
        object.lawful_basis,
        object.residency,
        to_json(&object.metadata)?,
        object.created_at.as_microsecond(),
        object.upload_expires_at.as_microsecond(),
        object.updated_at.as_microsecond(),
        int(object.revision),
        life(&object.life)?,
        object.life.state().as_str(),
    ])?;
    Ok(())
}

/// A life as its column.
pub(super) fn life(life: &Life) -> Result<String, Failure> {
    to_json(life)
}

/// Any value as a JSON column.
fn to_json(value: &impl serde::Serialize) -> Result<String, Failure> {
    serde_json::to_string(value).map_err(Failure::unwritable)
}
