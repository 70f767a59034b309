//! The turn: queued inputs become one batch of events.

use std::collections::VecDeque;

use crane_core::run::{Input, Outcome, Rejected};
use crane_core::{Limits, Run, RunStatus, Seq, limits};
use crane_store::{Append, Error};
use ractor::{ActorId, ActorProcessingErr};

use super::unheard::Unheard;
use super::{Ending, InFlight, Queued, Reply, RunMsg, RunState};
use crate::lease::is_loss;
use crate::metrics::{ActorKind, Failure};
use crate::runtime::ChangeError;
use crate::shard::ShardMsg;
use crate::step::Report;
use crate::submit::SubmitError;

/// The failure of a run actor whose events the store does not take.
#[derive(Debug, thiserror::Error)]
#[error("the store refused the run's events: {0}")]
pub(crate) struct Refused(Error);

impl Refused {
    /// The failure in words that name no file of the node, for operators who see it from afar.
    pub(crate) fn outline(&self) -> String {
        match &self.0 {
            Error::Fenced { .. }
            | Error::Conflict { .. }
            | Error::DiskReserve { .. }
            | Error::Schema { .. }
            | Error::Limit { .. }
            | Error::LeaseLost { .. } => self.to_string(),
            Error::InUse { .. }
            | Error::Corrupt { .. }
            | Error::Io { .. }
            | Error::Unavailable(_)
            | Error::Database { .. }
            | Error::Unsuitable(_)
            | Error::Fatal(_) => {
                "the store could not take the run's events; the log says why".to_owned()
            }
        }
    }
}

impl RunState {
    /// Takes turns as long as there is something to decide and nothing eager in flight.
    pub(super) async fn proceed(&mut self) -> Result<(), ActorProcessingErr> {
        while self.in_flight.is_none() && !self.queue.is_empty() && !self.stopping {
            self.describe();
            if self.tenure.is_over() {
                self.leave();
                return Ok(());
            }
            self.take_turn().await?;
        }
        self.describe();
        self.rest();
        Ok(())
    }

    async fn take_turn(&mut self) -> Result<(), ActorProcessingErr> {
        let count = self.queue.len().min(limits::TURN_INPUTS);
        let mut replies = Vec::with_capacity(count);
        let mut inputs = Vec::with_capacity(count);
        for Queued { input, reply } in self.queue.drain(..count) {
            inputs.push(input);
            replies.push(reply);
        }
        let now = self.kernel.clock.now();
        let nothing_starts;
        let limits = if self.may_start() {
            &self.kernel.limits
        } else {
            nothing_starts = Limits {
                parallel_steps: 0,
                ..self.kernel.limits.clone()
            };
            &nothing_starts
        };
        let (turn, verdicts) = self.run.turn(inputs, now, limits);
        let mut replies: Vec<(Reply, Result<(), Rejected>)> =
            replies.into_iter().zip(verdicts).collect();
        replies.retain(|(reply, _)| !matches!(reply, Reply::None));

        let Some(last) = turn.records.last() else {
            self.answer(replies);
            return self.carry_out(turn.effects).await;
        };
        let seq = last.seq;
        let epoch = self.tenure.epoch();
        let append = Append::new(epoch, &self.run, &turn.records, turn.eager);
        let me = self.me.clone();
        // The actor may have been killed meanwhile; the events count all the same.
        let unheard = Unheard::new(&self.kernel, self.run.id);
        self.kernel.append(&self.tenure, append, move |result| {
            me.send(RunMsg::Durable(seq, result, unheard));
        });
        if turn.eager {
            self.in_flight = Some(InFlight {
                seq,
                records: turn.records,
                effects: turn.effects,
                replies,
            });
            return Ok(());
        }
        self.lazy.push_back((seq, turn.records));
        self.answer(replies);
        self.carry_out(turn.effects).await
    }

    /// Whether steps may start. When it is for want of a lease that they may not, the run will hear
    /// when there is one again.
    fn may_start(&mut self) -> bool {
        if self.tenure.is_closing() {
            return false;
        }
        if !self.tenure.is_put_off() {
            return true;
        }
        if !std::mem::replace(&mut self.put_off, true) {
            let (tenure, me) = (self.tenure.clone(), self.me.clone());
            self.kernel.background(async move {
                tenure.wait_for_lease().await;
                me.send(RunMsg::Leased);
            });
        }
        false
    }

    /// The lease is back, or there is no use in waiting for it.
    pub(super) fn leased(&mut self) {
        self.put_off = false;
        // Brings a turn, in which all that may start does.
        self.queue.push_back(Queued::silent(Input::TimerFired));
    }

    /// The shard is not this node's any more: stops, and tells all who wait.
    fn leave(&mut self) {
        let shard = self.run.id.shard();
        let in_flight = self.in_flight.take().map(|batch| batch.replies);
        for (reply, _) in in_flight.into_iter().flatten() {
            reply.turn_away(shard);
        }
        for queued in std::mem::take(&mut self.queue) {
            queued.turn_away(shard);
        }
        // What they would be told may never have become durable.
        self.describers.clear();
        self.shard.send(ShardMsg::Owned);
        self.stop();
    }

    /// The store's word on a batch.
    pub(super) async fn durable(
        &mut self,
        seq: Seq,
        result: Result<(), Error>,
        unheard: Unheard,
    ) -> Result<(), ActorProcessingErr> {
        if let Err(error) = result {
            unheard.heard();
            return self.refused(error);
        }
        while self.lazy.front().is_some_and(|(upto, _)| *upto <= seq) {
            if let Some((_, records)) = self.lazy.pop_front() {
                self.publish(records);
            }
        }
        let Some(batch) = self.in_flight.take_if(|batch| batch.seq == seq) else {
            unheard.heard();
            return Ok(());
        };
        self.publish(batch.records);
        unheard.heard();
        self.answer(batch.replies);
        self.carry_out(batch.effects).await
    }

