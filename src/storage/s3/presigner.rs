//! From a grant to a URL: the hot path of the whole gateway.
//!
//! Everything that the grant constrains is signed: for PUT `content-length`, `content-type`, `if-none-match: *` and,
//! where the client gave a digest, `x-amz-checksum-sha256`, always as headers (a checksum in the query is not compared
//! with the body by any server that was tried). The grant's id is the signed query parameter `x-grant-id`, which S3
//! writes into its access log. A URL never outlives the credentials that sign it. Reads are minted for served keys only
//! and writes for staging keys only. No I/O, no lock, no SDK.

use std::fmt::{self, Write};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::{SignedDuration, Timestamp};

use super::address::{AddressError, Location, Place};
use super::sigv4::{ALGORITHM, CanonicalRequest, LONGEST, SigningKey, SigningKeys};
use super::{encode, post_policy};
use crate::domain::bytes::Sha256Digest;
use crate::domain::grant::{DownloadGrant, UploadGrant, UploadMethod};
use crate::domain::key::{Area, ObjectKey};
use crate::storage::credentials::{CredentialSource, Snapshot};
use crate::storage::{MintError, MintedDownload, MintedUpload, SignedUrl};

/// How long before the end of its credentials a URL ends: what clocks may differ by.
const SKEW: i64 = 60;
/// The shortest life, in seconds, to which credentials may cut a URL before it is refused instead.
const USEFUL: i64 = 30;

/// Mints S3 URLs and forms for the buckets of one target.
pub struct Presigner {
    staging: Place,
    served: Place,
    credentials: Arc<CredentialSource>,
    keys: SigningKeys,
}

impl Presigner {
    /// A presigner for both buckets of `location`.
    ///
    /// # Errors
    /// [`AddressError`] where no bucket can lie there.
    pub fn new(location: &Location, credentials: Arc<CredentialSource>) -> Result<Self, AddressError> {
        Ok(Self {
            staging: Place::new(location, &location.staging_bucket)?,
            served: Place::new(location, &location.bucket)?,
            credentials,
            keys: SigningKeys::new(location.region.clone()),
        })
    }

    /// A URL or form that writes exactly what the grant says.
    ///
    /// # Errors
    /// [`MintError::Credentials`] where no credentials live long enough, [`MintError::Grant`] where the key is no staging
    /// key or the grant's time is over.
    pub fn mint_upload(&self, grant: &UploadGrant) -> Result<MintedUpload, MintError> {
        let place = self.place(&grant.key, Area::Staging)?;
        let credentials = self.credentials.current()?;
        let credentials = credentials.as_ref().ok_or(MintError::Credentials)?;
        let life = Life::of(grant.issued_at, grant.expires_at, credentials)?;
        let key = self.keys.get(credentials, life.from)?;
        match grant.method {
            UploadMethod::Put => Ok(put(grant, place, &key, &life)),
            UploadMethod::Post => post_policy::form(grant, place, &key, &life),
        }
    }

    /// A URL that reads exactly what the grant says, with disposition and type forced.
    ///
    /// # Errors
    /// [`MintError::Credentials`] where no credentials live long enough, [`MintError::Grant`] where the key is no served
    /// key or the grant's time is over.
    pub fn mint_download(&self, grant: &DownloadGrant) -> Result<MintedDownload, MintError> {
        let place = self.place(&grant.key, Area::Served)?;
        let credentials = self.credentials.current()?;
        let credentials = credentials.as_ref().ok_or(MintError::Credentials)?;
        let life = Life::of(grant.issued_at, grant.expires_at, credentials)?;
        let key = self.keys.get(credentials, life.from)?;
        let mut url = Url::start(place, &grant.key, &key, &life, "host");
        url.text.push_str("&response-content-disposition=");
        encode::push(&mut url.text, &content_disposition(grant));
        url.text.push_str("&response-content-type=");
        encode::push(&mut url.text, grant.content_type.as_str());
        if let Some(version) = &grant.bytes.version {
            url.text.push_str("&versionId=");
            encode::push(&mut url.text, version);
        }
        let url = url.finish(&key, "GET", &grant.id, &[("host", &place.host)], "host");
        Ok(MintedDownload { url, expires_at: life.until })
    }

    fn place(&self, key: &ObjectKey, wanted: Area) -> Result<&Place, MintError> {
        match (key.area(), wanted) {
            (Area::Staging, Area::Staging) => Ok(&self.staging),
            (Area::Served, Area::Served) => Ok(&self.served),
            _ => Err(MintError::Grant),
        }
    }
}

impl fmt::Debug for Presigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Presigner").field("staging", &self.staging.base).field("served", &self.served.base).finish()
    }
}

/// From when to when a URL works, in whole seconds, as the signature has it.
pub(super) struct Life {
    /// The start, which is also what the signature is dated.
    pub(super) from: Timestamp,
    /// How many seconds it works.
    pub(super) seconds: i64,
    /// The end.
    pub(super) until: Timestamp,
}

