//! Quotas as numbers: what an app and its owner may use.
//!
//! Two quotas are about what is stored now; three about a window: an hour, a day or a calendar month of UTC, so that
//! everybody agrees where one begins. What is used of them is counted in [`super::usage`].

use jiff::{Timestamp, tz::Offset};

/// Whose quota it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum QuotaHolder {
    /// One app.
    App,
    /// All apps of an owner together.
    Owner,
}

impl QuotaHolder {
    /// The narrower one first.
    pub const ALL: [QuotaHolder; 2] = [QuotaHolder::App, QuotaHolder::Owner];

    /// The name in answers and reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            QuotaHolder::App => "app",
            QuotaHolder::Owner => "owner",
        }
    }
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum QuotaKind {
    /// Bytes stored now, reservations of uploads under way included.
    BytesStored,
    /// Objects stored now, likewise.
    ObjectsStored,
    /// Bytes of the uploads that were issued in one day, less those that never became visible.
    BytesDay,
    /// Uploads that were issued in one hour, less those that never became visible.
    UploadsHour,
    /// Bytes of the downloads that were issued in one calendar month, whether or not anybody followed the URL.
    DownloadBytesMonth,
}

impl QuotaKind {
    /// In the order of the policy files.
    pub const ALL: [QuotaKind; 5] = [
        QuotaKind::BytesStored,
        QuotaKind::ObjectsStored,
        QuotaKind::BytesDay,
        QuotaKind::UploadsHour,
        QuotaKind::DownloadBytesMonth,
    ];

    /// The key in a manifest and in `owners.toml`.
    pub const fn key(self) -> &'static str {
        match self {
            QuotaKind::BytesStored => "bytes",
            QuotaKind::ObjectsStored => "objects",
            QuotaKind::BytesDay => "bytes_per_day",
            QuotaKind::UploadsHour => "uploads_per_hour",
            QuotaKind::DownloadBytesMonth => "download_bytes_per_month",
        }
    }

    /// The key with its table, as rules name it.
    pub const fn path(self) -> &'static str {
        match self {
            QuotaKind::BytesStored => "quota.bytes",
            QuotaKind::ObjectsStored => "quota.objects",
            QuotaKind::BytesDay => "quota.bytes_per_day",
            QuotaKind::UploadsHour => "quota.uploads_per_hour",
            QuotaKind::DownloadBytesMonth => "quota.download_bytes_per_month",
        }
    }

    /// `bytes`, `objects` or `uploads`.
    pub const fn unit(self) -> &'static str {
        match self {
            QuotaKind::BytesStored | QuotaKind::BytesDay | QuotaKind::DownloadBytesMonth => "bytes",
            QuotaKind::ObjectsStored => "objects",
            QuotaKind::UploadsHour => "uploads",
        }
    }

    /// The window that it is about; `None` for what is stored.
    pub const fn window(self) -> Option<QuotaWindow> {
        match self {
            QuotaKind::BytesStored | QuotaKind::ObjectsStored => None,
            QuotaKind::BytesDay => Some(QuotaWindow::Day),
            QuotaKind::UploadsHour => Some(QuotaWindow::Hour),
            QuotaKind::DownloadBytesMonth => Some(QuotaWindow::Month),
        }
    }
}

/// The name of a quota in problem documents and in `GET /limits`, for example `app-bytes-day`.
pub const fn quota_name(holder: QuotaHolder, kind: QuotaKind) -> &'static str {
    const NAMES: [[&str; 5]; 2] = [
        ["app-bytes-stored", "app-objects-stored", "app-bytes-day", "app-uploads-hour", "app-download-bytes-month"],
        [
            "owner-bytes-stored",
            "owner-objects-stored",
            "owner-bytes-day",
            "owner-uploads-hour",
            "owner-download-bytes-month",
        ],
    ];
    NAMES[holder as usize][kind as usize]
}

/// How long a quota's window is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum QuotaWindow {
    /// An hour.
    Hour,
    /// A day of UTC.
    Day,
    /// A calendar month of UTC.
    Month,
}

