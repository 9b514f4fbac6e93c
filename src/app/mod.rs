//! The use cases: one verb per file, each atomic towards the outside.
//!
//! Every way in (HTTP, command line, workers) goes through these verbs, and every verb decides, records and only then
//! acts. Absent on purpose: HTTP, SQL, provider SDKs, and any way to sign without a grant.

mod access;
mod anonymous;
mod arrivals;
mod authenticate;
mod context;
mod exchange;
mod failure;
mod follow_link;
mod health;
mod introspect;
mod keys;
mod last_use;
mod lifecycle;
mod limits;
mod nodes;
mod objects;
mod operators;
mod oversight;
mod policy_diff;
mod quota_audit;
mod quotas;
mod request_download;
mod request_upload;
mod retention;
mod review;
mod revoke;
mod rotate;
mod targets;
mod throttled;
mod tokens;
mod view;

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use secrecy::SecretString;

use tokio::sync::Notify;

use crate::clock::Clock;
use crate::domain::job::JobKind;
use crate::identity::Authenticator;
use crate::identity::oidc::Issuers;
use crate::limits::Limiter;
use crate::policy::Policies;
use crate::store::Store;

pub use access::{
    AccessDecision, AccessPage, AccessReview, ClaimLink, Claimable, ClaimedToken, Finding, NewAccessRequest, Requested,
    ReviewQuery, ReviewedToken, review_csv,
};
pub use anonymous::AnonymousRefusals;
pub use arrivals::{Arrival, ArrivalError, Source};
pub use context::RequestContext;
pub use exchange::{ExchangeWish, IssuedToken, NotIssued, TokenType};
pub use health::{Dependency, Health, HealthBoard, ScannerFound, ScannerState};
pub use keys::RotatedKey;
pub use lifecycle::Change;
pub use limits::{Admission, LimitsNow, NotAdmitted, QuotaNow, Standing, Used};
pub use nodes::{Node, RegisteredApp};
pub use objects::ObjectPage;
pub use policy_diff::{Change as AnswerChange, DiffWindow, Example, NotReplayed, PolicyDiff, policy_diff};
pub use quota_audit::{BucketFinding, BucketReport, QuotaAudit, QuotaAuditQuery};
pub use request_download::{DownloadQuery, IssuedDownload, Which};
pub use request_upload::IssuedUpload;
pub use review::{ReviewAct, Reviewed};
pub use revoke::{Containing, Deed, Deeds, Holdings, NewRevocation, RevocationNow};
pub use rotate::{RotatedToken, Rotation};
pub use targets::{OpenTarget, Targets};
pub use throttled::LimitRefusals;
pub use tokens::{CreatedToken, NewToken};
pub use view::ObjectView;

/// Everything that a use case needs.
pub struct App {
    /// The durable state.
    pub store: Arc<dyn Store>,
    /// The policy set in force.
    pub policies: Arc<Policies>,
    /// The stores of the policy set's targets.
    pub targets: Arc<Targets>,
    /// Tokens to principals.
    pub authenticator: Authenticator,
    /// Whose word about people is taken.
    pub issuers: Issuers,
    /// Time and randomness.
    pub clock: Clock,
    /// What is known about the scanner; uploads are refused while it is away.
    pub scanner: Arc<ScannerState>,
    /// What is known about everything else that may be away.
    pub board: HealthBoard,
    /// Refusals of nobody in particular that are not yet written.
    pub anonymous: AnonymousRefusals,
    /// Counts the requests of workflows.
    pub limiter: Limiter,
    /// Refusals by limits that are not yet written.
    pub throttled: LimitRefusals,
    /// Tells the workers that there is something to do.
    pub work: Work,
    /// The few numbers that operators set.
    pub settings: Settings,
}

/// Wakes the lanes of workers; a hint only, they also look by themselves.
#[derive(Debug, Default)]
pub struct Work {
    inspection: Notify,
    storage: Notify,
    containment: Notify,
}

impl Work {
    /// The bell of the lane that does this kind of job.
    pub fn bell(&self, kind: JobKind) -> &Notify {
        match kind {
            JobKind::Inspect => &self.inspection,
            JobKind::Promote | JobKind::RemoveStaged | JobKind::Purge => &self.storage,
        }
    }

    /// The bell of whoever contains what was uploaded under a revocation.
    pub fn containment(&self) -> &Notify {
        &self.containment
    }
}

/// The few numbers that operators set.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where clients reach the public listener, without a trailing `/`; one-time links start with it.
    pub public_url: String,
    /// Longest life of the provider URL behind a one-time link.
    pub redirect_ttl: Duration,
    /// How the access tokens look that are made for others.
    pub access_tokens: crate::identity::access_token::AccessTokens,
    /// What Event Grid's deliveries carry, until a key is rotated for the first time.
    pub event_grid_key: Option<SecretString>,
    /// How long after an upload URL's expiry bytes may still arrive: a PUT that began in time may end later.
    pub expiry_grace: Duration,
}

/// The slowest client that is waited for, in bytes a second: 2 Mbit/s.
const SLOWEST: u64 = 256 * 1024;

impl Settings {
    /// How long after its URL's expiry an upload of this size may still be on its way: storages look at the expiry when a
    /// request begins, and a large file over a slow line ends much later.
    pub fn grace_for(&self, size: u64) -> SignedDuration {
        let grace = self.expiry_grace.saturating_add(Duration::from_secs(size / SLOWEST));
        SignedDuration::try_from(grace).unwrap_or(SignedDuration::ZERO)
    }
}
