//! Shared access signatures, minted by ourselves in about a microsecond.
//!
//! A [`SasKey`] is a keyed HMAC with the parts of the URL that never change; [`Sas`] is what one URL says. Whatever is
//! in a [`Sas`] is in the string to sign, in the order of Microsoft's "Create a service SAS" (2020-12-06 and later) and
//! "Create a user delegation SAS" (2025-07-05 and later); compared with Microsoft's own Python client in
//! `tests/it/signing_azure.rs`. Absent on purpose: `st` (clocks differ), stored access policies, account SAS.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::Mac;
use jiff::Timestamp;
use jiff::tz::Offset;
use secrecy::SecretString;
use uuid::Uuid;

use super::shared_key::{AccountKeyError, Keyed, keyed};
use crate::storage::s3::encode;

/// The service version of every SAS and every call.
///
/// 2025-07-05 is the first whose user delegation layout both Microsoft's current clients and Azurite 3.35 use. Later
/// ones change what a SAS means: from 2026-04-06 permission `c` also covers Put Block and Put Block List, which would
/// let a client write a blob in pieces, and the user delegation layout has two more lines (`srh`, `srq`) that Azurite 3.35
/// does not know.
pub const VERSION: &str = "2025-07-05";

/// What one URL allows.
#[derive(Clone, Copy, Debug)]
pub struct Sas<'a> {
    /// `c` or `r`.
    pub permissions: &'static str,
    /// The blob's name, not encoded.
    pub blob: &'a str,
    /// When it ends; written in whole seconds, rounded down.
    pub expires_at: Timestamp,
    /// Refuse plain HTTP (`spr=https`).
    pub https_only: bool,
    /// Written into the storage's logs (`scid`); only a user delegation SAS can carry it.
    pub correlation: Option<Uuid>,
    /// One version of the blob and no other (`sr=bv`).
    pub version: Option<&'a str>,
    /// Overrides `Content-Disposition` of the answer.
    pub content_disposition: Option<&'a str>,
    /// Overrides `Content-Type` of the answer.
    pub content_type: Option<&'a str>,
}

/// A container as SAS name it.
#[derive(Clone, Debug)]
pub struct Place {
    /// The container's address with a `/` at the end.
    url: String,
    /// `/blob/<account>/<container>/`.
    canonical: String,
}

impl Place {
    /// `endpoint` is the account's blob address without a `/` at the end.
    pub fn new(endpoint: &str, account: &str, container: &str) -> Self {
        Self { url: format!("{endpoint}/{container}/"), canonical: format!("/blob/{account}/{container}/") }
    }

    /// The blob's address, without a signature.
    pub fn url(&self, blob: &str) -> String {
        let mut url = String::with_capacity(self.url.len() + blob.len() + 32);
        url.push_str(&self.url);
        encode::push_path(&mut url, blob);
        url
    }
}

/// A user delegation key: who asked for it, from when to when, and its secret.
#[derive(Clone, Debug)]
pub struct DelegationKey {
    /// `skoid`: the principal.
    pub object_id: String,
    /// `sktid`: its tenant.
    pub tenant_id: String,
    /// `skt`: valid from.
    pub starts_at: Timestamp,
    /// `ske`: valid until; no SAS lives longer.
    pub expires_at: Timestamp,
    /// `sks`: the service, `b`.
    pub service: String,
    /// `skv`: the service version that made the key.
    pub version: String,
    /// The key, base64.
    pub value: SecretString,
}

/// What signs.
pub struct SasKey {
    key: Keyed,
    delegation: Option<Delegation>,
}

/// The parts of a delegation key that each URL repeats, written once.
struct Delegation {
    signed: String,
    query: String,
    expires_at: Timestamp,
}

impl SasKey {
    /// An account key: service SAS.
    ///
    /// # Errors
    /// [`AccountKeyError`] where the key is not base64.
    pub fn account(key: &SecretString) -> Result<Self, AccountKeyError> {
        Ok(Self { key: keyed(key)?, delegation: None })
    }

