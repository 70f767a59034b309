//! Runs and events as the bytes that users get: made once, straight from the domain. The API answers
//! with them, and nodes answer each other with them, so that every node gives the same.

use bytes::Bytes;
use crane_actors::follow::Piece;
use crane_core::run::view::{event_view_with, run_view, run_view_as};
use crane_core::{Record, Run, RunId};

use crate::route::Outline;

/// Bytes that an event takes beside its payload, about.
const EVENT: usize = 256;

/// Why the events of a run are not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unread {
    /// Nobody can, at no time.
    Damaged,
    /// The node that keeps them cannot be reached.
    Away,
}

impl Unread {
    /// What is said of the run.
    fn in_words(self) -> &'static str {
        match self {
            Self::Damaged => {
                "what is stored of this run is damaged and cannot be read; `crane check` says where"
            }
            Self::Away => {
                "the node that keeps this run cannot be reached at the moment; this is what it has \
                 last said of it"
            }
        }
    }
}

/// A run as JSON text; `node` is the name of the node that owns it.
pub(crate) fn run(run: &Run, node: &str) -> Result<Vec<u8>, serde_json::Error> {
    // Most of a run is payload, which is counted.
    let mut bytes = Vec::with_capacity(512 + run.bytes() + 256 * run.steps.len());
    serde_json::to_writer(&mut bytes, &run_view(run, node))?;
    Ok(bytes)
}

/// What a list says of a run whose events are not read, in the form of a run.
pub(crate) fn outline(
    id: RunId,
    outline: &Outline,
    why: Unread,
    node: &str,
) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(&run_view_as(
        &unread(id, outline, why),
        outline.status,
        node,
    ))
}

/// The run of which no more than this is known.
pub(crate) fn unread(id: RunId, outline: &Outline, why: Unread) -> Run {
    let mut run = Run::empty(id);
    run.seq = outline.seq;
    run.created_at = outline.created_at;
    run.completed_at = outline.completed_at;
    run.error = Some(why.in_words().into());
    run
}

/// The events of a piece, a frame each of an event stream. They are made once, for all who are handed
/// the same piece.
pub(crate) fn frames(run: RunId, piece: &Piece) -> Result<Bytes, serde_json::Error> {
    let mut failure = None;
    let bytes = piece.batch.rendered(|records| {
        write(run, piece, records).unwrap_or_else(|error| {
            failure = Some(error);
            Bytes::new()
        })
    });
    match failure {
        None => Ok(bytes),
        Some(error) => Err(error),
    }
}

fn write(run: RunId, piece: &Piece, records: &[Record]) -> Result<Bytes, serde_json::Error> {
    let mut out = Vec::with_capacity(EVENT * records.len());
    let mut rounds = piece.rounds;
    for record in records {
        out.extend_from_slice(format!("id: {}\nevent: ", record.seq).as_bytes());
        out.extend_from_slice(record.event.name().as_bytes());
        out.extend_from_slice(b"\ndata: ");
        let start = out.len();
        let round = rounds.of(record);
        let view = event_view_with(run, piece.plan.as_deref(), record, round);
        serde_json::to_writer(&mut out, &view)?;
        one_line(&mut out[start..]);
        out.extend_from_slice(b"\n\n");
    }
    Ok(out.into())
}

/// JSON allows line ends between its tokens, and a frame does not. Inside a text they are escaped.
fn one_line(json: &mut [u8]) {
    for byte in json {
        if matches!(byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
}

/// The events of a piece as elements of an array, separated by commas.
pub(crate) fn elements(run: RunId, piece: &Piece) -> Result<Bytes, serde_json::Error> {
    let records = piece.batch.records();
    let mut out = Vec::with_capacity(EVENT * records.len());
    let mut rounds = piece.rounds;
    for (position, record) in records.iter().enumerate() {
        if position > 0 {
            out.push(b',');
        }
        let round = rounds.of(record);
        let view = event_view_with(run, piece.plan.as_deref(), record, round);
        serde_json::to_writer(&mut out, &view)?;
    }
    Ok(out.into())
}
