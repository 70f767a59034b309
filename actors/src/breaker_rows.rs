//! How a breaker is stored: one JSON row per tool, with a version.
//!
//! The row is made for the store alone and mirrors [`Snapshot`] field by field, so that the domain
//! may change without changing what is on disk.

use std::collections::BTreeMap;

use crane_core::breaker::{Bucket, Counts, Mode, Reason, Snapshot, State, Transition};
use crane_core::{Json, Timestamp};
use crane_store::{ToolWrite, Write};
use serde::{Deserialize, Serialize};

/// Under which name the rows are kept among those of the stateful tools.
pub(crate) const TABLE: &str = "crane.breakers";

/// Version of the row.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Row {
    version: u32,
    state: RowState,
    mode: RowMode,
    open_until: Option<i64>,
    openings: u32,
    failures_in_a_row: u32,
    asked_until: Option<i64>,
    was_slow: bool,
    generation: u64,
    permits: u64,
    /// Start, calls, failed, slow.
    buckets: Vec<(i64, u32, u32, u32)>,
    /// Number, time, from, to, reason.
    transitions: Vec<(u64, i64, RowState, RowState, RowReason)>,
    changes: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum RowState {
    Closed,
    HalfOpen,
    Open,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum RowMode {
    Auto,
    ForcedOpen,
    ForcedClosed,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum RowReason {
    FailureRate { failed: u32, calls: u32 },
    SlowRate { slow: u32, calls: u32 },
    FailuresInARow(u32),
    OpenTimeOver,
    ProbesSucceeded,
    ProbeFailed,
    ProbeOverdue,
    Forced,
    Reset,
    Advised,
}

/// The write that makes a breaker durable.
pub(crate) fn write(tool: &str, snapshot: &Snapshot) -> Write {
    Write::Tool(ToolWrite {
        tool: TABLE.to_owned(),
        run: None,
        // A store takes a second write with the same key for a repeat of the first.
        key: key(tool, snapshot),
        rows: BTreeMap::from([(tool.to_owned(), Some(encode(snapshot)))]),
        result: Json::null(),
    })
}

/// Another one for each transition: their number goes on over restarts, unless the row was lost.
fn key(tool: &str, snapshot: &Snapshot) -> String {
    let at = snapshot.transitions.last().map_or(0, |last| last.at.0);
    format!("{tool}/{}/{at}", snapshot.changes)
}

/// The row of a breaker.
fn encode(snapshot: &Snapshot) -> Json {
    let row = Row {
        version: VERSION,
        state: state_to_row(snapshot.state),
        mode: match snapshot.mode {
            Mode::Auto => RowMode::Auto,
            Mode::ForcedOpen => RowMode::ForcedOpen,
            Mode::ForcedClosed => RowMode::ForcedClosed,
        },
        open_until: snapshot.open_until.map(|at| at.0),
        openings: snapshot.openings,
        failures_in_a_row: snapshot.failures_in_a_row,
        asked_until: snapshot.asked_until.map(|at| at.0),
        was_slow: snapshot.was_slow,
        generation: snapshot.generation,
        permits: snapshot.permits,
        buckets: snapshot
            .buckets
            .iter()
            .map(|bucket| {
                let Counts {
                    calls,
                    failed,
                    slow,
                } = bucket.counts;
                (bucket.start.0, calls, failed, slow)
            })
            .collect(),
        transitions: snapshot
            .transitions
            .iter()
            .map(|change| {
                (
                    change.number,
                    change.at.0,
                    state_to_row(change.from),
                    state_to_row(change.to),
                    reason_to_row(change.reason),
                )
            })
            .collect(),
        changes: snapshot.changes,
    };
    match serde_json::to_value(&row) {
        Ok(value) => Json::from_value(&value),
        Err(_) => Json::null(),
    }
}

/// The breaker of a row; `None` when the row was written by something else.
pub(crate) fn decode(row: &Json) -> Option<Snapshot> {
    let row: Row = serde_json::from_str(row.as_str()).ok()?;
    if row.version != VERSION {
        return None;
    }
    Some(Snapshot {
        state: state_from_row(&row.state),
        mode: match row.mode {
            RowMode::Auto => Mode::Auto,
            RowMode::ForcedOpen => Mode::ForcedOpen,
            RowMode::ForcedClosed => Mode::ForcedClosed,
        },
        open_until: row.open_until.map(Timestamp),
        openings: row.openings,
        failures_in_a_row: row.failures_in_a_row,
        asked_until: row.asked_until.map(Timestamp),
        was_slow: row.was_slow,
        generation: row.generation,
        permits: row.permits,
        buckets: row
            .buckets
            .into_iter()
            .map(|(start, calls, failed, slow)| Bucket {
                start: Timestamp(start),
                counts: Counts {
                    calls,
                    failed,
                    slow,
                },
            })
            .collect(),
        transitions: row
            .transitions
            .iter()
            .map(|(number, at, from, to, reason)| Transition {
                number: *number,
                at: Timestamp(*at),
                from: state_from_row(from),
                to: state_from_row(to),
                reason: reason_from_row(reason),
            })
            .collect(),
        changes: row.changes,
    })
}

fn state_to_row(state: State) -> RowState {
    match state {
        State::Closed => RowState::Closed,
        State::HalfOpen => RowState::HalfOpen,
        State::Open => RowState::Open,
    }
}

fn state_from_row(state: &RowState) -> State {
    match state {
        RowState::Closed => State::Closed,
        RowState::HalfOpen => State::HalfOpen,
        RowState::Open => State::Open,
    }
}

fn reason_to_row(reason: Reason) -> RowReason {
    match reason {
        Reason::FailureRate { failed, calls } => RowReason::FailureRate { failed, calls },
        Reason::SlowRate { slow, calls } => RowReason::SlowRate { slow, calls },
        Reason::FailuresInARow(failed) => RowReason::FailuresInARow(failed),
        Reason::OpenTimeOver => RowReason::OpenTimeOver,
        Reason::ProbesSucceeded => RowReason::ProbesSucceeded,
        Reason::ProbeFailed => RowReason::ProbeFailed,
        Reason::ProbeOverdue => RowReason::ProbeOverdue,
        Reason::Forced => RowReason::Forced,
        Reason::Reset => RowReason::Reset,
        Reason::Advised => RowReason::Advised,
    }
}

fn reason_from_row(reason: &RowReason) -> Reason {
    match *reason {
        RowReason::FailureRate { failed, calls } => Reason::FailureRate { failed, calls },
        RowReason::SlowRate { slow, calls } => Reason::SlowRate { slow, calls },
        RowReason::FailuresInARow(failed) => Reason::FailuresInARow(failed),
        RowReason::OpenTimeOver => Reason::OpenTimeOver,
        RowReason::ProbesSucceeded => Reason::ProbesSucceeded,
        RowReason::ProbeFailed => Reason::ProbeFailed,
        RowReason::ProbeOverdue => Reason::ProbeOverdue,
        RowReason::Forced => Reason::Forced,
        RowReason::Reset => Reason::Reset,
        RowReason::Advised => Reason::Advised,
    }
}
