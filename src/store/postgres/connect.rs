//! Connections: where to, with which guards, and how long anything may take.
//!
//! Every connection of the store comes from here, so that none runs without the limits of its session: a statement ends
//! at the deadline, and a transaction whose client has vanished is ended by the server, so that it never keeps an app's
//! quota row. A commit waits for the disk even where the server's default says otherwise (P9). The server may be frozen
//! while its kernel answers, so every await here and in the callers stands under a clock of this process, too.

use std::str::FromStr;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{AssertSqlSafe, ConnectOptions, PgConnection};
use url::Url;

use super::error::Failure;
use crate::store::StoreError;

/// Parameters of an address that are understood.
const PARAMETERS: [&str; 6] = ["sslmode", "sslrootcert", "sslcert", "sslkey", "application_name", "host"];

/// The address of a database, with its password, which is never shown.
#[derive(Clone, Debug)]
pub struct PostgresUrl(SecretString);

impl PostgresUrl {
    /// Reads an address such as `postgres://user:password@db.example/vestibule?sslmode=verify-full`.
    ///
    /// # Errors
    /// What is wrong with it, in words, without repeating it.
    pub fn parse(text: &SecretString) -> Result<Self, String> {
        let url = Url::parse(text.expose_secret()).map_err(|error| format!("is no address: {error}"))?;
        if !matches!(url.scheme(), "postgres" | "postgresql") {
            return Err("must begin with postgres://".into());
        }
        if let Some((name, _)) = url.query_pairs().find(|(name, _)| !PARAMETERS.contains(&name.as_ref())) {
            // Not the value: it may be a password under a misspelt name.
            return Err(format!("has the parameter '{name}'; known are {}", PARAMETERS.join(", ")));
        }
        let parameter = |wanted: &str| url.query_pairs().find(|(name, _)| name == wanted).map(|(_, value)| value);
        let mode = parameter("sslmode");
        if let Some(mode) = &mode
            && PgSslMode::from_str(mode).is_err()
        {
            return Err("sslmode must be verify-full, verify-ca, require, prefer, allow or disable".into());
        }
        let host = parameter("host").map(|host| host.into_owned()).or_else(|| url.host_str().map(str::to_owned));
        let Some(host) = host.filter(|host| !host.is_empty()) else {
            return Err("names no host".into());
        };
        if url.path().trim_start_matches('/').is_empty() {
            return Err("names no database: add /NAME".into());
        }
        let local = host.starts_with('/') || host.starts_with("%2F") || host == "localhost" || is_loopback(&host);
        if !local && mode.is_none() {
            return Err(
                "must say sslmode, since the server is not on this machine; verify-full is the one to take".into()
            );
        }
        Ok(Self(text.clone()))
    }

    /// How the driver connects.
    fn options(&self) -> Result<PgConnectOptions, Failure> {
        let options = PgConnectOptions::from_str(self.0.expose_secret());
        // The driver's text could repeat the address.
        let options = options.map_err(|_| Failure::Away("store.url cannot be used: see docs/postgresql.md".into()))?;
        Ok(options.disable_statement_logging())
    }
}

impl FromStr for PostgresUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::parse(&SecretString::from(text))
    }
}

fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Until there is a connection.
    pub(super) connect: Duration,
    /// A statement, and a transaction that stands still.
    pub(super) statement: Duration,
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// Everything.
    Write,
    /// Statements that change nothing.
    Read,
}

/// A connection with its limits set.
pub(super) async fn connect(url: &PostgresUrl, limits: Limits, purpose: Use) -> Result<PgConnection, Failure> {
    let opened = async {
        let mut conn = url.options()?.application_name("vestibule").connect().await?;
        let millis = limits.statement.as_millis();
        let read_only = if purpose == Use::Read { "on" } else { "off" };
        // Numbers and words of this program: nothing in it came from outside.
        let guards = format!(
            "SET statement_timeout = {millis};
             SET lock_timeout = {millis};
             SET idle_in_transaction_session_timeout = {};
             SET default_transaction_isolation = 'read committed';
             SET default_transaction_read_only = {read_only};
             SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'",
            millis * 2
        );
        sqlx::raw_sql(AssertSqlSafe(guards)).execute(&mut conn).await?;
        Ok(conn)
    };
    let late = |_| Failure::Away(format!("no connection within {:?}", limits.connect));
    tokio::time::timeout(limits.connect, opened).await.map_err(late)?
}

/// A connection for work outside the hot path, with a longer limit.
///
/// # Errors
/// [`StoreError::Unavailable`] where there is none.
pub(in crate::store) async fn for_maintenance(url: &PostgresUrl) -> Result<PgConnection, StoreError> {
    let limits = Limits { connect: Duration::from_secs(10), statement: Duration::from_secs(600) };
    Ok(connect(url, limits, Use::Write).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistake(text: &str) -> Option<String> {
        PostgresUrl::from_str(text).err()
    }

    #[test]
    fn an_address_on_this_machine_needs_no_more_than_host_and_database() {
        for good in [
            "postgres://vestibule@127.0.0.1:5432/vestibule",
            "postgresql://vestibule:secret@localhost/vestibule",
            "postgres://[::1]/vestibule",
            "postgres://vestibule@%2Frun%2Fpostgresql/vestibule",
            "postgres://u:p@db.example/vestibule?sslmode=verify-full&sslrootcert=/etc/ca.pem",
        ] {
            assert_eq!(mistake(good), None, "{good}");
        }
    }

    #[test]
    fn every_mistake_is_told_without_repeating_the_password() {
        for (bad, word) in [
            ("sqlite:secret", "postgres://"),
            ("postgres://u:secret@db.example/vestibule", "verify-full"),
            ("postgres://u:secret@127.0.0.1", "names no database"),
            ("postgres://u:secret@127.0.0.1/v?passwrod=secret", "passwrod"),
            ("postgres://u:secret@db.example/v?sslmode=secret", "sslmode must be"),
            ("secret", "is no address"),
        ] {
            let told = mistake(bad).unwrap();
            assert!(told.contains(word) && !told.contains("secret"), "{told}");
        }
    }

    #[test]
    fn an_address_is_not_shown() {
        let url = PostgresUrl::from_str("postgres://u:secret@127.0.0.1/v").unwrap();
        assert!(!format!("{url:?}").contains("secret"));
    }
}
