//! `[identity]`: whose word about people is taken, and what is wrong with such a section.

use std::collections::HashSet;
use std::time::Duration;

use serde::Deserialize;
use url::Url;

use crate::identity::access_token::AccessTokens;
use crate::identity::oidc::{AssertionKind, IssuerConfig};

use super::possession::DpopConfig;

/// How far two clocks may be apart, at most.
const MOST_SKEW: Duration = Duration::from_secs(120);
/// How old a token of an issuer may be.
const AGES: std::ops::RangeInclusive<Duration> = Duration::from_secs(60)..=Duration::from_secs(24 * 3600);
/// How long old keys may be used, at most.
const MOST_STALE: Duration = Duration::from_secs(72 * 3600);

/// `[identity]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IdentityConfig {
    /// How the access tokens look that are made in exchange: `jwt` (RFC 9068) or `opaque`.
    pub access_tokens: AccessTokens,
    /// Trusted OpenID providers.
    pub issuers: Vec<IssuerConfig>,
    /// Proofs of possession by DPoP.
    pub dpop: DpopConfig,
}

/// Every mistake of the section.
pub(super) fn mistakes(config: &IdentityConfig) -> Vec<String> {
    let mut found = Vec::new();
    let issuers = &config.issuers;
    for (what, distinct) in [
        ("name", issuers.iter().map(|issuer| issuer.name.as_str()).collect::<HashSet<_>>()),
        ("issuer", issuers.iter().map(|issuer| issuer.issuer.as_str()).collect()),
    ] {
        if distinct.len() < issuers.len() {
            found.push(format!("identity.issuers: two have the same {what}"));
        }
    }
    for issuer in issuers {
        let name = &issuer.name;
        found.extend(of_one(issuer).into_iter().map(|mistake| format!("identity.issuers: {name}: {mistake}")));
        if issuers.len() > 1 && issuer.claims.user_prefix.is_none() {
            found.push(format!(
                "identity.issuers: {name}: with several issuers each needs claims.user_prefix, since two people may have \
                 the same id; \"\" where the ids are the same people's"
            ));
        }
    }
    found
}

fn of_one(issuer: &IssuerConfig) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut must = |good: bool, mistake: &str| {
        if !good {
            found.push(mistake.to_owned());
        }
    };
    let address = issuer.issuer.parse::<Url>().ok();
    must(
        address.as_ref().is_some_and(|url| is_safe(url) && url.query().is_none()),
        "issuer must be an https address without query, exactly as in the claim iss; http on loopback only",
    );
    must(issuer.jwks_uri.as_ref().is_none_or(is_safe), "jwks_uri must be https; http on loopback only");
    must(!issuer.algorithms.is_empty(), "algorithms must name at least one");
    must(!issuer.tokens.is_empty(), "tokens must be id_token, access_token or both");
    must(issuer.clock_skew <= MOST_SKEW, "clock_skew must be at most 2m");
    must(AGES.contains(&issuer.max_age), "max_age must be 1m to 24h");
    must(issuer.keys_stale_for <= MOST_STALE, "keys_stale_for must be at most 72h");
    must(
        !issuer.clients.is_empty() || issuer.operators.is_some(),
        "clients must name those whose tokens are taken, unless only operators log in with it",
    );
    must(
        issuer.clients.iter().chain(&issuer.audiences).all(|id| !id.is_empty()),
        "clients and audiences are not empty",
    );
    let exchanged_access_tokens = !issuer.clients.is_empty() && issuer.tokens.contains(&AssertionKind::AccessToken);
    must(
        !exchanged_access_tokens || !issuer.audiences.is_empty(),
        "audiences must say what this gateway is called in access tokens, since tokens has access_token",
    );
    must(
        issuer.audiences.iter().all(|audience| !issuer.clients.contains(audience)),
        "clients and audiences must differ, so that an id_token is never taken for an access token",
    );
    must(
        issuer.claims.device_attested.is_none() || issuer.claims.device.is_some(),
        "claims.device_attested says nothing without claims.device",
    );
    if let Some(operators) = &issuer.operators {
        let others = issuer.clients.iter().chain(&issuer.audiences);
        must(
            !operators.audience.is_empty() && !others.into_iter().any(|id| *id == operators.audience),
            "operators.audience must be theirs alone: a token that is exchanged for an app must not open the admin listener",
        );
        let lists = [&operators.viewer, &operators.reviewer, &operators.provisioner, &operators.admin];
        must(lists.iter().any(|values| !values.is_empty()), "operators must give at least one value a role");
        must(
            lists.iter().all(|values| values.iter().all(|value| !value.is_empty())),
            "values of operators are not empty",
        );
    }
    found
}

