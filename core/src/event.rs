//! Durable facts about a run. What is not an event did not happen.
//!
//! Steps are named by their index in the plan, so that an event stays small; the JSON form that
//! users see (with the step's id) is made by [`crate::run::view`].

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::ids::{Attempt, Round, Seq, StepIndex};
use crate::json::Json;
use crate::time::Timestamp;
use crate::tool::ToolError;

/// Labels of a run, sorted by key.
pub type Labels = BTreeMap<String, String>;

/// One event with its place in the run's sequence.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Place in the run, from 1 without gaps.
    pub seq: Seq,
    /// When it was decided.
    pub at: Timestamp,
    /// What happened.
    pub event: Event,
}

/// What a run was asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The goal in words, when the run was submitted as a prompt.
    pub prompt: Option<Arc<str>>,
    /// The plan as written (JSON text), when the run was submitted as a plan.
    pub plan: Option<Json>,
    /// The run's input: the plan's defaults overlaid with the request's input. For a prompt, the
    /// request's input.
    pub input: Json,
    /// Labels given by the caller.
    pub labels: Labels,
    /// Hash of the canonical request, when it came with an idempotency key.
    pub request_hash: Option<u128>,
    /// W3C trace id that the lines and calls of this run carry.
    pub trace_id: Option<Arc<str>>,
}

/// Why a run failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureReason {
    /// A step failed.
    Step,
    /// No plan could be made of the prompt.
    Planning,
    /// The run crashed its actor or its process too often.
    Poisoned,
    /// The run passed a limit.
    Limit,
    /// The plan's `output` could not be evaluated.
    Output,
}

impl FailureReason {
    /// All reasons.
    pub const ALL: [Self; 5] = [
        Self::Step,
        Self::Planning,
        Self::Poisoned,
        Self::Limit,
        Self::Output,
    ];

    /// The reason as users read it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Step => "step_failed",
            Self::Planning => "planning_failed",
            Self::Poisoned => "poisoned",
            Self::Limit => "limit_exceeded",
            Self::Output => "output_failed",
        }
    }
}

/// A durable fact.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The run exists and will be carried out. Always the first event.
    RunAccepted(Box<Accepted>),
    /// The planner made this plan (JSON text).
    RunPlanned {
        /// The plan as the planner wrote it.
        plan: Json,
    },
    /// The run got a slot and its first steps may start.
    RunStarted,
    /// An attempt of a step starts with this input.
    StepStarted {
        /// The step.
        step: StepIndex,
        /// The attempt.
        attempt: Attempt,
        /// The resolved input (JSON text).
        input: Json,
    },
    /// An attempt failed and another one follows at `retry_at`. One that was interrupted by the stop
    /// of its node is no failure of the step, and does not count as one.
    StepAttemptFailed {
        /// The step.
        step: StepIndex,
        /// The attempt.
        attempt: Attempt,
        /// What went wrong.
        error: ToolError,
        /// When the next attempt is due.
        retry_at: Timestamp,
        /// How long the attempt took, in microseconds.
        duration_us: u64,
    },
    /// An attempt ended with its process: nothing is known of its outcome.
    StepAttemptLost {
        /// The step.
        step: StepIndex,
        /// The attempt.
        attempt: Attempt,
    },
    /// The step is done; it never runs again.
    StepCompleted {
        /// The step.
        step: StepIndex,
        /// The attempt that did it.
        attempt: Attempt,
        /// The output (JSON text).
        output: Json,
        /// How long the attempt took, in microseconds.
        duration_us: u64,
    },
    /// The step failed for good.
    StepFailed {
        /// The step.
        step: StepIndex,
        /// The last attempt; 0 when the step failed before its first.
        attempt: Attempt,
        /// What went wrong.
        error: ToolError,
        /// How long the last attempt took, in microseconds.
        duration_us: u64,
    },
    /// The step's `when` was false.
    StepSkipped {
        /// The step.
        step: StepIndex,
    },
    /// The step was under way when the run was cancelled.
    StepCancelled {
        /// The step.
        step: StepIndex,
        /// The attempt that was aborted.
        attempt: Attempt,
        /// Its outcome, when it reported one after the cancellation was durable; it counts for
        /// nothing, and is kept for the audit.
        late: Option<Json>,
    },
    /// Somebody asked for the run to be cancelled.
    RunCancelRequested,
    /// An ended run goes on in a new round.
    RunReopened {
        /// The new round.
        round: Round,
    },
    /// The run ended well.
    RunCompleted {
        /// Its result (JSON text).
        result: Json,
    },
    /// The run failed.
    RunFailed {
        /// Why, as one of a few kinds.
        reason: FailureReason,
        /// Why, in words: `STEP: message` for a failed step.
        error: Arc<str>,
    },
    /// The run was cancelled.
    RunCancelled,
}

