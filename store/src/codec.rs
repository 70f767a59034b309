//! Encoding of what is stored: events, summaries, labels and writes of tools.
//!
//! ```text
//!   events of a run:  record | record | ...          batches may simply be concatenated
//!   record:           length u32 | version u16 | body        length counts version and body
//!   anything else:    version u16 | body
//! ```
//!
//! Integers outside bodies are little endian. Bodies are bincode of the mirror types in
//! schema.rs. Readers skip records by their length, and the event number is the first
//! field of every body, so that reading from the middle decodes nothing before it.
//!
//! What never lives here: checksums. Callers check the CRC of a frame before they decode what is
//! in it; still, nothing here panics or allocates without bound on damaged bytes.

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use bincode::enc::write::Writer;
use bincode::error::EncodeError;
use crane_core::event::Labels;
use crane_core::{Record, RunId, Seq};

use crate::schema::{CURRENT, v1};
use crate::{Encoded, Error, Summary, ToolWrite};

/// Largest stored value in bytes; settable limits (a run's bytes above all) must stay below it.
pub const VALUE_BYTES: usize = DECODE_LIMIT - (64 << 10);

/// What the decoder may read for one value. It counts integers in full, so it is a little more
/// than [`VALUE_BYTES`].
const DECODE_LIMIT: usize = 16 << 20;

/// Bytes of a record before its body: length and version.
const PREFIX: usize = 6;

type Config = Configuration<LittleEndian, Varint, Limit<DECODE_LIMIT>>;

/// The one bincode configuration. The limit is what keeps a damaged length from aborting the
/// process by an impossible allocation.
const CONFIG: Config = bincode::config::standard().with_limit::<DECODE_LIMIT>();

/// Appends to a `Vec`; bincode's own equivalent always starts a new one.
struct Sink<'a>(&'a mut Vec<u8>);

impl Writer for Sink<'_> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

/// The stored form of `records` in the current schema version.
///
/// A record of more than [`VALUE_BYTES`] cannot be stored: the result is then empty, which every
/// store refuses, and the reason is logged.
pub fn encode(records: &[Record]) -> Encoded {
    let mut bytes = Vec::with_capacity(records.iter().map(size_hint).sum());
    for record in records {
        let start = bytes.len();
        bytes.extend_from_slice(&[0; 4]);
        put(&v1::Record::from(record), &mut bytes);
        let length = bytes.len() - start - 4;
        if length > VALUE_BYTES {
            tracing::error!(seq = %record.seq, event = record.event.name(), bytes = length,
                limit = VALUE_BYTES, "an event is too large to be stored; lower the limits");
            return Encoded::default();
        }
        bytes[start..start + 4].copy_from_slice(&u32_of(length).to_le_bytes());
    }
    Encoded {
        count: u32_of(records.len()),
        bytes,
    }
}

/// All events of `encoded`.
///
/// # Errors
/// [`Error::Corrupt`] when bytes do not decode or their number differs from `encoded.count`;
/// [`Error::Schema`] when they are of a version this program does not know.
pub fn decode(encoded: &Encoded) -> Result<Vec<Record>, Error> {
    // The count is not trusted for the allocation: each record takes at least its prefix.
    let room = (encoded.count as usize).min(encoded.bytes.len() / PREFIX);
    let mut all = Vec::with_capacity(room);
    for record in records(&encoded.bytes) {
        all.push(record?);
    }
    if all.len() == encoded.count as usize {
        return Ok(all);
    }
    Err(damaged(
        "encoded events",
        encoded.bytes.len(),
        format!("{} events, expected {}", all.len(), encoded.count),
    ))
}

/// The events in `bytes`, decoded one by one; ends after the first error.
pub fn records(bytes: &[u8]) -> Records<'_> {
    Records {
        frames: Frames { bytes, offset: 0 },
        after: None,
    }
}

/// The events in `bytes` with a number above `after`; those before are skipped undecoded.
pub fn decode_from(bytes: &[u8], after: Seq) -> Records<'_> {
    Records {
        frames: Frames { bytes, offset: 0 },
        after: Some(after),
    }
}

