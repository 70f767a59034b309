//! Which records may follow on a run as it is. The rest is refused before anything has changed.

use super::messages::first_finding;
use super::{Phase, Run, StepState, StepStatus};
use crate::event::{Event, Record};
use crate::ids::{Attempt, Seq, StepIndex};
use crate::plan::Finding;

/// Why a record does not fit the run; the run is as it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FoldError {
    /// A record is missing, or comes twice.
    #[error("event {found} does not follow event {last}")]
    OutOfSequence {
        /// The run's last event.
        last: Seq,
        /// The record's place.
        found: Seq,
    },
    /// The event cannot happen to a run or step in this state.
    #[error("event {seq} ({event}) is not possible: {detail}")]
    Illegal {
        /// The record's place.
        seq: Seq,
        /// The event's type.
        event: &'static str,
        /// What stands against it.
        detail: String,
    },
    /// The plan in the event does not load.
    #[error("plan in event {seq} does not load: {}", first_finding(.findings))]
    Plan {
        /// The record's place.
        seq: Seq,
        /// What is wrong with the plan.
        findings: Vec<Finding>,
    },
}

/// How a step stands to an event about one of its attempts; of no meaning for an event of the run.
#[derive(Clone, Copy, Default)]
struct Standing {
    /// It waits for nothing but a place.
    released: bool,
    /// It is between two attempts.
    waiting: bool,
    /// It runs, and the event is about that attempt.
    running: bool,
    /// The event is about its last attempt.
    current: bool,
    /// The event is about the attempt after that.
    next: bool,
    /// The event is about no attempt.
    unstarted: bool,
    /// It has had an attempt.
    tried: bool,
}

impl Standing {
    fn of(state: &StepState, attempt: Attempt) -> Self {
        let current = attempt == state.attempt;
        Self {
            released: state.status == StepStatus::Pending && state.blocked_by == 0,
            waiting: state.status == StepStatus::Waiting,
            running: state.status == StepStatus::Running && current,
            current,
            next: attempt == state.attempt.next(),
            unstarted: attempt == Attempt(0),
            tried: state.attempt > Attempt(0),
        }
    }
}

impl Run {
    /// Whether the record may follow.
    pub(super) fn check(&self, record: &Record) -> Result<(), FoldError> {
        if record.seq != self.seq.next() {
            return Err(FoldError::OutOfSequence {
                last: self.seq,
                found: record.seq,
            });
        }
        let illegal = |detail| FoldError::Illegal {
            seq: record.seq,
            event: record.event.name(),
            detail,
        };
        let Some((step, attempt)) = record.event.step() else {
            return match self.may_follow(&record.event, Standing::default()) {
                true => Ok(()),
                false => Err(illegal(self.standing())),
            };
        };
        let Some(state) = self.step(step) else {
            return Err(illegal(format!("there is no step {step}")));
        };
        match self.may_follow(&record.event, Standing::of(state, attempt)) {
            true => Ok(()),
            false => Err(illegal(self.standing_of(step, state, attempt))),
        }
    }

    fn may_follow(&self, event: &Event, step: Standing) -> bool {
        let open = matches!(self.phase, Phase::Running | Phase::Failing);
        let quiet = self.running == 0 && self.timers.is_empty();
        match event {
            Event::RunAccepted(_) => self.phase == Phase::Empty,
            Event::RunPlanned { .. } => self.phase == Phase::Pending && self.plan.is_none(),
            Event::RunStarted => self.phase == Phase::Pending && self.plan.is_some(),
            Event::RunCancelRequested => open || self.phase == Phase::Pending,
            Event::RunReopened { round } => {
                matches!(self.phase, Phase::Failed | Phase::Cancelled)
                    && *round == self.round.next()
            }
            Event::RunCompleted { .. } => {
                self.phase == Phase::Running && self.ended == self.steps.len()
            }
            Event::RunFailed { .. } => {
                quiet && (open || matches!(self.phase, Phase::Pending | Phase::Cancelling))
            }
            Event::RunCancelled => quiet && self.phase == Phase::Cancelling,
            Event::StepStarted { .. } => {
                self.phase == Phase::Running && (step.released || step.waiting) && step.next
            }
            Event::StepAttemptFailed { .. } => self.phase == Phase::Running && step.running,
            Event::StepAttemptLost { .. } | Event::StepCompleted { .. } => open && step.running,
            Event::StepFailed { .. } => {
                let idle = (step.released || step.waiting) && (step.current || step.unstarted);
                open && (step.running || idle)
            }
            Event::StepSkipped { .. } => self.phase == Phase::Running && step.released,
            Event::StepCancelled { .. } => {
                let idle = step.current && (step.waiting || (step.released && step.tried));
                (open || self.phase == Phase::Cancelling) && (step.running || idle)
            }
        }
    }

    /// Where the run stands, for people.
    fn standing(&self) -> String {
        format!(
            "run is {} in round {} with {} of {} steps ended, {} running",
            self.phase.as_str(),
            self.round,
            self.ended,
            self.steps.len(),
            self.running
        )
    }

    /// Where a step stands, for people.
    fn standing_of(&self, step: StepIndex, state: &StepState, attempt: Attempt) -> String {
        format!(
            "run is {}, step {step} is {} in attempt {} with {} dependencies open, the event is of \
             attempt {attempt}",
            self.phase.as_str(),
            state.status.as_str(),
            state.attempt,
            state.blocked_by
        )
    }
}
