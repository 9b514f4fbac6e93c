//! What is used, the same for every database: whose, what a change of state settles, and how the counts are compared with
//! the records that they are made from.
//!
//! An app and its owner are counted in the transaction that changes the object, so that at every commit the counts are the
//! sums. What does not agree was changed by something else: an older program beside this one, a statement by hand, a
//! restored table. Such a difference stays as it is while everybody goes on counting, which is why it can be added later,
//! under load, and is not a new sum that would be old by the time it is written.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::columns::Columns;
use super::values::int;
use crate::domain::audit::AuditEntry;
use crate::domain::ids::{AppName, OwnerName};
use crate::domain::life::{Life, State};
use crate::domain::quota::{QuotaHolder, QuotaKind, QuotaLimits, QuotaMet, QuotaWindow, Quotas};
use crate::domain::usage::{Counted, Settlement, Usage};

/// Who uses something. Apps come before owners and both by name: the order in which rows are locked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Holder {
    /// An app.
    App(AppName),
    /// An owner, with all its apps.
    Owner(OwnerName),
}

impl Holder {
    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Holder::App(app) => app.as_str(),
            Holder::Owner(owner) => owner.as_str(),
        }
    }

    /// Which of both it is.
    pub fn kind(&self) -> QuotaHolder {
        match self {
            Holder::App(_) => QuotaHolder::App,
            Holder::Owner(_) => QuotaHolder::Owner,
        }
    }

    /// The two who are charged for an object.
    pub fn both(app: &AppName, owner: &OwnerName) -> [Holder; 2] {
        [Holder::App(app.clone()), Holder::Owner(owner.clone())]
    }
}

/// What an app and its owner use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UsageOfBoth {
    /// The app.
    pub app: Usage,
    /// All apps of the owner together, this one included.
    pub owner: Usage,
}

/// Both with one more use, or the quota that it would exceed: the app's where both would be.
pub(super) fn with_use(
    now: UsageOfBoth,
    limits: &QuotaLimits,
    count: impl Fn(&Usage, QuotaHolder, &Quotas) -> Result<Usage, QuotaMet>,
) -> Result<UsageOfBoth, QuotaMet> {
    Ok(UsageOfBoth {
        app: count(&now.app, QuotaHolder::App, &limits.app)?,
        owner: count(&now.owner, QuotaHolder::Owner, &limits.owner)?,
    })
}

/// What an object is charged with, as its row says.
pub(super) struct Charge {
    pub(super) state: State,
    /// What was asked for.
    pub(super) size: u64,
    /// What counts against what is stored; `None` once it was given back.
    pub(super) held: Option<u64>,
    /// What counts for the day, where it is not the size.
    pub(super) settled: Option<u64>,
    pub(super) issued_at: Timestamp,
}

/// What an object is charged with after a change of state, and what that changes.
pub(super) struct Settled {
    pub(super) held: Option<u64>,
    pub(super) settled: Option<u64>,
    pub(super) change: Settlement,
}

impl Charge {
    /// What a change to this state settles. Expired and rejected uploads never became visible and give everything back; a
    /// deletion gives back what is stored alone.
    pub(super) fn settle(&self, to: &Life) -> Settled {
        let held = match to {
            Life::Visible { served, .. } => Some(served.size),
            _ if to.state().holds_quota() => Some(self.held.unwrap_or(self.size)),
            _ => None,
        };
        let settled = match to {
            Life::Visible { served, .. } if served.size != self.size => Some(served.size),
            _ => self.settled,
        };
        let counts = |state: State| !NEVER_VISIBLE.contains(&state);
        let day =
            |state: State, settled: Option<u64>| if counts(state) { int(settled.unwrap_or(self.size)) } else { 0 };
        let change = Settlement {
            bytes: int(held.unwrap_or(0)) - int(self.held.unwrap_or(0)),
            objects: i64::from(held.is_some()) - i64::from(self.held.is_some()),
            bytes_day: day(to.state(), settled) - day(self.state, self.settled),
            uploads_hour: i64::from(counts(to.state())) - i64::from(counts(self.state)),
            issued_at: self.issued_at,
        };
        Settled { held, settled, change }
    }
}

/// The states of uploads that ended without ever having been visible; the queries of [`sums!`] name them too.
const NEVER_VISIBLE: [State; 2] = [State::Expired, State::Rejected];

/// The columns of a holder's usage, in the order of [`usage`] and [`values`].
macro_rules! usage_columns {
    () => {
        "bytes, objects, uploads_window, uploads, uploads_before, day_window, day_bytes, day_bytes_before, \
         download_window, download_bytes, download_bytes_before"
    };
}
pub(super) use usage_columns;

/// Reads [`usage_columns!`].
pub(super) fn usage<'r, C: Columns<'r>>(columns: &mut C) -> Result<Usage, C::Failure> {
    let (bytes, objects) = (columns.unsigned()?, columns.unsigned()?);
    let mut counted = || {
        let (window, amount, before) = (columns.number()?, columns.unsigned()?, columns.unsigned()?);
        Ok::<_, C::Failure>(Counted { window, amount, before })
    };
    Ok(Usage { bytes, objects, uploads_hour: counted()?, bytes_day: counted()?, download_bytes_month: counted()? })
}

