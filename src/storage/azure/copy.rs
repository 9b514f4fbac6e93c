//! Promotion: a server-side copy of exactly the bytes that were judged.
//!
//! Copy Blob (asynchronous, any size) with `x-ms-source-if-match`, awaited, then Set Blob Properties with the verified
//! type. Put Blob From URL and Put Block From URL would need a signed source URL and do not exist in Azurite, and Copy
//! Blob From URL ends at 256 MiB. Within one account the caller's own read permission covers the source, so no signature
//! travels in a header. The copy is not visible before this returns, so that the moment between the two calls is nobody's
//! to see. Repeating a copy waits for one that is still under way, then copies again.

use std::collections::HashMap;
use std::time::Duration;

use azure_core::http::NoFormat;
use azure_core::http::{Etag, Response};
use azure_storage_blob::BlobClient;
use azure_storage_blob::models::{
    BlobClientGetPropertiesResult, BlobClientGetPropertiesResultHeaders, BlobClientSetPropertiesOptions,
    BlobClientStartCopyFromUrlOptions, BlobClientStartCopyFromUrlResultHeaders, CopyStatus,
};

use super::blobs::{missing, quoted};
use super::error::{answer, call, code, translate};
use crate::domain::bytes::StoredBytes;
use crate::storage::{ServedAttributes, StorageError};

/// First pause between two looks at a copy; doubles up to [`LONGEST_PAUSE`].
const PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// A copy within an account takes seconds whatever its size; past this the job is tried again later and finds it done.
const PATIENCE: Duration = Duration::from_secs(300);

type Properties = Response<BlobClientGetPropertiesResult, NoFormat>;

pub(super) async fn copy(
    to: &BlobClient,
    mut source: String,
    bytes: &StoredBytes,
    attributes: &ServedAttributes,
) -> Result<StoredBytes, StorageError> {
    if let Some(version) = &bytes.version {
        source.push_str("?versionid=");
        crate::storage::s3::encode::push(&mut source, version);
    }
    let (id, version) = start(to, &source, bytes, attributes).await?;
    let copied = settled(to, Some(&id)).await?;
    match copied.copy_status() {
        Ok(Some(CopyStatus::Success)) => {}
        // The service compares the source's ETag until the last byte.
        Ok(Some(CopyStatus::Failed)) => return Err(StorageError::PreconditionFailed),
        _ => return Err(StorageError::Unavailable("the copy was replaced by another".into())),
    }
    let unreadable = |_| StorageError::Unexpected("properties that cannot be read".into());
    let size = copied.content_length().map_err(unreadable)?.ok_or_else(|| missing("length"))?;
    if size != bytes.size {
        return Err(StorageError::Unexpected(format!("a copy of {size} bytes, not {}", bytes.size)));
    }
    // What is not named here is cleared: the encoding, language, disposition and caching that an uploader chose.
    let options = BlobClientSetPropertiesOptions {
        blob_content_type: Some(attributes.content_type.as_str().to_owned()),
        blob_content_md5: copied.content_md5().map_err(unreadable)?,
        if_match: copied.etag().map_err(unreadable)?,
        ..BlobClientSetPropertiesOptions::default()
    };
    let set = match call(to.set_properties(Some(options))).await {
        Ok(set) => set,
        Err(StorageError::PreconditionFailed) => {
            return Err(StorageError::Unavailable("the copy was replaced by another".into()));
        }
        Err(error) => return Err(error),
    };
    let etag = quoted(set.headers().get_optional_str(&"etag".into()).map(Etag::from))?;
    if !attributes.tags.is_empty() {
        tag(to, &attributes.tags).await?;
    }
    Ok(StoredBytes { etag, version, size })
}

