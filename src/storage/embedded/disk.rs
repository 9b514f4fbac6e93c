//! The data directory: drafts, publication, removal.
//!
//! Bytes are written to a draft below `tmp/`, with their digests computed on the way; only a draft whose digests were
//! compared is published, by one `link` (create-only, so that of many writers exactly one wins) or one `rename`. The file
//! is synced before and the directory after, so that what was answered survives a power cut. Drafts that a crash left are
//! removed at start; a lock on the directory keeps a second process out, whose drafts those could be. Everything here
//! blocks: callers use [`Disk::run`].

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum as _, Md5};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::layout;
use super::record::Record;
use crate::clock::Clock;
use crate::domain::bytes::Sha256Digest;
use crate::domain::retention::Lock;

/// Why the directory could not do it.
#[derive(Debug, thiserror::Error)]
pub(super) enum DiskError {
    /// Create-only, and something lies there.
    #[error("an object lies under the key")]
    Exists,
    /// No such bucket.
    #[error("no such bucket")]
    NoBucket,
    /// No such object.
    #[error("no such object")]
    Missing,
    /// A lock keeps the object.
    #[error("the object is kept until {}", .0.until)]
    Locked(Lock),
    /// No space left.
    #[error("the disk is full")]
    Full,
    /// The file system failed.
    #[error("the data directory failed: {0}")]
    Io(#[source] io::Error),
}

impl From<io::Error> for DiskError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full,
            _ => Self::Io(error),
        }
    }
}

/// The data directory of one store.
pub(super) struct Disk {
    root: PathBuf,
    pub(super) clock: Clock,
    /// Held as long as the store lives; without it nothing may be written.
    lock: Option<File>,
}

/// An open object: its record, and the file whose first `record.size` bytes are its bytes.
pub(super) struct Found {
    /// The file; what happens to the key from now on does not change it.
    pub(super) file: File,
    /// The record at its end.
    pub(super) record: Record,
}

impl Disk {
    /// Opens or makes the directory, and removes what a crash left behind.
    pub(super) fn open(root: &Path, clock: Clock) -> io::Result<Self> {
        make_directory(root)?;
        for name in ["tmp", "buckets"] {
            make_directory(&root.join(name))?;
        }
        let lock = private().create(true).truncate(false).open(root.join("lock"))?;
        lock.try_lock()
            .map_err(|_| io::Error::new(io::ErrorKind::ResourceBusy, "another process uses this data directory"))?;
        for draft in fs::read_dir(root.join("tmp"))? {
            fs::remove_file(draft?.path())?;
        }
        Ok(Self { root: root.to_path_buf(), clock, lock: Some(lock) })
    }

    /// The directory of a store that another process may be serving: nothing is made or removed, and nothing can be written.
    pub(super) fn look_at(root: &Path, clock: Clock) -> Self {
        Self { root: root.to_path_buf(), clock, lock: None }
    }

    /// Refuses a write without the lock.
    fn writable(&self) -> Result<(), DiskError> {
        let refused = || io::Error::new(io::ErrorKind::PermissionDenied, "the data directory is only looked at");
        self.lock.as_ref().map(drop).ok_or_else(|| DiskError::Io(refused()))
    }

