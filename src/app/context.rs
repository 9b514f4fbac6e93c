//! What is known about a request besides who asks and what for.

use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;

use crate::domain::audit::{AuditAction, AuditEntry, Outcome};
use crate::domain::bytes::Sha256Digest;
use crate::domain::ids::ObjectId;
use crate::policy::Circumstances;

/// The circumstances of one request, as the audit trail records them.
#[derive(Clone, Debug)]
pub struct RequestContext {
    /// The request's id: the client's, where it sent a sound one, else ours.
    pub request_id: Arc<str>,
    /// The route's pattern; never the raw address.
    pub route: &'static str,
    /// The HTTP method, or `CLI`.
    pub method: &'static str,
    /// The client's address.
    pub source: Option<IpAddr>,
    /// The digest of the body, where there is one.
    pub body: Option<Sha256Digest>,
    /// The object that the request names, whether or not there is one and whosever it is.
    pub object: Option<ObjectId>,
    /// When the request arrived.
    pub started: Timestamp,
}

impl RequestContext {
    /// The circumstances of an act on the command line.
    pub fn command_line(request_id: String, started: Timestamp) -> Self {
        Self {
            request_id: request_id.into(),
            route: "cli",
            method: "CLI",
            source: None,
            body: None,
            object: None,
            started,
        }
    }

    /// When and from where it is asked, as the rules see it.
    pub fn circumstances(&self, now: Timestamp) -> Circumstances {
        Circumstances { now, source: self.source }
    }

    /// An audit entry with everything that the context knows.
    pub fn entry(&self, now: Timestamp, action: AuditAction, outcome: Outcome, status: u16) -> AuditEntry {
        let mut entry = AuditEntry::new(now, action, outcome);
        entry.route = Some(self.route.into());
        entry.method = Some(self.method.into());
        entry.status = Some(status);
        entry.duration_micros = u64::try_from(now.as_microsecond() - self.started.as_microsecond()).ok();
        entry.source_address = self.source;
        entry.request_id = Some(self.request_id.clone());
        entry.body_sha256 = self.body;
        entry.object_id = self.object;
        entry
    }
}
