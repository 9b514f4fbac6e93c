//! Samples in the shapes that the providers document, and garbage.

use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::domain::hint::HintKind;

fn record(name: &str, key: &str) -> Value {
    json!({
        "eventVersion": "2.1", "eventSource": "aws:s3", "awsRegion": "eu-central-1",
        "eventTime": "2026-11-21T10:15:30.123Z", "eventName": name,
        "userIdentity": {"principalId": "AWS:AROAEXAMPLE"},
        "requestParameters": {"sourceIPAddress": "192.0.2.7"},
        "responseElements": {"x-amz-request-id": "C3D13FE58DE4C810", "x-amz-id-2": "FMyUVURIY8/IgAtTv8xRjskZQpcIZ9KG4"},
        "s3": {
            "s3SchemaVersion": "1.0", "configurationId": "staged",
            "bucket": {"name": "uploads", "ownerIdentity": {"principalId": "A3NL1KOZZKExample"}, "arn": "arn:aws:s3:::uploads"},
            "object": {"key": key, "size": 1024, "eTag": "d41d8cd98f00b204e9800998ecf8427e", "versionId": "096fKKXTRTtl3on89fVO.nfljtsv6qko", "sequencer": "0055AED6DCD90281E5"}
        }
    })
}

fn keys(parsed: &Parsed) -> Vec<&str> {
    parsed.hints.iter().map(|hint| hint.key.as_str()).collect()
}

fn event_grid(name: &str, api: &str, blob: &str) -> Value {
    json!({
        "topic": "/subscriptions/0/resourceGroups/g/providers/Microsoft.Storage/storageAccounts/uploads",
        "subject": format!("/blobServices/default/containers/staging/blobs/{blob}"),
        "eventType": name, "eventTime": "2026-11-21T10:15:30.9584103Z", "id": "831e1650-001e-001b-66ab-eeb76e069631",
        "data": {"api": api, "eTag": "0x8D4BCC2E4835CD0", "contentType": "text/plain", "contentLength": 524_288,
            "blobType": "BlockBlob", "url": "https://uploads.blob.core.windows.net/staging/incoming/%F0%9F%93%8E.txt",
            "sequencer": "00000000000004420000000000028963"},
        "dataVersion": "", "metadataVersion": "1"
    })
}

fn cloud_event(name: &str, blob: &str) -> Value {
    json!({
        "specversion": "1.0", "type": name, "source": "/subscriptions/0/storageAccounts/uploads",
        "id": "831e1650-001e-001b-66ab-eeb76e069631", "time": "2026-11-21T10:15:30.9584103Z",
        "subject": format!("/blobServices/default/containers/staging/blobs/{blob}"),
        "data": {"api": "PutBlockList", "sequencer": "00000000000004420000000000028963"}
    })
}

fn eventbridge(kind: &str, key: &str) -> Value {
    json!({
        "version": "0", "id": "17793124-05d4-b198-2fde-7ededc63b103", "detail-type": kind, "source": "aws.s3",
        "account": "111122223333", "time": "2026-11-21T10:15:30Z", "region": "eu-central-1",
        "resources": ["arn:aws:s3:::uploads"],
        "detail": {"version": "0", "bucket": {"name": "uploads"},
            "object": {"key": key, "size": 5, "etag": "b1946ac92492d2347c6235b4d2611184", "version-id": "IYV3p45BT0ac8hjHg1houSdS1a.Mro8e", "sequencer": "617f08299329d189"},
            "request-id": "N4N7GDK58NMKJ12R", "requester": "123456789012", "reason": "PutObject"}
    })
}

fn envelope(message: &str) -> Value {
    json!({"Type": "Notification", "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
        "TopicArn": "arn:aws:sns:eu-central-1:111122223333:uploads", "Subject": "Amazon S3 Notification",
        "Message": message, "Timestamp": "2026-11-21T10:15:30.123Z", "SignatureVersion": "1", "Signature": "EXAMPLE",
        "SigningCertURL": "https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-0.pem",
        "UnsubscribeURL": "https://sns.eu-central-1.amazonaws.com/?Action=Unsubscribe"})
}

#[test]
fn an_s3_record_gives_all_that_it_says() {
    let body = json!({"Records": [record("ObjectCreated:Put", "incoming/a.jpg")]}).to_string();
    let parsed = message(&body);
    assert_eq!(parsed.unreadable, None);
    let expected = Hint {
        bucket: "uploads".into(),
        key: "incoming/a.jpg".into(),
        kind: HintKind::Created,
        version: Some("096fKKXTRTtl3on89fVO.nfljtsv6qko".into()),
        sequencer: Some("0055AED6DCD90281E5".into()),
        at: Some("2026-11-21T10:15:30.123Z".parse().unwrap()),
    };
    assert_eq!(parsed.hints, [expected]);
}

