//! From a stored run to a running actor, and back to sleep.

use std::collections::VecDeque;

use crane_core::run::{Input, Phase};
use crane_core::{Run, RunId, limits};
use ractor::{Actor, ActorProcessingErr};
use tokio::sync::oneshot;

use super::{Hold, ShardState, Slot};
use crate::kernel::LoadError;
use crate::mailbox::Mailbox;
use crate::metrics::ActorKind;
use crate::run::{Queued, RunActor, RunArgs, RunMsg};

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
        match self.runs.get_mut(&run) {
            Some(Slot::Active(actor, _)) => {
                actor.send(RunMsg::Input(queued));
            }
            Some(Slot::Passivating(_, hold) | Slot::Loading(hold) | Slot::Backoff(hold)) => {
                hold.buffer.push_back(queued);
            }
            None => {
                // A command does not wait for a slot: cancelling must work on a full node.
                let hold = Hold {
                    _permit: self.kernel.slots.clone().try_acquire_owned().ok(),
                    buffer: VecDeque::from([queued]),
                };
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
        result: Result<Option<Run>, LoadError>,
    ) -> Result<(), ActorProcessingErr> {
        let Some(Slot::Loading(mut hold)) = self.runs.remove(&id) else {
            return Ok(());
        };
        let run = match result {
            Ok(Some(run)) => run,
            Ok(None) => {
                tracing::debug!(run_id = %id, "the store has no such run");
                self.fill_slots();
                return Ok(());
            }
            Err(error) => {
                tracing::error!(run_id = %id, %error, "run cannot be loaded");
                self.fill_slots();
                return Ok(());
            }
        };
        let mut inputs = std::mem::take(&mut hold.buffer);
        if run.status().is_ended() && inputs.is_empty() {
            self.fill_slots();
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
                None => self.enqueue(run),
            }
        }
        self.fill_slots();
        self.timers.arm(&self.me, &self.kernel.clock);
    }

    /// A run's actor offers to stop: from here on its messages are buffered.
    pub(super) fn idle(&mut self, run: RunId) {
        if let Some(Slot::Active(actor, hold)) = self.runs.remove(&run) {
            actor.send(RunMsg::Passivate);
            self.runs.insert(run, Slot::Passivating(actor, hold));
        }
    }

    /// A run's actor took its offer back.
    pub(super) fn busy(&mut self, run: RunId) {
        match self.runs.remove(&run) {
            Some(Slot::Passivating(actor, mut hold)) => {
                for queued in hold.buffer.drain(..) {
                    actor.send(RunMsg::Input(queued));
                }
                self.runs.insert(run, Slot::Active(actor, hold));
            }
            Some(slot) => {
                self.runs.insert(run, slot);
            }
            None => {}
        }
    }

    /// The node goes down: running steps may end, no step starts.
    pub(super) fn drain(&mut self, reply: oneshot::Sender<()>) {
        self.drained = Some(reply);
        self.tell_active(|| RunMsg::Drain);
        self.runs
            .retain(|_, slot| !matches!(slot, Slot::Loading(_) | Slot::Backoff(_)));
        self.report_drained();
    }

    /// Tells every run that has an actor.
    pub(super) fn tell_active(&self, message: impl Fn() -> RunMsg) {
        for slot in self.runs.values() {
            match slot {
                Slot::Active(actor, _) => actor.send(message()),
                Slot::Passivating(..) | Slot::Loading(_) | Slot::Backoff(_) => {}
            }
        }
    }

    pub(super) fn report_drained(&mut self) {
        if self.runs.is_empty()
            && let Some(reply) = self.drained.take()
        {
            // Whoever asked may have run out of patience.
            let _ = reply.send(());
        }
    }

    #[cfg(test)]
    pub(super) fn panic_run(&self, run: RunId) {
        if let Some(Slot::Active(actor, _)) = self.runs.get(&run) {
            actor.send(RunMsg::Panic);
        }
    }
}
