//! What clamd's answers mean, as pure functions over the exact bytes.
//!
//! Invariant: `stream: OK`, null-terminated and alone, is the only reply that reads as clean; a truncated, doubled or
//! decorated one is no answer at all. Reply forms: clamd(8) `INSTREAM` and `VERSION`, and `clamd/scanner.c` of ClamAV.
//! Deliberately absent: looking for "OK" or "FOUND" anywhere else than where clamd writes them.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;

/// An answer of clamd about one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Exactly `stream: OK`.
    Clean,
    /// `stream: NAME FOUND`, with a signature of malware.
    Infected(String),
    /// `stream: Heuristics.Limits.… FOUND`: clamd gave up at one of its limits. Not a virus.
    LimitReached(String),
    /// `stream: Heuristics.Encrypted.… FOUND`: clamd could not look inside. Not a virus.
    Encrypted(String),
    /// `INSTREAM size limit exceeded. ERROR`: longer than clamd's `StreamMaxLength`.
    TooLarge,
}

/// A reply that is none of the known ones; its text, escaped and cut to 200 characters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("clamd answered '{0}'")]
pub struct UnclearReply(pub String);

impl Reply {
    /// Reads the exact bytes that clamd sent before it closed the connection.
    ///
    /// # Errors
    /// [`UnclearReply`] for everything that is not one of the known replies: it says nothing about the bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, UnclearReply> {
        let unclear = || UnclearReply(String::from_utf8_lossy(bytes).escape_debug().take(200).collect());
        // The `z` form of a command is answered with exactly one terminating null byte.
        let line = bytes.strip_suffix(b"\0").ok_or_else(unclear)?;
        match line {
            b"stream: OK" => return Ok(Reply::Clean),
            b"INSTREAM size limit exceeded. ERROR" => return Ok(Reply::TooLarge),
            _ => {}
        }
        let name = line
            .strip_prefix(b"stream: ")
            .and_then(|rest| rest.strip_suffix(b" FOUND"))
            .filter(|name| !name.is_empty() && name.iter().all(u8::is_ascii_graphic))
            .and_then(|name| std::str::from_utf8(name).ok())
            .ok_or_else(unclear)?
            .to_owned();
        Ok(match name {
            name if name.starts_with("Heuristics.Limits.") => Reply::LimitReached(name),
            name if name.starts_with("Heuristics.Encrypted.") => Reply::Encrypted(name),
            name => Reply::Infected(name),
        })
    }
}

/// What clamd says of itself: `ClamAV 1.4.6/27830/Fri Nov 21 09:26:05 2026`, or the engine alone where no database of
/// the ClamAV project is loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// The engine and its version, for example `ClamAV 1.4.6`.
    pub engine: String,
    /// The database's number and date, for example `27830/Fri Nov 21 09:26:05 2026`; `unknown date` without one.
    pub signatures: String,
    /// The database's date. clamd writes local time without a zone; read as UTC, which is off by half a day at most.
    pub signatures_at: Option<Timestamp>,
}

impl Version {
    /// Reads the answer to `VERSION`.
    ///
    /// # Errors
    /// [`UnclearReply`] where it does not begin with `ClamAV `.
    pub fn parse(bytes: &[u8]) -> Result<Self, UnclearReply> {
        let text = String::from_utf8_lossy(bytes);
        let text = text.trim_end_matches(['\0', '\n']);
        if !text.starts_with("ClamAV ") || text.len() > 200 || text.contains(char::is_control) {
            return Err(UnclearReply(text.escape_debug().take(200).collect()));
        }
        let (engine, database) = text.split_once('/').unwrap_or((text, ""));
        let signatures_at = database
            .split_once('/')
            .and_then(|(_, date)| DateTime::strptime("%a %b %e %H:%M:%S %Y", date).ok())
            .and_then(|date| Offset::UTC.to_timestamp(date).ok());
        let signatures = if database.is_empty() { "unknown date" } else { database };
        Ok(Self { engine: engine.to_owned(), signatures: signatures.to_owned(), signatures_at })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_exact_reply_is_clean() {
        assert_eq!(Reply::parse(b"stream: OK\0"), Ok(Reply::Clean));
        for garbage in [
            &b"stream: OK"[..],
            b"stream: OK\n",
            b"stream: OK\0\0",
            b"stream: OK trailing\0",
            b"stream: NOT OK\0",
            b"OK\0",
            b"stream: ok\0",
            b" stream: OK\0",
            b"",
            b"\0",
            b"stream: OK\0stream: OK\0",
            b"stream: Can't allocate memory ERROR\0",
            b"stream: LOOKS OK ERROR\0",
        ] {
            assert!(Reply::parse(garbage).is_err(), "{garbage:?}");
        }
    }

    #[test]
    fn a_found_reply_names_a_signature_or_a_limit() {
        let name = |name: &str| Reply::parse(format!("stream: {name} FOUND\0").as_bytes());
        assert_eq!(name("Win.Test.EICAR_HDB-1"), Ok(Reply::Infected("Win.Test.EICAR_HDB-1".into())));
        assert!(matches!(name("Heuristics.Limits.Exceeded.MaxFileSize"), Ok(Reply::LimitReached(_))));
        assert!(matches!(name("Heuristics.Encrypted.Zip"), Ok(Reply::Encrypted(_))));
        assert!(matches!(name("Heuristics.Phishing.Email"), Ok(Reply::Infected(_))));
        assert!(name("").is_err() && name("a b").is_err());
        assert_eq!(Reply::parse(b"INSTREAM size limit exceeded. ERROR\0"), Ok(Reply::TooLarge));
    }

    #[test]
    fn a_version_with_and_without_a_database_is_read() {
        let full = Version::parse(b"ClamAV 1.4.6/27830/Fri Nov  6 09:26:05 2026\0").unwrap();
        assert_eq!(full.engine, "ClamAV 1.4.6");
        assert_eq!(full.signatures, "27830/Fri Nov  6 09:26:05 2026");
        assert_eq!(full.signatures_at, Some("2026-11-06T09:26:05Z".parse().unwrap()));
        let local = Version::parse(b"ClamAV 1.4.6\0").unwrap();
        assert_eq!((local.signatures.as_str(), local.signatures_at), ("unknown date", None));
        assert!(Version::parse(b"UNKNOWN COMMAND\0").is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_other_reply_is_ever_clean(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..64)) {
            proptest::prop_assert!(bytes == b"stream: OK\0" || Reply::parse(&bytes) != Ok(Reply::Clean));
        }

        #[test]
        fn no_decorated_reply_is_ever_clean(before in "\\PC{0,4}", after in "[\\PC\\n\\r\0]{0,4}") {
            let text = format!("{before}stream: OK{after}");
            proptest::prop_assert!(text == "stream: OK\0" || Reply::parse(text.as_bytes()) != Ok(Reply::Clean));
        }
    }
}
