//! How each scanner server stands: its version, the age of its signatures, its threads.
//!
//! The probe asks every two seconds. Here a server that was left out is taken back, and its slots follow its threads.

use std::time::Duration;

use jiff::Timestamp;

use super::config::Concurrency;
use super::load::Look;
use super::reply::Version;
use super::{InspectError, Inspector};

/// How one server stands; for `/readyz` and the metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScannerHealth {
    /// The server's address.
    pub server: String,
    /// Whether it answered.
    pub reachable: bool,
    /// The engine and its version, for example `ClamAV 1.4.6`.
    pub engine: Option<String>,
    /// The signature database's number and date, or `unknown date`.
    pub signatures: Option<String>,
    /// The database's date.
    pub signatures_at: Option<Timestamp>,
    /// Whether the database is older than `stale_after`; `None` where it tells no date.
    pub stale: Option<bool>,
    /// What is wrong, in one sentence; `None` where all is well.
    pub detail: Option<String>,
}

impl std::fmt::Display for ScannerHealth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.engine, &self.signatures) {
            (Some(engine), Some(signatures)) => write!(f, "{engine}, signatures {signatures}")?,
            _ => f.write_str("no answer")?,
        }
        match &self.detail {
            Some(detail) => write!(f, "; {detail}"),
            None => Ok(()),
        }
    }
}

impl Inspector {
    /// Asks every server how it is, all at the same time; leaves out those that do not answer, takes back those that do,
    /// and sets the gauges `vestibule_scanner_…`. In the order of the configuration.
    pub async fn health(&self) -> Vec<ScannerHealth> {
        futures::future::join_all((0..self.pool.servers().len()).map(|index| self.health_at(index))).await
    }

    async fn health_at(&self, index: usize) -> ScannerHealth {
        let server = &self.pool.servers()[index];
        let health = self.health_of(server.clamd.address.to_string(), server.ask().await);
        self.noted(index, health.reachable, &health.to_string());
        let mut queued = 0;
        if health.reachable && self.config.concurrency == Concurrency::Auto {
            let look = server.clamd.look().await;
            self.pool.adapt(index, look);
            if let Look::Told(threads) = look {
                queued = threads.queued;
            }
        }
        let one = self.pool.uses()[index];
        let gauge =
            |name: &'static str, value: f64| metrics::gauge!(name, "server" => health.server.clone()).set(value);
        gauge("vestibule_scanner_up", f64::from(u8::from(health.reachable)));
        gauge("vestibule_scanner_signatures_stale", health.stale.map_or(-1.0, |stale| f64::from(u8::from(stale))));
        gauge("vestibule_scanner_slots", one.limit as f64);
        gauge("vestibule_scanner_scans", one.scans as f64);
        gauge("vestibule_scanner_queued", queued as f64);
        if let Some(at) = health.signatures_at {
            let age = self.clock.now().duration_since(at);
            gauge("vestibule_scanner_signatures_age_seconds", age.as_secs_f64());
        }
        health
    }

    fn health_of(&self, server: String, version: Result<Version, InspectError>) -> ScannerHealth {
        let version = match version {
            Ok(version) => version,
            Err(error) => {
                return ScannerHealth {
                    server,
                    reachable: false,
                    engine: None,
                    signatures: None,
                    signatures_at: None,
                    stale: None,
                    detail: Some(error.to_string()),
                };
            }
        };
        let age = version.signatures_at.map(|at| self.clock.now().duration_since(at));
        let stale = age.map(|age| Duration::try_from(age).is_ok_and(|age| age > self.config.stale_after));
        let detail = match stale {
            Some(true) => Some(format!("the signature database is out of date: {}", version.signatures)),
            Some(false) => None,
            None => Some("the signature database tells no date".to_owned()),
        };
        ScannerHealth {
            server,
            reachable: true,
            engine: Some(version.engine),
            signatures: Some(version.signatures),
            signatures_at: version.signatures_at,
            stale,
            detail,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::worker::inspect::ScannerConfig;

    fn health(version: &[u8], now: &str) -> ScannerHealth {
        let config = ScannerConfig::at("tcp:127.0.0.1:1".parse().unwrap());
        let inspector = Inspector::new(config, Clock::manual(now.parse().unwrap()));
        inspector.health_of("tcp:127.0.0.1:1".into(), Ok(Version::parse(version).unwrap()))
    }

    #[test]
    fn an_old_database_is_stale_and_one_without_a_date_is_unknown() {
        let version = b"ClamAV 1.4.6/27830/Fri Nov 20 09:00:00 2026\0";
        assert_eq!(health(version, "2026-11-21T09:00:00Z").stale, Some(false));
        assert_eq!(health(version, "2026-11-24T09:00:00Z").stale, Some(true));
        assert_eq!(health(version, "2026-11-19T09:00:00Z").stale, Some(false));
        assert_eq!(health(b"ClamAV 1.4.6\0", "2026-11-21T09:00:00Z").stale, None);
    }
}