fn is_safe(url: &Url) -> bool {
    crate::identity::oidc::is_safe(url)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn with(edit: impl Fn(&mut Value)) -> Vec<String> {
        let mut value = json!({ "issuers": [{
            "name": "corp", "issuer": "https://login.example", "environment": "live", "clients": ["page"],
            "operators": { "audience": "console", "claim": "groups", "admin": ["g-1"] },
        }] });
        edit(&mut value);
        mistakes(&serde_json::from_value(value).expect("a configuration"))
    }

    #[test]
    fn a_good_section_has_no_mistakes() {
        assert_eq!(with(|_| ()), Vec::<String>::new());
        assert_eq!(with(|value| value["issuers"] = json!([])), Vec::<String>::new());
        assert_eq!(with(|value| value["issuers"][0]["issuer"] = json!("http://127.0.0.1:4400")), Vec::<String>::new());
    }

    #[test]
    fn what_would_weaken_the_checks_is_a_mistake() {
        for (member, value, word) in [
            ("issuer", json!("http://login.example"), "https"),
            ("issuer", json!("https://login.example?tenant=a"), "query"),
            ("issuer", json!("login.example"), "https"),
            ("jwks_uri", json!("http://login.example/jwks"), "https"),
            ("algorithms", json!([]), "algorithms"),
            ("tokens", json!([]), "tokens"),
            ("clock_skew", json!("121s"), "clock_skew"),
            ("max_age", json!("25h"), "max_age"),
            ("keys_stale_for", json!("73h"), "keys_stale_for"),
            ("clients", json!([""]), "empty"),
            ("tokens", json!(["access_token"]), "audiences"),
            ("audiences", json!(["page"]), "differ"),
            ("audiences", json!(["console"]), "theirs alone"),
            ("clients", json!(["page", "console"]), "theirs alone"),
            ("claims", json!({ "device_attested": "ok" }), "device"),
            ("operators", json!({ "audience": "console", "claim": "groups" }), "a role"),
            ("operators", json!({ "audience": "console", "claim": "groups", "admin": [""] }), "not empty"),
        ] {
            let found = with(|config| config["issuers"][0][member] = value.clone());
            assert!(found.len() == 1 && found[0].contains(word), "{member} = {value}: {found:?}");
        }
        let nobody = with(|config| {
            config["issuers"][0]["clients"] = json!([]);
            config["issuers"][0]["operators"] = json!(null);
        });
        assert!(nobody.len() == 1 && nobody[0].contains("clients"), "{nobody:?}");
    }

    #[test]
    fn two_issuers_are_told_apart_and_so_are_their_people() {
        let twice = |edit: fn(&mut Value)| {
            with(move |config| {
                let mut second = config["issuers"][0].clone();
                second["name"] = json!("partner");
                second["issuer"] = json!("https://partner.example");
                second["claims"] = json!({ "user_prefix": "partner|" });
                config["issuers"][0]["claims"] = json!({ "user_prefix": "" });
                edit(&mut second);
                config["issuers"].as_array_mut().expect("a list").push(second);
            })
        };
        assert_eq!(twice(|_| ()), Vec::<String>::new());
        assert!(twice(|second| second["name"] = json!("corp"))[0].contains("same name"));
        assert!(twice(|second| second["issuer"] = json!("https://login.example"))[0].contains("same issuer"));
        assert!(twice(|second| second["claims"] = json!({}))[0].contains("user_prefix"));
    }
}
