//! Somebody follows a one-time link.
//!
//! Everything that could have changed since the link was issued is looked at again: the token, the app, the object (P7).
//! Then the link is used up, the object compared with what was decided on, and the use recorded, all in one commit: two
//! followers can never both pass, and a link that is not followed to its end is not spent.

use std::sync::Arc;
use std::time::Duration;

use crate::domain::audit::{AuditAction, Outcome};
use crate::domain::bytes::Sha256Digest;
use crate::domain::grant::DownloadPermit;
use crate::domain::object::Object;
use crate::domain::principal::Principal;
use crate::domain::refusal::{Reason, Refusal};
use crate::policy::{self, DownloadRequest};
use crate::storage::MintedDownload;
use crate::store::UseLink;

use super::failure::Refused;
use super::request_download::{download_grant, visible_bytes};
use super::{App, RequestContext};

impl App {
    /// Exchanges a link for a provider URL of at most a minute.
    ///
    /// # Errors
    /// The refusal, recorded. Whatever is wrong with a link, the answer is the same 404.
    pub async fn follow_link(&self, context: &RequestContext, secret: &str) -> Result<MintedDownload, Refusal> {
        let mut who = None;
        let mut object = None;
        match self.try_follow_link(context, secret, &mut who, &mut object).await {
            Ok(minted) => {
                metrics::counter!("vestibule_issued_total", "kind" => "redirect").increment(1);
                Ok(minted)
            }
            Err(refusal) => {
                let who = who.as_deref().map_or(Refused::Nobody, Refused::Principal);
                Err(self.refuse(context, who, AuditAction::FollowLink, object.as_ref(), refusal).await)
            }
        }
    }

    async fn try_follow_link(
        &self,
        context: &RequestContext,
        secret: &str,
        who: &mut Option<Arc<Principal>>,
        seen: &mut Option<Object>,
    ) -> Result<MintedDownload, Refusal> {
        let hash = Sha256Digest::of(secret.as_bytes()).0;
        let now = self.clock.now();
        let link = self.store.link(hash, now).await?.ok_or_else(dead_link)?;
        let principal = self.authenticator.holder_in_force(&link.token).await?.ok_or_else(dead_link)?;
        let principal = who.insert(principal);
        let object = self.store.object(link.object).await?.ok_or_else(dead_link)?;
        let object = seen.insert(object);

        let lawful_basis = link.lawful_basis.as_deref().and_then(policy::known_basis);
        let disposition = Some(link.disposition);
        let request = DownloadRequest { disposition, one_time: true, lawful_basis };
        let circumstances = context.circumstances(now);
        let permit = policy::decide_download(&self.policies.current(), principal, object, &request, &circumstances)
            .map_err(|_| dead_link())?;
        let served = visible_bytes(object).map_err(|_| dead_link())?;
        let permit =
            DownloadPermit { ttl: permit.ttl.min(self.settings.redirect_ttl).min(Duration::from_secs(60)), ..permit };
        let grant = download_grant(link.grant, object, served, &permit, now);

        let mut audit = context
            .entry(now, AuditAction::FollowLink, Outcome::Allowed, 302)
            .by_principal(principal)
            .about_object(object);
        audit.rule = Some(permit.rule.clone());
        audit.lawful_basis = permit.lawful_basis;
        audit.grant_id = Some(grant.id);
        let used = UseLink { hash, now, object: object.id, revision: object.revision, audit };
        if !self.store.use_link(used).await? {
            return Err(dead_link());
        }
        Ok(self.target_store(&object.target)?.mint_download(&grant)?)
    }
}

fn dead_link() -> Refusal {
    Refusal::new(
        Reason::LinkInvalid,
        "The link is unknown, was used already, or has ended. Request the download again.",
    )
}
