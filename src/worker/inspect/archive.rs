//! Zip files and the formats that are zip files: what they hold, and whether they are what they claim.
//!
//! Reads a spooled file on a blocking thread. Invariant: every size is measured by unpacking within a budget, none is
//! believed, and an archive on which two readers could disagree (overlapping entries, headers that contradict each
//! other) is refused. Archives inside are looked into down to [`MAX_DEPTH`]; memory is bounded by [`MAX_ENTRIES`] and
//! [`MAX_DIRECTORY`]. Deliberately absent: other archives (7z, rar, tar) inside and outside; the scanner's limits hold.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use zip::ZipArchive;
use zip::result::ZipError;

use super::budget::Budget;
use super::concern::{Concern, Content};
use super::office::{self, Parts};
use super::spool::Spool;

/// Archives within archives that are opened; the outermost is the first.
const MAX_DEPTH: usize = 4;
/// Most entries whose headers are kept in memory, whatever the app's rules allow.
const MAX_ENTRIES: u64 = 65_536;
/// Longest central directory that is read.
const MAX_DIRECTORY: u64 = 8 << 20;

/// What limits the look into one upload.
pub(super) struct Examiner {
    pub(super) budget: Budget,
    pub(super) max_entries: u64,
    pub(super) spool: Spool,
    /// Set when nobody waits for the result any more.
    pub(super) cancelled: Arc<AtomicBool>,
}

/// Why an archive is not looked at further.
enum Stop {
    /// It concerns the content.
    Concern(Concern),
    /// The spool cannot be written or read.
    Spool(io::Error),
}

impl From<Concern> for Stop {
    fn from(concern: Concern) -> Self {
        Stop::Concern(concern)
    }
}

impl Examiner {
    /// Looks into a spooled zip file.
    ///
    /// # Errors
    /// When the spool itself fails, or the look was cancelled.
    pub(super) fn examine(&mut self, file: File) -> io::Result<Content> {
        let mut content = Content::of("application/zip");
        match self.archive(file, 1, &mut content) {
            Ok(()) => {}
            Err(Stop::Concern(concern)) => content.concerns.push(concern),
            Err(Stop::Spool(error)) => return Err(error),
        }
        Ok(content)
    }

    fn archive(&mut self, mut file: File, depth: usize, content: &mut Content) -> Result<(), Stop> {
        self.check_directory(&mut file)?;
        let mut zip = ZipArchive::new(BufReader::new(file)).map_err(unreadable)?;
        if zip.len() as u64 > self.max_entries.min(MAX_ENTRIES) {
            return Err(self.too_many().into());
        }
        zip.validate_header_consistency().map_err(unreadable)?;
        if zip.has_overlapping_entries().map_err(unreadable)? {
            return Err(unsafe_archive("its entries overlap").into());
        }
        let mut parts = Parts::default();
        for index in 0..zip.len() {
            self.entry(&mut zip, index, depth, &mut parts, content)?;
        }
        let (detected, concerns) = parts.judge();
        if depth == 1 {
            content.detected = Some(detected);
        }
        content.concerns.extend(concerns);
        Ok(())
    }

    fn entry(
        &mut self,
        zip: &mut ZipArchive<BufReader<File>>,
        index: usize,
        depth: usize,
        parts: &mut Parts,
        content: &mut Content,
    ) -> Result<(), Stop> {
        let header = zip.by_index_data(index).map_err(unreadable)?;
        let name = String::from_utf8_lossy(header.name_raw()).into_owned();
        parts.name(&name);
        if header.encrypted() {
            let concern = Concern::Encrypted("The archive is protected by a password.".to_owned());
            if !content.concerns.contains(&concern) {
                content.concerns.push(concern);
            }
            return Ok(());
        }
        let mut entry = zip.by_index(index).map_err(unreadable)?;
        let mut head = [0; 4];
        let length = fill(&mut entry, &mut head).map_err(|_| damaged(&name))?;
        self.spend(length)?;
        if head == *b"PK\x03\x04" {
            if depth == MAX_DEPTH {
                return Err(Concern::Opaque(format!("The archive is nested more than {MAX_DEPTH} levels deep.")).into());
            }
            let mut inner = self.spool.file().map_err(Stop::Spool)?;
            inner.write_all(&head).map_err(Stop::Spool)?;
            self.unpack(&mut entry, &name, |bytes| inner.write_all(bytes))?;
            inner.seek(SeekFrom::Start(0)).map_err(Stop::Spool)?;
            return self.archive(inner, depth + 1, content);
        }
        let mut kept = office::wanted(&name).then(|| head[..length].to_vec());
        self.unpack(&mut entry, &name, |bytes| {
            if let Some(kept) = &mut kept {
                kept.extend_from_slice(&bytes[..bytes.len().min(office::MAX_PART.saturating_sub(kept.len()))]);
            }
            Ok(())
        })?;
        if let Some(kept) = kept {
            parts.part(&name, &kept);
        }
        Ok(())
    }

