//! `PostgresStore`: opening, closing, and the traits.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crane_core::{Json, RunId, RunStatus, ShardId};
use futures_core::future::BoxFuture;
use futures_core::stream::BoxStream;
use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::connect::Connector;
use super::historian::Errands;
use super::lease::Lease;
use super::migrate::{self, MIGRATIONS};
use super::pool::Pool;
use super::problem::Problem;
use super::queue::{Job, Queue, Waiter};
use super::reads::{self, Restore};
use super::shared::{Delays, Outage, Phase, Shared};
use super::writer::Writer;
use super::{Options, historian, keeper, lock, shards};
use crate::leases::{Incarnation, Leases, Owner, ShardTable};
use crate::metrics::Metrics;
use crate::{
    Ack, Error, Fence, Filter, Listing, Page, RunImage, RunStore, Summary, Unfinished, Write,
};

/// Connections that write; each has half of the shards.
const WRITERS: usize = 2;

/// Threads of a store: so that a renewal does not wait while another one works.
const THREADS: usize = 2;

/// The store of a cluster. See the module.
pub struct PostgresStore {
    shared: Arc<Shared>,
    queues: Vec<Arc<Queue>>,
    engine: Engine,
    /// Writers and historian, until they were waited for.
    workers: Mutex<Vec<JoinHandle<()>>>,
}

/// The store's threads.
struct Engine(Option<Runtime>);

impl Engine {
    fn start() -> Result<Self, Error> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("crane-postgres")
            .enable_all()
            .build()
            .map_err(|source| Error::Io {
                context: "cannot start the threads of the store".to_owned(),
                source: Arc::new(source),
            })?;
        Ok(Self(Some(runtime)))
    }

    fn handle(&self) -> Option<&Handle> {
        self.0.as_ref().map(Runtime::handle)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            // The last handle may be dropped where blocking is not allowed.
            runtime.shutdown_background();
        }
    }
}

impl PostgresStore {
    /// Connects, checks the server, brings its schema up to date. Takes no lease.
    ///
    /// # Errors
    /// [`Error::Unsuitable`] with what to do about it, [`Error::Unavailable`] when the database was
    /// not reached for as long as a lease lives.
    // By value: who opens a store has no further use for its options.
    #[allow(clippy::needless_pass_by_value)]
    pub async fn open(options: Options) -> Result<Self, Error> {
        let engine = Engine::start()?;
        let Some(handle) = engine.handle().cloned() else {
            return Err(Error::Fatal("its threads did not start".into()));
        };
        let begun = (options.now)();
        let connector = Connector::new(&options, handle.clone())?;
        let shared = Arc::new(Shared {
            connector,
            lease: Lease::new(&options.node, options.ttl),
            keeper: Default::default(),
            pool: Pool::new(options.readers),
            errands: Errands::default(),
            metrics: Metrics::default(),
            clock: Arc::clone(&options.now),
            retention: options.retention,
            fenced: options.is_fenced(),
            phase: watch::Sender::new(Phase::Open),
            outage: Outage::default(),
        });
        let opened = Arc::clone(&shared);
        let made_ready = handle.spawn(async move { make_ready(&opened).await });
        match made_ready.await {
            Ok(result) => result?,
            Err(_) => return Err(Error::Fatal("a thread of the store has died".into())),
        }
        let took = shared.now().since(begun);
        shared.metrics.recovery_seconds.record(took);
        tracing::info!(place = %shared.connector.place, ?took, "opened the store");
        let store = Self {
            queues: (0..WRITERS).map(|_| Arc::default()).collect(),
            shared,
            engine,
            workers: Mutex::default(),
        };
        store.start_workers(options.renews);
        Ok(store)
    }

    fn start_workers(&self, renews: bool) {
        let Some(engine) = self.engine.handle() else {
            return;
        };
        let mut workers = lock(&self.workers);
        for queue in &self.queues {
            let writer = Writer::new(Arc::clone(&self.shared), Arc::clone(queue));
            workers.push(supervised(engine, &self.shared, "a writer", writer.run()));
        }
        let historian = historian::run(Arc::clone(&self.shared));
        workers.push(supervised(engine, &self.shared, "the historian", historian));
        if renews {
            // Ends with the phase; nobody waits for it.
            let keeper = keeper::run(Arc::clone(&self.shared));
            drop(supervised(engine, &self.shared, "the keeper", keeper));
        }
    }

