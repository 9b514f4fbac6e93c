//! Regulated data over HTTP, on both databases: each of the conditions, what the audit trail says, and conditions of
//! manifests.

use serde_json::{Value, json};

use crate::gateway::{Gateway, edited_policies};
use crate::harness;
use crate::http_errors::send;
use crate::store_postgres::Database;

fn form(changes: Value) -> Value {
    let mut body = json!({ "filename": "f.pdf", "size": harness::fixture("invoice.pdf").len(),
        "contentType": "application/pdf", "lawfulBasis": "consent" });
    for (name, value) in changes.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

/// The newest entry of a token.
async fn last_entry(gateway: &Gateway, token: &str) -> Value {
    let id = token.split('_').nth(2).unwrap();
    let (status, page) = gateway.admin_get(&format!("/admin/audit?limit=1&token={id}")).await;
    assert_eq!(status, 200, "{page}");
    page["entries"][0].clone()
}

/// Refused with this code, told whom to ask, and on record with the class, the basis and the place.
async fn assert_refused(gateway: &Gateway, token: &str, (status, problem): (u16, Value), code: &str) {
    assert_eq!((status, problem["code"].as_str()), (403, Some(code)), "{problem}");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("ask ") || detail.contains("send "), "{detail}");
    let entry = last_entry(gateway, token).await;
    assert_eq!((entry["outcome"].as_str(), entry["reason"].as_str()), (Some("refused"), Some(code)), "{entry}");
    assert_eq!(entry["data_classification"], "regulated", "{entry}");
    assert_eq!(entry["data_residency_region"], "eu", "{entry}");
    assert!(entry["rule"].as_str().is_some_and(|rule| rule.contains(".toml")), "{entry}");
}

/// Everything that can be missing, and what follows where nothing is.
async fn regulated_from_end_to_end(gateway: Gateway) {
    let intake = gateway.create_token(harness::clinician()).await;
    let token = |workflow: &str, subject: Value| {
        let mut body = json!({ "app": "clinic-forms", "workflow": workflow });
        if !subject.is_null() {
            body["subject"] = subject;
        }
        body
    };
    let person = |role: &str| json!({ "user": "u-7", "role": role, "device": "d-7", "deviceAttested": true });
    let nobody = gateway.create_token(token("intake", Value::Null)).await;
    let roleless = gateway.create_token(token("intake", json!({ "user": "u-7" }))).await;
    let cook = gateway.create_token(token("intake", person("cook"))).await;
    let export = gateway.create_token(token("export", person("clinician"))).await;
    let strangers = [
        (&nobody, "user_not_authorised"),
        (&roleless, "user_not_authorised"),
        (&cook, "user_not_authorised"),
        (&export, "workflow_not_authorised"),
    ];

    // Uploads.
    for (token, code) in strangers {
        let answer = gateway.post_as(token, "/request-upload", form(json!({}))).await;
        assert_refused(&gateway, token, answer, code).await;
        assert_eq!(last_entry(&gateway, token).await["lawful_basis"], "consent");
    }
    for basis in [Value::Null, json!("legitimate-interests"), json!("a secret")] {
        let answer = gateway.post_as(&intake, "/request-upload", form(json!({ "lawfulBasis": basis }))).await;
        assert_refused(&gateway, &intake, answer, "lawful_basis_required").await;
        let told = last_entry(&gateway, &intake).await["lawful_basis"].clone();
        let expected = basis.as_str().map(|basis| if basis == "a secret" { "other" } else { basis });
        assert_eq!(told.as_str(), expected, "only words of the article");
    }
    let (status, issued) = gateway.post_as(&intake, "/request-upload", form(json!({}))).await;
    assert_eq!(status, 201, "{issued}");
    let entry = last_entry(&gateway, &intake).await;
    let told = ["data_classification", "lawful_basis", "data_residency_region", "user", "role", "project"];
    assert_eq!(
        told.map(|name| entry[name].as_str().unwrap()),
        ["regulated", "consent", "eu", "u-42", "clinician", "ward-3"]
    );
    assert_eq!(gateway.put(&issued, harness::fixture("invoice.pdf")).await, 200);
    let id = issued["objectId"].as_str().unwrap();
    gateway.wait_for(id, "visible").await;

    // Downloads, states, lists, deletion.
    let path = format!("/objects/{id}");
    for (token, code) in strangers {
        let answer = gateway.post_as(token, "/request-download", json!({ "objectId": id })).await;
        assert_refused(&gateway, token, answer, code).await;
        for request in [
            gateway.http.get(format!("{}{path}", gateway.public)),
            gateway.http.delete(format!("{}{path}", gateway.public)),
        ] {
            let answer = send(request.bearer_auth(token)).await;
            assert_refused(&gateway, token, (answer.status, answer.body), code).await;
        }
        let list = send(gateway.http.get(format!("{}/objects", gateway.public)).bearer_auth(token)).await;
        assert_eq!((list.status, &list.body["objects"]), (200, &json!([])), "{}", list.body);
    }
    let list = send(gateway.http.get(format!("{}/objects", gateway.public)).bearer_auth(&intake)).await;
    assert_eq!(list.body["objects"][0]["objectId"], id, "{}", list.body);
    let ask = |basis: &str| json!({ "objectId": id, "lawfulBasis": basis });
    let answer = gateway.post_as(&intake, "/request-download", ask("legitimate-interests")).await;
    assert_refused(&gateway, &intake, answer, "lawful_basis_required").await;
    assert_eq!(last_entry(&gateway, &intake).await["lawful_basis"], "legitimate-interests");
    let (status, download) = gateway.post_as(&intake, "/request-download", ask("vital-interests")).await;
    assert_eq!(status, 200, "{download}");
    assert_eq!(last_entry(&gateway, &intake).await["lawful_basis"], "vital-interests");
    assert_eq!(send(gateway.http.get(download["downloadUrl"].as_str().unwrap())).await.status, 302);
    let entry = last_entry(&gateway, &intake).await;
    assert_eq!(
        (entry["action"].as_str(), entry["lawful_basis"].as_str()),
        (Some("followLink"), Some("vital-interests"))
    );
    let answer = send(gateway.http.delete(format!("{}{path}", gateway.public)).bearer_auth(&intake)).await;
    assert_eq!(answer.status, 204, "{}", answer.body);
}

