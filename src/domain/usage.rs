//! What is used of quotas: the arithmetic, once, for every database.
//!
//! A count says nothing of a limit, so that a changed limit is compared with the truth, and no window ever admits more than
//! its limit. Which transaction does it, under which lock, is the store's business.

use jiff::Timestamp;

use super::quota::{QuotaHolder, QuotaKind, QuotaMet, QuotaWindow, Quotas};

/// The amounts of two windows, the newest one and the one before: a request may reach the database just after one that is
/// a little younger has begun the next window, and still counts where it belongs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// The newest window's number.
    pub window: i64,
    /// Its amount.
    pub amount: u64,
    /// The amount of the window before it.
    pub before: u64,
}

impl Counted {
    /// The amount of a window; nothing where it is not one of both.
    fn of(&self, number: i64) -> u64 {
        match number.saturating_sub(self.window) {
            0 => self.amount,
            -1 => self.before,
            _ => 0,
        }
    }

    /// The same with a place for a window. One that is further back can only come after a clock that was far ahead, which
    /// must not lock everybody out: so a new count begins.
    fn reaching(self, number: i64) -> Counted {
        match number.saturating_sub(self.window) {
            0 | -1 => self,
            1 => Counted { window: number, amount: 0, before: self.amount },
            _ => Counted { window: number, amount: 0, before: 0 },
        }
    }

    /// The same with another amount in a window that has a place.
    fn with(self, number: i64, amount: u64) -> Counted {
        match number.saturating_sub(self.window) {
            0 => Counted { amount, ..self },
            -1 => Counted { before: amount, ..self },
            _ => self,
        }
    }
}

/// The largest amount: what a database's signed number holds.
const MOST: u64 = i64::MAX as u64;

/// What a holder uses, reservations included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes stored.
    pub bytes: u64,
    /// Objects stored.
    pub objects: u64,
    /// Uploads of the newest hour.
    pub uploads_hour: Counted,
    /// Bytes of uploads of the newest day.
    pub bytes_day: Counted,
    /// Bytes of downloads of the newest month.
    pub download_bytes_month: Counted,
}

impl Usage {
    /// How much is in use at a moment.
    pub fn used(&self, kind: QuotaKind, at: Timestamp) -> u64 {
        match (kind, kind.window()) {
            (QuotaKind::BytesStored, _) => self.bytes,
            (QuotaKind::ObjectsStored, _) => self.objects,
            (_, Some(window)) => self.counted(kind).of(window.number(at)),
            (_, None) => 0,
        }
    }

    /// The counts of a window; nothing for what is stored.
    fn counted(&self, kind: QuotaKind) -> Counted {
        match kind {
            QuotaKind::BytesDay => self.bytes_day,
            QuotaKind::UploadsHour => self.uploads_hour,
            QuotaKind::DownloadBytesMonth => self.download_bytes_month,
            QuotaKind::BytesStored | QuotaKind::ObjectsStored => Counted::default(),
        }
    }

    /// This usage with an upload of `size` bytes more, issued at `at`; or the first quota of this holder that it would
    /// exceed.
    ///
    /// # Errors
    /// [`QuotaMet`].
    pub fn with_upload(
        &self,
        holder: QuotaHolder,
        limits: &Quotas,
        size: u64,
        at: Timestamp,
    ) -> Result<Usage, QuotaMet> {
        let sum = |kind, amount| self.sum(holder, limits, kind, amount, at);
        Ok(Usage {
            bytes: sum(QuotaKind::BytesStored, size)?,
            objects: sum(QuotaKind::ObjectsStored, 1)?,
            bytes_day: counted_at(self.bytes_day, QuotaWindow::Day, at, sum(QuotaKind::BytesDay, size)?),
            uploads_hour: counted_at(self.uploads_hour, QuotaWindow::Hour, at, sum(QuotaKind::UploadsHour, 1)?),
            download_bytes_month: self.download_bytes_month,
        })
    }

