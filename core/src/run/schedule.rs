//! What may start next, and what follows from a run's state without any input.
//!
//! ```text
//!   due timers ──┐
//!                ├──> when? ── false ──> StepSkipped
//!   ready queue ─┘     │ true            (dependents become ready)
//!                      └──> input ─────> StepStarted + StartStep
//! ```
//!
//! Every step is looked at once per release: the queue and the timers are kept by the fold, and no
//! path here walks over all steps of a plan unless the run is ending.

use super::evaluate;
use super::messages::{Decision, Effect, StartStep, Turn};
use super::report::over_payload;
use super::{Phase, Run};
use crate::event::{Event, FailureReason, Record};
use crate::ids::{Attempt, StepIndex};
use crate::json::Json;
use crate::limits::Limits;
use crate::plan::Delivery;
use crate::time::Timestamp;
use crate::tool::ToolError;

/// What becomes of a step that may start.
enum Start {
    With(Json),
    Skip,
    Fail(ToolError),
    /// Not even its start fits into the run.
    RunIsFull(ToolError),
}

impl Run {
    /// Starts what may start, until the run's share of steps is under way.
    pub(super) fn start_ready(
        &mut self,
        now: Timestamp,
        limits: &Limits,
        decision: &mut Decision,
        turn: &mut Turn,
    ) {
        while self.phase == Phase::Running && self.running < limits.parallel_steps {
            let Some(step) = self.next_to_start(now) else {
                return;
            };
            self.decide_start(step, limits, decision);
            self.commit(decision, now, turn);
            self.settle(now, limits, decision, turn);
        }
    }

    /// Steps whose back-off is over come before those that never ran.
    fn next_to_start(&self, now: Timestamp) -> Option<StepIndex> {
        match self.timers.first() {
            Some((at, step)) if *at <= now => Some(*step),
            Some(_) | None => self.ready.front().copied(),
        }
    }

    fn decide_start(&self, step: StepIndex, limits: &Limits, decision: &mut Decision) {
        let Some((definition, state)) = self.definition(step).zip(self.step(step)) else {
            return;
        };
        let attempt = state.attempt.next();
        match self.consider(step, limits) {
            Start::With(input) => {
                decision.events.push(Event::StepStarted {
                    step,
                    attempt,
                    input: input.clone(),
                });
                decision.effects.push(Effect::StartStep(Box::new(StartStep {
                    step,
                    attempt,
                    round: self.round,
                    tool: definition.tool.clone(),
                    input,
                    timeout: definition.timeout,
                    delivery: definition.delivery,
                })));
            }
            Start::Skip => decision.events.push(Event::StepSkipped { step }),
            Start::Fail(error) => decision.events.push(not_started(step, error)),
            Start::RunIsFull(error) => {
                let text = self.blame(step, &error.message);
                decision.events.push(not_started(step, error));
                self.end_at_once(FailureReason::Limit, text, Some(step), decision);
            }
        }
    }

    fn consider(&self, step: StepIndex, limits: &Limits) -> Start {
        // A further attempt of a round gets what the first got: nothing it depends on has changed.
        let known = self.step(step).and_then(|state| state.input.clone());
        let input = match known {
            Some(input) => input,
            None => match evaluate::step(self, step) {
                Ok(Some(input)) => input,
                Ok(None) => return Start::Skip,
                Err(error) => return Start::Fail(error),
            },
        };
        if let Some(error) = over_payload("input", &input, limits) {
            return Start::Fail(error);
        }
        match self.over_run(input.size(), limits) {
            Some(error) => Start::RunIsFull(error),
            None => Start::With(input),
        }
    }

    /// Carries out what follows from the run's state by itself.
    pub(super) fn settle(
        &mut self,
        now: Timestamp,
        limits: &Limits,
        decision: &mut Decision,
        turn: &mut Turn,
    ) {
        self.ending(limits, decision);
        self.commit(decision, now, turn);
    }

    /// Turns what was decided into records of the turn and leaves the decision empty.
    pub(super) fn commit(&mut self, decision: &mut Decision, now: Timestamp, turn: &mut Turn) {
        for event in decision.events.drain(..) {
            let record = Record {
                seq: self.seq.next(),
                at: now,
                event,
            };
            // What is decided on a state always fits it; the tests hold this for every event.
            debug_assert_eq!(self.check(&record), Ok(()));
            turn.eager |= self.is_eager(&record.event);
            self.absorb(&record);
            turn.records.push(record);
        }
        turn.effects.append(&mut decision.effects);
    }

    /// Whether a batch with this event asks for a sync. What a crash may take back without harm is
    /// lazy: that an attempt started which may be repeated, or that one failed and another follows.
    fn is_eager(&self, event: &Event) -> bool {
        match event {
            Event::StepStarted { step, .. } => self
                .definition(*step)
                .is_none_or(|definition| definition.delivery == Delivery::AtMostOnce),
            Event::StepAttemptFailed { .. } => false,
            // The safe side: what is not named above is eager, whatever events may come to be.
            _ => true,
        }
    }
}

fn not_started(step: StepIndex, error: ToolError) -> Event {
    Event::StepFailed {
        step,
        attempt: Attempt(0),
        error,
        duration_us: 0,
    }
}