impl Life {
    fn of(issued_at: Timestamp, expires_at: Timestamp, credentials: &Snapshot) -> Result<Self, MintError> {
        let start = issued_at.as_nanosecond().div_euclid(1_000_000_000);
        let start = i64::try_from(start).map_err(|_| MintError::Grant)?;
        let from = Timestamp::from_second(start).map_err(|_| MintError::Grant)?;
        let wanted = (expires_at.as_second() - start).min(LONGEST);
        if wanted <= 0 {
            return Err(MintError::Grant);
        }
        let left = credentials.expires_at.map_or(LONGEST, |at| at.as_second() - SKEW - start);
        if left < wanted && left < USEFUL {
            return Err(MintError::Credentials);
        }
        let seconds = wanted.min(left);
        let until = from.checked_add(SignedDuration::from_secs(seconds)).map_err(|_| MintError::Grant)?;
        Ok(Self { from, seconds, until })
    }
}

const PUT_HEADERS: (&str, &str) =
    ("content-length;content-type;host;if-none-match", "content-length%3Bcontent-type%3Bhost%3Bif-none-match");
const PUT_HEADERS_WITH_DIGEST: (&str, &str) = (
    "content-length;content-type;host;if-none-match;x-amz-checksum-sha256",
    "content-length%3Bcontent-type%3Bhost%3Bif-none-match%3Bx-amz-checksum-sha256",
);

fn put(grant: &UploadGrant, place: &Place, key: &SigningKey, life: &Life) -> MintedUpload {
    let length = grant.size.to_string();
    let digest = grant.sha256.as_ref().map(base64);
    let canonical = [
        ("content-length", length.as_str()),
        ("content-type", grant.content_type.as_str()),
        ("host", &place.host),
        ("if-none-match", "*"),
        ("x-amz-checksum-sha256", digest.as_deref().unwrap_or_default()),
    ];
    let (canonical, (signed, encoded)) = match digest {
        Some(_) => (&canonical[..], PUT_HEADERS_WITH_DIGEST),
        None => (&canonical[..4], PUT_HEADERS),
    };
    let url = Url::start(place, &grant.key, key, life, encoded).finish(key, "PUT", &grant.id, canonical, signed);
    let mut headers = Vec::with_capacity(4);
    headers.push(("content-type", grant.content_type.as_str().to_owned()));
    headers.push(("content-length", length));
    headers.push(("if-none-match", "*".to_owned()));
    if let Some(digest) = digest {
        headers.push(("x-amz-checksum-sha256", digest));
    }
    MintedUpload { url, headers, fields: None, expires_at: life.until }
}

/// A digest as S3 writes checksums.
pub(super) fn base64(digest: &Sha256Digest) -> String {
    BASE64.encode(digest.0)
}

/// A URL in the making: its query is written in byte order, so that it is the canonical one.
struct Url {
    text: String,
    path_at: usize,
    query_at: usize,
    time_at: usize,
}

/// Room for what every URL has: path, algorithm, date, signature, and the names of parameters.
const ROOM: usize = 512;
/// `YYYYMMDDTHHMMSSZ`.
const TIME_LENGTH: usize = 16;

impl Url {
    fn start(place: &Place, key: &ObjectKey, signing: &SigningKey, life: &Life, signed_headers: &str) -> Self {
        let token = signing.credentials.encoded_token();
        let mut text = String::with_capacity(
            ROOM + place.base.len()
                + 2 * key.path().len()
                + signing.encoded_credential.len()
                + token.map_or(0, str::len),
        );
        text.push_str(&place.base);
        encode::push_path(&mut text, key.path());
        text.push('?');
        let query_at = text.len();
        text.push_str("X-Amz-Algorithm=");
        text.push_str(ALGORITHM);
        text.push_str("&X-Amz-Credential=");
        text.push_str(&signing.encoded_credential);
        text.push_str("&X-Amz-Date=");
        let time_at = text.len();
        signing.push_time(&mut text, life.from);
        text.push_str("&X-Amz-Expires=");
        // Writing to a string cannot fail.
        let _ = write!(text, "{}", life.seconds);
        if let Some(token) = token {
            text.push_str("&X-Amz-Security-Token=");
            text.push_str(token);
        }
        text.push_str("&X-Amz-SignedHeaders=");
        text.push_str(signed_headers);
        Self { text, path_at: place.path_at, query_at, time_at }
    }

    fn finish(
        mut self,
        key: &SigningKey,
        method: &str,
        grant: &impl fmt::Display,
        headers: &[(&str, &str)],
        signed_headers: &str,
    ) -> SignedUrl {
        let _ = write!(self.text, "&x-grant-id={grant}");
        let request = CanonicalRequest {
            method,
            path: &self.text[self.path_at..self.query_at - 1],
            query: &self.text[self.query_at..],
            headers,
            signed_headers,
        };
        let signature = key.sign_request(&request, &self.text[self.time_at..self.time_at + TIME_LENGTH]);
        self.text.push_str("&X-Amz-Signature=");
        self.text.push_str(signature.as_str());
        SignedUrl::new(self.text)
    }
}

/// `attachment; filename="…"; filename*=UTF-8''…`, not encoded.
///
/// RFC 6266: the first name is for old clients and is ASCII, the second (RFC 8187) is the real one.
pub(in crate::storage) fn content_disposition(grant: &DownloadGrant) -> String {
    let name = grant.filename.as_str();
    let mut value = String::with_capacity(64 + 4 * name.len());
    value.push_str(grant.disposition.as_str());
    value.push_str("; filename=\"");
    value.extend(
        name.chars().map(|c| if c.is_ascii_graphic() && !matches!(c, '"' | '\\') || c == ' ' { c } else { '_' }),
    );
    value.push_str("\"; filename*=UTF-8''");
    encode::push(&mut value, name);
    value
}
