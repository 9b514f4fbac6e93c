//! CSV, in the dialects that spreadsheets write (RFC 4180, with `,`, `;`, tab or `|` between fields).
//!
//! Almost every text is some CSV, so little can be wrong with one: control characters (checked by the text lane),
//! markup at its beginning (likewise), and a quoted field that never ends, which is what a cut-off export looks like.
//! Deliberately absent: equal numbers of fields in all lines, which real exports do not keep.

use super::super::concern::Concern;

/// Follows the quotes.
#[derive(Debug, Default)]
pub(super) struct CsvScan {
    delimiter: Option<u8>,
    quoted: bool,
    /// A quote inside a quoted field: the field's end, or half of a doubled one.
    quote_pending: bool,
    field_has_begun: bool,
    line: u64,
    quoted_since: u64,
}

impl CsvScan {
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        let delimiter = *self.delimiter.get_or_insert_with(|| delimiter(bytes));
        for &byte in bytes {
            self.line += u64::from(byte == b'\n');
            if self.quote_pending {
                self.quote_pending = false;
                if byte == b'"' {
                    continue;
                }
                self.quoted = false;
            }
            match byte {
                b'"' if self.quoted => self.quote_pending = true,
                _ if self.quoted => {}
                b'"' if !self.field_has_begun => {
                    (self.quoted, self.field_has_begun, self.quoted_since) = (true, true, self.line + 1);
                }
                b'\n' | b'\r' => self.field_has_begun = false,
                _ => self.field_has_begun = byte != delimiter,
            }
        }
    }

    pub(super) fn finish(self) -> Option<Concern> {
        (self.quoted && !self.quote_pending).then(|| {
            let line = self.quoted_since;
            Concern::Malformed(format!(
                "The file is not complete CSV: the quoted field that begins in line {line} never ends."
            ))
        })
    }
}

/// The most frequent separator of the first line; a comma where none stands out.
fn delimiter(bytes: &[u8]) -> u8 {
    let line = bytes.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let mut quoted = false;
    let mut counts = [(b',', 0_u32), (b';', 0), (b'\t', 0), (b'|', 0)];
    for &byte in line {
        quoted ^= byte == b'"';
        if let Some(entry) = counts.iter_mut().find(|(candidate, _)| *candidate == byte && !quoted) {
            entry.1 += 1;
        }
    }
    counts.iter().rev().max_by_key(|(_, count)| *count).map_or(b',', |(candidate, _)| *candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(text: &str) -> Option<Concern> {
        let mut scan = CsvScan::default();
        scan.feed(text.as_bytes());
        scan.finish()
    }

    #[test]
    fn real_exports_pass() {
        for text in [
            "",
            "a,b\n1,2\n",
            "a;b\r\n\"x;\"\"y\"\"\";2\r\n",
            "name\tsize\n12\" pipe\t3\n",
            "a;b\nhe said, \"no;2\n",
            "\"last field\"",
            "\"two\nlines\",1\n",
        ] {
            assert_eq!(verdict(text), None, "{text}");
        }
    }

    #[test]
    fn a_quoted_field_that_never_ends_is_seen() {
        assert!(matches!(verdict("a,b\n1,\"2\n3,4\n"), Some(Concern::Malformed(detail)) if detail.contains("line 2")));
        assert!(verdict("\"").is_some());
    }
}
