//! The gateway's own keys: a new one is used at once, the one before is accepted for its window and not longer.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::gateway::{Gateway, PATIENCE};
use crate::http_errors::{assert_problem, send};

const CONFIGURED: &str = "correct horse battery staple";

/// The status of a delivery of Event Grid with this key: 200 where the key is accepted.
async fn deliver(gateway: &Gateway, key: &str) -> u16 {
    let validation = json!([{ "id": "1", "topic": "/", "subject": "", "eventTime": "2026-11-21T10:15:30Z",
        "data": { "validationCode": "512d38b6-c7b8-40c8-89fe-f46f9e9622b6" }, "metadataVersion": "1", "dataVersion": "1",
        "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent" }]);
    let request = gateway.http.post(format!("{}/events/eventgrid", gateway.public)).json(&validation);
    send(request.header("x-vestibule-event-key", key)).await.status
}

async fn rotate(gateway: &Gateway, purpose: &str, window: &str) -> Value {
    let (status, answer) =
        gateway.admin_post(&format!("/admin/keys/{purpose}/rotate"), json!({ "window": window })).await;
    assert_eq!(status, 201, "{answer}");
    answer
}

#[tokio::test]
async fn event_grids_key_is_rotated_and_the_one_of_the_configuration_ends_with_its_window() {
    let gateway = Gateway::start_with(&[("VESTIBULE__EVENTS__EVENTGRID__KEY", CONFIGURED)]).await;
    assert_eq!((deliver(&gateway, CONFIGURED).await, deliver(&gateway, "another key").await), (200, 401));
    let first = rotate(&gateway, "eventgrid", "5s").await;
    let new = first["secret"].as_str().unwrap();
    assert!(new.len() == 43 && first["previousAcceptedUntil"].is_string(), "{first}");
    assert_eq!((deliver(&gateway, CONFIGURED).await, deliver(&gateway, new).await), (200, 200), "both in the window");
    let begun = Instant::now();
    while deliver(&gateway, CONFIGURED).await == 200 {
        assert!(begun.elapsed() < PATIENCE, "the key of the configuration is still accepted");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(deliver(&gateway, new).await, 200);
    let second = rotate(&gateway, "eventgrid", "0s").await;
    assert_eq!((deliver(&gateway, new).await, deliver(&gateway, second["secret"].as_str().unwrap()).await), (401, 200));

    let (_, list) = gateway.admin_get("/admin/keys").await;
    let of_event_grid: Vec<&Value> =
        list["keys"].as_array().unwrap().iter().filter(|key| key["purpose"] == "eventgrid").collect();
    let told: Vec<_> =
        of_event_grid.iter().map(|key| (key["number"].as_u64().unwrap(), key["inUse"] == true)).collect();
    assert_eq!(told, [(3, true), (2, false), (1, false)]);
    assert!(!list.to_string().contains(new) && !list.to_string().contains(CONFIGURED), "{list}");
    let (_, page) = gateway.admin_get("/admin/audit?limit=1000").await;
    let of_event_grid = |entry: &&Value| {
        entry["action"] == "rotateKey"
            && entry["detail"].as_str().is_some_and(|detail| detail.contains("for eventgrid"))
    };
    let rotations = page["entries"].as_array().unwrap().iter().filter(of_event_grid);
    assert_eq!(rotations.count(), 3, "the key of the configuration has its entry too");
    assert!(!page.to_string().contains(new));
}

#[tokio::test]
async fn without_a_configured_key_a_rotation_opens_the_endpoint() {
    let gateway = Gateway::start().await;
    assert_eq!(deliver(&gateway, "").await, 401);
    let (code, new, errors) = gateway.run(&["keys", "rotate", "eventgrid"]);
    assert_eq!(code, 0, "{errors}");
    assert_eq!((deliver(&gateway, new.trim()).await, deliver(&gateway, "").await), (200, 401));
    assert!(errors.contains("is in use from now on") && !errors.contains(new.trim()), "{errors}");
    let (_, listed, _) = gateway.run(&["keys", "list"]);
    assert!(listed.contains("eventgrid") && listed.contains("in use") && !listed.contains(new.trim()), "{listed}");
}

#[tokio::test]
async fn what_is_no_key_or_no_window_is_refused_and_changes_nothing() {
    let gateway = Gateway::start().await;
    for (purpose, body, status, code) in [
        ("storage", json!({}), 404, "not_found"),
        ("eventgrid", json!({ "window": "soon" }), 400, "invalid_field"),
        ("eventgrid", json!({ "window": "-1h" }), 400, "invalid_field"),
        ("eventgrid", json!({ "window": "9999d" }), 400, "invalid_field"),
        ("eventgrid", json!({ "key": "mine" }), 400, "invalid_field"),
    ] {
        let request = gateway.http.post(format!("{}/admin/keys/{purpose}/rotate", gateway.admin)).json(&body);
        let answer = send(request.bearer_auth(&gateway.admin_token)).await;
        assert_problem(&answer, status, code);
    }
    let (_, list) = gateway.admin_get("/admin/keys").await;
    assert!(!list.to_string().contains("eventgrid"), "{list}");
    assert_eq!(gateway.run(&["keys", "rotate", "storage"]).0, 2);
}
