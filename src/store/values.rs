//! Domain types to column values, and the bounds that both databases keep.
//!
//! What a driver's own types decide (ids, text that may not hold NUL) stays with the driver.

use std::fmt::Display;

use jiff::SignedDuration;

use super::{StoreError, TokenHolder};
use crate::domain::audit::AuditEntry;

/// How long idempotency keys, and links that are used or expired, are kept.
pub(super) const KEPT: SignedDuration = SignedDuration::from_hours(24);
/// How long a token that was exchanged or derived is kept after its end, for what it did.
pub(super) const ENDED_KEPT: SignedDuration = SignedDuration::from_hours(7 * 24);
/// How far the clocks of two nodes may lie apart: a revocation ends what one of them still takes for unexpired.
pub(super) const SKEW: SignedDuration = SignedDuration::from_mins(5);
/// Tokens that the answer of a revocation names at most.
pub(super) const NAMED: usize = 100;
/// Rows of each table that one operation removes at most, so that it never holds up the batch for long.
pub(super) const AT_ONCE: i64 = 500;
/// Longest body of a dead letter in bytes.
const MAX_BODY: usize = 16 << 10;
/// Room for the text of most audit entries, in bytes.
const USUAL: usize = 1024;

/// An unsigned number as a database keeps it. Callers refuse sizes beyond `i64` before they come here.
pub(super) fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A number of rows as a `LIMIT`.
pub(super) fn limit(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// As much of a dead letter's body as is kept.
pub(super) fn kept(body: &str) -> &str {
    let end = (0..=MAX_BODY.min(body.len())).rev().find(|&end| body.is_char_boundary(end)).unwrap_or(0);
    &body[..end]
}

/// An audit entry as its column: JSON on one line.
pub(super) fn audit_text(entry: &AuditEntry) -> Result<String, StoreError> {
    fn unwritable(error: impl Display) -> StoreError {
        StoreError::Corrupt(format!("an audit entry that cannot be written: {error}"))
    }
    let mut json = Vec::with_capacity(USUAL);
    serde_json::to_writer(&mut json, entry).map_err(unwritable)?;
    String::from_utf8(json).map_err(unwritable)
}

/// Any value as a JSON column.
pub(super) fn json(value: &impl serde::Serialize) -> serde_json::Result<String> {
    serde_json::to_string(value)
}

/// Who holds a token, as the columns that say so.
pub(super) struct HolderColumns<'t> {
    pub(super) holder: &'static str,
    pub(super) name: &'t str,
    pub(super) app: Option<&'t str>,
    pub(super) owner: Option<&'t str>,
    pub(super) environment: Option<&'static str>,
    pub(super) scopes: String,
    pub(super) subject: Option<String>,
    /// The person and the device again, for revocations to find them.
    pub(super) user: Option<&'t str>,
    pub(super) device: Option<&'t str>,
    pub(super) roles: Option<String>,
}

impl<'t> HolderColumns<'t> {
    pub(super) fn of(holder: &'t TokenHolder) -> serde_json::Result<Self> {
        Ok(match holder {
            TokenHolder::Workflow { app, workflow, owner, environment, scopes, subject } => Self {
                holder: "workflow",
                name: workflow.as_str(),
                app: Some(app.as_str()),
                owner: Some(owner.as_str()),
                environment: Some(environment.as_str()),
                scopes: serde_json::to_string(scopes)?,
                subject: subject.as_ref().map(serde_json::to_string).transpose()?,
                user: subject.as_ref().map(|subject| subject.user.as_str()),
                device: subject.as_ref().and_then(|subject| subject.device.as_deref()),
                roles: None,
            },
            TokenHolder::Operator { name, roles } => Self {
                holder: "operator",
                name,
                app: None,
                owner: None,
                environment: None,
                scopes: "[]".to_owned(),
                subject: None,
                user: None,
                device: None,
                roles: Some(serde_json::to_string(roles)?),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_body_is_cut_between_characters() {
        assert_eq!(kept("short"), "short");
        let long = "é".repeat(MAX_BODY);
        assert_eq!(kept(&long).len(), MAX_BODY);
        let odd = format!("a{long}");
        assert_eq!(kept(&odd).len(), MAX_BODY - 1);
    }
}
