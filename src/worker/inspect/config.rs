//! Where the scanners listen and how long the gateway waits for them: the `[scanner]` section of the configuration.
//!
//! Every field has a default. Durations are written for people: `60s`, `5m`, `72h`.
//! What clamd itself must be told is in `docs/scanner.md`; `Inspector::check` looks at what can be seen from outside.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use jiff::fmt::serde::unsigned_duration::friendly::compact::required as human;
use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// How to reach clamd and what to allow it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScannerConfig {
    /// Each `unix:/run/clamav/clamd.ctl` or `tcp:127.0.0.1:3310`; for one server, `address = "…"` says the same. clamd
    /// speaks no TLS and knows no password: TCP only on a network where nobody else listens.
    #[serde(alias = "address", default = "debian", deserialize_with = "one_or_many")]
    pub addresses: Vec<ScannerAddress>,
    /// Longest time for a connection and for a short command.
    #[serde(default = "default_connect_timeout", with = "human")]
    pub connect_timeout: Duration,
    /// Time that every inspection gets, whatever its size.
    #[serde(default = "default_timeout", with = "human")]
    pub timeout: Duration,
    /// Time that every begun MiB adds. clamd with the public database scans about 8 MiB a second on one core.
    #[serde(default = "default_timeout_per_mib", with = "human")]
    pub timeout_per_mib: Duration,
    /// Longest time without any progress, of the storage or of the scanner, while bytes are sent.
    #[serde(default = "default_stall_timeout", with = "human")]
    pub stall_timeout: Duration,
    /// Inspections at the same time on each server.
    #[serde(default)]
    pub concurrency: Concurrency,
    /// Age of the signature database from which it counts as out of date.
    #[serde(default = "default_stale_after", with = "human")]
    pub stale_after: Duration,
    /// Where zip files are spooled while they are inspected, as unlinked files. Default: the system's temporary
    /// directory.
    #[serde(default = "std::env::temp_dir")]
    pub spool_directory: PathBuf,
    /// Largest zip file, in bytes, that is spooled and looked into; a larger one cannot be judged.
    #[serde(default = "default_spool_limit")]
    pub spool_limit: u64,
}

impl Default for ScannerConfig {
    /// Debian's clamd.
    fn default() -> Self {
        Self::on(debian())
    }
}

fn debian() -> Vec<ScannerAddress> {
    vec![ScannerAddress::Unix("/run/clamav/clamd.ctl".into())]
}

/// How many inspections one server gets at the same time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Concurrency {
    /// As many as its threads allow, told by `STATS`; fewer while others make it queue. Written `"auto"`.
    #[default]
    Auto,
    /// Always this many, whatever the server tells. Keep it below its `MaxThreads`.
    Fixed(usize),
}

impl ScannerConfig {
    /// The defaults for a scanner at this address.
    pub fn at(address: ScannerAddress) -> Self {
        Self::on(vec![address])
    }

    /// The defaults for these servers.
    pub fn on(addresses: Vec<ScannerAddress>) -> Self {
        Self {
            addresses,
            connect_timeout: default_connect_timeout(),
            timeout: default_timeout(),
            timeout_per_mib: default_timeout_per_mib(),
            stall_timeout: default_stall_timeout(),
            concurrency: Concurrency::Auto,
            stale_after: default_stale_after(),
            spool_directory: std::env::temp_dir(),
            spool_limit: default_spool_limit(),
        }
    }

    /// The longest time that an inspection of `size` bytes may take, its wait for a free slot not counted.
    pub fn time_for(&self, size: u64) -> Duration {
        let mib = u32::try_from(size.div_ceil(1 << 20)).unwrap_or(u32::MAX);
        self.timeout.saturating_add(self.timeout_per_mib.saturating_mul(mib))
    }
}

fn default_connect_timeout() -> Duration {
    Duration::from_secs(5)
}

fn default_timeout() -> Duration {
    Duration::from_secs(60)
}

fn default_timeout_per_mib() -> Duration {
    Duration::from_secs(1)
}

fn default_stall_timeout() -> Duration {
    Duration::from_secs(60)
}

fn default_stale_after() -> Duration {
    Duration::from_secs(72 * 3600)
}

fn default_spool_limit() -> u64 {
    2 << 30
}

/// Where clamd listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "String")]
pub enum ScannerAddress {
    /// A unix socket: faster, and guarded by file permissions.
    Unix(PathBuf),
    /// Host and port.
    Tcp(String),
}

