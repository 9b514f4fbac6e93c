//! P8 for people's tokens: no assertion, access token or proof reaches a log, a metric, the audit trail or the database.

use super::client::run;
use super::{Provider, RESOURCE, trusting_with};
use crate::gateway::edited_policies;

#[tokio::test]
async fn nothing_that_could_be_presented_again_is_written_down() {
    let provider = Provider::shared();
    let talkative =
        [("VESTIBULE__TELEMETRY__FILTER", "info,vestibule=trace,actix_web=debug,hyper=debug,reqwest=debug")];
    let gateway = trusting_with(&provider, edited_policies(&[]), &talkative).await;
    let mut secrets = Vec::new();
    for (kind, bound) in [("id_token", false), ("id_token", true), ("access_token", true)] {
        let tokens = provider.login("analyst", "platform", Some(RESOURCE)).await;
        let subject = tokens[kind].as_str().unwrap();
        let seen = run(&gateway, subject, kind, bound).await;
        let proofs = seen["proofs"].as_array().unwrap().iter().map(|proof| proof.as_str().unwrap());
        assert_eq!(seen["proofs"].as_array().unwrap().is_empty(), !bound);
        for token in proofs.chain([subject, seen["token"]["access_token"].as_str().unwrap()]) {
            secrets.push(token.to_owned());
            // Without its signature a token is none, but what it says about a person is nobody's business either.
            secrets.extend(token.split('.').skip(1).map(str::to_owned));
        }
    }
    assert!(secrets.len() > 20);
    let metrics = gateway.http.get(format!("{}/metrics", gateway.admin)).bearer_auth(&gateway.admin_token);
    let metrics = metrics.send().await.unwrap().text().await.unwrap();
    let (_, trail) = gateway.admin_get("/admin/audit?limit=1000").await;
    let mut places =
        vec![("the metrics".to_owned(), metrics.into_bytes()), ("the trail".into(), trail.to_string().into_bytes())];
    for entry in std::fs::read_dir(gateway.dir()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            places.push((path.display().to_string(), std::fs::read(&path).unwrap()));
        }
    }
    assert!(places.iter().any(|(name, _)| name.ends_with("gateway.log")));
    assert!(places.iter().any(|(name, _)| name.ends_with("vestibule.db")));
    for (name, bytes) in &places {
        let text = String::from_utf8_lossy(bytes);
        let leaked = secrets.iter().filter(|secret| secret.len() > 20).find(|secret| text.contains(secret.as_str()));
        assert!(leaked.is_none(), "{name} holds {}", leaked.unwrap());
    }
}
