//! `vestibule drill`: how long does a revoked token go on working, on every node of a live installation?
//!
//! A canary token is made over the admin listener and shown to every node, again and again; then it is revoked, and the time
//! from the answer of the revocation to the last answer that accepted the canary is what counts. Nothing is uploaded or
//! downloaded: the canary asks for its own limits, and its scope covers nothing. Exit code 1 where a node cannot be reached,
//! or goes on accepting for longer than [`BOUND`].

mod admin;
mod node;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use reqwest::{Certificate, Client};
use secrecy::SecretString;
use serde_json::json;
use url::Url;

use crate::clock::Clock;
use crate::domain::ids::AppName;

use super::Failure;
use admin::{Admin, Canary};
use node::Node;

/// The promise (P7): so long may a node go on after the answer of the revocation.
const BOUND: Duration = Duration::from_secs(1);
/// How long a drill goes on looking at a node that does not keep it.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long it is waited before a revocation: another time in each round, so that it falls anywhere between two looks of a
/// node at the database.
const BEFORE: std::ops::Range<u64> = 100..700;
/// Time between two looks at what the nodes have answered.
const TICK: Duration = Duration::from_millis(5);

#[derive(clap::Args)]
pub(super) struct Drill {
    /// The admin listener of any node, for example https://vestibule-admin.example or http://127.0.0.1:9090.
    #[arg(long)]
    admin: Url,
    /// An operator's token. Better in the environment: a command line is visible to other users of the machine.
    #[arg(long, env = "VESTIBULE_ADMIN_TOKEN", hide_env_values = true)]
    token: SecretString,
    /// How often a token is made and revoked.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// The app that the canaries are made for; the first one that may be used where absent.
    #[arg(long)]
    app: Option<AppName>,
    /// Another certificate authority that the listeners' certificates may come from, as a PEM file.
    #[arg(long)]
    ca: Option<PathBuf>,
    /// Print one line of JSON: nodes, p50_ms, p99_ms.
    #[arg(long)]
    json: bool,
}

impl Drill {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let clock = Clock::system();
        let admin = Admin::new(&self.admin, self.token.clone(), self.client()?)?;
        let urls = admin.nodes().await?;
        let app = admin.app(self.app.as_ref()).await?;
        let mut took = Vec::new();
        for round in 1..=self.rounds {
            let canary = admin.canary(&app, clock.now()).await?;
            let result = self.round(&admin, &canary, &urls, &clock).await;
            if result.is_err() {
                // Best effort: it ends by itself in some minutes.
                let _ = admin.revoke(&canary).await;
            }
            let times = result?;
            if !self.json {
                let told: Vec<String> =
                    urls.iter().zip(&times).map(|(url, time)| format!("{url} {:.0} ms", millis(*time))).collect();
                println!("round {round}: {}", told.join(", "));
            }
            took.extend(times);
        }
        took.sort_unstable();
        let (p50, p99) = (millis(percentile(&took, 50)), millis(percentile(&took, 99)));
        let longest = took.last().copied().unwrap_or_default();
        if self.json {
            println!("{}", json!({ "nodes": urls.len(), "p50_ms": p50, "p99_ms": p99 }));
        } else {
            println!(
                "{} node(s), {} round(s): dead after {p50:.0} ms (p50), {p99:.0} ms (p99), {:.0} ms at most",
                urls.len(),
                self.rounds,
                millis(longest)
            );
        }
        if longest > BOUND {
            return Err(Failure::Told(format!("a revoked token worked for longer than {} s", BOUND.as_secs())));
        }
        Ok(())
    }

    /// Makes every node accept the canary, revokes it, and waits until all refuse it: for each node, how long it went on.
    async fn round(
        &self,
        admin: &Admin,
        canary: &Canary,
        urls: &[Url],
        clock: &Clock,
    ) -> Result<Vec<Duration>, Failure> {
        let mut nodes = Vec::new();
        for url in urls {
            nodes.push(Node::watch(url, &canary.token, self.client()?)?);
        }
        until(&nodes, Instant::now(), "accepts a fresh token", Node::accepts).await?;
        tokio::time::sleep(pause(clock)).await;
        admin.revoke(canary).await?;
        let revoked = Instant::now();
        until(&nodes, revoked, "refuses the revoked token", Node::refuses).await?;
        Ok(nodes.iter().map(|node| node.accepted_after(revoked)).collect())
    }

    /// A client with connections of its own. No proxy: what is measured is the node.
    fn client(&self) -> Result<Client, Failure> {
        let mut builder = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .connect_timeout(Duration::from_secs(3))
            .timeout(PATIENCE);
        if let Some(path) = &self.ca {
            let told = |error| Failure::Io(path.display().to_string(), error);
            let pem = std::fs::read(path).map_err(told)?;
            let bad = |error: reqwest::Error| Failure::Told(format!("{}: {error}", path.display()));
            builder = builder.tls_certs_merge(Certificate::from_pem_bundle(&pem).map_err(bad)?);
        }
        builder.build().map_err(|error| Failure::Told(format!("cannot build a client: {error}")))
    }
}

/// Waits until it holds of every node.
async fn until(nodes: &[Node], since: Instant, what: &str, holds: fn(&Node) -> bool) -> Result<(), Failure> {
    while !nodes.iter().all(holds) {
        if since.elapsed() > PATIENCE {
            let late: Vec<String> = nodes.iter().filter(|node| !holds(node)).map(Node::describe).collect();
            let seconds = PATIENCE.as_secs();
            return Err(Failure::Told(format!("not every node {what} within {seconds} s: {}", late.join("; "))));
        }
        tokio::time::sleep(TICK).await;
    }
    Ok(())
}

/// What is at the bottom of a failed request; the address is told elsewhere.
fn cause(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut deepest: &dyn std::error::Error = &error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}

fn pause(clock: &Clock) -> Duration {
    let random = u64::from(u16::from_le_bytes(clock.random::<2>()));
    Duration::from_millis(BEFORE.start + random % (BEFORE.end - BEFORE.start))
}

/// The nearest rank of sorted values.
fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}

/// With one digit after the point.
fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 10_000.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_a_value_that_was_measured_and_never_better_than_the_rest() {
        let times: Vec<Duration> = (1..=60).map(Duration::from_millis).collect();
        assert_eq!(percentile(&times, 50), Duration::from_millis(30));
        assert_eq!(percentile(&times, 99), Duration::from_millis(60), "of sixty, the longest");
        assert_eq!(percentile(&times[..1], 99), Duration::from_millis(1));
        assert_eq!(millis(Duration::from_micros(12_349)), 12.3);
    }
}
