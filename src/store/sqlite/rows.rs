//! Domain types to columns and back.
//!
//! Nothing is trusted on the way back: every column is parsed again, and a row that this version does not understand is
//! an error with the column's name, never a guess. The order of columns is written once for each table.

use std::str::FromStr;

use jiff::Timestamp;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row, Statement, ToSql, params};
use serde::de::DeserializeOwned;

use super::error::Failure;
use crate::domain::bytes::Sha256Digest;
use crate::domain::filename::Filename;
use crate::domain::key::{Area, ObjectKey, ObjectKeys};
use crate::domain::life::Life;
use crate::domain::object::Object;
use crate::store::{TokenHolder, TokenRecord, names};

/// An unsigned number as SQLite keeps it. Callers refuse sizes beyond `i64` before they come here.
pub(super) fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Back again; the schema's checks keep negative numbers out.
pub(super) fn uint(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

/// The columns of a row from left to right.
pub(super) struct Columns<'r> {
    row: &'r Row<'r>,
    next: usize,
}

impl<'r> Columns<'r> {
    pub(super) fn of(row: &'r Row<'r>) -> Self {
        Self { row, next: 0 }
    }

    fn value(&mut self) -> Result<ValueRef<'r>, Failure> {
        self.next += 1;
        Ok(self.row.get_ref(self.next - 1)?)
    }

    fn unreadable(&self, error: impl std::fmt::Display) -> Failure {
        let name = self.row.as_ref().column_name(self.next - 1).unwrap_or("?").to_owned();
        Failure::unreadable(&name, error)
    }

    fn optional_str(&mut self) -> Result<Option<&'r str>, Failure> {
        self.value()?.as_str_or_null().map_err(|error| self.unreadable(error))
    }

    pub(super) fn str(&mut self) -> Result<&'r str, Failure> {
        self.value()?.as_str().map_err(|error| self.unreadable(error))
    }

    pub(super) fn text(&mut self) -> Result<String, Failure> {
        self.str().map(str::to_owned)
    }

    fn optional_text(&mut self) -> Result<Option<String>, Failure> {
        Ok(self.optional_str()?.map(str::to_owned))
    }

    pub(super) fn parsed<T: FromStr<Err: std::fmt::Display>>(&mut self) -> Result<T, Failure> {
        self.with(T::from_str)
    }

    /// A text that `read` understands.
    pub(super) fn with<T, E: std::fmt::Display>(
        &mut self,
        read: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<T, Failure> {
        let text = self.str()?;
        read(text).map_err(|error| self.unreadable(error))
    }

    /// A text that is the name of something.
    pub(super) fn named<T>(&mut self, from_name: impl FnOnce(&str) -> Option<T>) -> Result<T, Failure> {
        let text = self.str()?;
        from_name(text).ok_or_else(|| self.unreadable(format_args!("'{text}' is unknown")))
    }

    pub(super) fn json<T: DeserializeOwned>(&mut self) -> Result<T, Failure> {
        self.with(|text| serde_json::from_str(text))
    }

    pub(super) fn number(&mut self) -> Result<i64, Failure> {
        self.value()?.as_i64().map_err(|error| self.unreadable(error))
    }

    pub(super) fn optional_number(&mut self) -> Result<Option<i64>, Failure> {
        self.value()?.as_i64_or_null().map_err(|error| self.unreadable(error))
    }

    pub(super) fn unsigned(&mut self) -> Result<u64, Failure> {
        let number = self.number()?;
        u64::try_from(number).map_err(|error| self.unreadable(error))
    }

    pub(super) fn time(&mut self) -> Result<Timestamp, Failure> {
        let micros = self.number()?;
        Timestamp::from_microsecond(micros).map_err(|error| self.unreadable(error))
    }

    fn optional_time(&mut self) -> Result<Option<Timestamp>, Failure> {
        let micros = self.optional_number()?;
        micros.map(Timestamp::from_microsecond).transpose().map_err(|error| self.unreadable(error))
    }

    pub(super) fn digest(&mut self) -> Result<Sha256Digest, Failure> {
        self.optional_digest()?.ok_or_else(|| self.unreadable("missing"))
    }

    fn optional_digest(&mut self) -> Result<Option<Sha256Digest>, Failure> {
        let bytes = self.value()?.as_blob_or_null().map_err(|error| self.unreadable(error))?;
        bytes.map(|bytes| bytes.try_into().map(Sha256Digest)).transpose().map_err(|error| self.unreadable(error))
    }
}

