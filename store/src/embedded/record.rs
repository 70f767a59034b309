//! Records: what the frames of the journal hold, and the rows of snapshots, which share a form.
//!
//! ```text
//!   record:   kind u8 | length u32 | body
//!   boot:     epoch u64
//!   append:   run 16 | image
//!   tool:     an encoded tool write
//!   retired:  (run 16)*
//!   image:    expected u64 | count u32 | summary block | labels block | events
//! ```
//!
//! A block is preceded by its length (u32). The versions of what is inside (summary, labels,
//! events, tool writes) are the codec's; the version of this layout is the frame's.

use crane_core::event::Labels;
use crane_core::{Epoch, RunId, Seq};

use super::frame::{Fields, put_block};
use crate::{Append, Error, Summary, ToolWrite, codec};

const BOOT: u8 = 1;
const APPEND: u8 = 2;
const TOOL: u8 = 3;
const RETIRED: u8 = 4;

/// One record of the journal, borrowed from its frame.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Record<'a> {
    /// The store was opened; every later record belongs to this epoch.
    Boot(Epoch),
    /// Events of a run.
    Append(RunId, Image<'a>),
    /// A write of a stateful tool.
    Tool(&'a [u8]),
    /// Retention has removed these runs; a later run may have the id of one of them.
    Retired(Retired<'a>),
}

/// Ids of removed runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Retired<'a>(&'a [u8]);

impl Retired<'_> {
    /// The ids.
    pub(crate) fn runs(&self) -> impl Iterator<Item = RunId> {
        let (ids, _) = self.0.as_chunks::<16>();
        ids.iter().map(|id| RunId::from_bytes(*id))
    }
}

/// Consecutive events of a run with its summary behind them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Image<'a> {
    /// The run's last event before these.
    pub(crate) expected: Seq,
    /// Number of events.
    pub(crate) count: u32,
    summary: &'a [u8],
    labels: &'a [u8],
    /// The events, as the codec encoded them.
    pub(crate) events: &'a [u8],
}

impl Image<'_> {
    /// The run's summary after these events.
    pub(crate) fn summary(&self) -> Result<Summary, Error> {
        codec::decode_summary(self.summary)
    }

    /// The run's labels, if it has any and this is its beginning.
    pub(crate) fn labels(&self) -> Result<Option<Labels>, Error> {
        if self.labels.is_empty() {
            return Ok(None);
        }
        codec::decode_labels(self.labels).map(Some)
    }
}

/// Appends an image to `out`; `events` are one or more pieces of encoded events.
pub(crate) fn put_image<'a>(
    out: &mut Vec<u8>,
    expected: Seq,
    count: u32,
    summary: &Summary,
    labels: Option<&Labels>,
    events: impl IntoIterator<Item = &'a [u8]>,
) {
    out.extend_from_slice(&expected.0.to_le_bytes());
    out.extend_from_slice(&count.to_le_bytes());
    put_block(out, |out| codec::encode_summary(summary, out));
    put_block(out, |out| {
        if let Some(labels) = labels.filter(|labels| !labels.is_empty()) {
            codec::encode_labels(labels, out);
        }
    });
    for piece in events {
        out.extend_from_slice(piece);
    }
}

/// The image that `bytes`, all of them, hold.
pub(crate) fn image(bytes: &[u8]) -> Option<Image<'_>> {
    let mut fields = Fields(bytes);
    Some(Image {
        expected: fields.seq()?,
        count: fields.u32()?,
        summary: fields.block()?,
        labels: fields.block()?,
        events: fields.0,
    })
}

/// Appends the record that opens an epoch.
pub(crate) fn put_boot(out: &mut Vec<u8>, epoch: Epoch) {
    out.push(BOOT);
    put_block(out, |out| out.extend_from_slice(&epoch.0.to_le_bytes()));
}

/// Appends the record of an append.
pub(crate) fn put_append(out: &mut Vec<u8>, append: &Append) {
    out.push(APPEND);
    put_block(out, |out| {
        out.extend_from_slice(&append.run.to_bytes());
        put_image(
            out,
            append.expected,
            append.events.count,
            &append.summary,
            append.labels.as_deref(),
            [append.events.bytes.as_slice()],
        );
    });
}

/// Appends the record of a tool write.
pub(crate) fn put_tool(out: &mut Vec<u8>, write: &ToolWrite) {
    out.push(TOOL);
    put_block(out, |out| codec::encode_tool_write(write, out));
}

/// Appends the record of runs that retention has removed.
pub(crate) fn put_retired(out: &mut Vec<u8>, runs: &[RunId]) {
    out.push(RETIRED);
    put_block(out, |out| {
        for run in runs {
            out.extend_from_slice(&run.to_bytes());
        }
    });
}

/// The records of a frame; ends after the first that does not parse, which is an error since the
/// frame's checksum was right.
pub(crate) fn records(frame: &[u8]) -> impl Iterator<Item = Result<Record<'_>, String>> {
    let mut fields = Fields(frame);
    std::iter::from_fn(move || {
        if fields.0.is_empty() {
            return None;
        }
        let record = parse(&mut fields);
        if record.is_err() {
            fields.0 = &[];
        }
        Some(record)
    })
}

fn parse<'a>(fields: &mut Fields<'a>) -> Result<Record<'a>, String> {
    let short = || "a record is cut short".to_owned();
    let kind = fields.u8().ok_or_else(short)?;
    let mut body = Fields(fields.block().ok_or_else(short)?);
    match kind {
        BOOT => Ok(Record::Boot(Epoch(body.u64().ok_or_else(short)?))),
        APPEND => {
            let run = RunId::from_bytes(body.array().ok_or_else(short)?);
            Ok(Record::Append(run, image(body.0).ok_or_else(short)?))
        }
        TOOL => Ok(Record::Tool(body.0)),
        RETIRED if body.0.len().is_multiple_of(16) => Ok(Record::Retired(Retired(body.0))),
        RETIRED => Err(short()),
        unknown => Err(format!("a record of unknown kind {unknown}")),
    }
}
