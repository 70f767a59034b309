//! Durations as people write them: `200ms`, `1.5s`, `1m30s`.

use std::time::Duration;

use crate::limits;

/// The units, with their length in nanoseconds.
const UNITS: [(&str, u128); 5] = [
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
];

/// Most digits of a number in a duration, so that arithmetic cannot overflow.
const DIGITS: usize = 15;

/// The duration that `text` says: numbers, each with one of the units `ms`, `s`, `m`, `h` and `d`,
/// such as `200ms`, `1.5s` or `1m30s`.
///
/// # Errors
/// A sentence about what is wrong: no number, an unknown unit, or longer than
/// [`limits::LONGEST_DURATION`].
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let malformed = || {
        format!(
            "\"{}\" is no duration: write it as 200ms, 5s, 1.5s, 1m30s, 2h or 1d",
            shorten(text)
        )
    };
    let mut total: u128 = 0;
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(malformed());
    }
    while !rest.is_empty() {
        let number = rest.len()
            - rest
                .trim_start_matches(|c: char| c.is_ascii_digit() || c == '.')
                .len();
        let (digits, after) = rest.split_at(number);
        let letters = after.len()
            - after
                .trim_start_matches(|c: char| c.is_ascii_alphabetic())
                .len();
        let (unit, after) = after.split_at(letters);
        let (_, nanoseconds) = UNITS
            .into_iter()
            .find(|(name, _)| *name == unit)
            .ok_or_else(malformed)?;
        total += times(digits, nanoseconds).ok_or_else(malformed)?;
        rest = after;
    }
    if total > limits::LONGEST_DURATION.as_nanos() {
        let days = limits::LONGEST_DURATION.as_secs() / 86_400;
        return Err(format!(
            "\"{}\" is too long: the longest duration is {days}d",
            shorten(text)
        ));
    }
    let seconds = u64::try_from(total / 1_000_000_000).map_err(|_| malformed())?;
    let rest = u32::try_from(total % 1_000_000_000).map_err(|_| malformed())?;
    Ok(Duration::new(seconds, rest))
}

/// `number` (with at most one decimal point) times `unit`, parts of a nanosecond cut off.
fn times(number: &str, unit: u128) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if whole.len() > DIGITS || fraction.len() > DIGITS {
        return None;
    }
    let whole: u128 = whole.parse().ok()?;
    let parts: u128 = fraction.parse().ok()?;
    let scale = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    Some(whole * unit + parts * unit / scale)
}

/// The beginning of a text that somebody else wrote.
fn shorten(text: &str) -> String {
    text.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_in_all_units() {
        for (text, milliseconds) in [
            ("200ms", 200),
            ("5s", 5_000),
            ("2m", 120_000),
            ("1h", 3_600_000),
            ("1d", 86_400_000),
            ("1.5s", 1_500),
            ("1m30s", 90_000),
            ("1h2m3s4ms", 3_723_004),
            ("0s", 0),
            (" 5s ", 5_000),
            ("365d", 365 * 86_400_000),
        ] {
            let expected = Ok(Duration::from_millis(milliseconds));
            assert_eq!(parse_duration(text), expected, "{text}");
        }
        assert_eq!(parse_duration("0.5ms"), Ok(Duration::from_micros(500)));
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in [
            "",
            " ",
            "5",
            "s",
            "5 s",
            "5x",
            "-5s",
            "1e3s",
            "1..5s",
            ".s",
            ".5s",
            "5.s",
            "5s5",
            "5sm",
            "∞",
            "5S",
            "366d",
            "99999999999999999999s",
            "1.5.5s",
        ] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}
