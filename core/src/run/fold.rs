//! The fold: how each event changes a run, the same live and on replay.
//!
//! ```text
//!   apply(record) = check (may refuse, changes nothing)  then  absorb (cannot fail)
//! ```
//!
//! Nothing is decided here and nothing is evaluated: what a template came to is in the event.

use std::borrow::Borrow;
use std::sync::Arc;

use super::check::FoldError;
use super::{Phase, Run, StepState, StepStatus};
use crate::event::{Accepted, Event, Record};
use crate::ids::{Attempt, RunId, StepIndex};
use crate::json::Json;
use crate::plan::{OnError, Plan};
use crate::time::Timestamp;
use crate::tool::{ErrorKind, ToolError};

/// What an event costs beside its payload, in bytes: frame, numbers, and its share of the state.
pub(super) const EVENT_BYTES: usize = 48;

impl Run {
    /// The run that these records tell of. `plan` gives the compiled form of a plan's text when the
    /// caller has it (a cache); otherwise the text is compiled here.
    ///
    /// # Errors
    /// As [`Run::apply`], for the first record that does not fit.
    pub fn fold<R: Borrow<Record>>(
        id: RunId,
        records: impl IntoIterator<Item = R>,
        mut plan: impl FnMut(&Json) -> Option<Arc<Plan>>,
    ) -> Result<Self, FoldError> {
        let mut run = Self::empty(id);
        for record in records {
            run.apply_with(record.borrow(), &mut plan)?;
        }
        Ok(run)
    }

    /// As [`Run::apply`], with the compiled form of a plan's text from `plan` when the caller has it
    /// (a cache).
    ///
    /// # Errors
    /// As [`Run::apply`].
    pub fn apply_with(
        &mut self,
        record: &Record,
        plan: impl FnOnce(&Json) -> Option<Arc<Plan>>,
    ) -> Result<(), FoldError> {
        if let Some(compiled) = record.event.plan().and_then(plan) {
            self.attached = Some(compiled);
        }
        self.apply(record)
    }

    /// Changes the run as the record says.
    ///
    /// # Errors
    /// When the record is out of sequence, cannot happen to the run as it is, or brings a plan that
    /// does not load. The run is then as it was.
    pub fn apply(&mut self, record: &Record) -> Result<(), FoldError> {
        self.check(record)?;
        if let Some(text) = record.event.plan()
            && !self.has_attached(text)
        {
            let plan = Plan::load(text).map_err(|findings| FoldError::Plan {
                seq: record.seq,
                findings,
            })?;
            self.attached = Some(Arc::new(plan));
        }
        self.absorb(record);
        Ok(())
    }

    /// Whether the attached plan was compiled from this text.
    pub(super) fn has_attached(&self, text: &Json) -> bool {
        self.attached
            .as_ref()
            .is_some_and(|plan| plan.source == *text)
    }

    /// Changes the run by a record that was checked, or that was decided on this very state.
    pub(super) fn absorb(&mut self, record: &Record) {
        self.seq = record.seq;
        self.bytes += EVENT_BYTES + record.event.payload_bytes();
        if let Some((step, _)) = record.event.step() {
            self.leave(step);
        }
        let at = record.at;
        match &record.event {
            Event::RunAccepted(accepted) => self.accept(accepted, at),
            Event::RunPlanned { plan } => self.adopt_plan(plan),
            Event::RunStarted => {
                self.phase = Phase::Running;
                self.started_at = self.started_at.or(Some(at));
            }
            Event::RunCancelRequested => self.phase = Phase::Cancelling,
            Event::RunReopened { round } => self.reopen(*round, at),
            Event::RunCompleted { result } => {
                self.result = Some(result.clone());
                self.end(Phase::Completed, at);
            }
            Event::RunFailed { reason, error } => {
                self.error = Some(Arc::clone(error));
                self.failure = Some(*reason);
                self.end(Phase::Failed, at);
            }
            Event::RunCancelled => self.end(Phase::Cancelled, at),
            Event::StepStarted {
                step,
                attempt,
                input,
            } => {
                self.running += 1;
                self.change(*step, |state| state.start(*attempt, input, at));
            }
            Event::StepAttemptFailed {
                step,
                error,
                retry_at,
                duration_us,
                ..
            } => {
                self.timers.insert((*retry_at, *step));
                self.change(*step, |state| state.wait(error, *retry_at, *duration_us));
            }
            Event::StepAttemptLost { step, .. } => {
                self.ready.push_back(*step);
                self.change(*step, StepState::lose);
            }
            Event::StepCompleted {
                step,
                output,
                duration_us,
                ..
            } => self.finish(*step, |state| state.complete(output, *duration_us, at)),
            Event::StepFailed {
                step,
                error,
                duration_us,
                ..
            } => {
                self.finish(*step, |state| state.fail(error, *duration_us, at));
                self.note_failure(*step);
            }
            Event::StepSkipped { step } => self.finish(*step, |state| state.skip(at)),
            Event::StepCancelled { step, .. } => self.finish(*step, |state| state.cancel(at)),
        }
    }

