//! `ListObjectsV2`: pages of keys in byte order, with prefixes folded where a delimiter asks for it.
//!
//! The continuation token is the last key of the page in hexadecimal digits. With a delimiter, keys are read in batches
//! and those that share a prefix count as one entry.

use std::sync::Arc;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use s3s::dto::{CommonPrefix, EncodingType, ListObjectsV2Input, ListObjectsV2Output, Object};
use s3s::{S3Result, s3_error};

use super::disk::{Disk, DiskError};
use super::record::Record;
use super::s3::{etag, fail, modified};

const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');

/// What one entry of a page is.
enum Entry {
    Object(Record),
    Prefix(String),
}

impl Entry {
    /// After which key the next page begins.
    fn cursor(&self) -> String {
        match self {
            Entry::Object(record) => record.key.clone(),
            // Above every key with this prefix: no key holds this last character of Unicode there.
            Entry::Prefix(prefix) => format!("{prefix}\u{10ffff}"),
        }
    }
}

/// Answers a listing.
pub(super) async fn list(disk: &Arc<Disk>, input: ListObjectsV2Input) -> S3Result<ListObjectsV2Output> {
    let limit = input.max_keys.map_or(1000, |keys| usize::try_from(keys).unwrap_or(0)).min(1000);
    let after = match &input.continuation_token {
        Some(token) => {
            let key = hex::decode(token).ok().and_then(|key| String::from_utf8(key).ok());
            Some(key.ok_or_else(|| s3_error!(InvalidArgument, "the continuation token is not one of this store"))?)
        }
        None => input.start_after.clone(),
    };
    let (bucket, prefix) = (input.bucket.clone(), input.prefix.clone().unwrap_or_default());
    let delimiter = input.delimiter.clone().filter(|delimiter| !delimiter.is_empty());
    let read = disk.serve(move |disk| page(disk, &bucket, &prefix, delimiter.as_deref(), after, limit));
    let (entries, more) = read.await.map_err(fail)?;

    let url = input.encoding_type.as_ref().is_some_and(|encoding| encoding.as_str() == EncodingType::URL);
    let write = |text: &str| if url { utf8_percent_encode(text, ENCODED).to_string() } else { text.to_owned() };
    let count = i32::try_from(entries.len()).unwrap_or(i32::MAX);
    let next = entries.last().filter(|_| more).map(|last| hex::encode(last.cursor()));
    let (mut contents, mut prefixes) = (Vec::new(), Vec::new());
    for entry in entries {
        match entry {
            Entry::Object(record) => contents.push(Object {
                key: Some(write(&record.key)),
                e_tag: Some(etag(&record)),
                size: i64::try_from(record.size).ok(),
                last_modified: Some(modified(&record)),
                ..Default::default()
            }),
            Entry::Prefix(prefix) => prefixes.push(CommonPrefix { prefix: Some(write(&prefix)) }),
        }
    }
    Ok(ListObjectsV2Output {
        name: Some(input.bucket),
        prefix: Some(write(input.prefix.as_deref().unwrap_or_default())),
        delimiter: input.delimiter.as_deref().map(write),
        start_after: input.start_after.as_deref().map(write),
        encoding_type: input.encoding_type,
        max_keys: i32::try_from(limit).ok(),
        key_count: Some(count),
        is_truncated: Some(more),
        continuation_token: input.continuation_token,
        next_continuation_token: next,
        contents: Some(contents),
        common_prefixes: Some(prefixes),
        ..Default::default()
    })
}

/// Up to `limit` entries, and whether there are more.
fn page(
    disk: &Disk,
    bucket: &str,
    prefix: &str,
    delimiter: Option<&str>,
    mut after: Option<String>,
    limit: usize,
) -> Result<(Vec<Entry>, bool), DiskError> {
    let mut entries: Vec<Entry> = Vec::new();
    loop {
        let wanted = limit.saturating_sub(entries.len()) + 1;
        let records = disk.list(bucket, prefix, after.as_deref(), wanted)?;
        let last = records.len() < wanted;
        for record in records {
            let folded = delimiter.and_then(|delimiter| {
                let rest = record.key.get(prefix.len()..)?;
                let end = prefix.len() + rest.find(delimiter)? + delimiter.len();
                record.key.get(..end).map(str::to_owned)
            });
            let entry = folded.map_or(Entry::Object(record), Entry::Prefix);
            let cursor = entry.cursor();
            if after.as_ref().is_some_and(|after| *after >= cursor) {
                continue;
            }
            if entries.len() == limit {
                return Ok((entries, true));
            }
            after = Some(cursor);
            entries.push(entry);
        }
        if last || limit == 0 {
            return Ok((entries, false));
        }
    }
}
