//! Retention: what a storage is told to keep, nobody deletes before the date, and everybody is told the date.
//!
//! The cases of this file pass on the embedded store and on LocalStack's Object Lock. Azurite knows no immutability policies:
//! what is proved about Azure, and what cannot be, stands in `retention/azure.rs`. With the whole gateway over real buckets:
//! `cloud/retention.rs`.

mod azure;
mod embedded;
mod s3;

pub(crate) use s3::{set_default, set_hold};

use std::time::Duration;

use jiff::Timestamp;
use vestibule::domain::key::Area;
use vestibule::domain::retention::{Kept, Lock, RetentionMode};
use vestibule::storage::{MintedUpload, StorageError};

use crate::conformance::{Fixture, now};

fn lock(mode: RetentionMode, seconds: u64) -> Lock {
    let at = now() + Duration::from_secs(seconds);
    Lock { mode, until: Timestamp::from_second(at.as_second()).unwrap() }
}

/// A locked copy is read as before, and neither removed nor locked for less; what it is kept by is told.
async fn a_locked_copy_stays_and_its_lock_only_grows(fixture: &Fixture) {
    let (key, bytes) = fixture.serve("menu.jpg", b"menu").await;
    assert_eq!(fixture.store.kept(&key, &bytes).await.unwrap(), Kept::default());
    let (short, long) = (lock(RetentionMode::Governance, 600), lock(RetentionMode::Governance, 1200));
    for (asked, expected) in [(short, short), (short, short), (long, long), (short, long)] {
        fixture.store.lock(&key, &bytes, &asked).await.unwrap();
        let kept = fixture.store.kept(&key, &bytes).await.unwrap();
        assert_eq!(kept, Kept { lock: Some(expected), legal_hold: false });
    }
    let refused = fixture.store.delete(&key, bytes.version.as_deref()).await;
    assert!(
        matches!(refused, Err(StorageError::Retained(Kept { lock: Some(found), .. })) if found == long),
        "{refused:?}"
    );
    assert_eq!(fixture.read(&key, &bytes).await.unwrap(), b"menu");
    fixture.store.set_tags(&key, &[("vestibule-verdict".into(), "clean".into())]).await.unwrap();

    // Its neighbour is not locked.
    let (other, free) = fixture.serve("other.jpg", b"other").await;
    fixture.store.delete(&other, free.version.as_deref()).await.unwrap();
    assert_eq!(fixture.store.head(&other).await.unwrap(), None);
}

/// What is not there cannot be locked, and other bytes than those that are named are not.
async fn only_the_named_bytes_are_locked(fixture: &Fixture) {
    let missing = fixture.key(Area::Served, "missing.jpg");
    let (key, bytes) = fixture.serve("menu.jpg", b"menu").await;
    let lock = lock(RetentionMode::Governance, 600);
    let none = fixture.store.lock(&missing, &bytes, &lock).await;
    assert!(matches!(none, Err(StorageError::NotFound)), "{none:?}");
    assert_eq!(fixture.store.kept(&key, &bytes).await.unwrap(), Kept::default());
    fixture.store.delete(&key, bytes.version.as_deref()).await.unwrap();
}

/// What a client could try to send along with an upload.
const WISHES: [(&str, &str); 4] = [
    ("x-amz-object-lock-mode", "COMPLIANCE"),
    ("x-amz-object-lock-retain-until-date", "2099-01-01T00:00:00Z"),
    ("x-amz-object-lock-legal-hold", "ON"),
    ("x-amz-bypass-governance-retention", "true"),
];

/// An upload that asks for more than was granted: by headers, or by fields of the form.
fn wishing(minted: MintedUpload, wishes: &[(&'static str, &str)]) -> MintedUpload {
    let mut minted = minted;
    match &mut minted.fields {
        None => minted.headers.extend(wishes.iter().map(|(name, value)| (*name, (*value).to_owned()))),
        Some(fields) => {
            let more = wishes.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            fields.0.splice(0..0, more);
        }
    }
    minted
}
