//! A node: the store, the tools, the planner and the supervision tree, put together.
//!
//! ```text
//!   Config ───────> EmbeddedStore ──┐
//!                   standard tools ─┼──> Runtime (shards = 2 x cores) ──> Node
//!                   rules planner ──┘            ^
//!          or       PostgresStore ─── Cluster ───┘ shards come and go
//! ```
//!
//! This is the only place that knows all parts; what the parts do is theirs.

mod host;
mod shared;
mod telling;
mod unfenced;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crane_actors::clock::Clock;
use crane_actors::registry::Registry;
use crane_actors::runtime::StartError;
use crane_actors::{Options, Owning, Restore, Runtime};
use crane_core::NodeName;
use crane_store::RunStore;
use crane_store::embedded::{self, EmbeddedStore};
use crane_store::memory::MemoryStore;
use crane_store::postgres::PostgresStore;
use crane_tools::ToolsConfig;
use crane_tools::planner::RulesPlanner;

use crate::cluster::{self, Cluster, Link, Mode, next_generation};
use crate::config::Config;
use crate::life::Life;
use crate::route::{Dispatcher, Router};
use host::Host;

/// What a node that is not part of a cluster calls itself in a run's `node`.
pub const LOCAL_NAME: &str = "local";

/// Why a node did not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The store refused, such as a directory that another process holds.
    #[error(transparent)]
    Store(#[from] crane_store::Error),
    /// The supervision tree did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The system refused a thread.
    #[error("the store cannot be opened: {0}")]
    Thread(String),
    /// The runs are where nodes share them.
    #[error(
        "the runs are in PostgreSQL (store.url), where only serving nodes work: ask one of them with \
         --server"
    )]
    Shared,
    /// The database was not there for as long as a node waits for it.
    #[error("{error}; it was tried for {patience}")]
    Away {
        /// How long that was, in words.
        patience: String,
        /// What the store said last.
        error: crane_store::Error,
    },
    /// There is such a node already.
    #[error(
        "a node called {0} is alive in this cluster already; give this one another name (node.name)"
    )]
    NameTaken(String),
    /// The same, where it is known which process that is.
    #[error(
        "a node called {name} is alive in this cluster already, at {address}; give this one another \
         name (node.name, or CRANE__NODE__NAME)"
    )]
    Namesake {
        /// The name.
        name: NodeName,
        /// Where the other one gossips.
        address: std::net::SocketAddr,
    },
    /// The generation of the node cannot be kept.
    #[error("the data directory cannot be written: {0}")]
    Generation(std::io::Error),
    /// The members that were ever seen are not known.
    #[error("the members of the cluster are not known: {0}")]
    Members(std::io::Error),
    /// The cluster.
    #[error(transparent)]
    Cluster(#[from] cluster::StartError),
}

/// A running node.
#[derive(Clone, Debug)]
pub struct Node {
    runtime: Runtime,
    router: Router,
    store: Arc<dyn RunStore>,
    data: Option<PathBuf>,
    clock: Clock,
    cluster: Option<Cluster>,
    /// What ownership works with.
    shared: Option<cluster::Shared>,
}

/// A store that was joined, and what to make of it.
struct Sharing {
    store: Arc<PostgresStore>,
    link: Arc<Link>,
    options: cluster::Options,
}

impl Node {
    /// Opens the store in the data directory of `config`, made if it is missing, and starts
    /// everything on it; `restore` says which unfinished runs are taken up. The node is alone,
    /// whatever cluster `config` names.
    ///
    /// # Errors
    /// A store that cannot be opened or owned, tools that cannot be used together.
    pub async fn open(config: &Config, restore: Restore) -> Result<Self, OpenError> {
        if config.store.postgres.is_some() {
            return Err(OpenError::Shared);
        }
        let clock = Clock::system();
        let store_options = store_options(config, &clock);
        // Opening reads and syncs files for as long as recovery takes.
        let store = tokio::task::spawn_blocking(move || EmbeddedStore::open(store_options))
            .await
            .map_err(|error| OpenError::Thread(error.to_string()))??;
        let mut node = Self::start(Arc::new(store), clock, config, Owning::All, restore).await?;
        node.data = Some(config.node.data.clone());
        Ok(node)
    }