    /// This usage with a download of `size` bytes more.
    ///
    /// # Errors
    /// [`QuotaMet`].
    pub fn with_download(
        &self,
        holder: QuotaHolder,
        limits: &Quotas,
        size: u64,
        at: Timestamp,
    ) -> Result<Usage, QuotaMet> {
        let sum = self.sum(holder, limits, QuotaKind::DownloadBytesMonth, size, at)?;
        let month = counted_at(self.download_bytes_month, QuotaWindow::Month, at, sum);
        Ok(Usage { download_bytes_month: month, ..*self })
    }

    /// What would be used with so much more.
    fn sum(
        &self,
        holder: QuotaHolder,
        limits: &Quotas,
        kind: QuotaKind,
        amount: u64,
        at: Timestamp,
    ) -> Result<u64, QuotaMet> {
        let used = self.used(kind, at);
        let limit = limits.of(kind).unwrap_or(MOST).min(MOST);
        match used.checked_add(amount).filter(|sum| *sum <= limit) {
            Some(sum) => Ok(sum),
            // A window that nobody limits refuses nobody.
            None if limit == MOST && kind.window().is_some() => Ok(MOST),
            None => {
                let free_at = kind.window().map(|window| window.end(window.number(at)));
                Err(QuotaMet { holder, kind, limit, used, free_at })
            }
        }
    }

    /// This usage after a change of state. What belongs to a window that is no longer counted changes nothing any more.
    #[must_use]
    pub fn settled(&self, change: &Settlement) -> Usage {
        self.changed(change, |counted, _| counted)
    }

    /// This usage with what was found to be missing in it. A window that nobody has counted in begins with that.
    #[must_use]
    pub fn corrected(&self, missing: &Settlement) -> Usage {
        self.changed(missing, Counted::reaching)
    }

    fn changed(&self, change: &Settlement, reach: impl Fn(Counted, i64) -> Counted) -> Usage {
        let within = |counted: Counted, window: QuotaWindow, by: i64| {
            let number = window.number(change.issued_at);
            let counted = if by == 0 { counted } else { reach(counted, number) };
            counted.with(number, by_signed(counted.of(number), by))
        };
        Usage {
            bytes: by_signed(self.bytes, change.bytes),
            objects: by_signed(self.objects, change.objects),
            bytes_day: within(self.bytes_day, QuotaWindow::Day, change.bytes_day),
            uploads_hour: within(self.uploads_hour, QuotaWindow::Hour, change.uploads_hour),
            download_bytes_month: self.download_bytes_month,
        }
    }
}

fn counted_at(counted: Counted, window: QuotaWindow, at: Timestamp, amount: u64) -> Counted {
    let number = window.number(at);
    counted.reaching(number).with(number, amount)
}

fn by_signed(amount: u64, by: i64) -> u64 {
    amount.saturating_add_signed(by).min(MOST)
}

/// What a change of an object's state does to the usage of its app and its owner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settlement {
    /// Bytes stored.
    pub bytes: i64,
    /// Objects stored.
    pub objects: i64,
    /// Bytes of the day in which the upload was issued.
    pub bytes_day: i64,
    /// Uploads of the hour in which it was issued.
    pub uploads_hour: i64,
    /// When it was issued.
    pub issued_at: Timestamp,
}

