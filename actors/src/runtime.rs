//! The typed handle of a node's supervision tree; it hides the actors from callers.

mod observing;
mod owning;
mod submitting;
mod types;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crane_core::breaker::{self, Mode};
use crane_core::ids::SHARD_COUNT;
use crane_core::run::{Input, Rejected};
use crane_core::tool::ToolError;
use crane_core::{Run, RunId, RunStatus, Seq, ShardId, limits};
use crane_store::{Filter, Listing, Page};
use ractor::Actor;
use serde_json::Value;
use tokio::sync::{oneshot, watch};

use crate::follow::{Follower, Tail};
use crate::kernel::Kernel;
use crate::mailbox::Mailbox;
use crate::metrics::ActorKind;
use crate::probe::Prober;
use crate::registry::Registry;
use crate::run::{Queued, Reply};
use crate::shard::{Inherited, ShardMsg};
use crate::supervisor::{NodeArgs, NodeMsg, NodeSupervisor, unfinished_by_shard};
use crate::{breaker_rows, call};

pub use types::{
    ChangeError, Leased, Options, Owning, ReadError, Restore, StartError, ToolView, Tried,
};

/// A running node. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Runtime {
    kernel: Arc<Kernel>,
    node: Mailbox<NodeMsg>,
    prober: Arc<Prober>,
    fatal: watch::Receiver<Option<Arc<str>>>,
    unfinished: usize,
    started: tokio::time::Instant,
}

