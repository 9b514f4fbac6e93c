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
        "name": "company", "issuer": provider.issuer, "environment": "live", "clients": ["page"],
    }]);
    let gateway = Gateway::start_with(&[("VESTIBULE__IDENTITY__ISSUERS", &issuers.to_string())]).await;
    let (code, printed, errors) = gateway.run(&["issuers", "check"]);
    assert_eq!(code, 0, "{printed}{errors}");
    assert!(printed.contains("company\nok       keys: read") && printed.contains("RS256: key operators"), "{printed}");
    provider.publish(&[&Key::es256("elliptic")]);
    let (code, printed, errors) = gateway.run(&["issuers", "check"]);
    assert!(code != 0 && printed.contains("MISSING  RS256"), "{printed}{errors}");
    provider.manners().status = 500;
    let (code, printed, _) = gateway.run(&["issuers", "check"]);
    assert!(code != 0 && printed.contains("HTTP 500"), "{printed}");

    // The example's manifests list `company`.
    let nobody = Gateway::start().await;
    let (code, printed, _) = nobody.run(&["issuers", "check"]);
    let unknown = "apps/where2eat.toml:24 exchange.issuers: no issuer of the configuration is called 'company'";
    assert!(code != 0 && printed.contains(&format!("MISSING  {unknown}")), "{printed}");
    assert!(nobody.log().contains(&format!("{unknown}; nobody of it gets tokens")), "{}", nobody.log());
}

#[tokio::test]
async fn a_gateway_reads_the_keys_of_its_issuers_when_it_starts_and_does_not_need_them_to_start() {
    let provider = Provider::start(&[&Key::rsa("one")]).await;
    provider.manners().status = 503;
    let issuers = json!([{
        "name": "company", "issuer": provider.issuer, "environment": "live", "clients": ["page"],
    }]);
    let gateway = Gateway::start_with(&[("VESTIBULE__IDENTITY__ISSUERS", &issuers.to_string())]).await;
    assert_eq!(gateway.get("/limits").await.0, 200);
    let begun = std::time::Instant::now();
    while provider.reads() == 0 {
        assert!(begun.elapsed() < crate::gateway::PATIENCE, "nobody asked for the keys");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let issuer = async || {
        let (status, health) = gateway.admin_get("/readyz").await;
        let found = health["dependencies"].as_array().unwrap().iter().find(|one| one["name"] == "issuer:company");
        (status, found.unwrap_or_else(|| panic!("{health}")).clone())
    };
    let told = loop {
        let (status, told) = issuer().await;
        assert_eq!((status, &told["required"]), (200, &json!(false)));
        if told["ready"] == false {
            break told;
        }
        assert!(begun.elapsed() < crate::gateway::PATIENCE, "its absence is not shown");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    };
    assert_eq!(told["detail"], "its keys cannot be read; nobody of it is let in");
}
