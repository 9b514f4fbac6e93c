//! Blob Storage events of Azure Event Grid, in its own schema and in CloudEvents 1.0.
//!
//! Form: "Azure Blob Storage as an Event Grid source" (Microsoft Learn). Both schemas name container and blob in
//! `subject`; `data` is the same. Events of an upload that is not committed yet (`CreateFile`, `PutBlock`, `SftpCreate`)
//! are no hints: whoever looked then would find an empty blob. The commit sends its own event.

use percent_encoding::percent_decode_str;
use serde_json::Value;

use super::{Parsed, Unreadable, optional, required, time};
use crate::domain::hint::{Hint, HintKind};

/// Operations that begin or continue an upload; `PutBlob`, `PutBlockList`, `CopyBlob`, `FlushWithClose` and
/// `SftpCommit` complete one.
const UNCOMMITTED: [&str; 5] = ["CreateFile", "PutBlock", "AppendBlock", "AppendFile", "SftpCreate"];

pub(super) fn event_grid(event: &Value, parsed: &mut Parsed) -> Result<(), Unreadable> {
    self::event(event, "Event Grid event", "/eventType", "/eventTime", parsed)
}

pub(super) fn cloud_event(event: &Value, parsed: &mut Parsed) -> Result<(), Unreadable> {
    self::event(event, "CloudEvents event", "/type", "/time", parsed)
}

fn event(
    event: &Value,
    form: &'static str,
    name: &'static str,
    at: &'static str,
    parsed: &mut Parsed,
) -> Result<(), Unreadable> {
    let kind = match required(event, form, name)? {
        "Microsoft.Storage.BlobCreated" => HintKind::Created,
        "Microsoft.Storage.BlobDeleted" => HintKind::Removed,
        _ => return Ok(()),
    };
    let api = optional(event, "/data/api");
    if kind == HintKind::Created && api.is_some_and(|api| UNCOMMITTED.contains(&api)) {
        return Ok(());
    }
    let (container, blob) =
        subject(required(event, form, "/subject")?).ok_or(Unreadable::Missing { form, member: "/subject" })?;
    parsed.hint(Hint {
        bucket: container.to_owned(),
        key: key(container, blob, optional(event, "/data/url")).ok_or(Unreadable::Key(form))?,
        kind,
        version: None,
        sequencer: optional(event, "/data/sequencer").map(str::to_owned),
        at: time(optional(event, at)),
    });
    Ok(())
}

/// Container and blob of `/blobServices/default/containers/<container>/blobs/<path>`.
fn subject(subject: &str) -> Option<(&str, &str)> {
    let rest = subject.strip_prefix("/blobServices/default/containers/")?;
    let (container, blob) = rest.split_once("/blobs/")?;
    (!container.is_empty() && !container.contains('/') && !blob.is_empty()).then_some((container, blob))
}

/// The blob's name. The subject has it raw, but Event Grid has been seen to write U+FFFD for characters beyond the
/// basic plane (Azure-Samples/azure-event-grid-viewer issue 9), and a `%` may be an escape or not. In these cases the
/// URL of the blob, which is always percent-encoded, decides.
fn key(container: &str, blob: &str, url: Option<&str>) -> Option<String> {
    if !blob.contains(['%', '\u{fffd}']) {
        return Some(blob.to_owned());
    }
    let path = url.and_then(|url| {
        let (_, rest) = url.split_once("://")?;
        let path = rest.split(['?', '#']).next()?;
        path.split_once(&format!("/{container}/")).map(|(_, path)| path)
    });
    match path {
        Some(path) => percent_decode_str(path).decode_utf8().ok().map(|key| key.into_owned()),
        None => Some(blob.to_owned()),
    }
}
