//! How a workflow comes by its token: somebody asks, somebody or a rule decides, and whoever has the claim link gets it.
//!
//! The token is made at the claim and kept nowhere: an approval that nobody claims has made nothing that could leak, and a
//! link is worth nothing once it was used, denied or forgotten. Each step commits with its audit entry, or not at all.

mod claim;
mod csv;
mod decide;
mod list;
mod request;
mod review;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret, SecretString};

use crate::clock::Clock;
use crate::domain::access::{AccessRequest, AskedAccess, Claim};
use crate::domain::audit::AuditEntry;
use crate::domain::bytes::Sha256Digest;
use crate::domain::refusal::{Reason, Refusal};

pub use claim::{Claimable, ClaimedToken};
pub use csv::review_csv;
pub use decide::AccessDecision;
pub use list::AccessPage;
pub use request::NewAccessRequest;
pub(super) use request::check_life;
pub use review::{AccessReview, Finding, ReviewQuery, ReviewedToken};

/// Who decides where a rule does.
pub(super) const RULES: &str = "access.toml";

/// A request as it stands, with the link where it was just approved.
pub struct Requested {
    /// The request.
    pub request: AccessRequest,
    /// How the token is claimed; told once.
    pub claim: Option<ClaimLink>,
}

/// The secret of a claim link: a credential until it was used. Its `Debug` shows nothing of it.
#[derive(Debug)]
pub struct ClaimLink {
    secret: SecretString,
    /// From when on it does not work any more.
    pub ends_at: Timestamp,
}

impl ClaimLink {
    /// A fresh link, and what is kept of it.
    fn generate(clock: &Clock, ends_at: Timestamp) -> (Self, Claim) {
        let secret = URL_SAFE_NO_PAD.encode(clock.random::<32>());
        let hash = Sha256Digest::of(secret.as_bytes());
        (Self { secret: secret.into(), ends_at }, Claim { hash, ends_at })
    }

    /// The secret, for the one who claims with it at once.
    pub fn secret(&self) -> &str {
        self.secret.expose_secret()
    }

    /// The whole address, for the one answer that shows it. `public_url` has no trailing `/`.
    pub fn address(&self, public_url: &str) -> String {
        format!("{public_url}/claim/{}", self.secret())
    }
}

/// A moment so long after another one; the last one there is where it would lie beyond.
pub(super) fn after(now: Timestamp, time: std::time::Duration) -> Timestamp {
    let time = SignedDuration::try_from(time).unwrap_or(SignedDuration::MAX);
    now.checked_add(time).unwrap_or(Timestamp::MAX)
}

/// Says in an entry which access it is about.
fn about(asked: &AskedAccess, mut entry: AuditEntry) -> AuditEntry {
    entry.app = Some(asked.app.clone());
    entry.workflow = Some(asked.workflow.clone());
    entry.owner = Some(asked.owner.clone());
    entry.scopes = asked.scopes.iter().map(ToString::to_string).collect();
    entry
}

fn no_request() -> Refusal {
    Refusal::new(Reason::NotFound, "There is no access request with this id.")
}

fn decided(request: &AccessRequest) -> Refusal {
    let detail = format!("The request is {} already; look at it with GET.", request.state.name().as_str());
    Refusal::new(Reason::AccessRequestDecided, detail)
}
