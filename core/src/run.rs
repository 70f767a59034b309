//! A run and its state machine.
//!
//! ```text
//!            Submit            Start                      (all steps ended)
//!   (empty) ────────> Pending ───────> Running ───────────────────────────> Ended(Completed)
//!                        │                │  │ a step fails ─> Failing ────> Ended(Failed)
//!                        └── Cancel ──────┴──┴─> Cancelling ──────────────> Ended(Cancelled)
//!   Ended(Failed | Cancelled) ── Retry ──> Running (round + 1)
//! ```

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::event::{Accepted, FailureReason, Labels, Record};
use crate::ids::{Attempt, Round, RunId, Seq, StepIndex, ToolName};
use crate::json::Json;
use crate::plan::{Delivery, Plan};
use crate::time::Timestamp;
use crate::tool::ToolError;

/// What users see of a run's progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RunStatus {
    /// Accepted, waiting for a slot or a plan.
    Pending,
    /// At least one step is running, or could.
    Running,
    /// Only back-offs or timers are outstanding.
    Waiting,
    /// Ended well.
    Completed,
    /// Ended badly.
    Failed,
    /// Ended by request.
    Cancelled,
}

impl RunStatus {
    /// All statuses.
    pub const ALL: [Self; 6] = [
        Self::Pending,
        Self::Running,
        Self::Waiting,
        Self::Completed,
        Self::Failed,
        Self::Cancelled,
    ];

    /// The status as users read it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether a run with this status has ended.
    pub fn is_ended(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }
}

/// Where a step stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum StepStatus {
    /// Not started.
    #[default]
    Pending,
    /// An attempt is under way.
    Running,
    /// Between two attempts.
    Waiting,
    /// Done.
    Completed,
    /// Failed for good.
    Failed,
    /// Its `when` was false.
    Skipped,
    /// Aborted with its run.
    Cancelled,
}

impl StepStatus {
    /// The status as users and expressions read it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Where a run stands; [`RunStatus`] is derived from it and the steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Phase {
    /// No event yet.
    #[default]
    Empty,
    /// Accepted; waits for a plan or a slot.
    Pending,
    /// Steps may start.
    Running,
    /// A step failed; nothing new starts, running steps end.
    Failing,
    /// Cancellation is durable; running steps are being aborted.
    Cancelling,
    /// Ended well.
    Completed,
    /// Ended badly.
    Failed,
    /// Ended by request.
    Cancelled,
}

/// State of one step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StepState {
    /// Where it stands.
    pub status: StepStatus,
    /// Last attempt started; 0 before the first.
    pub attempt: Attempt,
    /// Attempts of this round that failed.
    pub failed_attempts: u32,
    /// Attempts lost to crashes, over all rounds.
    pub lost_attempts: u32,
    /// Dependencies that have not ended.
    pub blocked_by: u32,
    /// When the next attempt is due, while waiting.
    pub retry_at: Option<Timestamp>,
    /// Resolved input of the last attempt.
    pub input: Option<Json>,
    /// Output, once completed.
    pub output: Option<Json>,
    /// Why it failed, once failed; the last attempt's error while waiting.
    pub error: Option<ToolError>,
    /// When its first attempt of this round started.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub completed_at: Option<Timestamp>,
    /// Time of the last attempt, in microseconds.
    pub duration_us: u64,
}

/// A run: the fold of its events.
#[derive(Clone, Debug)]
pub struct Run {
    /// Its identity.
    pub id: RunId,
    /// What it was asked to do; `None` before the first event.
    pub accepted: Option<Arc<Accepted>>,
    /// Its plan, once there is one.
    pub plan: Option<Arc<Plan>>,
    /// Where it stands.
    pub phase: Phase,
    /// How often it was opened.
    pub round: Round,
    /// Its last event.
    pub seq: Seq,
    /// Its steps, in the order of the plan; empty before there is a plan.
    pub steps: Vec<StepState>,
    /// Its result, once completed.
    pub result: Option<Json>,
    /// Why it failed, once failed.
    pub error: Option<Arc<str>>,
    /// Why it failed, as one of a few kinds.
    pub failure: Option<FailureReason>,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When its first round got a slot.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub completed_at: Option<Timestamp>,
    /// Steps whose dependencies have ended and that have not started, in the order of release.
    ready: VecDeque<StepIndex>,
    /// Steps that are running.
    running: usize,
    /// Steps between two attempts.
    waiting: usize,
    /// Steps that have ended (completed, failed, skipped, cancelled).
    ended: usize,
    /// Bytes of payloads and events so far.
    bytes: usize,
}

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
    /// The compiled plan, when the run is submitted as one.
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
}

/// What one input leads to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decision {
    /// The facts, in order.
    pub events: Vec<crate::event::Event>,
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

impl Run {
    /// The run before its first event.
    pub fn empty(id: RunId) -> Self {
        Self {
            id,
            accepted: None,
            plan: None,
            phase: Phase::Empty,
            round: Round(1),
            seq: Seq(0),
            steps: Vec::new(),
            result: None,
            error: None,
            failure: None,
            created_at: Timestamp(0),
            started_at: None,
            completed_at: None,
            ready: VecDeque::new(),
            running: 0,
            waiting: 0,
            ended: 0,
            bytes: 0,
        }
    }

    /// What users see of the run's progress.
    pub fn status(&self) -> RunStatus {
        match self.phase {
            Phase::Empty | Phase::Pending => RunStatus::Pending,
            Phase::Running if self.running == 0 && self.waiting > 0 && self.ready.is_empty() => {
                RunStatus::Waiting
            }
            Phase::Running | Phase::Failing | Phase::Cancelling => RunStatus::Running,
            Phase::Completed => RunStatus::Completed,
            Phase::Failed => RunStatus::Failed,
            Phase::Cancelled => RunStatus::Cancelled,
        }
    }

    /// When the earliest timer of the run is due; `None` when nothing waits.
    pub fn wake_at(&self) -> Option<Timestamp> {
        if self.waiting == 0 {
            return None;
        }
        self.steps.iter().filter_map(|step| step.retry_at).min()
    }
}