impl QuotaWindow {
    /// The number of the window that a moment lies in; the next window has the next number.
    pub fn number(self, at: Timestamp) -> i64 {
        match self {
            QuotaWindow::Hour => at.as_second().div_euclid(3600),
            QuotaWindow::Day => at.as_second().div_euclid(86_400),
            QuotaWindow::Month => {
                let date = Offset::UTC.to_datetime(at);
                i64::from(date.year()) * 12 + i64::from(date.month()) - 1
            }
        }
    }

    /// When the window with this number begins.
    pub fn start(self, number: i64) -> Timestamp {
        let seconds = match self {
            QuotaWindow::Hour => number.saturating_mul(3600),
            QuotaWindow::Day => number.saturating_mul(86_400),
            QuotaWindow::Month => {
                let year = i16::try_from(number.div_euclid(12)).unwrap_or(9999);
                let month = i8::try_from(number.rem_euclid(12) + 1).unwrap_or(1);
                let first = jiff::civil::Date::new(year, month, 1).unwrap_or(jiff::civil::Date::MAX);
                return Offset::UTC.to_timestamp(first.at(0, 0, 0, 0)).unwrap_or(Timestamp::MAX);
            }
        };
        Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX)
    }

    /// When it ends.
    pub fn end(self, number: i64) -> Timestamp {
        self.start(number.saturating_add(1))
    }
}

/// The quotas of one holder; `None` where there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quotas(pub [Option<u64>; 5]);

impl Quotas {
    /// What may be stored, and nothing about windows.
    pub const fn stored(bytes: u64, objects: u64) -> Self {
        Quotas([Some(bytes), Some(objects), None, None, None])
    }

    /// The same with another quota.
    #[must_use]
    pub const fn with(mut self, kind: QuotaKind, limit: u64) -> Self {
        self.0[kind as usize] = Some(limit);
        self
    }

    /// One of them.
    pub const fn of(&self, kind: QuotaKind) -> Option<u64> {
        self.0[kind as usize]
    }

    /// Every one that there is.
    pub fn each(&self) -> impl Iterator<Item = (QuotaKind, u64)> {
        QuotaKind::ALL.into_iter().filter_map(|kind| Some((kind, self.of(kind)?)))
    }
}

/// The quotas of an app and of its owner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QuotaLimits {
    /// Of the app.
    pub app: Quotas,
    /// Of its owner, for all apps of the owner together.
    pub owner: Quotas,
}

impl QuotaLimits {
    /// Those of one holder.
    pub const fn of(&self, holder: QuotaHolder) -> &Quotas {
        match holder {
            QuotaHolder::App => &self.app,
            QuotaHolder::Owner => &self.owner,
        }
    }
}

/// A quota that is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuotaMet {
    /// Whose.
    pub holder: QuotaHolder,
    /// Which.
    pub kind: QuotaKind,
    /// At most so much.
    pub limit: u64,
    /// So much is in use.
    pub used: u64,
    /// When the window ends; `None` for what is stored.
    pub free_at: Option<Timestamp>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn windows_are_aligned_to_utc_and_months_to_the_calendar() {
        for (window, moment, start, end) in [
            (QuotaWindow::Hour, "2026-11-22T13:59:59.999999Z", "2026-11-22T13:00:00Z", "2026-11-22T14:00:00Z"),
            (QuotaWindow::Day, "2026-11-22T23:59:59Z", "2026-11-22T00:00:00Z", "2026-11-23T00:00:00Z"),
            (QuotaWindow::Month, "2024-02-29T12:00:00Z", "2024-02-01T00:00:00Z", "2024-03-01T00:00:00Z"),
            (QuotaWindow::Month, "2026-12-31T23:59:59Z", "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"),
        ] {
            let number = window.number(at(moment));
            assert_eq!((window.start(number), window.end(number)), (at(start), at(end)), "{moment}");
            assert_eq!(window.number(at(end)), number + 1);
        }
    }
}