impl Runtime {
    /// Starts the supervision tree and takes up unfinished runs of the shards that it owns.
    ///
    /// # Errors
    /// Tools that cannot be used together, or a store that cannot be read or owned.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        let restore = options.restore.clone();
        let kernel = Arc::new(Kernel::new(options)?);
        if kernel.lease.is_none() {
            let all = (0..SHARD_COUNT).map(ShardId).collect();
            for fence in kernel.store.acquire(all).await? {
                kernel.own(fence, Vec::new());
            }
        }
        restore_breakers(&kernel).await?;
        let shards = kernel.actors.count();
        let mut unfinished = unfinished_by_shard(&kernel, shards).await?;
        let count = unfinished.iter().map(Vec::len).sum();
        if restore == Restore::None {
            unfinished = vec![Vec::new(); shards];
        }
        let (fatal_sender, fatal) = watch::channel(None);
        let (started, start) = oneshot::channel();
        let args = NodeArgs {
            kernel: kernel.clone(),
            unfinished: Inherited::divide(unfinished, &kernel.slots),
            fatal: fatal_sender,
            started,
        };
        let (node, _) = NodeSupervisor::spawn(None, NodeSupervisor, args)
            .await
            .map_err(|error| StartError::Actors(error.to_string()))?;
        start
            .await
            .map_err(|_| StartError::Actors("a child failed to start".to_owned()))?;
        let node = Mailbox::new(node, &kernel.metrics.kind(ActorKind::Node).depth);
        Ok(Self {
            kernel,
            node,
            prober: Arc::default(),
            fatal,
            unfinished: count,
            started: tokio::time::Instant::now(),
        })
    }

    /// How many unfinished runs the store held at the start.
    pub fn unfinished_at_start(&self) -> usize {
        self.unfinished
    }

    /// Cancels a run; the request is durable when this returns. Repeating it is harmless until
    /// the run has ended.
    ///
    /// # Errors
    /// No such run, or it has ended already, or it is not here.
    pub async fn cancel(&self, id: RunId) -> Result<Run, ChangeError> {
        self.change(id, Input::Cancel).await
    }

    /// Opens a failed or cancelled run again; that is durable when this returns.
    ///
    /// # Errors
    /// No such run, or it has not ended, or it completed, or it is not here.
    pub async fn retry(&self, id: RunId) -> Result<Run, ChangeError> {
        self.change(id, Input::Retry).await
    }

    async fn change(&self, id: RunId, input: Input) -> Result<Run, ChangeError> {
        for tries in 0..limits::ENDED_ACTOR_TRIES {
            // An earlier try may have been carried out.
            let elsewhere = |shard| match tries {
                0 => ChangeError::Elsewhere(shard),
                _ => ChangeError::NotOwner(shard),
            };
            // Also in a shard that is being closed: what runs there can be cancelled.
            if !self.holds(id.shard()) {
                return Err(elsewhere(id.shard()));
            }
            let known = self.kernel.store.summary(id).await;
            let Some(known) = known.map_err(ReadError::from)? else {
                return Err(ChangeError::NotFound(id));
            };
            // It would otherwise be woken for nothing, and could get ahead of others that wait.
            if matches!(input, Input::Retry) && !known.status.is_reopenable() {
                let (input, status) = ("retry", known.status);
                return Err(Rejected::WrongStatus { input, status }.into());
            }
            let (sender, answer) = oneshot::channel();
            let queued = Queued {
                input: input.clone(),
                reply: Reply::Verdict(sender),
            };
            self.send(id, ShardMsg::Deliver(id, queued));
            match answer.await {
                Ok(Err(ChangeError::Elsewhere(shard))) => return Err(elsewhere(shard)),
                Ok(verdict) => return verdict,
                // The run's actor ended before it got to it: ask again, the store knows more now.
                Err(_) => tokio::time::sleep(limits::ENDED_ACTOR_PAUSE).await,
            }
        }
        Err(ChangeError::Lost(id))
    }

    /// Takes up an unfinished run that was left alone at the start.
    pub fn resume(&self, id: RunId) {
        self.send(id, ShardMsg::Resume(id));
    }

    /// The run as its durable events make it.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn load(&self, id: RunId) -> Result<Option<Run>, ReadError> {
        Ok(self.kernel.load(id).await?)
    }

    /// A page of runs, newest first, and how many match.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn list(&self, filter: Filter, page: Page) -> Result<Listing, ReadError> {
        Ok(self.kernel.store.list(filter, page).await?)
    }

    /// Number of runs by status.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn counts(&self) -> Result<BTreeMap<RunStatus, usize>, ReadError> {
        Ok(self.kernel.store.counts().await?)
    }

    /// Follows a run from the event after `after` on; `None` when there is no such run.
    ///
    /// # Errors
    /// When the store fails, or the run is not here.
    pub async fn follow(&self, id: RunId, after: Seq) -> Result<Option<Follower>, ReadError> {
        Follower::open(self.kernel.clone(), id, after).await
    }

    /// Hands on the events of a run from the event after `after` on, or from its last when there is
    /// no such event yet; `None` when there is no such run.
    ///
    /// # Errors
    /// When the store fails, or the run is not here.
    pub async fn tail(&self, id: RunId, after: Seq) -> Result<Option<Tail>, ReadError> {
        Tail::open(self.kernel.clone(), id, after).await
    }

    /// The events of a run that are stored, behind `after`: to be read to their end with
    /// [`Tail::next_stored`], whoever owns the run; `None` when there is no such run.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn stored(&self, id: RunId, after: Seq) -> Result<Option<Tail>, ReadError> {
        Tail::stored(self.kernel.clone(), id, after).await
    }

    /// Waits until the run has ended; `None` when there is no such run.
    ///
    /// # Errors
    /// When the store fails, or the run is not here (any more).
    pub async fn ended(&self, id: RunId) -> Result<Option<Run>, ReadError> {
        let Some(mut follower) = self.follow(id, Seq(0)).await? else {
            return Ok(None);
        };
        while follower.next().await?.is_some() {}
        Ok(Some(follower.run().clone()))
    }

    /// The tools, by name.
    pub fn tools(&self) -> Vec<ToolView> {
        let now = self.kernel.clock.now();
        let gates = self.kernel.tools.gates();
        gates
            .map(|gate| ToolView {
                spec: gate.spec().clone(),
                breaker: gate.snapshot(now),
            })
            .collect()
    }

    /// The tools as the checks of a plan see them.
    pub fn catalog(&self) -> &Registry {
        &self.kernel.tools
    }

    /// Calls a tool once, outside any run; `None` when there is no such tool.
    pub async fn try_tool(&self, tool: &str, input: Value) -> Option<Tried> {
        let gate = self.kernel.tools.gate(tool)?.clone();
        let kernel = self.kernel.clone();
        let (sender, answer) = oneshot::channel();
        // On a task of its own, so that a panic of the tool is an answer and not the caller's end.
        self.kernel.background(async move {
            let called = call::call(&kernel, None, &gate, input, None, None, None).await;
            let _ = sender.send(called);
        });
        let called = match answer.await {
            Ok(called) => Tried {
                result: called.result,
                took: called.took,
            },
            Err(_) => Tried {
                result: Err(ToolError::new(
                    crane_core::tool::ErrorKind::Panic,
                    "the tool panicked",
                )),
                took: Duration::ZERO,
            },
        };
        Some(called)
    }

    /// Forces a tool's breaker, or gives it back to its own rules; `None` when there is no such
    /// tool.
    pub fn force_breaker(&self, tool: &str, mode: Mode) -> Option<breaker::State> {
        let gate = self.kernel.tools.gate(tool)?;
        Some(gate.force(mode, self.kernel.clock.now()))
    }

    /// Resolves when the node cannot go on, with the reason; the process must end then.
    pub async fn failed(&self) -> Arc<str> {
        let mut fatal = self.fatal.clone();
        let seen = fatal
            .wait_for(Option::is_some)
            .await
            .map(|reason| reason.clone());
        match seen {
            Ok(Some(reason)) => reason,
            // It was told to.
            _ if self.kernel.is_stopping() => std::future::pending().await,
            _ => "the node's supervisor has ended".into(),
        }
    }

    /// Goes down: closes all shards that are open here, in the way of [`Runtime::close_shard`], stops
    /// every actor and closes the store. What is unfinished goes on at the next start; a step that
    /// was cut off runs again (an at-most-once step fails with `outcome_unknown`), and that counts
    /// neither as a failure nor as a crash.
    ///
    /// # Errors
    /// When the store cannot make its last writes durable.
    pub async fn shutdown(&self, grace: Duration) -> Result<(), crane_store::Error> {
        self.kernel.stopping.store(true, Ordering::Release);
        self.close(&self.kernel.tenures.all(), grace).await;
        let (sender, stopped) = oneshot::channel();
        self.node.send(NodeMsg::Stop(sender));
        // A tree that is gone already needs no stopping.
        let _ = stopped.await;
        self.keep_breakers().await?;
        self.kernel.store.close().await
    }

    /// Whether it is going down in order: what fails then, fails because it was closed.
    pub fn is_stopping(&self) -> bool {
        self.kernel.is_stopping()
    }

    /// Ends the grace of everything that is being closed, by [`Runtime::shutdown`] or
    /// [`Runtime::close_shard`], now and from now on.
    pub fn hurry(&self) {
        self.kernel.hurry.send_replace(true);
    }

    /// Makes the breakers' counts durable; their changes are already.
    async fn keep_breakers(&self) -> Result<(), crane_store::Error> {
        let now = self.kernel.clock.now();
        for gate in self.kernel.tools.gates() {
            let snapshot = gate.snapshot(now);
            if snapshot.changes > 0 || snapshot.failures_in_a_row > 0 {
                let write = breaker_rows::write(gate.spec().name.as_str(), &snapshot);
                crane_store::commit(self.kernel.store.as_ref(), write).await?;
            }
        }
        Ok(())
    }

    pub(crate) fn send(&self, run: RunId, message: ShardMsg) {
        self.kernel.tell_shard(run, message);
    }
}

/// Puts the breakers back to where they were when the node last ran.
async fn restore_breakers(kernel: &Kernel) -> Result<(), crane_store::Error> {
    for (tool, row) in kernel.store.tool_rows(breaker_rows::TABLE).await? {
        let Some(gate) = kernel.tools.gate(&tool) else {
            continue;
        };
        match breaker_rows::decode(&row) {
            Some(snapshot) => gate.restore(&snapshot, kernel.clock.now()),
            None => tracing::warn!(
                tool,
                "stored breaker state is not readable, starting closed"
            ),
        }
    }
    Ok(())
}
