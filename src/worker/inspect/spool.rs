//! Unlinked temporary files: what an archive needs, since a zip file is read from its end.
//!
//! A file is removed from its directory as soon as it is open, so that nothing is left behind by a crash. Names come
//! from the clock's random source and the file is created new, readable by its owner only.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::clock::Clock;

/// A directory for unlinked files.
#[derive(Clone, Debug)]
pub(super) struct Spool {
    pub(super) directory: PathBuf,
    pub(super) clock: Clock,
}

impl Spool {
    /// An empty file that no path names. Blocks for two calls of the file system.
    pub(super) fn file(&self) -> io::Result<File> {
        let name = format!("vestibule-{}", hex::encode(self.clock.random::<16>()));
        let path: &Path = &self.directory.join(name);
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)?;
        std::fs::remove_file(path)?;
        Ok(file)
    }
}
