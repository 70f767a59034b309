//! Events in schema version 1, frozen.

use std::sync::Arc;
use std::time::Duration;

use bincode::{BorrowDecode, Encode};
use crane_core::event::{self, FailureReason as CoreReason};
use crane_core::tool::{ErrorKind as CoreKind, ToolError as CoreError};
use crane_core::{Attempt, Json, Round, Seq, StepIndex, Timestamp};

use super::Labels;

/// An event with its place in the run. Its first field is the seq, which readers look at alone.
#[derive(Encode, BorrowDecode)]
pub(crate) struct Record<'a> {
    seq: u64,
    at: i64,
    event: Event<'a>,
}

/// Mirror of [`event::Event`].
#[derive(Encode, BorrowDecode)]
enum Event<'a> {
    RunAccepted(Accepted<'a>),
    RunPlanned {
        plan: &'a str,
    },
    RunStarted,
    StepStarted {
        step: u32,
        attempt: u32,
        input: &'a str,
    },
    StepAttemptFailed {
        step: u32,
        attempt: u32,
        error: ToolError<'a>,
        retry_at: i64,
        duration_us: u64,
    },
    StepAttemptLost {
        step: u32,
        attempt: u32,
    },
    StepCompleted {
        step: u32,
        attempt: u32,
        output: &'a str,
        duration_us: u64,
    },
    StepFailed {
        step: u32,
        attempt: u32,
        error: ToolError<'a>,
        duration_us: u64,
    },
    StepSkipped {
        step: u32,
    },
    StepCancelled {
        step: u32,
        attempt: u32,
        late: Option<&'a str>,
    },
    RunCancelRequested,
    RunReopened {
        round: u32,
    },
    RunCompleted {
        result: &'a str,
    },
    RunFailed {
        reason: FailureReason,
        error: &'a str,
    },
    RunCancelled,
}

/// Mirror of [`event::Accepted`].
#[derive(Encode, BorrowDecode)]
struct Accepted<'a> {
    prompt: Option<&'a str>,
    plan: Option<&'a str>,
    input: &'a str,
    labels: Labels<'a>,
    request_hash: Option<u128>,
    trace_id: Option<&'a str>,
}

/// Mirror of [`CoreReason`].
#[derive(Encode, BorrowDecode)]
enum FailureReason {
    Step,
    Planning,
    Poisoned,
    Limit,
    Output,
}

/// Mirror of [`CoreError`].
#[derive(Encode, BorrowDecode)]
struct ToolError<'a> {
    kind: ErrorKind,
    message: &'a str,
    /// Seconds and nanoseconds.
    retry_after: Option<(u64, u32)>,
}

/// Mirror of [`CoreKind`].
#[derive(Encode, BorrowDecode)]
enum ErrorKind {
    InvalidInput,
    Transient,
    Permanent,
    Timeout,
    Unavailable,
    Panic,
    OutcomeUnknown,
    Expression,
    Limit,
    Interrupted,
}

impl<'a> From<&'a event::Record> for Record<'a> {
    fn from(record: &'a event::Record) -> Self {
        Self {
            seq: record.seq.0,
            at: record.at.0,
            event: Event::from(&record.event),
        }
    }
}

impl From<Record<'_>> for event::Record {
    fn from(record: Record<'_>) -> Self {
        Self {
            seq: Seq(record.seq),
            at: Timestamp(record.at),
            event: record.event.into(),
        }
    }
}

impl<'a> From<&'a event::Event> for Event<'a> {
    #[allow(clippy::too_many_lines, reason = "one plain arm for each event")]
    fn from(event: &'a event::Event) -> Self {
        use event::Event as Core;
        match event {
            Core::RunAccepted(accepted) => Self::RunAccepted(Accepted::from(&**accepted)),
            Core::RunPlanned { plan } => Self::RunPlanned {
                plan: plan.as_str(),
            },
            Core::RunStarted => Self::RunStarted,
            Core::RunCancelRequested => Self::RunCancelRequested,
            Core::RunReopened { round } => Self::RunReopened { round: round.0 },
            Core::RunCompleted { result } => Self::RunCompleted {
                result: result.as_str(),
            },
            Core::RunFailed { reason, error } => Self::RunFailed {
                reason: (*reason).into(),
                error,
            },
            Core::RunCancelled => Self::RunCancelled,
            Core::StepStarted {
                step,
                attempt,
                input,
            } => Self::StepStarted {
                step: step.0,
                attempt: attempt.0,
                input: input.as_str(),
            },
            Core::StepAttemptFailed {
                step,
                attempt,
                error,
                retry_at,
                duration_us,
            } => Self::StepAttemptFailed {
                step: step.0,
                attempt: attempt.0,
                error: error.into(),
                retry_at: retry_at.0,
                duration_us: *duration_us,
            },
            Core::StepAttemptLost { step, attempt } => Self::StepAttemptLost {
                step: step.0,
                attempt: attempt.0,
            },
            Core::StepCompleted {
                step,
                attempt,
                output,
                duration_us,
            } => Self::StepCompleted {
                step: step.0,
                attempt: attempt.0,
                output: output.as_str(),
                duration_us: *duration_us,
            },
            Core::StepFailed {
                step,
                attempt,
                error,
                duration_us,
            } => Self::StepFailed {
                step: step.0,
                attempt: attempt.0,
                error: error.into(),
                duration_us: *duration_us,
            },
            Core::StepSkipped { step } => Self::StepSkipped { step: step.0 },
            Core::StepCancelled {
                step,
                attempt,
                late,
            } => Self::StepCancelled {
                step: step.0,
                attempt: attempt.0,
                late: late.as_ref().map(Json::as_str),
            },
        }
    }
}

