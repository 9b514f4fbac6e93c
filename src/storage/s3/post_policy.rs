//! POST policies: a signed document that says which HTML form the bucket accepts.
//!
//! Bucket, key, exact length, content type and, where given, the digest are conditions with one acceptable value each;
//! `content-length-range` has its two ends equal. A form cannot be made create-only, and the enforcement table says so.
//! `x-grant-id` is a declared field: S3 refuses fields that the policy does not name, and a form has no signed query; it
//! binds the form to its grant, but does not reach the access log, where the key with its object id stands instead.
//! Source: "Browser-based uploads using POST (AWS Signature Version 4)", Amazon S3 API reference.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use super::address::Place;
use super::presigner::{self, Life};
use super::sigv4::{ALGORITHM, SigningKey};
use crate::domain::grant::UploadGrant;
use crate::storage::signed_url::FormFields;
use crate::storage::{MintError, MintedUpload, SignedUrl};

/// The form that writes exactly what the grant says. The client appends the part `file` after these fields.
pub(super) fn form(
    grant: &UploadGrant,
    place: &Place,
    key: &SigningKey,
    life: &Life,
) -> Result<MintedUpload, MintError> {
    let mut time = String::with_capacity(16);
    key.push_time(&mut time, life.from);
    let mut fields = vec![
        ("key", grant.key.path().to_owned()),
        ("Content-Type", grant.content_type.as_str().to_owned()),
        ("x-grant-id", grant.id.to_string()),
    ];
    if let Some(digest) = &grant.sha256 {
        fields.push(("x-amz-checksum-algorithm", "SHA256".to_owned()));
        fields.push(("x-amz-checksum-sha256", presigner::base64(digest)));
    }
    fields.push(("x-amz-algorithm", ALGORITHM.to_owned()));
    fields.push(("x-amz-credential", key.credential.clone()));
    fields.push(("x-amz-date", time));
    if let Some(token) = key.credentials.token() {
        fields.push(("x-amz-security-token", token.to_owned()));
    }

    let mut conditions: Vec<Value> = Vec::with_capacity(fields.len() + 2);
    conditions.push(json!({ "bucket": place.bucket }));
    conditions.push(json!(["content-length-range", grant.size, grant.size]));
    conditions.extend(fields.iter().map(|(name, value)| json!({ *name: value })));
    let document = json!({ "expiration": life.until.to_string(), "conditions": conditions });
    let policy = BASE64.encode(serde_json::to_vec(&document).map_err(|_| MintError::Grant)?);
    let signature = key.sign_policy(&policy);
    fields.push(("policy", policy));
    fields.push(("x-amz-signature", signature.as_str().to_owned()));

    let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    Ok(MintedUpload {
        url: SignedUrl::new(place.form.clone()),
        headers: Vec::new(),
        fields: Some(FormFields(fields)),
        expires_at: life.until,
    })
}
