//! A Redis of a test's own, to be killed, frozen, restarted or spoken to over TLS.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::gateway::PATIENCE;
use crate::harness;

/// A server that keeps nothing on disk.
pub struct Server {
    child: Child,
    port: u16,
    dir: tempfile::TempDir,
    tls: bool,
}

impl Server {
    /// A plain one.
    pub async fn start() -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), false).await
    }

    /// One that speaks TLS only, with a certificate for `localhost` of an authority of its own.
    pub async fn start_with_tls() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let openssl = |arguments: &str| {
            let made = Command::new("openssl").args(arguments.split(' ')).current_dir(dir.path()).output().unwrap();
            assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        };
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
        openssl(&format!("req -x509 {key} -days 2 -keyout ca.key -out ca.pem -subj /CN=authority"));
        openssl(&format!("req {key} -keyout key.pem -out request.pem -subj /CN=localhost"));
        std::fs::write(dir.path().join("names"), "subjectAltName=DNS:localhost\n").unwrap();
        openssl(
            "x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out cert.pem",
        );
        Self::start_in(dir, true).await
    }

    async fn start_in(dir: tempfile::TempDir, tls: bool) -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = spawn(&dir, port, tls);
        let server = Self { child, port, dir, tls };
        server.ready().await;
        server
    }

    /// Its address.
    pub fn url(&self) -> String {
        match self.tls {
            false => format!("redis://127.0.0.1:{}/0", self.port),
            true => format!("rediss://localhost:{}/0?ca={}", self.port, self.dir.path().join("ca.pem").display()),
        }
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again, with nothing of what it knew.
    pub async fn start_again(&mut self) {
        self.kill();
        self.child = spawn(&self.dir, self.port, self.tls);
        self.ready().await;
    }

    /// SIGSTOP: the kernel still takes connections and bytes, nobody answers.
    pub fn freeze(&self) {
        self.signal("-STOP");
    }

    /// Goes on.
    pub fn thaw(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        assert!(Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap().success());
    }

    async fn ready(&self) {
        let began = Instant::now();
        while tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await.is_err() {
            assert!(began.elapsed() < PATIENCE, "Redis did not start");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn spawn(dir: &tempfile::TempDir, port: u16, tls: bool) -> Child {
    let mut command = Command::new(harness::env("VESTIBULE_TEST_REDIS_BIN"));
    command.current_dir(dir.path()).args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
    let port = port.to_string();
    match tls {
        false => command.args(["--port", port.as_str()]),
        true => command
            .args([
                "--port",
                "0",
                "--tls-port",
                port.as_str(),
                "--tls-cert-file",
                "cert.pem",
                "--tls-key-file",
                "key.pem",
            ])
            .args(["--tls-ca-cert-file", "ca.pem", "--tls-auth-clients", "no"]),
    };
    command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap()
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}