/// The values of [`usage_columns!`].
pub(super) fn values(usage: &Usage) -> [i64; 11] {
    let Usage { bytes, objects, uploads_hour, bytes_day, download_bytes_month } = usage;
    let (hour, day, month) = (uploads_hour, bytes_day, download_bytes_month);
    [
        int(*bytes),
        int(*objects),
        hour.window,
        int(hour.amount),
        int(hour.before),
        day.window,
        int(day.amount),
        int(day.before),
        month.window,
        int(month.amount),
        int(month.before),
    ]
}

/// What the objects of every app and owner add up to: six columns, [`Sum`]. The parameters are the app or NULL, and begin
/// and end of the day and of the hour.
macro_rules! sums {
    ($app:literal, $day:literal, $day_end:literal, $hour:literal, $hour_end:literal) => {
        concat!(
            "SELECT app, owner, CAST(coalesce(sum(held_bytes), 0) AS bigint), count(held_bytes),
               CAST(coalesce(sum(CASE WHEN created_at >= ",
            $day,
            " AND created_at < ",
            $day_end,
            " AND state NOT IN ('expired', 'rejected') THEN coalesce(settled_size, size) END), 0) AS bigint),
               count(CASE WHEN created_at >= ",
            $hour,
            " AND created_at < ",
            $hour_end,
            " AND state NOT IN ('expired', 'rejected') THEN 1 END)
             FROM objects WHERE ",
            $app,
            " GROUP BY app, owner"
        )
    };
}
pub(super) use sums;

/// What the objects of one app and owner add up to.
pub(super) struct Sum {
    app: AppName,
    owner: OwnerName,
    used: [i64; 4],
}

/// Reads a row of [`sums!`].
pub(super) fn sum<'r, C: Columns<'r>>(columns: &mut C) -> Result<Sum, C::Failure> {
    Ok(Sum {
        app: columns.parsed()?,
        owner: columns.parsed()?,
        used: [columns.number()?, columns.number()?, columns.number()?, columns.number()?],
    })
}

/// The bounds of the day and the hour of a moment, in microseconds, as [`sums!`] takes them.
pub(super) fn bounds(at: Timestamp) -> [i64; 4] {
    let of = |window: QuotaWindow| {
        let number = window.number(at);
        [window.start(number).as_microsecond(), window.end(number).as_microsecond()]
    };
    let ([day, day_end], [hour, hour_end]) = (of(QuotaWindow::Day), of(QuotaWindow::Hour));
    [day, day_end, hour, hour_end]
}

/// A holder's count beside what its objects add up to, both as of one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageRow {
    /// Whose.
    pub holder: Holder,
    /// What is counted.
    pub counted: Usage,
    /// By how much the objects add up to more (or, negative, to less), in the windows of [`Settlement::issued_at`].
    pub missing: Settlement,
}

impl UsageRow {
    /// What the objects add up to, of a quota that is about uploads.
    pub fn summed(&self, kind: QuotaKind) -> u64 {
        let missing = match kind {
            QuotaKind::BytesStored => self.missing.bytes,
            QuotaKind::ObjectsStored => self.missing.objects,
            QuotaKind::BytesDay => self.missing.bytes_day,
            QuotaKind::UploadsHour => self.missing.uploads_hour,
            QuotaKind::DownloadBytesMonth => 0,
        };
        self.counted.used(kind, self.missing.issued_at).saturating_add_signed(missing)
    }
}

/// What is to be compared.
#[derive(Clone, Debug)]
pub struct UsageQuery {
    /// This app alone, and no owner; everything where absent.
    pub app: Option<AppName>,
    /// Now: whose hour and day are looked at.
    pub at: Timestamp,
}

/// Differences to be added to what is counted.
#[derive(Clone, Debug)]
pub struct RepairUsage {
    /// Those rows that differed.
    pub rows: Vec<UsageRow>,
    /// The entries of the repair, one for each row or one for all; never empty.
    pub audit: Vec<AuditEntry>,
}

/// Every holder that is counted or has objects, in the order of their names.
pub(super) fn compare(query: &UsageQuery, counted: Vec<(Holder, Usage)>, sums: Vec<Sum>) -> Vec<UsageRow> {
    let mut holders: BTreeMap<Holder, (Usage, [i64; 4])> =
        counted.into_iter().map(|(holder, usage)| (holder, (usage, [0; 4]))).collect();
    for sum in sums {
        for holder in Holder::both(&sum.app, &sum.owner) {
            let (_, used) = holders.entry(holder).or_default();
            used.iter_mut().zip(sum.used).for_each(|(all, own)| *all = all.saturating_add(own));
        }
    }
    holders.retain(|holder, _| match (&query.app, holder) {
        (None, _) => true,
        (Some(app), Holder::App(own)) => app == own,
        (Some(_), Holder::Owner(_)) => false,
    });
    let row = |(holder, (counted, [bytes, objects, day, hour])): (Holder, (Usage, [i64; 4]))| {
        let more = |sum: i64, kind| sum - int(counted.used(kind, query.at));
        let missing = Settlement {
            bytes: more(bytes, QuotaKind::BytesStored),
            objects: more(objects, QuotaKind::ObjectsStored),
            bytes_day: more(day, QuotaKind::BytesDay),
            uploads_hour: more(hour, QuotaKind::UploadsHour),
            issued_at: query.at,
        };
        UsageRow { holder, counted, missing }
    };
    holders.into_iter().map(row).collect()
}
