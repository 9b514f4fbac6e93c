//! Sizes and durations as people write them: `10 MiB`, `10MB`, `5m`.
//!
//! A number without a unit is refused, since nobody remembers which one was meant. `kB`, `MB`, `GB` and `TB` are powers of
//! 1000 and `KiB`, `MiB`, `GiB` and `TiB` powers of 1024, as the International System of Units and IEC 80000-13 have it.

use std::time::Duration;

type Units = [(&'static str, u64)];

/// Powers of 1024 (IEC 80000-13), the largest first.
const BINARY: &Units = &[("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];
/// Powers of 1000 (SI), the largest first.
const DECIMAL: &Units = &[("TB", 1_000_000_000_000), ("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000), ("B", 1)];
/// Seconds of a day.
const DAY: u64 = 24 * 3600;
const TIMES: [(&str, u64); 3] = [("h", 3600), ("m", 60), ("s", 1)];

/// Bytes from `10 MiB` or `10 MB`: a whole number and a unit, with or without a space between.
pub(super) fn parse_size(text: &str) -> Result<u64, String> {
    const HOW: &str = "write a whole number with B, KiB, MiB, GiB, TiB (powers of 1024) or kB, MB, GB, TB (powers of 1000), \
                       for example \"10 MiB\"";
    let (number, unit) = split(text).ok_or(HOW)?;
    let mut units = BINARY.iter().chain(DECIMAL);
    match units.clone().find(|(name, _)| *name == unit) {
        Some((_, factor)) => number.checked_mul(*factor).ok_or_else(|| "the size is larger than any file".to_owned()),
        None => match units.find(|(name, _)| name.eq_ignore_ascii_case(unit)) {
            Some((name, _)) if *name != "B" => Err(format!("did you mean \"{number} {name}\"? {HOW}")),
            _ => Err(HOW.to_owned()),
        },
    }
}

/// A duration from `90s`, `5m` or `1h`.
pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    const HOW: &str = "write a whole number with s, m or h, for example \"5m\"";
    let (number, unit) = split(text).ok_or(HOW)?;
    let (_, factor) = TIMES.iter().find(|(name, _)| *name == unit).ok_or(HOW)?;
    number.checked_mul(*factor).map(Duration::from_secs).ok_or_else(|| HOW.to_owned())
}

/// Days from `90d`.
pub(super) fn parse_days(text: &str) -> Result<u32, String> {
    const HOW: &str = "write a whole number of days with d, for example \"90d\"";
    match split(text).ok_or(HOW)? {
        (days, "d") => u32::try_from(days).map_err(|_| HOW.to_owned()),
        _ => Err(HOW.to_owned()),
    }
}

/// A duration from `90d`, `24h`, `5m` or `90s`.
///
/// # Errors
/// How a duration is written.
pub fn parse_life(text: &str) -> Result<Duration, String> {
    const HOW: &str = "write a whole number with s, m, h or d, for example \"90d\"";
    match split(text).ok_or(HOW)? {
        (days, "d") => days.checked_mul(DAY).map(Duration::from_secs).ok_or_else(|| HOW.to_owned()),
        _ => parse_duration(text).map_err(|_| HOW.to_owned()),
    }
}

fn split(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    Some((text[..end].parse().ok()?, text[end..].trim_start_matches(' ')))
}

/// `10 MiB`, `5000 MiB` or `10 MB` where that is exact, `9.5 MiB` where no unit is.
pub(super) fn show_size(bytes: u64) -> String {
    exact(bytes, BINARY).or_else(|| exact(bytes, DECIMAL)).unwrap_or_else(|| about(bytes, BINARY))
}

/// The size in both kinds of units, `10 MB (9.5 MiB)`; once where they do not differ.
pub(super) fn show_size_twice(bytes: u64) -> String {
    let (shown, other) = match (exact(bytes, BINARY), exact(bytes, DECIMAL)) {
        (Some(binary), _) => (binary, about(bytes, DECIMAL)),
        (None, Some(decimal)) => (decimal, about(bytes, BINARY)),
        (None, None) => (about(bytes, BINARY), about(bytes, DECIMAL)),
    };
    if bytes < 1000 { shown } else { format!("{shown} ({other})") }
}

fn exact(bytes: u64, units: &Units) -> Option<String> {
    let exact = |(_, factor): &&(_, u64)| bytes >= *factor && bytes.is_multiple_of(*factor) && bytes / factor < 10_000;
    units.iter().find(exact).map(|(unit, factor)| format!("{} {unit}", bytes / factor))
}

fn about(bytes: u64, units: &Units) -> String {
    let (unit, factor) = units.iter().find(|(_, factor)| bytes >= *factor).unwrap_or(&("B", 1));
    let tenths = u128::from(bytes) * 10 / u128::from(*factor);
    match (tenths / 10, tenths % 10) {
        (whole, 0) if *factor == 1 => format!("{whole} {unit}"),
        (whole, tenth) => format!("{whole}.{tenth} {unit}"),
    }
}

/// `5m` where that is exact, else seconds.
pub(super) fn show_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (unit, factor) =
        TIMES.into_iter().find(|(_, factor)| seconds >= *factor && seconds.is_multiple_of(*factor)).unwrap_or(("s", 1));
    format!("{}{unit}", seconds / factor)
}

/// `90d` where those are whole days, else as [`show_duration`].
pub(super) fn show_life(duration: Duration) -> String {
    match duration.as_secs() {
        seconds if seconds >= DAY && seconds.is_multiple_of(DAY) => format!("{}d", seconds / DAY),
        _ => show_duration(duration),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_back_what_they_show() {
        for bytes in [0, 1, 1023, 1 << 10, 10 << 20, 50 << 30, 3 << 40, 10_000_000, 48_000, 2_000_000_000_000] {
            assert_eq!(parse_size(&show_size(bytes)), Ok(bytes));
        }
        assert_eq!(parse_size("10MiB"), Ok(10 << 20));
        assert_eq!((show_size(5000 << 20), show_size((19 << 20) / 2 + 1)), ("5000 MiB".into(), "9.5 MiB".into()));
    }

    #[test]
    fn decimal_units_are_powers_of_a_thousand() {
        for (text, bytes) in
            [("1 kB", 1_000), ("10MB", 10_000_000), ("2 GB", 2_000_000_000), ("1TB", 1_000_000_000_000)]
        {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for (bytes, shown) in [
            (10 << 20, "10 MiB (10.4 MB)"),
            (10_000_000, "10 MB (9.5 MiB)"),
            (10_485_761, "10.0 MiB (10.4 MB)"),
            (512, "512 B"),
        ] {
            assert_eq!(show_size_twice(bytes), shown);
        }
    }

    #[test]
    fn sizes_without_a_clear_unit_are_refused() {
        for text in ["10", "", "MiB", "-1 MiB", "1.5 GiB", "10 megabytes", "99999999999 TiB", "10 b"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
        for (text, meant) in [("10 KB", "\"10 kB\"?"), ("10 mib", "\"10 MiB\"?"), ("10 mb", "\"10 MB\"?")] {
            assert!(parse_size(text).unwrap_err().contains(meant), "{text}");
        }
    }

    #[test]
    fn days_are_written_as_days() {
        assert_eq!((parse_days("1d"), parse_days("36500 d")), (Ok(1), Ok(36_500)));
        for text in ["90", "d", "90h", "-1d", "1.5d", "3 months", "4294967296d"] {
            assert!(parse_days(text).is_err(), "{text}");
        }
    }

    #[test]
    fn lives_may_be_days() {
        for (text, seconds) in [("90d", 90 * DAY), ("36h", 36 * 3600), ("5m", 300)] {
            assert_eq!(parse_life(text), Ok(Duration::from_secs(seconds)));
            assert_eq!(show_life(Duration::from_secs(seconds)), text);
        }
        assert_eq!(show_life(Duration::from_secs(48 * 3600)), "2d");
        for text in ["", "5", "1w", "-1d", "99999999999999999999d"] {
            assert!(parse_life(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_read_back_what_they_show() {
        for (text, seconds) in [("90s", 90), ("5m", 300), ("1h", 3600), ("0s", 0)] {
            assert_eq!(parse_duration(text), Ok(Duration::from_secs(seconds)));
            assert_eq!(show_duration(Duration::from_secs(seconds)), text);
        }
        for text in ["5", "5min", "5 minutes", "m", "-1s", "1d", "99999999999999999999h"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}
