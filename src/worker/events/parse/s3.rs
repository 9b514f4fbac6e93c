//! S3 notification records, as S3 writes them to SQS and SNS and the embedded store sends them.
//!
//! Form: "Event message structure" of the Amazon S3 user guide. Keys are form-encoded (`+` is a space); LocalStack
//! writes `%20`, and both decode the same way. Other servers prefix event names with `s3:`.

use percent_encoding::percent_decode_str;
use serde_json::Value;

use super::{Parsed, Unreadable, optional, required, time};
use crate::domain::hint::{Hint, HintKind};

const FORM: &str = "S3 record";

pub(super) fn records(message: &Value, parsed: &mut Parsed) -> Result<(), Unreadable> {
    let records = message
        .get("Records")
        .and_then(Value::as_array)
        .ok_or(Unreadable::Missing { form: "S3 notification", member: "/Records" })?;
    for record in records {
        match hint(record) {
            Ok(Some(hint)) => parsed.hint(hint),
            Ok(None) => {}
            Err(reason) => parsed.refuse(reason),
        }
    }
    Ok(())
}

fn hint(record: &Value) -> Result<Option<Hint>, Unreadable> {
    let name = required(record, FORM, "/eventName")?;
    let name = name.strip_prefix("s3:").unwrap_or(name);
    let kind = if name.starts_with("ObjectCreated:") {
        HintKind::Created
    } else if name.starts_with("ObjectRemoved:") || name.starts_with("LifecycleExpiration:") {
        HintKind::Removed
    } else {
        return Ok(None);
    };
    Ok(Some(Hint {
        bucket: required(record, FORM, "/s3/bucket/name")?.to_owned(),
        key: form_decoded(required(record, FORM, "/s3/object/key")?)?,
        kind,
        version: optional(record, "/s3/object/versionId").map(str::to_owned),
        sequencer: optional(record, "/s3/object/sequencer").map(str::to_owned),
        at: time(optional(record, "/eventTime")),
    }))
}

/// `application/x-www-form-urlencoded` decoding of one value; a `%` that begins no escape stays one.
fn form_decoded(key: &str) -> Result<String, Unreadable> {
    let spaced = key.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8().map(|key| key.into_owned()).map_err(|_| Unreadable::Key(FORM))
}
