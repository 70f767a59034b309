//! A run actor: carries out the turns of one run.
//!
//! ```text
//!   input ──> queue ──> turn: decide + apply ──> append (one batch) ──┐
//!               ^                                                     │ durable
//!               └── step ended, timer, cancel ... <── effects, replies, publish <──┘
//! ```
//!
//! At most one eager batch is in flight; what arrives meanwhile rides in the next. A lazy batch
//! (design: the one exception) has its effects carried out at once and rides with the next eager
//! one. Nobody sees state that is not durable: replies wait, and events are published, only after
//! the store's acknowledgement. On an append error the actor dies and its shard reloads the run; when
//! the shard is not this node's any more, it stops and nothing is reloaded.
//!
//! All this happens in one tenure of the run's shard: its epoch is in every append, and when it is
//! over nothing is appended or started any more.

mod effects;
mod turn;
mod unheard;

pub(crate) use turn::Refused;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crane_core::run::{Effect, Input, Rejected};
use crane_core::{Attempt, Record, Run, Seq, ShardId, StepIndex};
use ractor::actor::messages::BoxedState;
use ractor::{Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::sync::oneshot;

use crate::kernel::{Kernel, Living};
use crate::mailbox::{Mail, Mailbox};
use crate::metrics::ActorKind;
use crate::runtime::ChangeError;
use crate::shard::ShardMsg;
use crate::step;
use crate::submit::SubmitError;
use crate::tenure::Tenure;
use unheard::Unheard;

/// See the module.
#[derive(Debug)]
pub(crate) struct RunActor;

/// What a run actor is told.
#[derive(Debug)]
pub(crate) enum RunMsg {
    /// Something arrived for the run.
    Input(Queued),
    /// A batch up to this event is durable, or was refused.
    Durable(Seq, Result<(), crane_store::Error>, Unheard),
    /// Stop if there is nothing to do until the next timer.
    Passivate,
    /// The shard is closing: start no step, stop when none is running.
    Drain,
    /// The shard is closing and does not wait any longer: cut off what runs.
    Interrupt,
    /// The lease is back: start what was put off.
    Leased,
    /// Tell how the run stands, once that is durable.
    Describe(oneshot::Sender<Run>),
    /// Panic, for tests of supervision.
    #[cfg(test)]
    Panic,
}

/// An input and who waits for its verdict.
#[derive(Debug)]
pub(crate) struct Queued {
    pub(crate) input: Input,
    pub(crate) reply: Reply,
}

impl Queued {
    pub(crate) fn silent(input: Input) -> Self {
        Self {
            input,
            reply: Reply::None,
        }
    }

    /// Tells whoever waits that the shard is not here any more.
    pub(crate) fn turn_away(self, shard: ShardId) {
        self.reply.turn_away(shard);
    }
}

/// Who waits for the verdict on an input; answered once it is durable.
#[derive(Debug)]
pub(crate) enum Reply {
    /// Nobody.
    None,
    /// Somebody who asked for a change.
    Verdict(oneshot::Sender<Result<Run, ChangeError>>),
    /// Somebody who submitted the run.
    Accepted(oneshot::Sender<Result<Run, SubmitError>>),
}

impl Reply {
    /// Tells whoever asked for a change why it is not made. They may have gone.
    pub(crate) fn refuse(self, error: ChangeError) {
        if let Self::Verdict(sender) = self {
            drop(sender.send(Err(error)));
        }
    }

    /// Tells whoever waits that the shard is not here any more. They may have gone.
    pub(crate) fn turn_away(self, shard: ShardId) {
        match self {
            Self::None => {}
            Self::Verdict(sender) => drop(sender.send(Err(ChangeError::NotOwner(shard)))),
            Self::Accepted(sender) => drop(sender.send(Err(SubmitError::NotOwner(shard)))),
        }
    }
}

/// What a run actor is given.
#[derive(Debug)]
pub(crate) struct RunArgs {
    pub(crate) kernel: Arc<Kernel>,
    /// In which the run was created or loaded.
    pub(crate) tenure: Arc<Tenure>,
    pub(crate) shard: Mailbox<ShardMsg>,
    pub(crate) run: Run,
    pub(crate) inputs: VecDeque<Queued>,
    /// Whoever waits for the end since the submission.
    pub(crate) watcher: Option<oneshot::Sender<Run>>,
}

/// A batch that is on its way to the disk.
#[derive(Debug)]
struct InFlight {
    seq: Seq,
    records: Vec<Record>,
    effects: Vec<Effect>,
    replies: Vec<(Reply, Result<(), Rejected>)>,
}

/// The state of a run actor.
#[derive(Debug)]
pub(crate) struct RunState {
    kernel: Living,
    tenure: Arc<Tenure>,
    shard: Mailbox<ShardMsg>,
    /// This actor's own mailbox, for those who answer it.
    me: Mailbox<RunMsg>,
    run: Run,
    queue: VecDeque<Queued>,
    /// The eager batch in flight.
    in_flight: Option<InFlight>,
    /// Lazy batches in flight: published when durable, waited for by nobody.
    lazy: VecDeque<(Seq, Vec<Record>)>,
    steps: HashMap<ActorId, Running>,
    describers: Vec<oneshot::Sender<Run>>,
    watcher: Option<oneshot::Sender<Run>>,
    /// Set once the actor was asked to stop or its run has ended.
    stopping: bool,
    ending: Ending,
    /// Set while starts are put off for want of a lease, and somebody waits for that.
    put_off: bool,
}

/// How a run's actor ended of its own accord.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It was told to, or its run is elsewhere.
    #[default]
    Other,
    /// Its run has ended, durably.
    RunEnded,
    /// It was to create a run that exists already.
    RunExisted,
}