    /// Work on the store's own threads, whoever polls it.
    fn on_engine<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> BoxFuture<'_, Result<T, Error>> {
        Box::pin(async move {
            let task = self.engine.handle().map(|engine| engine.spawn(work));
            match task {
                Some(task) => task.await.unwrap_or_else(|_| Err(self.shared.stopped())),
                None => Err(self.shared.stopped()),
            }
        })
    }

    fn queue_of(&self, write: &Write) -> &Arc<Queue> {
        let shard = match write {
            Write::Append(append) => append.run.shard().0,
            // Behind what its run has written.
            Write::Tool(write) => write.run.map_or(0, |run| run.shard().0),
        };
        &self.queues[usize::from(shard) % self.queues.len()]
    }

    /// What is queued is written; then the historian finishes; then the lease is given back.
    async fn finish(&self) {
        for queue in &self.queues {
            queue.close();
        }
        self.shared.errands.close();
        let workers = std::mem::take(&mut *lock(&self.workers));
        for worker in workers {
            // A panic was told where it happened.
            let _ = worker.await;
        }
        let shared = Arc::clone(&self.shared);
        let left = self.on_engine(async move {
            shards::leave(&shared).await;
            keeper::close(&shared).await;
            Ok(())
        });
        // An engine that is gone has nothing to give back.
        let _ = left.await;
        self.shared.pool.close();
    }
}

/// Migrates, and waits for the database if it is not there yet.
async fn make_ready(shared: &Shared) -> Result<(), Error> {
    let until = super::clock::boot_time() + shared.lease.ttl();
    let mut delays = Delays::new(shared.lease.ttl());
    loop {
        let result = async {
            migrate::migrate(&shared.connector, MIGRATIONS.len()).await?;
            // The checks that migrating does not make.
            shared.pool.get(&shared.connector).await.map(drop)
        };
        let problem = match result.await {
            Ok(()) => return Ok(()),
            Err(problem) => problem,
        };
        let delay = delays.next();
        let passes = matches!(problem, Problem::Lost(_) | Problem::Busy { .. });
        if !passes || super::clock::boot_time() + delay > until {
            return Err(migrate::explain(problem, &shared.connector));
        }
        tokio::time::sleep(delay).await;
    }
}

/// Spawns on the store's threads; a panic stops the store.
fn supervised(
    engine: &Handle,
    shared: &Arc<Shared>,
    name: &'static str,
    work: impl Future<Output = ()> + Send + 'static,
) -> JoinHandle<()> {
    let shared = Arc::clone(shared);
    engine.spawn(async move {
        if AssertUnwindSafe(work).catch_unwind().await.is_err() {
            shared.fail(&format!("{name} panicked"));
        }
    })
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore")
            .field("place", &self.shared.connector.place)
            .field("node", &self.shared.lease.node())
            .field("owner", &self.shared.lease.owner())
            .finish_non_exhaustive()
    }
}

impl Drop for PostgresStore {
    fn drop(&mut self) {
        for queue in &self.queues {
            queue.close();
        }
        // Not closed before: as a crash would leave it. The lease runs out.
        self.shared.phase.send_if_modified(|phase| {
            let is_open = *phase == Phase::Open;
            if is_open {
                *phase = Phase::Closed;
            }
            is_open
        });
    }
}

impl RunStore for PostgresStore {
    fn submit(&self, write: Write, ack: Ack) {
        let queue = self.queue_of(&write);
        let waiter = Waiter::new(ack);
        if let Some(job) = queue.push(Job { write, waiter }) {
            let error = self.shared.stopped();
            // Callers may hold locks here, so this ack, too, comes from elsewhere.
            if let Some(engine) = self.engine.handle() {
                drop(engine.spawn(async move { job.waiter.tell(Err(error)) }));
            }
        }
    }

