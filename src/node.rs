//! A node: the store, the tools, the planner and the supervision tree, put together.
//!
//! ```text
//!   Config ───────> EmbeddedStore ──┐
//!                   standard tools ─┼──> Runtime (shards = 2 x cores) ──> Node
//!                   rules planner ──┘
//! ```
//!
//! This is the only place that knows all parts; what the parts do is theirs.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crane_actors::clock::Clock;
use crane_actors::registry::Registry;
use crane_actors::runtime::StartError;
use crane_actors::{Options, Owning, Restore, Runtime};
use crane_store::RunStore;
use crane_store::embedded::{self, EmbeddedStore};
use crane_store::memory::MemoryStore;
use crane_tools::ToolsConfig;
use crane_tools::planner::RulesPlanner;

use crate::config::Config;

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
}

/// A running node.
#[derive(Clone, Debug)]
pub struct Node {
    runtime: Runtime,
    store: Arc<dyn RunStore>,
    data: Option<PathBuf>,
}

impl Node {
    /// Opens the store in the data directory of `config`, made if it is missing, and starts
    /// everything on it; `restore` says which unfinished runs are taken up.
    ///
    /// # Errors
    /// A store that cannot be opened or owned, tools that cannot be used together.
    pub async fn open(config: &Config, restore: Restore) -> Result<Self, OpenError> {
        let clock = Clock::system();
        let store_options = store_options(config, &clock);
        // Opening reads and syncs files for as long as recovery takes.
        let store = tokio::task::spawn_blocking(move || EmbeddedStore::open(store_options))
            .await
            .map_err(|error| OpenError::Thread(error.to_string()))??;
        let data = Some(config.node.data.clone());
        Self::start(Arc::new(store), clock, config, restore, data).await
    }

    /// A node that keeps nothing: for questions that need tools and no data.
    ///
    /// # Errors
    /// Tools that cannot be used together.
    pub async fn in_memory(config: &Config) -> Result<Self, OpenError> {
        let store = Arc::new(MemoryStore::new());
        Self::start(store, Clock::system(), config, Restore::None, None).await
    }

    async fn start(
        store: Arc<dyn RunStore>,
        clock: Clock,
        config: &Config,
        restore: Restore,
        data: Option<PathBuf>,
    ) -> Result<Self, OpenError> {
        let runtime = Runtime::start(Options {
            store: store.clone(),
            tools: crane_tools::standard(config.tools.clone()),
            planner: Arc::new(RulesPlanner),
            limits: config.limits.clone(),
            clock,
            owning: Owning::All,
            restore,
            shards: shards(),
        })
        .await?;
        Ok(Self {
            runtime,
            store,
            data,
        })
    }

    /// The supervision tree.
    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// The store under it, for reading what is stored as it is.
    pub fn store(&self) -> &dyn RunStore {
        self.store.as_ref()
    }

    /// The data directory; `None` for a node that keeps nothing.
    pub fn data(&self) -> Option<&Path> {
        self.data.as_deref()
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