    fn refused(&mut self, error: Error) -> Result<(), ActorProcessingErr> {
        if self.tenure.is_leased() && is_loss(&error) {
            self.leave();
            return Ok(());
        }
        let replies = self.in_flight.take().map(|batch| batch.replies);
        let created = replies
            .into_iter()
            .flatten()
            .find_map(|(reply, _)| match reply {
                Reply::Accepted(sender) => Some(sender),
                Reply::None | Reply::Verdict(_) => None,
            });
        if let Some(sender) = created {
            let refusal = match error {
                Error::Conflict { .. } => {
                    self.ending = Ending::RunExisted;
                    SubmitError::Exists(self.run.id)
                }
                // The run does not exist: nothing to restore.
                error => SubmitError::Store(error),
            };
            let _ = sender.send(Err(refusal));
            // What they would be told is no run.
            self.describers.clear();
            self.stop();
            return Ok(());
        }
        Err(Box::new(Refused(error)))
    }

    pub(super) fn answer(&self, replies: Vec<(Reply, Result<(), Rejected>)>) {
        for (reply, verdict) in replies {
            match reply {
                Reply::None => {}
                // Whoever asked may have gone; that cancels nothing.
                Reply::Verdict(sender) => {
                    let answer = verdict.map(|()| self.run.clone());
                    drop(sender.send(answer.map_err(ChangeError::Rejected)));
                }
                Reply::Accepted(sender) => {
                    let answer = verdict
                        .map(|()| self.run.clone())
                        .map_err(|_| SubmitError::Exists(self.run.id));
                    drop(sender.send(answer));
                }
            }
        }
    }

    /// A step actor has ended, with its report or without.
    pub(super) fn step_ended(&mut self, actor: ActorId, report: Option<Report>) {
        let Some(running) = self.steps.remove(&actor) else {
            return;
        };
        let report = report.unwrap_or_else(|| Report {
            outcome: self.cut_off(),
            duration_us: u64::try_from(running.since.elapsed().as_micros()).unwrap_or(u64::MAX),
        });
        self.queue.push_back(Queued::silent(Input::StepReported {
            step: running.step,
            attempt: running.attempt,
            outcome: report.outcome,
            duration_us: report.duration_us,
        }));
    }

    /// The outcome of an attempt that ended without one.
    fn cut_off(&self) -> Outcome {
        match self.tenure.is_cut_off() {
            true => Outcome::Interrupted,
            false => Outcome::Aborted,
        }
    }

    /// A step actor has failed: its tool panicked.
    pub(super) fn step_failed(&self, actor: ActorId, error: &str) {
        let step = self.steps.get(&actor).map(|running| running.step);
        let name = step.map_or("?", |step| self.step_name(step));
        let (now, run) = (self.kernel.clock.now(), Some(self.run.id));
        let failure = Failure::new(now, format!("step {name}"), run, error);
        self.kernel.metrics.kind(ActorKind::Step).failed(failure);
    }

    /// Answers those who want to know how the run stands, if that is durable.
    fn describe(&mut self) {
        if self.in_flight.is_none() && self.lazy.is_empty() {
            for describer in self.describers.drain(..) {
                let _ = describer.send(self.run.clone());
            }
        }
    }

    /// Offers to stop when nothing can happen for a while.
    fn rest(&mut self) {
        if self.stopping || !self.is_idle() {
            return;
        }
        if self.tenure.is_closing() {
            self.stop();
            return;
        }
        if self.put_off {
            return;
        }
        let wait = self
            .run
            .wake_at()
            .map(|at| at.since(self.kernel.clock.now()));
        if self.run.status() == RunStatus::Waiting
            && wait.is_some_and(|wait| wait >= limits::PASSIVATE_AFTER)
        {
            let me = self.me.actor().get_id();
            self.shard.send(ShardMsg::Idle(me));
        }
    }

    /// The shard asks to stop; it buffers what arrives from now on.
    pub(super) fn passivate(&mut self) {
        if self.stopping {
            return;
        }
        if self.is_idle() {
            self.stop();
        } else {
            let me = self.me.actor().get_id();
            self.shard.send(ShardMsg::Busy(me));
        }
    }

    /// Ends the actor of an ended run: refuses what is still queued, tells who waits.
    pub(super) fn close(&mut self) {
        if !self.run.status().is_ended() {
            return;
        }
        self.ending = Ending::RunEnded;
        let took = self
            .run
            .completed_at
            .unwrap_or_default()
            .since(self.run.created_at);
        self.kernel.metrics.finished(self.run.status(), took);
        self.log_end();
        self.describe();
        if let Some(watcher) = self.watcher.take() {
            // Nothing reads the run after this. Whoever waited may have gone.
            let id = self.run.id;
            let _ = watcher.send(std::mem::replace(&mut self.run, Run::empty(id)));
        }
        self.queue = VecDeque::new();
        self.stop();
    }

    fn stop(&mut self) {
        self.stopping = true;
        self.me.actor().stop(None);
    }

    fn log_end(&self) {
        let Run {
            id, error, round, ..
        } = &self.run;
        let trace_id = self
            .run
            .accepted
            .as_ref()
            .and_then(|a| a.trace_id.as_deref());
        match self.run.status() {
            RunStatus::Failed => {
                tracing::info!(run_id = %id, trace_id, %round, error = error.as_deref(), "run failed");
            }
            status => {
                tracing::debug!(run_id = %id, trace_id, %round, status = status.as_str(), "run ended");
            }
        }
    }
}
