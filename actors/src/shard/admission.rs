//! Letting runs in: a slot for each run with an actor, a durable queue for the rest.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;

use crane_core::run::Input;
use crane_core::{Run, RunId};
use crane_store::{Append, Error, Unfinished, Write};
use ractor::ActorProcessingErr;

use super::inherited::{is_under_way, sleeps};
use super::{Hold, ShardMsg, ShardState, Slot};
use crate::run::{Queued, Reply};
use crate::submit::{Submit, SubmitError};

impl ShardState {
    /// Takes a new run in: into a slot if there is one, else into the durable queue.
    pub(super) async fn submit(&mut self, submit: Submit) -> Result<(), ActorProcessingErr> {
        let run = submit.run;
        if self.runs.contains_key(&run) {
            // The same key twice at once: the first one's run answers both.
            drop(submit.reply.send(Err(SubmitError::Exists(run))));
            return Ok(());
        }
        if self.kernel.is_draining() {
            drop(submit.reply.send(Err(SubmitError::Stopping)));
            return Ok(());
        }
        let permit = if self.pending.is_empty() {
            self.kernel.slots.clone().try_acquire_owned().ok()
        } else {
            None
        };
        let Some(permit) = permit else {
            self.accept_pending(submit);
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
        let hold = Hold {
            _permit: Some(permit),
            buffer: VecDeque::new(),
        };
        let run = Run::empty(run);
        self.kernel.metrics.queue_wait.record(0.0);
        self.spawn(run, inputs, hold, submit.watcher).await
    }

    /// Makes a run durable without an actor; it gets one when a slot is free.
    fn accept_pending(&mut self, submit: Submit) {
        let waiting = self.kernel.pending.fetch_add(1, Ordering::AcqRel);
        if waiting >= self.kernel.limits.pending_runs {
            self.kernel.pending.fetch_sub(1, Ordering::AcqRel);
            let limit = self.kernel.limits.pending_runs;
            drop(submit.reply.send(Err(SubmitError::TooMany { limit })));
            return;
        }
        let mut run = Run::empty(submit.run);
        let mut inputs = vec![Input::Submit(submit.submission)];
        inputs.extend(submit.planned.map(Input::Planned));
        let (turn, _) = run.turn(inputs, self.kernel.clock.now(), &self.kernel.limits);
        let epoch = self.kernel.epoch(run.id.shard());
        let append = Append::new(epoch, &run, &turn.records, true);
        let (shard, kernel, reply) = (self.me.clone(), self.kernel.clone(), submit.reply);
        self.kernel.store.submit(
            Write::Append(append),
            Box::new(move |result| {
                let id = run.id;
                let answer = match result {
                    Ok(()) if run.status().is_ended() => {
                        let took = run.completed_at.unwrap_or_default().since(run.created_at);
                        kernel.metrics.finished(run.status(), took);
                        Ok(run)
                    }
                    Ok(()) => {
                        shard.send(ShardMsg::Accepted(id));
                        drop(reply.send(Ok(run)));
                        return;
                    }
                    Err(Error::Conflict { .. }) => Err(SubmitError::Exists(id)),
                    Err(error) => Err(SubmitError::Store(error)),
                };
                kernel.pending.fetch_sub(1, Ordering::AcqRel);
                drop(reply.send(answer));
            }),
        );
    }

    /// Unfinished runs of the store: those that only wait get their timer, the others a place in
    /// the queue, first those that were under way. Nothing is spawned or even read here.
    pub(super) fn take_up(&mut self, mut unfinished: Vec<Unfinished>) {
        unfinished.sort_by_key(|run| !is_under_way(run));
        for one in unfinished {
            match one.summary.wake_at {
                Some(at) if sleeps(&one) => self.timers.set(one.run, at),
                _ => {
                    self.kernel.pending.fetch_add(1, Ordering::AcqRel);
                    self.enqueue(one.run);
                }
            }
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

    /// Puts a durable run that was counted as pending, or is woken, into the queue.
    pub(super) fn enqueue(&mut self, run: RunId) {
        self.pending.push_back(run);
    }

    /// Starts loading pending runs as long as there are slots; then asks for the next one.
    pub(super) fn fill_slots(&mut self) {
        while !self.pending.is_empty() && !self.asked_for_slot && !self.kernel.is_draining() {
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
        if self.kernel.is_draining() {
            return;
        }
        self.give(permit);
        if !self.pending.is_empty() {
            self.fill_slots();
        }
    }

    /// Gives a slot to the run that waited longest. Must not look for the next one: there may be as
    /// many as a node has slots, and each would take stack.
    fn give(&mut self, permit: tokio::sync::OwnedSemaphorePermit) {
        while let Some(run) = self.pending.pop_front() {
            self.uncount_pending();
            if self.runs.contains_key(&run) {
                continue;
            }
            let hold = Hold {
                _permit: Some(permit),
                ..Hold::default()
            };
            self.load(run, hold);
            break;
        }
    }

    fn uncount_pending(&self) {
        let pending = &self.kernel.pending;
        // Woken runs queue up without having been counted.
        let _ = pending.fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| n.checked_sub(1));
    }

    /// Tells how many runs this shard has to do with, and how many wait for a slot.
    pub(super) fn show_load(&self) {
        self.kernel.shards[self.index].show_load(self.runs.len(), self.pending.len());
    }

    /// Remembers a run whose state is being read.
    pub(super) fn load(&mut self, run: RunId, hold: Hold) {
        self.runs.insert(run, Slot::Loading(hold));
        let kernel = self.kernel.clone();
        let shard = self.me.clone();
        self.kernel.background(async move {
            let result = Box::new(kernel.load(run).await);
            shard.send(ShardMsg::Loaded(run, result));
        });
    }
}
