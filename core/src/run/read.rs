//! Events read back from the JSON that users see: the inverse of [`super::view`], for a client that
//! follows a run of another process.
//!
//! ```text
//!   Record ──event_view──> JSON ──(stream)──> JSON ──record_of──> Record ──apply──> Run
//! ```
//!
//! What comes back is what the view gave away. Two things stay with the node, because no user sees
//! them: the hash of the request, and a tool's hint when to try again.

use std::borrow::Cow;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::Run;
use crate::event::{Accepted, Event, FailureReason, Labels, Record};
use crate::ids::{Attempt, Round, Seq, StepIndex};
use crate::json::Json;
use crate::time::Timestamp;
use crate::tool::{ErrorKind, ToolError};

/// Why a text is no event of the run.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// It is not JSON, or a member is missing or of another type.
    #[error("it is no event: {0}")]
    Malformed(#[from] serde_json::Error),
    /// An event of a type that this version does not know.
    #[error("events of type {0:?} are not known here")]
    Type(String),
    /// A step that the run's plan does not have.
    #[error("event {seq} is about the step {step:?}, which the plan does not have")]
    Step {
        /// Its place in the run.
        seq: Seq,
        /// The id of the step.
        step: String,
    },
}

/// What all events have in common.
#[derive(Deserialize)]
struct Read<'a> {
    seq: Seq,
    at: Timestamp,
    #[serde(borrow)]
    r#type: Cow<'a, str>,
    #[serde(borrow, default)]
    step: Option<Cow<'a, str>>,
    #[serde(default)]
    attempt: Option<Attempt>,
    #[serde(borrow)]
    data: &'a RawValue,
}

/// The record that `text` tells of, an event of the API's stream or list. `run` is the fold of the
/// events before it, which gives the steps their places.
///
/// # Errors
/// When the text is no event, or none of this run.
pub fn record_of(run: &Run, text: &str) -> Result<Record, Unreadable> {
    let read: Read<'_> = serde_json::from_str(text)?;
    Ok(Record {
        seq: read.seq,
        at: read.at,
        event: read.event(run)?,
    })
}

