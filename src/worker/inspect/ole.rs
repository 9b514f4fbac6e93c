//! OLE containers (MS-CFB): the Office formats before 2007, and today's Office files under a password.
//!
//! Stream names stand in directory entries of 128 bytes, UTF-16, at multiples of 128 bytes in the file, so a look at
//! each such place in passing finds them wherever the directory lies. Deliberately absent: passwords of the old formats
//! themselves, which are a record inside a stream; the scanner's `AlertEncrypted` knows those that matter.

use super::concern::{Concern, Content};
use super::types::{ENCRYPTED_OFFICE, OLE};

const ENTRY: usize = 128;

/// The scan of one container.
#[derive(Debug, Default)]
pub(super) struct OleScan {
    entry: Vec<u8>,
    detected: Option<&'static str>,
    macros: bool,
}

impl OleScan {
    pub(super) fn feed(&mut self, mut bytes: &[u8]) {
        if !self.entry.is_empty() {
            let missing = (ENTRY - self.entry.len()).min(bytes.len());
            self.entry.extend_from_slice(&bytes[..missing]);
            bytes = &bytes[missing..];
            if self.entry.len() < ENTRY {
                return;
            }
            let entry = std::mem::take(&mut self.entry);
            self.look(&entry);
        }
        let mut entries = bytes.chunks_exact(ENTRY);
        for entry in &mut entries {
            self.look(entry);
        }
        self.entry.extend_from_slice(entries.remainder());
    }

    fn look(&mut self, entry: &[u8]) {
        // Offset 64: the name's length in bytes with its terminating null. Offset 66: 1 a storage, 2 a stream.
        let length = usize::from(u16::from_le_bytes([entry[64], entry[65]]));
        if !(4..=64).contains(&length) || length % 2 != 0 || !matches!(entry[66], 1 | 2) {
            return;
        }
        let units = entry[..length - 2].chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
        let name: String = char::decode_utf16(units).map(|c| c.unwrap_or('\0')).collect();
        match name.as_str() {
            "EncryptedPackage" => self.detected = Some(ENCRYPTED_OFFICE),
            "_VBA_PROJECT" | "_VBA_PROJECT_CUR" | "Macros" => self.macros = true,
            "WordDocument" => self.is("application/msword"),
            "Workbook" | "Book" => self.is("application/vnd.ms-excel"),
            "PowerPoint Document" => self.is("application/vnd.ms-powerpoint"),
            "__properties_version1.0" => self.is("application/vnd.ms-outlook"),
            _ => {}
        }
    }

    /// The first name counts: documents may hold others as embedded objects, further down in the directory.
    fn is(&mut self, media: &'static str) {
        self.detected.get_or_insert(media);
    }

    pub(super) fn finish(self) -> Content {
        let encrypted = self.detected == Some(ENCRYPTED_OFFICE);
        Content::of(self.detected.unwrap_or(OLE))
            .with(encrypted.then(|| Concern::Encrypted("The document is protected by a password.".to_owned())))
            .with(self.macros.then(|| Concern::Active("The document holds macros.".to_owned())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str) -> Vec<u8> {
        let mut entry: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let length = u16::try_from(entry.len() + 2).unwrap();
        entry.resize(ENTRY, 0);
        entry[64..66].copy_from_slice(&length.to_le_bytes());
        entry[66] = 2;
        entry
    }

    fn verdict(names: &[&str]) -> Content {
        let mut bytes = vec![0; 512];
        bytes.extend(names.iter().flat_map(|name| entry(name)));
        let mut scan = OleScan::default();
        for chunk in bytes.chunks(100) {
            scan.feed(chunk);
        }
        scan.finish()
    }

    #[test]
    fn documents_passwords_and_macros_are_told_by_their_streams() {
        assert_eq!(verdict(&["Root Entry", "WordDocument"]), Content::of("application/msword"));
        assert_eq!(verdict(&["Workbook", "WordDocument"]), Content::of("application/vnd.ms-excel"));
        assert_eq!(verdict(&["Root Entry"]).detected, Some(OLE));
        let macros = verdict(&["Workbook", "_VBA_PROJECT_CUR"]);
        assert!(matches!(macros.concerns.as_slice(), [Concern::Active(_)]));
        let locked = verdict(&["EncryptionInfo", "EncryptedPackage"]);
        assert_eq!(locked.detected, Some(ENCRYPTED_OFFICE));
        assert!(matches!(locked.concerns.as_slice(), [Concern::Encrypted(_)]));
    }
}
