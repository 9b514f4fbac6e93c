//! A clamd of a test's own, which may be killed, frozen and started again. The shared one of `localstack/` is left alone.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::gateway::PATIENCE;
use crate::harness;

pub struct Clamd {
    dir: tempfile::TempDir,
    child: Child,
}

impl Clamd {
    /// One with this many threads, which knows the EICAR test file.
    pub async fn start(threads: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().display();
        std::fs::create_dir(dir.path().join("db")).unwrap();
        let eicar = format!("Test.EICAR:0:*:{}\n", hex::encode(harness::eicar()));
        std::fs::write(dir.path().join("db/test.ndb"), eicar).unwrap();
        let settings = format!(
            "Foreground yes\nDatabaseDirectory {path}/db\nTemporaryDirectory {path}\nLocalSocket {path}/sock\n\
             FixStaleSocket yes\nAlertExceedsMax yes\nAlertEncrypted yes\nMaxThreads {threads}\nMaxQueue 100\n\
             StreamMaxLength 200M\nMaxFileSize 200M\nMaxScanSize 400M\nSelfCheck 0\nLogSyslog no\n"
        );
        std::fs::write(dir.path().join("clamd.conf"), settings).unwrap();
        let child = launch(dir.path());
        let clamd = Self { dir, child };
        clamd.until_it_answers().await;
        clamd
    }

    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("sock")
    }

    /// As the configuration writes it.
    pub fn address(&self) -> String {
        format!("unix:{}", self.socket().display())
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGSTOP: connections stay, and nothing answers.
    pub fn freeze(&self) {
        let sent = Command::new("kill").args(["-STOP", &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Starts again where it was.
    pub async fn start_again(&mut self) {
        self.kill();
        self.child = launch(self.dir.path());
        self.until_it_answers().await;
    }

    async fn until_it_answers(&self) {
        let started = Instant::now();
        while self.ping().await.is_none_or(|answer| answer != b"PONG\0") {
            let log = std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
            assert!(started.elapsed() < PATIENCE, "clamd does not answer:\n{log}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn ping(&self) -> Option<Vec<u8>> {
        let mut line = UnixStream::connect(self.socket()).await.ok()?;
        line.write_all(b"zPING\0").await.ok()?;
        let mut answer = Vec::new();
        line.read_to_end(&mut answer).await.ok()?;
        Some(answer)
    }
}

impl Drop for Clamd {
    fn drop(&mut self) {
        self.kill();
    }
}

fn launch(dir: &Path) -> Child {
    let log = std::fs::OpenOptions::new().create(true).append(true).open(dir.join("log")).unwrap();
    Command::new(program(dir))
        .arg(format!("--config-file={}", dir.join("clamd.conf").display()))
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap()
}

/// Where AppArmor is active, a profile that goes by path keeps Debian's clamd out of a test's directory.
fn program(dir: &Path) -> PathBuf {
    let places = ["/usr/sbin/clamd", "/usr/local/sbin/clamd", "/usr/bin/clamd"].map(PathBuf::from);
    let found = places.into_iter().find(|path| path.exists()).expect("clamd is not installed; run localstack/up first");
    let guarded = std::fs::read_to_string("/sys/module/apparmor/parameters/enabled").is_ok_and(|on| on.trim() == "Y");
    if !guarded {
        return found;
    }
    let copy = dir.join("clamd");
    if !copy.exists() {
        std::fs::copy(found, &copy).unwrap();
    }
    copy
}
