//! Reloads under load: no request is lost, each is decided by one whole set, and the next one by the new set.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::future::join_all;
use serde_json::{Value, json};

use crate::gateway::{Gateway, PATIENCE, edited_policies};

const CLIENTS: usize = 12;
const RELOADS: usize = 24;
/// Between the two sets' limits: the one allows it, the other does not.
const CONTESTED: u64 = 2 << 20;

/// Writes one of two sets over the other. They differ in a limit, in where a target's data lies, in an app that comes and
/// goes, and in a Cedar policy.
fn write_set(policies: &Path, wide: bool) {
    let edit = |file: &str, old: &str, new: &str| {
        let text = std::fs::read_to_string(policies.join(file)).unwrap();
        let (from, to) = if wide { (new, old) } else { (old, new) };
        std::fs::write(policies.join(file), text.replace(from, to)).unwrap();
    };
    edit("apps/where2eat.toml", "max_size = \"10 MiB\"", "max_size = \"1 MiB\"");
    let place =
        |residency: &str| format!("bucket = \"vestibule-images\"\nenvironment = \"live\"\nresidency = \"{residency}\"");
    edit("targets.toml", &place("eu"), &place("ch"));
    let (guest, guard) = (policies.join("apps/guest.toml"), policies.join("guards.cedar"));
    if wide {
        let manifest = std::fs::read_to_string(policies.join("apps/where2eat.toml")).unwrap();
        let manifest = manifest.replace("where2eat\"", "guest\"").replace("\"uploads/\"", "\"guest/\"");
        std::fs::write(guest, manifest).unwrap();
        std::fs::remove_file(guard).ok();
    } else {
        std::fs::remove_file(guest).unwrap();
        let text = "@id(\"no-webp\")\nforbid (principal, action == Action::\"upload\", resource)\n\
                    when { context.contentType == \"image/webp\" };\n";
        std::fs::write(guard, text).unwrap();
    }
}

/// Sends SIGHUP and waits for what the log says about it: in the audit trail a reload is soon far behind.
async fn reload(gateway: &Gateway) -> &'static str {
    let count = || {
        let log = gateway.log();
        (log.matches("policies reloaded").count(), log.matches("policies not reloaded").count())
    };
    let before = count();
    gateway.signal("HUP");
    let started = Instant::now();
    loop {
        let now = count();
        if now != before {
            return if now.0 > before.0 { "allowed" } else { "refused" };
        }
        assert!(started.elapsed() < PATIENCE, "nothing was reloaded\n{}", gateway.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn upload(name: &str, size: u64, content_type: &str) -> Value {
    json!({ "filename": name, "size": size, "contentType": content_type })
}

/// What the contested requests are answered with under each set.
async fn answers(gateway: &Gateway) -> [(u16, String); 2] {
    let code = |(status, body): (u16, Value)| (status, body["code"].as_str().unwrap_or_default().to_owned());
    [
        code(gateway.post("/request-upload", upload("a.jpg", CONTESTED, "image/jpeg")).await),
        code(gateway.post("/request-upload", upload("a.webp", 4096, "image/webp")).await),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_under_load_drops_no_request_and_holds_for_the_next_one() {
    let dir = edited_policies(&[]);
    write_set(&dir.path().join("policies"), true);
    let gateway = Arc::new(Gateway::start_in(dir, &[("VESTIBULE__TELEMETRY__FILTER", "info")]).await);
    let visible = gateway.visible_jpeg(include_bytes!("../fixtures/menu.jpg")).await;
    let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let client = |number: usize| {
        let (gateway, stop, asked, visible) = (gateway.clone(), stop.clone(), asked.clone(), visible.clone());
        tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let name = format!("{number}-{}.jpg", asked.fetch_add(1, Ordering::Relaxed));
                let (status, body) = match number % 4 {
                    0 => gateway.post("/request-upload", upload(&name, 4096, "image/jpeg")).await,
                    1 => gateway.post("/request-download", json!({ "objectId": visible })).await,
                    2 => gateway.get("/objects?limit=1").await,
                    _ => gateway.post("/request-upload", upload(&name, CONTESTED, "image/jpeg")).await,
                };
                let denied = number % 4 == 3 && status == 403 && body["code"] == "size_not_allowed";
                assert!(matches!(status, 200 | 201) || denied, "client {number}: {status} {body}");
            }
        })
    };
    let clients: Vec<_> = (0..CLIENTS).map(client).collect();
    let policies = gateway.dir().join("policies");
    for round in 0..RELOADS {
        if round % 6 == 5 {
            let broken = policies.join("broken.cedar");
            std::fs::write(&broken, "permit (principal,").unwrap();
            let before = answers(&gateway).await;
            assert_eq!(reload(&gateway).await, "refused");
            assert_eq!(answers(&gateway).await, before, "the running set stays");
            std::fs::remove_file(broken).unwrap();
        }
        let wide = round % 2 == 1;
        write_set(&policies, wide);
        assert_eq!(reload(&gateway).await, "allowed");
        let expected =
            if wide { [(201, ""), (201, "")] } else { [(403, "size_not_allowed"), (403, "denied_by_policy")] };
        assert_eq!(answers(&gateway).await, expected.map(|(status, code)| (status, code.to_owned())), "round {round}");
    }
    stop.store(true, Ordering::Relaxed);
    for client in join_all(clients).await {
        client.unwrap();
    }
    let asked = asked.load(Ordering::Relaxed);
    assert!(asked > 20 * RELOADS, "only {asked} requests: that was no load");
    println!("{asked} requests beside {RELOADS} reloads and {} refused ones", RELOADS / 6);
}
