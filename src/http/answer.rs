//! The bodies of the public contract, in and out.
//!
//! What comes in is plain text and numbers; `TryFrom` turns it into the types of the domain and says, for each field,
//! what is allowed.

use std::collections::BTreeMap;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_TYPE, HeaderValue};
use jiff::Timestamp;
use serde::{Deserialize, Serialize, Serializer};

use crate::app::{DownloadQuery, IssuedDownload, IssuedUpload, Which};
use crate::domain::bytes::Sha256Digest;
use crate::domain::filename::Filename;
use crate::domain::grant::{Disposition, UploadMethod};
use crate::domain::ids::ObjectId;
use crate::domain::key::Prefix;
use crate::domain::refusal::{Reason, Refusal};
use crate::policy::{DownloadRequest, UploadRequest};

/// Room for an answer with a signed URL, in bytes.
const USUAL: usize = 1536;

/// An answer on the hot path: its text is written once, into a buffer that need not grow.
pub(super) fn json(status: StatusCode, answer: &impl Serialize) -> HttpResponse {
    let mut text = Vec::with_capacity(USUAL);
    match serde_json::to_writer(&mut text, answer) {
        Ok(()) => HttpResponse::build(status).insert_header((CONTENT_TYPE, APPLICATION_JSON)).body(text),
        Err(error) => HttpResponse::from_error(error),
    }
}

const APPLICATION_JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The body of `POST /request-upload`.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(example = json!({"filename":"menu.jpg","size":48213,"contentType":"image/jpeg","path":"uploads/u-42/"}))]
pub(super) struct UploadBody {
    /// The file's name; made safe before it becomes part of a path.
    filename: String,
    /// The exact length in bytes.
    size: u64,
    /// The file's media type, for example `image/jpeg`.
    content_type: String,
    /// A path under the app's prefix; the prefix itself where absent.
    path: Option<String>,
    /// The data class; the app's default where absent.
    classification: Option<String>,
    /// The SHA-256 of the bytes, as 64 hexadecimal digits; then the storage or the gateway checks it.
    sha256: Option<String>,
    /// `PUT` (the default) or `POST`, which answers with the fields of an HTML form.
    method: Option<String>,
    /// Up to 16 key-value pairs that the object will carry.
    #[serde(default)]
    metadata: Option<BTreeMap<String, String>>,
    /// The lawful basis, where the class demands one, for example `contract`.
    lawful_basis: Option<String>,
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

fn invalid(field: &str, error: impl std::fmt::Display) -> Refusal {
    Refusal::new(Reason::InvalidField, format!("{field}: {error}."))
}

/// The answer of `POST /request-upload`.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct UploadAnswer {
    /// The object that the bytes will become.
    #[schema(value_type = String, example = "obj_019c41d6b8f07c3e9a52d1b0c4f7e802")]
    object_id: ObjectId,
    /// Where to send the bytes. A credential: do not store or log it.
    upload_url: String,
    /// `PUT` or `POST`.
    #[schema(value_type = String, example = "PUT")]
    method: UploadMethod,
    /// Exactly the headers to send.
    #[schema(value_type = BTreeMap<String, String>)]
    #[serde(serialize_with = "as_map")]
    headers: Vec<(&'static str, String)>,
    /// The fields of the form, to be sent before the file; null for PUT.
    fields: Option<BTreeMap<String, String>>,
    /// When the URL stops working (RFC 3339).
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
    /// Where to ask how the object stands.
    #[schema(example = "/objects/obj_019c41d6b8f07c3e9a52d1b0c4f7e802")]
    status_url: String,
}

fn as_map<S: Serializer>(pairs: &[(&'static str, String)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(pairs.iter().map(|(name, value)| (name, value)))
}

impl From<IssuedUpload> for UploadAnswer {
    fn from(issued: IssuedUpload) -> Self {
        Self {
            status_url: format!("/objects/{}", issued.object),
            object_id: issued.object,
            upload_url: issued.upload.url.into_exposed(),
            method: issued.method,
            headers: issued.upload.headers,
            fields: issued.upload.fields.map(|fields| fields.0.into_iter().collect()),
            expires_at: issued.upload.expires_at,
        }
    }
}

/// The body of `POST /request-download`.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(example = json!({"objectId":"obj_019c41d6b8f07c3e9a52d1b0c4f7e802"}))]
pub(super) struct DownloadBody {
    /// The object, by id …
    object_id: Option<String>,
    /// … or by the path that its status shows.
    path: Option<String>,
    /// `attachment` (the default) or `inline`.
    disposition: Option<String>,
    /// Asks for a link that works once and dies with the token.
    #[serde(default)]
    one_time: Option<bool>,
}

impl TryFrom<DownloadBody> for DownloadQuery {
    type Error = Refusal;

    fn try_from(body: DownloadBody) -> Result<Self, Refusal> {
        let which = match (body.object_id, body.path) {
            (Some(id), None) => Which::Id(id.parse().map_err(|error| invalid("objectId", error))?),
            (None, Some(path)) => Which::Path(path.strip_prefix('/').unwrap_or(&path).to_owned()),
            _ => return Err(Refusal::new(Reason::InvalidField, "Send either objectId or path.")),
        };
        let disposition = match body.disposition.as_deref() {
            None => None,
            Some("attachment") => Some(Disposition::Attachment),
            Some("inline") => Some(Disposition::Inline),
            Some(_) => {
                return Err(Refusal::new(Reason::InvalidField, "disposition: must be attachment or inline.")
                    .allowed(["attachment", "inline"]));
            }
        };
        Ok(Self { which, request: DownloadRequest { disposition, one_time: body.one_time.unwrap_or(false) } })
    }
}

/// The answer of `POST /request-download`.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct DownloadAnswer {
    /// Where to read the bytes. A credential: do not store or log it.
    download_url: String,
    /// When the URL stops working (RFC 3339).
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
    /// The file's name.
    filename: String,
    /// The verified media type.
    content_type: String,
    /// Length in bytes.
    size: u64,
    /// The SHA-256 that inspection computed; null where a reviewer released what could not be read.
    sha256: Option<String>,
}

impl From<IssuedDownload> for DownloadAnswer {
    fn from(issued: IssuedDownload) -> Self {
        Self {
            download_url: issued.url.into_exposed(),
            expires_at: issued.expires_at,
            filename: issued.filename.to_string(),
            content_type: issued.content_type.to_string(),
            size: issued.size,
            sha256: issued.sha256.map(|digest| digest.to_string()),
        }
    }
}
