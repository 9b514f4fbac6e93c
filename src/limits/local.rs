//! The limits of one node, counted in its memory.
//!
//! An app's counters lie behind one lock, those of an owner behind another that is taken after it and only where the
//! owner has limits; so all windows are checked and counted in one step and no two requests wait for each other in a
//! circle. Memory is bounded by the workflows that exist: their windows are forgotten when the day is over, and at most
//! [`BODIES`] requests are told apart a minute.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::clock::Clock;
use crate::domain::ids::{AppName, OwnerName, WorkflowName};
use crate::domain::limits::{LimitScope, SAME_REQUEST_SECONDS, Window};

use super::backoff::Streak;
use super::standing::{Standing, Used, Verdict, met};
use super::{Ask, SameRequest};

/// Locks; a power of two. So many that requests of different apps seldom meet.
const SHARDS: usize = 64;
/// Different requests that are counted for one workflow in one minute. What comes beyond is not told apart.
const BODIES: usize = 4096;
/// A map that has grown beyond this is not kept for the next minute.
const USUAL_BODIES: usize = 256;

/// Counters of this process.
#[derive(Debug)]
pub struct LocalLimits {
    clock: Clock,
    hasher: RandomState,
    // std Mutexes, because nothing awaits while one is held.
    apps: [Mutex<HashMap<AppName, AppCounts>>; SHARDS],
    owners: [Mutex<HashMap<OwnerName, Counts>>; SHARDS],
}

#[derive(Debug, Default)]
struct AppCounts {
    counts: Counts,
    workflows: HashMap<WorkflowName, WorkflowCounts>,
}

#[derive(Debug, Default)]
struct WorkflowCounts {
    counts: Counts,
    streak: Streak,
    minute: i64,
    repeats: HashMap<SameRequest, u32>,
}

/// The newest window of each length: its number since the epoch, and the requests that were admitted in it.
#[derive(Clone, Copy, Debug, Default)]
struct Counts([(i64, u32); 3]);

impl LocalLimits {
    /// Empty counters that read this clock.
    pub fn new(clock: Clock) -> Self {
        let (apps, owners) = (std::array::from_fn(|_| Mutex::default()), std::array::from_fn(|_| Mutex::default()));
        Self { clock, hasher: RandomState::new(), apps, owners }
    }

    /// Counts a request where every limit admits it, and nothing where one does not.
    pub fn take(&self, ask: &Ask<'_>) -> Verdict {
        let now = self.now();
        self.at(ask, |mut counters| {
            let same = counters.workflow.repeated(ask.same, now);
            let mut windows = counters.roll(now);
            if let Some(mut met) = met(ask.limits, &windows, same) {
                met.retry_after += counters.workflow.streak.refused(now, met.limit);
                return Verdict::Refused(Standing { limits: ask.limits.clone(), windows }, met);
            }
            counters.count(ask.same);
            windows.iter_mut().flatten().for_each(|window| window.used += 1);
            Verdict::Admitted(Standing { limits: ask.limits.clone(), windows })
        })
    }

    /// How the windows stand; counts nothing.
    pub fn look(&self, ask: &Ask<'_>) -> Standing {
        let now = self.now();
        let windows = self.at(ask, |mut counters| counters.roll(now));
        Standing { limits: ask.limits.clone(), windows }
    }

    /// What was decided about a request elsewhere. Counts along where it was admitted, so that this node can go on
    /// alone; where a limit refused it, the seconds to add to the wait.
    pub(super) fn note(&self, ask: &Ask<'_>, refused_by: Option<u32>) -> u32 {
        let now = self.now();
        self.at(ask, |mut counters| {
            if let Some(limit) = refused_by {
                return counters.workflow.streak.refused(now, limit);
            }
            counters.workflow.repeated(ask.same, now);
            counters.roll(now);
            counters.count(ask.same);
            0
        })
    }

    /// Forgets what belongs to a day that is over.
    pub fn prune(&self) {
        let today = Window::Day.number(self.now());
        let current = |counts: &Counts| counts.0[Window::Day as usize].0 >= today;
        for shard in &self.apps {
            lock(shard).retain(|_, app| {
                app.workflows.retain(|_, workflow| current(&workflow.counts));
                !app.workflows.is_empty() || current(&app.counts)
            });
        }
        for shard in &self.owners {
            lock(shard).retain(|_, counts| current(counts));
        }
    }

    fn now(&self) -> i64 {
        self.clock.now().as_second()
    }

    /// Runs `act` on the counters of a request, which are locked meanwhile.
    fn at<T>(&self, ask: &Ask<'_>, act: impl FnOnce(Counters<'_>) -> T) -> T {
        let shard = |hash: u64| usize::try_from(hash % SHARDS as u64).unwrap_or(0);
        let mut apps = lock(&self.apps[shard(self.hasher.hash_one(ask.app))]);
        let AppCounts { counts: app, workflows } = apps.entry(ask.app.clone()).or_default();
        let workflow = workflows.entry(ask.workflow.clone()).or_default();
        let limited = |scope| !ask.limits.of(scope).is_empty();
        let app = limited(LimitScope::App).then_some(app);
        let Some(name) = ask.owner.filter(|_| limited(LimitScope::Owner)) else {
            return act(Counters { workflow, app, owner: None });
        };
        let mut owners = lock(&self.owners[shard(self.hasher.hash_one(name))]);
        let owner = Some(owners.entry(name.clone()).or_default());
        act(Counters { workflow, app, owner })
    }
}

/// The counters of one request; only those that have limits.
struct Counters<'a> {
    workflow: &'a mut WorkflowCounts,
    app: Option<&'a mut Counts>,
    owner: Option<&'a mut Counts>,
}

