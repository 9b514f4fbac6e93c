//! The command line beside a running gateway, configuration, and reload.

use serde_json::json;

use crate::gateway::{Gateway, edit_policy, edited_policies};
use crate::http_errors::send;

#[tokio::test]
async fn policy_check_names_every_mistake_with_file_and_line() {
    let gateway = Gateway::start_in(edited_policies(&[]), &[]).await;
    let dir = gateway.dir().join("policies");
    let dir = dir.to_str().unwrap();
    let (code, printed, _) = gateway.run(&["policy", "check", dir]);
    assert!(code == 0 && printed.contains("where2eat") && printed.contains("good:"), "{printed}");
    edit_policy(gateway.dir(), "apps/where2eat.toml", "max_size = \"10 MiB\"", "max_size = \"ten\"");
    edit_policy(gateway.dir(), "apps/clinic-forms.toml", "target = \"clinic\"", "target = \"nowhere\"");
    let (code, printed, errors) = gateway.run(&["policy", "check", dir]);
    assert_eq!(code, 1, "{printed}");
    assert!(errors.contains("not usable"), "{errors}");
    for place in ["apps/where2eat.toml:", "apps/clinic-forms.toml:", "2 mistakes"] {
        assert!(printed.contains(place), "{place} is missing in\n{printed}");
    }
}

#[tokio::test]
async fn a_broken_policy_set_is_refused_whole_and_the_fixed_one_is_taken() {
    let gateway = Gateway::start_in(edited_policies(&[]), &[]).await;
    let file = "apps/where2eat.toml";
    edit_policy(gateway.dir(), file, "max_size = \"10 MiB\"", "max_size = \"1 KiB\"");
    edit_policy(gateway.dir(), "classifications.toml", "scanner = \"clamav\"", "scanner = 7");
    assert_eq!(gateway.reload().await, "refused");
    let body = |size: u64| json!({ "filename": "m.jpg", "size": size, "contentType": "image/jpeg" });
    assert_eq!(gateway.post("/request-upload", body(5000)).await.0, 201, "the old set stays, as a whole");
    edit_policy(gateway.dir(), "classifications.toml", "scanner = 7", "scanner = \"clamav\"");
    assert_eq!(gateway.reload().await, "allowed");
    let (status, problem) = gateway.post("/request-upload", body(5000)).await;
    assert_eq!((status, problem["limit"].as_u64()), (403, Some(1024)), "{problem}");
}

#[tokio::test]
async fn tokens_are_made_listed_and_revoked_while_the_gateway_runs() {
    let gateway = Gateway::start().await;
    let (code, token, errors) = gateway.run(&["token", "create", "--app", "where2eat", "--workflow", "cli-made"]);
    assert_eq!(code, 0, "{errors}");
    let token = token.trim();
    let id = token.split('_').nth(2).unwrap();
    let list = || gateway.http.get(format!("{}/objects", gateway.public)).bearer_auth(token);
    assert_eq!(send(list()).await.status, 200);
    let (_, table, _) = gateway.run(&["token", "list"]);
    assert!(table.contains(id) && table.contains("where2eat/cli-made"), "{table}");
    assert!(!table.contains(token.rsplit('_').next().unwrap()), "a list shows no secret");
    let (code, _, errors) = gateway.run(&["token", "revoke", id]);
    assert!(code == 0 && errors.contains(id), "{errors}");
    let (code, _, errors) = gateway.run(&["token", "create", "--app", "nowhere", "--workflow", "a"]);
    assert!(code == 1 && errors.contains("app_unknown"), "{errors}");
    // The command line has no side door: its acts are on record too.
    let (_, page) = gateway.admin_get("/admin/audit?limit=1000").await;
    let by_cli = |action: &str| {
        let entries = page["entries"].as_array().unwrap().iter();
        entries.filter(|entry| entry["action"] == action && entry["method"] == "CLI").count()
    };
    assert!(by_cli("createToken") >= 2 && by_cli("listTokens") == 1 && by_cli("revokeToken") == 1, "{page}");
}

#[tokio::test]
async fn a_wrong_configuration_is_refused_with_every_mistake() {
    let gateway = Gateway::start().await;
    let file = gateway.dir().join("wrong.toml");
    let text = "[public]\nlisten = 'nowhere'\nurls = 'x'\n[admin]\nlisten = '0.0.0.0:9090'\n[sweep]\ninterval = 'soon'\n\
                [policies]\ndir = '/nowhere'\n[telemetry]\nlog = 'xml'\n";
    std::fs::write(&file, text).unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_vestibule"))
        .args(["serve", "--config", file.to_str().unwrap()])
        .env_remove("VESTIBULE_CONFIG")
        .output()
        .unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{errors}");
    for setting in ["public.listen", "public.urls", "admin.listen", "sweep.interval", "policies.dir", "telemetry.log"] {
        assert!(errors.contains(setting), "{setting} is missing in\n{errors}");
    }
}
