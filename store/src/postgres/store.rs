//! `PostgresStore`: opening, its threads, closing.

mod traits;

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};

use crane_core::limits;
use futures_core::future::BoxFuture;
use futures_util::FutureExt;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::connect::Connector;
use super::historian::Errands;
use super::lease::Lease;
use super::migrate::{self, MIGRATIONS};
use super::pool::Pool;
use super::problem::Problem;
use super::queue::{Job, Queue, Task, Waiter};
use super::shared::{Delays, Outage, Phase, Shared};
use super::writer::Writer;
use super::{Options, historian, keeper, lock, shards};
use crate::metrics::Metrics;
use crate::{Ack, Error, Write};

/// Threads of a store: so that a renewal does not wait while another one works.
const THREADS: usize = 2;

/// The store of a cluster. See the module.
pub struct PostgresStore {
    pub(super) shared: Arc<Shared>,
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
            queues: (0..limits::STORE_WRITERS).map(|_| Arc::default()).collect(),
            shared,
            engine,
            workers: Mutex::default(),
        };
        store.start_workers();
        Ok(store)
    }

    fn start_workers(&self) {
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

    /// Queues a task. When the store is closed, the answer comes from elsewhere: callers may hold
    /// locks here.
    fn queue(&self, queue: &Queue, task: Task, ack: Ack) {
        let waiter = Waiter::new(ack);
        if let Some(job) = queue.push(Job { task, waiter }) {
            let error = self.shared.stopped();
            if let Some(engine) = self.engine.handle() {
                drop(engine.spawn(async move { job.waiter.tell(Err(error)) }));
            }
        }
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
