//! A node as the binary starts it: embedded store, standard tools, two shards for each core.

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use crane_actors::clock::Clock;
use crane_actors::planner::Planner;
use crane_actors::{Options, Owning, Restore, Runtime};
use crane_core::Limits;
use crane_store::RunStore as _;
use crane_store::embedded::{self, EmbeddedStore};
use crane_tools::ToolsConfig;
use futures_util::future::{BoxFuture, FutureExt as _, ready};
use serde_json::Value;

/// Threads of the runtime; the figures are those of a machine with two cores.
const WORKERS: usize = 2;

/// A node that is measured.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) runtime: Runtime,
    pub(crate) store: Arc<EmbeddedStore>,
}

/// Runs `work` on the runtime of a node.
pub(crate) fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .build()?
        .block_on(work)
}

/// Opens the store of `dir`, which is made if it is missing.
pub(crate) fn open_store(dir: &Path) -> anyhow::Result<Arc<EmbeddedStore>> {
    let clock = Clock::system();
    let options = embedded::Options::new(dir.join("data"), Arc::new(move || clock.now()));
    Ok(Arc::new(EmbeddedStore::open(options)?))
}

impl Node {
    /// A node on `dir` that takes up what is unfinished there.
    pub(crate) async fn open(dir: &Path, limits: Limits) -> anyhow::Result<Self> {
        Self::start(open_store(dir)?, limits).await
    }

    /// A node on an open store.
    pub(crate) async fn start(store: Arc<EmbeddedStore>, limits: Limits) -> anyhow::Result<Self> {
        let runtime = Runtime::start(Options {
            store: store.clone(),
            tools: crane_tools::standard(ToolsConfig::default()),
            planner: Arc::new(NoPlanner),
            limits,
            clock: Clock::system(),
            owning: Owning::All,
            restore: Restore::All,
            shards: 2 * std::thread::available_parallelism()?.get(),
        })
        .await?;
        Ok(Self { runtime, store })
    }

    /// Ends the node and its store.
    pub(crate) async fn close(self) -> anyhow::Result<()> {
        self.runtime.shutdown(Duration::from_secs(10)).await?;
        self.store.close().await.context("the store does not close")
    }
}

/// Every run here comes with its plan.
struct NoPlanner;

impl Planner for NoPlanner {
    fn plan(&self, _prompt: &str) -> BoxFuture<'static, Result<Value, String>> {
        ready(Err("there is no planner here".to_owned())).boxed()
    }

    fn is_local(&self) -> bool {
        true
    }

    fn kind(&self) -> &'static str {
        "none"
    }
}
