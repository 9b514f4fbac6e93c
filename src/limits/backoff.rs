//! How long a refused client is told to wait.
//!
//! Until the window is free; and longer, twice as long each time, for one that keeps asking although it was told to wait.
//! The first few refusals of a burst are all told the window's end, as many as the limit that was met (at most eight), so
//! that a page that asks for twenty uploads at once is spread over some seconds and not sent away for minutes.

/// Longest addition in seconds.
const MOST: u32 = 300;
/// Most refusals that are told the same time.
const LARGEST_STEP: u32 = 8;
/// After so many seconds without a refusal nobody is storming any more.
const FORGOTTEN: i64 = 600;

/// Refusals of one workflow since it was last admitted.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Streak {
    refusals: u32,
    last: i64,
}

impl Streak {
    /// One more refusal at `now` in Unix seconds, because of a limit: seconds to be added to the wait.
    pub(super) fn refused(&mut self, now: i64, limit: u32) -> u32 {
        if now - self.last > FORGOTTEN {
            self.refusals = 0;
        }
        self.last = now;
        let doublings = self.refusals / limit.clamp(1, LARGEST_STEP);
        self.refusals = self.refusals.saturating_add(1);
        1_u32.checked_shl(doublings).map_or(MOST, |wait| (wait - 1).min(MOST))
    }

    /// It was admitted.
    pub(super) fn admitted(&mut self) {
        self.refusals = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_keeps_asking_waits_twice_as_long_each_time_up_to_a_bound() {
        let mut streak = Streak::default();
        let waits: Vec<u32> = (0..13).map(|_| streak.refused(1000, 1)).collect();
        assert_eq!(waits, [0, 1, 3, 7, 15, 31, 63, 127, 255, 300, 300, 300, 300]);
        (0..100).for_each(|_| assert_eq!(streak.refused(1000, 1), MOST));
        streak.admitted();
        assert_eq!(streak.refused(1001, 1), 0, "an admission ends it");
        streak.refused(1001, 1);
        assert_eq!(streak.refused(1001 + FORGOTTEN + 1, 1), 0, "and so does time");
    }

    #[test]
    fn a_burst_is_spread_over_some_seconds() {
        let mut streak = Streak::default();
        let waits: Vec<u32> = (0..20).map(|_| streak.refused(1000, 5)).collect();
        assert_eq!((waits[0], waits[4], waits[5], waits[10], waits[19]), (0, 0, 1, 3, 7));
        let mut hourly = Streak::default();
        assert_eq!((0..9).map(|_| hourly.refused(1000, 5000)).max(), Some(1), "an hour's limit counts as eight");
    }
}
