//! A quota is met: what the client hears, which rule it was, and when to come back.
//!
//! What is stored can only be freed by deleting, so that no time is told; a window is free again when it ends.

use jiff::Timestamp;

use crate::domain::ids::{AppName, OwnerName};
use crate::domain::quota::{QuotaHolder, QuotaKind, QuotaMet, quota_name};
use crate::domain::refusal::{Reason, Refusal};
use crate::policy::PolicySet;

use super::limits::in_words;

/// Longest wait that is told, in seconds: longer than any month.
const LONGEST: i64 = 32 * 86_400;

/// The refusal of a request for `size` bytes of an app.
pub(super) fn refusal(
    policies: &PolicySet,
    app: &AppName,
    owner: &OwnerName,
    met: &QuotaMet,
    size: u64,
    now: Timestamp,
) -> Refusal {
    let QuotaMet { holder, kind, limit, used, free_at } = *met;
    let whose = match holder {
        QuotaHolder::App => format!("The app '{app}'"),
        QuotaHolder::Owner => format!("All apps of '{owner}' together"),
    };
    let stored = "Delete what is no longer needed, or ask your platform team for a larger quota.";
    let (reason, mut detail) = match kind {
        QuotaKind::BytesStored => (
            Reason::QuotaBytesExceeded,
            format!("{whose} may hold {limit} bytes and hold {used} already; this file has {size}. {stored}"),
        ),
        QuotaKind::ObjectsStored => (
            Reason::QuotaObjectsExceeded,
            format!("{whose} may hold {limit} objects and hold {used} already. {stored}"),
        ),
        QuotaKind::BytesDay => (
            Reason::QuotaDailyBytesExceeded,
            format!("{whose} may upload {limit} bytes a day, and {used} are used up; this file has {size}."),
        ),
        QuotaKind::UploadsHour => (
            Reason::QuotaHourlyUploadsExceeded,
            format!("{whose} may request {limit} uploads an hour, and they are used up."),
        ),
        QuotaKind::DownloadBytesMonth => (
            Reason::QuotaMonthlyDownloadsExceeded,
            format!("{whose} may download {limit} bytes a month, and {used} are used up; this file has {size}."),
        ),
    };
    if holder == QuotaHolder::App {
        detail = detail.replacen(" and hold ", " and holds ", 1);
    }
    let wait = free_at.map(|free_at| {
        // Rounded up: told too early, the client would come once more for nothing.
        let seconds = (free_at.as_second() - now.as_second()).clamp(1, LONGEST);
        (free_at, u32::try_from(seconds).unwrap_or(1))
    });
    if let Some((free_at, seconds)) = wait {
        detail.push_str(&format!(
            " It is free again at {free_at}: try again in {}, or ask your platform team for a larger quota.",
            in_words(seconds)
        ));
    }
    let rule = match holder {
        QuotaHolder::App => policies.app(app).map(|manifest| manifest.rule(kind.path())),
        QuotaHolder::Owner => policies.owner(owner).map(|owner| owner.rule(kind)),
    };
    let refusal = Refusal::new(reason, detail).limit(limit).quota(quota_name(holder, kind));
    let refusal = refusal.rule(rule.unwrap_or_else(|| kind.path().to_owned()));
    match wait {
        Some((_, seconds)) => refusal.retry_after(seconds),
        None => refusal,
    }
}
