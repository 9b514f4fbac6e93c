//! Reads an event message, whatever its form, into hints.
//!
//! One entry, [`message`]; the form is told by its shape:
//!
//! | shape | form |
//! |---|---|
//! | no `{` or `[` at the start | base64 of one of the others (Event Grid on a storage queue) |
//! | object with `Records` | S3 notification |
//! | object with `"Event": "s3:TestEvent"` | S3's test when a notification is set up; says nothing |
//! | object with `Type` and `TopicArn` | SNS envelope, one of the others in `Message` |
//! | object with `detail-type` | EventBridge |
//! | object with `specversion` | CloudEvents 1.0 |
//! | object with `eventType` | Event Grid schema |
//! | array | a batch of the above |
//!
//! Pure, bounded ([`MAX_BODY`], [`MAX_HINTS`], [`MAX_NESTING`]), and never panics. Reads by JSON pointer and not into
//! ready-made types: those demand members that emulators and other servers leave out and that nothing here needs.
//! Event names that do not concern objects coming and going are no hints and no errors.

mod azure;
mod eventbridge;
mod s3;
mod sns;

use std::borrow::Cow;

use base64::Engine;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use jiff::Timestamp;
use serde_json::Value;

use crate::domain::hint::Hint;

/// Longest body in bytes: the most that SQS and Event Grid deliver at once.
pub const MAX_BODY: usize = 1024 * 1024;
/// Most hints out of one message.
pub const MAX_HINTS: usize = 5_000;
/// How many envelopes may lie around each other: SNS in SNS, arrays in arrays.
pub const MAX_NESTING: u8 = 3;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What a message says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parsed {
    /// The hints that could be read, in the order of the message.
    pub hints: Vec<Hint>,
    /// The first part that could not be read; one bad record does not hide the others.
    pub unreadable: Option<Unreadable>,
}

/// Why a message, or a part of it, could not be read; the reason in the dead-letter table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Beyond [`MAX_BODY`].
    #[error("the message is longer than 1 MiB")]
    TooLong,
    /// Not UTF-8; only push deliveries can be.
    #[error("the message is not UTF-8 text")]
    NotText,
    /// Neither JSON nor base64 of it.
    #[error("the message is neither JSON nor base64 of JSON: {0}")]
    NotJson(String),
    /// JSON of no known shape.
    #[error("the message has none of the known event forms")]
    UnknownForm,
    /// A member that the form demands is absent, empty, or no text.
    #[error("the {form} has no readable {member}")]
    Missing {
        /// The form, in words.
        form: &'static str,
        /// The member as a JSON pointer (RFC 6901).
        member: &'static str,
    },
    /// The key does not decode to UTF-8.
    #[error("the key of the {0} does not decode to UTF-8")]
    Key(&'static str),
    /// An SNS message that is no notification.
    #[error("an SNS message of type '{0}' came where only notifications do")]
    NotANotification(String),
    /// Beyond [`MAX_NESTING`].
    #[error("the message holds too many envelopes within each other")]
    TooDeep,
    /// Beyond [`MAX_HINTS`].
    #[error("the message holds more than 5,000 events")]
    TooMany,
}

/// Reads a message. See the module's table for the forms.
pub fn message(body: &str) -> Parsed {
    let mut parsed = Parsed::default();
    if let Err(reason) = text(body, MAX_NESTING, &mut parsed) {
        parsed.refuse(reason);
    }
    parsed
}

/// [`message`], for bytes that may not be text.
pub fn bytes(body: &[u8]) -> Parsed {
    match std::str::from_utf8(body) {
        Ok(body) => message(body),
        Err(_) => Parsed { hints: Vec::new(), unreadable: Some(Unreadable::NotText) },
    }
}

impl Parsed {
    fn hint(&mut self, hint: Hint) {
        if self.hints.len() < MAX_HINTS {
            self.hints.push(hint);
        } else {
            self.refuse(Unreadable::TooMany);
        }
    }

    fn refuse(&mut self, reason: Unreadable) {
        self.unreadable.get_or_insert(reason);
    }
}

fn text(body: &str, nesting: u8, parsed: &mut Parsed) -> Result<(), Unreadable> {
    value(&json(body)?, nesting, parsed)
}

/// The JSON value in a body, plain or base64.
fn json(body: &str) -> Result<Value, Unreadable> {
    if body.len() > MAX_BODY {
        return Err(Unreadable::TooLong);
    }
    let body = body.trim_start_matches('\u{feff}').trim();
    let plain = if body.starts_with(['{', '[']) {
        Cow::Borrowed(body)
    } else {
        let decoded = BASE64.decode(body).map_err(|error| Unreadable::NotJson(error.to_string()))?;
        let decoded = String::from_utf8(decoded).map_err(|_| Unreadable::NotText)?;
        Cow::Owned(decoded.trim_start_matches('\u{feff}').to_owned())
    };
    serde_json::from_str(&plain).map_err(|error| Unreadable::NotJson(error.to_string()))
}

fn value(value: &Value, nesting: u8, parsed: &mut Parsed) -> Result<(), Unreadable> {
    let nesting = nesting.checked_sub(1).ok_or(Unreadable::TooDeep)?;
    if let Value::Array(events) = value {
        for event in events {
            if let Err(reason) = self::value(event, nesting, parsed) {
                parsed.refuse(reason);
            }
        }
        return Ok(());
    }
    let has = |member: &str| value.get(member).is_some();
    if has("Records") {
        s3::records(value, parsed)
    } else if value.get("Event").and_then(Value::as_str) == Some("s3:TestEvent") {
        Ok(())
    } else if has("Type") && has("TopicArn") {
        text(sns::notification(value)?, nesting, parsed)
    } else if has("detail-type") {
        eventbridge::event(value, parsed)
    } else if has("specversion") {
        azure::cloud_event(value, parsed)
    } else if has("eventType") {
        azure::event_grid(value, parsed)
    } else {
        Err(Unreadable::UnknownForm)
    }
}

/// The text at a pointer, where there is one that is not empty.
fn optional<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty())
}

/// The text at a pointer, or the reason why not.
fn required<'a>(value: &'a Value, form: &'static str, member: &'static str) -> Result<&'a str, Unreadable> {
    optional(value, member).ok_or(Unreadable::Missing { form, member })
}

/// A time, where it is one: advisory, so that a strange one is left out rather than refused.
fn time(text: Option<&str>) -> Option<Timestamp> {
    text.and_then(|text| text.parse().ok())
}

#[cfg(test)]
mod tests;
