//! Letting runs in: a slot for each run with an actor, a durable queue for the rest.

use std::collections::VecDeque;
use std::sync::Arc;

use crane_core::run::Input;
use crane_core::{Epoch, Run, RunId};
use crane_store::{Append, Error, Unfinished};
use ractor::ActorProcessingErr;

use super::inherited::{is_under_way, sleeps};
use super::queue::{Place, Rank};
use super::{Hold, ShardMsg, ShardState, Slot};
use crate::lease::is_loss;
use crate::run::{Queued, Reply};
use crate::submit::{Submit, SubmitError};
use crate::tenure::Tenure;

impl ShardState {
    /// Takes a new run in: into a slot if there is one, else into the durable queue.
    pub(super) async fn submit(&mut self, submit: Submit) -> Result<(), ActorProcessingErr> {
        let run = submit.run;
        let tenure = match self.tenure(run.shard()) {
            Some(tenure) if !tenure.is_closing() => tenure,
            Some(tenure) if !tenure.is_leased() => {
                drop(submit.reply.send(Err(SubmitError::Stopping)));
                return Ok(());
            }
            Some(_) | None => {
                let elsewhere = SubmitError::NotOwner(run.shard());
                drop(submit.reply.send(Err(elsewhere)));
                return Ok(());
            }
        };
        if self.runs.contains_key(&run) || self.pending.contains(run) {
            // The same key twice at once: the first one's run answers both.
            drop(submit.reply.send(Err(SubmitError::Exists(run))));
            return Ok(());
        }
        let permit = if self.pending.is_empty() {
            self.kernel.slots.clone().try_acquire_owned().ok()
        } else {
            None
        };
        let Some(permit) = permit else {
            self.accept_pending(submit, &tenure);
            return Ok(());
        };
        let mut inputs = VecDeque::with_capacity(3);
        inputs.push_back(Queued {
            input: Input::Submit(submit.submission),
            reply: Reply::Accepted(submit.reply),
        });
        if let Some(planned) = submit.planned {
            inputs.push_back(Queued::silent(Input::Planned(planned)));
        }
        inputs.push_back(Queued::silent(Input::Start));
        let hold = Hold::new(tenure, Some(permit));
        let run = Run::empty(run);
        self.kernel.metrics.queue_wait.record(0.0);
        self.spawn(run, inputs, hold, submit.watcher).await
    }

    /// Makes a run durable without an actor; it gets one when a slot is free.
    fn accept_pending(&mut self, submit: Submit, tenure: &Arc<Tenure>) {
        let Some(place) = Place::try_take(&self.kernel) else {
            let limit = self.kernel.limits.pending_runs;
            drop(submit.reply.send(Err(SubmitError::TooMany { limit })));
            return;
        };
        let mut run = Run::empty(submit.run);
        let mut inputs = vec![Input::Submit(submit.submission)];
        inputs.extend(submit.planned.map(Input::Planned));
        let (turn, _) = run.turn(inputs, self.kernel.clock.now(), &self.kernel.limits);
        let epoch = tenure.epoch();
        let append = Append::new(epoch, &run, &turn.records, true);
        let (kernel, reply) = (Arc::clone(&self.kernel), submit.reply);
        let leased = tenure.is_leased();
        self.kernel.append(tenure, append, move |result| {
            let id = run.id;
            let answer = match result {
                Ok(()) if run.status().is_ended() => {
                    let took = run.completed_at.unwrap_or_default().since(run.created_at);
                    kernel.metrics.finished(run.status(), took);
                    Ok(run)
                }
                Ok(()) => {
                    // This shard actor may have been restarted, and has read the store before.
                    kernel.tell_shard(id, ShardMsg::Accepted(id, epoch, place));
                    drop(reply.send(Ok(run)));
                    return;
                }
                Err(Error::Conflict { .. }) => Err(SubmitError::Exists(id)),
                Err(error) if leased && is_loss(&error) => {
                    kernel.tell_shard(id, ShardMsg::Owned);
                    Err(SubmitError::NotOwner(id.shard()))
                }
                Err(error) => Err(SubmitError::Store(error)),
            };
            drop(place);
            drop(reply.send(answer));
        });
    }

