//! A run shard: carries the runs of many logical shards.
//!
//! Which of these the node owns, and in which epoch, is written in [`crate::tenure::Tenures`]; the
//! shard follows that, whatever it is told and in whatever order ([`ownership`]).
//!
//! It admits runs to slots, spawns and restarts their actors, keeps their timers, puts waiting
//! ones to sleep and wakes them. For each run it has to do with it knows in which state its actor
//! is ([`Slot`]); messages for a run without a running actor are buffered here, since a stopping
//! actor drops its queue.
//!
//! ```text
//!   Submit ──> slot free? ── yes ──> Active <──────── loaded <── Loading <── timer, message, retry
//!                 │ no                 │  │ Idle                  ^  ^
//!                 v                    │  └──> Passivating ──────┘  │
//!          accepted, pending ──────────│──── a slot is free ────────┤
//!                                      └── failed ──> Backoff ──────┘   (or poisoned)
//! ```

mod activation;
mod admission;
mod closing;
mod inherited;
mod ownership;
mod queue;
mod supervision;
mod timers;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crane_core::restart::RestartIntensity;
use crane_core::{Epoch, Run, RunId, ShardId, Timestamp};
use crane_store::Unfinished;
use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::kernel::{Kernel, Living, LoadError};
use crate::mailbox::{Mail, Mailbox};
use crate::metrics::ActorKind;
use crate::run::{Queued, RunMsg};
use crate::submit::Submit;
use crate::tenure::{Tenure, UnderWay};
use closing::Closing;
pub(crate) use inherited::Inherited;
use queue::{Place, Queue};
use timers::Timers;

/// See the module.
#[derive(Debug)]
pub(crate) struct RunShard;

/// What a shard is told. What concerns a run comes from somebody who may be of an epoch that is over
/// by now, and says who that is.
#[derive(Debug)]
pub(crate) enum ShardMsg {
    /// A new run.
    Submit(Box<Submit>),
    /// An accepted run that found no slot is durable now.
    Accepted(RunId, Epoch, Place),
    /// Something for a run that exists.
    Deliver(RunId, Queued),
    /// Tell how the run stands; dropped when it has no actor.
    Describe(RunId, oneshot::Sender<Run>),
    /// Take up an unfinished run.
    Resume(RunId),
    /// What the node owns has changed, or may have.
    Owned,
    /// Unfinished runs of the store, each with the epoch in which it was read.
    Restored(Vec<(Epoch, Unfinished)>),
    /// A run was read from the store.
    Loaded(RunId, Epoch, Box<Result<Option<Run>, LoadError>>),
    /// A slot is free.
    Slot(OwnedSemaphorePermit),
    /// Wake this run then; replaces an earlier time. By epoch and not by actor: one that has set the
    /// timer that wakes it may have stopped before this arrives.
    SetTimer(RunId, Epoch, Timestamp),
    /// The earliest timer may be due.
    TimersDue,
    /// This run actor has nothing to do for a while.
    Idle(ActorId),
    /// This run actor has something to do after all.
    Busy(ActorId),
    /// The back-off of a failed run's actor is over.
    Restart(RunId, Epoch),
    /// The run could not be marked as poisoned, or was.
    Poisoned(RunId, Epoch),
    /// Answer, as a sign of life.
    Probe(oneshot::Sender<()>),
    /// Let running steps of these shards finish, start none; answer when none of their runs has an
    /// actor, with those that are not at their end.
    Close(Vec<ShardId>, oneshot::Sender<Vec<RunId>>),
    /// Cut off the steps that still run in shards where it is time for that.
    Interrupt,
    /// Panic, for tests of supervision.
    #[cfg(test)]
    Panic(Option<RunId>),
    /// Be stuck until the other end is dropped, for tests of probes.
    #[cfg(test)]
    Stick(oneshot::Receiver<()>),
}

/// What a shard is given.
#[derive(Debug)]
pub(crate) struct ShardArgs {
    pub(crate) kernel: Arc<Kernel>,
    /// Which of the node's shards it is.
    pub(crate) index: usize,
    /// What it takes up, when that was read already; else the shard reads it by itself.
    pub(crate) inherited: Option<Inherited>,
}

/// How a shard stands to one run's actor.
#[derive(Debug)]
enum Slot {
    /// The actor runs.
    Active(Mailbox<RunMsg>, Hold),
    /// The actor was asked to stop; messages wait.
    Passivating(Mailbox<RunMsg>, Hold),
    /// The run is being read from the store; messages wait.
    Loading(Hold),
    /// The actor failed and its restart is scheduled; messages wait.
    Backoff(Hold),
}

/// What is held for a run.
#[derive(Debug)]
struct Hold {
    /// In which epoch of its shard all this happens.
    under: UnderWay,
    /// Its slot; `None` for a run that was only woken to be cancelled.
    _permit: Option<OwnedSemaphorePermit>,
    buffer: VecDeque<Queued>,
}

impl Hold {
    fn new(tenure: Arc<Tenure>, permit: Option<OwnedSemaphorePermit>) -> Self {
        Self {
            under: UnderWay::new(tenure),
            _permit: permit,
            buffer: VecDeque::new(),
        }
    }

