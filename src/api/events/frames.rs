//! Events as bytes: a frame each of an event stream, or elements of an array.

use bytes::Bytes;
use crane_actors::follow::Piece;
use crane_core::run::view::event_view_with;
use crane_core::{Record, RunId};

use crate::api::ApiError;

/// Bytes that an event takes beside its payload, about.
const EVENT: usize = 256;

/// The frames of a piece. They are made once, for all who are handed the same piece.
pub(super) fn frames(run: RunId, piece: &Piece) -> Result<Bytes, serde_json::Error> {
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

/// The events of a piece, separated by commas.
pub(super) fn elements(run: RunId, piece: &Piece) -> Result<Bytes, ApiError> {
    let records = piece.batch.records();
    let mut out = Vec::with_capacity(EVENT * records.len());
    let mut rounds = piece.rounds;
    for (position, record) in records.iter().enumerate() {
        if position > 0 {
            out.push(b',');
        }
        let round = rounds.of(record);
        let view = event_view_with(run, piece.plan.as_deref(), record, round);
        serde_json::to_writer(&mut out, &view).map_err(ApiError::internal)?;
    }
    Ok(out.into())
}