/// The stored bytes of the `count` events that follow `after`, or `None` when `bytes` does not
/// hold all of them. What a repeated write is compared with.
///
/// # Errors
/// As [`decode`].
pub fn slice(bytes: &[u8], after: Seq, count: u32) -> Result<Option<&[u8]>, Error> {
    let mut frames = Frames { bytes, offset: 0 };
    let mut start = None;
    let mut found = 0;
    while found < count {
        let offset = frames.offset;
        let Some(frame) = frames.next() else {
            return Ok(None);
        };
        let seq = frame?.seq()?;
        if seq <= after {
            continue;
        }
        if seq.0 - after.0 != u64::from(found) + 1 {
            return Ok(None);
        }
        start.get_or_insert(offset);
        found += 1;
    }
    let start = start.unwrap_or(0);
    Ok(Some(if count == 0 {
        &[]
    } else {
        &bytes[start..frames.offset]
    }))
}

/// Iterator over encoded events; see [`records`] and [`decode_from`].
#[derive(Clone, Debug)]
pub struct Records<'a> {
    frames: Frames<'a>,
    after: Option<Seq>,
}

impl Records<'_> {
    /// How many bytes were read.
    pub fn offset(&self) -> usize {
        self.frames.offset
    }
}

impl Iterator for Records<'_> {
    type Item = Result<Record, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let result = match self.frames.next()? {
                Err(error) => Err(error),
                Ok(frame) => match self.after.map(|after| (after, frame.seq())) {
                    Some((after, Ok(seq))) if seq <= after => continue,
                    Some((_, Err(error))) => Err(error),
                    _ => frame.record(),
                },
            };
            if self.after.is_some() {
                // Numbers ascend: nothing behind the first hit needs to be looked at again.
                self.after = None;
            }
            if result.is_err() {
                self.frames.bytes = &[];
                self.frames.offset = 0;
            }
            return Some(result);
        }
    }
}

/// Iterator over the undecoded records of a run.
#[derive(Clone, Debug)]
struct Frames<'a> {
    bytes: &'a [u8],
    offset: usize,
}

/// One undecoded record.
struct Frame<'a> {
    version: u16,
    body: &'a [u8],
    offset: usize,
}

impl<'a> Iterator for Frames<'a> {
    type Item = Result<Frame<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let offset = self.offset;
        let rest = self.bytes.get(offset..).filter(|rest| !rest.is_empty())?;
        let frame = rest.split_first_chunk::<4>().and_then(|(length, rest)| {
            let record = rest.get(..u32::from_le_bytes(*length) as usize)?;
            let (version, body) = record.split_first_chunk::<2>()?;
            self.offset += 4 + record.len();
            Some(Frame {
                version: u16::from_le_bytes(*version),
                body,
                offset,
            })
        });
        Some(frame.ok_or_else(|| {
            self.offset = self.bytes.len();
            damaged("encoded events", offset, "a record is cut short".into())
        }))
    }
}

impl Frame<'_> {
    /// The event's number, without decoding the rest.
    fn seq(&self) -> Result<Seq, Error> {
        known(self.version, "event")?;
        match bincode::decode_from_slice::<u64, _>(self.body, CONFIG) {
            Ok((seq, _)) => Ok(Seq(seq)),
            Err(error) => Err(damaged("encoded events", self.offset, error.to_string())),
        }
    }

    fn record(&self) -> Result<Record, Error> {
        known(self.version, "event")?;
        get::<v1::Record<'_>>("encoded events", self.offset, self.body).map(Record::from)
    }
}

/// Appends the stored form of a summary to `out`.
pub fn encode_summary(summary: &Summary, out: &mut Vec<u8>) {
    put(&v1::Summary::from(summary), out);
}

/// The summary that `bytes`, all of them, hold.
///
/// # Errors
/// As [`decode`].
pub fn decode_summary(bytes: &[u8]) -> Result<Summary, Error> {
    get_versioned::<v1::Summary>("summary", bytes).map(Summary::from)
}

/// Appends the stored form of labels to `out`.
pub fn encode_labels(labels: &Labels, out: &mut Vec<u8>) {
    put(&v1::Labels::from(labels), out);
}