impl Settlement {
    /// Whether it changes nothing.
    pub fn is_nothing(&self) -> bool {
        (self.bytes, self.objects, self.bytes_day, self.uploads_hour) == (0, 0, 0, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const APP: QuotaHolder = QuotaHolder::App;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn each_quota_refuses_by_its_own_name_and_a_window_says_when_it_ends() {
        let now = at("2026-11-22T13:30:00Z");
        let usage = Usage::default().with_upload(APP, &Quotas::default(), 60, now).unwrap();
        for (kind, limit) in [
            (QuotaKind::BytesStored, 100),
            (QuotaKind::ObjectsStored, 1),
            (QuotaKind::BytesDay, 119),
            (QuotaKind::UploadsHour, 1),
        ] {
            let met = usage.with_upload(APP, &Quotas::default().with(kind, limit), 60, now).unwrap_err();
            assert_eq!((met.kind, met.limit, met.used), (kind, limit, usage.used(kind, now)));
            assert_eq!(met.free_at, kind.window().map(|window| window.end(window.number(now))));
            assert!(usage.with_upload(APP, &Quotas::default().with(kind, limit + 60), 60, now).is_ok());
        }
        let month = Quotas::default().with(QuotaKind::DownloadBytesMonth, 100);
        let usage = usage.with_download(APP, &month, 100, now).unwrap();
        let met = usage.with_download(APP, &month, 1, now).unwrap_err();
        assert_eq!((met.used, met.free_at), (100, Some(at("2026-12-01T00:00:00Z"))));
        assert!(usage.with_download(APP, &month, 100, at("2026-12-01T00:00:00Z")).is_ok());
    }

    #[test]
    fn a_request_that_comes_late_counts_in_its_own_window_and_a_clock_far_ahead_locks_nobody_out() {
        let limits = Quotas::default().with(QuotaKind::UploadsHour, 1);
        let (before, after) = (at("2026-11-22T13:59:59Z"), at("2026-11-22T14:00:00Z"));
        let late = Usage::default().with_upload(APP, &limits, 1, after).unwrap();
        let both = late.with_upload(APP, &limits, 1, before).unwrap();
        assert_eq!((both.used(QuotaKind::UploadsHour, before), both.used(QuotaKind::UploadsHour, after)), (1, 1));
        assert_eq!(both.with_upload(APP, &limits, 1, before).unwrap_err().free_at, Some(after));
        assert!(both.with_upload(APP, &limits, 1, after).is_err());
        assert!(both.with_upload(APP, &limits, 1, at("2026-11-22T11:00:00Z")).is_ok());
        let next = both.with_upload(APP, &limits, 1, at("2026-11-22T15:00:00Z")).unwrap();
        assert_eq!(next.uploads_hour.before, 1);
    }

    #[test]
    fn what_never_became_visible_comes_back_only_while_its_window_runs() {
        let issued_at = at("2026-11-22T13:30:00Z");
        let usage = Usage::default().with_upload(APP, &Quotas::default(), 60, issued_at).unwrap();
        let back = Settlement { bytes: -60, objects: -1, bytes_day: -60, uploads_hour: -1, issued_at };
        let now = at("2026-11-22T13:40:00Z");
        let left = usage.settled(&back);
        assert!(QuotaKind::ALL.iter().all(|kind| left.used(*kind, now) == 0), "{left:?}");
        let later = usage.with_upload(APP, &Quotas::default(), 7, at("2026-11-22T14:10:00Z")).unwrap().settled(&back);
        assert_eq!((later.bytes, later.objects), (7, 1));
        assert_eq!((later.uploads_hour.amount, later.bytes_day.amount), (1, 7), "another hour, the same day");
    }

    #[test]
    fn without_a_limit_everything_is_counted_and_nothing_refused_but_what_no_number_holds() {
        let now = at("2026-11-22T13:30:00Z");
        let usage = Usage::default().with_download(APP, &Quotas::default(), MOST, now).unwrap();
        assert_eq!(usage.with_download(APP, &Quotas::default(), 1, now).unwrap().download_bytes_month.amount, MOST);
        let usage = Usage::default().with_upload(APP, &Quotas::stored(u64::MAX, u64::MAX), MOST, now).unwrap();
        let met = usage.with_upload(APP, &Quotas::stored(u64::MAX, u64::MAX), 1, now).unwrap_err();
        assert_eq!((met.kind, met.limit), (QuotaKind::BytesStored, MOST));
    }
}
