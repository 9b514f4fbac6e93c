//! A workflow asks to download one object.
//!
//! Only what is visible; decided, then recorded together with the revision that was decided on, then signed. An object
//! that was quarantined or deleted in between makes the record fail, and the decision is taken again.

use std::sync::LazyLock;
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use metrics::Counter;

use crate::domain::audit::{AuditAction, Outcome};
use crate::domain::bytes::{Sha256Digest, StoredBytes};
use crate::domain::filename::Filename;
use crate::domain::grant::{DownloadGrant, DownloadPermit};
use crate::domain::ids::{GrantId, ObjectId};
use crate::domain::life::{Life, State};
use crate::domain::media::MediaType;
use crate::domain::object::Object;
use crate::domain::principal::Principal;
use crate::domain::refusal::{Reason, Refusal};
use crate::policy::{self, DownloadRequest};
use crate::store::{DownloadCharge, DownloadOutcome, IssueDownload, NewLink};

use super::failure::Refused;
use super::{Admission, App, RequestContext, quotas};

/// Which object, and how.
#[derive(Clone, Debug)]
pub struct DownloadQuery {
    /// By id or by served path.
    pub which: Which,
    /// How a browser should treat it, and whether the link must work only once.
    pub request: DownloadRequest,
}

/// An object by id or by served path.
#[derive(Clone, Debug)]
pub enum Which {
    /// By id.
    Id(ObjectId),
    /// By its served path.
    Path(String),
}

impl Which {
    /// The id, where the request named one.
    pub fn id(&self) -> Option<ObjectId> {
        match self {
            Which::Id(id) => Some(*id),
            Which::Path(_) => None,
        }
    }
}

/// What the client needs to download.
pub struct IssuedDownload {
    /// The provider's URL or a one-time link of the gateway; a credential.
    pub url: crate::storage::SignedUrl,
    /// When it stops working.
    pub expires_at: Timestamp,
    /// The object's file name.
    pub filename: Filename,
    /// The verified type.
    pub content_type: MediaType,
    /// Length in bytes.
    pub size: u64,
    /// The digest that inspection computed.
    pub sha256: Option<Sha256Digest>,
}

/// Looked up once, for the sake of every request.
static ISSUED: LazyLock<Counter> = LazyLock::new(|| metrics::counter!("vestibule_issued_total", "kind" => "download"));

/// How often a decision is taken again because the object changed while it was recorded.
const ATTEMPTS: usize = 3;

impl App {
    /// Issues a download URL.
    ///
    /// # Errors
    /// The refusal, recorded. An object of another app or environment does not exist for the asker.
    pub async fn request_download(
        &self,
        context: &RequestContext,
        who: &Principal,
        _: Admission,
        query: Result<DownloadQuery, Refusal>,
    ) -> Result<IssuedDownload, Refusal> {
        let mut seen = None;
        let asked = query.as_ref().ok().map(|query| query.request);
        match self.try_request_download(context, who, query, &mut seen).await {
            Ok(issued) => {
                ISSUED.increment(1);
                Ok(issued)
            }
            Err(refusal) => {
                let who = Refused::Principal(who);
                let asked = (seen.as_ref(), asked.map(|asked| asked.asked_for().unwrap_or_default()));
                Err(self.refuse_request(context, who, AuditAction::RequestDownload, asked, refusal).await)
            }
        }
    }

    async fn try_request_download(
        &self,
        context: &RequestContext,
        who: &Principal,
        query: Result<DownloadQuery, Refusal>,
        seen: &mut Option<Object>,
    ) -> Result<IssuedDownload, Refusal> {
        let begun = Instant::now();
        let query = query?;
        for _ in 0..ATTEMPTS {
            let object = self.find_own(who, &query.which).await?;
            let object = seen.insert(object);
            let now = self.clock.now();
            let circumstances = context.circumstances(now);
            let policies = self.policies.current();
            let permit = policy::decide_download(&policies, who, object, &query.request, &circumstances)?;
            let served = visible_bytes(object)?;
            let grant = download_grant(GrantId::from_uuid(self.clock.uuid()), object, served, &permit, now);

            let (secret, link) =
                if permit.one_time { self.new_link(who, &grant, query.request.lawful_basis) } else { (None, None) };
            let mut audit = context
                .entry(now, AuditAction::RequestDownload, Outcome::Allowed, 200)
                .by_principal(who)
                .about_object(object);
            audit.rule = Some(permit.rule.clone());
            audit.lawful_basis = permit.lawful_basis.clone();
            audit.grant_id = Some(grant.id);
            audit.request = query.request.asked_for().map(Box::new);
            let charge = DownloadCharge {
                app: object.app.clone(),
                owner: permit.owner.clone(),
                bytes: grant.bytes.size,
                at: now,
                quota: permit.quota,
            };
            let revision = object.revision;
            let issue = IssueDownload { grant: grant.id, object: object.id, revision, charge, link, audit };
            match self.store.issue_download(issue).await? {
                DownloadOutcome::Issued => {}
                DownloadOutcome::Changed => continue,
                DownloadOutcome::QuotaMet(met) => {
                    return Err(quotas::refusal(&policies, &object.app, &permit.owner, &met, grant.bytes.size, now));
                }
            }
            self.still_holds_since(begun, who).await?;
            let (url, expires_at) = match secret {
                Some(secret) => {
                    let url = format!("{}/d/{secret}", self.settings.public_url);
                    (crate::storage::SignedUrl::new(url), grant.expires_at)
                }
                None => {
                    let minted = self.target_store(&object.target)?.mint_download(&grant)?;
                    (minted.url, minted.expires_at)
                }
            };
            return Ok(IssuedDownload {
                url,
                expires_at,
                filename: object.filename.clone(),
                content_type: grant.content_type,
                size: grant.bytes.size,
                sha256: object.life.verdict().map(|verdict| verdict.sha256),
            });
        }
        Err(Refusal::new(Reason::ObjectBusy, "The object is changing. Try again shortly.").retry_after(1))
    }

