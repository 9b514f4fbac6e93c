//! One node, asked again and again whether it accepts the canary.
//!
//! Two connections ask in turn, so that an answer comes every few milliseconds; more would measure the load that they make.
//! What is neither yes nor no (an overloaded node, one that is away) counts as neither.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use reqwest::{Client, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use tokio::task::JoinSet;
use url::Url;

use crate::cli::Failure;

/// Connections that ask.
const ASKERS: usize = 2;
/// Pause of each between an answer and its next question.
const PAUSE: Duration = Duration::from_millis(4);
/// Answers in a row after which a node is believed to have made up its mind: several from each connection.
const ENOUGH: u32 = 8;

/// A node under watch; dropping it ends the questions.
pub(super) struct Node {
    url: Url,
    seen: Arc<Mutex<Seen>>,
    _askers: JoinSet<()>,
}

/// What came back.
#[derive(Default)]
struct Seen {
    /// Answers of the last kind, one after the other.
    accepted: u32,
    refused: u32,
    last_accepted: Option<Instant>,
    /// The last answer that was neither.
    other: Option<String>,
}

/// One answer.
enum Answer {
    Accepted,
    Refused,
    Other(String),
}

impl Node {
    /// Begins to ask.
    pub(super) fn watch(url: &Url, canary: &SecretString, http: Client) -> Result<Self, Failure> {
        let address = format!("{}/limits", url.as_str().trim_end_matches('/'));
        let seen = Arc::<Mutex<Seen>>::default();
        let mut askers = JoinSet::new();
        for _ in 0..ASKERS {
            let (http, address, canary, seen) = (http.clone(), address.clone(), canary.clone(), Arc::clone(&seen));
            askers.spawn(async move {
                loop {
                    let sent = Instant::now();
                    let answer = ask(&http, &address, &canary).await;
                    lock(&seen).note(sent, answer);
                    tokio::time::sleep(PAUSE).await;
                }
            });
        }
        Ok(Self { url: url.clone(), seen, _askers: askers })
    }

    /// Whether it accepts the canary.
    pub(super) fn accepts(&self) -> bool {
        lock(&self.seen).accepted >= ENOUGH
    }

    /// Whether it refuses it.
    pub(super) fn refuses(&self) -> bool {
        lock(&self.seen).refused >= ENOUGH
    }

    /// From `moment` to the last answer that accepted it; nothing where that came before.
    pub(super) fn accepted_after(&self, moment: Instant) -> Duration {
        lock(&self.seen).last_accepted.map_or(Duration::ZERO, |last| last.saturating_duration_since(moment))
    }

    /// For people: what it answers instead.
    pub(super) fn describe(&self) -> String {
        let seen = lock(&self.seen);
        let what = match (seen.accepted > 0, seen.refused > 0, &seen.other) {
            (true, ..) => "accepts it",
            (_, true, _) => "refuses it",
            (.., Some(other)) => other,
            (.., None) => "does not answer",
        };
        format!("{} {what}", self.url)
    }
}

impl Seen {
    /// Counts an answer to a question that was sent at `sent`. The time of an acceptance is that of its answer: the latest
    /// moment at which the node may have decided.
    fn note(&mut self, sent: Instant, answer: Answer) {
        match answer {
            Answer::Accepted => {
                self.last_accepted = Some(Instant::now());
                (self.accepted, self.refused) = (self.accepted + 1, 0);
            }
            // One that was sent before an acceptance came back says nothing about the time after it.
            Answer::Refused if self.last_accepted.is_some_and(|accepted| accepted > sent) => {}
            Answer::Refused => (self.accepted, self.refused) = (0, self.refused + 1),
            Answer::Other(what) => {
                self.other = Some(what);
                (self.accepted, self.refused) = (0, 0);
            }
        }
    }
}

async fn ask(http: &Client, address: &str, canary: &SecretString) -> Answer {
    let sent = http.get(address).bearer_auth(canary.expose_secret()).send().await;
    let answer = match sent {
        // The whole answer, so that the connection can be used again.
        Ok(answer) => {
            let status = answer.status();
            answer.bytes().await.map(|_| status)
        }
        Err(error) => Err(error),
    };
    match answer {
        Ok(status) if status.is_success() => Answer::Accepted,
        Ok(StatusCode::UNAUTHORIZED) => Answer::Refused,
        Ok(status) => Answer::Other(format!("answers {}", status.as_u16())),
        Err(error) => Answer::Other(format!("cannot be reached: {}", super::cause(error))),
    }
}

/// Nothing awaits while it is held, and what is behind it is right at any moment.
fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_that_overtook_an_acceptance_proves_nothing() {
        let (mut seen, before) = (Seen::default(), Instant::now());
        seen.note(before, Answer::Accepted);
        seen.note(before, Answer::Refused);
        assert_eq!((seen.accepted, seen.refused), (1, 0));
        let after = Instant::now() + Duration::from_millis(1);
        seen.note(after, Answer::Refused);
        seen.note(after, Answer::Other("answers 503".into()));
        assert_eq!((seen.accepted, seen.refused), (0, 0), "an answer that is neither is neither");
        seen.note(after, Answer::Refused);
        assert_eq!(seen.refused, 1);
    }
}
