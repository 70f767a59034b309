//! A turn: a batch of inputs becomes one batch of records and the effects that follow from it.
//!
//! ```text
//!   for each input: decide ──> absorb ──> settle (a run with nothing left to do ends)
//!   then once:      start what may start
//!   then:           timer, publish, close
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
    /// The timer that was set, if any, is gone.
    rearm: bool,
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
        let mut rearm = false;
        let timer = self.next_timer(now);
        for input in inputs {
            let answer = self.take(input, now, limits, &mut decision, &mut turn);
            rearm |= matches!(answer, Ok(true));
            answers.push(answer.map(|_| ()));
        }
        self.start_ready(now, limits, &mut decision, &mut turn);

        if self.plan.is_some() || self.phase != Phase::Pending {
            // The plan came, or is of no use any more.
            turn.effects
                .retain(|effect| !matches!(effect, Effect::MakePlan { .. }));
        }
        if let Some(at) = self.next_timer(now)
            && (rearm || timer != Some(at))
        {
            turn.effects.push(Effect::SetTimer { at });
        }
        self.announce(&mut turn);
        (turn, answers)
    }

    /// Decides and applies one input; whether the timer must be set anew.
    fn take(
        &mut self,
        input: Input,
        now: Timestamp,
        limits: &Limits,
        decision: &mut Decision,
        turn: &mut Turn,
    ) -> Result<bool, Rejected> {
        let aside = self.prepare(&input)?;
        self.decide_into(input, now, limits, decision)?;
        if aside.plan.is_some() {
            self.attached = aside.plan;
        }
        self.slot |= aside.slot;
        let question = |effect: &Effect| matches!(effect, Effect::MakePlan { .. });
        self.asked |= decision.effects.iter().any(question);
        self.commit(decision, now, turn);
        self.settle(now, limits, decision, turn);
        Ok(aside.rearm)
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
            Input::TimerFired | Input::Recovered => aside.rearm = true,
            Input::Submit(_)
            | Input::Planned(Err(_))
            | Input::StepReported { .. }
            | Input::Cancel
            | Input::Poison(_) => {}
        }
        Ok(aside)
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

/// The effects that are owed for a run that was loaded from the store: the plan it waits for, its
/// timer, or the end of its actor. A turn with [`Input::Recovered`], and [`Input::Start`] for a run
/// that is pending, brings them as well; this is for a caller that only wants to know. What was
/// running at the time is the business of [`Input::Recovered`] alone.
pub fn resume(run: &Run) -> Vec<Effect> {
    match run.phase {
        Phase::Pending => run.plan_owed().into_iter().collect(),
        Phase::Running | Phase::Failing | Phase::Cancelling => run
            .wake_at()
            .map(|at| Effect::SetTimer { at })
            .into_iter()
            .collect(),
        Phase::Completed | Phase::Failed | Phase::Cancelled => vec![Effect::Close],
        Phase::Empty => Vec::new(),
    }
}
