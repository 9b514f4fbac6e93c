//! What a trusted issuer says about a person, after every check; and why it is not believed.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::admin::AdminRoles;
use crate::domain::ids::IssuerName;
use crate::domain::principal::{Environment, Subject};
use crate::domain::refusal::{Reason, Refusal};

/// Which kind of token a trusted issuer signed. The two are never taken for each other (RFC 8725 section 3.12).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AssertionKind {
    /// An id_token: somebody logged in to a client.
    IdToken,
    /// A JWT access token (`at+jwt`): a client may act for somebody at a resource.
    AccessToken,
}

impl AssertionKind {
    /// The name in the configuration, and the last part of RFC 8693's token type.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::IdToken => "id_token",
            Self::AccessToken => "access_token",
        }
    }
}

/// What an issuer's token is presented for. A token that is good for one is not good for the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// To be exchanged; the kind that the caller says it is, where the caller says.
    Exchange(Option<AssertionKind>),
    /// By an operator, at the admin listener.
    Operate,
}

/// A checked token of a trusted issuer. Holds nothing of the token that could be presented again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assertion {
    /// Who says it.
    pub issuer: IssuerName,
    /// The person's id at the issuer (`sub`), as it stands in the token.
    pub sub: String,
    /// The person and the device, after the issuer's mapping.
    pub subject: Subject,
    /// The client that the token was given to: `azp` or the audience of an id_token, `client_id` of an access token.
    pub client: Option<String>,
    /// Whom it is meant for (`aud`).
    pub audiences: Vec<String>,
    /// When it ends (`exp`).
    pub expires_at: Timestamp,
    /// When it was made (`iat`).
    pub issued_at: Timestamp,
    /// Which kind of token it was.
    pub kind: AssertionKind,
    /// Whether the issuer is for real or for trying things out.
    pub environment: Environment,
    /// The key that the sender must prove to hold (`cnf.jkt`, RFC 9449): base64url of a SHA-256.
    pub cnf_jkt: Option<String>,
    /// What the person is to the gateway; empty unless asked for with [`Use::Operate`].
    pub roles: AdminRoles,
}

impl Assertion {
    /// The name under which an operator acts: `<issuer>:<sub>`. Names of issuers hold no colon, so that it is one person's.
    pub fn operator_name(&self) -> String {
        format!("{}:{}", self.issuer, self.sub)
    }
}

/// What is wrong with a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// Not three parts of base64url, too long, or not JSON with unique names.
    #[error("it is not a signed JWT")]
    Malformed,
    /// A header that must be understood, or that says where to take the key from.
    #[error("its header has a member that is not accepted (crit, jwk, jku, x5u, x5c, b64 or zip)")]
    Header,
    /// Neither an id_token's type nor `at+jwt`, or a claim that no id_token has.
    #[error("it is neither an id_token, by its typ and its claims, nor an access token of the type at+jwt")]
    Type,
    /// A good kind, but not of this issuer or not here.
    #[error("an {} of this issuer is not accepted here", .0.as_str())]
    Kind(AssertionKind),
    /// Not pinned for the issuer, or not one of the key.
    #[error("its algorithm is not one that is accepted of its issuer")]
    Algorithm,
    /// Nobody who is configured.
    #[error("its issuer is not trusted")]
    Issuer,
    /// No key of the issuer has its id.
    #[error("it is signed with a key that its issuer does not publish")]
    Key,
    /// The signature does not fit.
    #[error("its signature is wrong")]
    Signature,
    /// For somebody else.
    #[error("it is meant for another audience")]
    Audience,
    /// Given to a client that is not accepted.
    #[error("it was given to a client that is not accepted")]
    Client,
    /// Past its end.
    #[error("it has expired")]
    Expired,
    /// From the future: `iat` or `nbf`.
    #[error("it is not valid yet")]
    NotYet,
    /// Made too long ago.
    #[error("it was made too long ago")]
    TooOld,
    /// A claim that is missing, of the wrong type, or that cannot be kept.
    #[error("its {0} is missing or cannot be used")]
    Claim(&'static str),
    /// Bound to something that cannot be checked.
    #[error("it is bound to a key in a way that is not accepted")]
    Confirmation,
    /// A client's own token, without a person.
    #[error("it speaks for a client and for no person")]
    NoPerson,
}

/// Why an issuer's token was not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AssertionError {
    /// There is something wrong with it.
    #[error("the token of the identity provider is not accepted: {0}")]
    Refused(#[from] Flaw),
    /// The issuer's keys are away, and have been for too long.
    #[error("the keys of the identity provider {issuer} cannot be had")]
    Unavailable {
        /// Whose.
        issuer: IssuerName,
        /// Seconds until they are asked for again.
        retry_after: u32,
    },
}

impl From<AssertionError> for Refusal {
    fn from(error: AssertionError) -> Self {
        let reason = match &error {
            AssertionError::Refused(Flaw::Expired | Flaw::TooOld) => Reason::AssertionExpired,
            AssertionError::Refused(_) => Reason::AssertionInvalid,
            AssertionError::Unavailable { .. } => Reason::IdentityProviderUnavailable,
        };
        let text = error.to_string();
        let mut letters = text.chars();
        let first = letters.next().map(|letter| letter.to_ascii_uppercase()).into_iter();
        let detail = format!("{}; {}.", first.chain(letters).collect::<String>(), reason.remedy());
        let refusal = Refusal::new(reason, detail);
        match error {
            AssertionError::Refused(_) => refusal,
            AssertionError::Unavailable { retry_after, .. } => refusal.retry_after(retry_after),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_has_its_row_of_the_table() {
        let refusal = |error: AssertionError| Refusal::from(error);
        let expired = refusal(Flaw::Expired.into());
        assert_eq!((expired.reason.code(), expired.reason.status()), ("assertion_expired", 401));
        assert!(expired.detail.starts_with("The token of the identity provider is not accepted: it has expired; "));
        assert_eq!(refusal(Flaw::Signature.into()).reason.code(), "assertion_invalid");
        let away = refusal(AssertionError::Unavailable { issuer: "corp".parse().expect("a name"), retry_after: 7 });
        assert_eq!((away.reason.status(), away.retry_after), (503, Some(7)));
    }
}
