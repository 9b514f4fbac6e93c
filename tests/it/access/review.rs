//! The access review: who has what, and what of it should go; as JSON and CSV.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Person, audit, in_days, listed, works};
use crate::gateway::{Gateway, PATIENCE, edit_policy, edited_policies};

async fn findings(gateway: &Gateway, id: &Value, query: &str) -> Vec<String> {
    let (status, review) = gateway.admin_get(&format!("/admin/access-review{query}")).await;
    assert_eq!(status, 200, "{review}");
    let row = review["tokens"].as_array().unwrap().iter().find(|row| row["tokenId"] == *id);
    let row = row.unwrap_or_else(|| panic!("{id} is not in {review}"));
    row["findings"].as_array().unwrap().iter().map(|finding| finding.as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn the_review_says_what_should_go() {
    let gateway = Gateway::start_in(edited_policies(&[]), &[]).await;
    let create = async |body: Value| {
        let (status, created) = gateway.admin_post("/admin/tokens", body).await;
        assert_eq!(status, 201, "{created}");
        created
    };
    let good = create(json!({ "app": "where2eat", "workflow": "good", "expiresAt": in_days(100) })).await;
    let endless = create(json!({ "operator": "endless" })).await;
    let ending = create(json!({ "app": "where2eat", "workflow": "ending", "expiresAt": in_days(10) })).await;
    let orphan =
        create(json!({ "app": "where2eat", "workflow": "orphan", "owner": "dissolved", "expiresAt": in_days(100) }))
            .await;
    let clinic = create(json!({ "app": "clinic-forms", "workflow": "gone", "expiresAt": in_days(100) })).await;
    let revoked = create(json!({ "app": "where2eat", "workflow": "revoked" })).await;
    let url = format!("{}/admin/tokens/{}", gateway.admin, revoked["tokenId"].as_str().unwrap());
    gateway.http.delete(url).bearer_auth(&gateway.admin_token).send().await.unwrap();

    let of = async |token: &Value, query: &str| findings(&gateway, &token["tokenId"], query).await;
    assert!(of(&good, "").await.is_empty());
    assert_eq!(of(&endless, "").await, ["noExpiry"]);
    assert_eq!(of(&ending, "").await, ["expiring"]);
    assert!(of(&ending, "?expiringDays=5").await.is_empty());
    assert_eq!(of(&orphan, "").await, ["ownerGone"]);
    assert_eq!(of(&good, "?unusedDays=0").await, ["neverUsed"]);
    assert_eq!(works(&gateway, good["token"].as_str().unwrap()).await, 200);
    let started = Instant::now();
    while of(&good, "?unusedDays=0").await != ["unused"] {
        assert!(started.elapsed() < PATIENCE, "its use was never written");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }

    std::fs::remove_file(gateway.dir().join("policies/apps/clinic-forms.toml")).unwrap();
    edit_policy(gateway.dir(), "owners.toml", "[clinic]\nregion = \"eu\"\n", "");
    assert_eq!(gateway.reload().await, "allowed");
    assert_eq!(of(&clinic, "").await, ["ownerGone", "appGone"]);

    let (_, review) = gateway.admin_get("/admin/access-review").await;
    assert!(review["tokens"].as_array().unwrap().iter().all(|row| row["tokenId"] != revoked["tokenId"]), "{review}");
    assert_eq!((&review["summary"]["ownerGone"], &review["summary"]["appGone"]), (&json!(2), &json!(1)), "{review}");
    assert_eq!((&review["unusedDays"], &review["expiringDays"]), (&json!(90), &json!(30)));
    assert!(!review.to_string().contains("hash") && !review.to_string().contains("vst_live_"), "{review}");
    assert!(audit(&gateway, "reviewAccess").await.len() > 5);
    for query in ["?unusedDays=3651", "?unusedDays=-1", "?format=xml", "?days=1"] {
        assert_eq!(gateway.admin_get(&format!("/admin/access-review{query}")).await.0, 400, "{query}");
    }
}

#[tokio::test]
async fn a_rotated_token_that_is_used_on_is_named() {
    let gateway = Gateway::start().await;
    let (_, old) = gateway.admin_post("/admin/tokens", json!({ "app": "where2eat", "workflow": "import" })).await;
    let secret = old["token"].as_str().unwrap();
    let path = format!("/admin/tokens/{}/rotate", old["tokenId"].as_str().unwrap());
    assert_eq!(gateway.admin_post(&path, json!({ "window": "7d" })).await.0, 201);
    assert_eq!(findings(&gateway, &old["tokenId"], "").await, ["expiring"]);
    assert_eq!(works(&gateway, secret).await, 200);
    let started = Instant::now();
    while findings(&gateway, &old["tokenId"], "").await != ["expiring", "rotatedInUse"] {
        assert!(started.elapsed() < PATIENCE, "{}", listed(&gateway, old["tokenId"].as_str().unwrap()).await);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test]
async fn the_csv_can_be_opened_by_people() {
    let gateway = Gateway::start().await;
    Person::called(&gateway, "=HYPERLINK(\"//x\",\"a\")").await;
    let url = format!("{}/admin/access-review", gateway.admin);
    let by_header =
        gateway.http.get(&url).bearer_auth(&gateway.admin_token).header("accept", "text/csv").send().await.unwrap();
    assert!(by_header.headers()["content-type"].to_str().unwrap().starts_with("text/csv"), "{:?}", by_header.headers());
    let disposition = by_header.headers()["content-disposition"].to_str().unwrap().to_owned();
    assert!(disposition.starts_with("attachment; filename=\"access-review-20"), "{disposition}");
    let text = by_header.text().await.unwrap();
    let by_query =
        gateway.http.get(format!("{url}?format=csv")).bearer_auth(&gateway.admin_token).send().await.unwrap();
    assert_eq!(by_query.text().await.unwrap().lines().count(), text.lines().count());
    let lines: Vec<&str> = text.split("\r\n").collect();
    assert!(lines[0].starts_with("tokenId,app,workflow,owner,operator,environment,actsFor,scopes,createdAt,expiresAt"));
    assert!(text.ends_with("\r\n") && lines.len() >= 4, "{text}");
    assert!(text.contains("\"'=HYPERLINK(\"\"//x\"\",\"\"a\"\")\""), "a formula is text: {text}");
    assert!(lines.iter().any(|line| line.contains(",where2eat,dev,marketing,,live,,storage:*:where2eat:*,")), "{text}");
}
