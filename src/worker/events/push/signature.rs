//! What SNS signs, and whether it did.
//!
//! "Verifying the signatures of Amazon SNS messages" (SNS developer guide): the members of a message in a fixed order,
//! name and value each on a line, signed with RSA PKCS#1 v1.5 over SHA-1 (`SignatureVersion` 1) or SHA-256 (2).
//! Absent on purpose: finding the certificate, and deciding whether it may be trusted; see `certificate`.

use aws_lc_rs::signature::{
    RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

/// A message as SNS posts it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Envelope {
    #[serde(rename = "Type")]
    pub(super) kind: String,
    pub(super) message_id: String,
    pub(super) topic_arn: String,
    pub(super) subject: Option<String>,
    pub(super) message: String,
    pub(super) timestamp: String,
    pub(super) token: Option<String>,
    #[serde(rename = "SubscribeURL")]
    pub(super) subscribe_url: Option<String>,
    pub(super) signature_version: String,
    pub(super) signature: String,
    #[serde(rename = "SigningCertURL")]
    pub(super) signing_cert_url: String,
}

impl Envelope {
    /// The text that is signed; `None` for a type that SNS does not have.
    fn canonical(&self) -> Option<String> {
        let mut lines: Vec<(&str, &str)> = vec![("Message", &self.message), ("MessageId", &self.message_id)];
        match self.kind.as_str() {
            "Notification" => {
                if let Some(subject) = &self.subject {
                    lines.push(("Subject", subject));
                }
                lines.push(("Timestamp", &self.timestamp));
            }
            "SubscriptionConfirmation" | "UnsubscribeConfirmation" => {
                lines.push(("SubscribeURL", self.subscribe_url.as_deref()?));
                lines.push(("Timestamp", &self.timestamp));
                lines.push(("Token", self.token.as_deref()?));
            }
            _ => return None,
        }
        lines.push(("TopicArn", &self.topic_arn));
        lines.push(("Type", &self.kind));
        Some(lines.iter().map(|(name, value)| format!("{name}\n{value}\n")).collect())
    }

    /// Whether the key signed this message. `key` is a DER SubjectPublicKeyInfo (RFC 5280).
    pub(super) fn is_signed_by(&self, key: &[u8]) -> bool {
        let algorithm = match self.signature_version.as_str() {
            "1" => &RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY,
            "2" => &RSA_PKCS1_2048_8192_SHA256,
            _ => return false,
        };
        let (Some(text), Ok(signature)) = (self.canonical(), STANDARD.decode(&self.signature)) else {
            return false;
        };
        UnparsedPublicKey::new(algorithm, key).verify(text.as_bytes(), &signature).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope(kind: &str) -> Envelope {
        Envelope {
            kind: kind.into(),
            message_id: "id".into(),
            topic_arn: "arn".into(),
            subject: None,
            message: "hello".into(),
            timestamp: "2026-11-21T10:15:30.123Z".into(),
            token: Some("token".into()),
            subscribe_url: Some("https://sns.eu-central-1.amazonaws.com/?Action=ConfirmSubscription".into()),
            signature_version: "2".into(),
            signature: "AAAA".into(),
            signing_cert_url: String::new(),
        }
    }

    #[test]
    fn the_signed_text_of_a_notification_names_the_subject_only_where_there_is_one() {
        let mut notification = envelope("Notification");
        let without =
            "Message\nhello\nMessageId\nid\nTimestamp\n2026-11-21T10:15:30.123Z\nTopicArn\narn\nType\nNotification\n";
        assert_eq!(notification.canonical().unwrap(), without);
        notification.subject = Some("S".into());
        assert!(notification.canonical().unwrap().contains("MessageId\nid\nSubject\nS\nTimestamp\n"));
    }

    #[test]
    fn the_signed_text_of_a_confirmation_holds_its_link_and_token() {
        let confirmation = envelope("SubscriptionConfirmation");
        let text = confirmation.canonical().unwrap();
        assert!(text.contains("SubscribeURL\nhttps://sns.eu-central-1.amazonaws.com/?Action=ConfirmSubscription\n"));
        assert!(text.contains("\nToken\ntoken\nTopicArn\narn\nType\nSubscriptionConfirmation\n"));
        let without = Envelope { token: None, ..confirmation };
        assert_eq!(without.canonical(), None);
    }

    #[test]
    fn unknown_types_versions_and_garbled_signatures_are_not_signed() {
        for envelope in [
            envelope("Other"),
            Envelope { signature_version: "3".into(), ..envelope("Notification") },
            Envelope { signature: "?".into(), ..envelope("Notification") },
            envelope("Notification"),
        ] {
            assert!(!envelope.is_signed_by(&[]));
        }
    }
}
