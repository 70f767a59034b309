//! The root of the tree.
//!
//! ```text
//!   NodeSupervisor
//!    |- JournalActor                fails -> the process must end
//!    |- ToolSupervisor              fails -> restarted
//!    |   `- ToolActor per tool
//!    `- RunShard x n                fails -> restarted, its runs restored from the store
//!        `- RunActor per active run
//!            `- StepActor per attempt
//! ```

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use crane_core::ShardId;
use crane_core::restart::{RestartIntensity, RestartPolicy, Verdict};
use crane_store::Unfinished;
use futures_util::StreamExt;
use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::sync::{oneshot, watch};

use crate::journal::JournalActor;
use crate::kernel::{Kernel, Living};
use crate::mailbox::{Mail, Mailbox};
use crate::metrics::{ActorKind, Failure, FailureKind};
use crate::shard::{Inherited, RunShard, ShardArgs, ShardMsg};
use crate::tool_supervisor::ToolSupervisor;

/// See the module.
#[derive(Debug)]
pub(crate) struct NodeSupervisor;

/// The shards of a node; a restarted one takes the place of the old.
#[derive(Debug)]
pub(crate) struct Shards(RwLock<Vec<Option<Mailbox<ShardMsg>>>>);

impl Shards {
    pub(crate) fn new(count: usize) -> Self {
        Self(RwLock::new(vec![None; count.max(1)]))
    }

    pub(crate) fn count(&self) -> usize {
        self.0.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Which of `count` shard actors carries a logical shard.
    pub(crate) fn index_of(shard: ShardId, count: usize) -> usize {
        usize::from(shard.0) % count
    }

    /// The actor that carries a logical shard; `None` while it is being restarted.
    pub(crate) fn of(&self, shard: ShardId) -> Option<Mailbox<ShardMsg>> {
        let shards = self.0.read().unwrap_or_else(PoisonError::into_inner);
        shards[Self::index_of(shard, shards.len())].clone()
    }

    pub(crate) fn all(&self) -> Vec<Mailbox<ShardMsg>> {
        self.each().into_iter().flatten().collect()
    }

    /// Every shard by its number; `None` for one that is being restarted.
    pub(crate) fn each(&self) -> Vec<Option<Mailbox<ShardMsg>>> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn put(&self, index: usize, shard: Option<Mailbox<ShardMsg>>) {
        self.0.write().unwrap_or_else(PoisonError::into_inner)[index] = shard;
    }
}

/// What the supervisor is told.
#[derive(Debug)]
pub(crate) enum NodeMsg {
    /// Start this shard again; it reads its unfinished runs.
    StartShard(usize),
    /// Start the tools' supervisor.
    StartTools,
    /// Stop the whole tree.
    Stop(oneshot::Sender<()>),
}

/// What the supervisor is given.
#[derive(Debug)]
pub(crate) struct NodeArgs {
    pub(crate) kernel: Arc<Kernel>,
    /// The unfinished runs to take up, and the slots for them, by shard.
    pub(crate) unfinished: Vec<Inherited>,
    /// Told when the node cannot go on.
    pub(crate) fatal: watch::Sender<Option<Arc<str>>>,
    pub(crate) started: oneshot::Sender<()>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Child {
    Journal,
    Tools,
    Shard(usize),
}

impl Child {
    fn kind(self) -> ActorKind {
        match self {
            Self::Journal => ActorKind::Journal,
            Self::Tools => ActorKind::ToolSupervisor,
            Self::Shard(_) => ActorKind::Shard,
        }
    }
}

impl fmt::Display for Child {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Journal => f.write_str("journal"),
            Self::Tools => f.write_str("tool supervisor"),
            Self::Shard(index) => write!(f, "shard {index}"),
        }
    }
}

/// Its children and their restart budgets.
#[derive(Debug)]
pub(crate) struct NodeState {
    kernel: Living,
    /// This actor's own mailbox.
    me: Mailbox<NodeMsg>,
    fatal: watch::Sender<Option<Arc<str>>>,
    children: HashMap<ActorId, Child>,
    budgets: HashMap<Child, RestartIntensity>,
    start: Option<(Vec<Inherited>, oneshot::Sender<()>)>,
}

