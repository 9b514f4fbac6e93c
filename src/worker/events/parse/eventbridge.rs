//! EventBridge's form of S3 events.
//!
//! Form: "EventBridge event message structure" of the Amazon S3 user guide: `detail-type` says what happened, `detail`
//! where. Unlike in S3 records the key is not form-encoded: a `+` is a `+`. S3 writes it raw, LocalStack percent-encodes
//! it. No key of the gateway's own holds a `%`, so that decoding an escape reads both and can change none of them.

use percent_encoding::percent_decode_str;
use serde_json::Value;

use super::{Parsed, Unreadable, optional, required, time};
use crate::domain::hint::{Hint, HintKind};

const FORM: &str = "EventBridge event";

pub(super) fn event(event: &Value, parsed: &mut Parsed) -> Result<(), Unreadable> {
    let kind = match required(event, FORM, "/detail-type")? {
        "Object Created" => HintKind::Created,
        "Object Deleted" => HintKind::Removed,
        _ => return Ok(()),
    };
    let key = required(event, FORM, "/detail/object/key")?;
    parsed.hint(Hint {
        bucket: required(event, FORM, "/detail/bucket/name")?.to_owned(),
        key: percent_decode_str(key).decode_utf8().map_or_else(|_| key.to_owned(), |key| key.into_owned()),
        kind,
        version: optional(event, "/detail/object/version-id").map(str::to_owned),
        sequencer: optional(event, "/detail/object/sequencer").map(str::to_owned),
        at: time(optional(event, "/time")),
    });
    Ok(())
}