impl Event {
    /// The type as users read it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::RunAccepted(_) => "run_accepted",
            Self::RunPlanned { .. } => "run_planned",
            Self::RunStarted => "run_started",
            Self::StepStarted { .. } => "step_started",
            Self::StepAttemptFailed { .. } => "step_attempt_failed",
            Self::StepAttemptLost { .. } => "step_attempt_lost",
            Self::StepCompleted { .. } => "step_completed",
            Self::StepFailed { .. } => "step_failed",
            Self::StepSkipped { .. } => "step_skipped",
            Self::StepCancelled { .. } => "step_cancelled",
            Self::RunCancelRequested => "run_cancel_requested",
            Self::RunReopened { .. } => "run_reopened",
            Self::RunCompleted { .. } => "run_completed",
            Self::RunFailed { .. } => "run_failed",
            Self::RunCancelled => "run_cancelled",
        }
    }

    /// Whether this event ends a round of its run.
    pub fn is_terminal(&self) -> bool {
        matches!(
            self,
            Self::RunCompleted { .. } | Self::RunFailed { .. } | Self::RunCancelled
        )
    }

    /// The text of the plan that this event brings, if it brings one.
    pub fn plan(&self) -> Option<&Json> {
        match self {
            Self::RunAccepted(accepted) => accepted.plan.as_ref(),
            Self::RunPlanned { plan } => Some(plan),
            Self::RunStarted
            | Self::StepStarted { .. }
            | Self::StepAttemptFailed { .. }
            | Self::StepAttemptLost { .. }
            | Self::StepCompleted { .. }
            | Self::StepFailed { .. }
            | Self::StepSkipped { .. }
            | Self::StepCancelled { .. }
            | Self::RunCancelRequested
            | Self::RunReopened { .. }
            | Self::RunCompleted { .. }
            | Self::RunFailed { .. }
            | Self::RunCancelled => None,
        }
    }

    /// The step and attempt this event is about, if any.
    pub fn step(&self) -> Option<(StepIndex, Attempt)> {
        match self {
            Self::StepStarted { step, attempt, .. }
            | Self::StepAttemptFailed { step, attempt, .. }
            | Self::StepAttemptLost { step, attempt }
            | Self::StepCompleted { step, attempt, .. }
            | Self::StepFailed { step, attempt, .. }
            | Self::StepCancelled { step, attempt, .. } => Some((*step, *attempt)),
            Self::StepSkipped { step } => Some((*step, Attempt(0))),
            Self::RunAccepted(_)
            | Self::RunPlanned { .. }
            | Self::RunStarted
            | Self::RunCancelRequested
            | Self::RunReopened { .. }
            | Self::RunCompleted { .. }
            | Self::RunFailed { .. }
            | Self::RunCancelled => None,
        }
    }

    /// Bytes of what the event carries: texts, inputs, outputs.
    pub fn payload_bytes(&self) -> usize {
        let json = |json: &Option<Json>| json.as_ref().map_or(0, Json::size);
        match self {
            Self::RunAccepted(accepted) => {
                let prompt = accepted.prompt.as_ref().map_or(0, |prompt| prompt.len());
                let label = |(key, value): (&String, &String)| key.len() + value.len();
                let labels: usize = accepted.labels.iter().map(label).sum();
                prompt + json(&accepted.plan) + accepted.input.size() + labels
            }
            Self::RunPlanned { plan } => plan.size(),
            Self::StepStarted { input, .. } => input.size(),
            Self::StepCompleted { output, .. } => output.size(),
            Self::StepAttemptFailed { error, .. } | Self::StepFailed { error, .. } => {
                error.message.len()
            }
            Self::StepCancelled { late, .. } => json(late),
            Self::RunCompleted { result } => result.size(),
            Self::RunFailed { error, .. } => error.len(),
            Self::RunStarted
            | Self::StepAttemptLost { .. }
            | Self::StepSkipped { .. }
            | Self::RunCancelRequested
            | Self::RunReopened { .. }
            | Self::RunCancelled => 0,
        }
    }
}