    /// Runs blocking work where it may block.
    pub(super) async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Disk) -> Result<T, DiskError> + Send + 'static,
    ) -> Result<T, DiskError> {
        let disk = Arc::clone(self);
        match tokio::task::spawn_blocking(move || work(&disk)).await {
            Ok(done) => done,
            Err(error) => Err(DiskError::Io(io::Error::other(error))),
        }
    }

    /// The same for a client's request, whose answer does not say what failed: it is logged here. (The S3 library around the
    /// caller runs without a log subscriber; the thread that blocks does not.)
    pub(super) async fn serve<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Disk) -> Result<T, DiskError> + Send + 'static,
    ) -> Result<T, DiskError> {
        self.run(move |disk| {
            work(disk).inspect_err(|error| {
                if matches!(error, DiskError::Full | DiskError::Io(_)) {
                    tracing::error!(%error, "the embedded store failed a request");
                }
            })
        })
        .await
    }

    /// Makes a bucket, if it is not there.
    pub(super) fn make_bucket(&self, bucket: &str) -> io::Result<()> {
        make_directory(&self.root.join("buckets").join(bucket))
    }

    /// The bucket's directory. The name must have been checked: it becomes a path.
    pub(super) fn bucket(&self, bucket: &str) -> Result<PathBuf, DiskError> {
        let path = self.root.join("buckets").join(bucket);
        if s3s::path::check_bucket_name(bucket) && path.is_dir() { Ok(path) } else { Err(DiskError::NoBucket) }
    }

    /// Opens what lies under a key now.
    pub(super) fn find(&self, bucket: &str, key: &str) -> Result<Found, DiskError> {
        let file = match File::open(layout::object(&self.bucket(bucket)?, key)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(DiskError::Missing),
            file => file?,
        };
        let record = Record::read(&file)?;
        Ok(Found { file, record })
    }

    /// A file to write an object into.
    pub(super) fn draft(&self) -> Result<Draft, DiskError> {
        self.writable()?;
        let path = self.root.join("tmp").join(self.clock.uuid().simple().to_string());
        let file = private().create_new(true).open(&path)?;
        Ok(Draft { file, path, md5: Md5::new(), sha256: Sha256::new(), other: ChecksumHasher::default(), size: 0 })
    }

    /// Publishes a draft under its key.
    pub(super) fn publish(
        &self,
        bucket: &str,
        written: Written,
        about: About,
        create_only: bool,
    ) -> Result<Record, DiskError> {
        let bucket = self.bucket(bucket)?;
        let path = layout::object(&bucket, &about.key);
        let record = Record {
            id: self.clock.uuid().simple().to_string(),
            key: about.key,
            size: written.size,
            md5: written.md5,
            sha256: written.sha256,
            content_type: about.content_type,
            metadata: about.metadata,
            tags: about.tags,
            modified_at: self.clock.now(),
        };
        if !create_only {
            self.refuse_locked(&bucket, &record.key)?;
        }
        let draft = written.draft;
        (&draft.file).write_all(&record.to_trailer()?)?;
        draft.file.sync_all()?;
        put_in_place(&path, || {
            if create_only { fs::hard_link(&draft.path, &path) } else { fs::rename(&draft.path, &path) }
        })?;
        Ok(record)
    }

    /// Removes what lies under a key, and the directories that it leaves empty.
    pub(super) fn remove(&self, bucket: &str, key: &str) -> Result<(), DiskError> {
        self.writable()?;
        let bucket = self.bucket(bucket)?;
        let object = layout::object(&bucket, key);
        self.refuse_locked(&bucket, key)?;
        match fs::remove_file(&object) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(DiskError::Missing),
            removed => removed?,
        }
        // Tags and the lock of an object that is gone say whose they were and mean nothing to another; not to find them is no
        // error.
        let _ = fs::remove_file(layout::tags(&bucket, key));
        let _ = fs::remove_file(layout::lock(&bucket, key));
        let mut directory = object.parent();
        while let Some(path) = directory {
            sync_directory(path)?;
            if path == bucket || fs::remove_dir(path).is_err() {
                break;
            }
            directory = path.parent();
        }
        Ok(())
    }

    /// Up to `limit` records in key order.
    pub(super) fn list(
        &self,
        bucket: &str,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Record>, DiskError> {
        let mut records = Vec::new();
        layout::walk(&self.bucket(bucket)?, prefix, after, &mut |_, path| {
            if records.len() < limit {
                match File::open(path) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    file => records.push(Record::read(&file?)?),
                }
            }
            Ok(records.len() < limit)
        })?;
        Ok(records)
    }

    /// The object's tags: those that were set last, else those that it was written with.
    pub(super) fn tags(&self, bucket: &str, key: &str) -> Result<Vec<(String, String)>, DiskError> {
        let record = self.find(bucket, key)?.record;
        match fs::read(layout::tags(&self.bucket(bucket)?, key)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(record.tags),
            later => {
                let later: LaterTags = serde_json::from_slice(&later?).map_err(io::Error::from)?;
                Ok(if later.of == record.id { later.tags } else { record.tags })
            }
        }
    }

    /// Replaces the object's tags.
    pub(super) fn set_tags(&self, bucket: &str, key: &str, tags: Vec<(String, String)>) -> Result<(), DiskError> {
        let of = self.find(bucket, key)?.record.id;
        self.put_beside(&layout::tags(&self.bucket(bucket)?, key), &LaterTags { of, tags })
    }

    /// Writes what is known about an object beside it, durably, instead of what was there.
    pub(super) fn put_beside(&self, path: &Path, what: &impl Serialize) -> Result<(), DiskError> {
        let draft = self.draft()?;
        (&draft.file).write_all(&serde_json::to_vec(what).map_err(io::Error::from)?)?;
        draft.file.sync_all()?;
        put_in_place(path, || fs::rename(&draft.path, path))
    }
}