    fn tenure(&self) -> &Arc<Tenure> {
        self.under.tenure()
    }
}

/// The state of a shard.
#[derive(Debug)]
pub(crate) struct ShardState {
    kernel: Living,
    index: usize,
    /// This actor's own mailbox, for those who answer it.
    me: Mailbox<ShardMsg>,
    /// The logical shards that it carries, as far as the node owns them: see [`ownership`].
    held: Vec<Option<Arc<Tenure>>>,
    runs: HashMap<RunId, Slot>,
    actors: HashMap<ActorId, RunId>,
    timers: Timers,
    pending: Queue,
    /// Whether this shard has asked for a slot.
    asked_for_slot: bool,
    budgets: HashMap<RunId, RestartIntensity>,
    closings: Vec<Closing>,
    /// Slots that were set aside for what it takes up at the start.
    granted: Option<OwnedSemaphorePermit>,
}

impl ShardState {
    /// Takes out the slot of a run if it is the one that is meant; any other stays.
    fn take_slot(&mut self, run: RunId, is_meant: impl FnOnce(&Slot) -> bool) -> Option<Slot> {
        let is_there = self.runs.get(&run).is_some_and(is_meant);
        is_there.then(|| self.runs.remove(&run)).flatten()
    }
}

impl Actor for RunShard {
    type Msg = Mail<ShardMsg>;
    type State = ShardState;
    type Arguments = ShardArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<Mail<ShardMsg>>,
        args: ShardArgs,
    ) -> Result<ShardState, ActorProcessingErr> {
        let depth = &args.kernel.shards[args.index].depth;
        let mut state = ShardState {
            me: Mailbox::new(myself, depth),
            kernel: Living::new(args.kernel, ActorKind::Shard),
            index: args.index,
            held: Vec::new(),
            runs: HashMap::new(),
            actors: HashMap::new(),
            timers: Timers::default(),
            pending: Queue::default(),
            asked_for_slot: false,
            budgets: HashMap::new(),
            closings: Vec::new(),
            granted: None,
        };
        if let Some(inherited) = args.inherited {
            state.hold_all();
            for run in inherited.runs {
                state.take_up(&run);
            }
            state.granted = inherited.slots;
        }
        Ok(state)
    }

    async fn post_start(
        &self,
        _myself: ActorRef<Mail<ShardMsg>>,
        state: &mut ShardState,
    ) -> Result<(), ActorProcessingErr> {
        state.use_granted_slots();
        state.fill_slots();
        state.timers.arm(&state.me, &state.kernel.clock);
        state.show_load();
        Ok(())
    }

    async fn handle(
        &self,
        _myself: ActorRef<Mail<ShardMsg>>,
        mail: Mail<ShardMsg>,
        state: &mut ShardState,
    ) -> Result<(), ActorProcessingErr> {
        let _timer = state.kernel.metrics.kind(ActorKind::Shard).time();
        match mail.message {
            ShardMsg::Submit(submit) => state.submit(*submit).await?,
            ShardMsg::Accepted(run, epoch, place) => state.accepted(run, epoch, place),
            ShardMsg::Deliver(run, queued) => state.deliver(run, queued),
            ShardMsg::Describe(run, describer) => state.describe(run, describer),
            ShardMsg::Resume(run) => state.resume(run),
            ShardMsg::Owned => state.reconcile(),
            ShardMsg::Restored(runs) => state.restored(runs),
            ShardMsg::Loaded(run, epoch, result) => state.loaded(run, epoch, *result).await?,
            ShardMsg::Slot(permit) => state.got_slot(permit),
            ShardMsg::SetTimer(run, epoch, at) => state.set_timer(run, epoch, at),
            ShardMsg::TimersDue => state.fire_timers(),
            ShardMsg::Idle(actor) => state.idle(actor),
            ShardMsg::Busy(actor) => state.busy(actor),
            ShardMsg::Restart(run, epoch) => state.restart(run, epoch),
            ShardMsg::Poisoned(run, epoch) => state.poisoned(run, epoch),
            // Whoever asked may have lost patience.
            ShardMsg::Probe(reply) => drop(reply.send(())),
            ShardMsg::Close(shards, reply) => state.close(&shards, reply),
            ShardMsg::Interrupt => state.interrupt(),
            #[cfg(test)]
            ShardMsg::Panic(None) => panic!("asked to panic"),
            #[cfg(test)]
            ShardMsg::Panic(Some(run)) => state.panic_run(run),
            #[cfg(test)]
            ShardMsg::Stick(until) => drop(until.await),
        }
        state.show_load();
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _myself: ActorRef<Mail<ShardMsg>>,
        event: SupervisionEvent,
        state: &mut ShardState,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorTerminated(cell, left, _) => {
                state.run_stopped(cell.get_id(), left);
            }
            SupervisionEvent::ActorFailed(cell, error) => {
                state.run_failed(cell.get_id(), &error);
            }
            SupervisionEvent::ActorStarted(_)
            | SupervisionEvent::ProcessGroupChanged(_)
            | SupervisionEvent::PidLifecycleEvent(_) => {}
        }
        state.show_load();
        Ok(())
    }
}