/// The first row, decoded.
pub(super) fn one<T>(
    conn: &Connection,
    sql: &str,
    params: &[&dyn ToSql],
    decode: impl FnOnce(&mut Columns<'_>) -> Result<T, Failure>,
) -> Result<Option<T>, Failure> {
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    rows.next()?.map(|row| decode(&mut Columns::of(row))).transpose()
}

/// Every row, decoded.
pub(super) fn many<T>(
    conn: &Connection,
    sql: &str,
    params: &[&dyn ToSql],
    mut decode: impl FnMut(&mut Columns<'_>) -> Result<T, Failure>,
) -> Result<Vec<T>, Failure> {
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    let mut decoded = Vec::new();
    while let Some(row) = rows.next()? {
        decoded.push(decode(&mut Columns::of(row))?);
    }
    Ok(decoded)
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

pub(super) fn object(columns: &mut Columns<'_>) -> Result<Object, Failure> {
    Ok(Object {
        id: columns.parsed()?,
        grant: columns.parsed()?,
        app: columns.parsed()?,
        workflow: columns.parsed()?,
        token: columns.parsed()?,
        owner: columns.parsed()?,
        environment: columns.named(names::environment)?,
        user: columns.optional_text()?,
        target: columns.parsed()?,
        keys: ObjectKeys {
            staging: columns.with(|path| ObjectKey::parse(Area::Staging, path))?,
            served: columns.with(|path| ObjectKey::parse(Area::Served, path))?,
        },
        filename: columns.with(Filename::sanitise)?,
        original_filename: columns.text()?,
        content_type: columns.parsed()?,
        size: columns.unsigned()?,
        sha256: columns.optional_digest()?,
        method: columns.named(names::method)?,
        classification: columns.parsed()?,
        lawful_basis: columns.optional_text()?,
        residency: columns.str()?.into(),
        metadata: columns.json()?,
        created_at: columns.time()?,
        upload_expires_at: columns.time()?,
        updated_at: columns.time()?,
        revision: columns.unsigned()?,
        life: columns.json()?,
    })
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
        object.id.to_string(),
        object.grant.to_string(),
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
pub(super) fn to_json(value: &impl serde::Serialize) -> Result<String, Failure> {
    serde_json::to_string(value).map_err(|error| Failure::unreadable("a value that cannot be written", error))
}

/// What [`token`] reads, in its order.
macro_rules! token_columns {
    () => {
        "id, hash, holder, name, app, owner, environment, scopes, created_at, expires_at, revoked_at"
    };
}
pub(super) use token_columns;

pub(super) fn token(columns: &mut Columns<'_>) -> Result<TokenRecord, Failure> {
    let (id, hash) = (columns.parsed()?, columns.digest()?);
    let holder = if columns.str()? == "operator" {
        let name = columns.text()?;
        for _ in ["app", "owner", "environment", "scopes"] {
            columns.value()?;
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

pub(super) fn insert_token(conn: &Connection, token: &TokenRecord) -> Result<(), Failure> {
    let (holder, name, app, owner, environment, scopes) = match &token.holder {
        TokenHolder::Workflow { app, workflow, owner, environment, scopes } => {
            let scopes = to_json(scopes)?;
            ("workflow", workflow.as_str(), Some(app), Some(owner), Some(environment.as_str()), scopes)
        }
        TokenHolder::Operator { name } => ("operator", name.as_str(), None, None, None, "[]".to_owned()),
    };
    let mut insert = conn.prepare_cached(concat!(
        "INSERT INTO tokens (",
        token_columns!(),
        ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)"
    ))?;
    insert.execute(params![
        token.id.as_str(),
        token.hash.0,
        holder,
        name,
        app.map(|app| app.as_str()),
        owner.map(|owner| owner.as_str()),
        environment,
        scopes,
        token.created_at.as_microsecond(),
        token.expires_at.map(Timestamp::as_microsecond),
        token.revoked_at.map(Timestamp::as_microsecond),
    ])?;
    Ok(())
}
