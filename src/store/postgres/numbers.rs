//! Numbers for the audit trail that many writers make without asking each other.
//!
//! A number is the entry's millisecond, then eleven bits: five name the writer, six count within the millisecond. So the
//! trail sorts by time, a month is a range of numbers, and no sequence is shared. A writer is a process: what it writes
//! one after the other has rising numbers. Two of the same name meet at the primary key, and the one that was second takes
//! another name; nothing is lost by it. Numbers stay below 2^53 until the year 2109, so that a client that reads JSON
//! numbers as doubles can page with them.
//!
//! Invariant: a number is never below the time of its entry, and above it by [`AHEAD`] at most.

use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};

/// Bits below the millisecond.
const BITS: u32 = 11;
/// Entries of one millisecond and writer; the next one takes the next millisecond.
const COUNT: i64 = 1 << 6;
/// How many writers can have names of their own.
const WRITERS: u16 = 1 << (BITS - 6);
/// Milliseconds that a writer whose number was taken goes on by, at most.
const JUMP: i64 = 64;
/// Shards of the counters of states.
const SHARDS: u16 = 64;

/// How far a number may be ahead of its entry: when more entries come than fit, or when the clock was set back.
pub(super) const AHEAD: SignedDuration = SignedDuration::from_secs(10);

/// The lowest number of a moment.
pub(in crate::store) fn floor(time: Timestamp) -> i64 {
    time.as_millisecond().max(0) << BITS
}

/// The moment that a number begins with.
pub(super) fn time(number: i64) -> Timestamp {
    Timestamp::from_millisecond(number >> BITS).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// One process's numbers, shared by its committers.
pub(in crate::store) struct Numbers {
    /// A std mutex, because nothing awaits while it is held.
    state: Mutex<State>,
    ahead: i64,
}

struct State {
    writer: i64,
    last: i64,
}

impl Numbers {
    /// Numbers of the writer that this random value names.
    pub(in crate::store) fn new(random: u16) -> Self {
        let state = State { writer: i64::from(random % WRITERS), last: 0 };
        Self { state: Mutex::new(state), ahead: AHEAD.as_millis() as i64 }
    }

    /// Numbers that keep the order in which they are asked for, however far that takes them from the time: for a copy.
    pub(in crate::store) fn in_order() -> Self {
        Self { state: Mutex::new(State { writer: 0, last: 0 }), ahead: i64::MAX >> (BITS + 1) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes another name, some milliseconds on: somebody else has this one, and most of the others may be taken too.
    pub(super) fn rename(&self, random: u16) {
        let (others, random) = (i64::from(WRITERS) - 1, i64::from(random));
        let mut state = self.state();
        state.writer = (state.writer + 1 + random % others) % i64::from(WRITERS);
        state.last += (random / others % JUMP) << BITS;
    }

    /// The number of an entry with this time.
    pub(in crate::store) fn next(&self, time: Timestamp) -> i64 {
        let State { writer, last } = &mut *self.state();
        let first = floor(time) | (*writer * COUNT);
        let next = *last + 1;
        let fits = next & (COUNT - 1) != 0 && (next / COUNT) & i64::from(WRITERS - 1) == *writer;
        let after = if fits { next } else { (((*last >> BITS) + 1) << BITS) | (*writer * COUNT) };
        // Far behind: the clock was set back. Its numbers may be taken by now, which the primary key tells.
        *last = if first > *last || (after - first) >> BITS >= self.ahead { first } else { after };
        *last
    }
}

/// A shard of the counters, by a random value: each committer adds to one of its own.
pub(super) fn shard(random: u16) -> i16 {
    i16::try_from(random % SHARDS).unwrap_or(0)
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
        let numbers = Numbers::new(31);
        let made: Vec<i64> = (0..5000).map(|_| numbers.next(at(NOW))).collect();
        assert!(made.is_sorted_by(|a, b| a < b));
        assert!(made.iter().all(|number| *number >= floor(at(NOW)) && *number < 1 << 53));
        assert!(*made.last().unwrap() < floor(at(NOW) + AHEAD));
    }

    #[test]
    fn writers_of_different_names_never_meet() {
        let mut all = BTreeSet::new();
        for writer in 0..WRITERS {
            let numbers = Numbers::new(writer);
            for n in 0..400 {
                assert!(all.insert(numbers.next(at(NOW + n / 200))));
            }
        }
    }

    #[test]
    fn a_clock_that_is_set_back_is_followed_after_a_while_and_a_copy_keeps_its_order() {
        let numbers = Numbers::new(3);
        let before = numbers.next(at(NOW));
        assert!(numbers.next(at(NOW - 5)) > before, "a little late");
        let back = numbers.next(at(NOW - 3_600_000));
        assert!(back < floor(at(NOW - 3_600_000) + AHEAD));
        let copy = Numbers::in_order();
        let made = [NOW, NOW - 3_600_000, NOW - 3_600_000, NOW + 1].map(|millis| copy.next(at(millis)));
        assert!(made.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn more_writers_than_names_find_numbers_within_a_few_tries() {
        let (mut taken, mut random) = (BTreeSet::new(), 1_u32);
        let mut next_random = || {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (random >> 16) as u16
        };
        let writers: Vec<Numbers> = (0..3 * WRITERS).map(|_| Numbers::new(next_random())).collect();
        let mut most = 0;
        for _ in 0..20 {
            for writer in &writers {
                let tries = (1..).find(|_| {
                    let batch: Vec<i64> = (0..4).map(|_| writer.next(at(NOW))).collect();
                    let free = batch.iter().all(|number| !taken.contains(number));
                    if free {
                        taken.extend(batch);
                    } else {
                        writer.rename(next_random());
                    }
                    free
                });
                most = most.max(tries.unwrap());
            }
        }
        assert!(most <= 5, "{most} tries");
    }

    #[test]
    fn another_name_is_another_one() {
        for random in 0..200 {
            let (before, after) = (Numbers::new(7), Numbers::new(7));
            after.rename(random);
            assert_ne!(before.next(at(NOW)), after.next(at(NOW)));
        }
    }
}
