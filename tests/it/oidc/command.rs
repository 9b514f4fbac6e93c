//! `vestibule issuers check`.

use serde_json::json;

use super::provider::{Key, Provider};
use crate::gateway::Gateway;

// The command blocks its thread while the provider answers it on another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_line_says_what_is_wrong_with_an_issuer() {
    let key = Key::rsa("operators");
    let provider = Provider::start(&[&key]).await;
    let issuers = json!([{
        "name": "corp", "issuer": provider.issuer, "environment": "live", "clients": ["page"],
    }]);
    let gateway = Gateway::start_with(&[("VESTIBULE__IDENTITY__ISSUERS", &issuers.to_string())]).await;
    let (code, printed, errors) = gateway.run(&["issuers", "check"]);
    assert_eq!(code, 0, "{printed}{errors}");
    assert!(printed.contains("corp\nok       keys: read") && printed.contains("RS256: key operators"), "{printed}");
    provider.publish(&[&Key::es256("elliptic")]);
    let (code, printed, errors) = gateway.run(&["issuers", "check"]);
    assert!(code != 0 && printed.contains("MISSING  RS256"), "{printed}{errors}");
    provider.manners().status = 500;
    let (code, printed, _) = gateway.run(&["issuers", "check"]);
    assert!(code != 0 && printed.contains("HTTP 500"), "{printed}");
}

#[tokio::test]
async fn a_gateway_reads_the_keys_of_its_issuers_when_it_starts_and_does_not_need_them_to_start() {
    let provider = Provider::start(&[&Key::rsa("one")]).await;
    provider.manners().status = 503;
    let issuers = json!([{
        "name": "corp", "issuer": provider.issuer, "environment": "live", "clients": ["page"],
    }]);
    let gateway = Gateway::start_with(&[("VESTIBULE__IDENTITY__ISSUERS", &issuers.to_string())]).await;
    assert_eq!(gateway.get("/limits").await.0, 200);
    let begun = std::time::Instant::now();
    while provider.reads() == 0 {
        assert!(begun.elapsed() < crate::gateway::PATIENCE, "nobody asked for the keys");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}