/// The labels that `bytes`, all of them, hold.
///
/// # Errors
/// As [`decode`].
pub fn decode_labels(bytes: &[u8]) -> Result<Labels, Error> {
    get_versioned::<v1::Labels<'_>>("labels", bytes).map(Labels::from)
}

/// Appends the stored form of a write of a tool to `out`. The size of a write is bounded by
/// [`crate::tool_data::ToolData::check`], which comes first.
pub fn encode_tool_write(write: &ToolWrite, out: &mut Vec<u8>) {
    put(&v1::ToolWrite::from(write), out);
}

/// The write of a tool that `bytes`, all of them, hold.
///
/// # Errors
/// As [`decode`].
pub fn decode_tool_write(bytes: &[u8]) -> Result<ToolWrite, Error> {
    get_versioned::<v1::ToolWrite<'_>>("tool write", bytes).map(ToolWrite::from)
}

/// Everything of a finished run but its events.
pub(crate) struct FinishedHead {
    pub(crate) run: RunId,
    pub(crate) summary: Summary,
    pub(crate) labels: Labels,
    pub(crate) count: u32,
}

/// Appends the head of a finished run to `out`.
pub(crate) fn encode_finished(
    run: RunId,
    summary: &Summary,
    labels: &Labels,
    count: u32,
    out: &mut Vec<u8>,
) {
    let head = v1::FinishedHead {
        run: run.to_bytes(),
        summary: summary.into(),
        labels: labels.into(),
        count,
    };
    put(&head, out);
}

/// The head of a finished run that `bytes`, all of them, hold.
pub(crate) fn decode_finished(bytes: &[u8]) -> Result<FinishedHead, Error> {
    let head = get_versioned::<v1::FinishedHead<'_>>("finished run", bytes)?;
    Ok(FinishedHead {
        run: RunId::from_bytes(head.run),
        summary: head.summary.into(),
        labels: head.labels.into(),
        count: head.count,
    })
}

/// Appends version and body of a value of the current schema to `out`.
pub(crate) fn put(value: &impl bincode::Encode, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&CURRENT.to_le_bytes());
    // Memory is the only sink and the mirrors hold plain data, so this cannot fail; were it to,
    // the value is left without a body, which no reader accepts.
    if let Err(error) = bincode::encode_into_writer(value, Sink(out), CONFIG) {
        out.truncate(start);
        tracing::error!(%error, "a value could not be encoded");
    }
}

/// The value that `bytes`, version and body, hold.
pub(crate) fn get_versioned<'a, T>(what: &'static str, bytes: &'a [u8]) -> Result<T, Error>
where
    T: bincode::BorrowDecode<'a, ()>,
{
    let Some((version, body)) = bytes.split_first_chunk::<2>() else {
        return Err(damaged(what, 0, "it is cut short".into()));
    };
    known(u16::from_le_bytes(*version), what)?;
    get(what, 0, body)
}

/// Decodes a body, all of it.
fn get<'a, T>(what: &'static str, offset: usize, body: &'a [u8]) -> Result<T, Error>
where
    T: bincode::BorrowDecode<'a, ()>,
{
    match bincode::borrow_decode_from_slice(body, CONFIG) {
        Ok((value, used)) if used == body.len() => Ok(value),
        Ok((_, used)) => Err(damaged(
            what,
            offset,
            format!("{} bytes behind its end", body.len() - used),
        )),
        Err(error) => Err(damaged(what, offset, error.to_string())),
    }
}

/// Refuses versions this program does not know; never guesses.
fn known(version: u16, what: &'static str) -> Result<(), Error> {
    if version == CURRENT {
        return Ok(());
    }
    Err(Error::Schema {
        what,
        version,
        newest: CURRENT,
    })
}

fn damaged(what: &str, offset: usize, detail: String) -> Error {
    Error::Corrupt {
        file: what.to_owned(),
        offset: offset as u64,
        detail,
    }
}

/// A size or count as it is stored. Saturates; what is larger than `u32::MAX` was refused before.
pub(crate) fn u32_of(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// About how many bytes a record takes; a hint for the allocation alone.
fn size_hint(record: &Record) -> usize {
    record.event.payload_bytes() + PREFIX + 64
}

#[cfg(test)]
mod tests;