    /// Opens a node that serves at `api`, a URL. In a cluster it begins to look for the others; it
    /// joins them with [`Node::join`].
    ///
    /// # Errors
    /// As [`Node::open`], and what keeps it from its cluster.
    pub async fn serve(config: &Config, api: String) -> Result<Self, OpenError> {
        if let Some(postgres) = &config.store.postgres {
            let clock = Clock::system();
            let shared::Opened {
                store,
                generation,
                identity,
            } = shared::open(config, postgres, &clock).await?;
            let link = Arc::new(Link::default());
            let owning = Owning::Leased(host::leased(&link));
            let run_store: Arc<dyn RunStore> = store.clone();
            let node = Self::start(run_store, clock, config, owning, Restore::All).await?;
            let mut options = cluster_options(config, Mode::Shared, generation, api);
            options.store = Some(identity);
            let shared = Sharing {
                store,
                link,
                options,
            };
            return node
                .or_close(async |node| node.share(shared, config).await)
                .await;
        }
        let node = Self::open(config, Restore::All).await?;
        if config.cluster.listen.is_none() {
            return Ok(node);
        }
        node.or_close(async |node| node.meet(config, api).await)
            .await
    }

    /// Goes on with `then`; if that fails, gives back what the node holds.
    async fn or_close(
        mut self,
        then: impl AsyncFnOnce(&mut Self) -> Result<(), OpenError>,
    ) -> Result<Self, OpenError> {
        if let Err(error) = then(&mut self).await {
            if let Err(error) = self.close(Duration::ZERO).await {
                tracing::warn!(%error, "the store was not closed in good order");
            }
            return Err(error);
        }
        Ok(self)
    }

    /// As a node of a cluster with a database in common.
    async fn share(&mut self, with: Sharing, config: &Config) -> Result<(), OpenError> {
        let Sharing {
            store,
            link,
            options,
        } = with;
        let cluster = Cluster::form(options, link.clone()).await?;
        let runtime = self.runtime.clone();
        let field = Arc::new(cluster.clone());
        self.router = Router::shared(runtime.clone(), field, config.api.request_timeout);
        self.cluster = Some(cluster);
        self.shared = Some(cluster::Shared {
            store,
            host: Arc::new(Host {
                runtime: runtime.clone(),
                link,
                grace: config.node.drain_timeout,
            }),
            owned: Arc::new(move || runtime.owned()),
        });
        Ok(())
    }

    /// As a node of a cluster in which each keeps its own runs.
    async fn meet(&mut self, config: &Config, api: String) -> Result<(), OpenError> {
        let now = self.clock.now().as_millis();
        let generation = next_generation(&config.node.data, now);
        let generation = generation.map_err(OpenError::Generation)?;
        let options = cluster_options(config, Mode::Home, generation, api);
        let cluster = Cluster::form(options, Arc::default()).await?;
        if let Some(namesake) = cluster.namesake().await {
            cluster.leave().await;
            return Err(OpenError::Namesake {
                name: cluster.me().clone(),
                address: namesake.address,
            });
        }
        self.router = Router::home(
            self.runtime.clone(),
            Arc::new(cluster.clone()),
            self.data.as_deref(),
            config.api.request_timeout,
        )
        .map_err(OpenError::Members)?;
        self.cluster = Some(cluster);
        Ok(())
    }

    /// Joins the cluster, if the node is part of one: others can ask it for its runs, and shards come.
    ///
    /// # Errors
    /// An address that cannot be listened on; the node is closed then.
    pub async fn join(self, life: Life) -> Result<Self, OpenError> {
        self.or_close(async |node| node.open_to_others(life).await)
            .await
    }

    async fn open_to_others(&self, life: Life) -> Result<(), OpenError> {
        let (Some(cluster), Some(dispatcher)) = (&self.cluster, Dispatcher::new(&self.router))
        else {
            return Ok(());
        };
        let dispatch = Arc::new(dispatcher);
        cluster.open(life, dispatch, self.shared.clone()).await?;
        let router = self.router.clone();
        cluster.keep("remembering members", move || {
            let router = router.clone();
            async move { router.keep_roster().await }
        });
        let (runtime, of, clock) = (self.runtime.clone(), cluster.clone(), self.clock.clone());
        cluster.keep("telling others", move || {
            telling::tell(runtime.clone(), of.clone(), clock.clone())
        });
        Ok(())
    }