impl Counters<'_> {
    /// Begins the windows that `now` lies in; how all of them stand.
    fn roll(&mut self, now: i64) -> [[Used; 3]; 3] {
        let none = [Used::default(); 3];
        [
            self.workflow.counts.roll(now),
            self.app.as_mut().map_or(none, |counts| counts.roll(now)),
            self.owner.as_mut().map_or(none, |counts| counts.roll(now)),
        ]
    }

    /// One more request in every window.
    fn count(&mut self, same: Option<SameRequest>) {
        self.workflow.streak.admitted();
        self.workflow.counts.count();
        self.app.iter_mut().for_each(|counts| counts.count());
        self.owner.iter_mut().for_each(|counts| counts.count());
        let repeats = &mut self.workflow.repeats;
        let Some(same) = same else { return };
        if let Some(used) = repeats.get_mut(&same) {
            *used = used.saturating_add(1);
        } else if repeats.len() < BODIES {
            repeats.insert(same, 1);
        }
    }
}

impl Counts {
    /// Begins the windows that `now` lies in. A clock that went back a little goes on in the newest window, which may
    /// have been full; one that went back further begins anew, or a wrong clock would lock everybody out for long.
    fn roll(&mut self, now: i64) -> [Used; 3] {
        let mut stands = [Used::default(); 3];
        for (window, (own, stand)) in Window::ALL.into_iter().zip(self.0.iter_mut().zip(&mut stands)) {
            let number = window.number(now);
            if own.0 != number && own.0 != number + 1 {
                *own = (number, 0);
            }
            let end = (own.0 + 1) * i64::from(window.seconds());
            *stand = Used { used: own.1, ends_in: u32::try_from(end - now).unwrap_or(1) };
        }
        stands
    }

    fn count(&mut self) {
        self.0.iter_mut().for_each(|(_, used)| *used = used.saturating_add(1));
    }
}

impl WorkflowCounts {
    /// How often this request was admitted in this minute.
    fn repeated(&mut self, same: Option<SameRequest>, now: i64) -> Option<Used> {
        let minute = now.div_euclid(i64::from(SAME_REQUEST_SECONDS));
        if self.minute != minute {
            self.minute = minute;
            if self.repeats.capacity() > USUAL_BODIES {
                self.repeats = HashMap::new();
            }
            self.repeats.clear();
        }
        let used = self.repeats.get(&same?).copied().unwrap_or_default();
        let end = (minute + 1) * i64::from(SAME_REQUEST_SECONDS);
        Some(Used { used, ends_in: u32::try_from(end - now).unwrap_or(1) })
    }
}

impl Window {
    /// The number since the Unix epoch of the window that a Unix second lies in.
    fn number(self, second: i64) -> i64 {
        second.div_euclid(i64::from(self.seconds()))
    }
}

/// Counters are whole between any two instructions that can panic, so that a poisoned lock is as good as any.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::limits::{RateLimits, Rates};

    #[test]
    fn a_clock_that_went_back_a_little_gives_nothing_twice_and_one_that_was_far_ahead_locks_nobody_out() {
        let mut counts = Counts::default();
        let noon = 12 * 3600;
        counts.roll(noon);
        counts.count();
        assert_eq!(counts.roll(noon - 1)[Window::Hour as usize], Used { used: 1, ends_in: 3601 });
        assert_eq!(counts.roll(noon + 3599)[Window::Hour as usize].used, 1);
        assert_eq!(counts.roll(noon - 3601)[Window::Hour as usize].used, 0);
        counts.count();
        assert_eq!(counts.roll(noon - 3601).map(|window| window.used), [1, 1, 2]);
    }

    #[test]
    fn memory_is_given_back_when_the_day_is_over() {
        let clock = Clock::manual("2026-11-21T10:00:00Z".parse().unwrap());
        let local = LocalLimits::new(clock.clone());
        let (app, owner) = ("where2eat".parse().unwrap(), "marketing".parse().unwrap());
        let rates = Rates::USUAL;
        let limits = Arc::new(RateLimits::new(rates, rates, rates, 1));
        let ask = |workflow: &str, body: u128| {
            let workflow = workflow.parse().unwrap();
            let same = Some(SameRequest(body));
            local.take(&Ask { app: &app, workflow: &workflow, owner: Some(&owner), limits: &limits, same })
        };
        for number in 0..5 {
            ask(&format!("w-{number}"), 7);
        }
        let kept = || local.apps.iter().map(|shard| lock(shard).values().map(|app| app.workflows.len()).sum::<usize>());
        local.prune();
        assert_eq!(kept().sum::<usize>(), 5);
        clock.advance(std::time::Duration::from_secs(14 * 3600));
        ask("w-0", 7);
        local.prune();
        assert_eq!(kept().sum::<usize>(), 1, "the others did not ask on this day");
        clock.advance(std::time::Duration::from_secs(24 * 3600));
        local.prune();
        assert!(local.apps.iter().all(|shard| lock(shard).is_empty()));
        assert!(local.owners.iter().all(|shard| lock(shard).is_empty()));
    }

    #[test]
    fn a_flood_of_different_requests_is_told_apart_only_so_far() {
        let mut workflow = WorkflowCounts::default();
        for body in 0..10_000 {
            let mut counters = Counters { workflow: &mut workflow, app: None, owner: None };
            counters.count(Some(SameRequest(body)));
        }
        assert_eq!(workflow.repeats.len(), BODIES);
        assert_eq!(workflow.repeated(Some(SameRequest(0)), 0).unwrap().used, 1);
        workflow.repeated(None, 60);
        assert_eq!(workflow.repeats.capacity(), 0);
    }
}