    fn accept(&mut self, accepted: &Accepted, at: Timestamp) {
        self.phase = Phase::Pending;
        self.created_at = at;
        self.accepted = Some(Arc::new(accepted.clone()));
        if let Some(text) = &accepted.plan {
            self.adopt_plan(text);
        }
    }

    fn change(&mut self, step: StepIndex, change: impl FnOnce(&mut StepState)) {
        if let Some(state) = self.steps.get_mut(step.position()) {
            change(state);
        }
    }

    /// A change after which the step has ended.
    fn finish(&mut self, step: StepIndex, change: impl FnOnce(&mut StepState)) {
        self.change(step, change);
        self.release_dependents(step);
    }

    /// Takes the step out of the list that its status put it in.
    fn leave(&mut self, step: StepIndex) {
        let Some(state) = self.steps.get_mut(step.position()) else {
            return;
        };
        match state.status {
            StepStatus::Running => self.running -= 1,
            StepStatus::Waiting => {
                if let Some(at) = state.retry_at.take() {
                    self.timers.remove(&(at, step));
                }
            }
            // Steps leave in the order in which they were released, but for one that was lost just
            // now: the search is for journals of a scheduler with another order.
            StepStatus::Pending => {
                if self.ready.front() == Some(&step) {
                    self.ready.pop_front();
                } else if self.ready.back() == Some(&step) {
                    self.ready.pop_back();
                } else if let Some(place) = self.ready.iter().position(|other| *other == step) {
                    self.ready.remove(place);
                }
            }
            StepStatus::Completed
            | StepStatus::Failed
            | StepStatus::Skipped
            | StepStatus::Cancelled => {}
        }
    }

    /// Counts the step as ended and makes those ready that waited for it last.
    fn release_dependents(&mut self, step: StepIndex) {
        self.ended += 1;
        let Some(definition) = self
            .plan
            .as_ref()
            .and_then(|plan| plan.steps.get(step.position()))
        else {
            return;
        };
        for dependent in &definition.dependents {
            let Some(state) = self.steps.get_mut(dependent.position()) else {
                continue;
            };
            state.blocked_by = state.blocked_by.saturating_sub(1);
            if state.blocked_by == 0 && state.status == StepStatus::Pending {
                self.ready.push_back(*dependent);
            }
        }
    }

    /// The first failure that the plan does not allow for stops the run from starting anything.
    fn note_failure(&mut self, step: StepIndex) {
        let fatal = self
            .plan
            .as_ref()
            .and_then(|plan| plan.steps.get(step.position()))
            .is_some_and(|definition| definition.on_error == OnError::Fail);
        if fatal && self.first_failure.is_none() {
            self.first_failure = Some(step);
            if self.phase == Phase::Running {
                self.phase = Phase::Failing;
            }
        }
    }

    fn adopt_plan(&mut self, text: &Json) {
        let Some(plan) = self.attached.take().filter(|plan| plan.source == *text) else {
            return;
        };
        self.steps = plan
            .steps
            .iter()
            .map(|step| StepState {
                blocked_by: u32::try_from(step.depends_on.len()).unwrap_or(u32::MAX),
                ..StepState::default()
            })
            .collect();
        self.plan = Some(plan);
        self.collect_ready();
    }

    /// Puts every unblocked pending step in the ready queue, in the order of the plan.
    pub(super) fn collect_ready(&mut self) {
        self.ready.clear();
        for (position, state) in self.steps.iter().enumerate() {
            if state.status == StepStatus::Pending && state.blocked_by == 0 {
                self.ready.push_back(StepIndex::from_position(position));
            }
        }
    }

    fn end(&mut self, phase: Phase, at: Timestamp) {
        self.phase = phase;
        self.completed_at = Some(at);
    }
}

impl StepState {
    fn start(&mut self, attempt: Attempt, input: &Json, at: Timestamp) {
        self.status = StepStatus::Running;
        self.attempt = attempt;
        self.input = Some(input.clone());
        self.error = None;
        self.started_at = self.started_at.or(Some(at));
    }

    fn wait(&mut self, error: &ToolError, retry_at: Timestamp, duration_us: u64) {
        self.status = StepStatus::Waiting;
        self.failed_attempts += u32::from(error.kind != ErrorKind::Interrupted);
        self.retry_at = Some(retry_at);
        self.error = Some(error.clone());
        self.duration_us = duration_us;
    }

    fn lose(&mut self) {
        self.status = StepStatus::Pending;
        self.lost_attempts += 1;
    }

    fn complete(&mut self, output: &Json, duration_us: u64, at: Timestamp) {
        self.output = Some(output.clone());
        self.duration_us = duration_us;
        self.end(StepStatus::Completed, at);
    }

    fn fail(&mut self, error: &ToolError, duration_us: u64, at: Timestamp) {
        self.failed_attempts += 1;
        self.error = Some(error.clone());
        self.duration_us = duration_us;
        self.end(StepStatus::Failed, at);
    }

    fn skip(&mut self, at: Timestamp) {
        self.duration_us = 0;
        self.end(StepStatus::Skipped, at);
    }

    fn cancel(&mut self, at: Timestamp) {
        self.end(StepStatus::Cancelled, at);
    }

    fn end(&mut self, status: StepStatus, at: Timestamp) {
        self.status = status;
        self.completed_at = Some(at);
    }
}