    /// A node that keeps nothing: for questions that need tools and no data.
    ///
    /// # Errors
    /// Tools that cannot be used together.
    pub async fn in_memory(config: &Config) -> Result<Self, OpenError> {
        let store = Arc::new(MemoryStore::new());
        Self::start(store, Clock::system(), config, Owning::All, Restore::None).await
    }

    async fn start(
        store: Arc<dyn RunStore>,
        clock: Clock,
        config: &Config,
        owning: Owning,
        restore: Restore,
    ) -> Result<Self, OpenError> {
        let runtime = Runtime::start(Options {
            store: store.clone(),
            tools: crane_tools::standard(config.tools.clone()),
            planner: Arc::new(RulesPlanner),
            limits: config.limits.clone(),
            clock: clock.clone(),
            owning,
            restore,
            shards: shards(),
        })
        .await?;
        Ok(Self {
            router: Router::alone(runtime.clone()),
            runtime,
            store,
            data: None,
            clock,
            cluster: None,
            shared: None,
        })
    }

    /// A node of parts that a test has put together.
    #[cfg(test)]
    pub(crate) fn of(runtime: Runtime, router: Router, store: Arc<dyn RunStore>) -> Self {
        Self {
            runtime,
            router,
            store,
            data: None,
            clock: Clock::system(),
            cluster: None,
            shared: None,
        }
    }

    /// The supervision tree.
    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// The way to all runs, those of other nodes as well.
    pub fn router(&self) -> &Router {
        &self.router
    }

    /// The store under it, for reading what is stored as it is.
    pub fn store(&self) -> &dyn RunStore {
        self.store.as_ref()
    }

    /// The data directory; `None` for a node that keeps nothing.
    pub fn data(&self) -> Option<&Path> {
        self.data.as_deref()
    }

    /// The cluster that it is part of, if it is one of several.
    pub fn cluster(&self) -> Option<&Cluster> {
        self.cluster.as_ref()
    }

    /// Closes at once what this node still owns for a time: for a node that is about to tell others that
    /// it is gone, upon which they take over whatever it has not handed to them.
    pub async fn let_go(&self) {
        let owned = self.runtime.owned();
        if owned.is_empty() {
            return;
        }
        tracing::warn!(shards = owned.len(), "what was not handed over ends here");
        let close = |fence| self.runtime.close_shard(fence, Duration::ZERO);
        futures_util::future::join_all(owned.into_iter().map(close)).await;
    }

    /// Stops: no step starts, running ones may finish for `grace`; then closes the store.
    ///
    /// # Errors
    /// When the store cannot make its last writes durable.
    pub async fn close(&self, grace: Duration) -> Result<(), crane_store::Error> {
        self.runtime.shutdown(grace).await
    }
}

/// The tools of a node as the checks of a plan see them, without a node.
///
/// # Errors
/// Tools that cannot be used together.
pub fn catalog(tools: ToolsConfig) -> Result<Registry, OpenError> {
    let registry = Registry::new(crane_tools::standard(tools)).map_err(StartError::from)?;
    Ok(registry)
}

fn cluster_options(
    config: &Config,
    mode: Mode,
    generation: crane_core::Generation,
    api: String,
) -> cluster::Options {
    cluster::Options {
        node: NodeName::new(config.node.name.clone()),
        generation,
        mode,
        store: None,
        config: config.cluster.clone(),
        api,
        lease: config.cluster.lease,
        drain_timeout: config.node.drain_timeout,
    }
}

fn store_options(config: &Config, clock: &Clock) -> embedded::Options {
    let clock = clock.clone();
    let store = &config.store;
    embedded::Options {
        disk_reserve: store.disk_reserve,
        retention: store.retention,
        export_bytes: store.export_bytes,
        accept_corruption: store.accept_corruption,
        ..embedded::Options::new(&config.node.data, Arc::new(move || clock.now()))
    }
}

/// Twice the cores, so that a shard that waits for the scheduler does not hold up half the runs.
fn shards() -> usize {
    2 * thread::available_parallelism().map_or(1, usize::from)
}
