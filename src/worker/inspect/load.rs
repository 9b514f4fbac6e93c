//! How many inspections a clamd gets at once: what `STATS` tells, and what follows from it. Pure.
//!
//! clamd has `MaxThreads` threads, and what they cannot take waits in a queue that is everybody's. One thread stays free for
//! others and for `STATS` itself. While there is a queue the number is halved at each look, without one it grows by one
//! (additive increase, multiplicative decrease: Chiu and Jain 1989), so that several gateways on one clamd end with equal
//! shares and without a queue, and none has to know of the others. Form of the reply: `thrmgr_printstats` in
//! `clamd/thrmgr.c` of ClamAV.

/// What `STATS` tells about a clamd's threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Threads {
    /// Threads that work, the one that answers `STATS` among them.
    pub(super) busy: usize,
    /// `MaxThreads`.
    pub(super) max: usize,
    /// Commands that wait for a thread.
    pub(super) queued: usize,
}

/// Where `STATS` tells nothing: clamd can be told not to answer it.
const UNTOLD: usize = 4;

impl Threads {
    /// Reads `THREADS: live 3  idle 1 max 8 idle-timeout 30` and `QUEUE: 2 items`; `None` where the reply has neither.
    pub(super) fn parse(reply: &str) -> Option<Self> {
        let line = |name: &str| reply.lines().find_map(|line| line.trim_start().strip_prefix(name));
        let (threads, queue) = (line("THREADS:")?, line("QUEUE:")?);
        let number = |name: &str| {
            let mut words = threads.split_whitespace().skip_while(|word| *word != name).skip(1);
            words.next().and_then(|word| word.parse::<usize>().ok())
        };
        Some(Self {
            busy: number("live")?.saturating_sub(number("idle")?),
            max: number("max")?,
            queued: queue.split_whitespace().next()?.parse().ok()?,
        })
    }

    /// The most inspections that it should ever get.
    fn ceiling(self) -> usize {
        self.max.saturating_sub(1).max(1)
    }
}

/// What a look at the server showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// It told.
    Told(Threads),
    /// It answers other commands, but had no thread for this one: all are taken.
    Busy,
    /// It does not tell.
    Untold,
}

/// How many inspections it gets from now on; `limit` is the number until now, `None` at the first look.
pub(super) fn next_limit(limit: Option<usize>, look: Look) -> usize {
    match (look, limit) {
        (Look::Untold, limit) => limit.unwrap_or(UNTOLD),
        (Look::Busy, limit) => limit.map_or(1, halved),
        (Look::Told(threads), None) => threads.ceiling(),
        (Look::Told(threads), Some(limit)) if threads.queued > 0 => halved(limit).min(threads.ceiling()),
        (Look::Told(threads), Some(limit)) if threads.busy < threads.max => (limit + 1).min(threads.ceiling()),
        (Look::Told(threads), Some(limit)) => limit.min(threads.ceiling()),
    }
}

fn halved(limit: usize) -> usize {
    (limit / 2).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(busy: usize, queued: usize) -> Look {
        Look::Told(Threads { busy, max: 8, queued })
    }

    #[test]
    fn the_reply_of_clamd_is_read() {
        let reply = "POOLS: 1\n\nSTATE: VALID PRIMARY\nTHREADS: live 3  idle 1 max 8 idle-timeout 30\n\
                     QUEUE: 2 items min_wait: 0.1 max_wait: 0.2 avg_wait: 0.15\n\tSTATS 0.000092 \n\nEND\n";
        assert_eq!(Threads::parse(reply), Some(Threads { busy: 2, max: 8, queued: 2 }));
        for reply in ["", "UNKNOWN COMMAND", "THREADS: live 3 idle 1\nQUEUE: 0 items", "THREADS: live x idle 1 max 8"] {
            assert_eq!(Threads::parse(reply), None, "{reply:?}");
        }
    }

    #[test]
    fn it_starts_below_the_maximum_shrinks_by_half_and_grows_by_one() {
        let first = next_limit(None, look(1, 0));
        assert_eq!(first, 7);
        let shrunk: Vec<_> = (0..4)
            .scan(first, |limit, _| {
                Some({
                    *limit = next_limit(Some(*limit), look(8, 5));
                    *limit
                })
            })
            .collect();
        assert_eq!(shrunk, [3, 1, 1, 1]);
        assert_eq!(next_limit(Some(1), look(3, 0)), 2);
        assert_eq!(next_limit(Some(7), look(3, 0)), 7, "one thread stays free");
        assert_eq!(next_limit(Some(3), look(8, 0)), 3, "all threads are taken, and nobody waits");
    }

    #[test]
    fn a_server_without_a_thread_for_the_question_is_a_busy_one_and_a_small_one_gets_one() {
        assert_eq!((next_limit(Some(7), Look::Busy), next_limit(None, Look::Busy)), (3, 1));
        assert_eq!((next_limit(None, Look::Untold), next_limit(Some(3), Look::Untold)), (4, 3));
        assert_eq!(next_limit(None, Look::Told(Threads { busy: 1, max: 1, queued: 0 })), 1);
        assert_eq!(next_limit(Some(7), Look::Told(Threads { busy: 1, max: 4, queued: 0 })), 3, "restarted with fewer");
    }
}
