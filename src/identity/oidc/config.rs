//! `[[identity.issuers]]`: who is trusted, for what, and how their claims are read.
//!
//! Nothing here can be set so that a symmetric algorithm, or none, is accepted: [`SigningAlgorithm`] has no name for them.

use std::time::Duration;

use jiff::fmt::serde::unsigned_duration::friendly::compact::required as human;
use serde::Deserialize;
use url::Url;

use super::assertion::AssertionKind;
use super::claims::{ClaimPath, ClaimsConfig};
use crate::domain::admin::AdminRole;
use crate::domain::ids::IssuerName;
use crate::domain::principal::Environment;

/// One trusted issuer.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssuerConfig {
    /// What it is called here: in manifests, in the audit trail, in operators' names.
    pub name: IssuerName,
    /// Its address, exactly as it stands in `iss`.
    pub issuer: String,
    /// Where its keys lie; found by OpenID Discovery where absent.
    #[serde(default)]
    pub jwks_uri: Option<Url>,
    /// Whether what it vouches for is real or for trying things out.
    pub environment: Environment,
    /// The ids of the clients whose tokens are taken in exchange: the audience of an id_token, `client_id` of an access token.
    #[serde(default)]
    pub clients: Vec<String>,
    /// What the gateway is called in the `aud` of access tokens: usually its own address.
    #[serde(default)]
    pub audiences: Vec<String>,
    /// Which kinds of token are taken.
    #[serde(default = "id_tokens")]
    pub tokens: Vec<AssertionKind>,
    /// The algorithms that it signs with.
    #[serde(default = "rs256")]
    pub algorithms: Vec<SigningAlgorithm>,
    /// How far its clock may be from ours.
    #[serde(default = "skew", with = "human")]
    pub clock_skew: Duration,
    /// How old a token may be, whatever its own end.
    #[serde(default = "half_a_day", with = "human")]
    pub max_age: Duration,
    /// How long keys that were read once are used while they cannot be read again.
    #[serde(default = "a_day", with = "human")]
    pub keys_stale_for: Duration,
    /// How claims become the attributes of a person.
    #[serde(default)]
    pub claims: ClaimsConfig,
    /// Whether operators log in with it, and who of them may do what.
    #[serde(default)]
    pub operators: Option<OperatorsConfig>,
}

fn id_tokens() -> Vec<AssertionKind> {
    vec![AssertionKind::IdToken]
}

/// The default of OpenID Connect (Registration, `id_token_signed_response_alg`).
fn rs256() -> Vec<SigningAlgorithm> {
    vec![SigningAlgorithm::RS256]
}

fn skew() -> Duration {
    Duration::from_secs(30)
}

fn half_a_day() -> Duration {
    Duration::from_secs(12 * 3600)
}

fn a_day() -> Duration {
    Duration::from_secs(24 * 3600)
}

/// Who of an issuer's people are operators.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperatorsConfig {
    /// The audience of their tokens: the id of the client that they log in with, or of the admin interface as a resource.
    /// Never one of [`IssuerConfig::clients`] or [`IssuerConfig::audiences`].
    pub audience: String,
    /// The claim that says what they are: one text or a list of them.
    pub claim: ClaimPath,
    /// Values of the claim that make a viewer.
    #[serde(default)]
    pub viewer: Vec<String>,
    /// Values that make a reviewer.
    #[serde(default)]
    pub reviewer: Vec<String>,
    /// Values that make a provisioner.
    #[serde(default)]
    pub provisioner: Vec<String>,
    /// Values that make an admin.
    #[serde(default)]
    pub admin: Vec<String>,
}

impl OperatorsConfig {
    /// The values of the claim that make this role.
    pub fn values(&self, role: AdminRole) -> &[String] {
        match role {
            AdminRole::Viewer => &self.viewer,
            AdminRole::Reviewer => &self.reviewer,
            AdminRole::Provisioner => &self.provisioner,
            AdminRole::Admin => &self.admin,
        }
    }
}

/// An algorithm that an issuer may sign with (RFC 7518, RFC 8037). Asymmetric ones only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[allow(missing_docs, reason = "the names are those of the registry")]
pub enum SigningAlgorithm {
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    /// With Ed25519 only.
    EdDSA,
}

impl SigningAlgorithm {
    /// Every algorithm.
    pub const ALL: [Self; 9] = [
        Self::RS256,
        Self::RS384,
        Self::RS512,
        Self::PS256,
        Self::PS384,
        Self::PS512,
        Self::ES256,
        Self::ES384,
        Self::EdDSA,
    ];

    /// The name in a header and a JWK.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RS256 => "RS256",
            Self::RS384 => "RS384",
            Self::RS512 => "RS512",
            Self::PS256 => "PS256",
            Self::PS384 => "PS384",
            Self::PS512 => "PS512",
            Self::ES256 => "ES256",
            Self::ES384 => "ES384",
            Self::EdDSA => "EdDSA",
        }
    }

    /// The algorithm of this name; case counts (RFC 7515 section 4.1.1).
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.as_str() == name)
    }

    pub(super) fn of_the_library(self) -> jsonwebtoken::Algorithm {
        use jsonwebtoken::Algorithm;
        match self {
            Self::RS256 => Algorithm::RS256,
            Self::RS384 => Algorithm::RS384,
            Self::RS512 => Algorithm::RS512,
            Self::PS256 => Algorithm::PS256,
            Self::PS384 => Algorithm::PS384,
            Self::PS512 => Algorithm::PS512,
            Self::ES256 => Algorithm::ES256,
            Self::ES384 => Algorithm::ES384,
            Self::EdDSA => Algorithm::EdDSA,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symmetric_algorithms_and_none_have_no_name() {
        for name in ["HS256", "HS384", "HS512", "none", "None", "nOnE", "", "rs256", "ES256K", "RSA1_5"] {
            assert_eq!(SigningAlgorithm::from_name(name), None, "{name}");
            assert!(serde_json::from_str::<SigningAlgorithm>(&format!("\"{name}\"")).is_err(), "{name}");
        }
        for algorithm in SigningAlgorithm::ALL {
            assert_eq!(SigningAlgorithm::from_name(algorithm.as_str()), Some(algorithm));
            assert_eq!(
                serde_json::from_str::<SigningAlgorithm>(&format!("\"{}\"", algorithm.as_str())).ok(),
                Some(algorithm)
            );
        }
    }

    #[test]
    fn an_issuer_needs_a_name_an_address_and_an_environment() {
        let least = serde_json::json!({ "name": "corp", "issuer": "https://login.example", "environment": "live" });
        let config: IssuerConfig = serde_json::from_value(least.clone()).expect("a configuration");
        assert_eq!((config.tokens, config.algorithms), (id_tokens(), rs256()));
        assert_eq!((config.clock_skew.as_secs(), config.max_age.as_secs()), (30, 43_200));
        for member in ["name", "issuer", "environment"] {
            let mut less = least.clone();
            less.as_object_mut().expect("an object").remove(member);
            assert!(serde_json::from_value::<IssuerConfig>(less).is_err(), "{member}");
        }
    }
}
