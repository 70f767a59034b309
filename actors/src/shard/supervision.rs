//! What happens when a run's actor ends.

use crane_core::restart::{RestartIntensity, RestartPolicy, Verdict};
use crane_core::run::Input;
use crane_core::{Run, RunId};
use crane_store::{Append, Write, commit};
use ractor::{ActorId, ActorProcessingErr};

use super::{Hold, ShardMsg, ShardState, Slot};
use crate::kernel::Kernel;
use crate::mailbox::Mail;
use crate::metrics::{ActorKind, Failure, FailureKind};
use crate::run::Refused;

impl ShardState {
    /// An actor stopped by itself: its run has ended, sleeps, or could not be created.
    pub(super) fn run_stopped(&mut self, actor: ActorId) {
        let Some(run) = self.actors.remove(&actor) else {
            return;
        };
        match self.runs.remove(&run) {
            Some(Slot::Passivating(_, hold)) => {
                self.kernel.store.passivate(run);
                if !hold.buffer.is_empty() {
                    self.load(run, hold);
                }
            }
            Some(Slot::Active(_, hold)) => {
                self.timers.clear(run);
                self.budgets.remove(&run);
                drop(hold);
            }
            Some(Slot::Loading(_) | Slot::Backoff(_)) | None => {}
        }
        if !self.pending.is_empty() {
            self.fill_slots();
        }
        self.report_drained();
    }

    /// An actor panicked or its append was refused: reload it from the store, unless it has
    /// failed too often.
    pub(super) fn run_failed(&mut self, actor: ActorId, error: &ActorProcessingErr) {
        let Some(run) = self.actors.remove(&actor) else {
            return;
        };
        let metrics = self.kernel.metrics.kind(ActorKind::Run);
        let (reason, shown) = match error.downcast_ref::<Refused>() {
            Some(refused) => (FailureKind::Store, refused.outline()),
            None => (FailureKind::Failed, error.to_string()),
        };
        let error = &error.to_string();
        let now = self.kernel.clock.now();
        metrics.failed(Failure::new(now, format!("run {run}"), Some(run), &shown));
        let hold = match self.runs.remove(&run) {
            Some(Slot::Active(_, hold) | Slot::Passivating(_, hold)) => hold,
            Some(Slot::Loading(_) | Slot::Backoff(_)) | None => Hold::default(),
        };
        if self.kernel.is_draining() {
            self.report_drained();
            return;
        }
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
                self.me
                    .actor()
                    .send_after(delay, move || Mail::uncounted(ShardMsg::Restart(run)));
            }
            Verdict::GiveUp => {
                metrics.exhausted.one();
                tracing::error!(run_id = %run, error, "run actor failed too often, the run is failed as poisoned");
                self.runs.insert(run, Slot::Backoff(hold));
                self.poison(run, error);
            }
        }
    }

    pub(super) fn restart(&mut self, run: RunId) {
        match self.runs.remove(&run) {
            Some(Slot::Backoff(hold)) => self.load(run, hold),
            Some(slot) => {
                self.runs.insert(run, slot);
            }
            None => {}
        }
    }

    /// Ends a run without an actor of its own, since that is what keeps failing. The work runs
    /// aside, so that whatever is wrong with the run cannot hurt the shard.
    fn poison(&self, run: RunId, error: &str) {
        let kernel = self.kernel.clone();
        let shard = self.me.clone();
        let message = format!("the run's actor failed too often, last with: {error}");
        self.kernel.background(async move {
            if let Err(error) = fail(&kernel, run, message).await {
                tracing::error!(run_id = %run, %error, "a poisoned run could not be failed");
            }
            shard.send(ShardMsg::Poisoned(run));
        });
    }

    /// Drops all that is held for a run that was given up.
    pub(super) fn forget(&mut self, run: RunId) {
        self.budgets.remove(&run);
        self.timers.clear(run);
        self.runs.remove(&run);
        self.fill_slots();
        self.report_drained();
    }
}

async fn fail(kernel: &Kernel, id: RunId, message: String) -> Result<(), crate::kernel::LoadError> {
    let Some(mut run) = kernel.load(id).await? else {
        return Ok(());
    };
    let inputs = [Input::Poison(message.into())];
    let (turn, _) = Run::turn(&mut run, inputs, kernel.clock.now(), &kernel.limits);
    if turn.records.is_empty() {
        return Ok(());
    }
    let append = Append::new(kernel.epoch(id.shard()), &run, &turn.records, true);
    commit(kernel.store.as_ref(), Write::Append(append)).await?;
    let took = run.completed_at.unwrap_or_default().since(run.created_at);
    kernel.metrics.finished(run.status(), took);
    kernel.hub.publish(id, turn.records);
    Ok(())
}
