//! `POST /events/eventgrid`: webhook delivery by Azure Event Grid.
//!
//! Event Grid signs nothing. A subscription can send fixed headers ("Custom delivery properties", Microsoft Learn), and
//! ours sends a secret one, in the validation handshake too. Without a configured key the endpoint is closed, and no key
//! under 16 characters counts as one. Handshakes: "Webhook event delivery" for the Event Grid schema, "Endpoint
//! validation with CloudEvents v1.0 schema" for the other. The comparison takes the same time wherever the keys differ.

use secrecy::ExposeSecret;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::PushOutcome;
use crate::worker::events::config::EventGridPush;
use crate::worker::events::parse;

/// The header that carries the key: a delivery property of the event subscription, marked as secret.
pub const KEY_HEADER: &str = "x-vestibule-event-key";
/// The only origin that the CloudEvents handshake lets in.
const ORIGIN: &str = "eventgrid.azure.net";
/// Shortest key in bytes that opens the endpoint.
pub const SHORTEST_KEY: usize = 16;

/// Decides about what Event Grid posts.
pub struct EventGridReceiver {
    /// The digest of the key; `None` closes the endpoint.
    expected: Option<[u8; 32]>,
}

impl EventGridReceiver {
    /// A receiver for the configured key; closed where there is none or it is too short.
    pub fn new(config: Option<&EventGridPush>) -> Self {
        let key = config.map(|config| config.key.expose_secret()).filter(|key| key.len() >= SHORTEST_KEY);
        Self { expected: key.map(|key| Sha256::digest(key).into()) }
    }

    /// Decides about a delivery. `presented` is the value of [`KEY_HEADER`].
    pub fn handle(&self, presented: Option<&[u8]>, body: &[u8]) -> PushOutcome {
        let Some(expected) = &self.expected else {
            return PushOutcome::Refused("no key is configured for Event Grid");
        };
        let presented: [u8; 32] = presented.map(Sha256::digest).unwrap_or_default().into();
        if !bool::from(presented.ct_eq(expected)) {
            return PushOutcome::Refused("the event key is absent or wrong");
        }
        match validation_code(body) {
            Some(code) => PushOutcome::Validation(json!({ "validationResponse": code }).to_string()),
            None => PushOutcome::Events(parse::bytes(body)),
        }
    }

    /// Answers the CloudEvents handshake (`OPTIONS`, the abuse protection of the CloudEvents webhook specification):
    /// the headers to answer 200 with, or `None` where the request is refused. `origin` is `WebHook-Request-Origin`.
    pub fn preflight(&self, origin: Option<&str>) -> Option<[(&'static str, &'static str); 2]> {
        let known = origin.is_some_and(|origin| origin.eq_ignore_ascii_case(ORIGIN));
        (self.expected.is_some() && known)
            .then_some([("webhook-allowed-origin", ORIGIN), ("webhook-allowed-rate", "*")])
    }
}

/// The code of a `SubscriptionValidationEvent`, which comes alone in its array.
fn validation_code(body: &[u8]) -> Option<String> {
    if body.len() > parse::MAX_BODY {
        return None;
    }
    let value: Value = serde_json::from_slice(body).ok()?;
    let event = value.get(0).unwrap_or(&value);
    let name = event.get("eventType")?.as_str()?;
    if name != "Microsoft.EventGrid.SubscriptionValidationEvent" {
        return None;
    }
    event.pointer("/data/validationCode")?.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "a key of some length";

    fn receiver(key: &str) -> EventGridReceiver {
        EventGridReceiver::new(Some(&EventGridPush { key: key.into() }))
    }

    fn validation() -> Vec<u8> {
        json!([{"id": "2d1781af-3a4c-4d7c-bd0c-e34b19da4e66", "topic": "/subscriptions/0", "subject": "",
            "data": {"validationCode": "512d38b6-c7b8-40c8-89fe-f46f9e9622b6",
                "validationUrl": "https://rp-eastus2.eventgrid.azure.net:553/validate?id=512d"},
            "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent",
            "eventTime": "2026-11-21T10:15:30Z", "metadataVersion": "1", "dataVersion": "1"}])
        .to_string()
        .into_bytes()
    }

    #[test]
    fn the_validation_code_is_echoed() {
        let outcome = receiver(KEY).handle(Some(KEY.as_bytes()), &validation());
        let expected = r#"{"validationResponse":"512d38b6-c7b8-40c8-89fe-f46f9e9622b6"}"#;
        assert_eq!(outcome, PushOutcome::Validation(expected.into()));
    }

    #[test]
    fn without_the_right_key_nothing_is_read() {
        let refused = |receiver: EventGridReceiver, key: Option<&[u8]>| {
            matches!(receiver.handle(key, &validation()), PushOutcome::Refused(_))
        };
        assert!(refused(EventGridReceiver::new(None), Some(KEY.as_bytes())));
        assert!(refused(EventGridReceiver::new(None), None));
        assert!(refused(receiver(KEY), None));
        assert!(refused(receiver(KEY), Some(b"")));
        assert!(refused(receiver(KEY), Some(b"a key of some lengtH")));
        assert!(refused(receiver(""), Some(b"")));
        assert!(refused(receiver("short"), Some(b"short")));
    }

    #[test]
    fn events_and_garbage_are_handed_on() {
        let event = json!({"specversion": "1.0", "type": "Microsoft.Storage.BlobCreated", "id": "1", "source": "/s",
            "subject": "/blobServices/default/containers/staging/blobs/incoming/a.txt"});
        let outcome = |body: &[u8]| receiver(KEY).handle(Some(KEY.as_bytes()), body);
        match outcome(event.to_string().as_bytes()) {
            PushOutcome::Events(parsed) => assert_eq!(parsed.hints[0].key, "incoming/a.txt"),
            other => panic!("{other:?}"),
        }
        match outcome(b"\xff") {
            PushOutcome::Events(parsed) => assert!(parsed.hints.is_empty() && parsed.unreadable.is_some()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_cloudevents_handshake_lets_event_grid_in_and_nobody_else() {
        let headers = receiver(KEY).preflight(Some("eventgrid.azure.net")).unwrap();
        assert_eq!(headers[0], ("webhook-allowed-origin", "eventgrid.azure.net"));
        assert_eq!(receiver(KEY).preflight(Some("evil.example")), None);
        assert_eq!(receiver(KEY).preflight(None), None);
        assert_eq!(EventGridReceiver::new(None).preflight(Some("eventgrid.azure.net")), None);
    }
}