    /// An accepted run that found no slot is durable.
    pub(super) fn accepted(&mut self, run: RunId, epoch: Epoch, place: Place) {
        // Of an epoch that is over: whoever owns the shard now has read it in the store.
        if self.is_of_now(run.shard(), epoch) {
            self.enqueue(run, Rank::Usual, Some(place));
            self.fill_slots();
        }
    }

    /// Takes up a run that was left alone.
    pub(super) fn resume(&mut self, run: RunId) {
        self.enqueue(run, Rank::Usual, None);
        self.fill_slots();
    }

    /// An unfinished run of the store: one that only waits gets its timer, others a place in the
    /// queue; nothing is spawned or even read here. What is known of the run already is newer.
    pub(super) fn take_up(&mut self, unfinished: &Unfinished) {
        let run = unfinished.run;
        if self.runs.contains_key(&run) || self.timers.contains(run) {
            return;
        }
        match unfinished.summary.wake_at {
            Some(at) if sleeps(unfinished) && !self.pending.contains(run) => {
                self.timers.set(run, at);
            }
            _ => {
                let rank = match is_under_way(unfinished) {
                    true => Rank::UnderWay,
                    false => Rank::Usual,
                };
                let place = Place::take(&self.kernel);
                self.enqueue(run, rank, Some(place));
            }
        }
    }

    /// Puts a durable run into the queue, unless it has an actor or its shard takes nothing up.
    pub(super) fn enqueue(&mut self, run: RunId, rank: Rank, place: Option<Place>) {
        let takes_up = self
            .tenure(run.shard())
            .is_some_and(|tenure| !tenure.is_closing());
        if takes_up && !self.runs.contains_key(&run) {
            self.pending.push(run, rank, place);
        }
    }

    /// Gives the slots that were set aside for this shard to the first of its queue.
    pub(super) fn use_granted_slots(&mut self) {
        let Some(mut slots) = self.granted.take() else {
            return;
        };
        while !self.pending.is_empty()
            && let Some(slot) = slots.split(1)
        {
            self.give(slot);
        }
    }

    /// Starts loading pending runs as long as there are slots; then asks for the next one.
    pub(super) fn fill_slots(&mut self) {
        while !self.pending.is_empty() && !self.asked_for_slot {
            match self.kernel.slots.clone().try_acquire_owned() {
                Ok(permit) => self.give(permit),
                Err(_) => self.ask_for_slot(),
            }
        }
    }

    fn ask_for_slot(&mut self) {
        self.asked_for_slot = true;
        let slots = self.kernel.slots.clone();
        let shard = self.me.clone();
        self.kernel.background(async move {
            if let Ok(permit) = slots.acquire_owned().await {
                shard.send(ShardMsg::Slot(permit));
            }
        });
    }

    /// A slot that was asked for is free.
    pub(super) fn got_slot(&mut self, permit: tokio::sync::OwnedSemaphorePermit) {
        self.asked_for_slot = false;
        self.give(permit);
        self.fill_slots();
    }

    /// Gives a slot to the run that waited longest. Must not look for the next one: there may be as
    /// many as a node has slots, and each would take stack.
    fn give(&mut self, permit: tokio::sync::OwnedSemaphorePermit) {
        while let Some(run) = self.pending.pop() {
            if self.runs.contains_key(&run) {
                continue;
            }
            let Some(tenure) = self.held_now(run.shard()).cloned() else {
                continue;
            };
            self.load(run, Hold::new(tenure, Some(permit)));
            break;
        }
    }

    /// Tells how many runs this shard has to do with, and how many wait for a slot.
    pub(super) fn show_load(&self) {
        self.kernel.shards[self.index].show_load(self.runs.len(), self.pending.len());
    }

    /// Remembers a run whose state is being read.
    pub(super) fn load(&mut self, run: RunId, hold: Hold) {
        let epoch = hold.tenure().epoch();
        self.runs.insert(run, Slot::Loading(hold));
        let kernel = self.kernel.clone();
        let shard = self.me.clone();
        self.kernel.background(async move {
            let result = Box::new(kernel.load(run).await);
            shard.send(ShardMsg::Loaded(run, epoch, result));
        });
    }
}
