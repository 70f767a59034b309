//! From a stored run to a running actor, and back to sleep.

use std::collections::VecDeque;

use crane_core::run::{Input, Phase};
use crane_core::{Epoch, Run, RunId, Timestamp, limits};
use crane_store::Error;
use ractor::{Actor, ActorId, ActorProcessingErr};
use tokio::sync::oneshot;

use super::queue::Rank;
use super::{Hold, ShardMsg, ShardState, Slot};
use crate::kernel::LoadError;
use crate::mailbox::{Mail, Mailbox};
use crate::metrics::ActorKind;
use crate::run::{Queued, RunActor, RunArgs, RunMsg};
use crate::runtime::ChangeError;

impl ShardState {
    /// Spawns the actor of a run.
    pub(super) async fn spawn(
        &mut self,
        run: Run,
        inputs: VecDeque<Queued>,
        hold: Hold,
        watcher: Option<oneshot::Sender<Run>>,
    ) -> Result<(), ActorProcessingErr> {
        let id = run.id;
        let args = Box::new(RunArgs {
            kernel: self.kernel.clone(),
            tenure: hold.tenure().clone(),
            shard: self.me.clone(),
            run,
            inputs,
            watcher,
        });
        let (actor, _) =
            RunActor::spawn_linked(None, RunActor, args, self.me.actor().get_cell()).await?;
        self.actors.insert(actor.get_id(), id);
        let depth = &self.kernel.metrics.kind(ActorKind::Run).depth;
        let mailbox = Mailbox::new(actor, depth);
        self.runs.insert(id, Slot::Active(mailbox, hold));
        Ok(())
    }

    /// Hands something to a run, waking it if need be.
    pub(super) fn deliver(&mut self, run: RunId, queued: Queued) {
        let shard = run.shard();
        let Some(tenure) = self.tenure(shard) else {
            queued.reply.refuse(ChangeError::Elsewhere(shard));
            return;
        };
        match self.runs.get_mut(&run) {
            Some(Slot::Active(actor, _)) => {
                actor.send(RunMsg::Input(queued));
            }
            Some(Slot::Passivating(_, hold) | Slot::Loading(hold) | Slot::Backoff(hold)) => {
                hold.buffer.push_back(queued);
            }
            None if !tenure.wakes() => queued.reply.refuse(ChangeError::Elsewhere(shard)),
            None => {
                let permit = match self.pending.is_empty() {
                    true => self.kernel.slots.clone().try_acquire_owned().ok(),
                    false => None,
                };
                if permit.is_none() && matches!(queued.input, Input::Retry) {
                    queued.reply.refuse(ChangeError::TooMany {
                        limit: self.kernel.limits.active_runs,
                    });
                    return;
                }
                // Cancelling does not wait for a slot: it must work on a full node. So the run does not
                // wait any more, either.
                self.pending.remove(run);
                let mut hold = Hold::new(tenure, permit);
                hold.buffer.push_back(queued);
                self.load(run, hold);
            }
        }
    }

    /// Passes on the question how a run stands; without an actor the store knows.
    pub(super) fn describe(&self, run: RunId, describer: oneshot::Sender<Run>) {
        if let Some(Slot::Active(actor, _)) = self.runs.get(&run) {
            actor.send(RunMsg::Describe(describer));
        }
    }