#[test]
fn keys_in_s3_records_decode_from_plus_and_from_percent_escapes() {
    for (encoded, key) in [
        ("in/red+flower.jpg", "in/red flower.jpg"),
        ("in/red%20flower.jpg", "in/red flower.jpg"),
        ("in/a%2Bb%25.txt", "in/a+b%.txt"),
        ("in%2FR%C3%A9sum%C3%A9.pdf", "in/Résumé.pdf"),
        ("in/100%", "in/100%"),
    ] {
        let body = json!({"Records": [record("s3:ObjectCreated:Post", encoded)]}).to_string();
        assert_eq!(keys(&message(&body)), [key]);
    }
}

#[test]
fn several_records_are_several_hints_and_a_bad_one_hides_none() {
    let mut bad = record("ObjectCreated:Put", "x");
    bad["s3"]["object"] = json!({"size": 1});
    let body = json!({"Records": [
        record("ObjectCreated:Put", "a"), bad, record("ObjectCreated:Put", "%FF"),
        record("ObjectRemoved:DeleteMarkerCreated", "a"), record("ObjectTagging:Put", "a"),
    ]});
    let parsed = message(&body.to_string());
    assert_eq!(keys(&parsed), ["a", "a"]);
    assert_eq!(parsed.hints[1].kind, HintKind::Removed);
    assert_eq!(parsed.unreadable, Some(Unreadable::Missing { form: "S3 record", member: "/s3/object/key" }));
}

#[test]
fn the_test_event_and_foreign_event_names_say_nothing() {
    let test = json!({"Service": "Amazon S3", "Event": "s3:TestEvent", "Time": "2026-11-21T10:15:30.123Z",
        "Bucket": "uploads", "RequestId": "5582815E1AEA5ADF", "HostId": "8cLeGAmw098X5cv4Zkwcmo8vvZa3eH3e"});
    for body in [
        test.clone(),
        envelope(&test.to_string()),
        json!({"Records": [record("ObjectRestore:Completed", "a")]}),
        eventbridge("Object Tags Added", "a"),
        event_grid("Microsoft.Storage.BlobTierChanged", "SetBlobTier", "a"),
        cloud_event("Microsoft.Storage.DirectoryCreated", "a"),
        json!({"Records": []}),
        json!([]),
    ] {
        assert_eq!(message(&body.to_string()), Parsed::default(), "{body}");
    }
}

#[test]
fn an_sns_envelope_is_unwrapped_and_raw_delivery_needs_none() {
    let records = json!({"Records": [record("ObjectCreated:Put", "a+b")]}).to_string();
    assert_eq!(message(&envelope(&records).to_string()), message(&records));
    assert_eq!(keys(&message(&envelope(&eventbridge("Object Created", "a+b").to_string()).to_string())), ["a+b"]);
}

#[test]
fn only_notifications_are_read_from_a_queue_and_envelopes_do_not_nest_for_ever() {
    let mut other = envelope("You have chosen to subscribe");
    other["Type"] = json!("SubscriptionConfirmation");
    let reason = message(&other.to_string()).unreadable.unwrap();
    assert_eq!(reason, Unreadable::NotANotification("SubscriptionConfirmation".into()));

    let mut body = json!({"Records": [record("ObjectCreated:Put", "a")]}).to_string();
    for _ in 0..MAX_NESTING {
        body = envelope(&body).to_string();
    }
    assert_eq!(message(&body).unreadable, Some(Unreadable::TooDeep));
}

#[test]
fn an_eventbridge_key_is_raw_or_percent_encoded_but_never_form_encoded() {
    for key in ["in/a+b c é.txt", "in/a%2Bb%20c%20%C3%A9.txt"] {
        let parsed = message(&eventbridge("Object Created", key).to_string());
        assert_eq!(keys(&parsed), ["in/a+b c é.txt"]);
        assert_eq!(parsed.hints[0].version.as_deref(), Some("IYV3p45BT0ac8hjHg1houSdS1a.Mro8e"));
    }
    assert_eq!(keys(&message(&eventbridge("Object Created", "in/100%").to_string())), ["in/100%"]);
    assert_eq!(message(&eventbridge("Object Deleted", "a").to_string()).hints[0].kind, HintKind::Removed);
}

#[test]
fn both_azure_schemas_read_alike_single_in_a_batch_and_in_base64() {
    let grid = event_grid("Microsoft.Storage.BlobCreated", "PutBlob", "incoming/a b/c.txt");
    let cloud = cloud_event("Microsoft.Storage.BlobCreated", "incoming/a b/c.txt");
    let expected = Hint {
        bucket: "staging".into(),
        key: "incoming/a b/c.txt".into(),
        kind: HintKind::Created,
        version: None,
        sequencer: Some("00000000000004420000000000028963".into()),
        at: Some("2026-11-21T10:15:30.9584103Z".parse().unwrap()),
    };
    for event in [grid, cloud] {
        for body in [event.to_string(), json!([event]).to_string()] {
            let encoded = STANDARD.encode(&body);
            for spelling in [body.as_str(), &encoded, encoded.trim_end_matches('=')] {
                assert_eq!(message(spelling).hints, std::slice::from_ref(&expected));
            }
        }
    }
    let deleted = cloud_event("Microsoft.Storage.BlobDeleted", "a").to_string();
    assert_eq!(message(&deleted).hints[0].kind, HintKind::Removed);
}