    /// A user delegation key: user delegation SAS.
    ///
    /// # Errors
    /// [`AccountKeyError`] where the key is not base64.
    pub fn delegation(key: &DelegationKey) -> Result<Self, AccountKeyError> {
        let (mut starts, mut ends) = (String::new(), String::new());
        push_time(&mut starts, key.starts_at);
        push_time(&mut ends, key.expires_at);
        let parts = [
            ("skoid", key.object_id.as_str()),
            ("sktid", &key.tenant_id),
            ("skt", &starts),
            ("ske", &ends),
            ("sks", &key.service),
            ("skv", &key.version),
        ];
        let (mut signed, mut query) = (String::new(), String::new());
        for (name, value) in parts {
            signed.push_str(value);
            signed.push('\n');
            push_pair(&mut query, name, value);
        }
        let delegation = Delegation { signed, query, expires_at: key.expires_at };
        Ok(Self { key: keyed(&key.value)?, delegation: Some(delegation) })
    }

    /// When nothing signed with this key works any more; `None` for an account key.
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.delegation.as_ref().map(|delegation| delegation.expires_at)
    }

    /// The complete URL.
    pub fn sign(&self, place: &Place, sas: &Sas<'_>) -> String {
        let mut expires = String::with_capacity(20);
        push_time(&mut expires, sas.expires_at);
        let protocol = if sas.https_only { "https" } else { "" };
        let resource = if sas.version.is_some() { "bv" } else { "b" };
        let version = sas.version.unwrap_or_default();
        let disposition = sas.content_disposition.unwrap_or_default();
        let content_type = sas.content_type.unwrap_or_default();
        let correlation = sas.correlation.filter(|_| self.delegation.is_some());

        let mut text = String::with_capacity(768);
        push_lines(&mut text, &[sas.permissions, "", &expires]);
        text.push_str(&place.canonical);
        push_lines(&mut text, &[sas.blob]);
        match &self.delegation {
            Some(delegation) => {
                text.push_str(&delegation.signed);
                // saoid, suoid
                text.push_str("\n\n");
                push_uuid(&mut text, correlation);
                // the end of scid, then skdutid and sduoid
                text.push_str("\n\n\n");
            }
            // si
            None => text.push('\n'),
        }
        // sip, spr, sv, sr, snapshot or version, ses, rscc, rscd, rsce, rscl
        push_lines(&mut text, &["", protocol, VERSION, resource, version, "", "", disposition, "", ""]);
        text.push_str(content_type);

        let mut mac = self.key.clone();
        mac.update(text.as_bytes());
        let mut signature = [0; 44];
        let written = BASE64.encode_slice(mac.finalize().into_bytes(), &mut signature).unwrap_or_default();
        let signature = std::str::from_utf8(&signature[..written]).unwrap_or_default();

        // One allocation held both texts; the second is the answer.
        text.clear();
        text.push_str(&place.url);
        encode::push_path(&mut text, sas.blob);
        text.push_str("?sv=");
        text.push_str(VERSION);
        push_pair(&mut text, "sr", resource);
        push_pair(&mut text, "sp", sas.permissions);
        push_pair(&mut text, "se", &expires);
        push_optional(&mut text, "spr", protocol);
        push_optional(&mut text, "versionid", version);
        push_optional(&mut text, "rscd", disposition);
        push_optional(&mut text, "rsct", content_type);
        if let Some(delegation) = &self.delegation {
            text.push_str(&delegation.query);
            if correlation.is_some() {
                text.push_str("&scid=");
                push_uuid(&mut text, correlation);
            }
        }
        push_pair(&mut text, "sig", signature);
        text
    }
}

impl fmt::Debug for SasKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SasKey").field("expires_at", &self.expires_at()).finish_non_exhaustive()
    }
}

