//! Locks on objects: until when an object is neither removed nor written over.
//!
//! A lock lies in a file of its own beside its object and names it, so that it says nothing about another one that comes to
//! lie there later. It binds this program and everybody who speaks to it; it cannot bind whoever has the machine. There is
//! no way to shorten or lift one, and no operation by which a client could see one set. Only copies that the gateway is
//! about to record as visible are locked, and nothing removes those at the same time, so that looking first is enough.

use std::fs;
use std::io;
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::disk::{Disk, DiskError};
use super::layout;
use super::record::Record;
use crate::domain::retention::{Lock, RetentionMode};

#[derive(Serialize, Deserialize)]
struct OnDisk {
    /// The id of the record that is locked.
    of: String,
    mode: RetentionMode,
    until: Timestamp,
}

impl Disk {
    /// Makes the lock of an object cover `lock`.
    pub(super) fn lock(&self, bucket: &str, record: &Record, lock: Lock) -> Result<(), DiskError> {
        let Some(Lock { mode, until }) = lock.over(self.lock_of(bucket, record)?) else { return Ok(()) };
        let path = layout::lock(&self.bucket(bucket)?, &record.key);
        self.put_beside(&path, &OnDisk { of: record.id.clone(), mode, until })
    }

    /// The lock that was put on an object, whether or not it has ended.
    pub(super) fn lock_of(&self, bucket: &str, record: &Record) -> Result<Option<Lock>, DiskError> {
        let lock = read(&layout::lock(&self.bucket(bucket)?, &record.key))?;
        Ok(lock.filter(|lock| lock.of == record.id).map(|lock| Lock { mode: lock.mode, until: lock.until }))
    }

    /// Refuses where a lock on what lies under the key still runs. `bucket` is the bucket's directory.
    pub(super) fn refuse_locked(&self, bucket: &Path, key: &str) -> Result<(), DiskError> {
        let Some(lock) = read(&layout::lock(bucket, key))?.filter(|lock| lock.until > self.clock.now()) else {
            return Ok(());
        };
        let record = match fs::File::open(layout::object(bucket, key)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            file => Record::read(&file?)?,
        };
        if record.id == lock.of { Err(DiskError::Locked(Lock { mode: lock.mode, until: lock.until })) } else { Ok(()) }
    }
}

fn read(path: &Path) -> Result<Option<OnDisk>, DiskError> {
    match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        text => Ok(Some(serde_json::from_slice(&text?).map_err(io::Error::from)?)),
    }
}