#[test]
fn an_upload_that_is_not_committed_is_no_hint() {
    for (api, expected) in [("CreateFile", 0), ("PutBlock", 0), ("PutBlockList", 1), ("FlushWithClose", 1), ("New", 1)]
    {
        let body = event_grid("Microsoft.Storage.BlobCreated", api, "a").to_string();
        assert_eq!(message(&body).hints.len(), expected, "{api}");
    }
}

#[test]
fn where_the_subject_is_mangled_the_url_names_the_blob() {
    for blob in ["incoming/\u{fffd}\u{fffd}.txt", "incoming/%F0%9F%93%8E.txt"] {
        let body = event_grid("Microsoft.Storage.BlobCreated", "PutBlob", blob).to_string();
        assert_eq!(keys(&message(&body)), ["incoming/📎.txt"]);
    }
    let mut without = event_grid("Microsoft.Storage.BlobCreated", "PutBlob", "incoming/100%");
    without["data"]["url"] = Value::Null;
    assert_eq!(keys(&message(&without.to_string())), ["incoming/100%"]);
}

#[test]
fn garbage_has_a_reason() {
    type Expected = fn(&Unreadable) -> bool;
    let cases: [(String, Expected); 9] = [
        (String::new(), |reason| matches!(reason, Unreadable::NotJson(_))),
        ("hello!".into(), |reason| matches!(reason, Unreadable::NotJson(_))),
        ("{\"Records\": [".into(), |reason| matches!(reason, Unreadable::NotJson(_))),
        (STANDARD.encode([0xff, 0xfe]), |reason| *reason == Unreadable::NotText),
        ("[".repeat(10_000), |reason| matches!(reason, Unreadable::NotJson(_))),
        (json!({"hello": 1}).to_string(), |reason| *reason == Unreadable::UnknownForm),
        (json!([[["a"]]]).to_string(), |reason| *reason == Unreadable::TooDeep),
        (json!({"Records": "none"}).to_string(), |reason| matches!(reason, Unreadable::Missing { .. })),
        (" ".repeat(MAX_BODY + 1), |reason| *reason == Unreadable::TooLong),
    ];
    for (body, expected) in cases {
        let parsed = message(&body);
        assert!(parsed.hints.is_empty());
        assert!(parsed.unreadable.as_ref().is_some_and(expected), "{:?}", parsed.unreadable);
    }
    assert_eq!(bytes(&[0xff]).unreadable, Some(Unreadable::NotText));
}

#[test]
fn no_message_gives_more_hints_than_the_bound() {
    let record = json!({"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": "b"}, "object": {"key": "k"}}});
    let parsed = message(&json!({"Records": vec![record; MAX_HINTS + 1]}).to_string());
    assert_eq!((parsed.hints.len(), parsed.unreadable), (MAX_HINTS, Some(Unreadable::TooMany)));
}

/// JSON built of the members that the forms look for, in wrong places and with wrong types.
fn scrambled() -> impl Strategy<Value = Value> {
    const WORDS: [&str; 16] = [
        "Records",
        "Event",
        "s3:TestEvent",
        "Type",
        "TopicArn",
        "Message",
        "Notification",
        "detail-type",
        "detail",
        "specversion",
        "eventType",
        "subject",
        "/blobServices/default/containers/",
        "s3",
        "object",
        "key",
    ];
    let word = proptest::sample::select(WORDS.to_vec()).prop_map(str::to_owned);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<i64>().prop_map(Value::from),
        word.clone().prop_map(Value::from),
        ".*".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 64, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::hash_map(word.clone(), inner, 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(body in prop::collection::vec(any::<u8>(), 0..2_000)) {
        let _ = bytes(&body);
    }

    #[test]
    fn no_text_makes_it_panic(body in ".*") {
        let _ = message(&body);
        let _ = message(&STANDARD.encode(&body));
        let _ = message(&json!({"Records": [record("ObjectCreated:Put", &body)]}).to_string());
        let _ = message(&event_grid("Microsoft.Storage.BlobCreated", "PutBlob", &body).to_string());
    }

    #[test]
    fn no_json_makes_it_panic(value in scrambled()) {
        let _ = message(&value.to_string());
    }

    #[test]
    fn a_form_encoded_key_reads_back(key in "[^\u{0}]{1,200}") {
        let encoded: String = url::form_urlencoded::byte_serialize(key.as_bytes()).collect();
        let body = json!({"Records": [record("ObjectCreated:Put", &encoded)]}).to_string();
        let parsed = message(&body);
        prop_assert_eq!(keys(&parsed), [key.as_str()]);
    }
}
