//! Rate limits as clients see them: headers, problem documents, `GET /limits`; and what the audit trail holds of them.

use futures::future::join_all;
use serde_json::{Value, json};

use crate::gateway::{Gateway, edit_policy, edited_policies};

/// A gateway whose `limits.toml` says this.
async fn limited(limits: &str) -> Gateway {
    let dir = edited_policies(&[]);
    std::fs::write(dir.path().join("policies/limits.toml"), limits).unwrap();
    Gateway::start_in(dir, &[]).await
}

fn upload(name: &str) -> Value {
    json!({ "filename": name, "size": 48_213, "contentType": "image/jpeg" })
}

/// Status, `RateLimit`, `RateLimit-Policy`, `Retry-After` and body of one request.
async fn ask(gateway: &Gateway, token: &str, body: &Value) -> (u16, String, String, Option<String>, Value) {
    let request = gateway.http.post(format!("{}/request-upload", gateway.public)).bearer_auth(token).json(body);
    let answer = request.send().await.unwrap();
    let header = |name: &str| answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    let (limit, policy) = (header("ratelimit").unwrap_or_default(), header("ratelimit-policy").unwrap_or_default());
    let (status, wait) = (answer.status().as_u16(), header("retry-after"));
    (status, limit, policy, wait, answer.json().await.unwrap())
}

/// The parameters `r` and `t` of each quota in a `RateLimit` header.
fn quotas(header: &str) -> Vec<(String, u32, u32)> {
    header
        .split(", ")
        .map(|item| {
            let mut parts = item.split(';');
            let name = parts.next().unwrap().trim_matches('"').to_owned();
            let mut number = |key: &str| parts.next().unwrap().strip_prefix(key).unwrap().parse().unwrap();
            (name, number("r="), number("t="))
        })
        .collect()
}

async fn refusals(gateway: &Gateway) -> Vec<Value> {
    let (status, page) = gateway.admin_get("/admin/audit?limit=1000").await;
    assert_eq!(status, 200);
    let entries = page["entries"].as_array().unwrap().clone();
    entries.into_iter().filter(|entry| entry["outcome"] == "refused").collect()
}

#[tokio::test]
async fn every_answer_says_what_is_left_and_the_first_one_too_many_says_when_to_come_back() {
    let gateway = limited("[workflow]\nsecond = 3\nhour = 3\nday = 5_000\n[owners.marketing]\nday = 90\n").await;
    let policy = "\"workflow-second\";q=3;w=1, \"workflow-hour\";q=3;w=3600, \"workflow-day\";q=5000;w=86400, \
                  \"owner-day\";q=90;w=86400";
    let (status, limit, told, ..) = ask(&gateway, &gateway.token, &upload("menu.jpg")).await;
    assert_eq!((status, told.as_str()), (201, policy));
    let left = quotas(&limit);
    let names: Vec<&str> = left.iter().map(|(name, ..)| name.as_str()).collect();
    assert_eq!(names, ["workflow-second", "workflow-hour", "workflow-day", "owner-day"]);
    assert_eq!((left[1].1, left[2].1, left[3].1), (2, 4999, 89));
    assert!(left[0].2 == 1 && (1..=3600).contains(&left[1].2) && left[2].2 >= left[1].2, "{left:?}");

    // A refusal for another reason counts, and says so too; so does a list. Looking at a state and at the limits does not.
    let (status, limit, ..) = ask(&gateway, &gateway.token, &upload("")).await;
    assert_eq!((status, quotas(&limit)[1].1), (400, 1));
    for _ in 0..3 {
        assert_eq!(gateway.get("/objects/obj_00000000000000000000000000000007").await.0, 404);
        assert_eq!(gateway.get("/limits").await.0, 200);
    }
    assert_eq!(gateway.get("/objects").await.0, 200);

    let (status, limit, told, wait, problem) = ask(&gateway, &gateway.token, &upload("menu.jpg")).await;
    assert_eq!((status, told.as_str(), quotas(&limit)[1].1), (429, policy, 0));
    assert_eq!(quotas(&limit)[3].1, 87, "a refused request counts nowhere");
    assert_eq!(
        (&problem["code"], &problem["quota"], &problem["limit"]),
        (&json!("rate_limited"), &json!("workflow-hour"), &json!(3))
    );
    assert_eq!(problem["retryAfter"].to_string(), wait.unwrap());
    assert!((1..=3601).contains(&problem["retryAfter"].as_u64().unwrap()));
    let detail = problem["detail"].as_str().unwrap();
    assert!(
        detail.starts_with("The workflow 'dev' may make 3 requests an hour, and they are used up until 20"),
        "{detail}"
    );
    for (method, path) in [("GET", "/objects"), ("DELETE", "/objects/obj_00000000000000000000000000000007")] {
        let request = gateway.http.request(method.parse().unwrap(), format!("{}{path}", gateway.public));
        assert_eq!(request.bearer_auth(&gateway.token).send().await.unwrap().status(), 429, "{method} {path}");
    }
    let (status, problem) =
        gateway.post("/request-download", json!({ "objectId": "obj_00000000000000000000000000000007" })).await;
    assert_eq!((status, &problem["code"]), (429, &json!("rate_limited")));
}

