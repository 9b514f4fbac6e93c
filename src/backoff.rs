//! How long to wait after a failure: from one second, doubling, up to a minute, with jitter.
//!
//! The jitter keeps many nodes from coming back in step. Randomness is handed in; this is plain arithmetic.

use std::time::Duration;

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);

/// The state between two failures of one loop.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The next pause: between half and all of the doubled step, never under a second.
    pub(crate) fn next(&mut self, random: [u8; 8]) -> Duration {
        let step = FIRST.saturating_mul(1 << self.failures.min(6)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        let half = step / 2;
        let share = u64::from_le_bytes(random) % 1_001;
        let jitter = half.mul_f64(share as f64 / 1_000.0);
        (half + jitter).max(FIRST)
    }

    /// Something worked.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_minute_and_fall_back() {
        let mut backoff = Backoff::default();
        let pauses: Vec<_> = (0..9).map(|_| backoff.next([0xe8, 3, 0, 0, 0, 0, 0, 0])).collect();
        assert_eq!(pauses[0], FIRST);
        assert!(pauses.windows(2).all(|pair| pair[0] <= pair[1]));
        assert_eq!(pauses[8], LONGEST);
        backoff.reset();
        assert_eq!(backoff.next([0; 8]), FIRST);
    }

    #[test]
    fn jitter_stays_within_half_a_step() {
        for byte in 0..=255 {
            let mut backoff = Backoff { failures: 5 };
            let pause = backoff.next([byte; 8]);
            assert!((Duration::from_secs(16)..=Duration::from_secs(32)).contains(&pause), "{pause:?}");
        }
    }
}
