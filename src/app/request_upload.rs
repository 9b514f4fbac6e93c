//! A workflow asks to upload one object.
//!
//! Decide, sign, record (object, grant, quota and audit entry in one commit), answer: no URL leaves the process without a
//! durable record (P3), and nothing is recorded that could not be signed.

use std::sync::{Arc, LazyLock};
use std::time::Instant;

use jiff::{SignedDuration, Timestamp};
use metrics::Counter;

use crate::domain::asked::AskedFor;
use crate::domain::audit::{AuditAction, Outcome};
use crate::domain::grant::{UploadGrant, UploadMethod, UploadPermit};
use crate::domain::ids::{GrantId, ObjectId, TargetName};
use crate::domain::key::{ObjectKeys, Prefix};
use crate::domain::life::Life;
use crate::domain::object::Object;
use crate::domain::principal::Principal;
use crate::domain::refusal::{Reason, Refusal};
use crate::domain::target::Target;
use crate::policy::{self, Circumstances, UploadRequest};
use crate::storage::{MintedUpload, ObjectStore, Provider};
use crate::store::{Idempotency, IssueOutcome, IssueUpload};

use super::failure::Refused;
use super::{Admission, App, RequestContext, quotas};

/// How often a decision is taken again because policies and targets were just being replaced.
const ATTEMPTS: usize = 100;

/// Looked up once, for the sake of every request.
static ISSUED: LazyLock<Counter> = LazyLock::new(|| metrics::counter!("vestibule_issued_total", "kind" => "upload"));

/// What the client needs to upload.
#[derive(Debug)]
pub struct IssuedUpload {
    /// The object that the bytes will become.
    pub object: ObjectId,
    /// The URL with its headers or fields.
    pub upload: MintedUpload,
    /// PUT or POST.
    pub method: UploadMethod,
}

impl App {
    /// Issues an upload URL. `request` is what the edge could parse, or why it could not: both are recorded.
    ///
    /// # Errors
    /// The refusal, recorded.
    pub async fn request_upload(
        &self,
        context: &RequestContext,
        who: &Principal,
        _: Admission,
        request: Result<UploadRequest, Refusal>,
        idempotency: Option<Idempotency>,
    ) -> Result<IssuedUpload, Refusal> {
        let mut asked = Asked::Nothing;
        match self.try_request_upload(context, who, request, idempotency, &mut asked).await {
            Ok(issued) => {
                ISSUED.increment(1);
                Ok(issued)
            }
            Err(refusal) => {
                let who = Refused::Principal(who);
                let asked = asked.recorded();
                Err(self.refuse_request(context, who, AuditAction::RequestUpload, (None, asked), refusal).await)
            }
        }
    }

    async fn try_request_upload(
        &self,
        context: &RequestContext,
        who: &Principal,
        request: Result<UploadRequest, Refusal>,
        idempotency: Option<Idempotency>,
        asked: &mut Asked,
    ) -> Result<IssuedUpload, Refusal> {
        let begun = Instant::now();
        let request = request?;
        if !self.scanner.is_available() {
            *asked = Asked::Undecided(request.asked_for());
            return Err(Refusal::new(
                Reason::ScannerUnavailable,
                "Uploads cannot be scanned at the moment, so none are accepted. Try again shortly.",
            )
            .retry_after(10));
        }
        let now = self.clock.now();
        let (permit, store) = self
            .decide_upload(who, &request, &context.circumstances(now))
            .inspect_err(|_| *asked = Asked::Undecided(request.asked_for()))?;
        let (quota, rule, prefix) = (permit.quota, permit.rule.clone(), permit.prefix.clone());
        let object = Arc::new(self.new_object(who, request, permit, now)?);
        *asked = Asked::Decided(Arc::clone(&object));
        let upload = store.mint_upload(&grant(&object))?;

        let mut audit = context
            .entry(now, AuditAction::RequestUpload, Outcome::Allowed, 201)
            .by_principal(who)
            .about_object(&object);
        audit.rule = Some(rule);
        audit.grant_id = Some(object.grant);
        let issue = IssueUpload { object: Arc::clone(&object), quota, idempotency, audit };
        let issued = match self.store.issue_upload(issue).await? {
            IssueOutcome::Issued => IssuedUpload { object: object.id, upload, method: object.method },
            IssueOutcome::Repeated(earlier) => {
                let earlier = repeatable(*earlier, &object, &prefix, now)?;
                let upload = store.mint_upload(&grant(&earlier))?;
                IssuedUpload { object: earlier.id, upload, method: earlier.method }
            }
            IssueOutcome::KeyReused => {
                return Err(Refusal::new(
                    Reason::IdempotencyKeyReused,
                    "This Idempotency-Key was already sent with another body. Use a new key for a new request.",
                ));
            }
            IssueOutcome::QuotaMet(met) => {
                let policies = self.policies.current();
                return Err(quotas::refusal(&policies, &object.app, &object.owner, &met, object.size, now));
            }
        };
        crate::fault::point("upload.committed").await;
        self.still_holds_since(begun, who).await?;
        Ok(issued)
    }

