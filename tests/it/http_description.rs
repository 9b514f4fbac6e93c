//! The description of the interface: for machines, and for people.

use crate::gateway::Gateway;

#[tokio::test]
async fn the_description_is_openapi_3_1_and_names_every_route_with_its_answers() {
    let gateway = Gateway::start().await;
    for (base, routes) in [
        (
            &gateway.public,
            vec![
                "/request-upload",
                "/request-download",
                "/objects",
                "/objects/{id}",
                "/d/{link}",
                "/events/eventgrid",
                "/events/sns",
                "/healthz",
                "/readyz",
                "/openapi.json",
                "/docs",
            ],
        ),
        (&gateway.admin, vec!["/admin/tokens", "/admin/tokens/{id}", "/admin/objects/{id}/release", "/admin/audit"]),
    ] {
        let text = gateway.http.get(format!("{base}/openapi.json")).send().await.unwrap().text().await.unwrap();
        let description: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert!(description["openapi"].as_str().unwrap().starts_with("3.1"), "{text}");
        for route in routes {
            let item = description["paths"][route].as_object().unwrap_or_else(|| panic!("{route} is not described"));
            for (method, operation) in item {
                assert!(!operation["responses"].as_object().unwrap().is_empty(), "{method} {route}");
            }
        }
    }
}

#[tokio::test]
async fn the_page_lists_every_error_code() {
    let gateway = Gateway::start().await;
    let page = gateway.http.get(format!("{}/docs", gateway.public)).send().await.unwrap();
    assert!(page.headers()["content-security-policy"].to_str().unwrap().contains("default-src 'none'"));
    let page = page.text().await.unwrap();
    for reason in vestibule::domain::refusal::Reason::ALL {
        assert!(page.contains(&format!("id={}", reason.code())), "{}", reason.code());
    }
    assert!(page.contains("/request-upload") && page.contains("/events/sns"));
}