    /// Reads an entry to its end within the budget. The checksum of the entry is checked on the way.
    fn unpack(
        &mut self,
        entry: &mut impl Read,
        name: &str,
        mut keep: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<(), Stop> {
        let mut buffer = [0; 32 * 1024];
        loop {
            if self.cancelled.load(Ordering::Relaxed) {
                return Err(Stop::Spool(io::ErrorKind::Interrupted.into()));
            }
            let length = entry.read(&mut buffer).map_err(|_| damaged(name))?;
            if length == 0 {
                return Ok(());
            }
            self.spend(length)?;
            keep(&buffer[..length]).map_err(Stop::Spool)?;
        }
    }

    fn spend(&mut self, bytes: usize) -> Result<(), Stop> {
        self.budget.spend(bytes as u64).map_err(|_| Concern::Unsafe(self.budget.complaint()).into())
    }

    fn too_many(&self) -> Concern {
        if self.max_entries <= MAX_ENTRIES {
            Concern::Unsafe(format!("The archive holds more than {} files, which is the limit.", self.max_entries))
        } else {
            Concern::Opaque(format!("The archive holds more than {MAX_ENTRIES} files, too many to be looked at."))
        }
    }

    /// Reads the end record by itself, so that the directory's size is known before it is loaded (APPNOTE 4.3.16).
    fn check_directory(&self, file: &mut File) -> Result<(), Stop> {
        let size = file.seek(SeekFrom::End(0)).map_err(Stop::Spool)?;
        let start = size.saturating_sub(22 + 0xffff);
        file.seek(SeekFrom::Start(start)).map_err(Stop::Spool)?;
        let mut tail = Vec::new();
        file.read_to_end(&mut tail).map_err(Stop::Spool)?;
        file.seek(SeekFrom::Start(0)).map_err(Stop::Spool)?;
        let u16_at = |at: usize| u16::from_le_bytes([tail[at], tail[at + 1]]);
        let u32_at = |at: usize| u32::from_le_bytes([tail[at], tail[at + 1], tail[at + 2], tail[at + 3]]);
        let end = (0..tail.len().saturating_sub(21)).rev().find(|&at| tail[at..].starts_with(b"PK\x05\x06"));
        // The comment ends with the file: nothing is hung on behind the archive.
        let Some(end) = end.filter(|&at| at + 22 + usize::from(u16_at(at + 20)) == tail.len()) else {
            return Err(unsafe_archive("its end is missing, or something follows it").into());
        };
        let (entries, length) = (u64::from(u16_at(end + 10)), u64::from(u32_at(end + 12)));
        if entries > self.max_entries.min(MAX_ENTRIES) {
            return Err(self.too_many().into());
        }
        // 0xffff and 0xffffffff refer to a zip64 record: more than the gateway looks at.
        if entries == 0xffff || length > MAX_DIRECTORY {
            return Err(
                Concern::Opaque("The archive's table of contents is too long to be looked at.".to_owned()).into()
            );
        }
        Ok(())
    }
}

fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match reader.read(&mut buffer[length..])? {
            0 => break,
            read => length += read,
        }
    }
    Ok(length)
}

fn damaged(name: &str) -> Concern {
    let name: String = name.chars().filter(|c| !c.is_control()).take(80).collect();
    Concern::Unsafe(format!("The archive is damaged: '{name}' cannot be unpacked."))
}

fn unsafe_archive(what: &str) -> Concern {
    Concern::Unsafe(format!("The archive is malformed: {what}."))
}

fn unreadable(error: ZipError) -> Stop {
    Stop::Concern(match error {
        ZipError::CompressionMethodNotSupported(_) | ZipError::UnsupportedArchive(_) => {
            Concern::Opaque("The archive is packed in a way that the gateway cannot unpack.".to_owned())
        }
        ZipError::Io(error) if error.kind() != io::ErrorKind::UnexpectedEof && error.raw_os_error().is_some() => {
            return Stop::Spool(error);
        }
        _ => unsafe_archive("its headers contradict each other"),
    })
}