#[tokio::test]
async fn two_tokens_of_a_workflow_share_and_another_workflow_does_not() {
    let gateway = limited("[workflow]\nsecond = 4\nhour = 4\nday = 5_000\n").await;
    let token = async |workflow: &str| gateway.create_token(json!({ "app": "where2eat", "workflow": workflow })).await;
    let (one, two, other) = (token("shared").await, token("shared").await, token("other").await);
    let mut given = 0;
    for token in [&one, &two, &one, &two, &one, &two] {
        given += u32::from(ask(&gateway, token, &upload("menu.jpg")).await.0 == 201);
    }
    assert_eq!(given, 4);
    assert_eq!(ask(&gateway, &other, &upload("menu.jpg")).await.0, 201);
}

#[tokio::test]
async fn a_loop_is_stopped_with_its_own_code_and_a_replay_counts_as_the_same_request() {
    let gateway = limited("same_request_per_minute = 3\n[workflow]\nsecond = 1_000\n").await;
    let send = async |name: &str| {
        let request = gateway.http.post(format!("{}/request-upload", gateway.public)).bearer_auth(&gateway.token);
        crate::gateway::answer(request.header("Idempotency-Key", name).json(&upload(name))).await
    };
    // Aligned minutes: a loop that began at the end of one has its three in the next again, and no more.
    let mut codes = Vec::new();
    for _ in 0..8 {
        let (status, answer) = send("menu.jpg").await;
        codes.push(if status == 201 { String::new() } else { answer["code"].as_str().unwrap().to_owned() });
    }
    let admitted = codes.iter().filter(|code| code.is_empty()).count();
    assert!((3..=6).contains(&admitted), "{codes:?}");
    assert!(codes.iter().all(|code| code.is_empty() || code == "request_repeated"), "{codes:?}");
    assert_eq!(send("other.jpg").await.0, 201, "another request is no loop");
}

