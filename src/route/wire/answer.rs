//! Answers.

use bytes::Bytes;
use crane_core::{NodeName, RunId, RunStatus, Seq, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{NotUnderstood, VERSION, versioned};
use crate::api::{ApiError, ErrorType};
use crate::route::words::{Answer, Events, Found, Listed, Outline, Told};

mod code {
    pub(super) const RUN: u8 = 0;
    pub(super) const EVENTS: u8 = 1;
    pub(super) const NOT_FOUND: u8 = 2;
    pub(super) const REFUSED: u8 = 3;
    pub(super) const LISTED: u8 = 4;
    pub(super) const HERE: u8 = 5;
    pub(super) const PROMISED: u8 = 6;
    pub(super) const TAKEN: u8 = 7;
}

/// What a refusal is made of; the causes go to the log of the node that asked as well.
#[derive(Serialize, Deserialize)]
struct Refusal {
    error_type: Value,
    detail: String,
    details: Value,
    retry_after: Option<u64>,
    cause: Option<String>,
}

/// An answer about a run.
pub(in crate::route) fn encode_answer(answer: &Answer) -> Vec<u8> {
    match answer {
        Answer::Run(told) => {
            let mut bytes = Vec::with_capacity(4 + told.text.len());
            let created = u8::from(told.created);
            bytes.extend([VERSION, code::RUN, number(told.status), created]);
            bytes.extend_from_slice(&told.text);
            bytes
        }
        Answer::Events(events) => {
            let mut bytes = Vec::with_capacity(12 + events.bytes.len());
            let flags = u8::from(events.ended) | u8::from(events.more) << 1;
            bytes.extend([VERSION, code::EVENTS, flags]);
            bytes.extend(events.seen.0.to_be_bytes());
            bytes.extend_from_slice(&events.bytes);
            bytes
        }
        Answer::NotFound => vec![VERSION, code::NOT_FOUND],
        Answer::Refused(error) => with_json(
            code::REFUSED,
            &Refusal {
                error_type: serde_json::to_value(error.error_type).unwrap_or_default(),
                detail: error.detail.clone(),
                details: error.details.clone(),
                retry_after: error.retry_after,
                cause: error.cause.clone(),
            },
        ),
    }
}

/// An answer about a run.
pub(in crate::route) fn decode_answer(bytes: Vec<u8>) -> Result<Answer, NotUnderstood> {
    let bytes = Bytes::from(bytes);
    let mut rest = Reader(versioned(&bytes)?);
    match rest.byte()? {
        code::RUN => {
            let status = status(rest.byte()?)?;
            let created = rest.byte()? != 0;
            Ok(Answer::Run(Told {
                status,
                created,
                text: bytes.slice_ref(rest.0),
            }))
        }
        code::EVENTS => {
            let flags = rest.byte()?;
            Ok(Answer::Events(Events {
                ended: flags & 1 != 0,
                more: flags & 2 != 0,
                seen: Seq(u64::from_be_bytes(rest.take()?)),
                bytes: bytes.slice_ref(rest.0),
            }))
        }
        code::NOT_FOUND => Ok(Answer::NotFound),
        code::REFUSED => {
            let refusal: Refusal = json(rest.0)?;
            // A type that only a newer node knows is a failure for this one.
            let error_type = serde_json::from_value(refusal.error_type);
            Ok(Answer::Refused(ApiError {
                error_type: error_type.unwrap_or(ErrorType::Internal),
                detail: refusal.detail,
                details: refusal.details,
                retry_after: refusal.retry_after,
                cause: refusal.cause,
            }))
        }
        other => Err(unknown(other)),
    }
}

fn number(status: RunStatus) -> u8 {
    let place = RunStatus::ALL.iter().position(|known| *known == status);
    let number = place.and_then(|place| u8::try_from(place).ok());
    number.unwrap_or(u8::MAX)
}

fn status(number: u8) -> Result<RunStatus, NotUnderstood> {
    let status = RunStatus::ALL.get(usize::from(number)).copied();
    status.ok_or_else(|| NotUnderstood::new("a status is not known"))
}

/// Bytes of a listed run.
const LISTED_RUN: usize = 16 + 1 + 8 + 8 + 1 + 8;

/// A page of the runs of a node.
pub(in crate::route) fn encode_listed(listed: &Listed) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(10 + LISTED_RUN * listed.runs.len());
    bytes.extend([VERSION, code::LISTED]);
    bytes.extend((listed.total as u64).to_be_bytes());
    for (run, outline) in &listed.runs {
        bytes.extend(run.to_bytes());
        bytes.push(number(outline.status));
        bytes.extend(outline.seq.0.to_be_bytes());
        bytes.extend(outline.created_at.0.to_be_bytes());
        bytes.push(u8::from(outline.completed_at.is_some()));
        bytes.extend(outline.completed_at.unwrap_or_default().0.to_be_bytes());
    }
    bytes
}

