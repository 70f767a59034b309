//! A run shard: owns the runs of many logical shards.
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
mod inherited;
mod supervision;
mod timers;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crane_core::restart::RestartIntensity;
use crane_core::{Run, RunId, Timestamp};
use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::kernel::{Kernel, Living, LoadError};
use crate::mailbox::{Mail, Mailbox};
use crate::metrics::ActorKind;
use crate::run::{Queued, RunMsg};
use crate::submit::Submit;
pub(crate) use inherited::Inherited;
use timers::Timers;

/// See the module.
#[derive(Debug)]
pub(crate) struct RunShard;

/// What a shard is told.
#[derive(Debug)]
pub(crate) enum ShardMsg {
    /// A new run.
    Submit(Box<Submit>),
    /// An accepted run that found no slot is durable now.
    Accepted(RunId),
    /// Something for a run that exists.
    Deliver(RunId, Queued),
    /// Tell how the run stands; dropped when it has no actor.
    Describe(RunId, oneshot::Sender<Run>),
    /// Take up an unfinished run.
    Resume(RunId),
    /// A run was read from the store.
    Loaded(RunId, Box<Result<Option<Run>, LoadError>>),
    /// A slot is free.
    Slot(OwnedSemaphorePermit),
    /// Wake this run then; replaces an earlier time.
    SetTimer(RunId, Timestamp),
    /// The earliest timer may be due.
    TimersDue,
    /// A run's actor has nothing to do for a while.
    Idle(RunId),
    /// A run's actor has something to do after all.
    Busy(RunId),
    /// The back-off of a failed run's actor is over.
    Restart(RunId),
    /// The run could not be marked as poisoned, or was.
    Poisoned(RunId),
    /// Answer, as a sign of life.
    Probe(oneshot::Sender<()>),
    /// Let running steps finish, start none, answer when no run has an actor.
    Drain(oneshot::Sender<()>),
    /// Cut off the steps that still run.
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
    /// What it takes up.
    pub(crate) inherited: Inherited,
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
#[derive(Debug, Default)]
struct Hold {
    /// Its slot; `None` for a run that was only woken to be cancelled.
    _permit: Option<OwnedSemaphorePermit>,
    buffer: VecDeque<Queued>,
}

/// The state of a shard.
#[derive(Debug)]
pub(crate) struct ShardState {
    kernel: Living,
    index: usize,
    /// This actor's own mailbox, for those who answer it.
    me: Mailbox<ShardMsg>,
    runs: HashMap<RunId, Slot>,
    actors: HashMap<ActorId, RunId>,
    timers: Timers,
    /// Durable runs that wait for a slot, oldest first.
    pending: VecDeque<RunId>,
    /// Whether this shard has asked for a slot.
    asked_for_slot: bool,
    budgets: HashMap<RunId, RestartIntensity>,
    drained: Option<oneshot::Sender<()>>,
    /// Slots that were set aside for what it takes up at the start.
    granted: Option<OwnedSemaphorePermit>,
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
            runs: HashMap::new(),
            actors: HashMap::new(),
            timers: Timers::default(),
            pending: VecDeque::new(),
            asked_for_slot: false,
            budgets: HashMap::new(),
            drained: None,
            granted: args.inherited.slots,
        };
        state.take_up(args.inherited.runs);
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
            ShardMsg::Accepted(run) => {
                state.enqueue(run);
                state.fill_slots();
            }
            ShardMsg::Deliver(run, queued) => state.deliver(run, queued),
            ShardMsg::Describe(run, describer) => state.describe(run, describer),
            ShardMsg::Resume(run) => {
                if !state.runs.contains_key(&run) {
                    state.enqueue(run);
                    state.fill_slots();
                }
            }
            ShardMsg::Loaded(run, result) => state.loaded(run, *result).await?,
            ShardMsg::Slot(permit) => state.got_slot(permit),
            ShardMsg::SetTimer(run, at) => {
                state.timers.set(run, at);
                state.timers.arm(&state.me, &state.kernel.clock);
            }
            ShardMsg::TimersDue => state.fire_timers(),
            ShardMsg::Idle(run) => state.idle(run),
            ShardMsg::Busy(run) => state.busy(run),
            ShardMsg::Restart(run) => state.restart(run),
            ShardMsg::Poisoned(run) => state.forget(run),
            // Whoever asked may have lost patience.
            ShardMsg::Probe(reply) => drop(reply.send(())),
            ShardMsg::Drain(reply) => state.drain(reply),
            ShardMsg::Interrupt => state.tell_active(|| RunMsg::Interrupt),
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
            SupervisionEvent::ActorTerminated(cell, _, _) => {
                state.run_stopped(cell.get_id());
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
