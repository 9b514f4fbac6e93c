//! A database for each test, and servers that a test may do anything to.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, ConnectOptions, PgConnection, Row};
use vestibule::clock::Clock;
use vestibule::store::postgres::{PostgresOptions, PostgresStore, PostgresUrl, migrate};
use vestibule::store::{OnCommit, StoreError};

use crate::harness;

/// A database of one test, dropped with it.
pub(crate) struct Database {
    server: String,
    name: String,
}

async fn connect(url: &str) -> Result<PgConnection, sqlx::Error> {
    url.parse::<sqlx::postgres::PgConnectOptions>().unwrap().disable_statement_logging().connect().await
}

impl Database {
    /// An empty one on the server of `localstack/up`.
    pub(crate) async fn empty() -> Self {
        Self::on(&harness::env("VESTIBULE_TEST_POSTGRES_URL")).await
    }

    /// The same with the schema of this program.
    pub(crate) async fn migrated() -> Self {
        let database = Self::empty().await;
        database.migrate().await;
        database
    }

    /// An empty one on this server.
    pub(crate) async fn on(server: &str) -> Self {
        let name = harness::unique("vestibule").replace('-', "_");
        let mut conn = connect(server).await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(format!("CREATE DATABASE {name} TEMPLATE template0")))
            .execute(&mut conn)
            .await
            .unwrap();
        Self { server: server.to_owned(), name }
    }

    pub(crate) async fn migrate(&self) -> Vec<usize> {
        migrate(&self.url(), Clock::system().now()).await.unwrap()
    }

    /// Its address, with the password.
    pub(crate) fn address(&self) -> String {
        let (server, _) = self.server.rsplit_once('/').unwrap();
        format!("{server}/{}", self.name)
    }

    pub(crate) fn url(&self) -> PostgresUrl {
        self.address().parse().unwrap()
    }

    pub(crate) async fn store(
        &self,
        options: PostgresOptions,
        on_commit: Option<OnCommit>,
    ) -> Result<PostgresStore, StoreError> {
        PostgresStore::open(self.url(), options, Clock::system(), on_commit).await
    }

    /// A connection of somebody else.
    pub(crate) async fn connection(&self) -> PgConnection {
        connect(&self.address()).await.unwrap()
    }

    /// The first column of the first row.
    pub(crate) async fn text(&self, sql: &'static str) -> String {
        sqlx::query(sql).fetch_one(&mut self.connection().await).await.unwrap().get(0)
    }

    pub(crate) async fn number(&self, sql: &str) -> i64 {
        let query = sqlx::query(AssertSqlSafe(sql.to_owned()));
        query.fetch_one(&mut self.connection().await).await.unwrap().get(0)
    }

    pub(crate) async fn count(&self, table: &str) -> i64 {
        self.number(&format!("SELECT count(*) FROM {table}")).await
    }

    pub(crate) async fn run(&self, sql: &str) {
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut self.connection().await).await.unwrap();
    }

    /// The partitions of a table, by their names.
    pub(crate) async fn partitions(&self, table: &str) -> Vec<String> {
        let sql = format!(
            "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = '{table}'::regclass ORDER BY 1"
        );
        let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(&mut self.connection().await).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// What is counted agrees with what is there (P4), and every object has an entry.
    pub(crate) async fn assert_consistent(&self) {
        for (what, sql) in [
            (
                "usage",
                "SELECT count(*) FROM app_usage u FULL JOIN (SELECT app, coalesce(sum(held_bytes), 0)::bigint bytes,
                   count(held_bytes) objects FROM objects GROUP BY app) o USING (app)
                 WHERE coalesce(u.bytes, 0) <> coalesce(o.bytes, 0) OR coalesce(u.objects, 0) <> coalesce(o.objects, 0)",
            ),
            (
                "usage of owners",
                "SELECT count(*) FROM owner_usage u FULL JOIN (SELECT owner, coalesce(sum(held_bytes), 0)::bigint bytes,
                   count(held_bytes) objects FROM objects GROUP BY owner) o USING (owner)
                 WHERE coalesce(u.bytes, 0) <> coalesce(o.bytes, 0) OR coalesce(u.objects, 0) <> coalesce(o.objects, 0)",
            ),
            (
                "states",
                "SELECT count(*) FROM (SELECT state, sum(objects) n FROM state_counts GROUP BY state) c
                 FULL JOIN (SELECT state, count(*) n FROM objects GROUP BY state) o USING (state)
                 WHERE coalesce(c.n, 0) <> coalesce(o.n, 0)",
            ),
            (
                "audit",
                "SELECT count(*) FROM objects WHERE NOT EXISTS (SELECT 1 FROM audit WHERE object_id = objects.id)",
            ),
        ] {
            assert_eq!(self.number(sql).await, 0, "{what} does not agree");
        }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let (server, name) = (self.server.clone(), self.name.clone());
        // A thread, because this may be one of a runtime, where nothing may wait.
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let drop = async {
                    let mut conn = connect(&server).await?;
                    let sql = AssertSqlSafe(format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"));
                    sqlx::raw_sql(sql).execute(&mut conn).await
                };
                // A server of the test itself may be gone by now, and its databases with it.
                let _ = tokio::time::timeout(Duration::from_secs(10), drop).await;
            });
        });
        let _ = dropped.join();
    }
}

