//! How ids, times, statuses and texts look to the database.

use std::borrow::Cow;
use std::error::Error as StdError;

use bytes::{BufMut, BytesMut};
use crane_core::{RunId, RunStatus, Timestamp};
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, accepts, to_sql_checked};

type Failure = Box<dyn StdError + Sync + Send>;

/// A run id as `uuid`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Uuid(pub(crate) RunId);

impl ToSql for Uuid {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Failure> {
        out.put_slice(&self.0.to_bytes());
        Ok(IsNull::No)
    }

    accepts!(UUID);
    to_sql_checked!();
}

impl<'a> FromSql<'a> for Uuid {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Failure> {
        Ok(Self(RunId::from_bytes(raw.try_into()?)))
    }

    accepts!(UUID);
}

/// Microseconds from the Unix epoch to PostgreSQL's, 2000-01-01.
const EPOCH: i64 = 946_684_800_000_000;

/// The years 4713 BC and 294276, the ends of `timestamptz`, in microseconds since 2000.
const RANGE: (i64, i64) = (-211_813_488_000_000_000, 9_223_371_331_199_999_999);

/// A time as `timestamptz`; both count microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Time(pub(crate) Timestamp);

impl ToSql for Time {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Failure> {
        let micros = self.0.0.saturating_sub(EPOCH).clamp(RANGE.0, RANGE.1);
        out.put_i64(micros);
        Ok(IsNull::No)
    }

    accepts!(TIMESTAMPTZ);
    to_sql_checked!();
}

impl<'a> FromSql<'a> for Time {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Failure> {
        let micros = i64::from_be_bytes(raw.try_into()?);
        Ok(Self(Timestamp(micros.saturating_add(EPOCH))))
    }

    accepts!(TIMESTAMPTZ);
}

/// First status of a run that has ended; the partial indexes of the schema know it.
const ENDED: i16 = 10;

/// A status as a number.
pub(crate) fn status_number(status: RunStatus) -> i16 {
    match status {
        RunStatus::Pending => 0,
        RunStatus::Running => 1,
        RunStatus::Waiting => 2,
        RunStatus::Completed => ENDED,
        RunStatus::Failed => ENDED + 1,
        RunStatus::Cancelled => ENDED + 2,
    }
}

/// The status behind a number.
pub(crate) fn status_of(number: i16) -> Option<RunStatus> {
    RunStatus::ALL
        .into_iter()
        .find(|status| status_number(*status) == number)
}

/// Text that the database takes: its `text` cannot hold a zero byte, so that one is written as
/// U+0001 and `0`, and U+0001 as U+0001 and `1`.
pub(crate) fn to_text(text: &str) -> Cow<'_, str> {
    if !text.contains(['\0', '\u{1}']) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for char in text.chars() {
        match char {
            '\0' => out.push_str("\u{1}0"),
            '\u{1}' => out.push_str("\u{1}1"),
            other => out.push(other),
        }
    }
    Cow::Owned(out)
}

/// What [`to_text`] was given.
pub(crate) fn from_text(text: &str) -> String {
    if !text.contains('\u{1}') {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        match char {
            '\u{1}' if chars.next() == Some('0') => out.push('\0'),
            '\u{1}' => out.push('\u{1}'),
            other => out.push(other),
        }
    }
    out
}

/// An unsigned number as `bigint`; none of ours comes near the end of its range.
pub(crate) fn big(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A `bigint` that is never negative.
pub(crate) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_with_zero_bytes_comes_back_as_it_was() {
        for text in ["", "plain", "\0", "a\0b\u{1}c", "\u{1}0", "\u{1}\0\u{1}1"] {
            let stored = to_text(text);
            assert!(!stored.contains('\0'));
            assert_eq!(from_text(&stored), text);
        }
        assert_ne!(to_text("\0"), to_text("\u{1}0"));
    }

    #[test]
    fn every_status_has_a_number_of_its_own_and_ended_ones_are_apart() {
        for status in RunStatus::ALL {
            let number = status_number(status);
            assert_eq!(status_of(number), Some(status));
            assert_eq!(number >= ENDED, status.is_ended());
        }
        assert_eq!(status_of(3), None);
    }

    #[test]
    fn times_beyond_the_range_of_the_database_are_moved_to_its_ends() {
        for micros in [i64::MIN, 0, 1_700_000_000_000_001, i64::MAX] {
            let mut out = BytesMut::new();
            let written = Time(Timestamp(micros)).to_sql(&Type::TIMESTAMPTZ, &mut out);
            assert!(matches!(written, Ok(IsNull::No)));
            let read = Time::from_sql(&Type::TIMESTAMPTZ, &out).expect("eight bytes");
            assert!((RANGE.0..=RANGE.1).contains(&(read.0.0.saturating_sub(EPOCH))));
            if (0..i64::MAX).contains(&micros) {
                assert_eq!(read.0, Timestamp(micros));
            }
        }
    }
}
