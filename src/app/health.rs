//! Which dependencies answer, as last found.
//!
//! A probe in the background asks and writes it down here; whoever asks for readiness reads it. So a request for readiness
//! costs nothing, however many there are, and needs no token. Ready is a node whose database and scanner answer: a target
//! that does not is shown, and refuses its own requests only.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::App;

/// One dependency and whether it answers.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct Dependency {
    /// For example `database`, `scanner`, `target:images`, `issuer:company`.
    pub name: String,
    /// Whether it answers.
    pub ready: bool,
    /// Whether the node is ready only with it.
    pub required: bool,
    /// Only of the scanner: whether its signatures are out of date. Absent where it tells no date.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stale: Option<bool>,
    /// What was found; holds no secret. Only on the admin listener.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// Whether the gateway can do its job.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct Health {
    /// True where every required dependency answers and the node is not about to end.
    pub ready: bool,
    /// Whether the node is about to end: it still answers, and asks to be left.
    pub draining: bool,
    /// Each of them.
    pub dependencies: Vec<Dependency>,
}

impl Health {
    /// The same for everybody: what was found may name buckets and addresses.
    #[must_use]
    pub fn without_details(mut self) -> Self {
        self.dependencies.iter_mut().for_each(|dependency| dependency.detail = None);
        self
    }
}

/// What the probe has found out about the scanner. Before it has asked for the first time: away.
#[derive(Debug, Default)]
pub struct ScannerState {
    available: AtomicBool,
    // A std Mutex, because nothing awaits while it is held.
    found: Mutex<Vec<ScannerFound>>,
}

/// What the probe has found out about one of the scanner's servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScannerFound {
    /// Whether it answers.
    pub ready: bool,
    /// Whether its signatures are out of date, where it tells their date.
    pub stale: Option<bool>,
    /// Its address, and both for people.
    pub detail: String,
}

/// What the probe has found out about the rest. What it has not asked is not ready.
#[derive(Debug, Default)]
pub struct HealthBoard {
    found: Mutex<Found>,
    draining: AtomicBool,
}

#[derive(Debug, Default)]
struct Found {
    database: Option<(Timestamp, Answer)>,
    targets: Vec<(String, Answer)>,
    /// Only where limits are shared: the answer, and whether the node needs it.
    redis: Option<(Answer, bool)>,
}

/// `Err` says why there was none.
type Answer = Result<(), String>;

/// A probe that takes longer counts as unanswered.
const DEADLINE: Duration = Duration::from_secs(3);
/// An answer older than this says nothing: the probe itself hangs.
const FRESH: SignedDuration = SignedDuration::from_secs(30);

impl ScannerState {
    /// Whether the last probe was answered. Uploads are refused while it was not.
    pub fn is_available(&self) -> bool {
        self.available.load(Ordering::Relaxed)
    }

    /// Notes what a probe found about each server. The scanner is away where none answers.
    pub fn note(&self, found: Vec<ScannerFound>) {
        let ready = found.iter().any(|server| server.ready);
        let detail = found.iter().map(|server| server.detail.as_str()).collect::<Vec<_>>().join(", ");
        match (self.available.swap(ready, Ordering::Relaxed), ready) {
            (true, false) => tracing::warn!(%detail, "the scanner is away; uploads are refused"),
            (false, true) => tracing::info!(%detail, "the scanner answers"),
            _ => {}
        }
        *lock(&self.found) = found;
    }

    /// The scanner as a whole, and behind it each server where there are several. Their names are numbers in the order of
    /// the configuration: an address is a detail.
    fn describe(&self) -> Vec<Dependency> {
        let found = lock(&self.found).clone();
        let detail = match &*found {
            [] => "was not asked yet".to_owned(),
            [only] => only.detail.clone(),
            all => format!("{} of {} servers answer", all.iter().filter(|one| one.ready).count(), all.len()),
        };
        let told: Vec<bool> = found.iter().filter_map(|server| server.stale).collect();
        let stale = (!told.is_empty()).then(|| told.contains(&true));
        let name = "scanner".to_owned();
        let mut all =
            vec![Dependency { name, ready: self.is_available(), required: true, stale, detail: Some(detail) }];
        if found.len() > 1 {
            all.extend(found.into_iter().zip(1..).map(|(server, number)| Dependency {
                name: format!("scanner:{number}"),
                ready: server.ready,
                required: false,
                stale: server.stale,
                detail: Some(server.detail),
            }));
        }
        all
    }
}