    fn new_object(
        &self,
        who: &Principal,
        request: UploadRequest,
        permit: UploadPermit,
        now: Timestamp,
    ) -> Result<Object, Refusal> {
        let id = ObjectId::from_uuid(self.clock.uuid());
        let keys = ObjectKeys::new(&permit.staging, &permit.prefix, id, &request.filename)
            .map_err(|error| Refusal::new(Reason::InvalidPath, format!("The path is too long: {error}.")))?;
        Ok(Object {
            id,
            grant: GrantId::from_uuid(self.clock.uuid()),
            app: who.app.clone(),
            workflow: who.workflow.clone(),
            token: who.token.clone(),
            owner: permit.owner,
            environment: who.environment,
            user: who.user().map(str::to_owned),
            target: permit.target,
            keys,
            filename: request.filename,
            original_filename: request.original_filename,
            content_type: request.content_type,
            size: request.size,
            sha256: request.sha256,
            method: request.method,
            classification: permit.classification,
            lawful_basis: request.lawful_basis,
            residency: permit.residency,
            metadata: request.metadata,
            created_at: now,
            upload_expires_at: now + SignedDuration::try_from(permit.ttl).unwrap_or(SignedDuration::ZERO),
            updated_at: now,
            revision: 0,
            life: Life::Issued,
        })
    }

    /// Decides, and finds the store of the target as the decision saw it. Where a reload came between the two, the decision
    /// is taken again by the new set: nobody is refused because policies were reloaded, and nothing is signed that the set
    /// in force did not decide on.
    fn decide_upload(
        &self,
        who: &Principal,
        request: &UploadRequest,
        circumstances: &Circumstances,
    ) -> Result<(UploadPermit, Arc<dyn ObjectStore>), Refusal> {
        let methods = |target: &Target| Provider::of(target).methods();
        for _ in 0..ATTEMPTS {
            let set = self.policies.current();
            let permit = policy::decide_upload(&set, who, request, methods, circumstances)?;
            match self.targets.open(&permit.target) {
                Some(open) if set.target(&permit.target) == Some(&open.target) => return Ok((permit, open.store)),
                // The one who replaces them is between two stores to memory: let it run.
                _ => std::thread::yield_now(),
            }
        }
        Err(Refusal::new(Reason::Overloaded, "The policies are being reloaded. Try again shortly.").retry_after(1))
    }

    /// The store of an object that exists already.
    pub(super) fn target_store(&self, name: &TargetName) -> Result<Arc<dyn ObjectStore>, Refusal> {
        self.targets.store(name).ok_or_else(|| {
            Refusal::new(Reason::StorageUnavailable, format!("The target {name} is not configured any more."))
        })
    }
}

/// What was asked for, for the record of a refusal; nothing is copied where there is none.
enum Asked {
    /// What could not be read.
    Nothing,
    /// What the rules refused.
    Undecided(AskedFor),
    /// What the rules allowed, and something else refused.
    Decided(Arc<Object>),
}

impl Asked {
    fn recorded(self) -> Option<AskedFor> {
        match self {
            Asked::Nothing => None,
            Asked::Undecided(asked) => Some(asked),
            Asked::Decided(object) => Some(policy::asked_for(&object)),
        }
    }
}

fn grant(object: &Object) -> UploadGrant {
    UploadGrant {
        id: object.grant,
        object: object.id,
        key: object.keys.staging.clone(),
        method: object.method,
        size: object.size,
        content_type: object.content_type.clone(),
        sha256: object.sha256,
        issued_at: object.created_at,
        expires_at: object.upload_expires_at,
    }
}

/// The same request once more gets the same object, as long as its URL can still be used and today's decision is the
/// same: no other environment, target, class or owner may come in through an old key.
fn repeatable(earlier: Object, decided: &Object, prefix: &Prefix, now: Timestamp) -> Result<Object, Refusal> {
    let same = earlier.environment == decided.environment
        && earlier.target == decided.target
        && (&earlier.classification, &earlier.residency, &earlier.owner)
            == (&decided.classification, &decided.residency, &decided.owner)
        && prefix.contains_path(earlier.keys.served.path());
    if !same {
        return Err(Refusal::new(
            Reason::IdempotencyKeyReused,
            "This Idempotency-Key stands for an upload to another place. Use a new key.",
        ));
    }
    if earlier.awaits_upload(now) {
        return Ok(earlier);
    }
    Err(Refusal::new(
        Reason::IdempotencyKeySpent,
        format!(
            "This Idempotency-Key stands for {}, which is {} by now. Look at its status, or use a new key to upload again.",
            earlier.id,
            earlier.life.state().as_str()
        ),
    ))
}
