//! An object as its app may see it: the state, the reason in plain words, and nothing about the storage behind it.

use jiff::Timestamp;
use serde::Serialize;

use crate::domain::life::{Life, Review};
use crate::domain::object::Object;
use crate::domain::refusal::Reason;
use crate::domain::verdict::{Finding, Verdict};

/// The answer of `GET /objects/{id}`.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObjectView {
    /// The object's id.
    #[schema(example = "obj_019c41d6b8f07c3e9a52d1b0c4f7e802")]
    pub object_id: String,
    /// Where it stands: issued, uploaded, scanning, promoting, visible, quarantined, unscannable, rejected, expired or
    /// deleted.
    #[schema(example = "visible")]
    pub state: &'static str,
    /// The code of why it was refused or held; see the error table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// The same in a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// What inspection found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<VerdictView>,
    /// Who let it through, where inspection did not find it clean.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub review: Option<ReviewView>,
    /// The path under which it can be downloaded once it is visible.
    #[schema(example = "uploads/u-42/obj_019c41d6b8f07c3e9a52d1b0c4f7e802/menu.jpg")]
    pub path: String,
    /// The file name, made safe.
    pub filename: String,
    /// The file name as it was sent.
    pub original_filename: String,
    /// The declared type, which inspection has verified once the object is visible.
    pub content_type: String,
    /// Length in bytes, as declared and, once visible, as verified.
    pub size: u64,
    /// The SHA-256 that inspection computed, or the declared one before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// The data class.
    pub classification: String,
    /// The app's own key-value pairs.
    #[serde(skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub metadata: std::collections::BTreeMap<String, String>,
    /// When the upload URL was issued (RFC 3339).
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When the state last changed (RFC 3339).
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
    /// When the upload URL stops working (RFC 3339).
    #[schema(value_type = String, format = DateTime)]
    pub upload_expires_at: Timestamp,
    /// Before when it cannot be deleted (RFC 3339); absent where nothing keeps it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub retained_until: Option<Timestamp>,
}

/// What inspection found about exact bytes. Which staged object those were is for reviewers, not for apps.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct VerdictView {
    /// clean, infected, rejected or cannotBeJudged.
    pub result: &'static str,
    /// The signature's name, where one matched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
    /// The engine and its version.
    pub engine: String,
    /// The signature database's version.
    pub signatures: String,
    /// When the inspection ended (RFC 3339).
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// The SHA-256 of the bytes that were read.
    pub sha256: String,
    /// The type that the content has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detected_type: Option<String>,
}

/// A reviewer's decision.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct ReviewView {
    /// The written reason.
    pub reason: String,
}

impl From<&Object> for ObjectView {
    fn from(object: &Object) -> Self {
        let (reason, detail) = why(&object.life);
        let verdict = object.life.verdict();
        Self {
            object_id: object.id.to_string(),
            state: object.life.state().as_str(),
            reason: reason.map(Reason::code),
            detail,
            verdict: verdict.map(VerdictView::from),
            review: review(&object.life).map(|review| ReviewView { reason: review.reason.clone() }),
            path: object.keys.served.path().to_owned(),
            filename: object.filename.to_string(),
            original_filename: object.original_filename.clone(),
            content_type: object.content_type.to_string(),
            size: object.size,
            sha256: verdict.map(|verdict| verdict.sha256).or(object.sha256).map(|digest| digest.to_string()),
            classification: object.classification.to_string(),
            metadata: object.metadata.clone(),
            created_at: object.created_at,
            updated_at: object.updated_at,
            upload_expires_at: object.upload_expires_at,
            retained_until: object.life.retained_until(),
        }
    }
}

impl From<&Verdict> for VerdictView {
    fn from(verdict: &Verdict) -> Self {
        Self {
            result: verdict.finding.as_str(),
            signature: match &verdict.finding {
                Finding::Infected { signature } => Some(signature.clone()),
                _ => None,
            },
            engine: verdict.engine.clone(),
            signatures: verdict.signatures.clone(),
            at: verdict.at,
            sha256: verdict.sha256.to_string(),
            detected_type: verdict.detected.as_ref().map(ToString::to_string),
        }
    }
}

fn review(life: &Life) -> Option<&Review> {
    match life {
        Life::Promoting { review, .. } | Life::Visible { review, .. } => review.as_ref(),
        _ => None,
    }
}

fn why(life: &Life) -> (Option<Reason>, Option<String>) {
    match life {
        Life::Rejected { reason, detail, .. } => (Some(*reason), Some(detail.clone())),
        Life::Quarantined { .. } => {
            (Some(Reason::MalwareFound), Some("Malware was found; the file is held for review.".into()))
        }
        Life::Contained { .. } => (
            Some(Reason::Contained),
            Some("Whoever uploaded the file was revoked; the file is held for review.".into()),
        ),
        Life::Unscannable { detail, .. } => (Some(Reason::CannotBeJudged), Some(detail.clone())),
        Life::Expired => (Some(Reason::UploadExpired), Some("Nothing arrived before the upload URL expired.".into())),
        Life::Deleted { detail } => (Some(Reason::ObjectGone), Some(detail.clone())),
        _ => (None, None),
    }
}
