//! What every actor of a node shares: the store, the clock, the tools, the limits, the metrics.

use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use crane_core::ids::SHARD_COUNT;
use crane_core::run::FoldError;
use crane_core::{Epoch, Limits, Run, RunId, ShardId};
use crane_store::{Fence, RunImage, RunStore, codec};
use tokio::sync::{Notify, Semaphore};

use crate::clock::Clock;
use crate::hub::Hub;
use crate::metrics::{ActorKind, RuntimeMetrics};
use crate::planner::Planner;
use crate::plans::PlanCache;
use crate::registry::Registry;
use crate::supervision::ShardCounts;

/// See the module.
pub(crate) struct Kernel {
    pub(crate) store: Arc<dyn RunStore>,
    pub(crate) clock: Clock,
    pub(crate) limits: Limits,
    pub(crate) tools: Arc<Registry>,
    pub(crate) planner: Arc<dyn Planner>,
    pub(crate) plans: PlanCache,
    pub(crate) hub: Arc<Hub>,
    pub(crate) metrics: RuntimeMetrics,
    /// What is counted shard by shard.
    pub(crate) shards: Box<[ShardCounts]>,
    /// One permit for each run that has an actor.
    pub(crate) slots: Arc<Semaphore>,
    /// Accepted runs that wait for a slot.
    pub(crate) pending: AtomicUsize,
    /// Set when the node is going down: no step starts any more.
    pub(crate) draining: AtomicBool,
    /// Set when the patience with running steps is over as well: they are cut off.
    pub(crate) interrupting: AtomicBool,
    /// Ends that patience at once.
    pub(crate) hurry: Notify,
    epochs: OnceLock<Box<[AtomicU64]>>,
}

/// Why a stored run could not be loaded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    #[error(transparent)]
    Store(#[from] crane_store::Error),
    #[error("the stored events of run {run} do not fold: {source}")]
    Fold { run: RunId, source: FoldError },
}

impl Kernel {
    pub(crate) fn new(
        store: Arc<dyn RunStore>,
        clock: Clock,
        limits: Limits,
        tools: Arc<Registry>,
        planner: Arc<dyn Planner>,
        shards: usize,
    ) -> Self {
        Self {
            slots: Arc::new(Semaphore::new(limits.active_runs)),
            store,
            clock,
            limits,
            tools,
            planner,
            plans: PlanCache::default(),
            hub: Arc::default(),
            metrics: RuntimeMetrics::new(),
            shards: (0..shards).map(|_| ShardCounts::default()).collect(),
            pending: AtomicUsize::new(0),
            draining: AtomicBool::new(false),
            interrupting: AtomicBool::new(false),
            hurry: Notify::new(),
            epochs: OnceLock::new(),
        }
    }

    /// The epoch in which this node owns a shard.
    pub(crate) fn epoch(&self, shard: ShardId) -> Epoch {
        Epoch(self.epochs()[usize::from(shard.0)].load(Ordering::Acquire))
    }

    /// Remembers what was acquired.
    pub(crate) fn own(&self, fences: &[Fence]) {
        for fence in fences {
            self.epochs()[usize::from(fence.shard.0)].store(fence.epoch.0, Ordering::Release);
        }
    }

    /// What this node owns.
    pub(crate) fn fences(&self) -> Vec<Fence> {
        (0..SHARD_COUNT)
            .map(ShardId)
            .map(|shard| Fence {
                shard,
                epoch: self.epoch(shard),
            })
            .filter(|fence| fence.epoch != Epoch(0))
            .collect()
    }

    fn epochs(&self) -> &[AtomicU64] {
        self.epochs
            .get_or_init(|| (0..SHARD_COUNT).map(|_| AtomicU64::new(0)).collect())
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    pub(crate) fn is_interrupting(&self) -> bool {
        self.interrupting.load(Ordering::Acquire)
    }

    /// The run as its durable events make it.
    pub(crate) async fn load(&self, run: RunId) -> Result<Option<Run>, LoadError> {
        match self.store.load(run).await? {
            Some(image) => self.fold(&image).map(Some),
            None => Ok(None),
        }
    }

    /// The fold of a stored run.
    pub(crate) fn fold(&self, image: &RunImage) -> Result<Run, LoadError> {
        let records = codec::decode(&image.events)?;
        Run::fold(image.run, &records, |source| self.plans.load(source)).map_err(|source| {
            LoadError::Fold {
                run: image.run,
                source,
            }
        })
    }

    /// Runs work that answers by a message, outside any actor's mailbox. A panic ends the work
    /// alone; whoever waits for its answer sees the channel closed.
    pub(crate) fn background(&self, work: impl Future<Output = ()> + Send + 'static) {
        #[allow(
            clippy::disallowed_methods,
            reason = "short work of an actor that must not block its mailbox; it reports back"
        )]
        tokio::spawn(work);
    }
}

impl std::fmt::Debug for Kernel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kernel")
            .field("store", &self.store)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// The kernel in the hands of an actor, which is counted as alive as long as it holds it: however
/// an actor ends, its state is dropped.
#[derive(Debug)]
pub(crate) struct Living {
    kernel: Arc<Kernel>,
    kind: ActorKind,
}

impl Living {
    /// Counts an actor that is being spawned.
    pub(crate) fn new(kernel: Arc<Kernel>, kind: ActorKind) -> Self {
        kernel.metrics.kind(kind).spawned.one();
        Self { kernel, kind }
    }
}

impl std::ops::Deref for Living {
    type Target = Arc<Kernel>;

    fn deref(&self) -> &Arc<Kernel> {
        &self.kernel
    }
}

impl Drop for Living {
    fn drop(&mut self) {
        self.kernel.metrics.kind(self.kind).ended();
    }
}