    /// A run was read: its actor starts with what is owed to it, then with what has arrived.
    pub(super) async fn loaded(
        &mut self,
        id: RunId,
        epoch: Epoch,
        result: Result<Option<Run>, LoadError>,
    ) -> Result<(), ActorProcessingErr> {
        let Some(mut hold) = self.take_loading(id, epoch) else {
            return Ok(());
        };
        let run = match result {
            Ok(Some(run)) => run,
            Ok(None) => {
                tracing::debug!(run_id = %id, "the store has no such run");
                self.leave(hold);
                return Ok(());
            }
            // Nothing is wrong with the run, and the store may be back soon.
            Err(LoadError::Store(Error::Unavailable(detail))) => {
                tracing::warn!(run_id = %id, %detail, "run cannot be loaded now, will be tried again");
                self.runs.insert(id, Slot::Backoff(hold));
                let again = move || Mail::uncounted(ShardMsg::Restart(id, epoch));
                self.me.actor().send_after(limits::RELOAD_PAUSE, again);
                return Ok(());
            }
            Err(error) => {
                tracing::error!(run_id = %id, %error, "run cannot be loaded");
                self.leave(hold);
                return Ok(());
            }
        };
        // An actor that failed may not have told what it had written, the run's end above all.
        if run.status().is_ended() || self.budgets.contains_key(&id) {
            self.kernel.hub.look_again(id);
        }
        let mut inputs = std::mem::take(&mut hold.buffer);
        if run.status().is_ended() && inputs.is_empty() {
            self.leave(hold);
            return Ok(());
        }
        // Commands first: a cancelled run must not start its lost attempts again. But within the
        // first turn, or attempts that this actor starts would be taken for lost ones.
        let place = inputs.len().min(limits::TURN_INPUTS - 2);
        inputs.insert(place, Queued::silent(Input::Recovered));
        if run.phase == Phase::Pending {
            let waited = self.kernel.clock.now().since(run.created_at);
            self.kernel.metrics.queue_wait.record(waited);
            inputs.insert(place + 1, Queued::silent(Input::Start));
        }
        self.spawn(run, inputs, hold, None).await
    }

    /// What is held for a run that is being loaded in this epoch.
    fn take_loading(&mut self, id: RunId, epoch: Epoch) -> Option<Hold> {
        let is_meant =
            |slot: &Slot| matches!(slot, Slot::Loading(hold) if hold.tenure().epoch() == epoch);
        match self.take_slot(id, is_meant)? {
            Slot::Loading(hold) => Some(hold),
            Slot::Active(..) | Slot::Passivating(..) | Slot::Backoff(_) => None,
        }
    }

    /// A run that was to get an actor gets none.
    fn leave(&mut self, hold: Hold) {
        drop(hold);
        self.fill_slots();
        self.report_closed();
    }

    pub(super) fn set_timer(&mut self, run: RunId, epoch: Epoch, at: Timestamp) {
        if self.is_of_now(run.shard(), epoch) {
            self.timers.set(run, at);
            self.timers.arm(&self.me, &self.kernel.clock);
        }
    }

    pub(super) fn fire_timers(&mut self) {
        let due = self.timers.due(self.kernel.clock.now());
        for run in due {
            match self.runs.get_mut(&run) {
                Some(Slot::Active(actor, _)) => {
                    actor.send(RunMsg::Input(Queued::silent(Input::TimerFired)));
                }
                Some(Slot::Passivating(_, hold) | Slot::Loading(hold) | Slot::Backoff(hold)) => {
                    hold.buffer.push_back(Queued::silent(Input::TimerFired));
                }
                None => self.enqueue(run, Rank::Usual, None),
            }
        }
        self.fill_slots();
        self.timers.arm(&self.me, &self.kernel.clock);
    }

    /// A run's actor offers to stop: from here on its messages are buffered.
    pub(super) fn idle(&mut self, actor: ActorId) {
        let Some(run) = self.actors.get(&actor).copied() else {
            return;
        };
        // It may have offered that twice.
        let is_active = |slot: &Slot| matches!(slot, Slot::Active(..));
        if let Some(Slot::Active(actor, hold)) = self.take_slot(run, is_active) {
            actor.send(RunMsg::Passivate);
            self.runs.insert(run, Slot::Passivating(actor, hold));
        }
    }

    /// A run's actor took its offer back.
    pub(super) fn busy(&mut self, actor: ActorId) {
        let Some(run) = self.actors.get(&actor).copied() else {
            return;
        };
        let sleeps = |slot: &Slot| matches!(slot, Slot::Passivating(..));
        if let Some(Slot::Passivating(actor, mut hold)) = self.take_slot(run, sleeps) {
            for queued in hold.buffer.drain(..) {
                actor.send(RunMsg::Input(queued));
            }
            // It was not told before.
            if hold.tenure().is_closing() {
                actor.send(RunMsg::Drain);
            }
            self.runs.insert(run, Slot::Active(actor, hold));
        }
    }

    #[cfg(test)]
    pub(super) fn panic_run(&self, run: RunId) {
        if let Some(Slot::Active(actor, _)) = self.runs.get(&run) {
            actor.send(RunMsg::Panic);
        }
    }
}
