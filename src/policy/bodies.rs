//! What clients ask for, as they write it: the bodies of the JSON contract, and the one way from them to a request.
//!
//! What comes in is plain text and numbers; parsing turns it into the types of the domain and says, for each field, what
//! is allowed. HTTP and the cases of `policy test` go the same way, so that a case is refused where the request would be.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::domain::bytes::Sha256Digest;
use crate::domain::filename::Filename;
use crate::domain::grant::{Disposition, UploadMethod};
use crate::domain::key::Prefix;
use crate::domain::refusal::{Reason, Refusal};

use super::classes::LAWFUL_BASES;
use super::request::{DownloadRequest, UploadRequest, known_basis};

/// The body of `POST /request-upload`.
#[derive(Clone, Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(example = json!({"filename":"menu.jpg","size":48213,"contentType":"image/jpeg","path":"uploads/u-42/"}))]
pub struct UploadBody {
    /// The file's name; made safe before it becomes part of a path.
    pub filename: String,
    /// The exact length in bytes.
    pub size: u64,
    /// The file's media type, for example `image/jpeg`.
    pub content_type: String,
    /// A path under the app's prefix; the prefix itself where absent.
    pub path: Option<String>,
    /// The data class; the app's default where absent.
    pub classification: Option<String>,
    /// The SHA-256 of the bytes, as 64 hexadecimal digits; then the storage or the gateway checks it.
    pub sha256: Option<String>,
    /// `PUT` (the default) or `POST`, which answers with the fields of an HTML form.
    pub method: Option<String>,
    /// Up to 16 key-value pairs that the object will carry.
    #[serde(default)]
    pub metadata: Option<BTreeMap<String, String>>,
    /// The lawful basis, where the class demands one, for example `contract`.
    pub lawful_basis: Option<String>,
}

impl TryFrom<UploadBody> for UploadRequest {
    type Error = Refusal;

    fn try_from(body: UploadBody) -> Result<Self, Refusal> {
        let filename = Filename::sanitise(&body.filename)
            .map_err(|error| Refusal::new(Reason::InvalidFilename, format!("filename: {error}.")))?;
        let content_type = body.content_type.parse().map_err(|error| invalid("contentType", error))?;
        let path = body
            .path
            .map(|path| path.parse::<Prefix>())
            .transpose()
            .map_err(|error| Refusal::new(Reason::InvalidPath, format!("path: {error}.")))?;
        let classification = body
            .classification
            .map(|class| class.parse())
            .transpose()
            .map_err(|error| invalid("classification", error))?;
        let sha256: Option<Sha256Digest> =
            body.sha256.map(|digest| digest.parse()).transpose().map_err(|error| invalid("sha256", error))?;
        let method = match body.method.as_deref() {
            None | Some("PUT") => UploadMethod::Put,
            Some("POST") => UploadMethod::Post,
            Some(other) => {
                let shown: String = other.chars().take(20).collect();
                return Err(Refusal::new(Reason::MethodNotSupported, format!("method: '{shown}' is not offered."))
                    .allowed(["PUT", "POST"]));
            }
        };
        Ok(Self {
            original_filename: body.filename,
            filename,
            size: body.size,
            content_type,
            path,
            classification,
            sha256,
            method,
            metadata: body.metadata.unwrap_or_default(),
            lawful_basis: body.lawful_basis,
        })
    }
}

/// The body of `POST /request-download`.
#[derive(Clone, Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(example = json!({"objectId":"obj_019c41d6b8f07c3e9a52d1b0c4f7e802"}))]
pub struct DownloadBody {
    /// The object, by id …
    pub object_id: Option<String>,
    /// … or by the path that its status shows.
    pub path: Option<String>,
    /// `attachment` (the default) or `inline`.
    pub disposition: Option<String>,
    /// Asks for a link that works once and dies with the token.
    #[serde(default)]
    pub one_time: Option<bool>,
    /// The lawful basis of this access, where it is another one than the upload's, for example `legal-obligation`.
    pub lawful_basis: Option<String>,
}

impl DownloadBody {
    /// How the download is asked for, whichever object it is.
    ///
    /// # Errors
    /// `invalid_field` for an unknown disposition or lawful basis.
    pub fn request(&self) -> Result<DownloadRequest, Refusal> {
        let disposition = match self.disposition.as_deref() {
            None => None,
            Some("attachment") => Some(Disposition::Attachment),
            Some("inline") => Some(Disposition::Inline),
            Some(_) => {
                return Err(Refusal::new(Reason::InvalidField, "disposition: must be attachment or inline.")
                    .allowed(["attachment", "inline"]));
            }
        };
        let basis = self.lawful_basis.as_deref();
        let lawful_basis = basis.map(|asked| known_basis(asked).ok_or_else(unknown_basis)).transpose()?;
        Ok(DownloadRequest { disposition, one_time: self.one_time.unwrap_or(false), lawful_basis })
    }
}

/// The refusal of a lawful basis that is none.
pub(super) fn unknown_basis() -> Refusal {
    let detail = format!("lawfulBasis is none of GDPR Article 6: {}", LAWFUL_BASES.join(", "));
    Refusal::new(Reason::InvalidField, detail).allowed(LAWFUL_BASES).rule("lawful basis")
}

/// The prefix of `GET /objects`; everything of the app where absent.
///
/// # Errors
/// `invalid_field` where it is no path.
pub fn list_prefix(prefix: Option<&str>) -> Result<Prefix, Refusal> {
    prefix.map_or(Ok(Prefix::root()), |prefix| prefix.parse().map_err(|error| invalid("prefix", error)))
}

/// A field of a request that cannot be read.
pub fn invalid(field: &str, error: impl std::fmt::Display) -> Refusal {
    Refusal::new(Reason::InvalidField, format!("{field}: {error}."))
}
