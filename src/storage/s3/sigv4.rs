//! AWS Signature Version 4 for URLs and forms, with the day's key cached.
//!
//! A signing key is derived by four HMACs from secret, date, region and service; it is kept, already keyed, per
//! credentials and day, which leaves two hashes of a few hundred bytes for a URL. The canonical request is never put
//! together: its parts are hashed from where they lie, and the query in the URL *is* the canonical query.
//! Source: "Authenticating requests: using query parameters", Amazon S3 API reference. Absent on purpose: header
//! authentication, which the SDK does, and any other payload hash than `UNSIGNED-PAYLOAD`, since the gateway never sees
//! the bytes.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use hmac::{Hmac, Mac};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use sha2::{Digest, Sha256};

use super::encode;
use crate::storage::MintError;
use crate::storage::credentials::Snapshot;

type HmacSha256 = Hmac<Sha256>;

/// The name of the algorithm in queries, forms and strings to sign.
pub(super) const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// The longest that Amazon S3 lets a URL live, in seconds: seven days.
pub(super) const LONGEST: i64 = 7 * SECONDS_A_DAY;

const SECONDS_A_DAY: i64 = 86_400;

/// A signature in hexadecimal digits.
pub(super) struct Signature([u8; 64]);

impl Signature {
    fn of(digest: &[u8]) -> Self {
        let mut digits = [b'0'; 64];
        // Cannot fail: a SHA-256 has 32 bytes.
        let _ = hex::encode_to_slice(digest, &mut digits);
        Self(digits)
    }

    /// The 64 lower-case digits.
    pub(super) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// The key of one day: credentials, date and region folded into a keyed HMAC.
pub(super) struct SigningKey {
    /// Days since the Unix epoch.
    day: i64,
    /// The credentials that it came from.
    pub(super) credentials: Arc<Snapshot>,
    /// `YYYYMMDD`.
    date: String,
    /// `YYYYMMDD/region/s3/aws4_request`.
    scope: String,
    /// `<access key id>/<scope>`, as a form carries it.
    pub(super) credential: String,
    /// The same, as a query carries it.
    pub(super) encoded_credential: String,
    keyed: HmacSha256,
}

impl SigningKey {
    fn derive(credentials: &Arc<Snapshot>, day: i64, region: &str) -> Result<Self, MintError> {
        let midnight = Timestamp::from_second(day * SECONDS_A_DAY).map_err(|_| MintError::Grant)?;
        let date = midnight.to_zoned(TimeZone::UTC).strftime("%Y%m%d").to_string();
        let secret = ["AWS4", credentials.secret()].concat();
        let dated = mac(&keyed(secret.as_bytes())?, date.as_bytes());
        let regional = mac(&keyed(&dated)?, region.as_bytes());
        let service = mac(&keyed(&regional)?, b"s3");
        let key = mac(&keyed(&service)?, b"aws4_request");
        let scope = format!("{date}/{region}/s3/aws4_request");
        let credential = format!("{}/{scope}", credentials.access_key_id);
        let mut encoded_credential = String::new();
        encode::push(&mut encoded_credential, &credential);
        let keyed = keyed(&key)?;
        Ok(Self { day, credentials: Arc::clone(credentials), date, scope, credential, encoded_credential, keyed })
    }

    /// The moment as SigV4 writes it: `YYYYMMDDTHHMMSSZ`. `at` lies on the key's day.
    pub(super) fn push_time(&self, out: &mut String, at: Timestamp) {
        let second = at.as_second().rem_euclid(SECONDS_A_DAY);
        out.push_str(&self.date);
        out.push('T');
        for part in [second / 3600, second / 60 % 60, second % 60] {
            for digit in [part / 10, part % 10] {
                out.push(char::from(b'0' + u8::try_from(digit).unwrap_or(0)));
            }
        }
        out.push('Z');
    }

    /// Signs a request whose path and canonical query are given, encoded. `headers` are the canonical header lines, each
    /// with its `\n`; `signed` names them.
    pub(super) fn sign_request(&self, request: &CanonicalRequest<'_>, time: &str) -> Signature {
        let mut hash = Sha256::new();
        for part in [request.method, "\n", request.path, "\n", request.query, "\n"] {
            hash.update(part);
        }
        for (name, value) in request.headers {
            for part in [name, ":", value, "\n"] {
                hash.update(part);
            }
        }
        hash.update("\n");
        hash.update(request.signed_headers);
        hash.update("\nUNSIGNED-PAYLOAD");
        let digest = Signature::of(&hash.finalize());

        let mut mac = self.keyed.clone();
        for part in [ALGORITHM, "\n", time, "\n", &self.scope, "\n", digest.as_str()] {
            mac.update(part.as_bytes());
        }
        Signature::of(&mac.finalize().into_bytes())
    }

    /// Signs a base64 policy document.
    pub(super) fn sign_policy(&self, policy: &str) -> Signature {
        Signature::of(&mac(&self.keyed, policy.as_bytes()))
    }
}

/// The parts of a canonical request, each as it is hashed.
pub(super) struct CanonicalRequest<'a> {
    /// `GET` or `PUT`.
    pub(super) method: &'a str,
    /// The path, encoded once, from the leading `/`.
    pub(super) path: &'a str,
    /// The query, encoded, its parameters in byte order.
    pub(super) query: &'a str,
    /// Header names in lower case and byte order, with their trimmed values.
    pub(super) headers: &'a [(&'a str, &'a str)],
    /// The same names joined by `;`.
    pub(super) signed_headers: &'a str,
}

fn keyed(key: &[u8]) -> Result<HmacSha256, MintError> {
    // HMAC takes keys of any length; the error is part of the trait only.
    HmacSha256::new_from_slice(key).map_err(|_| MintError::Credentials)
}

fn mac(keyed: &HmacSha256, data: &[u8]) -> [u8; 32] {
    let mut mac = keyed.clone();
    mac.update(data);
    mac.finalize().into_bytes().into()
}

/// The signing key that was used last. Around midnight two days may take turns; deriving one costs two microseconds.
pub(super) struct SigningKeys {
    region: String,
    last: ArcSwapOption<SigningKey>,
}

impl SigningKeys {
    /// For one region.
    pub(super) fn new(region: String) -> Self {
        Self { region, last: ArcSwapOption::empty() }
    }

    /// The key for these credentials on the day of `at`.
    pub(super) fn get(&self, credentials: &Arc<Snapshot>, at: Timestamp) -> Result<Arc<SigningKey>, MintError> {
        let day = at.as_second().div_euclid(SECONDS_A_DAY);
        if let Some(key) = self.last.load().as_ref()
            && key.day == day
            && Arc::ptr_eq(&key.credentials, credentials)
        {
            return Ok(Arc::clone(key));
        }
        let key = Arc::new(SigningKey::derive(credentials, day, &self.region)?);
        self.last.store(Some(Arc::clone(&key)));
        Ok(key)
    }
}