#[tokio::test]
async fn regulated_data_is_for_whom_everything_is_right_on_sqlite() {
    regulated_from_end_to_end(Gateway::start().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn regulated_data_is_for_whom_everything_is_right_on_postgresql() {
    let (database, dir) = (Database::migrated().await, edited_policies(&[]));
    let data = dir.path().display().to_string();
    let config = include_str!("../../src/cli/dev/vestibule.toml").replace("@DATA@", &data);
    let config =
        config.replace(&format!("path = \"{data}/vestibule.db\""), &format!("url = \"{}\"", database.address()));
    assert!(config.contains("postgres"), "{config}");
    std::fs::write(dir.path().join("vestibule.toml"), config).unwrap();
    regulated_from_end_to_end(Gateway::start_in(dir, &[]).await).await;
}

#[tokio::test]
async fn an_upload_that_meets_no_condition_hears_what_does_not_fit() {
    let gateway = Gateway::start().await;
    let token = gateway.create_token(json!({ "app": "finance-invoices", "workflow": "mail" })).await;
    let table = |class: &str| json!({ "filename": "a.csv", "size": 26_000_000, "contentType": "text/csv", "classification": class });
    let (status, issued) = gateway.post_as(&token, "/request-upload", table("internal")).await;
    assert_eq!(status, 201, "{issued}");
    let (status, problem) = gateway.post_as(&token, "/request-upload", table("confidential")).await;
    assert_eq!((status, problem["code"].as_str()), (403, Some("condition_not_met")), "{problem}");
    assert_eq!(problem["allowed"].as_array().unwrap().len(), 2, "{problem}");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.starts_with("classification is confidential, and not 'classification is internal'; "), "{detail}");
    let entry = last_entry(&gateway, &token).await;
    assert!(entry["rule"].as_str().unwrap().starts_with("apps/finance-invoices.toml:"), "{entry}");
    assert_eq!(
        (&entry["data_classification"], &entry["data_residency_region"]),
        (&json!("confidential"), &json!("eu"))
    );
    let scan = json!({ "filename": "a.pdf", "size": 25_000_000, "contentType": "application/pdf",
        "classification": "confidential" });
    let (status, issued) = gateway.post_as(&token, "/request-upload", scan).await;
    assert_eq!(status, 201, "{issued}");
}
