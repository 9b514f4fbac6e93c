//! The answers of the public contract, and how a download names its object.
//!
//! What comes in is in `policy::bodies`: whoever tests policies without a server parses it too.

use std::collections::BTreeMap;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_TYPE, HeaderValue};
use jiff::Timestamp;
use serde::{Serialize, Serializer};

use crate::app::{DownloadQuery, IssuedDownload, IssuedUpload, Which};
use crate::domain::grant::UploadMethod;
use crate::domain::ids::ObjectId;
use crate::domain::refusal::{Reason, Refusal};
use crate::policy::bodies::{DownloadBody, invalid};

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

impl TryFrom<DownloadBody> for DownloadQuery {
    type Error = Refusal;

    fn try_from(body: DownloadBody) -> Result<Self, Refusal> {
        let request = body.request();
        let which = match (body.object_id, body.path) {
            (Some(id), None) => Which::Id(id.parse().map_err(|error| invalid("objectId", error))?),
            (None, Some(path)) => Which::Path(path.strip_prefix('/').unwrap_or(&path).to_owned()),
            _ => return Err(Refusal::new(Reason::InvalidField, "Send either objectId or path.")),
        };
        Ok(Self { which, request: request? })
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
