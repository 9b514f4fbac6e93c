//! Whoever asks too much: it costs the gateway little.

use serde_json::json;

use super::{ACCESS_TOKEN, Bench, refused, text, token};

#[tokio::test]
async fn a_token_has_no_more_scopes_than_it_can_carry() {
    let bench = Bench::start().await;
    let scopes = ["storage:images:where2eat:*"];
    let own = bench.gateway.create_token(json!({ "app": "where2eat", "workflow": "nightly", "scopes": scopes })).await;
    for subject in [own.clone(), bench.id_token(|_| ())] {
        let ask = async |actions: Vec<&str>| {
            bench.json("/exchange", &subject, json!({ "resource": "bucket:images", "actions": actions })).await
        };
        for actions in [vec!["read"; 5], vec!["read"; 4000]] {
            let refused = ask(actions).await;
            assert_eq!((refused.status, refused.body["code"].as_str()), (400, Some("invalid_field")));
        }
        let twice = ask(vec!["read", "list", "read"]).await;
        assert_eq!(text(&twice, "scope").split(' ').count(), 2, "{}", twice.body);
    }

    let narrow = async |list: &str| bench.exchange_as(&own, ACCESS_TOKEN, &[("scope", list)]).await;
    let list = |count: usize, length: usize| {
        let name = "a".repeat(length);
        let one = |at: usize| format!("storage:images:where2eat:read:prefix=/{at}{name}/");
        (0..count).map(one).collect::<Vec<_>>().join(" ")
    };
    let many = narrow(&list(51, 1)).await;
    refused(&many, 400, "invalid_scope", "scope_not_granted");
    assert!(text(&many, "detail").contains("at most 50 scopes"), "{}", many.body);
    // A token that nobody would take back is not made.
    let long = narrow(&list(50, 150)).await;
    refused(&long, 400, "invalid_scope", "scope_not_granted");
    assert_eq!(long.body["limit"], 8192, "{}", long.body);
    let most = token(&narrow(&list(50, 50)).await);
    assert!(most.len() <= 8192, "{}", most.len());
    assert_eq!(bench.introspect(&own, &most).await.body["active"], true, "what is made is accepted");
}
