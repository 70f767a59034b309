//! A turn: a batch of inputs becomes one batch of records and the effects that follow from it.
//!
//! ```text
//!   for each input: decide ──> absorb ──> settle (a run with nothing left to do ends)
//!   then once:      start what may start
//!   then:           leave out what is of no use any more; timer, publish, close
//! ```
//!
//! Steps start once per turn, after the last input: a run that is started and cancelled in the same
//! turn starts nothing.

use std::sync::Arc;

use super::messages::{Decision, Effect, Input, Rejected, Submission, Turn};
use super::{Phase, Run};
use crate::ids::StepIndex;
use crate::limits::Limits;
use crate::plan::Plan;
use crate::time::Timestamp;

/// What an input brings beside what is decided on it.
#[derive(Default)]
struct Aside {
    /// The compiled plan that the event brings.
    plan: Option<Arc<Plan>>,
    /// The run has a slot.
    slot: bool,
}

impl Run {
    /// Decides and applies `inputs` in order, starts what may start, and numbers what came of it.
    /// The answers are those to the inputs, in order; a refused input changes nothing.
    ///
    /// The run is then ahead of the store: the records are to be appended as one batch, and nothing
    /// may be told to anybody before they are durable. When that fails, this value is to be dropped.
    pub fn turn(
        &mut self,
        inputs: impl IntoIterator<Item = Input>,
        now: Timestamp,
        limits: &Limits,
    ) -> (Turn, Vec<Result<(), Rejected>>) {
        let mut turn = Turn::default();
        let mut decision = Decision::default();
        let mut answers = Vec::new();
        let timer = self.next_timer(now);
        for input in inputs {
            answers.push(self.take(input, now, limits, &mut decision, &mut turn));
        }
        self.start_ready(now, limits, &mut decision, &mut turn);
        self.revise(timer, now, &mut turn);
        self.announce(&mut turn);
        (turn, answers)
    }

    /// Decides and applies one input.
    fn take(
        &mut self,
        input: Input,
        now: Timestamp,
        limits: &Limits,
        decision: &mut Decision,
        turn: &mut Turn,
    ) -> Result<(), Rejected> {
        let aside = self.prepare(&input)?;
        self.decide_into(input, now, limits, decision)?;
        if aside.plan.is_some() {
            self.attached = aside.plan;
        }
        self.slot |= aside.slot;
        self.commit(decision, now, turn);
        self.settle(now, limits, decision, turn);
        Ok(())
    }

    /// What of an input concerns the actor and not the state. A submitted plan that the caller did
    /// not compile is compiled here, before anything has changed.
    fn prepare(&self, input: &Input) -> Result<Aside, Rejected> {
        let mut aside = Aside::default();
        match input {
            Input::Submit(submission) if self.phase == Phase::Empty => {
                aside.plan = compiled(submission)?;
            }
            Input::Planned(Ok(plan)) => aside.plan = Some(Arc::clone(plan)),
            Input::Start | Input::Retry => aside.slot = true,
            Input::Submit(_)
            | Input::Planned(Err(_))
            | Input::StepReported { .. }
            | Input::TimerFired
            | Input::Cancel
            | Input::Recovered
            | Input::Poison(_) => {}
        }
        Ok(aside)
    }

    /// Takes out of the effects what the turn as a whole makes of no use: a question that is asked
    /// twice or answered, a timer that is not the next one any more. The next one is set when it was
    /// not before, or when an input found the one that was set gone.
    fn revise(&self, before: Option<Timestamp>, now: Timestamp, turn: &mut Turn) {
        let mut answered = self.plan.is_some() || self.phase != Phase::Pending;
        let mut gone = false;
        turn.effects.retain(|effect| match effect {
            Effect::MakePlan { .. } => !std::mem::replace(&mut answered, true),
            Effect::SetTimer { .. } => {
                gone = true;
                false
            }
            Effect::StartStep(_)
            | Effect::AbortStep { .. }
            | Effect::Publish { .. }
            | Effect::Close => true,
        });
        if let Some(at) = self.next_timer(now)
            && (gone || before != Some(at))
        {
            turn.effects.push(Effect::SetTimer { at });
        }
    }

    /// The earliest timer that is not due yet; what is due only waits for a free place, and a report
    /// will bring that.
    fn next_timer(&self, now: Timestamp) -> Option<Timestamp> {
        let later = (Timestamp(now.0.saturating_add(1)), StepIndex(0));
        self.timers.range(later..).next().map(|(at, _)| *at)
    }

    /// Adds what the rest of the node must hear of the turn. An end that a later input of the same
    /// turn took back is none.
    fn announce(&self, turn: &mut Turn) {
        let closing = turn.effects.contains(&Effect::Close);
        turn.effects.retain(|effect| *effect != Effect::Close);
        if let Some(last) = turn.records.last() {
            turn.effects.push(Effect::Publish { upto: last.seq });
        }
        let ended = turn.records.iter().any(|record| record.event.is_terminal());
        if (closing || ended) && self.status().is_ended() {
            turn.effects.push(Effect::Close);
        }
    }
}

fn compiled(submission: &Submission) -> Result<Option<Arc<Plan>>, Rejected> {
    let given = submission.plan.clone();
    let Some(text) = &submission.accepted.plan else {
        return Ok(given);
    };
    if let Some(plan) = given.filter(|plan| plan.source == *text) {
        return Ok(Some(plan));
    }
    match Plan::load(text) {
        Ok(plan) => Ok(Some(Arc::new(plan))),
        Err(findings) => Err(Rejected::Plan { findings }),
    }
}
