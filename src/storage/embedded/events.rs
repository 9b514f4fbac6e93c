//! Notifications in the form in which Amazon S3 sends them to a queue.
//!
//! The gateway's event source reads them as it reads messages from SQS. They are hints: the channel is bounded, and a
//! notification that does not fit is dropped, because the sweep finds what was never told.
//! Source: "Event message structure", Amazon S3 user guide.

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::json;
use tokio::sync::mpsc;

use super::REGION;
use super::record::Record;
use crate::clock::Clock;

/// How many notifications wait at most.
const CAPACITY: usize = 4096;

/// The sending end.
pub(super) struct Events {
    sender: mpsc::Sender<String>,
    sequence: AtomicU64,
    clock: Clock,
}

/// What a client did.
#[derive(Clone, Copy)]
pub(super) enum Act<'a> {
    /// Wrote an object; the word is `Put`, `Post` or `Copy`.
    Created(&'static str, &'a Record),
    /// Removed what lay under the key.
    Removed(&'a str),
}

impl Events {
    /// Both ends.
    pub(super) fn channel(clock: Clock) -> (Self, mpsc::Receiver<String>) {
        let (sender, receiver) = mpsc::channel(CAPACITY);
        // Grows across restarts as long as the clock does.
        let start = u64::try_from(clock.now().as_microsecond()).unwrap_or(0);
        (Self { sender, sequence: AtomicU64::new(start), clock }, receiver)
    }

    /// Tells what happened, if there is room.
    pub(super) fn tell(&self, bucket: &str, act: Act<'_>) {
        let sequencer = format!("{:016X}", self.sequence.fetch_add(1, Ordering::Relaxed));
        let (name, object) = match act {
            Act::Created(how, record) => (
                format!("ObjectCreated:{how}"),
                json!({"key": form_encoded(&record.key), "size": record.size, "eTag": record.md5, "sequencer": sequencer}),
            ),
            Act::Removed(key) => {
                ("ObjectRemoved:Delete".to_owned(), json!({"key": form_encoded(key), "sequencer": sequencer}))
            }
        };
        let message = json!({"Records": [{
            "eventVersion": "2.1",
            "eventSource": "aws:s3",
            "awsRegion": REGION,
            "eventTime": format!("{:.3}", self.clock.now()),
            "eventName": name,
            "s3": {
                "s3SchemaVersion": "1.0",
                "configurationId": "vestibule",
                "bucket": {"name": bucket, "arn": format!("arn:aws:s3:::{bucket}")},
                "object": object,
            },
        }]});
        if self.sender.try_send(message.to_string()).is_err() {
            metrics::counter!("vestibule_embedded_events_dropped_total").increment(1);
        }
    }
}

/// As S3 writes keys into notifications: a space is `+`, a slash stays.
fn form_encoded(key: &str) -> String {
    url::form_urlencoded::byte_serialize(key.as_bytes()).collect::<String>().replace("%2F", "/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_form_encoded_as_s3_does_it() {
        assert_eq!(form_encoded("a b/\u{e9}+(1).jpg"), "a+b/%C3%A9%2B%281%29.jpg");
    }

    #[test]
    fn a_full_channel_drops_and_does_not_block() {
        let (events, mut receiver) = Events::channel(Clock::system());
        for _ in 0..CAPACITY + 1 {
            events.tell("menus", Act::Removed("a"));
        }
        let mut received = 0;
        while receiver.try_recv().is_ok() {
            received += 1;
        }
        assert_eq!(received, CAPACITY);
    }
}
