//! Who is kept away from exchanges: by a block, and by a policy that wants a proven key.

use serde_json::{Value, json};

use super::{Bench, refused, token};
use crate::gateway::edited_policies;
use crate::possession::Client;

#[tokio::test]
async fn whoever_is_blocked_gets_no_token_until_the_block_is_lifted() {
    let bench = Bench::start().await;
    let subject = bench.id_token(|_| ());
    let own = token(&bench.exchange(&subject, &[]).await);
    for (kind, id) in [("user", "anna"), ("device", "laptop"), ("app", "where2eat")] {
        let revocation = json!({ "kind": kind, "id": id, "reason": "a laptop was lost", "block": true });
        let (status, revoked) = bench.gateway.admin_post("/admin/revocations", revocation).await;
        assert_eq!(status, 201, "{revoked}");
        refused(&bench.exchange(&subject, &[]).await, 403, "access_denied", "access_blocked");
        let kept_away = bench.audited("exchangeToken").await;
        let told = ["outcome", "reason", "user"].map(|field| kept_away[field].as_str().unwrap_or_default());
        assert_eq!(told, ["refused", "access_blocked", "anna"], "{kept_away}");
        let lift = format!("/admin/revocations/{}/lift", revoked["revocationId"].as_str().unwrap());
        let (status, lifted) = bench.gateway.admin_post(&lift, json!({ "reason": "it was found again" })).await;
        assert_eq!(status, 200, "{lifted}");
        token(&bench.exchange(&subject, &[]).await);
    }
    assert_eq!(bench.gateway.post_as(&own, "/request-upload", super::photo()).await.0, 401, "what died stays dead");
}

#[tokio::test]
async fn a_policy_may_want_a_proven_key_for_an_exchange() {
    let dir = edited_policies(&[]);
    let guard = "@id(\"proven\") forbid (principal, action == Action::\"exchange\", resource)\n\
                 when { !context.proofOfPossession };\n";
    std::fs::write(dir.path().join("policies/guards.cedar"), guard).unwrap();
    let bench = Bench::start_in(dir, &[]).await;
    let subject = bench.id_token(|_| ());
    refused(&bench.exchange(&subject, &[]).await, 403, "access_denied", "denied_by_policy");
    assert_eq!(bench.audited("exchangeToken").await["rule"], "guards.cedar:1 proven");
    let body = json!({ "audience": "where2eat" });
    let bound = Client::new().send(&bench.gateway, &subject, "POST", "/exchange", body).await;
    assert_eq!(bound.body["token_type"], Value::from("DPoP"), "{}", bound.body);
    token(&bound);
}
