//! What can be seen of clamd's settings from outside; for `vestibule target check` and the start.
//!
//! clamd tells nobody its configuration, so it is tried: a test virus, an encrypted zip, and a zip nested deeper than
//! any sensible `MaxRecursion` are sent, a few kilobytes in all. docs/scanner.md lists the settings that no probe shows.

use std::io::{Cursor, Write};

use bytes::Bytes;
use futures::stream;
use zip::write::SimpleFileOptions;

use super::clamd::Clamd;
use super::config::Concurrency;
use super::error::InspectError;
use super::load::{Look, Threads, next_limit};
use super::reply::Reply;
use super::{Inspector, ScannerHealth};
use crate::storage::{CheckItem, CheckStatus};

/// Deeper than clamd's default `MaxRecursion` of 17, and than its compiled-in maximum makes sense.
const NESTING: usize = 120;

impl Inspector {
    /// Tries the settings of every clamd that the gateway's promises rest on: each server's address and what was found.
    pub async fn check(&self) -> Vec<(String, Vec<CheckItem>)> {
        let mut found = Vec::new();
        for (server, health) in self.pool.servers().iter().zip(self.health().await) {
            found.push((health.server.clone(), self.check_one(&server.clamd, &health).await));
        }
        found
    }

    async fn check_one(&self, clamd: &Clamd, health: &ScannerHealth) -> Vec<CheckItem> {
        let mut items = vec![reachable(health)];
        if !health.reachable {
            return items;
        }
        items.push(signatures(health));
        items.push(self.threads(clamd).await);
        items.push(
            self.probe(clamd, "test virus found", eicar(), "load a signature database", |reply| {
                matches!(reply, Reply::Infected(_))
            })
            .await,
        );
        items.push(
            self.probe(clamd, "encrypted archives reported", encrypted_zip(), "set AlertEncrypted yes", |reply| {
                matches!(reply, Reply::Encrypted(_))
            })
            .await,
        );
        if let Ok(nested) = nested_zip() {
            items.push(
                self.probe(clamd, "exceeded limits reported", nested, "set AlertExceedsMax yes", |reply| {
                    matches!(reply, Reply::LimitReached(_))
                })
                .await,
            );
        }
        items
    }

    async fn threads(&self, clamd: &Clamd) -> CheckItem {
        let look = clamd.look().await;
        let own = match self.config.concurrency {
            Concurrency::Auto => next_limit(None, look),
            Concurrency::Fixed(own) => own,
        };
        let (status, detail) = match look {
            Look::Told(Threads { max, .. }) if own < max => {
                (CheckStatus::Good, format!("{own} inspections at once, MaxThreads {max}"))
            }
            Look::Told(Threads { max, .. }) => {
                let advice = "raise it, or lower scanner.concurrency";
                (CheckStatus::Advice, format!("{own} inspections at once, but MaxThreads is {max}: {advice}"))
            }
            Look::Busy => (CheckStatus::Advice, "all threads are busy: raise MaxThreads".to_owned()),
            Look::Untold => (CheckStatus::Unknown, "STATS does not tell MaxThreads".to_owned()),
        };
        item("scanner threads", status, detail)
    }

    async fn probe(
        &self,
        clamd: &Clamd,
        name: &str,
        bytes: Vec<u8>,
        remedy: &str,
        good: impl Fn(&Reply) -> bool,
    ) -> CheckItem {
        let chunks = stream::iter([Bytes::from(bytes)]);
        let scan = tokio::time::timeout(self.config.timeout, Box::pin(clamd.scan(chunks)));
        match scan.await.unwrap_or(Err(InspectError::ScannerTimeout(self.config.timeout))) {
            Ok(reply) if good(&reply) => item(name, CheckStatus::Good, format!("{reply:?}")),
            Ok(reply) => item(name, CheckStatus::Missing, format!("the scanner answered {reply:?}: {remedy}")),
            Err(error) => item(name, CheckStatus::Unknown, error.to_string()),
        }
    }
}

fn item(name: &str, status: CheckStatus, detail: impl Into<String>) -> CheckItem {
    CheckItem { name: name.to_owned(), status, detail: detail.into() }
}

fn reachable(health: &ScannerHealth) -> CheckItem {
    match &health.engine {
        Some(engine) => item("scanner", CheckStatus::Good, engine.clone()),
        None => item("scanner", CheckStatus::Missing, health.detail.clone().unwrap_or_default()),
    }
}

fn signatures(health: &ScannerHealth) -> CheckItem {
    let status = match health.stale {
        Some(false) => CheckStatus::Good,
        Some(true) => CheckStatus::Missing,
        None => CheckStatus::Unknown,
    };
    item("signatures", status, health.detail.clone().or_else(|| health.signatures.clone()).unwrap_or_default())
}

/// The EICAR test file (eicar.org), put together here so that no file of the project is one.
fn eicar() -> Vec<u8> {
    [r"X5O!P%@AP[4\PZX54(P^)7CC)7}$", "EICAR-STANDARD-ANTIVIRUS-TEST-FILE", "!$H+H*"].concat().into_bytes()
}

/// A zip file whose only entry has the encryption bit set (APPNOTE 4.4.4), written by hand.
fn encrypted_zip() -> Vec<u8> {
    let body = [0x5a; 28];
    let common = |out: &mut Vec<u8>| {
        // Version 2.0, encrypted, stored, a fixed time, CRC, both sizes, length of the name, no extra field.
        out.extend([20, 0, 1, 0, 0, 0, 0, 0, 0x21, 0x58, 1, 2, 3, 4, 28, 0, 0, 0, 16, 0, 0, 0, 1, 0, 0, 0]);
    };
    let mut out = b"PK\x03\x04".to_vec();
    common(&mut out);
    out.push(b'a');
    out.extend(body);
    let directory = out.len();
    out.extend(b"PK\x01\x02\x14\0");
    common(&mut out);
    out.extend([0; 14]);
    out.push(b'a');
    let length = out.len() - directory;
    out.extend(b"PK\x05\x06\0\0\0\0\x01\0\x01\0");
    out.extend(u32::try_from(length).unwrap_or(0).to_le_bytes());
    out.extend(u32::try_from(directory).unwrap_or(0).to_le_bytes());
    out.extend([0, 0]);
    out
}

/// Zip files within each other, [`NESTING`] deep.
fn nested_zip() -> zip::result::ZipResult<Vec<u8>> {
    let options = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    let mut inner = b"innermost".to_vec();
    for _ in 0..NESTING {
        let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
        writer.start_file("z.zip", options)?;
        writer.write_all(&inner)?;
        inner = writer.finish()?.into_inner();
    }
    Ok(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_probes_are_what_they_are_meant_to_be() {
        let mut locked = zip::ZipArchive::new(Cursor::new(encrypted_zip())).unwrap();
        assert!(locked.by_index_data(0).unwrap().encrypted());
        locked.validate_header_consistency().unwrap();
        assert!(nested_zip().unwrap().len() < 64 * 1024);
    }
}
