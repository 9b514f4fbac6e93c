//! Cases for the comparison of signers, from a seed: the same on every run.

use jiff::{SignedDuration, Timestamp};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use url::Url;
use uuid::Uuid;
use vestibule::domain::bytes::{Sha256Digest, StoredBytes};
use vestibule::domain::filename::Filename;
use vestibule::domain::grant::{Disposition, DownloadGrant, UploadGrant, UploadMethod};
use vestibule::domain::ids::{GrantId, ObjectId};
use vestibule::domain::key::{Area, ObjectKey};
use vestibule::storage::credentials::{AccessKey, CredentialSource};
use vestibule::storage::s3::{Location, Presigner};

/// What RFC 3986 calls unreserved stays, all else is encoded.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A query value or path segment, encoded by other code than ours.
pub(super) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, UNRESERVED).to_string()
}

/// Where a bucket lies: region, endpoint, path style, bucket, and the address that this must give, written by hand.
const PLACES: [(&str, &str, bool, &str, &str); 12] = [
    ("us-east-1", "", false, "menus", "https://menus.s3.us-east-1.amazonaws.com"),
    ("eu-central-1", "", false, "menus", "https://menus.s3.eu-central-1.amazonaws.com"),
    ("eu-central-1", "", true, "menus", "https://s3.eu-central-1.amazonaws.com/menus"),
    ("eu-central-1", "", false, "menus.example", "https://s3.eu-central-1.amazonaws.com/menus.example"),
    ("cn-north-1", "", false, "menus-cn", "https://menus-cn.s3.cn-north-1.amazonaws.com.cn"),
    ("us-gov-west-1", "", false, "menus-gov", "https://menus-gov.s3.us-gov-west-1.amazonaws.com"),
    ("eu-central-1", "http://127.0.0.1:4566", true, "menus", "http://127.0.0.1:4566/menus"),
    ("eu-central-1", "http://127.0.0.1:4566", false, "menus", "http://127.0.0.1:4566/menus"),
    ("eu-west-3", "https://files.example:9000/", false, "menus", "https://menus.files.example:9000"),
    ("eu-west-3", "https://files.example:9000/s3/", true, "menus", "https://files.example:9000/s3/menus"),
    ("eu-west-3", "https://files.example/s3", false, "menus", "https://menus.files.example/s3"),
    ("eu-west-3", "https://files.example:443", true, "menus", "https://files.example/menus"),
];

/// One comparison.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) region: String,
    pub(super) endpoint: Option<Url>,
    pub(super) path_style: bool,
    pub(super) bucket: String,
    base: &'static str,
    pub(super) access_key_id: String,
    pub(super) secret: String,
    pub(super) token: Option<String>,
    key: String,
    filename: Filename,
    disposition: Disposition,
    version: Option<String>,
    size: u64,
    content_type: &'static str,
    sha256: Option<Sha256Digest>,
    pub(super) issued_at: Timestamp,
    pub(super) ttl: u64,
    uuid: Uuid,
}

/// `count` cases.
pub(super) fn cases(seed: u64, count: usize) -> Vec<Case> {
    let mut rng = StdRng::seed_from_u64(seed);
    (0..count).map(|at| case(&mut rng, PLACES[at % PLACES.len()])).collect()
}

fn case(rng: &mut StdRng, place: (&'static str, &str, bool, &str, &'static str)) -> Case {
    let (region, endpoint, path_style, bucket, base) = place;
    let filename = Filename::sanitise(&format!("a{}.jpg", segment(rng))).unwrap();
    let depth = rng.random_range(1..5);
    let key = (0..depth).map(|_| segment(rng)).collect::<Vec<_>>().join("/");
    let micros = rng.random_range(1_700_000_000_000_000..2_000_000_000_000_000_i64);
    Case {
        region: region.into(),
        endpoint: (!endpoint.is_empty()).then(|| endpoint.parse().unwrap()),
        path_style,
        bucket: bucket.into(),
        base,
        access_key_id: format!("AKIA{:016X}", rng.random::<u64>()),
        secret: text(rng, "ABCxyz019+/=", 40),
        token: rng.random_bool(0.5).then(|| text(rng, "ABCxyz019+/=", 900)),
        key,
        filename,
        disposition: if rng.random() { Disposition::Attachment } else { Disposition::Inline },
        version: rng.random_bool(0.5).then(|| text(rng, "ABCxyz019._-", 32)),
        size: rng.random_range(0..5 << 30),
        content_type: ["image/jpeg", "image/svg+xml", "text/csv", "application/vnd.ms-excel"].choose(rng).unwrap(),
        sha256: rng.random_bool(0.5).then(|| Sha256Digest(rng.random())),
        issued_at: Timestamp::from_microsecond(micros).unwrap(),
        ttl: rng.random_range(1..7 * 86_400),
        uuid: Uuid::from_u128(rng.random()),
    }
}