/// Starts the copy and gives its id and the new blob's version.
async fn start(
    to: &BlobClient,
    source: &str,
    bytes: &StoredBytes,
    attributes: &ServedAttributes,
) -> Result<(String, Option<String>), StorageError> {
    let begin = || {
        let options = BlobClientStartCopyFromUrlOptions {
            source_if_match: Some(Etag::from(bytes.etag.as_str())),
            metadata: Some(metadata(&attributes.metadata)),
            ..BlobClientStartCopyFromUrlOptions::default()
        };
        async { to.start_copy_from_url(source.to_owned(), Some(options)).await }
    };
    let started = match answer(begin()).await? {
        Err(error) if code(&error) == Some("PendingCopyOperation") => {
            settled(to, None).await?;
            call(begin()).await?
        }
        other => other.map_err(|error| translate(&error))?,
    };
    let unreadable = |_| StorageError::Unexpected("a copy that cannot be followed".into());
    let id = started.copy_id().map_err(unreadable)?.ok_or_else(|| missing("copy id"))?;
    Ok((id, started.version_id().map_err(unreadable)?))
}

/// Waits until no copy to the blob is under way; `id` is the copy that must have been the last.
async fn settled(to: &BlobClient, id: Option<&str>) -> Result<Properties, StorageError> {
    let wait = async {
        let mut pause = PAUSE;
        loop {
            let found = call(to.get_properties(None)).await?;
            let unreadable = |_| StorageError::Unexpected("properties that cannot be read".into());
            if id.is_some() && found.copy_id().map_err(unreadable)?.as_deref() != id {
                return Err(StorageError::Unavailable("the copy was replaced by another".into()));
            }
            if found.copy_status().map_err(unreadable)? != Some(CopyStatus::Pending) {
                return Ok(found);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    };
    match tokio::time::timeout(PATIENCE, wait).await {
        Ok(found) => found,
        Err(_) => Err(StorageError::Unavailable("the copy is still under way".into())),
    }
}

/// Tags mirror our own record and decide nothing: where the account has none (hierarchical namespace) or the role does
/// not cover them, the promotion goes on without.
async fn tag(to: &BlobClient, tags: &[(String, String)]) -> Result<(), StorageError> {
    match super::blobs::set_tags(to, tags).await {
        Err(error @ (StorageError::Denied(_) | StorageError::Unexpected(_))) => {
            tracing::warn!(%error, "the served copy carries no tags");
            Ok(())
        }
        other => other,
    }
}

/// Names as Azure takes them (C# identifiers), values as a header takes them: visible ASCII and spaces, the rest
/// percent-encoded. Never empty, because without any metadata of its own a copy takes over that of its source, which the
/// uploader chose.
fn metadata(pairs: &[(String, String)]) -> HashMap<String, String> {
    let mut named: HashMap<String, String> = pairs
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| (identifier(name), header_value(value)))
        .collect();
    if named.is_empty() {
        named.insert("vestibule".to_owned(), "promoted".to_owned());
    }
    named
}

fn identifier(name: &str) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
    let name: String = name.chars().map(safe).collect();
    if name.starts_with(|c: char| c.is_ascii_digit()) || name.is_empty() { format!("_{name}") } else { name }
}

fn header_value(value: &str) -> String {
    use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
    const UNSAFE: &AsciiSet = &CONTROLS.add(b'%');
    let value = value.trim();
    utf8_percent_encode(value, UNSAFE).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn metadata_is_written_as_azure_takes_it() {
        let named = metadata(&pairs(&[("vestibule-object", "obj_1"), ("7 table", "Café 50%"), ("empty", "")]));
        assert_eq!(named["vestibule_object"], "obj_1");
        assert_eq!(named["_7_table"], "Caf%C3%A9 50%25");
        assert_eq!(named.len(), 2);
    }

    #[test]
    fn a_copy_never_takes_over_the_uploaders_metadata() {
        assert_eq!(metadata(&[]).len(), 1);
        assert_eq!(metadata(&pairs(&[("a", "")])).len(), 1);
    }

    #[test]
    fn no_value_can_start_another_header() {
        assert_eq!(header_value("a\r\nx-ms-acl: public"), "a%0D%0Ax-ms-acl: public");
    }
}