#[tokio::test]
async fn get_limits_says_what_the_app_may_do_and_what_is_left() {
    let gateway = limited(
        "same_request_per_minute = 9\n[workflow]\nsecond = 1_000\nhour = 2_000\n[owners.marketing]\nday = 90\n",
    )
    .await;
    assert_eq!(ask(&gateway, &gateway.token, &upload("menu.jpg")).await.0, 201);
    let (status, limits) = gateway.get("/limits").await;
    assert_eq!(status, 200, "{limits}");
    assert_eq!(
        (&limits["app"], &limits["workflow"], &limits["shared"]),
        (&json!("where2eat"), &json!("dev"), &json!(false))
    );
    let hour = &limits["requests"][1];
    assert_eq!(
        (&hour["name"], &hour["scope"], &hour["windowSeconds"]),
        (&json!("workflow-hour"), &json!("workflow"), &json!(3600))
    );
    assert_eq!((&hour["limit"], &hour["remaining"]), (&json!(2000), &json!(1999)));
    assert_eq!(limits["requests"][3]["name"], "owner-day");
    assert_eq!(limits["sameRequest"], json!({ "windowSeconds": 60, "limit": 9 }));
    assert_eq!(limits["stored"]["objects"], json!({ "limit": 100_000, "used": 1, "remaining": 99_999 }));
    assert_eq!(limits["stored"]["bytes"]["used"], 48_213);
    // Any token of a workflow may ask, whatever its scopes; nobody else may.
    let token = gateway
        .create_token(json!({ "app": "where2eat", "workflow": "reader", "scopes": ["storage:images:where2eat:read"] }))
        .await;
    let request = gateway.http.get(format!("{}/limits", gateway.public));
    assert_eq!(request.try_clone().unwrap().bearer_auth(token).send().await.unwrap().status(), 200);
    assert_eq!(request.send().await.unwrap().status(), 401);
}

#[tokio::test]
async fn a_changed_limit_holds_after_a_reload_and_keeps_the_count() {
    let gateway = limited("[workflow]\nsecond = 1_000\nhour = 2_000\n").await;
    for _ in 0..5 {
        assert_eq!(ask(&gateway, &gateway.token, &upload("menu.jpg")).await.0, 201);
    }
    edit_policy(gateway.dir(), "apps/where2eat.toml", "[quota]", "[limits.workflow]\nsecond = 6\nhour = 6\n[quota]");
    assert_eq!(gateway.reload().await, "allowed");
    let first = ask(&gateway, &gateway.token, &upload("menu.jpg")).await;
    assert_eq!((first.0, quotas(&first.1)[1].1), (201, 0), "the sixth of this hour: {}", first.1);
    let (status, _, _, _, problem) = ask(&gateway, &gateway.token, &upload("menu.jpg")).await;
    assert_eq!((status, &problem["quota"]), (429, &json!("workflow-hour")));
    let rule = refusals(&gateway).await[0]["rule"].as_str().unwrap().to_owned();
    assert!(rule.starts_with("apps/where2eat.toml:") && rule.ends_with(" limits"), "{rule}");
}

#[tokio::test]
async fn a_storm_of_refusals_leaves_few_rows_in_the_audit_trail_and_none_is_uncounted() {
    let mut gateway = limited("[workflow]\nsecond = 7\nhour = 7\nday = 7\n").await;
    let body = upload("menu.jpg");
    let (mut admitted, mut refused) = (0, 0);
    for _ in 0..10 {
        for (status, ..) in join_all((0..50).map(|_| ask(&gateway, &gateway.token, &body))).await {
            match status {
                201 => admitted += 1,
                429 => refused += 1,
                other => panic!("{other}"),
            }
        }
    }
    assert_eq!((admitted, refused), (7, 493));
    let rows = refusals(&gateway).await;
    assert!((1..=4).contains(&rows.len()), "one for each minute, not {}", rows.len());
    let first = rows.last().unwrap();
    assert_eq!((&first["reason"], &first["action"]), (&json!("rate_limited"), &json!("requestUpload")));
    assert_eq!((&first["workflow"], first["requestId"].is_string()), (&json!("dev"), true));
    // Stopped in order, it writes what it has counted.
    gateway.stop();
    gateway.start_again(&[]).await;
    let counted: u64 = refusals(&gateway)
        .await
        .iter()
        .map(|row| match row["detail"].as_str().unwrap().split_once(" more refusals") {
            Some((count, _)) => count.parse().unwrap(),
            None => 1,
        })
        .sum();
    assert_eq!(counted, 493);
}
