//! Every rule that refuses an upload request, met over HTTP: the code, and an answer that helps.

use serde_json::{Value, json};

use crate::gateway::{Gateway, edit_policy, edited_policies};
use crate::harness;

fn jpeg(changes: Value) -> Value {
    let mut body = json!({ "filename": "menu.jpg", "size": 1000, "contentType": "image/jpeg" });
    for (name, value) in changes.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

#[tokio::test]
async fn every_rule_of_a_manifest_refuses_with_its_own_code() {
    let gateway = Gateway::start().await;
    let long = "x".repeat(1020);
    let cases = [
        (json!({ "contentType": "application/pdf", "filename": "a.pdf" }), 403, "type_not_allowed"),
        (json!({ "contentType": "image/jpeg; charset=x", "filename": "a.exe" }), 403, "extension_mismatch"),
        (json!({ "contentType": "jpeg" }), 400, "invalid_field"),
        (json!({ "size": 10 * 1024 * 1024 + 1 }), 403, "size_not_allowed"),
        (json!({ "size": 0 }), 403, "size_not_allowed"),
        (json!({ "size": -1 }), 400, "invalid_field"),
        (json!({ "size": 1.5 }), 400, "invalid_field"),
        (json!({ "size": "10" }), 400, "invalid_field"),
        (json!({ "path": "private/" }), 403, "path_not_allowed"),
        (json!({ "path": "uploadsx/" }), 403, "path_not_allowed"),
        (json!({ "path": "" }), 403, "path_not_allowed"),
        (json!({ "path": "uploads/../private/" }), 400, "invalid_path"),
        (json!({ "path": "uploads//a/" }), 400, "invalid_path"),
        (json!({ "path": "uploads/a\u{0}b/" }), 400, "invalid_path"),
        (json!({ "path": long }), 400, "invalid_path"),
        (json!({ "classification": "regulated" }), 403, "classification_not_allowed"),
        (json!({ "classification": "secret" }), 403, "classification_not_allowed"),
        (json!({ "lawfulBasis": "because" }), 400, "invalid_field"),
        (json!({ "sha256": "abc" }), 400, "invalid_field"),
        (json!({ "method": "MULTIPART" }), 403, "method_not_supported"),
        (json!({ "method": "put" }), 403, "method_not_supported"),
        (json!({ "filename": "" }), 400, "invalid_filename"),
        (json!({ "filename": "..." }), 400, "invalid_filename"),
        (json!({ "filename": "x".repeat(1025) }), 400, "invalid_filename"),
    ];
    for (changes, status, code) in cases {
        let (found, problem) = gateway.post("/request-upload", jpeg(changes.clone())).await;
        assert_eq!((found, problem["code"].as_str()), (status, Some(code)), "{changes}: {problem}");
        let detail = problem["detail"].as_str().unwrap();
        assert!(!detail.is_empty() && !detail.contains("finance") && !detail.contains("clinic"), "{problem}");
    }
    let (_, problem) = gateway.post("/request-upload", jpeg(json!({ "size": 99_999_999 }))).await;
    assert_eq!(problem["limit"], 10 * 1024 * 1024);
    let (_, problem) = gateway.post("/request-upload", jpeg(json!({ "contentType": "text/html" }))).await;
    assert_eq!(problem["allowed"], json!(["image/jpeg", "image/png", "image/webp"]));
    let (_, problem) = gateway.post("/request-upload", jpeg(json!({ "path": "private/" }))).await;
    assert_eq!(problem["allowed"], json!(["/uploads/"]));
}

#[tokio::test]
async fn regulated_data_needs_a_lawful_basis_of_its_class() {
    let gateway = Gateway::start().await;
    let token = gateway.create_token(harness::clinician()).await;
    let form = |basis: Value| json!({ "filename": "f.pdf", "size": 10, "contentType": "application/pdf", "lawfulBasis": basis });
    for basis in [Value::Null, json!("legitimate-interests"), json!("Consent")] {
        let (status, problem) = gateway.post_as(&token, "/request-upload", form(basis)).await;
        assert_eq!((status, problem["code"].as_str()), (403, Some("lawful_basis_required")), "{problem}");
        assert!(problem["allowed"].as_array().unwrap().contains(&json!("consent")), "{problem}");
    }
    let (status, issued) = gateway.post_as(&token, "/request-upload", form(json!("consent"))).await;
    assert_eq!(status, 201, "{issued}");
    let too_large = json!({ "filename": "f.json", "size": 1024 * 1024 + 1, "contentType": "application/json",
        "lawfulBasis": "consent" });
    let (_, problem) = gateway.post_as(&token, "/request-upload", too_large).await;
    assert_eq!((problem["code"].as_str(), &problem["limit"]), (Some("size_not_allowed"), &json!(1024 * 1024)));
}

#[tokio::test]
async fn a_test_token_never_reaches_a_live_target() {
    let gateway = Gateway::start().await;
    let test = |app: &str| json!({ "app": app, "workflow": "trial", "environment": "test" });
    let clinic = gateway.create_token(test("clinic-forms")).await;
    let body = json!({ "filename": "f.pdf", "size": 10, "contentType": "application/pdf", "lawfulBasis": "consent" });
    let (status, problem) = gateway.post_as(&clinic, "/request-upload", body).await;
    assert_eq!((status, problem["code"].as_str()), (403, Some("environment_mismatch")), "{problem}");

    let trial = gateway.create_token(test("where2eat")).await;
    assert!(trial.starts_with("vst_test_"));
    let (status, issued) = gateway.post_as(&trial, "/request-upload", jpeg(json!({}))).await;
    assert_eq!(status, 201, "{issued}");
    let (_, object) = gateway.admin_get(&format!("/admin{}", issued["statusUrl"].as_str().unwrap())).await;
    assert_eq!(object["target"], "images-test", "{object}");

    // Neither sees what the other has.
    let (status, _) = gateway.get(issued["statusUrl"].as_str().unwrap()).await;
    assert_eq!(status, 404);
    let (_, live) = gateway.post("/request-upload", jpeg(json!({}))).await;
    let (status, problem) = gateway.post_as(&trial, "/request-download", json!({ "objectId": live["objectId"] })).await;
    assert_eq!((status, problem["code"].as_str()), (404, Some("object_not_found")), "{problem}");
}

#[tokio::test]
async fn scopes_bound_what_a_token_may_write() {
    let gateway = Gateway::start().await;
    let scope = "storage:images:where2eat:write:prefix=/uploads/a/";
    let token = gateway.create_token(json!({ "app": "where2eat", "workflow": "a", "scopes": [scope] })).await;
    for (path, fits) in [("uploads/a/", true), ("uploads/a/b/", true), ("uploads/ab/", false), ("uploads/", false)] {
        let (status, answer) = gateway.post_as(&token, "/request-upload", jpeg(json!({ "path": path }))).await;
        assert_eq!(status, if fits { 201 } else { 403 }, "{path}: {answer}");
        assert!(fits || answer["code"] == "scope_insufficient", "{answer}");
    }
    let reader = json!({ "app": "where2eat", "workflow": "b", "scopes": ["storage:*:where2eat:read"] });
    let reader = gateway.create_token(reader).await;
    let (status, problem) = gateway.post_as(&reader, "/request-upload", jpeg(json!({}))).await;
    assert_eq!((status, problem["code"].as_str()), (403, Some("scope_insufficient")), "{problem}");
    let foreign = json!({ "app": "where2eat", "workflow": "c", "scopes": ["storage:*:finance-invoices:read"] });
    assert_eq!(gateway.admin_post("/admin/tokens", foreign).await.0, 400);
}

#[tokio::test]
async fn an_app_that_is_off_or_no_longer_registered_gets_nothing() {
    let gateway = Gateway::start_in(edited_policies(&[]), &[]).await;
    let token = gateway.create_token(harness::clinician()).await;
    edit_policy(gateway.dir(), "apps/where2eat.toml", "app = \"where2eat\"", "app = \"where2eat\"\nenabled = false");
    std::fs::remove_file(gateway.dir().join("policies/apps/clinic-forms.toml")).unwrap();
    edit_policy(gateway.dir(), "owners.toml", "[clinic]\nregion = \"eu\"\n", "");
    assert_eq!(gateway.reload().await, "allowed");
    let (status, problem) = gateway.post("/request-upload", jpeg(json!({}))).await;
    assert_eq!((status, problem["code"].as_str()), (403, Some("app_disabled")), "{problem}");
    let (status, problem) = gateway.post_as(&token, "/request-upload", jpeg(json!({}))).await;
    assert_eq!((status, problem["code"].as_str()), (403, Some("app_unknown")), "{problem}");
}

#[tokio::test]
async fn quotas_of_bytes_and_objects_hold_and_come_back() {
    let small = "[quota]\nbytes = \"20 KiB\"\nobjects = 3";
    let dir = edited_policies(&[
        ("apps/where2eat.toml", "max_size = \"10 MiB\"", "max_size = \"10 KiB\""),
        ("apps/where2eat.toml", "[quota]\nbytes = \"50 GiB\"\nobjects = 100_000", small),
    ]);
    let gateway = Gateway::start_in(dir, &[]).await;
    let asks = (0..10).map(|_| gateway.post("/request-upload", jpeg(json!({ "size": 10_240 }))));
    let answers = futures::future::join_all(asks).await;
    let (issued, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|(status, _)| *status == 201);
    assert_eq!(issued.len(), 2, "two files of 10 KiB fit into 20 KiB");
    for (status, problem) in refused {
        assert_eq!((status, problem["code"].as_str()), (403, Some("quota_bytes_exceeded")), "{problem}");
        assert_eq!(problem["limit"], 20_480);
    }
    let (status, _) = gateway.delete(issued[0].1["statusUrl"].as_str().unwrap()).await;
    assert_eq!(status, 204);
    for _ in 0..2 {
        let (status, answer) = gateway.post("/request-upload", jpeg(json!({ "size": 1 }))).await;
        assert_eq!(status, 201, "{answer}");
    }
    let (status, problem) = gateway.post("/request-upload", jpeg(json!({ "size": 1 }))).await;
    assert_eq!((status, problem["code"].as_str()), (403, Some("quota_objects_exceeded")), "{problem}");
    assert_eq!(problem["limit"], 3);
}

#[tokio::test]
async fn metadata_is_bounded_and_its_values_are_not_repeated() {
    let gateway = Gateway::start().await;
    let many: serde_json::Map<String, Value> = (0..17).map(|n| (format!("k{n}"), json!("v"))).collect();
    let cases = [
        Value::Object(many),
        json!({ "long": "x".repeat(2048) }),
        json!({ "Upper": "v" }),
        json!({ "": "v" }),
        json!({ "vestibule-object": "v" }),
        json!({ "note": "personal-\u{e9}" }),
        json!({ "note": "personal-\r\nx-evil: 1" }),
        json!({ "note": 7 }),
    ];
    for metadata in cases {
        let (status, problem) = gateway.post("/request-upload", jpeg(json!({ "metadata": metadata }))).await;
        assert_eq!((status, problem["code"].as_str()), (400, Some("invalid_field")), "{metadata}: {problem}");
        assert!(!problem["detail"].as_str().unwrap().contains("personal"), "{problem}");
    }
    let most: serde_json::Map<String, Value> = (0..16).map(|n| (format!("k{n:02}"), json!("x".repeat(125)))).collect();
    let (status, answer) = gateway.post("/request-upload", jpeg(json!({ "metadata": most }))).await;
    assert_eq!(status, 201, "{answer}");
}

#[tokio::test]
async fn file_names_are_made_safe_and_the_original_is_kept() {
    let gateway = Gateway::start().await;
    let longest = format!("{}.jpg", "\u{e4}".repeat(500));
    let cases = [
        ("cafe\u{301}.jpg", "caf\u{e9}.jpg"),
        ("../../etc/menu.jpg", "etc_menu.jpg"),
        ("C:\\photos\\menu.jpg", "C__photos_menu.jpg"),
        ("...menu.jpg", "menu.jpg"),
        ("menu\u{202e}gpj.jpg", "menugpj.jpg"),
        ("me\r\nnu\u{0}.jpg", "menu.jpg"),
        ("\u{83dc}\u{5355}.JPG", "\u{83dc}\u{5355}.JPG"),
        ("50% off?#+&.jpg", "50_ off____.jpg"),
    ];
    for (sent, kept) in cases.into_iter().chain([(longest.as_str(), "")]) {
        let (status, issued) = gateway.post("/request-upload", jpeg(json!({ "filename": sent }))).await;
        assert_eq!(status, 201, "{sent:?}: {issued}");
        let (_, object) = gateway.get(issued["statusUrl"].as_str().unwrap()).await;
        assert_eq!(object["originalFilename"], sent);
        let filename = object["filename"].as_str().unwrap();
        assert!(filename.len() <= 120 && filename.to_lowercase().ends_with(".jpg"), "{filename}");
        assert!(object["path"].as_str().unwrap().ends_with(&format!("/{filename}")), "{object}");
        assert!(kept.is_empty() || filename == kept, "{sent:?} became {filename:?}");
    }
}
