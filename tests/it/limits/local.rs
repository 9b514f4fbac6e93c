//! Counters of one process, under a clock that the test moves.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use vestibule::clock::Clock;
use vestibule::domain::limits::{RateLimits, Rates};
use vestibule::limits::{Limiter, LocalLimits, Verdict};

use super::{Caller, NONE, left, limits, ten_thousand_at_once, workflow};

/// A limiter, and its clock at half past ten, in the middle of a second.
fn limiter() -> (Limiter, Clock) {
    let clock = Clock::manual("2026-11-21T10:30:00.5Z".parse().unwrap());
    (Limiter::local(clock.clone()), clock)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ten_thousand_requests_at_once_get_the_limit_and_no_more() {
    ten_thousand_at_once(vec![Arc::new(limiter().0)], "").await;
}

#[test]
fn threads_that_ask_without_pause_get_the_limit_and_no_more() {
    let clock = Clock::manual("2026-11-21T10:30:00Z".parse().unwrap());
    let local = LocalLimits::new(clock);
    let limits =
        limits(Rates([None, Some(40_000), None]), Rates([Some(30_000), None, None]), Rates([None, None, Some(9_999)]));
    let admitted: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|number| {
                let caller = Caller::new(&format!("app-{}", number % 2), &format!("w-{number}"), &limits);
                let local = &local;
                let admitted = move || matches!(local.take(&caller.ask()), Verdict::Admitted(_));
                scope.spawn(move || (0..10_000).filter(|_| admitted()).count())
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(admitted, 9_999);
}

#[tokio::test]
async fn a_window_ends_on_the_second_the_hour_and_the_day_of_utc() {
    let (limiter, clock) = limiter();
    let caller = Caller::new("where2eat", "nightly", &workflow([Some(5), Some(7), Some(9)]));
    assert_eq!(caller.admitted_of(10, &limiter).await, 5);
    assert_eq!(caller.refused(&limiter).await.0, "workflow-second");
    clock.advance(Duration::from_millis(499));
    assert!(!caller.admitted(&limiter).await, "10:30:00.999");
    clock.advance(Duration::from_millis(1));
    assert_eq!(caller.admitted_of(10, &limiter).await, 2, "10:30:01: seven in this hour");
    assert_eq!(caller.refused(&limiter).await.0, "workflow-hour");
    clock.advance(Duration::from_secs(1799));
    assert_eq!(caller.admitted_of(10, &limiter).await, 2, "11:00:00: nine on this day");
    assert_eq!(caller.refused(&limiter).await.0, "workflow-day");
    clock.advance(Duration::from_secs(13 * 3600 - 1));
    assert!(!caller.admitted(&limiter).await, "23:59:59");
    clock.advance(Duration::from_secs(1));
    assert_eq!(caller.admitted_of(10, &limiter).await, 5, "midnight");
}

#[tokio::test]
async fn a_refused_request_counts_nowhere() {
    let (limiter, clock) = limiter();
    let limits = limits(Rates([Some(2), None, None]), Rates([None, Some(10), None]), Rates([None, None, Some(20)]));
    let (one, two) = (Caller::new("where2eat", "one", &limits), Caller::new("where2eat", "two", &limits));
    assert_eq!(one.admitted_of(100, &limiter).await, 2);
    assert_eq!(
        left(&limiter.look(&two.ask()).await.unwrap()),
        [2, 8, 18],
        "only what was admitted counts for the app and the owner"
    );
    for _ in 0..4 {
        clock.advance(Duration::from_secs(1));
        two.admitted_of(100, &limiter).await;
    }
    clock.advance(Duration::from_secs(1));
    assert_eq!(one.refused(&limiter).await.0, "app-hour");
    assert_eq!(left(&limiter.look(&one.ask()).await.unwrap()), [2, 0, 10]);
}

#[tokio::test]
async fn two_workflows_and_two_apps_do_not_share() {
    let (limiter, _) = limiter();
    let limits = workflow([Some(3), None, None]);
    for (app, workflow) in [("where2eat", "nightly"), ("where2eat", "hourly"), ("menus", "nightly")] {
        assert_eq!(Caller::new(app, workflow, &limits).admitted_of(5, &limiter).await, 3, "{app} {workflow}");
    }
}

#[tokio::test]
async fn a_changed_limit_is_compared_with_the_true_count() {
    let (limiter, clock) = limiter();
    let caller = |hour| Caller::new("where2eat", "nightly", &workflow([None, Some(hour), None]));
    assert_eq!(caller(10).admitted_of(20, &limiter).await, 10);
    assert_eq!(caller(4).admitted_of(5, &limiter).await, 0, "lowered below what was used");
    assert_eq!(caller(13).admitted_of(5, &limiter).await, 3, "raised: three more, not thirteen");
    let daily = Caller::new("where2eat", "nightly", &workflow([None, None, Some(20)]));
    assert_eq!(daily.admitted_of(20, &limiter).await, 7, "a new limit of another window knows the day's thirteen");
    clock.advance(Duration::from_secs(3600));
    assert_eq!(caller(4).admitted_of(20, &limiter).await, 4, "the next hour begins at none");
}

#[tokio::test]
async fn the_same_request_is_stopped_and_another_one_is_not() {
    let (limiter, clock) = limiter();
    let limits = Arc::new(RateLimits::new(Rates([Some(1000), None, None]), NONE, NONE, 3));
    let (caller, other) = (|body| Caller::new("where2eat", "nightly", &limits).sending(body), "other");
    assert_eq!(caller("loop").admitted_of(10, &limiter).await, 3);
    assert_eq!(caller("loop").refused(&limiter).await.0, "same-request");
    assert_eq!(caller(other).admitted_of(2, &limiter).await, 2);
    assert_eq!(Caller::new("where2eat", "hourly", &limits).sending("loop").admitted_of(10, &limiter).await, 3);
    assert_eq!(Caller::new("where2eat", "nightly", &limits).admitted_of(50, &limiter).await, 50, "without a body");
    assert_eq!(
        left(&limiter.look(&caller("loop").ask()).await.unwrap()),
        [1000 - 55],
        "a stopped loop uses nothing up"
    );
    clock.advance(Duration::from_secs(59));
    assert!(!caller("loop").admitted(&limiter).await);
    clock.advance(Duration::from_secs(1));
    assert!(caller("loop").admitted(&limiter).await, "the next minute");
}

#[tokio::test]
async fn whoever_keeps_asking_is_told_to_wait_longer() {
    let (limiter, clock) = limiter();
    let caller = Caller::new("where2eat", "nightly", &workflow([Some(1), None, None]));
    assert!(caller.admitted(&limiter).await);
    let mut waits = Vec::new();
    for _ in 0..12 {
        waits.push(caller.refused(&limiter).await.1);
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 301, 301, 301]);
    clock.advance(Duration::from_secs(1));
    assert!(caller.admitted(&limiter).await, "it is advice: the window is free again");
    assert_eq!(caller.refused(&limiter).await.1, 1);
}

proptest! {
    /// Against a plain model: every request is written down with its time, and windows are counted over the list.
    #[test]
    fn no_aligned_window_ever_admits_more_than_its_limit_and_none_refuses_early(
        steps in prop::collection::vec((0_u64..900, 1_usize..8), 1..60),
        second in 1_u32..6,
        hour in 6_u32..12,
        day in 12_u32..40,
    ) {
        let clock = Clock::manual("2026-11-21T22:30:00Z".parse().unwrap());
        let local = LocalLimits::new(clock.clone());
        let caller = Caller::new("where2eat", "nightly", &workflow([Some(second), Some(hour), Some(day)]));
        let mut admitted: Vec<i64> = Vec::new();
        for (pause, requests) in steps {
            clock.advance(Duration::from_millis(pause * 997));
            for _ in 0..requests {
                let now = clock.now().as_second();
                let used = |length: i64| admitted.iter().filter(|at| **at / length == now / length).count();
                let fits = used(1) < second as usize && used(3600) < hour as usize && used(86_400) < day as usize;
                let verdict = local.take(&caller.ask());
                prop_assert_eq!(matches!(verdict, Verdict::Admitted(_)), fits);
                if fits {
                    admitted.push(now);
                }
            }
            local.prune();
        }
    }
}