impl HealthBoard {
    fn health(&self, scanner: &ScannerState, now: Timestamp) -> Health {
        let found = lock(&self.found);
        let database = match &found.database {
            Some((at, answer)) if now.duration_since(*at) <= FRESH => answer.clone(),
            _ => Err("was not asked lately".to_owned()),
        };
        let database = Dependency { required: true, ..described("database", &database, "takes writes") };
        let mut dependencies = vec![database];
        dependencies.extend(scanner.describe());
        dependencies.extend(found.targets.iter().map(|(name, answer)| described(name, answer, "answers")));
        if let Some((answer, required)) = &found.redis {
            dependencies.push(Dependency { required: *required, ..described("redis", answer, "answers") });
        }
        let draining = self.draining.load(Ordering::Relaxed);
        let ready = !draining && dependencies.iter().all(|dependency| dependency.ready || !dependency.required);
        Health { ready, draining, dependencies }
    }
}

fn described(name: &str, answer: &Answer, good: &str) -> Dependency {
    let detail = answer.as_ref().err().map_or(good, String::as_str).to_owned();
    Dependency { name: name.to_owned(), ready: answer.is_ok(), required: false, stale: None, detail: Some(detail) }
}

impl App {
    /// What was found last.
    pub fn health(&self) -> Health {
        let mut health = self.board.health(&self.scanner, self.clock.now());
        let issuers = self.issuers.answers();
        health.dependencies.extend(
            issuers.iter().map(|(name, answer)| described(&format!("issuer:{name}"), answer, "its keys are known")),
        );
        health
    }

    /// Says from now on that this node is about to end, so that balancers and clients leave it while it still answers.
    pub fn drain(&self) {
        self.board.draining.store(true, Ordering::Relaxed);
    }

    /// Whether this node is about to end.
    pub fn is_draining(&self) -> bool {
        self.board.draining.load(Ordering::Relaxed)
    }

    /// Asks the database whether it takes a write, and notes the answer.
    pub async fn probe_database(&self) {
        let answer = within_deadline(self.store.probe()).await;
        metrics::gauge!("vestibule_database_up").set(f64::from(u8::from(answer.is_ok())));
        lock(&self.board.found).database = Some((self.clock.now(), answer));
    }

    /// Asks Redis, where limits are shared through one, and notes the answer.
    pub async fn probe_limits(&self) {
        let Some(answer) = self.limiter.probe().await else { return };
        metrics::gauge!("vestibule_limits_redis_up").set(f64::from(u8::from(answer.is_ok())));
        lock(&self.board.found).redis = Some((answer, self.limiter.denies_when_away()));
    }

    /// Asks the storage of every target, all at the same time, and notes the answers.
    pub async fn probe_targets(&self) {
        let targets = self.targets.all();
        let mut answers = futures::future::join_all(targets.iter().map(|open| async move {
            let answer = within_deadline(open.store.probe()).await;
            let name = open.target.name.to_string();
            metrics::gauge!("vestibule_target_up", "target" => name.clone()).set(f64::from(u8::from(answer.is_ok())));
            (format!("target:{name}"), answer)
        }))
        .await;
        answers.sort_by(|one, other| one.0.cmp(&other.0));
        lock(&self.board.found).targets = answers;
    }
}

async fn within_deadline<E: std::fmt::Display>(probe: impl Future<Output = Result<(), E>>) -> Answer {
    match tokio::time::timeout(DEADLINE, probe).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err("did not answer in time".to_owned()),
    }
}

