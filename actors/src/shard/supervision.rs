//! What happens when a run's actor ends.

use std::sync::Arc;

use crane_core::restart::{RestartIntensity, RestartPolicy, Verdict};
use crane_core::run::Input;
use crane_core::{Epoch, Run, RunId, limits};
use crane_store::{Append, Error, Write, commit};
use ractor::actor::messages::BoxedState;
use ractor::{ActorId, ActorProcessingErr};

use super::{Hold, ShardMsg, ShardState, Slot};
use crate::kernel::{Kernel, LoadError};
use crate::mailbox::Mail;
use crate::metrics::{ActorKind, Failure, FailureKind};
use crate::run::{self, Ending, Refused};
use crate::tenure::Tenure;

impl ShardState {
    /// An actor stopped by itself: its run has ended or sleeps, its shard closes, or it could not
    /// create its run, which then is there already. `left` is what it left behind.
    pub(super) fn run_stopped(&mut self, actor: ActorId, left: Option<BoxedState>) {
        let Some(run) = self.actors.remove(&actor) else {
            return;
        };
        match self.slot_of(actor, run) {
            Some(Slot::Passivating(_, hold)) => {
                self.kernel.store.passivate(run);
                match hold.buffer.is_empty() {
                    true => drop(hold),
                    false if hold.tenure().wakes() => self.load(run, hold),
                    false => hold.turn_away(),
                }
            }
            Some(Slot::Active(_, hold)) => match run::ending(left) {
                Ending::RunEnded => {
                    self.timers.clear(run);
                    self.budgets.remove(&run);
                    self.not_hot(run);
                }
                // While this actor was there, nobody else took the run up.
                Ending::RunExisted if hold.tenure().wakes() => self.load(run, hold),
                Ending::RunExisted | Ending::Other => {
                    if hold.tenure().is_closing() && hold.tenure().is_leased() {
                        // Elsewhere it goes on; a node that goes down makes its whole store durable.
                        self.kernel.store.passivate(run);
                    }
                }
            },
            Some(Slot::Loading(_) | Slot::Backoff(_)) | None => {}
        }
        if !self.pending.is_empty() {
            self.fill_slots();
        }
        self.report_closed();
    }

    /// An actor panicked or its append was refused: reload it from the store, unless it has
    /// failed too often.
    pub(super) fn run_failed(&mut self, actor: ActorId, error: &ActorProcessingErr) {
        let Some(run) = self.actors.remove(&actor) else {
            return;
        };
        let kernel = Arc::clone(&self.kernel);
        let metrics = kernel.metrics.kind(ActorKind::Run);
        let (reason, shown) = match error.downcast_ref::<Refused>() {
            Some(refused) => (FailureKind::Store, refused.outline()),
            None => (FailureKind::Failed, error.to_string()),
        };
        let error = &error.to_string();
        let now = self.kernel.clock.now();
        metrics.failed(Failure::new(now, format!("run {run}"), Some(run), &shown));
        let Some(Slot::Active(_, hold) | Slot::Passivating(_, hold)) = self.slot_of(actor, run)
        else {
            return;
        };
        if hold.tenure().is_closing() {
            hold.turn_away();
            self.report_closed();
            return;
        }
        let epoch = hold.tenure().epoch();
        let seed = u64::from_be_bytes(run.to_bytes()[8..].try_into().unwrap_or_default());
        let budget = self
            .budgets
            .entry(run)
            .or_insert_with(|| RestartIntensity::new(RestartPolicy::default(), seed));
        match budget.failed(now) {
            Verdict::RestartAfter(delay) => {
                metrics.restarted(reason);
                tracing::warn!(run_id = %run, error, ?delay, "run actor failed, will be restarted");
                self.runs.insert(run, Slot::Backoff(hold));
                self.me.actor().send_after(delay, move || {
                    Mail::uncounted(ShardMsg::Restart(run, epoch))
                });
            }
            Verdict::GiveUp => {
                metrics.exhausted.one();
                tracing::error!(run_id = %run, error, "run actor failed too often, the run is failed as poisoned");
                self.poison(run, hold.tenure().clone(), error);
                self.runs.insert(run, Slot::Backoff(hold));
            }
        }
    }

