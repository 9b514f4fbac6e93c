//! The clamd of `vestibule dev`: one that answers already, or one that is started for the time being.
//!
//! Looked for in this order: the configured addresses, Debian's socket, port 3310. Where none answers, clamd is started
//! from the PATH on a socket of its own, with the machine's signature database, or with a local one that knows the EICAR
//! test file only. It ends with the gateway.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};

use crate::clock::Clock;
use crate::config::Config;
use crate::worker::inspect::{Inspector, ScannerAddress, ScannerConfig};

/// A clamd that answers.
pub(super) struct Scanner {
    /// Where it listens; where several are configured, all of them, whichever answers.
    pub(super) addresses: Vec<ScannerAddress>,
    /// Which signatures it knows, for people.
    pub(super) signatures: String,
    child: Option<Child>,
}

impl Scanner {
    /// Ends it, where it was started here.
    pub(super) async fn stop(mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            let _ = child.kill().await;
        }
    }
}

/// A clamd that answers, started where there is none.
///
/// # Errors
/// What to do, where none can be had.
pub(super) async fn find_or_start(data: &Path, config: &Config) -> Result<Scanner, String> {
    let configured = &config.scanner.addresses;
    let mut candidates = vec![configured.clone()];
    if *configured == ScannerConfig::default().addresses {
        candidates.push(vec![ScannerAddress::Tcp("127.0.0.1:3310".into())]);
    }
    for addresses in &candidates {
        if let Some(signatures) = answer(addresses).await {
            return Ok(Scanner { addresses: addresses.clone(), signatures, child: None });
        }
    }
    if candidates.len() == 1 {
        return Err(format!("no clamd answers at {}", list(configured)));
    }
    start(data).await
}

/// Addresses for people.
pub(super) fn list(addresses: &[ScannerAddress]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// What the first clamd that answers at one of these addresses knows; `None` where none answers.
async fn answer(addresses: &[ScannerAddress]) -> Option<String> {
    let found = Inspector::new(ScannerConfig::on(addresses.to_vec()), Clock::system()).health().await;
    found.into_iter().find(|health| health.reachable).map(|health| match (health.engine, health.signatures) {
        (Some(engine), Some(signatures)) => format!("{engine}, signatures {signatures}"),
        _ => "clamd".to_owned(),
    })
}

async fn start(data: &Path) -> Result<Scanner, String> {
    let dir = data.join("clamd");
    let fail = |error: std::io::Error| format!("cannot prepare {}: {error}", dir.display());
    std::fs::create_dir_all(dir.join("db")).map_err(fail)?;
    let (database, which) = database(&dir).map_err(fail)?;
    let socket = socket_path(&dir);
    let config = dir.join("clamd.conf");
    std::fs::write(&config, settings(&database, &socket)).map_err(fail)?;
    let log = std::fs::File::create(dir.join("clamd.log")).map_err(fail)?;
    let child = Command::new("clamd")
        .arg(format!("--config-file={}", config.display()))
        .stdin(Stdio::null())
        .stdout(log.try_clone().map_err(fail)?)
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| {
            format!(
                "no clamd answers and none can be started ({error}); install clamav-daemon, or run localstack/up clamd"
            )
        })?;
    let addresses = vec![ScannerAddress::Unix(socket)];
    // The public database takes a while to load.
    for _ in 0..600 {
        if answer(&addresses).await.is_some() {
            return Ok(Scanner { addresses, signatures: which, child: Some(child) });
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Err(format!("clamd does not answer; see {}", dir.join("clamd.log").display()))
}

/// The machine's database where it is complete, else one with the EICAR test file alone.
fn database(dir: &Path) -> std::io::Result<(PathBuf, String)> {
    let system = Path::new("/var/lib/clamav");
    let has = |name: &str| ["cvd", "cld"].iter().any(|ending| system.join(format!("{name}.{ending}")).exists());
    if has("main") && has("daily") {
        return Ok((system.to_owned(), "the machine's signature database".into()));
    }
    let local = dir.join("db");
    // Put together here, so that the program itself holds no EICAR string.
    let eicar = [r"X5O!P%@AP[4\PZX54(P^)7CC)7}$", "EICAR-STANDARD-ANTIVIRUS-TEST-FILE", "!$H+H*"].concat();
    std::fs::write(local.join("local.ndb"), format!("Local.Test.EICAR:0:*:{}\n", hex::encode(eicar)))?;
    Ok((local, "a local signature for the EICAR test file only".into()))
}

/// A unix socket's path has at most 107 bytes.
fn socket_path(dir: &Path) -> PathBuf {
    let inside = dir.join("clamd.sock");
    if inside.as_os_str().len() < 100 {
        return inside;
    }
    std::env::temp_dir().join(format!("vestibule-clamd-{}.sock", std::process::id()))
}

fn settings(database: &Path, socket: &Path) -> String {
    format!(
        "Foreground yes\nDatabaseDirectory {}\nLocalSocket {}\nLocalSocketMode 600\nFixStaleSocket yes\n\
         AlertExceedsMax yes\nAlertEncrypted yes\nStreamMaxLength 2000M\nMaxFileSize 2040M\nMaxScanSize 4000M\n\
         MaxThreads 8\nMaxQueue 100\nLogSyslog no\n",
        database.display(),
        socket.display()
    )
}