/// What is behind these locks is replaced as a whole, so that a poisoned one is as good as any.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health(scanner: bool, database: Answer, target: Answer, seconds_later: i64) -> Health {
        let (state, now) = (ScannerState::default(), "2026-11-21T10:00:00Z".parse().unwrap());
        state.note(vec![found(scanner)]);
        let board = HealthBoard::default();
        *lock(&board.found) =
            Found { database: Some((now, database)), targets: vec![("target:images".into(), target)], redis: None };
        board.health(&state, now + SignedDuration::from_secs(seconds_later))
    }

    fn found(ready: bool) -> ScannerFound {
        ScannerFound { ready, stale: ready.then_some(true), detail: "tcp:10.0.0.5:3310: ClamAV".into() }
    }

    #[test]
    fn of_several_scanner_servers_one_that_answers_is_enough_and_each_is_named() {
        let state = ScannerState::default();
        state.note(vec![found(false), found(true)]);
        let described = state.describe();
        let told: Vec<_> =
            described.iter().map(|one| (one.name.as_str(), one.ready, one.required, one.stale)).collect();
        assert_eq!(
            told,
            [
                ("scanner", true, true, Some(true)),
                ("scanner:1", false, false, None),
                ("scanner:2", true, false, Some(true))
            ]
        );
        assert_eq!(described[0].detail.as_deref(), Some("1 of 2 servers answer"));
        state.note(vec![found(false), found(false)]);
        assert!(!state.is_available());
    }

    #[test]
    fn a_node_that_is_about_to_end_is_not_ready_although_all_answers() {
        let (state, now) = (ScannerState::default(), "2026-11-21T10:00:00Z".parse().unwrap());
        state.note(vec![found(true)]);
        let board = HealthBoard::default();
        lock(&board.found).database = Some((now, Ok(())));
        let before = board.health(&state, now);
        board.draining.store(true, Ordering::Relaxed);
        let after = board.health(&state, now);
        assert_eq!((before.ready, before.draining, after.ready, after.draining), (true, false, false, true));
        assert_eq!(before.dependencies, after.dependencies);
    }

    #[test]
    fn nothing_is_ready_before_it_was_asked() {
        let now = "2026-11-21T10:00:00Z".parse().unwrap();
        let health = HealthBoard::default().health(&ScannerState::default(), now);
        assert!(!health.ready && health.dependencies.iter().all(|dependency| !dependency.ready));
    }

    #[test]
    fn a_target_that_is_away_is_shown_and_leaves_the_node_ready() {
        let health = health(true, Ok(()), Err("bucket b-17 is away".into()), 0);
        assert!(health.ready);
        assert_eq!((health.dependencies[2].ready, health.dependencies[2].required), (false, false));
        assert_eq!(health.dependencies[1].stale, Some(true), "old signatures are told");
        assert!(serde_json::to_string(&health).unwrap().contains("b-17"));
        assert!(!serde_json::to_string(&health.without_details()).unwrap().contains("b-17"));
    }

    #[test]
    fn a_node_needs_redis_only_where_it_may_not_count_alone() {
        for (required, ready) in [(true, false), (false, true)] {
            let (state, now) = (ScannerState::default(), "2026-11-21T10:00:00Z".parse().unwrap());
            state.note(vec![found(true)]);
            let board = HealthBoard::default();
            let redis = Some((Err("did not answer".to_owned()), required));
            *lock(&board.found) = Found { database: Some((now, Ok(()))), targets: Vec::new(), redis };
            let health = board.health(&state, now);
            assert_eq!((health.ready, health.dependencies[2].name.as_str()), (ready, "redis"));
        }
    }

    #[test]
    fn a_node_is_not_ready_without_its_database_its_scanner_or_an_answer_of_late() {
        assert!(!health(true, Err("disk full".into()), Ok(()), 0).ready);
        assert!(!health(false, Ok(()), Ok(()), 0).ready);
        assert!(!health(true, Ok(()), Ok(()), 31).ready);
        assert!(health(true, Ok(()), Ok(()), 30).ready);
    }
}