impl Read<'_> {
    fn event(&self, run: &Run) -> Result<Event, Unreadable> {
        let event = match &*self.r#type {
            "run_accepted" => Event::RunAccepted(Box::new(self.data::<AcceptedData>()?.into())),
            "run_planned" => Event::RunPlanned {
                plan: json(&self.data::<Planned>()?.plan),
            },
            "run_started" => Event::RunStarted,
            "run_cancel_requested" => Event::RunCancelRequested,
            "run_reopened" => Event::RunReopened {
                round: self.data::<Reopened>()?.round,
            },
            "run_completed" => Event::RunCompleted {
                result: json(&self.data::<Completed>()?.result),
            },
            "run_failed" => self.data::<Failed>()?.into(),
            "run_cancelled" => Event::RunCancelled,
            _ => return self.step_event(run),
        };
        Ok(event)
    }

    fn step_event(&self, run: &Run) -> Result<Event, Unreadable> {
        let step = self.step(run)?;
        let attempt = self.attempt.unwrap_or_default();
        let event = match &*self.r#type {
            "step_started" => Event::StepStarted {
                step,
                attempt,
                input: json(&self.data::<Started>()?.input),
            },
            "step_attempt_failed" => {
                let data: AttemptFailed = self.data()?;
                Event::StepAttemptFailed {
                    step,
                    attempt,
                    error: data.error.into(),
                    retry_at: data.retry_at,
                    duration_us: microseconds(data.duration_ms),
                }
            }
            "step_attempt_lost" => Event::StepAttemptLost { step, attempt },
            "step_completed" => {
                let data: StepCompleted = self.data()?;
                Event::StepCompleted {
                    step,
                    attempt,
                    output: json(&data.output),
                    duration_us: microseconds(data.duration_ms),
                }
            }
            "step_failed" => {
                let data: StepFailed = self.data()?;
                Event::StepFailed {
                    step,
                    attempt,
                    error: data.error.into(),
                    duration_us: microseconds(data.duration_ms),
                }
            }
            "step_skipped" => Event::StepSkipped { step },
            "step_cancelled" => Event::StepCancelled {
                step,
                attempt,
                late: self.data::<Cancelled>()?.late.as_deref().map(json),
            },
            other => return Err(Unreadable::Type(other.to_owned())),
        };
        Ok(event)
    }

    fn data<T: DeserializeOwned>(&self) -> Result<T, Unreadable> {
        Ok(serde_json::from_str(self.data.get())?)
    }

    fn step(&self, run: &Run) -> Result<StepIndex, Unreadable> {
        let Some(id) = &self.step else {
            // An event of no step that is none of the run's either.
            return Err(Unreadable::Type(self.r#type.to_string()));
        };
        let plan = run.plan.as_deref();
        plan.and_then(|plan| plan.step_index(id))
            .ok_or_else(|| Unreadable::Step {
                seq: self.seq,
                step: id.to_string(),
            })
    }
}

/// A payload as its own text.
fn json(raw: &RawValue) -> Json {
    Json::from_trusted(raw.get())
}

/// Durations are fractions of milliseconds outside and whole microseconds inside.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // saturates, which is meant
fn microseconds(milliseconds: f64) -> u64 {
    (milliseconds * 1_000.0).round() as u64
}

#[derive(Deserialize)]
struct AcceptedData {
    prompt: Option<Arc<str>>,
    /// Absent and `null` are the same: a run without a plan.
    plan: Option<Box<RawValue>>,
    input: Box<RawValue>,
    #[serde(default)]
    labels: Labels,
    trace_id: Option<Arc<str>>,
}

impl From<AcceptedData> for Accepted {
    fn from(data: AcceptedData) -> Self {
        Self {
            prompt: data.prompt,
            plan: data.plan.as_deref().map(json),
            input: json(&data.input),
            labels: data.labels,
            request_hash: None,
            trace_id: data.trace_id,
        }
    }
}

#[derive(Deserialize)]
struct Planned {
    plan: Box<RawValue>,
}

#[derive(Deserialize)]
struct Reopened {
    round: Round,
}

#[derive(Deserialize)]
struct Completed {
    result: Box<RawValue>,
}

#[derive(Deserialize)]
struct Failed {
    reason: String,
    error: Arc<str>,
}

impl From<Failed> for Event {
    fn from(data: Failed) -> Self {
        let reason = FailureReason::ALL
            .into_iter()
            .find(|reason| reason.as_str() == data.reason)
            // A newer node may know more reasons; the words say it all the same.
            .unwrap_or(FailureReason::Step);
        Self::RunFailed {
            reason,
            error: data.error,
        }
    }
}

#[derive(Deserialize)]
struct Started {
    input: Box<RawValue>,
}

#[derive(Deserialize)]
struct AttemptFailed {
    error: ErrorData,
    retry_at: Timestamp,
    duration_ms: f64,
}

#[derive(Deserialize)]
struct StepCompleted {
    output: Box<RawValue>,
    duration_ms: f64,
}

#[derive(Deserialize)]
struct StepFailed {
    error: ErrorData,
    duration_ms: f64,
}

#[derive(Deserialize)]
struct Cancelled {
    late: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct ErrorData {
    kind: String,
    message: Arc<str>,
    #[serde(default)]
    retryable: bool,
}

impl From<ErrorData> for ToolError {
    fn from(data: ErrorData) -> Self {
        let kind = ErrorKind::ALL
            .into_iter()
            .find(|kind| kind.as_str() == data.kind)
            // A newer node may know more kinds; what matters to a reader is whether it is retried.
            .unwrap_or(if data.retryable {
                ErrorKind::Transient
            } else {
                ErrorKind::Permanent
            });
        Self::new(kind, data.message)
    }
}
