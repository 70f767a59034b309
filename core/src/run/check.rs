//! Which records may follow on a run as it is. The rest is refused before anything has changed.

use super::messages::first_finding;
use super::{Phase, Run, StepStatus};
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

impl Run {
    /// Whether the record may follow. What is true of the run alone is checked here, what is true of
    /// a step in [`Run::check_step`].
    pub(super) fn check(&self, record: &Record) -> Result<(), FoldError> {
        if record.seq != self.seq.next() {
            return Err(FoldError::OutOfSequence {
                last: self.seq,
                found: record.seq,
            });
        }
        let quiet = self.running == 0 && self.timers.is_empty();
        let possible = match &record.event {
            Event::RunAccepted(_) => self.phase == Phase::Empty,
            Event::RunPlanned { .. } => self.phase == Phase::Pending && self.plan.is_none(),
            Event::RunStarted => self.phase == Phase::Pending && self.plan.is_some(),
            Event::RunCancelRequested => {
                matches!(self.phase, Phase::Pending | Phase::Running | Phase::Failing)
            }
            Event::RunReopened { round } => {
                matches!(self.phase, Phase::Failed | Phase::Cancelled)
                    && *round == self.round.next()
            }
            Event::RunCompleted { .. } => {
                self.phase == Phase::Running && self.ended == self.steps.len()
            }
            Event::RunFailed { .. } => quiet && self.is_open(),
            Event::RunCancelled => quiet && self.phase == Phase::Cancelling,
            Event::StepStarted { step, attempt, .. }
            | Event::StepAttemptFailed { step, attempt, .. }
            | Event::StepAttemptLost { step, attempt }
            | Event::StepCompleted { step, attempt, .. }
            | Event::StepFailed { step, attempt, .. }
            | Event::StepCancelled { step, attempt, .. } => {
                return self.check_step(record, *step, *attempt);
            }
            Event::StepSkipped { step } => return self.check_step(record, *step, Attempt(0)),
        };
        if possible {
            return Ok(());
        }
        Err(illegal(
            record,
            format!(
                "run is {} in round {} with {} of {} steps ended, {} running",
                self.phase.as_str(),
                self.round,
                self.ended,
                self.steps.len(),
                self.running
            ),
        ))
    }

    /// Whether the run has begun and not ended.
    fn is_open(&self) -> bool {
        match self.phase {
            Phase::Pending | Phase::Running | Phase::Failing | Phase::Cancelling => true,
            Phase::Empty | Phase::Completed | Phase::Failed | Phase::Cancelled => false,
        }
    }

    fn check_step(
        &self,
        record: &Record,
        step: StepIndex,
        attempt: Attempt,
    ) -> Result<(), FoldError> {
        let Some(state) = self.step(step) else {
            return Err(illegal(record, format!("there is no step {step}")));
        };
        let open = matches!(self.phase, Phase::Running | Phase::Failing);
        let released = state.status == StepStatus::Pending && state.blocked_by == 0;
        let waiting = state.status == StepStatus::Waiting;
        let current = attempt == state.attempt;
        let running = state.status == StepStatus::Running && current;
        let possible = match &record.event {
            Event::StepStarted { .. } => {
                self.phase == Phase::Running
                    && (released || waiting)
                    && attempt == state.attempt.next()
            }
            Event::StepAttemptFailed { .. } => self.phase == Phase::Running && running,
            Event::StepAttemptLost { .. } | Event::StepCompleted { .. } => open && running,
            Event::StepFailed { .. } => {
                let unstarted = (released || waiting) && (current || attempt == Attempt(0));
                open && (running || unstarted)
            }
            Event::StepSkipped { .. } => self.phase == Phase::Running && released,
            Event::StepCancelled { .. } => {
                let lost = released && state.attempt > Attempt(0);
                (open || self.phase == Phase::Cancelling) && current && (running || waiting || lost)
            }
            Event::RunAccepted(_)
            | Event::RunPlanned { .. }
            | Event::RunStarted
            | Event::RunCancelRequested
            | Event::RunReopened { .. }
            | Event::RunCompleted { .. }
            | Event::RunFailed { .. }
            | Event::RunCancelled => true,
        };
        if possible {
            return Ok(());
        }
        Err(illegal(
            record,
            format!(
                "run is {}, step {step} is {} in attempt {} with {} dependencies open, the event is \
                 of attempt {attempt}",
                self.phase.as_str(),
                state.status.as_str(),
                state.attempt,
                state.blocked_by
            ),
        ))
    }
}

fn illegal(record: &Record, detail: String) -> FoldError {
    FoldError::Illegal {
        seq: record.seq,
        event: record.event.name(),
        detail,
    }
}
