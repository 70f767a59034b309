//! Values as they are written, and what they can be read as.
//!
//! A file has types: `max_connections = "100"` is a mistake there. The environment and flags have
//! words only, so that there `100` is a number. Sizes and durations read back as they are shown.

use std::ops::RangeInclusive;
use std::time::Duration;

use crane_core::plan::parse_duration;

/// A value as it was given.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// In a file: text in quotes.
    Text(String),
    /// In a file: a whole number.
    Integer(i64),
    /// In a file: `true` or `false`.
    Boolean(bool),
    /// In a file: a list.
    List(Vec<Value>),
    /// In a file: what no setting takes, by the name of its type.
    Other(&'static str),
    /// In the environment or on the command line.
    Words(String),
}

impl Value {
    /// As it is repeated to its author.
    fn shown(&self) -> String {
        match self {
            Self::Text(text) | Self::Words(text) => format!("{text:?}"),
            Self::Integer(number) => number.to_string(),
            Self::Boolean(boolean) => boolean.to_string(),
            Self::List(_) => "a list".to_owned(),
            Self::Other(kind) => format!("a {kind}"),
        }
    }

    fn is_no(&self, kind: &str) -> String {
        format!("is {}, it must be {kind}", self.shown())
    }

    pub(super) fn boolean(&self) -> Result<bool, String> {
        match self {
            Self::Boolean(boolean) => Ok(*boolean),
            Self::Words(words) if words == "true" => Ok(true),
            Self::Words(words) if words == "false" => Ok(false),
            other => Err(other.is_no("true or false")),
        }
    }

    pub(super) fn count(&self, range: &RangeInclusive<u64>) -> Result<u64, String> {
        let kind = || format!("a whole number from {} to {}", range.start(), range.end());
        let number = match self {
            Self::Integer(number) => u64::try_from(*number).ok(),
            Self::Words(words) => words.parse().ok(),
            _ => None,
        };
        number
            .filter(|number| range.contains(number))
            .ok_or_else(|| self.is_no(&kind()))
    }

    pub(super) fn size(&self, range: &RangeInclusive<u64>) -> Result<u64, String> {
        let bytes = match self {
            Self::Integer(number) => u64::try_from(*number).ok(),
            Self::Text(text) | Self::Words(text) => parse_size(text),
            _ => None,
        };
        let (least, most) = (size_text(*range.start()), size_text(*range.end()));
        match bytes {
            Some(bytes) if range.contains(&bytes) => Ok(bytes),
            Some(_) => Err(self.is_no(&format!("from {least} to {most}"))),
            None => Err(self.is_no(&format!(
                "a number of bytes or a size such as \"64MiB\", from {least} to {most}"
            ))),
        }
    }

    pub(super) fn duration(&self, range: &RangeInclusive<Duration>) -> Result<Duration, String> {
        let duration = match self {
            Self::Text(text) | Self::Words(text) => parse_duration(text).ok(),
            _ => None,
        };
        let (least, most) = (duration_text(*range.start()), duration_text(*range.end()));
        match duration {
            Some(duration) if range.contains(&duration) => Ok(duration),
            Some(_) => Err(self.is_no(&format!("from {least} to {most}"))),
            None => Err(self.is_no(&format!(
                "a duration with its unit, such as \"500ms\", \"30s\" or \"7d\", from {least} to {most}"
            ))),
        }
    }

    pub(super) fn text(&self) -> Result<&str, String> {
        match self {
            Self::Text(text) | Self::Words(text) => Ok(text),
            other => Err(other.is_no("a text in quotes")),
        }
    }

    /// The members of a list; words are split at commas, unless they look like a list of a file.
    pub(super) fn list(&self) -> Result<Vec<String>, String> {
        let kind = "a list of texts, such as [\"a\", \"b\"]";
        match self {
            Self::List(members) => members
                .iter()
                .map(|member| match member {
                    Self::Text(text) => Ok(text.clone()),
                    other => Err(format!("holds {}, it must be {kind}", other.shown())),
                })
                .collect(),
            Self::Words(words) if words.trim_start().starts_with('[') => {
                match super::file::parse_value(words) {
                    Some(list @ Self::List(_)) => list.list(),
                    _ => Err(format!("is not well formed, it must be {kind}")),
                }
            }
            Self::Words(words) => Ok(words
                .split(',')
                .map(|word| word.trim().to_owned())
                .filter(|word| !word.is_empty())
                .collect()),
            // What stands there may be secret.
            Self::Text(_) => Err(format!("is a text, it must be {kind}")),
            other => Err(other.is_no(kind)),
        }
    }
}

/// Units of sizes, the largest first; those of a thousand are read and never shown.
const BINARY: [(&str, u64); 4] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
];
const DECIMAL: [(&str, u64); 5] = [
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("kB", 1_000),
];

fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let unit = unit.trim_start();
    let factor = match unit {
        "" | "B" => 1,
        unit => {
            let mut units = BINARY.iter().chain(&DECIMAL);
            units.find(|(name, _)| *name == unit)?.1
        }
    };
    number.checked_mul(factor)
}

/// A size in its largest unit that leaves nothing over.
pub(super) fn size_text(bytes: u64) -> String {
    let unit = BINARY
        .into_iter()
        .find(|(_, factor)| bytes >= *factor && bytes.is_multiple_of(*factor));
    match unit {
        Some((name, factor)) => format!("{}{name}", bytes / factor),
        None => format!("{bytes}B"),
    }
}

/// A duration in its largest unit that leaves nothing over.
pub(super) fn duration_text(duration: Duration) -> String {
    let millis = duration.as_millis();
    let units = [
        ("d", 86_400_000),
        ("h", 3_600_000),
        ("m", 60_000),
        ("s", 1_000),
    ];
    let unit = units
        .into_iter()
        .find(|(_, factor)| millis >= *factor && millis.is_multiple_of(*factor));
    match unit {
        Some((name, factor)) => format!("{}{name}", millis / factor),
        None => format!("{millis}ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_durations_read_back_as_they_are_shown() {
        for bytes in [
            0,
            1,
            1_000,
            1 << 10,
            3 << 20,
            20 << 30,
            1 << 40,
            (1 << 20) + 1,
        ] {
            assert_eq!(parse_size(&size_text(bytes)), Some(bytes));
        }
        for millis in [1, 999, 1_000, 90_000, 3_600_000, 604_800_000] {
            let duration = Duration::from_millis(millis);
            assert_eq!(parse_duration(&duration_text(duration)), Ok(duration));
        }
        assert_eq!(size_text(64 << 20), "64MiB");
        assert_eq!(duration_text(Duration::from_secs(90)), "90s");
        assert_eq!(parse_size("64 MiB"), Some(64 << 20));
        assert_eq!(parse_size("2MB"), Some(2_000_000));
        for text in ["", "MiB", "1.5MiB", "-1", "1 mib", "99999999999999999999"] {
            assert_eq!(parse_size(text), None, "{text}");
        }
    }

    #[test]
    fn a_list_in_the_environment_is_split_at_commas_or_written_as_in_a_file() {
        let list = |words: &str| Value::Words(words.to_owned()).list();
        assert_eq!(list("a, b").unwrap(), ["a", "b"]);
        assert_eq!(list(r#"["a,b", "c"]"#).unwrap(), ["a,b", "c"]);
        assert!(list("").unwrap().is_empty());
        assert!(list("[1]").is_err());
        assert!(list("[\"a\"").is_err());
    }
}
