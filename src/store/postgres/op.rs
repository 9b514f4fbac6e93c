//! What can be asked of a committer, as plain data: an operation may be run more than once before one run is committed.

use std::sync::Arc;

use jiff::Timestamp;
use uuid::Uuid;

use super::access::AccessOp;
use super::gateway::GatewayOp;
use super::numbers;
use super::partitions::Month;
use crate::domain::audit::AuditEntry;
use crate::domain::ids::{RevocationId, TokenId};
use crate::domain::job::LeasedJob;
use crate::domain::object::Object;
use crate::domain::quota::QuotaLimits;
use crate::store::values::audit_text;
use crate::store::{
    Advance, AdvanceOutcome, ClaimJobs, ClaimOutcome, CreateOutcome, DeadLetter, DownloadOutcome, Holder, Idempotency,
    IssueDownload, IssueOutcome, Lifted, ReleaseApproval, Revoke, Revoked, RotateOutcome, RotateToken, StoreError,
    TokenRecord, UsageRow, UseLink,
};

/// An audit entry with its text, encoded before it is queued: not on the committers' threads.
#[derive(Clone)]
pub(super) struct Line {
    pub(super) entry: AuditEntry,
    pub(super) json: String,
}

impl Line {
    pub(super) fn encode(entry: AuditEntry) -> Result<Self, StoreError> {
        let json = audit_text(&entry)?;
        Ok(Self { entry, json })
    }
}

/// A new upload.
pub(super) struct Upload {
    pub(super) object: Arc<Object>,
    pub(super) quota: QuotaLimits,
    pub(super) idempotency: Option<Idempotency>,
    pub(super) line: Line,
    /// Who is charged.
    pub(super) holders: [Holder; 2],
}

/// A new download.
pub(super) struct Download {
    pub(super) issue: IssueDownload,
    pub(super) line: Line,
    /// Who is charged.
    pub(super) holders: [Holder; 2],
}

/// A write. See the method of [`crate::store::Store`] with the same name.
pub(super) enum Op {
    IssueUpload(Box<Upload>),
    IssueDownload(Box<Download>),
    Audit(Line),
    UseLink(Box<UseLink>, Line),
    Advance(Box<Advance>, Vec<Line>),
    ClaimJobs(ClaimJobs),
    ExtendLease(LeasedJob, Timestamp),
    RetryJob(LeasedJob, Timestamp, String),
    FinishJob(LeasedJob),
    CreateToken(Box<TokenRecord>, Line),
    RotateToken(Box<RotateToken>, Line),
    TokensUsed(Vec<(TokenId, Timestamp)>),
    Revoke(Box<Revoke>, Line),
    LiftRevocation(RevocationId, Lifted, Line),
    Contained(RevocationId, Timestamp, Line),
    DeadLetter(DeadLetter),
    Probe,
    SettingOrInsert(String, Vec<u8>),
    RepairUsage(Vec<UsageRow>, Vec<Line>),
    Gateway(GatewayOp),
    Access(AccessOp),
    Prune(Timestamp),
    PruneDeadLetters(Timestamp),
}

/// How an operation ended.
pub(super) enum Done {
    Issued(IssueOutcome),
    Downloaded(DownloadOutcome),
    Advanced(AdvanceOutcome),
    Created(CreateOutcome),
    Rotated(RotateOutcome),
    Revoked(Revoked),
    Jobs(Vec<LeasedJob>),
    Flag(bool),
    Count(u64),
    Value(Vec<u8>),
    Approvals(Vec<ReleaseApproval>),
    Claimed(ClaimOutcome),
    Nothing,
}

impl Op {
    /// Whether it is written together with others of its kind, in statements of many rows.
    pub(super) fn is_shared(&self) -> bool {
        matches!(self, Op::IssueUpload(_) | Op::IssueDownload(_) | Op::Audit(_))
    }

    /// The months that its rows lie in.
    pub(super) fn months(&self) -> Vec<Month> {
        let of = |lines: &[Line]| {
            let late =
                |line: &Line| Month::of(line.entry.time.checked_add(numbers::AHEAD * 2).unwrap_or(Timestamp::MAX));
            lines.iter().flat_map(|line| [Month::of(line.entry.time), late(line)]).collect::<Vec<_>>()
        };
        match self {
            Op::IssueUpload(upload) => {
                let mut months = of(std::slice::from_ref(&upload.line));
                months.push(Month::of_id(upload.object.id.uuid()));
                months
            }
            Op::Advance(_, lines) | Op::RepairUsage(_, lines) => of(lines),
            Op::IssueDownload(download) => of(std::slice::from_ref(&download.line)),
            Op::Audit(line)
            | Op::UseLink(_, line)
            | Op::CreateToken(_, line)
            | Op::RotateToken(_, line)
            | Op::Revoke(_, line)
            | Op::LiftRevocation(_, _, line)
            | Op::Contained(_, _, line) => of(std::slice::from_ref(line)),
            Op::Access(op) => of(std::slice::from_ref(op.line())),
            Op::Gateway(op) => op.line().map(|line| of(std::slice::from_ref(line))).unwrap_or_default(),
            _ => Vec::new(),
        }
    }

    /// The order in which the operations of a batch lock rows: the same in every committer of every node, so that two
    /// batches wait for each other in one direction only.
    pub(super) fn order(&self) -> (u8, Uuid) {
        let first = |object: Uuid| (0, object);
        match self {
            Op::UseLink(link, _) => first(link.object.uuid()),
            Op::Advance(advance, _) => first(advance.object.uuid()),
            Op::ExtendLease(job, _) | Op::RetryJob(job, ..) | Op::FinishJob(job) => first(job.object.uuid()),
            // After the rows that are waited for: this one waits for nobody.
            Op::ClaimJobs(claim) => (1, claim.lease),
            Op::Prune(_) | Op::PruneDeadLetters(_) => (2, Uuid::nil()),
            // Both keep every other writer of tokens out, and must not wait for those of their own batch.
            Op::Revoke(..) | Op::RotateToken(..) => (3, Uuid::nil()),
            Op::CreateToken(..) | Op::TokensUsed(_) | Op::LiftRevocation(..) | Op::Contained(..) => (4, Uuid::nil()),
            Op::SettingOrInsert(..) => (5, Uuid::nil()),
            Op::Gateway(op) => op.order(),
            Op::Access(op) => op.order(),
            Op::IssueUpload(_)
            | Op::IssueDownload(_)
            | Op::RepairUsage(..)
            | Op::Audit(_)
            | Op::DeadLetter(_)
            | Op::Probe => (6, Uuid::nil()),
        }
    }
}
