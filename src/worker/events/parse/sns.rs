//! The SNS envelope: what a topic wraps around a message for a queue, and what it posts to an endpoint.
//!
//! Form: "Parsing Amazon SNS message formats" of the SNS developer guide. On a queue only notifications arrive; with
//! raw delivery no envelope does. The signature means nothing on a queue, whose policy decides who writes; for the
//! endpoint, `push::sns` checks it.

use serde_json::Value;

use super::{Unreadable, required};

const FORM: &str = "SNS envelope";

/// The message inside a notification.
pub(super) fn notification(envelope: &Value) -> Result<&str, Unreadable> {
    match required(envelope, FORM, "/Type")? {
        "Notification" => required(envelope, FORM, "/Message"),
        other => Err(Unreadable::NotANotification(other.chars().take(64).collect())),
    }
}
