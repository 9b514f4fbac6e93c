//! What is known about an object, kept at the end of its own file.
//!
//! The file is the object's bytes, then this record as JSON, then 16 bytes: the JSON's CRC-32 and length (little endian)
//! and a magic word. One file means that one rename or link publishes bytes and record together: after a crash at any
//! instant there is the old object or the new one, never a mixture. A file whose end does not fit is not an object.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::bytes::{Sha256Digest, StoredBytes};
use crate::storage::StoredObject;

const MAGIC: &[u8; 8] = b"VSTOBJ01";
const FOOTER: u64 = 16;
/// Longest record: 2 KiB of user metadata, ten tags, a key; ten times over.
const MAX_RECORD: u64 = 256 << 10;

/// An object's record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// Tells two objects under one key apart, whatever their bytes.
    pub(super) id: String,
    /// The key, so that a directory can be read without this program.
    pub(super) key: String,
    /// Length of the bytes.
    pub(super) size: u64,
    /// MD5 of the bytes in hexadecimal digits, as S3 makes an ETag of one PUT.
    pub(super) md5: String,
    /// SHA-256 of the bytes.
    pub(super) sha256: Sha256Digest,
    /// The declared type.
    pub(super) content_type: Option<String>,
    /// User metadata, names in lower case.
    pub(super) metadata: Vec<(String, String)>,
    /// The tags that it was written with; later ones lie in a file of their own.
    pub(super) tags: Vec<(String, String)>,
    /// When it was published.
    pub(super) modified_at: Timestamp,
}

impl Record {
    /// The ETag with its quotes.
    pub(super) fn etag(&self) -> String {
        format!("\"{}\"", self.md5)
    }

    /// The bytes as the gateway names them.
    pub(super) fn stored_bytes(&self) -> StoredBytes {
        StoredBytes { etag: self.etag(), version: None, size: self.size }
    }

    /// The object as the gateway sees it.
    pub(super) fn stored_object(&self) -> StoredObject {
        StoredObject {
            bytes: self.stored_bytes(),
            content_type: self.content_type.clone(),
            modified_at: Some(self.modified_at),
        }
    }

    /// What follows the bytes in the file.
    pub(super) fn to_trailer(&self) -> io::Result<Vec<u8>> {
        let mut trailer = serde_json::to_vec(self)?;
        let length = u32::try_from(trailer.len()).map_err(io::Error::other)?;
        let crc = crc32fast::hash(&trailer);
        trailer.extend_from_slice(&crc.to_le_bytes());
        trailer.extend_from_slice(&length.to_le_bytes());
        trailer.extend_from_slice(MAGIC);
        Ok(trailer)
    }

    /// Reads the record of an open file.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidData`] where the file is not a whole object.
    pub(super) fn read(file: &File) -> io::Result<Self> {
        let whole = file.metadata()?.len();
        let damaged = |what: &str| io::Error::new(io::ErrorKind::InvalidData, format!("damaged object file: {what}"));
        let footer_at = whole.checked_sub(FOOTER).ok_or_else(|| damaged("too short"))?;
        let mut footer = [0; 16];
        file.read_exact_at(&mut footer, footer_at)?;
        let [c0, c1, c2, c3, l0, l1, l2, l3, magic @ ..] = footer;
        if magic != *MAGIC {
            return Err(damaged("no end mark"));
        }
        let length = u64::from(u32::from_le_bytes([l0, l1, l2, l3]));
        let record_at =
            footer_at.checked_sub(length).filter(|_| length <= MAX_RECORD).ok_or_else(|| damaged("no record"))?;
        let mut json = vec![0; usize::try_from(length).map_err(io::Error::other)?];
        file.read_exact_at(&mut json, record_at)?;
        if crc32fast::hash(&json) != u32::from_le_bytes([c0, c1, c2, c3]) {
            return Err(damaged("the record's checksum"));
        }
        let record: Self = serde_json::from_slice(&json)?;
        if record.size == record_at { Ok(record) } else { Err(damaged("its length")) }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn record() -> Record {
        Record {
            id: "1".into(),
            key: "a/b".into(),
            size: 4,
            md5: "0".repeat(32),
            sha256: Sha256Digest::of(b"menu"),
            content_type: Some("image/jpeg".into()),
            metadata: vec![("table".into(), "7".into())],
            tags: Vec::new(),
            modified_at: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_record_reads_back_from_behind_the_bytes() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"menu").unwrap();
        file.write_all(&record().to_trailer().unwrap()).unwrap();
        assert_eq!(Record::read(&file).unwrap(), record());
    }

    #[test]
    fn a_file_that_was_cut_anywhere_is_not_an_object() {
        let whole = [b"menu".as_slice(), &record().to_trailer().unwrap()].concat();
        for length in 0..whole.len() {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&whole[..length]).unwrap();
            assert!(Record::read(&file).is_err(), "{length} of {} bytes", whole.len());
        }
    }
}
