//! A run and its state machine.
//!
//! ```text
//!            Submit            Start                      (all steps ended)
//!   (empty) ────────> Pending ───────> Running ───────────────────────────> Ended(Completed)
//!                        │                │  │ a step fails ─> Failing ────> Ended(Failed)
//!                        └── Cancel ──────┴──┴─> Cancelling ──────────────> Ended(Cancelled)
//!   Ended(Failed | Cancelled) ── Retry ──> Running (round + 1)
//! ```
//!
//! This file holds the state alone. What may happen to it lives below, one way in each direction:
//!
//! ```text
//!   Input ──> decide ──> events ──> fold (apply) ──> Run ──> view
//!                │          ▲                         │
//!                │       schedule  <──────────────────┘   what may start or end next
//!                └──> effects
//!   turn: all of the above for a batch of inputs, numbered and ready to be appended
//! ```

mod check;
mod decide;
mod ending;
mod evaluate;
mod fold;
mod messages;
pub mod order;
pub mod read;
mod recover;
mod reopen;
mod report;
mod schedule;
#[cfg(test)]
mod tests;
mod turn;
pub mod view;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

pub use check::FoldError;
pub use decide::decide;
pub use messages::{Decision, Effect, Input, Outcome, Rejected, StartStep, Submission, Turn};
pub use recover::resume;

use crate::event::{Accepted, FailureReason};
use crate::ids::{Attempt, Round, RunId, Seq, StepIndex};
use crate::json::Json;
use crate::plan::Plan;
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

    /// Whether a run with this status can be opened again.
    pub fn is_reopenable(self) -> bool {
        matches!(self, Self::Failed | Self::Cancelled)
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

    /// Whether a step with this status has ended, for this round at least.
    pub fn is_ended(self) -> bool {
        match self {
            Self::Completed | Self::Failed | Self::Skipped | Self::Cancelled => true,
            Self::Pending | Self::Running | Self::Waiting => false,
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

impl Phase {
    /// The phase in words, for messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Failing => "failing",
            Self::Cancelling => "cancelling",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// State of one step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StepState {
    /// Where it stands.
    pub status: StepStatus,
    /// Last attempt started; 0 before the first.
    pub attempt: Attempt,
    /// Attempts of this round that failed; those that were interrupted do not count.
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
    /// Steps between two attempts, by the time when the next one is due.
    timers: BTreeSet<(Timestamp, StepIndex)>,
    /// Steps that are running.
    running: usize,
    /// Steps that have ended (completed, failed, skipped, cancelled).
    ended: usize,
    /// Bytes of payloads and events so far.
    bytes: usize,
    /// The step whose failure the run fails with.
    first_failure: Option<StepIndex>,
    /// Whether the run was given a slot before it had a plan. Memory of the live actor and no fact:
    /// whoever loads the run again gives it a slot again.
    slot: bool,
    /// The compiled form of the plan that the next event brings, if the caller has it at hand.
    attached: Option<Arc<Plan>>,
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
            timers: BTreeSet::new(),
            running: 0,
            ended: 0,
            bytes: 0,
            first_failure: None,
            slot: false,
            attached: None,
        }
    }

    /// What users see of the run's progress.
    pub fn status(&self) -> RunStatus {
        match self.phase {
            Phase::Empty | Phase::Pending => RunStatus::Pending,
            Phase::Running
                if self.running == 0 && !self.timers.is_empty() && self.ready.is_empty() =>
            {
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
        self.timers.first().map(|(at, _)| *at)
    }

    /// Bytes that the run's payloads and events take, as the run's limit counts them.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The step's state.
    pub fn step(&self, step: StepIndex) -> Option<&StepState> {
        self.steps.get(step.position())
    }

    /// The steps with this status, in the order of the plan.
    fn steps_that_are(&self, status: StepStatus) -> impl Iterator<Item = (StepIndex, &StepState)> {
        self.steps
            .iter()
            .enumerate()
            .filter(move |(_, state)| state.status == status)
            .map(|(position, state)| (StepIndex::from_position(position), state))
    }
}

impl PartialEq for Run {
    /// Equal when every durable fact about them is: plans are compared by their text, and what only
    /// the live actor remembers (a slot given early, an attached plan) does not count.
    fn eq(&self, other: &Self) -> bool {
        let facts = |run: &Self| (run.id, run.phase, run.round, run.seq, run.failure);
        let times = |run: &Self| (run.created_at, run.started_at, run.completed_at);
        let counts = |run: &Self| (run.running, run.ended, run.bytes, run.first_failure);
        let text = |run: &Self| run.plan.as_ref().map(|plan| plan.source.clone());
        facts(self) == facts(other)
            && times(self) == times(other)
            && counts(self) == counts(other)
            && self.accepted == other.accepted
            && text(self) == text(other)
            && self.steps == other.steps
            && self.result == other.result
            && self.error == other.error
            && self.ready == other.ready
            && self.timers == other.timers
    }
}
