//! A handler that writes down what it is given, fails as often as it is told, and takes as long as it is told.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::sync::Semaphore;
use vestibule::domain::hint::Hint;
use vestibule::worker::events::{Consumer, HandleError, HintHandler};

pub struct Recorder {
    hints: Mutex<Vec<Hint>>,
    letters: Mutex<Vec<(String, String)>>,
    calls: AtomicUsize,
    failures: AtomicUsize,
    slow: bool,
    done: Semaphore,
}

impl Recorder {
    /// Takes everything at once.
    pub fn new() -> Self {
        Self {
            hints: Mutex::default(),
            letters: Mutex::default(),
            calls: AtomicUsize::new(0),
            failures: AtomicUsize::new(0),
            slow: false,
            done: Semaphore::new(0),
        }
    }

    /// Fails the first `count` calls, then takes everything.
    pub fn failing(count: usize) -> Self {
        Self { failures: AtomicUsize::new(count), ..Self::new() }
    }

    /// Is not done with any hint before [`Recorder::let_go`].
    pub fn slow() -> Self {
        Self { slow: true, ..Self::new() }
    }

    /// Is done with everything, now and later.
    pub fn let_go(&self) {
        self.done.close();
    }

    pub fn hints(&self) -> Vec<Hint> {
        self.hints.lock().unwrap().clone()
    }

    pub fn keys(&self) -> Vec<String> {
        self.hints().into_iter().map(|hint| hint.key).collect()
    }

    /// Bodies and reasons.
    pub fn letters(&self) -> Vec<(String, String)> {
        self.letters.lock().unwrap().clone()
    }

    /// How often a hint or a dead letter was handed over, failures included.
    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    fn call(&self) -> Result<(), HandleError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let failed = self.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if failed.is_ok() { Err(HandleError("told to fail".into())) } else { Ok(()) }
    }
}

#[async_trait]
impl HintHandler for Recorder {
    async fn hint(&self, _source: &str, hint: &Hint) -> Result<(), HandleError> {
        self.call()?;
        self.hints.lock().unwrap().push(hint.clone());
        if self.slow {
            assert!(self.done.acquire().await.is_err(), "only closing lets through");
        }
        Ok(())
    }

    async fn unreadable(&self, _source: &str, body: &str, reason: &str) -> Result<(), HandleError> {
        self.call()?;
        self.letters.lock().unwrap().push((body.to_owned(), reason.to_owned()));
        Ok(())
    }
}

/// Steps, and waits for what was received, until `enough` or a minute has passed.
pub async fn step_until(consumer: &mut Consumer, what: &str, enough: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !enough() {
        assert!(Instant::now() < deadline, "not within a minute: {what}");
        consumer.step().await.unwrap();
        consumer.drain().await;
    }
}

/// Polls `enough` until it holds or a minute has passed.
pub async fn wait_until(what: &str, enough: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !enough() {
        assert!(Instant::now() < deadline, "not within a minute: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
