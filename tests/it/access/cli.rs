//! The whole flow on the command line, with the token going straight into a store of secrets.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{approved, audit, listed, standing, works};
use crate::gateway::{Gateway, PATIENCE};

fn ask(gateway: &Gateway, more: &[&str]) -> (i32, String, String) {
    let request = [
        "access",
        "request",
        "--app",
        "where2eat",
        "--workflow",
        "menu-export",
        "--scope",
        "storage:*:where2eat:read",
        "--reason",
        "shows the menus",
    ];
    gateway.run_as("ada", &[&request[..], more].concat())
}

#[tokio::test]
async fn the_whole_flow_by_command_line() {
    let gateway = Gateway::start().await;
    let (code, id, errors) = ask(&gateway, &[]);
    assert!(code == 0 && errors.contains("is pending"), "{errors}");
    let id = id.trim();
    let (code, _, errors) = gateway.run_as("ada", &["access", "approve", id, "--reason", "I am in a hurry"]);
    assert!(code == 1 && errors.contains("self_approval"), "{errors}");
    let (_, table, _) = gateway.run(&["access", "list", "--state", "pending"]);
    assert!(table.contains(id) && table.contains("where2eat/menu-export") && table.contains("cli:ada"), "{table}");

    let (code, link, errors) = gateway.run_as("bob", &["access", "approve", id, "--reason", "agreed with the team"]);
    assert_eq!(code, 0, "{errors}");
    let link = link.trim();
    assert!(link.starts_with(&format!("{}/claim/", gateway.public)), "{link}");
    let secret = link.rsplit('/').next().unwrap();
    let (code, token, errors) = gateway.run_as("ada", &["access", "claim", secret]);
    assert!(code == 0 && errors.contains("shown now and never again"), "{errors}");
    assert_eq!(works(&gateway, token.trim()).await, 200);
    assert_eq!(audit(&gateway, "claimToken").await[0]["operator"], "cli:ada", "P10: the command line has a name");
    let (code, printed, errors) = gateway.run_as("ada", &["access", "claim", secret]);
    assert!(code == 1 && printed.is_empty() && errors.contains("claim_invalid"), "{errors}");

    let token_id = token.trim().split('_').nth(2).unwrap();
    let (_, report, _) = gateway.run(&["access", "review"]);
    assert!(report.contains(token_id) && report.contains("tokens:"), "{report}");
    let (_, csv, _) = gateway.run(&["access", "review", "--csv"]);
    assert!(csv.starts_with("tokenId,app,") && csv.contains(token_id), "{csv}");
    let (_, json, _) = gateway.run(&["access", "review", "--json", "--unused-days", "1"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert!(json["unusedDays"] == 1 && json["tokens"].as_array().unwrap().iter().any(|row| row["tokenId"] == token_id));
    // The command line has no side door: its acts are on record too.
    for action in ["requestAccess", "approveAccess", "claimToken", "reviewAccess", "readAccess"] {
        let entries = audit(&gateway, action).await;
        assert!(entries.iter().any(|entry| entry["method"] == "CLI"), "{action}: {entries:?}");
    }
    let (_, other, _) = ask(&gateway, &[]);
    let (code, _, errors) = gateway.run_as("bob", &["access", "deny", other.trim(), "--reason", "not needed"]);
    assert!(code == 0 && errors.contains("denied"), "{errors}");
    let denied = standing(&gateway, &serde_json::json!({ "requestId": other.trim() })).await;
    assert_eq!((denied["state"].as_str(), denied["decidedBy"].as_str()), (Some("denied"), Some("cli:bob")), "{denied}");
}

#[tokio::test]
async fn a_token_goes_into_a_command_and_nowhere_else() {
    let gateway = Gateway::start().await;
    let file = gateway.dir().join("secret");
    let path = file.display();
    // What the command was given: its input, its arguments and its environment.
    let store = format!("cat > {path}; tr '\\0' ' ' < /proc/self/cmdline > {path}.args; env > {path}.env");
    let trying_out = ["--test", "--into", &store];
    let (code, printed, errors) = ask(&gateway, &trying_out);
    assert!(code == 0 && printed.is_empty() && errors.contains("was handed to the command"), "{printed} {errors}");
    let token = std::fs::read_to_string(&file).unwrap();
    assert!(token.starts_with("vst_test_") && token.len() == 75, "no line end: {token:?}");
    assert_eq!(works(&gateway, &token).await, 200);
    let read = |end: &str| std::fs::read_to_string(format!("{path}.{end}")).unwrap();
    assert!(!errors.contains(&token) && !read("args").contains("vst_test_") && !read("env").contains("vst_test_"));
    let id = token.split('_').nth(2).unwrap();
    let end = listed(&gateway, id).await["expiresAt"].as_str().unwrap().to_owned();
    for (tag, value) in [
        ("TOKEN_ID", id),
        ("EXPIRES_AT", &end),
        ("APP", "where2eat"),
        ("WORKFLOW", "menu-export"),
        ("OWNER", "marketing"),
        ("ENVIRONMENT", "test"),
        ("SCOPES", "storage:*:where2eat:read"),
    ] {
        let line = format!("VESTIBULE_{tag}={value}");
        assert!(read("env").lines().any(|own| own == line), "{line}");
    }

    let (_, id, _) = ask(&gateway, &[]);
    let approve = ["access", "approve", id.trim(), "--reason", "agreed", "--into", "cat >/dev/null; exit 3"];
    let (code, printed, errors) = gateway.run_as("bob", &approve);
    assert!(code == 1 && printed.is_empty() && errors.contains("the command failed"), "{errors}");
    assert!(errors.contains("was revoked"), "{errors}");
    let lost = standing(&gateway, &serde_json::json!({ "requestId": id.trim() })).await["tokenId"].clone();
    assert!(listed(&gateway, lost.as_str().unwrap()).await["revokedAt"].is_string(), "nobody knows where it went");
    let nothing = ["--test", "--into", "/nowhere/store-secret"];
    let (code, _, errors) = ask(&gateway, &nothing);
    assert!(code == 1 && errors.contains("was revoked"), "{errors}");
}

#[tokio::test]
async fn a_whole_link_is_claimed_from_a_machine_without_a_configuration() {
    let gateway = Gateway::start().await;
    let file = gateway.dir().join("secret");
    let claim = |link: &str, command: &str| {
        gateway.run(&["access", "--config", "/nowhere/vestibule.toml", "claim", link, "--into", command])
    };
    let (link, _) = approved(&gateway).await;
    let store = format!("cat > {0}; env > {0}.env", file.display());
    let (code, printed, errors) = claim(&link, &store);
    assert!(code == 0 && printed.is_empty() && errors.contains("was handed to the command"), "{errors}");
    let token = std::fs::read_to_string(&file).unwrap();
    assert_eq!(works(&gateway, &token).await, 200);
    let tags = std::fs::read_to_string(format!("{}.env", file.display())).unwrap();
    let id = token.split('_').nth(2).unwrap();
    let made = listed(&gateway, id).await;
    let text = |field: &str| made[field].as_str().unwrap().to_owned();
    let scopes: Vec<&str> = made["scopes"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    for (name, value) in [
        ("TOKEN_ID", id.to_owned()),
        ("APP", text("app")),
        ("WORKFLOW", text("workflow")),
        ("OWNER", text("owner")),
        ("ENVIRONMENT", text("environment")),
        ("EXPIRES_AT", text("expiresAt")),
        ("SCOPES", scopes.join(" ")),
    ] {
        let tag = format!("VESTIBULE_{name}={value}");
        assert!(tags.lines().any(|line| line == tag), "{tag}");
    }
    let (code, _, errors) = claim(&link, &store);
    assert!(code == 1 && errors.contains("claim_invalid"), "{errors}");

    let (link, _) = approved(&gateway).await;
    let (code, _, errors) = claim(&link, "exit 3");
    assert!(code == 1 && errors.contains("the command failed") && errors.contains("was revoked"), "{errors}");
    let lost = errors.split_whitespace().find(|word| word.len() == 16).unwrap();
    assert!(listed(&gateway, lost).await["revokedAt"].is_string(), "it was given back");
    let (code, _, errors) = claim("http://files.example.com/claim/x", "cat");
    assert!(code == 1 && errors.contains("over https"), "{errors}");
}

#[tokio::test]
async fn an_interrupted_delivery_leaves_no_token_alive() {
    let gateway = Gateway::start().await;
    let (link, _) = approved(&gateway).await;
    let pid = gateway.dir().join("pid");
    // The command never ends by itself, and says whose child it is.
    let command = format!("echo $PPID > {0}.tmp; mv {0}.tmp {0}; exec sleep 600", pid.display());
    let waiting = tokio::task::spawn_blocking({
        let run = gateway.runner();
        move || run(&["access", "claim", &link, "--into", &command])
    });
    let begun = Instant::now();
    let parent = loop {
        if let Ok(text) = std::fs::read_to_string(&pid) {
            break text.trim().to_owned();
        }
        assert!(begun.elapsed() < PATIENCE, "the command was not started");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(Command::new("kill").args(["-INT", &parent]).status().unwrap().success());
    let (code, printed, errors) = waiting.await.unwrap();
    assert!(code == 1 && printed.is_empty() && errors.contains("was interrupted"), "{errors}");
    let lost = errors.split_whitespace().find(|word| word.len() == 16).unwrap();
    assert!(listed(&gateway, lost).await["revokedAt"].is_string(), "{errors}");
}

#[tokio::test]
async fn a_token_is_rotated_into_a_command() {
    let gateway = Gateway::start().await;
    let (code, old, errors) = gateway.run(&["token", "create", "--app", "where2eat", "--workflow", "import"]);
    assert_eq!(code, 0, "{errors}");
    let (old, file) = (old.trim(), gateway.dir().join("secret"));
    let id = old.split('_').nth(2).unwrap();
    let failing = ["token", "rotate", id, "--window", "1h", "--into", "exit 1"];
    let (code, _, errors) = gateway.run(&failing);
    assert!(code == 1 && errors.contains("was revoked") && errors.contains(id), "{errors}");
    let store = format!("cat > {}", file.display());
    let (code, printed, errors) = gateway.run(&["token", "rotate", id, "--window", "1h", "--into", &store]);
    assert!(code == 0 && printed.is_empty() && errors.contains("works until"), "{errors}");
    let new = std::fs::read_to_string(&file).unwrap();
    assert_eq!((works(&gateway, old).await, works(&gateway, &new).await), (200, 200), "both for the window");
    let followed = new.split('_').nth(2).unwrap();
    assert_eq!(listed(&gateway, id).await["successor"], followed);
    let end = listed(&gateway, followed).await["expiresAt"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let made = listed(&gateway, followed).await["createdAt"].as_str().unwrap().parse().unwrap();
    assert!(end.duration_since(made).as_hours() > 300 * 24, "the failed delivery has shortened nothing: {end}");
    let (_, table, _) = gateway.run(&["token", "list"]);
    assert!(table.contains("last used") && table.contains("followed by"), "{table}");
}