    fn load(&self, run: RunId) -> BoxFuture<'_, Result<Option<RunImage>, Error>> {
        let shared = Arc::clone(&self.shared);
        self.on_engine(async move { reads::load(&shared, run).await })
    }

    fn summary(&self, run: RunId) -> BoxFuture<'_, Result<Option<Summary>, Error>> {
        let shared = Arc::clone(&self.shared);
        self.on_engine(async move { reads::summary(&shared, run).await })
    }

    fn list(&self, filter: Filter, page: Page) -> BoxFuture<'_, Result<Listing, Error>> {
        let shared = Arc::clone(&self.shared);
        self.on_engine(async move { reads::list(&shared, &filter, page).await })
    }

    fn counts(&self) -> BoxFuture<'_, Result<BTreeMap<RunStatus, usize>, Error>> {
        let shared = Arc::clone(&self.shared);
        self.on_engine(async move { reads::counts(&shared).await })
    }

    fn restore(&self, shards: Vec<Fence>) -> BoxStream<'_, Result<Unfinished, Error>> {
        let restore = Restore::new(Arc::clone(&self.shared), &shards);
        let pages = stream::try_unfold(restore, move |mut restore| {
            self.on_engine(async move {
                let page = restore.next().await?;
                if let Some(page) = &page {
                    let runs = page.len() as u64;
                    restore.shared.metrics.recovered_runs.increment(runs);
                }
                Ok(page.map(|page| (stream::iter(page).map(Ok), restore)))
            })
        });
        pages.try_flatten().boxed()
    }

    fn acquire(&self, shards: Vec<ShardId>) -> BoxFuture<'_, Result<Vec<Fence>, Error>> {
        let shared = Arc::clone(&self.shared);
        self.on_engine(async move { shards::acquire(&shared, &shards).await })
    }

    fn renew(&self) -> BoxFuture<'_, Result<(), Error>> {
        let shared = Arc::clone(&self.shared);
        self.on_engine(async move { keeper::renew(&shared).await })
    }

    fn lease_left(&self) -> Option<Duration> {
        Some(self.shared.lease.left())
    }

    fn release(&self, held: Vec<Fence>) -> BoxFuture<'_, Result<(), Error>> {
        let shared = Arc::clone(&self.shared);
        self.on_engine(async move { shards::release(&shared, &held).await })
    }

    fn passivate(&self, _run: RunId) {
        // Nothing of a run is in memory.
    }

    fn tool_result(&self, tool: &str, key: &str) -> BoxFuture<'_, Result<Option<Json>, Error>> {
        let shared = Arc::clone(&self.shared);
        let (tool, key) = (tool.to_owned(), key.to_owned());
        self.on_engine(async move { reads::tool_result(&shared, &tool, &key).await })
    }

    fn tool_row(&self, tool: &str, row: &str) -> BoxFuture<'_, Result<Option<Json>, Error>> {
        let shared = Arc::clone(&self.shared);
        let (tool, row) = (tool.to_owned(), row.to_owned());
        self.on_engine(async move { reads::tool_row(&shared, &tool, &row).await })
    }

    fn tool_rows(&self, tool: &str) -> BoxFuture<'_, Result<Vec<(String, Json)>, Error>> {
        let shared = Arc::clone(&self.shared);
        let tool = tool.to_owned();
        self.on_engine(async move { reads::tool_rows(&shared, &tool).await })
    }

    fn checkpoint(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            self.shared.still_open()?;
            let done = self.shared.errands.request();
            done.await.unwrap_or_else(|_| Err(self.shared.stopped()))
        })
    }

    fn failed(&self) -> BoxFuture<'static, Arc<str>> {
        let mut phases = self.shared.phase.subscribe();
        Box::pin(async move {
            let failed = phases.wait_for(|phase| matches!(phase, Phase::Failed(_)));
            match failed.await.map(|phase| phase.clone()) {
                Ok(Phase::Failed(reason)) => reason,
                // Dropped without having failed.
                Ok(Phase::Open | Phase::Closed) | Err(_) => std::future::pending().await,
            }
        })
    }

    fn refusing(&self) -> Option<Error> {
        let detail = self.shared.outage.lasting(self.shared.lease.ttl() / 3)?;
        Some(Error::Unavailable(detail))
    }

    fn close(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            self.finish().await;
            self.shared.phase.send_if_modified(|phase| {
                let is_open = *phase == Phase::Open;
                if is_open {
                    *phase = Phase::Closed;
                }
                is_open
            });
            match &*self.shared.phase.borrow() {
                Phase::Failed(reason) => Err(Error::Fatal(Arc::clone(reason))),
                Phase::Open | Phase::Closed => Ok(()),
            }
        })
    }
}

impl Leases for PostgresStore {
    fn join(&self) -> BoxFuture<'_, Result<Owner, Error>> {
        let shared = Arc::clone(&self.shared);
        self.on_engine(async move { shards::join(&shared).await })
    }

    fn owner(&self) -> Option<Owner> {
        self.shared.lease.owner()
    }

    fn lost(&self) -> BoxFuture<'static, Arc<str>> {
        Box::pin(self.shared.lease.lost())
    }

    fn table(&self) -> BoxFuture<'_, Result<ShardTable, Error>> {
        let shared = Arc::clone(&self.shared);
        self.on_engine(async move { shards::table(&shared).await })
    }

    fn transfer(
        &self,
        held: Vec<Fence>,
        to: Incarnation,
    ) -> BoxFuture<'_, Result<Vec<Fence>, Error>> {
        let shared = Arc::clone(&self.shared);
        self.on_engine(async move { shards::hand_over(&shared, "transfer", &held, Some(to)).await })
    }

    fn declare_dead(&self, incarnation: Incarnation) -> BoxFuture<'_, Result<bool, Error>> {
        let shared = Arc::clone(&self.shared);
        self.on_engine(async move { shards::declare_dead(&shared, incarnation).await })
    }
}