/// Tags that were set after the object was written; they belong to exactly that object.
#[derive(Serialize, Deserialize)]
struct LaterTags {
    of: String,
    tags: Vec<(String, String)>,
}

/// What a client says about its object.
#[derive(Clone, Debug, Default)]
pub(super) struct About {
    pub(super) key: String,
    pub(super) content_type: Option<String>,
    pub(super) metadata: Vec<(String, String)>,
    pub(super) tags: Vec<(String, String)>,
}

/// A file being written. Dropped without being published, it is removed.
pub(super) struct Draft {
    file: File,
    path: PathBuf,
    md5: Md5,
    sha256: Sha256,
    /// Further checksums that the client announced.
    pub(super) other: ChecksumHasher,
    size: u64,
}

impl Draft {
    /// Appends bytes.
    pub(super) fn write(&mut self, chunks: &[Bytes]) -> Result<(), DiskError> {
        for chunk in chunks {
            self.file.write_all(chunk)?;
            self.md5.update(chunk);
            self.sha256.update(chunk);
            self.other.update(chunk);
            self.size += chunk.len() as u64;
        }
        Ok(())
    }

    /// Appends the bytes of another object, whose digests are known.
    pub(super) fn copy(mut self, from: &Found) -> Result<Written, DiskError> {
        use std::io::Read;
        // File to file, so that the kernel copies or shares blocks.
        let copied = io::copy(&mut (&from.file).take(from.record.size), &mut self.file)?;
        if copied != from.record.size {
            return Err(DiskError::Io(io::ErrorKind::UnexpectedEof.into()));
        }
        let Record { size, md5, sha256, .. } = from.record.clone();
        Ok(Written { size, md5, sha256, other: s3s::dto::Checksum::default(), draft: self })
    }

    /// All bytes are there.
    pub(super) fn finish(mut self) -> Written {
        let md5 = hex::encode(std::mem::replace(&mut self.md5, Md5::new()).finalize());
        let sha256 = Sha256Digest(std::mem::take(&mut self.sha256).finalize().into());
        let other = std::mem::take(&mut self.other).finalize();
        Written { size: self.size, md5, sha256, other, draft: self }
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // After a rename there is nothing to remove.
        let _ = fs::remove_file(&self.path);
    }
}

/// A complete draft with its digests, to be compared with what the client announced.
pub(super) struct Written {
    pub(super) size: u64,
    /// In hexadecimal digits.
    pub(super) md5: String,
    pub(super) sha256: Sha256Digest,
    /// Further checksums, in base64.
    pub(super) other: s3s::dto::Checksum,
    draft: Draft,
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options
}

/// Makes a directory and what leads to it, each one durable.
fn make_directory(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => path.parent().map_or(Ok(()), sync_directory),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make_directory(path.parent().ok_or(error)?)?;
            make_directory(path)
        }
        Err(error) => Err(error),
    }
}

fn sync_directory(path: &Path) -> io::Result<()> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    match File::open(path) {
        // Removed meanwhile by a delete that left it empty.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        directory => directory?.sync_all(),
    }
}

/// Links or renames into a directory that a concurrent delete may be removing.
fn put_in_place(path: &Path, place: impl Fn() -> io::Result<()>) -> Result<(), DiskError> {
    let directory = path.parent().ok_or(DiskError::NoBucket)?;
    for _ in 0..100 {
        make_directory(directory).or_else(
            |error| {
                if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
            },
        )?;
        match place() {
            Ok(()) => return Ok(sync_directory(directory)?),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(DiskError::Exists),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(DiskError::Io(io::ErrorKind::NotFound.into()))
}
