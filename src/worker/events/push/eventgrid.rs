//! `POST /events/eventgrid`: webhook delivery by Azure Event Grid.
//!
//! Event Grid signs nothing. A subscription can send fixed headers ("Custom delivery properties", Microsoft Learn), and
//! ours sends a secret one, in the validation handshake too. Without a key the endpoint is closed; one of
//! the configuration has 16 characters at least. Handshakes: "Webhook event delivery" for the Event Grid schema, "Endpoint
//! validation with CloudEvents v1.0 schema" for the other. The comparison takes the same time wherever the keys differ.

use serde_json::{Value, json};
use subtle::{Choice, ConstantTimeEq};

use super::PushOutcome;
use crate::domain::bytes::Sha256Digest;
use crate::worker::events::parse;

/// The header that carries the key: a delivery property of the event subscription, marked as secret.
pub const KEY_HEADER: &str = "x-vestibule-event-key";
/// The only origin that the CloudEvents handshake lets in.
const ORIGIN: &str = "eventgrid.azure.net";
/// Shortest key in bytes that opens the endpoint.
pub const SHORTEST_KEY: usize = 16;

/// Decides about a delivery. `presented` is the value of [`KEY_HEADER`], `accepted` the digests of the keys that open the
/// endpoint: more than one while a key is rotated, none where it is closed.
pub fn handle(accepted: &[Sha256Digest], presented: Option<&[u8]>, body: &[u8]) -> PushOutcome {
    if accepted.is_empty() {
        return PushOutcome::Refused("no key is configured for Event Grid");
    }
    let presented = Sha256Digest::of(presented.unwrap_or_default());
    // Every key is compared, so that the time tells nothing of which one fitted.
    let same = accepted.iter().fold(Choice::from(0), |same, key| same | key.0.ct_eq(&presented.0));
    if !bool::from(same) {
        return PushOutcome::Refused("the event key is absent or wrong");
    }
    match validation_code(body) {
        Some(code) => PushOutcome::Validation(json!({ "validationResponse": code }).to_string()),
        None => PushOutcome::Events(parse::bytes(body)),
    }
}

/// Answers the CloudEvents handshake (`OPTIONS`, the abuse protection of the CloudEvents webhook specification): the headers
/// to answer 200 with, or `None` where the request is refused. `origin` is `WebHook-Request-Origin`.
pub fn preflight(accepted: &[Sha256Digest], origin: Option<&str>) -> Option<[(&'static str, &'static str); 2]> {
    let known = origin.is_some_and(|origin| origin.eq_ignore_ascii_case(ORIGIN));
    (!accepted.is_empty() && known).then_some([("webhook-allowed-origin", ORIGIN), ("webhook-allowed-rate", "*")])
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

    fn accepted(keys: &[&str]) -> Vec<Sha256Digest> {
        keys.iter().map(|key| Sha256Digest::of(key.as_bytes())).collect()
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
        let outcome = handle(&accepted(&["the one before", KEY]), Some(KEY.as_bytes()), &validation());
        let expected = r#"{"validationResponse":"512d38b6-c7b8-40c8-89fe-f46f9e9622b6"}"#;
        assert_eq!(outcome, PushOutcome::Validation(expected.into()));
    }

    #[test]
    fn without_the_right_key_nothing_is_read() {
        let refused = |keys: &[&str], key: Option<&[u8]>| {
            matches!(handle(&accepted(keys), key, &validation()), PushOutcome::Refused(_))
        };
        assert!(refused(&[], Some(KEY.as_bytes())) && refused(&[], None));
        for keys in [&[KEY][..], &["the one before", KEY]] {
            assert!(refused(keys, None) && refused(keys, Some(b"")) && refused(keys, Some(b"a key of some lengtH")));
        }
    }

    #[test]
    fn events_and_garbage_are_handed_on() {
        let event = json!({"specversion": "1.0", "type": "Microsoft.Storage.BlobCreated", "id": "1", "source": "/s",
            "subject": "/blobServices/default/containers/staging/blobs/incoming/a.txt"});
        let outcome = |body: &[u8]| handle(&accepted(&[KEY]), Some(KEY.as_bytes()), body);
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
        let headers = preflight(&accepted(&[KEY]), Some("eventgrid.azure.net")).unwrap();
        assert_eq!(headers[0], ("webhook-allowed-origin", "eventgrid.azure.net"));
        assert_eq!(preflight(&accepted(&[KEY]), Some("evil.example")), None);
        assert_eq!(preflight(&accepted(&[KEY]), None), None);
        assert_eq!(preflight(&[], Some("eventgrid.azure.net")), None);
    }
}
