//! Every placeholder of a prefix, met over HTTP: where the object lies, and which paths are outside.

use serde_json::json;

use crate::gateway::{Gateway, edit_policy, edited_policies};

#[tokio::test]
async fn each_placeholder_is_filled_in_from_the_token_and_the_clock() {
    let gateway = Gateway::start_in(edited_policies(&[]), &[]).await;
    let person = json!({ "user": "u-42" });
    let token = gateway.create_token(json!({ "app": "where2eat", "workflow": "menu-import", "subject": person })).await;
    let body = json!({ "filename": "menu.jpg", "size": 10, "contentType": "image/jpeg" });
    let mut before = "uploads/".to_owned();
    for (template, filled) in [
        ("{app}/", "where2eat/"),
        ("up/{workflow}/", "up/menu-import/"),
        ("up/{user}/in/", "up/u-42/in/"),
        ("up/{yyyy}/", "up/YYYY/"),
        ("up/{mm}/", "up/MM/"),
        ("up/{dd}/", "up/DD/"),
        ("{app}/{workflow}/{user}/{yyyy}-{mm}-{dd}/", "where2eat/menu-import/u-42/YYYY-MM-DD/"),
    ] {
        edit_policy(
            gateway.dir(),
            "apps/where2eat.toml",
            &format!("prefix = \"{before}\""),
            &format!("prefix = \"{template}\""),
        );
        before = template.to_owned();
        assert_eq!(gateway.reload().await, "allowed", "{template}");
        let (status, issued) = gateway.post_as(&token, "/request-upload", body.clone()).await;
        assert_eq!(status, 201, "{template}: {issued}");
        let (_, object) = gateway.admin_get(&format!("/admin{}", issued["statusUrl"].as_str().unwrap())).await;
        // The day is the one on which it was issued, in UTC.
        let issued_at = object["createdAt"].as_str().unwrap();
        let day = |text: &str| {
            text.replace("YYYY", &issued_at[..4]).replace("MM", &issued_at[5..7]).replace("DD", &issued_at[8..10])
        };
        let expected = day(filled);
        let path = object["path"].as_str().unwrap();
        assert!(path.trim_start_matches('/').starts_with(&expected), "{template}: {path} is not in {expected}");

        let mut deeper = body.clone();
        deeper["path"] = json!(format!("{expected}a/"));
        let (status, answer) = gateway.post_as(&token, "/request-upload", deeper).await;
        assert_eq!(status, 201, "{template}: {answer}");
        let mut outside = body.clone();
        outside["path"] = json!("up/other/");
        let (status, problem) = gateway.post_as(&token, "/request-upload", outside).await;
        assert_eq!((status, problem["code"].as_str()), (403, Some("path_not_allowed")), "{template}: {problem}");
        assert_eq!(problem["allowed"], json!([format!("/{expected}")]), "{template}");
        // Nobody's place is nowhere.
        let (status, problem) = gateway.post("/request-upload", body.clone()).await;
        let code = if template.contains("{user}") { Some("path_not_allowed") } else { None };
        assert_eq!(problem["code"].as_str(), code, "{template}: {status} {problem}");
    }
}