fn text(rng: &mut StdRng, alphabet: &str, length: usize) -> String {
    let alphabet: Vec<char> = alphabet.chars().collect();
    (0..length).filter_map(|_| alphabet.choose(rng)).collect()
}

/// A segment of everything that a key may hold.
fn segment(rng: &mut StdRng) -> String {
    let length = rng.random_range(1..24);
    let segment = text(rng, "abcXYZ0189-_.=@,() éüß菜单ж\u{301}", length);
    if segment.chars().all(|c| c == '.') { "dots".into() } else { segment }
}

impl Case {
    pub(super) fn location(&self) -> Location {
        Location {
            bucket: self.bucket.clone(),
            staging_bucket: self.bucket.clone(),
            region: self.region.clone(),
            endpoint: self.endpoint.clone(),
            path_style: self.path_style,
        }
    }

    pub(super) fn presigner(&self) -> Presigner {
        let key = AccessKey {
            access_key_id: self.access_key_id.clone(),
            secret_access_key: self.secret.clone().into(),
            session_token: self.token.clone().map(Into::into),
        };
        Presigner::new(&self.location(), CredentialSource::fixed(&key)).unwrap()
    }

    /// The object's address without a query.
    pub(super) fn address(&self) -> String {
        let segments: Vec<_> = self.key.split('/').map(encoded).collect();
        format!("{}/{}", self.base, segments.join("/"))
    }

    /// What the form is sent to.
    pub(super) fn form_address(&self) -> &'static str {
        self.base
    }

    /// The value of `Content-Disposition` as RFC 6266 and RFC 8187 have it.
    pub(super) fn disposition(&self) -> String {
        let name = self.filename.as_str();
        let plain: String = name.chars().map(|c| if c.is_ascii() { c } else { '_' }).collect();
        format!("{}; filename=\"{plain}\"; filename*=UTF-8''{}", self.disposition.as_str(), encoded(name))
    }

    /// The last whole second in which the URL works.
    pub(super) fn ends_at(&self) -> Timestamp {
        let start = Timestamp::from_second(self.issued_at.as_second()).unwrap();
        start + SignedDuration::from_secs(i64::try_from(self.ttl).unwrap())
    }

    pub(super) fn upload(&self) -> UploadGrant {
        UploadGrant {
            id: GrantId::from_uuid(self.uuid),
            object: ObjectId::from_uuid(self.uuid),
            key: ObjectKey::parse(Area::Staging, &self.key).unwrap(),
            method: UploadMethod::Put,
            size: self.size,
            content_type: self.content_type.parse().unwrap(),
            sha256: self.sha256,
            issued_at: self.issued_at,
            expires_at: self.ends_at(),
        }
    }

    pub(super) fn download(&self) -> DownloadGrant {
        DownloadGrant {
            id: GrantId::from_uuid(self.uuid),
            object: ObjectId::from_uuid(self.uuid),
            key: ObjectKey::parse(Area::Served, &self.key).unwrap(),
            bytes: StoredBytes { etag: "\"e\"".into(), version: self.version.clone(), size: self.size },
            disposition: self.disposition,
            filename: self.filename.clone(),
            content_type: self.content_type.parse().unwrap(),
            issued_at: self.issued_at,
            expires_at: self.ends_at(),
        }
    }
}
