//! Numbers for the audit trail that many writers make without asking each other.
//!
//! A number is the entry's millisecond, then eleven bits: five name the writer, six count within the millisecond. So the
//! trail sorts by time, a month is a range of numbers, and no sequence is shared. Two writers of the same name meet at the
//! primary key, and the one that was second takes another name; nothing is lost by it. Numbers stay below 2^53 until the
//! year 2109, so that a client that reads JSON numbers as doubles can page with them.
//!
//! Invariant: a number is never below the time of its entry, and above it by [`AHEAD`] at most.

use jiff::{SignedDuration, Timestamp};

/// Bits below the millisecond.
const BITS: u32 = 11;
/// Entries of one millisecond and writer; the next one takes the next millisecond.
const COUNT: i64 = 1 << 6;
/// How many writers can have names of their own.
const WRITERS: u16 = 1 << (BITS - 6);

/// How far a number may be ahead of its entry: when more entries come than fit, or when the clock was set back.
pub(super) const AHEAD: SignedDuration = SignedDuration::from_secs(10);

/// The lowest number of a moment.
pub(super) fn floor(time: Timestamp) -> i64 {
    time.as_millisecond().max(0) << BITS
}

/// One writer's numbers.
pub(super) struct Numbers {
    writer: i64,
    last: i64,
    ahead: i64,
}

impl Numbers {
    /// Numbers of the writer that this random value names.
    pub(super) fn new(random: u16) -> Self {
        Self { writer: i64::from(random % WRITERS), last: 0, ahead: AHEAD.as_millis() as i64 }
    }

    /// Numbers that keep the order in which they are asked for, however far that takes them from the time: for a copy.
    pub(super) fn in_order() -> Self {
        Self { writer: 0, last: 0, ahead: i64::MAX >> (BITS + 1) }
    }

    /// The shard of the counters that this writer adds to.
    pub(super) fn shard(&self) -> i16 {
        i16::try_from(self.writer).unwrap_or(0)
    }

    /// Takes another name: somebody else has this one.
    pub(super) fn rename(&mut self, random: u16) {
        let step = 1 + i64::from(random) % (i64::from(WRITERS) - 1);
        self.writer = (self.writer + step) % i64::from(WRITERS);
    }

    /// The number of an entry with this time.
    pub(super) fn next(&mut self, time: Timestamp) -> i64 {
        let first = floor(time) | (self.writer * COUNT);
        let next = self.last + 1;
        let fits = next & (COUNT - 1) != 0 && (next >> 6) & i64::from(WRITERS - 1) == self.writer;
        let after = if fits { next } else { (((self.last >> BITS) + 1) << BITS) | (self.writer * COUNT) };
        // Far behind: the clock was set back. Its numbers may be taken by now, which the primary key tells.
        self.last = if first > self.last || (after - first) >> BITS >= self.ahead { first } else { after };
        self.last
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millisecond(millis).unwrap()
    }

    const NOW: i64 = 1_795_000_000_000;

    #[test]
    fn numbers_of_one_moment_are_many_and_rise() {
        let mut numbers = Numbers::new(31);
        let made: Vec<i64> = (0..5000).map(|_| numbers.next(at(NOW))).collect();
        assert!(made.is_sorted_by(|a, b| a < b));
        assert!(made.iter().all(|number| *number >= floor(at(NOW)) && *number < 1 << 53));
        assert!(*made.last().unwrap() < floor(at(NOW) + AHEAD));
    }

    #[test]
    fn writers_of_different_names_never_meet() {
        let mut all = BTreeSet::new();
        for writer in 0..WRITERS {
            let mut numbers = Numbers::new(writer);
            for n in 0..400 {
                assert!(all.insert(numbers.next(at(NOW + n / 200))));
            }
        }
    }

    #[test]
    fn a_clock_that_is_set_back_is_followed_after_a_while_and_a_copy_keeps_its_order() {
        let mut numbers = Numbers::new(3);
        let before = numbers.next(at(NOW));
        assert!(numbers.next(at(NOW - 5)) > before, "a little late");
        let back = numbers.next(at(NOW - 3_600_000));
        assert!(back < floor(at(NOW - 3_600_000) + AHEAD));
        let mut copy = Numbers::in_order();
        let made = [NOW, NOW - 3_600_000, NOW - 3_600_000, NOW + 1].map(|millis| copy.next(at(millis)));
        assert!(made.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn another_name_is_another_one() {
        for random in 0..200 {
            let mut numbers = Numbers::new(7);
            numbers.rename(random);
            assert_ne!(numbers.shard(), 7);
        }
    }
}