/// How the actor that left this behind ended.
pub(crate) fn ending(left: Option<BoxedState>) -> Ending {
    left.and_then(|mut left| left.take::<Box<RunState>>().ok())
        .map_or_else(Ending::default, |state| state.ending)
}

#[derive(Debug)]
struct Running {
    step: StepIndex,
    attempt: Attempt,
    cell: ActorCell,
    since: tokio::time::Instant,
}

impl RunState {
    /// Whether nothing is under way.
    fn is_idle(&self) -> bool {
        self.in_flight.is_none()
            && self.queue.is_empty()
            && self.lazy.is_empty()
            && self.steps.is_empty()
    }
}

impl Actor for RunActor {
    type Msg = Mail<RunMsg>;
    // Boxed: they move through several futures.
    type State = Box<RunState>;
    type Arguments = Box<RunArgs>;

    async fn pre_start(
        &self,
        myself: ActorRef<Mail<RunMsg>>,
        args: Box<RunArgs>,
    ) -> Result<Box<RunState>, ActorProcessingErr> {
        let depth = &args.kernel.metrics.kind(ActorKind::Run).depth;
        Ok(Box::new(RunState {
            me: Mailbox::new(myself, depth),
            kernel: Living::new(args.kernel, ActorKind::Run),
            tenure: args.tenure,
            shard: args.shard,
            run: args.run,
            queue: args.inputs,
            in_flight: None,
            lazy: VecDeque::new(),
            steps: HashMap::new(),
            describers: Vec::new(),
            watcher: args.watcher,
            stopping: false,
            ending: Ending::default(),
            put_off: false,
        }))
    }

    async fn post_start(
        &self,
        _myself: ActorRef<Mail<RunMsg>>,
        state: &mut Box<RunState>,
    ) -> Result<(), ActorProcessingErr> {
        state.proceed().await
    }

    async fn handle(
        &self,
        _myself: ActorRef<Mail<RunMsg>>,
        mail: Mail<RunMsg>,
        state: &mut Box<RunState>,
    ) -> Result<(), ActorProcessingErr> {
        let _timer = state.kernel.metrics.kind(ActorKind::Run).time();
        match mail.message {
            RunMsg::Input(queued) => state.queue.push_back(queued),
            RunMsg::Durable(seq, result, unheard) => state.durable(seq, result, unheard).await?,
            RunMsg::Passivate => {
                state.passivate();
                return Ok(());
            }
            RunMsg::Drain => {}
            RunMsg::Interrupt => state.interrupt(),
            RunMsg::Leased => state.leased(),
            RunMsg::Describe(describer) => state.describers.push(describer),
            #[cfg(test)]
            RunMsg::Panic => panic!("asked to panic"),
        }
        state.proceed().await
    }

    async fn handle_supervisor_evt(
        &self,
        _myself: ActorRef<Mail<RunMsg>>,
        event: SupervisionEvent,
        state: &mut Box<RunState>,
    ) -> Result<(), ActorProcessingErr> {
        let (cell, report) = match event {
            SupervisionEvent::ActorTerminated(cell, boxed, _) => {
                let report = boxed
                    .and_then(|mut boxed| boxed.take::<Box<step::StepState>>().ok())
                    .and_then(|step| step.report);
                (cell, report)
            }
            SupervisionEvent::ActorFailed(cell, error) => {
                let error = error.to_string();
                state.step_failed(cell.get_id(), &error);
                (cell, Some(step::report_of_panic(&error)))
            }
            SupervisionEvent::ActorStarted(_)
            | SupervisionEvent::ProcessGroupChanged(_)
            | SupervisionEvent::PidLifecycleEvent(_) => return Ok(()),
        };
        state.step_ended(cell.get_id(), report);
        state.proceed().await
    }
}
