//! What goes into a run and what comes out: inputs, effects, refusals, and the outcome of a turn.
//!
//! Data only; which input leads to what is in [`super::decide`].

use std::sync::Arc;
use std::time::Duration;

use super::RunStatus;
use crate::event::{Accepted, Event, Record};
use crate::ids::{Attempt, Round, Seq, StepIndex, ToolName};
use crate::json::Json;
use crate::plan::{Delivery, Finding, Plan};
use crate::time::Timestamp;
use crate::tool::ToolError;

/// What may arrive at a run.
#[derive(Clone, Debug)]
pub enum Input {
    /// The run is submitted. Only for an empty run.
    Submit(Box<Submission>),
    /// The planner is done with the run's prompt.
    Planned(Result<Arc<Plan>, Arc<str>>),
    /// The run got a slot.
    Start,
    /// An attempt ended.
    StepReported {
        /// The step.
        step: StepIndex,
        /// The attempt.
        attempt: Attempt,
        /// How.
        outcome: Outcome,
        /// How long it took, in microseconds.
        duration_us: u64,
    },
    /// The earliest timer is due.
    TimerFired,
    /// Somebody wants the run cancelled.
    Cancel,
    /// Somebody wants the ended run to go on.
    Retry,
    /// The run was loaded from the store after its process or actor died.
    Recovered,
    /// The supervisor gives the run up: its actor failed too often.
    Poison(Arc<str>),
}

/// What is submitted.
#[derive(Clone, Debug)]
pub struct Submission {
    /// What becomes the first event.
    pub accepted: Accepted,
    /// The compiled plan, when the run is submitted as one and the caller has it at hand; it counts
    /// only if it was compiled from the very text in `accepted`.
    pub plan: Option<Arc<Plan>>,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// With this output.
    Completed(Json),
    /// With this error.
    Failed(ToolError),
    /// Aborted on request, without an outcome.
    Aborted,
    /// Cut off, without an outcome, because its node is stopped in good order.
    Interrupted,
}

/// Something to do once the events it follows from are durable.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Ask the planner for a plan.
    MakePlan {
        /// The goal in words.
        prompt: Arc<str>,
    },
    /// Start an attempt of a step.
    StartStep(Box<StartStep>),
    /// Abort a running attempt.
    AbortStep {
        /// The step.
        step: StepIndex,
        /// The attempt.
        attempt: Attempt,
    },
    /// Wake the run at this time with `TimerFired`; replaces an earlier one.
    SetTimer {
        /// When.
        at: Timestamp,
    },
    /// Tell subscribers about the events up to this one.
    Publish {
        /// The last event.
        upto: Seq,
    },
    /// The run has ended: its actor may go.
    Close,
}

/// An attempt that is to be started.
#[derive(Clone, Debug, PartialEq)]
pub struct StartStep {
    /// The step.
    pub step: StepIndex,
    /// The attempt.
    pub attempt: Attempt,
    /// The round it belongs to; run, step and round make the idempotency key.
    pub round: Round,
    /// The tool to call.
    pub tool: ToolName,
    /// The resolved input.
    pub input: Json,
    /// Longest time; `None` means what the tool declares.
    pub timeout: Option<Duration>,
    /// Whether an attempt of unknown outcome may be repeated.
    pub delivery: Delivery,
}

/// Why an input was refused; the run is as it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// The run has ended (or not ended, for a retry).
    #[error("run is {status}: {input} is not possible", status = status.as_str())]
    WrongStatus {
        /// What was asked.
        input: &'static str,
        /// The run's status.
        status: RunStatus,
    },
    /// A report of an attempt that is not the current one, or of no such step.
    #[error("report of step {step} attempt {attempt} is stale")]
    Stale {
        /// The step.
        step: StepIndex,
        /// The attempt.
        attempt: Attempt,
    },
    /// The submitted plan does not load; a caller that checked it first never sees this.
    #[error("plan does not load: {}", first_finding(.findings))]
    Plan {
        /// What is wrong with it.
        findings: Vec<Finding>,
    },
}

/// The first finding in words; the rest is for programs.
pub(super) fn first_finding(findings: &[Finding]) -> String {
    findings.first().map_or_else(
        || "no finding was given".to_owned(),
        |finding| format!("{}: {}", finding.path, finding.message),
    )
}

/// What one input leads to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decision {
    /// The facts, in order.
    pub events: Vec<Event>,
    /// What to do once they are durable.
    pub effects: Vec<Effect>,
}

/// What a turn of a run came to: one batch of events and what follows from them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Turn {
    /// The events, already applied, to be appended as one batch.
    pub records: Vec<Record>,
    /// What to do once they are durable (or at once, when the turn is not eager).
    pub effects: Vec<Effect>,
    /// Whether the batch asks for a sync; a lazy one may ride with the next eager one.
    pub eager: bool,
}