impl From<Event<'_>> for event::Event {
    #[allow(clippy::too_many_lines, reason = "one plain arm for each event")]
    fn from(event: Event<'_>) -> Self {
        match event {
            Event::RunAccepted(accepted) => Self::RunAccepted(Box::new(accepted.into())),
            Event::RunPlanned { plan } => Self::RunPlanned {
                plan: Json::from_trusted(plan),
            },
            Event::RunStarted => Self::RunStarted,
            Event::StepStarted {
                step,
                attempt,
                input,
            } => Self::StepStarted {
                step: StepIndex(step),
                attempt: Attempt(attempt),
                input: Json::from_trusted(input),
            },
            Event::StepAttemptFailed {
                step,
                attempt,
                error,
                retry_at,
                duration_us,
            } => Self::StepAttemptFailed {
                step: StepIndex(step),
                attempt: Attempt(attempt),
                error: error.into(),
                retry_at: Timestamp(retry_at),
                duration_us,
            },
            Event::StepAttemptLost { step, attempt } => Self::StepAttemptLost {
                step: StepIndex(step),
                attempt: Attempt(attempt),
            },
            Event::StepCompleted {
                step,
                attempt,
                output,
                duration_us,
            } => Self::StepCompleted {
                step: StepIndex(step),
                attempt: Attempt(attempt),
                output: Json::from_trusted(output),
                duration_us,
            },
            Event::StepFailed {
                step,
                attempt,
                error,
                duration_us,
            } => Self::StepFailed {
                step: StepIndex(step),
                attempt: Attempt(attempt),
                error: error.into(),
                duration_us,
            },
            Event::StepSkipped { step } => Self::StepSkipped {
                step: StepIndex(step),
            },
            Event::StepCancelled {
                step,
                attempt,
                late,
            } => Self::StepCancelled {
                step: StepIndex(step),
                attempt: Attempt(attempt),
                late: late.map(Json::from_trusted),
            },
            Event::RunCancelRequested => Self::RunCancelRequested,
            Event::RunReopened { round } => Self::RunReopened {
                round: Round(round),
            },
            Event::RunCompleted { result } => Self::RunCompleted {
                result: Json::from_trusted(result),
            },
            Event::RunFailed { reason, error } => Self::RunFailed {
                reason: reason.into(),
                error: error.into(),
            },
            Event::RunCancelled => Self::RunCancelled,
        }
    }
}

impl<'a> From<&'a event::Accepted> for Accepted<'a> {
    fn from(accepted: &'a event::Accepted) -> Self {
        Self {
            prompt: accepted.prompt.as_deref(),
            plan: accepted.plan.as_ref().map(Json::as_str),
            input: accepted.input.as_str(),
            labels: Labels::from(&accepted.labels),
            request_hash: accepted.request_hash,
            trace_id: accepted.trace_id.as_deref(),
        }
    }
}

impl From<Accepted<'_>> for event::Accepted {
    fn from(accepted: Accepted<'_>) -> Self {
        Self {
            prompt: accepted.prompt.map(Arc::from),
            plan: accepted.plan.map(Json::from_trusted),
            input: Json::from_trusted(accepted.input),
            labels: accepted.labels.into(),
            request_hash: accepted.request_hash,
            trace_id: accepted.trace_id.map(Arc::from),
        }
    }
}

impl<'a> From<&'a CoreError> for ToolError<'a> {
    fn from(error: &'a CoreError) -> Self {
        Self {
            kind: error.kind.into(),
            message: &error.message,
            retry_after: error.retry_after.map(|d| (d.as_secs(), d.subsec_nanos())),
        }
    }
}

impl From<ToolError<'_>> for CoreError {
    fn from(error: ToolError<'_>) -> Self {
        Self {
            kind: error.kind.into(),
            message: error.message.into(),
            // Clamped, because more than a second of nanoseconds may overflow the seconds.
            retry_after: error
                .retry_after
                .map(|(seconds, nanos)| Duration::new(seconds, nanos.min(999_999_999))),
        }
    }
}

super::mirror_enum!(
    FailureReason,
    CoreReason,
    [Step, Planning, Poisoned, Limit, Output]
);
super::mirror_enum!(
    ErrorKind,
    CoreKind,
    [
        InvalidInput,
        Transient,
        Permanent,
        Timeout,
        Unavailable,
        Panic,
        OutcomeUnknown,
        Expression,
        Limit,
        Interrupted
    ]
);
