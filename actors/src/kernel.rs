//! What every actor of a node shares: the store, the clock, the tools, the limits, the metrics.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crane_core::run::FoldError;
use crane_core::{Limits, Run, RunId, ShardId};
use crane_store::{Append, Error, Fence, RunImage, RunStore, Write, codec};
use tokio::sync::{Semaphore, watch};

use crate::clock::Clock;
use crate::hub::Hub;
use crate::lease::Lease;
use crate::metrics::{ActorKind, RuntimeMetrics};
use crate::planner::Planner;
use crate::plans::PlanCache;
use crate::registry::Registry;
use crate::runtime::{Options, Owning, ReadError, StartError};
use crate::shard::ShardMsg;
use crate::supervision::ShardCounts;
use crate::supervisor::Shards;
use crate::tenure::{Tenure, Tenures};

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
    /// Whom to tell what concerns a run.
    pub(crate) actors: Shards,
    /// What is counted shard by shard.
    pub(crate) shards: Box<[ShardCounts]>,
    /// One permit for each run that has an actor.
    pub(crate) slots: Arc<Semaphore>,
    /// Accepted runs that wait for a slot.
    pub(crate) pending: AtomicUsize,
    /// What this node owns.
    pub(crate) tenures: Tenures,
    /// How long it may own anything; `None` when that does not end.
    pub(crate) lease: Option<Arc<Lease>>,
    /// Set when the node is going down.
    pub(crate) stopping: AtomicBool,
    /// Becomes true when nobody waits for running steps any more.
    pub(crate) hurry: watch::Sender<bool>,
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
    pub(crate) fn new(options: Options) -> Result<Self, StartError> {
        let lease = match options.owning {
            Owning::All => None,
            Owning::Leased(leased) => Some(Arc::new(Lease::new(leased))),
        };
        let shards = options.shards.max(1);
        Ok(Self {
            actors: Shards::new(shards),
            slots: Arc::new(Semaphore::new(options.limits.active_runs)),
            store: options.store,
            clock: options.clock,
            limits: options.limits,
            tools: Arc::new(Registry::new(options.tools)?),
            planner: options.planner,
            plans: PlanCache::default(),
            hub: Arc::default(),
            metrics: RuntimeMetrics::new(),
            shards: (0..shards).map(|_| ShardCounts::default()).collect(),
            pending: AtomicUsize::new(0),
            tenures: Tenures::default(),
            lease,
            stopping: AtomicBool::new(false),
            hurry: watch::Sender::new(false),
        })
    }

    /// Begins to own a shard. Returns whether that epoch is a new one.
    pub(crate) fn own(&self, fence: Fence, hot: Vec<RunId>) -> bool {
        self.tenures
            .begin(Tenure::new(fence, self.lease.clone(), hot))
    }

    /// The fences under which this node may write.
    pub(crate) fn fences(&self) -> Vec<Fence> {
        let tenures = self.tenures.all();
        tenures.iter().map(|tenure| tenure.fence()).collect()
    }

    /// Whether a shard that is not owned for good is not here, or takes nothing in any more.
    pub(crate) fn is_elsewhere(&self, shard: ShardId) -> bool {
        self.lease.is_some() && self.tenures.open(shard).is_none()
    }

    /// What a reader of a run has to watch: the tenure of its shard, if that may end.
    pub(crate) fn watched(&self, shard: ShardId) -> Result<Option<Arc<Tenure>>, ReadError> {
        if self.lease.is_none() {
            return Ok(None);
        }
        let tenure = self.tenures.get(shard);
        tenure.map(Some).ok_or(ReadError::NotOwner(shard))
    }

    /// Queues events of a run under the epoch of its tenure; `then` hears, on another thread, what
    /// became of them.
    pub(crate) fn append(
        &self,
        tenure: &Arc<Tenure>,
        append: Append,
        then: impl FnOnce(Result<(), Error>) + Send + 'static,
    ) {
        debug_assert_eq!(append.fence, tenure.fence());
        let ack: crane_store::Ack = match tenure.if_leased() {
            None => Box::new(then),
            Some(tenure) => Box::new(move |result| {
                tenure.note(&result);
                then(result);
            }),
        };
        self.store.submit(Write::Append(append), ack);
    }

    /// Tells the shard actor that carries a run; one that is being restarted reads the store.
    pub(crate) fn tell_shard(&self, run: RunId, message: ShardMsg) {
        if let Some(shard) = self.actors.of(run.shard()) {
            shard.send(message);
        }
    }

    /// Whether the node is going down.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
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
        background(work);
    }
}

/// As [`Kernel::background`].
pub(crate) fn background(work: impl Future<Output = ()> + Send + 'static) {
    #[allow(
        clippy::disallowed_methods,
        reason = "short work of an actor that must not block its mailbox; it reports back"
    )]
    tokio::spawn(work);
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