impl Actor for NodeSupervisor {
    type Msg = Mail<NodeMsg>;
    type State = NodeState;
    type Arguments = NodeArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<Mail<NodeMsg>>,
        args: NodeArgs,
    ) -> Result<NodeState, ActorProcessingErr> {
        let depth = &args.kernel.metrics.kind(ActorKind::Node).depth;
        Ok(NodeState {
            me: Mailbox::new(myself, depth),
            kernel: Living::new(args.kernel, ActorKind::Node),
            fatal: args.fatal,
            children: HashMap::new(),
            budgets: HashMap::new(),
            start: Some((args.unfinished, args.started)),
        })
    }

    async fn post_start(
        &self,
        myself: ActorRef<Mail<NodeMsg>>,
        state: &mut NodeState,
    ) -> Result<(), ActorProcessingErr> {
        let Some((unfinished, started)) = state.start.take() else {
            return Ok(());
        };
        let kernel = state.kernel.clone();
        let (journal, _) =
            JournalActor::spawn_linked(None, JournalActor, kernel, myself.get_cell()).await?;
        state.children.insert(journal.get_id(), Child::Journal);
        state.start_tools(&myself).await?;
        for (index, inherited) in unfinished.into_iter().enumerate() {
            state.start_shard(&myself, index, Some(inherited)).await?;
        }
        // The starter waits for this and for nothing else.
        let _ = started.send(());
        Ok(())
    }

    async fn handle(
        &self,
        myself: ActorRef<Mail<NodeMsg>>,
        mail: Mail<NodeMsg>,
        state: &mut NodeState,
    ) -> Result<(), ActorProcessingErr> {
        let _timer = state.kernel.metrics.kind(ActorKind::Node).time();
        match mail.message {
            NodeMsg::StartShard(index) => {
                state.kernel.shards[index].restarted();
                state.start_shard(&myself, index, None).await?;
            }
            NodeMsg::StartTools => state.start_tools(&myself).await?,
            NodeMsg::Stop(reply) => {
                state.children.clear();
                let cell = myself.get_cell();
                cell.stop_children_and_wait(None, Some(std::time::Duration::from_secs(2)))
                    .await;
                let _ = reply.send(());
                myself.stop(None);
            }
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _myself: ActorRef<Mail<NodeMsg>>,
        event: SupervisionEvent,
        state: &mut NodeState,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorTerminated(cell, _, reason) => {
                state.child_ended(cell.get_id(), &reason.unwrap_or_default());
            }
            SupervisionEvent::ActorFailed(cell, error) => {
                state.child_ended(cell.get_id(), &error.to_string());
            }
            SupervisionEvent::ActorStarted(_)
            | SupervisionEvent::ProcessGroupChanged(_)
            | SupervisionEvent::PidLifecycleEvent(_) => {}
        }
        Ok(())
    }
}

impl NodeState {
    async fn start_tools(
        &mut self,
        myself: &ActorRef<Mail<NodeMsg>>,
    ) -> Result<(), ActorProcessingErr> {
        let kernel = self.kernel.clone();
        let (actor, _) =
            ToolSupervisor::spawn_linked(None, ToolSupervisor, kernel, myself.get_cell()).await?;
        self.children.insert(actor.get_id(), Child::Tools);
        Ok(())
    }

    async fn start_shard(
        &mut self,
        myself: &ActorRef<Mail<NodeMsg>>,
        index: usize,
        inherited: Option<Inherited>,
    ) -> Result<(), ActorProcessingErr> {
        let again = inherited.is_none();
        let args = ShardArgs {
            kernel: self.kernel.clone(),
            index,
            inherited,
        };
        let (actor, _) = RunShard::spawn_linked(None, RunShard, args, myself.get_cell()).await?;
        self.children.insert(actor.get_id(), Child::Shard(index));
        let depth = &self.kernel.shards[index].depth;
        let shard = Mailbox::new(actor, depth);
        self.kernel.actors.put(index, Some(shard.clone()));
        if again {
            // Once it can be found: what is opened or stopped from now on, it is told.
            shard.send(ShardMsg::Owned);
        }
        Ok(())
    }

    fn child_ended(&mut self, actor: ActorId, error: &str) {
        let Some(child) = self.children.remove(&actor) else {
            return;
        };
        let kind = child.kind();
        let metrics = self.kernel.metrics.kind(kind);
        let now = self.kernel.clock.now();
        let reason = match child {
            // What the store says names files of the node, and operators see it over the network.
            Child::Journal => "the store has stopped; the log says why",
            Child::Tools | Child::Shard(_) => error,
        };
        let failure = Failure::new(now, child.to_string(), None, reason);
        if let Child::Shard(index) = child {
            self.kernel.actors.put(index, None);
            self.kernel.shards[index].failed(failure.clone());
        }
        metrics.failed(failure);
        if child == Child::Journal {
            self.give_up(error);
            return;
        }
        let budget = self
            .budgets
            .entry(child)
            .or_insert_with(|| RestartIntensity::new(RestartPolicy::default(), 0));
        match budget.failed(now) {
            Verdict::RestartAfter(delay) => {
                metrics.restarted(FailureKind::Failed);
                tracing::error!(actor = %child, error, ?delay, "actor failed, will be restarted");
                self.restart(child, delay);
            }
            Verdict::GiveUp => {
                metrics.exhausted.one();
                self.give_up(&format!("{child} failed too often: {error}"));
            }
        }
    }

    fn restart(&self, child: Child, delay: std::time::Duration) {
        let start = move || {
            Mail::uncounted(match child {
                Child::Shard(index) => NodeMsg::StartShard(index),
                // The journal is not restarted.
                Child::Tools | Child::Journal => NodeMsg::StartTools,
            })
        };
        self.me.actor().send_after(delay, start);
    }

    fn give_up(&self, reason: &str) {
        tracing::error!(reason, "the node cannot go on");
        self.fatal.send_replace(Some(reason.into()));
    }
}

/// All unfinished runs, divided among `count` shards.
pub(crate) async fn unfinished_by_shard(
    kernel: &Kernel,
    count: usize,
) -> Result<Vec<Vec<Unfinished>>, crane_store::Error> {
    let mut shards = vec![Vec::new(); count];
    let fences = kernel.fences();
    if fences.is_empty() {
        return Ok(shards);
    }
    let mut runs = kernel.store.restore(fences);
    while let Some(unfinished) = runs.next().await {
        let unfinished = unfinished?;
        shards[Shards::index_of(unfinished.run.shard(), count)].push(unfinished);
    }
    Ok(shards)
}