/// A page of the runs of a node.
pub(in crate::route) fn decode_listed(bytes: &[u8]) -> Result<Listed, NotUnderstood> {
    let mut rest = Reader(versioned(bytes)?);
    match rest.byte()? {
        code::LISTED => {}
        other => return Err(unknown(other)),
    }
    let total = u64::from_be_bytes(rest.take()?);
    let mut runs = Vec::with_capacity(rest.0.len() / LISTED_RUN);
    while !rest.0.is_empty() {
        let run = RunId::from_bytes(rest.take()?);
        let status = status(rest.byte()?)?;
        let seq = Seq(u64::from_be_bytes(rest.take()?));
        let created_at = Timestamp(i64::from_be_bytes(rest.take()?));
        let has_ended = rest.byte()? != 0;
        let completed_at = Timestamp(i64::from_be_bytes(rest.take()?));
        let outline = Outline {
            status,
            seq,
            created_at,
            completed_at: has_ended.then_some(completed_at),
        };
        runs.push((run, outline));
    }
    let total = usize::try_from(total).unwrap_or(usize::MAX);
    Ok(Listed { total, runs })
}

/// What came of looking for the run of a key.
pub(in crate::route) fn encode_found(found: &Found) -> Vec<u8> {
    match found {
        Found::Here => vec![VERSION, code::HERE],
        Found::Promised(members) => with_json(code::PROMISED, members),
        Found::Taken(members) => with_json(code::TAKEN, members),
    }
}

/// What came of looking for the run of a key.
pub(in crate::route) fn decode_found(bytes: &[u8]) -> Result<Found, NotUnderstood> {
    let mut rest = Reader(versioned(bytes)?);
    let code = rest.byte()?;
    let members = || json::<Vec<NodeName>>(rest.0);
    match code {
        code::HERE => Ok(Found::Here),
        code::PROMISED => Ok(Found::Promised(members()?)),
        code::TAKEN => Ok(Found::Taken(members()?)),
        other => Err(unknown(other)),
    }
}

fn with_json(code: u8, value: &impl Serialize) -> Vec<u8> {
    let mut bytes = vec![VERSION, code];
    // Memory is the only sink, and every key is a text: this cannot fail.
    if let Err(error) = serde_json::to_writer(&mut bytes, value) {
        tracing::error!(%error, "an answer cannot be written");
    }
    bytes
}

fn json<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, NotUnderstood> {
    serde_json::from_slice(bytes).map_err(NotUnderstood::new)
}

fn unknown(code: u8) -> NotUnderstood {
    NotUnderstood::new(format!("answer {code} is not known"))
}

/// Takes fields off the front.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], NotUnderstood> {
        let short = || NotUnderstood::new("it ends in the middle");
        let (field, rest) = self.0.split_first_chunk().ok_or_else(short)?;
        self.0 = rest;
        Ok(*field)
    }

    fn byte(&mut self) -> Result<u8, NotUnderstood> {
        self.take::<1>().map(|[byte]| byte)
    }
}
