//! JSON lines: one audit entry a line, to a file or to standard output.
//!
//! Called by the store's writer after each commit, with the batch as one write, so it neither blocks for long nor fails:
//! an error is counted (`vestibule_audit_sink_errors_total`), logged once until it works again, and the lines are then
//! missing here, not in the database. After `SIGHUP`, [`JsonLines::reopen`] follows a rotated file. The file is not
//! synced; the database is.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The sink. Shared: the writer writes, the signal handler reopens.
pub struct JsonLines {
    path: Option<PathBuf>,
    /// A std mutex, because nothing awaits while it is held.
    output: Mutex<Output>,
}

struct Output {
    to: Box<dyn Write + Send>,
    /// The last write failed, perhaps in the middle of a line.
    torn: bool,
}

impl JsonLines {
    /// Appends to this file, which is created with mode 0600 where it is missing.
    ///
    /// # Errors
    /// Where it cannot be opened for appending.
    pub fn file(path: &Path) -> io::Result<Self> {
        Ok(Self::to(Some(path.to_owned()), Box::new(append(path)?)))
    }

    /// Writes to standard output.
    pub fn stdout() -> Self {
        Self::to(None, Box::new(io::stdout()))
    }

    fn to(path: Option<PathBuf>, to: Box<dyn Write + Send>) -> Self {
        Self { path, output: Mutex::new(Output { to, torn: false }) }
    }

    /// Opens the file by its name again, after it was moved away. Does nothing to standard output.
    ///
    /// # Errors
    /// Where it cannot be opened; lines go on into the old file then.
    pub fn reopen(&self) -> io::Result<()> {
        if let Some(path) = &self.path {
            let file = append(path)?;
            let mut output = self.output();
            (output.to, output.torn) = (Box::new(file), false);
        }
        Ok(())
    }

    /// Writes these lines, each with its line end, as one piece.
    pub fn write(&self, lines: &str) {
        let mut output = self.output();
        let Output { to, torn } = &mut *output;
        let mended = if *torn { to.write_all(b"\n") } else { Ok(()) };
        let written = mended.and_then(|()| to.write_all(lines.as_bytes())).and_then(|()| to.flush());
        if let Err(error) = &written {
            metrics::counter!("vestibule_audit_sink_errors_total").increment(1);
            if !*torn {
                tracing::error!(%error, "the audit log cannot be written; the entries are in the database");
            }
        }
        *torn = written.is_err();
    }

    fn output(&self) -> MutexGuard<'_, Output> {
        self.output.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::sync::Arc;

    use super::*;

    #[test]
    fn lines_are_appended_to_a_private_file_that_can_be_rotated() {
        let dir = tempfile::tempdir().unwrap();
        let (path, moved) = (dir.path().join("audit.jsonl"), dir.path().join("audit.jsonl.1"));
        let sink = JsonLines::file(&path).unwrap();
        sink.write("{\"a\":1}\n{\"a\":2}\n");
        std::fs::rename(&path, &moved).unwrap();
        sink.write("{\"a\":3}\n");
        sink.reopen().unwrap();
        sink.write("{\"a\":4}\n");
        assert_eq!(std::fs::read_to_string(&moved).unwrap(), "{\"a\":1}\n{\"a\":2}\n{\"a\":3}\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{\"a\":4}\n");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }

    /// Takes half of the first write, and everything after it.
    struct FullOnce(Arc<Mutex<Vec<u8>>>, bool);

    impl Write for FullOnce {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            match (bytes.len(), std::mem::replace(&mut self.1, true)) {
                (0..5, false) => Err(io::ErrorKind::StorageFull.into()),
                (length, false) => {
                    self.1 = false;
                    self.0.lock().unwrap().extend(&bytes[..length - 4]);
                    Ok(length - 4)
                }
                (length, true) => {
                    self.0.lock().unwrap().extend(bytes);
                    Ok(length)
                }
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_torn_line_does_not_spoil_the_next_one() {
        let taken = Arc::<Mutex<Vec<u8>>>::default();
        let sink = JsonLines::to(None, Box::new(FullOnce(taken.clone(), false)));
        sink.write("{\"a\":1}\n");
        sink.write("{\"a\":2}\n");
        assert_eq!(String::from_utf8(taken.lock().unwrap().clone()).unwrap(), "{\"a\"\n{\"a\":2}\n");
    }
}
