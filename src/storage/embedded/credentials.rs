//! The store's own keys: one pair that signs, one that only reads.
//!
//! Made at first start from the operating system's random source and kept in the data directory, in a file that only
//! its owner can read. Never logged, and redacted in `Debug`.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use crate::clock::Clock;
use crate::storage::credentials::AccessKey;

/// Both pairs.
#[derive(Debug)]
pub(super) struct Keys {
    /// Signs for the gateway; may do everything.
    pub(super) signer: AccessKey,
    /// For independent readers; may list and read.
    pub(super) reader: AccessKey,
}

#[derive(Serialize, Deserialize)]
struct Pair {
    access_key_id: String,
    secret_access_key: String,
}

#[derive(Serialize, Deserialize)]
struct OnDisk {
    signer: Pair,
    reader: Pair,
}

impl Keys {
    /// Reads the pairs, or makes them. The caller holds the directory's lock.
    pub(super) fn load(root: &Path, clock: &Clock) -> io::Result<Self> {
        let path = root.join("credentials.json");
        let pairs: OnDisk = match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let pairs = OnDisk { signer: Pair::new("VSTS", clock), reader: Pair::new("VSTR", clock) };
                let draft = root.join("credentials.json.new");
                let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
                file.write_all(&serde_json::to_vec(&pairs)?)?;
                file.sync_all()?;
                fs::rename(&draft, &path)?;
                fs::File::open(root)?.sync_all()?;
                pairs
            }
            Err(error) => return Err(error),
        };
        Ok(Self { signer: pairs.signer.into(), reader: pairs.reader.into() })
    }

    /// The secret of an access key.
    pub(super) fn secret(&self, access_key_id: &str) -> Option<&str> {
        [&self.signer, &self.reader]
            .into_iter()
            .find(|key| key.access_key_id == access_key_id)
            .map(|key| key.secret_access_key.expose_secret())
    }
}

impl Pair {
    fn new(prefix: &str, clock: &Clock) -> Self {
        Self {
            access_key_id: format!("{prefix}{}", hex::encode_upper(clock.random::<8>())),
            secret_access_key: URL_SAFE_NO_PAD.encode(clock.random::<30>()),
        }
    }
}

impl From<Pair> for AccessKey {
    fn from(pair: Pair) -> Self {
        Self {
            access_key_id: pair.access_key_id,
            secret_access_key: SecretString::from(pair.secret_access_key),
            session_token: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn keys_survive_a_restart_and_nobody_else_reads_them() {
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::system();
        let first = Keys::load(dir.path(), &clock).unwrap();
        let second = Keys::load(dir.path(), &clock).unwrap();
        assert_eq!(first.signer.access_key_id, second.signer.access_key_id);
        assert_ne!(first.signer.access_key_id, first.reader.access_key_id);
        let mode = fs::metadata(dir.path().join("credentials.json")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let secret = first.signer.secret_access_key.expose_secret();
        assert!(!format!("{first:?}").contains(secret));
    }
}
