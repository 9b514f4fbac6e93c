//! Columns to domain types, the same for every database.
//!
//! Nothing is trusted on the way back: every column is parsed again, and a row that this version does not understand is
//! an error with the column's name, never a guess. The order of columns is written once for each table. What a driver
//! has to bring is how it reads a text, a number, bytes and an id.

use std::fmt::Display;
use std::str::FromStr;

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::{
    GatewayKey, KeyPurpose, Lifted, NodeRecord, ReleaseApproval, RevocationRecord, TokenHolder, TokenOrigin,
    TokenRecord, names,
};
use crate::domain::access::AccessRequest;
use crate::domain::admin::AdminRoles;
use crate::domain::bytes::Sha256Digest;
use crate::domain::filename::Filename;
use crate::domain::ids::{GrantId, ObjectId};
use crate::domain::key::{Area, ObjectKey, ObjectKeys};
use crate::domain::object::Object;

/// The columns of a row from left to right. `'r` is the row's.
pub(super) trait Columns<'r> {
    /// The driver's reason for a failed statement.
    type Failure;

    /// The failure of the column that was read last.
    fn unreadable(&self, error: impl Display) -> Self::Failure;

    fn optional_str(&mut self) -> Result<Option<&'r str>, Self::Failure>;

    fn optional_number(&mut self) -> Result<Option<i64>, Self::Failure>;

    fn optional_bytes(&mut self) -> Result<Option<&'r [u8]>, Self::Failure>;

    fn object_id(&mut self) -> Result<ObjectId, Self::Failure>;

    fn grant_id(&mut self) -> Result<GrantId, Self::Failure>;

    fn str(&mut self) -> Result<&'r str, Self::Failure> {
        self.optional_str()?.ok_or_else(|| self.unreadable("missing"))
    }

    fn text(&mut self) -> Result<String, Self::Failure> {
        self.str().map(str::to_owned)
    }

    fn optional_text(&mut self) -> Result<Option<String>, Self::Failure> {
        Ok(self.optional_str()?.map(str::to_owned))
    }

    fn parsed<T: FromStr<Err: Display>>(&mut self) -> Result<T, Self::Failure> {
        self.with(T::from_str)
    }

    /// A text that `read` understands.
    fn with<T, E: Display>(&mut self, read: impl FnOnce(&str) -> Result<T, E>) -> Result<T, Self::Failure> {
        let text = self.str()?;
        read(text).map_err(|error| self.unreadable(error))
    }

    /// A text that is the name of something.
    fn named<T>(&mut self, from_name: impl FnOnce(&str) -> Option<T>) -> Result<T, Self::Failure> {
        let text = self.str()?;
        from_name(text).ok_or_else(|| self.unreadable(format_args!("'{text}' is unknown")))
    }

    fn optional_parsed<T: FromStr<Err: Display>>(&mut self) -> Result<Option<T>, Self::Failure> {
        let text = self.optional_str()?;
        text.map(T::from_str).transpose().map_err(|error| self.unreadable(error))
    }

    /// A text that is the name of something, or nothing.
    fn optional_named<T>(&mut self, from_name: impl FnOnce(&str) -> Option<T>) -> Result<Option<T>, Self::Failure> {
        let Some(text) = self.optional_str()? else { return Ok(None) };
        from_name(text).map(Some).ok_or_else(|| self.unreadable(format_args!("'{text}' is unknown")))
    }

    fn json<T: DeserializeOwned>(&mut self) -> Result<T, Self::Failure> {
        self.with(|text| serde_json::from_str(text))
    }

    fn optional_json<T: DeserializeOwned>(&mut self) -> Result<Option<T>, Self::Failure> {
        let text = self.optional_str()?;
        text.map(serde_json::from_str).transpose().map_err(|error| self.unreadable(error))
    }

    fn number(&mut self) -> Result<i64, Self::Failure> {
        self.optional_number()?.ok_or_else(|| self.unreadable("missing"))
    }

    fn unsigned(&mut self) -> Result<u64, Self::Failure> {
        let number = self.number()?;
        u64::try_from(number).map_err(|error| self.unreadable(error))
    }

    fn time(&mut self) -> Result<Timestamp, Self::Failure> {
        let micros = self.number()?;
        Timestamp::from_microsecond(micros).map_err(|error| self.unreadable(error))
    }

    fn optional_time(&mut self) -> Result<Option<Timestamp>, Self::Failure> {
        let micros = self.optional_number()?;
        micros.map(Timestamp::from_microsecond).transpose().map_err(|error| self.unreadable(error))
    }

    fn digest(&mut self) -> Result<Sha256Digest, Self::Failure> {
        self.optional_digest()?.ok_or_else(|| self.unreadable("missing"))
    }

    fn optional_digest(&mut self) -> Result<Option<Sha256Digest>, Self::Failure> {
        let bytes = self.optional_bytes()?;
        bytes.map(|bytes| bytes.try_into().map(Sha256Digest)).transpose().map_err(|error| self.unreadable(error))
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

pub(super) fn object<'r, C: Columns<'r>>(columns: &mut C) -> Result<Object, C::Failure> {
    Ok(Object {
        id: columns.object_id()?,
        grant: columns.grant_id()?,
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

/// What [`token`] reads, in its order.
macro_rules! token_columns {
    () => {
        "id, hash, holder, name, app, owner, environment, scopes, created_at, expires_at, revoked_at, subject, roles, \
         origin, issuer, parent, binding, key_id, last_used_at, successor, request_id"
    };
}
pub(super) use token_columns;

pub(super) fn token<'r, C: Columns<'r>>(columns: &mut C) -> Result<TokenRecord, C::Failure> {
    let (id, hash) = (columns.parsed()?, columns.digest()?);
    let mut holder = if columns.str()? == "operator" {
        let name = columns.text()?;
        for _ in ["app", "owner", "environment", "scopes"] {
            columns.optional_str()?;
        }
        TokenHolder::Operator { name, roles: AdminRoles::admin() }
    } else {
        TokenHolder::Workflow {
            workflow: columns.parsed()?,
            app: columns.parsed()?,
            owner: columns.parsed()?,
            environment: columns.named(names::environment)?,
            scopes: columns.json()?,
            subject: None,
        }
    };
    let (created_at, expires_at, revoked_at) = (columns.time()?, columns.optional_time()?, columns.optional_time()?);
    let vouched = columns.optional_json()?;
    let own: Option<AdminRoles> = columns.optional_json()?;
    match &mut holder {
        TokenHolder::Workflow { subject, .. } => *subject = vouched,
        // A token without roles is from before there were any.
        TokenHolder::Operator { roles, .. } => *roles = own.unwrap_or_else(AdminRoles::admin),
    }
    Ok(TokenRecord {
        id,
        hash,
        holder,
        created_at,
        expires_at,
        revoked_at,
        origin: columns.optional_named(TokenOrigin::from_name)?.unwrap_or_default(),
        issuer: columns.optional_text()?,
        parent: columns.optional_parsed()?,
        binding: columns.optional_parsed()?,
        key: columns.optional_parsed()?,
        last_used_at: columns.optional_time()?,
        successor: columns.optional_parsed()?,
        request: columns.optional_parsed()?,
    })
}

/// What [`revocation`] reads, in its order.
macro_rules! revocation_columns {
    () => {
        "id, target, at, revoked_by, reason, blocks, lifted_at, lifted_by, contain, contained_at, killed"
    };
}
pub(super) use revocation_columns;

pub(super) fn revocation<'r, C: Columns<'r>>(columns: &mut C) -> Result<RevocationRecord, C::Failure> {
    Ok(RevocationRecord {
        id: columns.parsed()?,
        target: columns.parsed()?,
        at: columns.time()?,
        by: columns.text()?,
        reason: columns.text()?,
        blocks: columns.number()? != 0,
        lifted: match (columns.optional_time()?, columns.optional_text()?) {
            (Some(at), by) => Some(Lifted { at, by: by.unwrap_or_default() }),
            (None, _) => None,
        },
        contain: columns.number()? != 0,
        contained_at: columns.optional_time()?,
        killed: columns.unsigned()?,
    })
}

/// What [`gateway_key`] reads, in its order.
macro_rules! key_columns {
    () => {
        "id, purpose, number, secret, created_at, accepted_until"
    };
}
pub(super) use key_columns;

pub(super) fn gateway_key<'r, C: Columns<'r>>(columns: &mut C) -> Result<GatewayKey, C::Failure> {
    Ok(GatewayKey {
        id: columns.parsed()?,
        purpose: columns.named(KeyPurpose::from_name)?,
        number: columns.unsigned()?,
        secret: columns.optional_bytes()?.unwrap_or_default().to_vec().into(),
        created_at: columns.time()?,
        accepted_until: columns.optional_time()?,
    })
}

/// A node, after its id.
pub(super) fn node<'r, C: Columns<'r>>(id: Uuid, columns: &mut C) -> Result<NodeRecord, C::Failure> {
    Ok(NodeRecord {
        id,
        url: columns.text()?,
        version: columns.text()?,
        started_at: columns.time()?,
        seen_at: columns.time()?,
    })
}

/// What [`approval`] reads, in its order.
macro_rules! approval_columns {
    () => {
        "object_id, revision, by, targets, reason, at"
    };
}
pub(super) use approval_columns;

pub(super) fn approval<'r, C: Columns<'r>>(columns: &mut C) -> Result<ReleaseApproval, C::Failure> {
    Ok(ReleaseApproval {
        object: columns.object_id()?,
        revision: columns.unsigned()?,
        by: columns.text()?,
        targets: columns.json()?,
        reason: columns.text()?,
        at: columns.time()?,
    })
}

/// What [`access_request`] reads, in its order.
macro_rules! access_columns {
    () => {
        "id, asked, requested_by, reason, created_at, life"
    };
}
pub(super) use access_columns;

pub(super) fn access_request<'r, C: Columns<'r>>(columns: &mut C) -> Result<AccessRequest, C::Failure> {
    Ok(AccessRequest {
        id: columns.parsed()?,
        asked: columns.json()?,
        by: columns.text()?,
        reason: columns.text()?,
        created_at: columns.time()?,
        state: columns.json()?,
    })
}