    fn new_link(
        &self,
        who: &Principal,
        grant: &DownloadGrant,
        lawful_basis: Option<&str>,
    ) -> (Option<String>, Option<NewLink>) {
        let secret = URL_SAFE_NO_PAD.encode(self.clock.random::<32>());
        let link = NewLink {
            hash: Sha256Digest::of(secret.as_bytes()).0,
            token: who.token.clone(),
            disposition: grant.disposition,
            lawful_basis: lawful_basis.map(str::to_owned),
            expires_at: grant.expires_at,
        };
        (Some(secret), Some(link))
    }

    /// The asker's own object; what belongs to another app or environment does not exist.
    pub(super) async fn find_own(&self, who: &Principal, which: &Which) -> Result<Object, Refusal> {
        let found = match which {
            Which::Id(id) => self.store.object(*id).await?,
            Which::Path(path) => self.store.object_at(&who.app, path).await?,
        };
        found.filter(|object| object.app == who.app && object.environment == who.environment).ok_or_else(not_found)
    }
}

pub(super) fn not_found() -> Refusal {
    Refusal::new(
        Reason::ObjectNotFound,
        "The app has no such object. Use the objectId from the answer of request-upload, or the path from its status.",
    )
}

/// The grant to read an object's served bytes.
pub(super) fn download_grant(
    id: GrantId,
    object: &Object,
    served: StoredBytes,
    permit: &DownloadPermit,
    now: Timestamp,
) -> DownloadGrant {
    DownloadGrant {
        id,
        object: object.id,
        key: object.keys.served.clone(),
        bytes: served,
        disposition: permit.disposition,
        filename: object.filename.clone(),
        content_type: object.content_type.clone(),
        issued_at: now,
        expires_at: whole_seconds(now) + SignedDuration::try_from(permit.ttl).unwrap_or(SignedDuration::ZERO),
    }
}

/// Providers know no smaller unit, and a link should promise no more than a URL.
fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

/// The bytes of a visible object, or why there are none to read.
pub(super) fn visible_bytes(object: &Object) -> Result<StoredBytes, Refusal> {
    let refuse = |reason, detail: &str| Err(Refusal::new(reason, detail));
    match &object.life {
        Life::Visible { served, .. } => Ok(served.clone()),
        Life::Issued => refuse(
            Reason::ObjectNotVisible,
            "Nothing has been uploaded yet. Send the file to the uploadUrl first, then ask the statusUrl until the state \
             is visible.",
        ),
        Life::Uploaded { .. } | Life::Scanning { .. } | Life::Promoting { .. } => Err(Refusal::new(
            Reason::ObjectNotVisible,
            format!(
                "The file is {} and has not been cleared yet. Ask the statusUrl until the state is visible.",
                if object.life.state() == State::Uploaded { "waiting for its scan" } else { "being scanned" }
            ),
        )
        .retry_after(2)),
        Life::Quarantined { .. } => refuse(
            Reason::ObjectHeld,
            "Malware was found in the file, and it is held for review. Ask your platform team.",
        ),
        Life::Contained { .. } => refuse(
            Reason::ObjectHeld,
            "Whoever uploaded the file was revoked, and the file is held for review. Ask your platform team.",
        ),
        Life::Unscannable { .. } => refuse(
            Reason::ObjectHeld,
            "The file could not be judged, and it is held for review. Ask your platform team.",
        ),
        Life::Rejected { detail, .. } => {
            Err(Refusal::new(Reason::ObjectGone, format!("The upload was rejected: {detail}")))
        }
        Life::Expired => {
            refuse(Reason::ObjectGone, "Nothing was uploaded before the URL expired. Request a new upload.")
        }
        Life::Deleted { .. } => refuse(Reason::ObjectGone, "The object was deleted."),
    }
}