/// A server of one test, ended with it.
pub(crate) struct Server {
    dir: tempfile::TempDir,
    port: u16,
    child: Child,
    settings: Vec<String>,
}

/// The user that a server runs as: PostgreSQL refuses root.
fn user() -> Option<(u32, u32)> {
    let id = |arguments: &[&str]| {
        let output = Command::new("id").args(arguments).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().parse::<u32>().ok()
    };
    (id(&["-u"]) == Some(0)).then(|| (id(&["-u", "postgres"]).unwrap(), id(&["-g", "postgres"]).unwrap()))
}

fn program(name: &str, dir: &Path) -> Command {
    let bin = PathBuf::from(harness::env("VESTIBULE_TEST_POSTGRES_BIN"));
    let mut command = Command::new(bin.join(name));
    command.current_dir(dir).stdin(Stdio::null());
    if let Some((user, group)) = user() {
        command.uid(user).gid(group);
    }
    command
}

impl Server {
    /// Starts one with these settings, for example `ssl=on`; `prepare` may add files to its data directory.
    pub(crate) async fn start(settings: &[&str], prepare: impl FnOnce(&Path)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        if let Some((user, group)) = user() {
            std::os::unix::fs::chown(dir.path(), Some(user), Some(group)).unwrap();
        }
        let data = dir.path().join("data");
        let made = program("initdb", dir.path())
            .args(["-U", "vestibule", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", "-D"])
            .arg(&data)
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        prepare(&data);
        if let Some((user, group)) = user() {
            for file in std::fs::read_dir(&data).unwrap() {
                std::os::unix::fs::chown(file.unwrap().path(), Some(user), Some(group)).unwrap();
            }
        }
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let settings = settings.iter().map(|setting| (*setting).to_owned()).collect();
        let child = Self::spawn(dir.path(), port, &settings);
        let server = Self { dir, port, child, settings };
        server.ready().await;
        server
    }

    fn spawn(dir: &Path, port: u16, settings: &Vec<String>) -> Child {
        let mut command = program("postgres", dir);
        command.arg("-D").arg(dir.join("data"));
        let own = [format!("port={port}"), "listen_addresses=127.0.0.1".into(), "unix_socket_directories=".into()];
        for setting in own.iter().chain(settings) {
            command.arg("-c").arg(setting);
        }
        let log = std::fs::OpenOptions::new().create(true).append(true).open(dir.join("log")).unwrap();
        command.stdout(Stdio::null()).stderr(log).spawn().unwrap()
    }

    async fn ready(&self) {
        let began = Instant::now();
        while connect(&self.url()).await.is_err() {
            let log = || std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
            assert!(began.elapsed() < Duration::from_secs(30), "the server did not start\n{}", log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("postgres://vestibule@127.0.0.1:{}/postgres", self.port)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Every process of the server: the postmaster and its children, which do not get its signals.
    fn processes(&self) -> Vec<String> {
        let parent = self.child.id().to_string();
        let output = Command::new("ps").args(["-o", "pid=", "--ppid", &parent]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.split_whitespace().map(str::to_owned).chain([parent]).collect()
    }

    /// SIGSTOP to all of it: the kernel still takes connections and bytes, nobody answers.
    pub(crate) fn freeze(&self) {
        // The postmaster first, so that it starts nobody meanwhile.
        self.signal("-STOP");
        Command::new("kill").arg("-STOP").args(self.processes()).status().unwrap();
    }

    pub(crate) fn thaw(&self) {
        Command::new("kill").arg("-CONT").args(self.processes()).status().unwrap();
    }

    /// SIGKILL to all of it.
    pub(crate) fn kill(&mut self) {
        self.signal("-STOP");
        let _ = Command::new("kill").arg("-KILL").args(self.processes()).stderr(Stdio::null()).status();
        let _ = self.child.wait();
    }

    /// Starts it again after [`Server::kill`].
    pub(crate) async fn start_again(&mut self) {
        self.child = Self::spawn(self.dir.path(), self.port, &self.settings);
        self.ready().await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}
