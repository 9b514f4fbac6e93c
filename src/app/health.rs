//! Which dependencies answer.
//!
//! The scanner's state is written by a probe in the background and read on the hot path; the rest is asked when somebody
//! asks for readiness.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::App;

/// What is known about the scanner.
#[derive(Debug, Default)]
pub struct ScannerState {
    available: AtomicBool,
    // A std Mutex, because nothing awaits while it is held.
    described: Mutex<Dependency>,
}

impl ScannerState {
    /// Whether the last probe was answered. Before the first one: no.
    pub fn is_available(&self) -> bool {
        self.available.load(Ordering::Relaxed)
    }

    /// Notes what a probe found. `ready` closes or opens uploads; `detail` is for people.
    pub fn note(&self, ready: bool, detail: String) {
        match (self.available.swap(ready, Ordering::Relaxed), ready) {
            (true, false) => tracing::warn!(%detail, "the scanner is away; uploads are refused"),
            (false, true) => tracing::info!(%detail, "the scanner answers"),
            _ => {}
        }
        let mut described = self.described.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *described = Dependency { name: "scanner".into(), ready, detail };
    }

    fn describe(&self) -> Dependency {
        let mut dependency = self.described.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        dependency.name = "scanner".into();
        dependency
    }
}

/// One dependency and whether it answers.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct Dependency {
    /// For example `database`, `scanner`, `target:images`.
    pub name: String,
    /// Whether it answers.
    pub ready: bool,
    /// What was found; holds no secret.
    pub detail: String,
}

/// Whether the gateway can do its job.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct Health {
    /// True where every dependency answers.
    pub ready: bool,
    /// Each of them.
    pub dependencies: Vec<Dependency>,
}

/// A probe that takes longer counts as unanswered.
const DEADLINE: Duration = Duration::from_secs(3);

impl App {
    /// Asks every dependency.
    pub async fn health(&self) -> Health {
        let database = async {
            let answer = tokio::time::timeout(DEADLINE, self.store.probe()).await;
            let (ready, detail) = match answer {
                Ok(Ok(())) => (true, "takes writes".to_owned()),
                Ok(Err(error)) => (false, error.to_string()),
                Err(_) => (false, "did not answer in time".to_owned()),
            };
            Dependency { name: "database".into(), ready, detail }
        };
        let targets = self.targets.all();
        let targets = futures::future::join_all(targets.iter().map(|open| async move {
            let answer = tokio::time::timeout(DEADLINE, open.store.probe()).await;
            let (ready, detail) = match answer {
                Ok(Ok(())) => (true, "answers".to_owned()),
                Ok(Err(error)) => (false, error.to_string()),
                Err(_) => (false, "did not answer in time".to_owned()),
            };
            Dependency { name: format!("target:{}", open.target.name), ready, detail }
        }));
        let (database, mut targets) = tokio::join!(database, targets);
        targets.sort_by(|a, b| a.name.cmp(&b.name));
        let mut dependencies = vec![database, self.scanner.describe()];
        dependencies.append(&mut targets);
        Health { ready: dependencies.iter().all(|dependency| dependency.ready), dependencies }
    }
}
