//! gzip, unpacked in passing and thrown away, to measure what it unpacks to (RFC 1952).
//!
//! Sizes that a file claims are never believed: the inflater stops at the limit. What is inside is the scanner's.

use std::io::{self, Write};

use flate2::write::MultiGzDecoder;

use super::budget::Budget;
use super::concern::{Concern, Content};

/// The scan of one gzip file.
pub(super) struct GzipScan {
    decoder: Option<MultiGzDecoder<Meter>>,
    concern: Option<Concern>,
}

struct Meter(Budget);

impl Write for Meter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.spend(bytes.len() as u64).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl GzipScan {
    pub(super) fn new(budget: Budget) -> Self {
        Self { decoder: Some(MultiGzDecoder::new(Meter(budget))), concern: None }
    }

    pub(super) fn feed(&mut self, bytes: &[u8]) {
        if let Some(decoder) = &mut self.decoder
            && let Err(error) = decoder.write_all(bytes)
        {
            self.failed(&error);
        }
    }

    fn failed(&mut self, error: &io::Error) {
        let Some(decoder) = self.decoder.take() else { return };
        self.concern = Some(match error.kind() {
            io::ErrorKind::FileTooLarge => Concern::Unsafe(decoder.get_ref().0.complaint()),
            _ => Concern::Malformed("The gzip file is damaged or cut short.".to_owned()),
        });
    }

    pub(super) fn finish(mut self) -> Content {
        if let Some(decoder) = &mut self.decoder
            && let Err(error) = decoder.try_finish()
        {
            self.failed(&error);
        }
        Content::of("application/gzip").with(self.concern)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(size: usize) -> Vec<u8> {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        packer.write_all(&vec![b'a'; size]).unwrap();
        packer.finish().unwrap()
    }

    fn verdict(bytes: &[u8], max: u64) -> Vec<Concern> {
        let mut scan = GzipScan::new(Budget::new(max, 1000, bytes.len() as u64));
        for chunk in bytes.chunks(11) {
            scan.feed(chunk);
        }
        scan.finish().concerns
    }

    #[test]
    fn what_unpacks_to_too_much_or_not_at_all_is_seen() {
        let file = packed(100_000);
        assert_eq!(verdict(&file, 1 << 20), []);
        assert!(matches!(verdict(&file, 50_000).as_slice(), [Concern::Unsafe(_)]));
        assert!(matches!(verdict(&file[..file.len() - 9], 1 << 20).as_slice(), [Concern::Malformed(_)]));
        assert!(matches!(verdict(b"\x1f\x8bnothing", 1 << 20).as_slice(), [Concern::Malformed(_)]));
        let two = [packed(10), packed(10)].concat();
        assert_eq!(verdict(&two, 1 << 20), []);
    }
}
