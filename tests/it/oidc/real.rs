//! The tokens of the certified provider, after a whole login with PKCE.

use serde_json::json;
use vestibule::clock::Clock;
use vestibule::identity::oidc::{AssertionKind, Flaw, IssuerConfig, Issuers, Use};

use super::flaw;
use crate::identity_provider::Provider;

const RESOURCE: &str = "https://files.example/";

fn trusting(provider: &Provider) -> Issuers {
    let config: IssuerConfig = serde_json::from_value(json!({
        "name": "corp",
        "issuer": provider.issuer,
        "environment": "test",
        "clients": ["analyst-page", "platform"],
        "audiences": [RESOURCE],
        "tokens": ["id_token", "access_token"],
        "algorithms": ["ES256", "RS256"],
        "claims": {
            "role": { "claim": "groups", "values": [{ "from": "clinic", "to": "clinician" }] },
            "project": "/project",
            "device": "device",
            "device_attested": "device_attested",
        },
        "operators": { "audience": "operators", "claim": "groups", "reviewer": ["vestibule-reviewers"] },
    }))
    .unwrap();
    Issuers::new(&[config], Clock::system()).unwrap()
}

#[tokio::test]
async fn who_logs_in_at_the_certified_provider_is_known_with_role_project_and_device() {
    let provider = Provider::shared();
    let issuers = trusting(&provider);
    let tokens = provider.login("clinician", "analyst-page", Some(RESOURCE)).await;
    for (member, kind) in [("id_token", AssertionKind::IdToken), ("access_token", AssertionKind::AccessToken)] {
        let said = issuers.verify(tokens[member].as_str().unwrap(), Use::Exchange(Some(kind))).await.unwrap();
        assert_eq!((said.kind, said.client.as_deref()), (kind, Some("analyst-page")));
        let subject = said.subject;
        assert_eq!((subject.user.as_str(), subject.project.as_deref()), ("clinician", Some("ward-3")), "{member}");
        assert_eq!((subject.role.unwrap().as_str(), subject.device.as_deref()), ("clinician", Some("d-7")), "{member}");
        assert!(subject.device_attested, "{member}");
    }
    let platform = provider.id_token("analyst", "platform").await;
    assert_eq!(
        issuers.verify(&platform, Use::Exchange(None)).await.unwrap().subject.role,
        None,
        "in no group that counts"
    );
}

#[tokio::test]
async fn an_operator_of_the_certified_provider_is_nobodys_user_and_the_other_way_round() {
    let provider = Provider::shared();
    let issuers = trusting(&provider);
    let operator = provider.id_token("operator-reviewer", "operators").await;
    let said = issuers.verify(&operator, Use::Operate).await.unwrap();
    assert_eq!(
        (said.operator_name().as_str(), said.roles.to_string().as_str()),
        ("corp:operator-reviewer", "reviewer")
    );
    assert_eq!(flaw(issuers.verify(&operator, Use::Exchange(None)).await), Some(Flaw::Audience));
    let user = provider.id_token("analyst", "analyst-page").await;
    assert_eq!(flaw(issuers.verify(&user, Use::Operate).await), Some(Flaw::Audience));
}

#[tokio::test]
async fn new_keys_of_the_certified_provider_are_learnt_without_a_restart() {
    let provider = Provider::start();
    let issuers = trusting(&provider);
    let before = provider.id_token("analyst", "platform").await;
    issuers.verify(&before, Use::Exchange(None)).await.unwrap();
    provider.rotate(false).await;
    let begun = std::time::Instant::now();
    let after = provider.id_token("analyst", "platform").await;
    // At most one look in ten seconds for unknown keys.
    while issuers.verify(&after, Use::Exchange(None)).await.is_err() {
        assert!(begun.elapsed() < std::time::Duration::from_secs(20));
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    issuers.verify(&before, Use::Exchange(None)).await.unwrap();
}