/// A scanner address that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a scanner address is written unix:/absolute/path or tcp:host:port")]
pub struct ParseAddressError;

impl FromStr for ScannerAddress {
    type Err = ParseAddressError;

    fn from_str(text: &str) -> Result<Self, ParseAddressError> {
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.starts_with('/') { Ok(Self::Unix(path.into())) } else { Err(ParseAddressError) };
        }
        let address = text.strip_prefix("tcp:").ok_or(ParseAddressError)?;
        match address.rsplit_once(':') {
            Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => Ok(Self::Tcp(address.to_owned())),
            _ => Err(ParseAddressError),
        }
    }
}

impl fmt::Display for ScannerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(address) => write!(f, "tcp:{address}"),
        }
    }
}

impl TryFrom<String> for ScannerAddress {
    type Error = ParseAddressError;

    fn try_from(text: String) -> Result<Self, ParseAddressError> {
        text.parse()
    }
}

fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<ScannerAddress>, D::Error> {
    struct Addresses;

    impl<'de> Visitor<'de> for Addresses {
        type Value = Vec<ScannerAddress>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an address, or a list of addresses")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
            text.parse().map(|address| vec![address]).map_err(E::custom)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut addresses = Vec::new();
            while let Some(address) = list.next_element()? {
                addresses.push(address);
            }
            Ok(addresses)
        }
    }

    deserializer.deserialize_any(Addresses)
}

impl<'de> Deserialize<'de> for Concurrency {
    /// `"auto"` or a number; a number may be text, as the environment has no other.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AutoOrNumber;

        impl Visitor<'_> for AutoOrNumber {
            type Value = Concurrency;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"auto\" or a number")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Concurrency, E> {
                match text {
                    "auto" => Ok(Concurrency::Auto),
                    _ => text.parse().map(Concurrency::Fixed).map_err(|_| E::custom("expected \"auto\" or a number")),
                }
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Concurrency, E> {
                usize::try_from(number).map(Concurrency::Fixed).map_err(E::custom)
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Concurrency, E> {
                usize::try_from(number).map(Concurrency::Fixed).map_err(E::custom)
            }
        }

        deserializer.deserialize_any(AutoOrNumber)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_alone_is_enough_and_durations_are_for_people() {
        let config: ScannerConfig = toml::from_str("address = 'unix:/run/clamd.sock'").unwrap();
        assert_eq!(config, ScannerConfig::at("unix:/run/clamd.sock".parse().unwrap()));
        let config: ScannerConfig =
            toml::from_str("address = 'tcp:[::1]:3310'\ntimeout = '2m 30s'\nstale_after = '48h'").unwrap();
        assert_eq!(config.timeout, Duration::from_secs(150));
        assert_eq!(config.stale_after, Duration::from_secs(48 * 3600));
        assert!(toml::from_str::<ScannerConfig>("address = 'tcp:h:1'\ntimeuot = '1s'").is_err());
    }

    #[test]
    fn several_servers_are_a_list_and_the_concurrency_is_a_number_or_auto() {
        let read = |text: &str| toml::from_str::<ScannerConfig>(text);
        let config = read("addresses = ['unix:/a', 'tcp:h:1']").unwrap();
        assert_eq!(config.addresses, ["unix:/a".parse().unwrap(), "tcp:h:1".parse().unwrap()]);
        assert_eq!(config.concurrency, Concurrency::Auto);
        assert_eq!(read("addresses = 'tcp:h:1'").unwrap(), ScannerConfig::at("tcp:h:1".parse().unwrap()));
        for (text, expected) in
            [("'auto'", Concurrency::Auto), ("6", Concurrency::Fixed(6)), ("'6'", Concurrency::Fixed(6))]
        {
            assert_eq!(read(&format!("concurrency = {text}")).unwrap().concurrency, expected);
        }
        for text in ["concurrency = 'many'", "concurrency = -1", "addresses = ['tcp:h']", "addresses = 3"] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in ["", "clamd", "unix:", "unix:relative", "tcp:", "tcp:host", "tcp::3310", "tcp:host:99999"] {
            assert!(text.parse::<ScannerAddress>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn time_grows_with_the_size() {
        let config = ScannerConfig::at("tcp:h:1".parse().unwrap());
        assert_eq!(config.time_for(0), Duration::from_secs(60));
        assert_eq!(config.time_for((1 << 20) + 1), Duration::from_secs(62));
    }
}
