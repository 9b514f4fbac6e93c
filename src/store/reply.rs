//! Answers of one commit to its many callers, with one wake-up for each thread that waits.
//!
//! To wake a task of another thread costs a system call, and a commit answers many tasks of few threads. So the committing
//! thread wakes one caller of each thread, and that one wakes its neighbours, which costs it next to nothing on a thread
//! of its own. Nobody is forgotten: whoever was to wake others does so when it is polled and when it is dropped.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread::ThreadId;
use std::time::Duration;

use super::StoreError;

/// The end that gets the result.
pub(super) struct Reply<T> {
    slot: Arc<Slot<T>>,
    /// The thread that asked, and that will probably read the answer.
    pub(super) thread: ThreadId,
}

/// The end that waits: `None` where the other one was dropped without a result.
pub(super) struct Answer<T>(Arc<Slot<T>>);

struct Slot<T>(Mutex<State<T>>);

struct State<T> {
    result: Option<T>,
    /// The other end is gone.
    closed: bool,
    /// The waiting end is gone.
    abandoned: bool,
    waker: Option<Waker>,
    followers: Vec<Waker>,
}

/// A result on its way from the calling thread's question.
pub(super) fn reply<T>() -> (Reply<T>, Answer<T>) {
    let state = State { result: None, closed: false, abandoned: false, waker: None, followers: Vec::new() };
    let slot = Arc::new(Slot(Mutex::new(state)));
    (Reply { slot: Arc::clone(&slot), thread: std::thread::current().id() }, Answer(slot))
}

impl<T> Slot<T> {
    /// No holder of this lock can leave something half done, so that a poisoned one is as good as any.
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Reply<T> {
    /// Nobody waits for the result any more.
    pub(super) fn is_abandoned(&self) -> bool {
        self.slot.lock().abandoned
    }

    /// Leaves the result. Whoever is returned must be woken; `followers` are woken by the caller that waits, or here
    /// where there is none.
    pub(super) fn answer(self, result: T, followers: Vec<Waker>) -> Option<Waker> {
        let mut state = self.slot.lock();
        (state.result, state.closed) = (Some(result), true);
        let waker = state.waker.take().filter(|_| !state.abandoned);
        if waker.is_some() {
            state.followers = followers;
        } else {
            drop(state);
            followers.into_iter().for_each(Waker::wake);
        }
        waker
    }
}

impl<T> Drop for Reply<T> {
    fn drop(&mut self) {
        let mut state = self.slot.lock();
        if !std::mem::replace(&mut state.closed, true)
            && let Some(waker) = state.waker.take()
        {
            drop(state);
            waker.wake();
        }
    }
}

impl<T> Future for Answer<T> {
    type Output = Option<T>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        let mut state = self.0.lock();
        if !state.closed {
            match &mut state.waker {
                Some(waker) => waker.clone_from(context.waker()),
                none => *none = Some(context.waker().clone()),
            }
            return Poll::Pending;
        }
        let (result, followers) = (state.result.take(), std::mem::take(&mut state.followers));
        drop(state);
        followers.into_iter().for_each(Waker::wake);
        Poll::Ready(result)
    }
}

impl<T> Drop for Answer<T> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.abandoned = true;
        let followers = std::mem::take(&mut state.followers);
        drop(state);
        followers.into_iter().for_each(Waker::wake);
    }
}

/// Waits for an answer, at most until the deadline; `what` is what did not come then.
///
/// # Errors
/// [`StoreError::Unavailable`] past the deadline, or where the other end was dropped.
pub(super) async fn answered<T>(
    answer: Answer<Result<T, StoreError>>,
    deadline: Duration,
    what: &str,
) -> Result<T, StoreError> {
    match tokio::time::timeout(deadline, answer).await {
        Ok(result) => result.unwrap_or_else(|| Err(stopped())),
        Err(_) => Err(StoreError::Unavailable(format!("no {what} within {deadline:?}"))),
    }
}

/// Whoever would answer has ended.
pub(super) fn stopped() -> StoreError {
    StoreError::Unavailable("the store has stopped".into())
}

/// Hands out the results of one commit with `answer` (see [`Reply::answer`]), then wakes one caller of each thread.
pub(super) fn answer_all<R>(
    requests: impl Iterator<Item = R>,
    thread: impl Fn(&R) -> ThreadId,
    answer: impl Fn(R, Vec<Waker>) -> Option<Waker>,
) {
    let mut threads: Vec<(R, Vec<Waker>)> = Vec::new();
    for request in requests {
        match threads.iter_mut().find(|(first, _)| thread(first) == thread(&request)) {
            Some((_, followers)) => followers.extend(answer(request, Vec::new())),
            None => threads.push((request, Vec::new())),
        }
    }
    threads.into_iter().filter_map(|(first, followers)| answer(first, followers)).for_each(Waker::wake);
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn poll<T>(answer: &mut Answer<T>, woken: &Arc<Woken>) -> Poll<Option<T>> {
        Pin::new(answer).poll(&mut Context::from_waker(&Waker::from(woken.clone())))
    }

    #[test]
    fn the_one_that_is_woken_wakes_its_followers_once() {
        let (first, second) = (Arc::<Woken>::default(), Arc::<Woken>::default());
        let ((one, mut waits), (two, mut follows)) = (reply(), reply());
        assert!(poll(&mut waits, &first).is_pending() && poll(&mut follows, &second).is_pending());
        let followers = two.answer(2, Vec::new()).into_iter().collect();
        let leader = one.answer(1, followers).expect("it waits");
        assert_eq!((first.0.load(Ordering::SeqCst), second.0.load(Ordering::SeqCst)), (0, 0));
        leader.wake();
        assert_eq!((poll(&mut waits, &first), first.0.load(Ordering::SeqCst)), (Poll::Ready(Some(1)), 1));
        drop(waits);
        assert_eq!((poll(&mut follows, &second), second.0.load(Ordering::SeqCst)), (Poll::Ready(Some(2)), 1));
    }

    #[test]
    fn one_that_goes_away_forgets_nobody() {
        let woken = Arc::<Woken>::default();
        let ((one, mut waits), (two, gone)) = (reply::<u8>(), reply::<u8>());
        assert!(poll(&mut waits, &woken).is_pending());
        drop(waits);
        assert!(one.is_abandoned() && !two.is_abandoned());
        assert!(one.answer(1, vec![Waker::from(woken.clone())]).is_none());
        assert_eq!(woken.0.load(Ordering::SeqCst), 1, "before the answer");

        let (three, mut waits) = reply::<u8>();
        assert!(poll(&mut waits, &Arc::default()).is_pending());
        assert!(three.answer(3, vec![Waker::from(woken.clone())]).is_some());
        drop(waits);
        assert_eq!(woken.0.load(Ordering::SeqCst), 2, "after it");
        drop(gone);
    }

    #[test]
    fn a_question_that_is_dropped_is_answered_with_nothing() {
        let woken = Arc::<Woken>::default();
        let (reply, mut waits) = reply::<u8>();
        assert!(poll(&mut waits, &woken).is_pending());
        drop(reply);
        assert_eq!((poll(&mut waits, &woken), woken.0.load(Ordering::SeqCst)), (Poll::Ready(None), 1));
    }
}
