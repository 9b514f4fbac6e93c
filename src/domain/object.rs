//! One upload and everything that is known about it: the record behind an object id.
//!
//! Everything but `life`, `revision` and `updated_at` is fixed at issuance.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::bytes::Sha256Digest;
use super::filename::Filename;
use super::grant::UploadMethod;
use super::ids::{AppName, ClassName, GrantId, ObjectId, OwnerName, TargetName, TokenId, WorkflowName};
use super::key::ObjectKeys;
use super::life::Life;
use super::media::MediaType;
use super::principal::Environment;

/// An object's record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its id, made by the gateway.
    pub id: ObjectId,
    /// The grant of its upload URL.
    pub grant: GrantId,
    /// The app that it belongs to.
    pub app: AppName,
    /// The workflow that asked for it.
    pub workflow: WorkflowName,
    /// The token that was presented.
    pub token: TokenId,
    /// Who answers for the workflow.
    pub owner: OwnerName,
    /// Real or for trying things out.
    pub environment: Environment,
    /// The user on whose behalf the workflow acted.
    pub user: Option<String>,
    /// The bucket or container that it lies in.
    pub target: TargetName,
    /// Both keys.
    pub keys: ObjectKeys,
    /// The sanitised file name, the last segment of both keys.
    pub filename: Filename,
    /// The file name as it was sent.
    pub original_filename: String,
    /// The declared type.
    pub content_type: MediaType,
    /// The declared length in bytes.
    pub size: u64,
    /// The declared digest.
    pub sha256: Option<Sha256Digest>,
    /// How the client sends the bytes.
    pub method: UploadMethod,
    /// The data class.
    pub classification: ClassName,
    /// The lawful basis that the request named.
    pub lawful_basis: Option<String>,
    /// Where the target's data resides.
    pub residency: Arc<str>,
    /// The app's own key-value pairs; written to the served copy.
    pub metadata: BTreeMap<String, String>,
    /// When the URL was issued.
    pub created_at: Timestamp,
    /// When the upload URL stops working.
    pub upload_expires_at: Timestamp,
    /// When `life` last changed.
    pub updated_at: Timestamp,
    /// Counts the changes of `life`, from 0; the compare-and-set of every transition.
    pub revision: u64,
    /// Where it stands.
    pub life: Life,
}

impl Object {
    /// Whether its upload URL can still be used: nothing has arrived and it has not expired.
    pub fn awaits_upload(&self, now: Timestamp) -> bool {
        self.life == Life::Issued && self.upload_expires_at > now
    }
}