    /// Takes out the slot of a run that this actor has.
    fn slot_of(&mut self, actor: ActorId, run: RunId) -> Option<Slot> {
        let is_its = |slot: &Slot| match slot {
            Slot::Active(mailbox, _) | Slot::Passivating(mailbox, _) => {
                mailbox.actor().get_id() == actor
            }
            Slot::Loading(_) | Slot::Backoff(_) => false,
        };
        self.take_slot(run, is_its)
    }

    pub(super) fn restart(&mut self, run: RunId, epoch: Epoch) {
        if let Some(hold) = self.take_backoff(run, epoch) {
            self.load(run, hold);
        }
    }

    /// What is held for a run that waits for a restart in this epoch.
    fn take_backoff(&mut self, run: RunId, epoch: Epoch) -> Option<Hold> {
        let is_meant =
            |slot: &Slot| matches!(slot, Slot::Backoff(hold) if hold.tenure().epoch() == epoch);
        match self.take_slot(run, is_meant)? {
            Slot::Backoff(hold) => Some(hold),
            Slot::Active(..) | Slot::Passivating(..) | Slot::Loading(_) => None,
        }
    }

    /// Ends a run without an actor of its own, since that is what keeps failing. The work runs
    /// aside, so that whatever is wrong with the run cannot hurt the shard.
    fn poison(&self, run: RunId, tenure: Arc<Tenure>, error: &str) {
        let kernel = self.kernel.clone();
        let shard = self.me.clone();
        let message = format!("the run's actor failed too often, last with: {error}");
        self.kernel.background(async move {
            while !tenure.is_over()
                && let Err(error) = fail(&kernel, &tenure, run, &message).await
            {
                tracing::error!(run_id = %run, %error, "a poisoned run could not be failed");
                if !may_pass(&error) {
                    break;
                }
                // The last of what the actor has written may have come in between.
                tokio::time::sleep(limits::RELOAD_PAUSE).await;
            }
            shard.send(ShardMsg::Poisoned(run, tenure.epoch()));
        });
    }

    /// Drops all that is held for a run that was given up.
    pub(super) fn poisoned(&mut self, run: RunId, epoch: Epoch) {
        if self.take_backoff(run, epoch).is_some() {
            self.budgets.remove(&run);
            self.timers.clear(run);
            self.fill_slots();
            self.report_closed();
        }
    }
}

/// Whether it may go well another time.
fn may_pass(error: &LoadError) -> bool {
    match error {
        LoadError::Store(error) => match error {
            Error::Conflict { .. } | Error::DiskReserve { .. } | Error::Unavailable(_) => true,
            Error::Io { .. }
            | Error::Database { .. }
            | Error::Fenced { .. }
            | Error::LeaseLost { .. }
            | Error::InUse { .. }
            | Error::Corrupt { .. }
            | Error::Schema { .. }
            | Error::Limit { .. }
            | Error::Unsuitable(_)
            | Error::Fatal(_) => false,
        },
        LoadError::Fold { .. } => false,
    }
}

async fn fail(kernel: &Kernel, tenure: &Tenure, id: RunId, message: &str) -> Result<(), LoadError> {
    let Some(mut run) = kernel.load(id).await? else {
        return Ok(());
    };
    let inputs = [Input::Poison(message.into())];
    let (turn, _) = Run::turn(&mut run, inputs, kernel.clock.now(), &kernel.limits);
    if turn.records.is_empty() || tenure.is_over() {
        return Ok(());
    }
    let append = Append::new(tenure.epoch(), &run, &turn.records, true);
    let written = commit(kernel.store.as_ref(), Write::Append(append)).await;
    tenure.note(&written);
    written?;
    let took = run.completed_at.unwrap_or_default().since(run.created_at);
    kernel.metrics.finished(run.status(), took);
    kernel.hub.publish(id, turn.records);
    Ok(())
}
