//! Keys that lie in files, read again while the gateway runs.
//!
//! Whoever rotates a key replaces its file; within [`LOOK`] every signer that reads it has the new one, and nothing is
//! restarted. A file that cannot be read, or holds no key, changes nothing: the key before it stays in use and the log says
//! so. An access key is one file, because its two halves change together: the JSON that `credential_process` of the AWS
//! tools prints, so that an `Expiration` is known too. Absent on purpose: file events; they miss what is mounted anew.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::credentials::AccessKey;
use crate::domain::bytes::Sha256Digest;

/// How often a file is looked at.
pub const LOOK: Duration = Duration::from_secs(10);

/// A file that holds no key. Says nothing of what it holds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {why}", path.display())]
pub struct KeyFileError {
    path: PathBuf,
    why: String,
}

impl KeyFileError {
    pub(super) fn new(path: &Path, why: impl fmt::Display) -> Self {
        Self { path: path.to_owned(), why: why.to_string() }
    }
}

/// The contents of a file of a key.
pub(super) fn read(path: &Path) -> Result<SecretString, KeyFileError> {
    std::fs::read_to_string(path).map(SecretString::from).map_err(|error| KeyFileError::new(path, error))
}

/// What `credential_process` prints (AWS SDKs and Tools Reference Guide, "Process credential provider").
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ProcessCredentials {
    version: u64,
    access_key_id: String,
    secret_access_key: SecretString,
    session_token: Option<SecretString>,
    expiration: Option<Timestamp>,
}

/// An access key, and when it ends, from the contents of its file.
pub(super) fn access_key(path: &Path, contents: &SecretString) -> Result<(AccessKey, Option<Timestamp>), KeyFileError> {
    let form = || KeyFileError::new(path, "is not JSON with Version 1, AccessKeyId and SecretAccessKey");
    let read: ProcessCredentials = serde_json::from_str(contents.expose_secret()).map_err(|_| form())?;
    if read.version != 1 || !AccessKey::is_id(&read.access_key_id) {
        return Err(form());
    }
    let ProcessCredentials { access_key_id, secret_access_key, session_token, expiration, .. } = read;
    Ok((AccessKey { access_key_id, secret_access_key, session_token }, expiration))
}

/// Somebody who reads a file again, and hands what changed to its owner.
pub(super) struct Watch<T> {
    path: PathBuf,
    /// Of what was read last.
    last: Sha256Digest,
    owner: Weak<T>,
    take: Take<T>,
}

/// Takes the new contents over.
type Take<T> = fn(&T, &Path, &SecretString) -> Result<(), KeyFileError>;

fn digest(contents: &SecretString) -> Sha256Digest {
    Sha256Digest::of(contents.expose_secret().as_bytes())
}

impl<T: Send + Sync + 'static> Watch<T> {
    /// A watch of a file with these contents.
    pub(super) fn new(path: &Path, contents: &SecretString, owner: &Arc<T>, take: Take<T>) -> Self {
        Self { path: path.to_owned(), last: digest(contents), owner: Arc::downgrade(owner), take }
    }

    /// Looks until nobody owns what is kept up to date.
    pub(super) fn start(mut self) {
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(LOOK).await;
                if !self.look() {
                    return;
                }
            }
        });
    }

    /// Looks once; `false` where nobody waits for it any more.
    pub(super) fn look(&mut self) -> bool {
        let Some(owner) = self.owner.upgrade() else { return false };
        let taken = match read(&self.path) {
            Ok(contents) if digest(&contents) == self.last => return true,
            Ok(contents) => {
                self.last = digest(&contents);
                (self.take)(&owner, &self.path, &contents)
            }
            Err(error) => Err(error),
        };
        match taken {
            Ok(()) => tracing::info!(file = %self.path.display(), "a key was read again"),
            Err(error) => tracing::warn!(%error, "a key could not be read again; the one before stays in use"),
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_key(text: &str) -> Result<(AccessKey, Option<Timestamp>), KeyFileError> {
        access_key(Path::new("/run/keys/s3.json"), &text.into())
    }

    #[test]
    fn an_access_key_is_read_as_the_aws_tools_write_it() {
        let whole = r#"{"Version":1,"AccessKeyId":"ASIAEXAMPLE","SecretAccessKey":"hush","SessionToken":"token",
                        "Expiration":"2026-11-22T12:00:00Z"}"#;
        let (key, ends) = read_key(whole).unwrap();
        assert_eq!((key.access_key_id.as_str(), key.secret_access_key.expose_secret()), ("ASIAEXAMPLE", "hush"));
        assert_eq!(key.session_token.unwrap().expose_secret(), "token");
        assert_eq!(ends, Some("2026-11-22T12:00:00Z".parse().unwrap()));
        let (key, ends) = read_key(r#"{"Version":1,"AccessKeyId":"AKIAEXAMPLE","SecretAccessKey":"hush"}"#).unwrap();
        assert!(key.session_token.is_none() && ends.is_none());
    }

    #[test]
    fn what_holds_no_key_is_refused_without_being_told() {
        for text in [
            "",
            "hush",
            r#"{"Version":2,"AccessKeyId":"AKIAEXAMPLE","SecretAccessKey":"hush"}"#,
            r#"{"Version":1,"AccessKeyId":"a/b","SecretAccessKey":"hush"}"#,
            r#"{"Version":1,"AccessKeyId":"AKIAEXAMPLE"}"#,
            r#"{"Version":1,"AccessKeyId":"AKIAEXAMPLE","SecretAccessKey":"hush","Expiration":"hush"}"#,
        ] {
            let told = read_key(text).unwrap_err().to_string();
            assert!(told.starts_with("/run/keys/s3.json: is not JSON") && !told.contains("hush"), "{told}");
        }
    }
}