/// `2026-11-21T20:15:00Z`: ISO 8601 in UTC, to the second.
pub(super) fn push_time(out: &mut String, at: Timestamp) {
    let time = Offset::UTC.to_datetime(at);
    let year = time.year().unsigned_abs();
    let pair = |value: u16| u8::try_from(value % 100).unwrap_or_default();
    let small = |value: i8| value.unsigned_abs();
    let pieces = [
        (pair(year / 100), None),
        (pair(year), Some('-')),
        (small(time.month()), Some('-')),
        (small(time.day()), Some('T')),
        (small(time.hour()), Some(':')),
        (small(time.minute()), Some(':')),
        (small(time.second()), Some('Z')),
    ];
    for (value, separator) in pieces {
        out.push(char::from(b'0' + value / 10));
        out.push(char::from(b'0' + value % 10));
        out.extend(separator);
    }
}

fn push_uuid(out: &mut String, id: Option<Uuid>) {
    if let Some(id) = id {
        out.push_str(id.hyphenated().encode_lower(&mut Uuid::encode_buffer()));
    }
}

fn push_lines(out: &mut String, lines: &[&str]) {
    for line in lines {
        out.push_str(line);
        out.push('\n');
    }
}

fn push_pair(out: &mut String, name: &str, value: &str) {
    out.push('&');
    out.push_str(name);
    out.push('=');
    encode::push(out, value);
}

fn push_optional(out: &mut String, name: &str, value: &str) {
    if !value.is_empty() {
        push_pair(out, name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sas() -> Sas<'static> {
        Sas {
            permissions: "c",
            blob: "incoming/a b.txt",
            expires_at: "2026-11-21T20:15:00.999999Z".parse().unwrap(),
            https_only: true,
            correlation: Some(Uuid::from_u128(1)),
            version: None,
            content_disposition: None,
            content_type: None,
        }
    }

    fn place() -> Place {
        Place::new("https://acct.blob.core.windows.net", "acct", "uploads")
    }

    #[test]
    fn an_upload_url_says_one_permission_one_blob_and_whole_seconds() {
        let url = SasKey::account(&"aHVzaA==".into()).unwrap().sign(&place(), &sas());
        let rest = url.strip_prefix("https://acct.blob.core.windows.net/uploads/incoming/a%20b.txt?").unwrap();
        assert!(rest.starts_with("sv=2025-07-05&sr=b&sp=c&se=2026-11-21T20%3A15%3A00Z&spr=https&sig="), "{rest}");
    }

    #[test]
    fn a_service_sas_carries_no_correlation_because_it_would_not_be_signed() {
        let url = SasKey::account(&"aHVzaA==".into()).unwrap().sign(&place(), &sas());
        assert!(!url.contains("scid"), "{url}");
    }

    #[test]
    fn a_user_delegation_sas_names_its_key_and_the_grant() {
        let key = DelegationKey {
            object_id: "oid".into(),
            tenant_id: "tid".into(),
            starts_at: "2026-11-21T20:00:00Z".parse().unwrap(),
            expires_at: "2026-11-22T02:00:00Z".parse().unwrap(),
            service: "b".into(),
            version: VERSION.into(),
            value: "aHVzaA==".into(),
        };
        let key = SasKey::delegation(&key).unwrap();
        let url = key.sign(&place(), &sas());
        assert!(url.contains("&skoid=oid&sktid=tid&skt=2026-11-21T20%3A00%3A00Z&ske=2026-11-22T02%3A00%3A00Z&sks=b"));
        assert!(url.contains("&scid=00000000-0000-0000-0000-000000000001&sig="), "{url}");
        assert!(!format!("{key:?}").contains("hush"));
    }

    #[test]
    fn times_are_written_to_the_second_and_rounded_down() {
        let mut text = String::new();
        push_time(&mut text, "2027-01-02T03:04:05.678Z".parse().unwrap());
        assert_eq!(text, "2027-01-02T03:04:05Z");
    }
}
