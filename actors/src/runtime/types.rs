//! What a runtime is started with, and what it answers.

use std::sync::Arc;
use std::time::Duration;

use crane_core::breaker::Snapshot;
use crane_core::run::Rejected;
use crane_core::tool::{ToolError, ToolSpec};
use crane_core::{Limits, RunId, ShardId};
use crane_store::{Fence, RunStore};
use serde_json::Value;

use crate::clock::Clock;
use crate::kernel::LoadError;
use crate::planner::Planner;
use crate::registry;
use crate::tool::Tool;

/// Which unfinished runs of the store a node takes up when it starts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Restore {
    /// All of them.
    #[default]
    All,
    /// None by itself; [`crate::Runtime::resume`] takes up single ones.
    None,
}

/// Which shards of the store a node owns.
#[derive(Clone, Debug)]
pub enum Owning {
    /// All of them, from the start and until it goes down.
    All,
    /// None at the start; they come and go with [`crate::Runtime::open_shard`],
    /// [`crate::Runtime::stop_shard`] and [`crate::Runtime::close_shard`].
    Leased(Leased),
}

/// How a node that owns shards for a time asks about its lease, and what it tells.
#[derive(Clone)]
pub struct Leased {
    /// For how long from now steps may start; looked at at each start of a step and each call of a
    /// tool, so it must be cheap. While it is zero they are put off.
    pub left: Arc<dyn Fn() -> Duration + Send + Sync>,
    /// A write of this fence was refused as fenced, or because the lease is lost: its shard is
    /// stopped. Told once or more, from any thread; it must not block.
    pub fenced: Arc<dyn Fn(Fence) + Send + Sync>,
    /// What becomes of writes to the journal: whether the store works. Changes are told at once,
    /// the same again at most once in [`crane_core::limits::WROTE_EVERY`]. From any thread; it must
    /// not block.
    pub wrote: Arc<dyn Fn(bool) + Send + Sync>,
}

impl std::fmt::Debug for Leased {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Leased").finish_non_exhaustive()
    }
}

/// What a node is made of.
pub struct Options {
    /// Where runs are kept.
    pub store: Arc<dyn RunStore>,
    /// The tools.
    pub tools: Vec<Arc<dyn Tool>>,
    /// Makes plans of prompts.
    pub planner: Arc<dyn Planner>,
    /// The bounds.
    pub limits: Limits,
    /// The time of day.
    pub clock: Clock,
    /// Which shards it owns.
    pub owning: Owning,
    /// What to take up at the start, of shards that it owns from the start.
    pub restore: Restore,
    /// Number of shard actors; twice the cores is a good choice.
    pub shards: usize,
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("owning", &self.owning)
            .field("restore", &self.restore)
            .field("shards", &self.shards)
            .finish_non_exhaustive()
    }
}

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The tools cannot be used together.
    #[error(transparent)]
    Tools(#[from] registry::Error),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] crane_store::Error),
    /// An actor did not start.
    #[error("the supervision tree did not start: {0}")]
    Actors(String),
}

/// Why a run could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] crane_store::Error),
    /// What is stored makes no run.
    #[error("{0}")]
    Damaged(String),
    /// The run's shard is not open on this node, or was closed while somebody listened; only with
    /// [`Owning::Leased`].
    #[error("shard {0} is not owned by this node")]
    NotOwner(ShardId),
}

impl ReadError {
    /// Whether it is what is stored of the run that cannot be read, by nobody and at no time.
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Store(error) => matches!(
                error,
                crane_store::Error::Corrupt { .. } | crane_store::Error::Schema { .. }
            ),
            Self::Damaged(_) => true,
            Self::NotOwner(_) => false,
        }
    }
}

impl From<LoadError> for ReadError {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Store(error) => Self::Store(error),
            LoadError::Fold { .. } => Self::Damaged(error.to_string()),
        }
    }
}

/// Why a run was not changed.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// There is no such run.
    #[error("run not found: {0}")]
    NotFound(RunId),
    /// The run is not in a state for it.
    #[error(transparent)]
    Rejected(#[from] Rejected),
    /// To open the run again, the node would need a slot, and has none free.
    #[error("all {limit} slots for active runs are taken; try again later")]
    TooMany {
        /// [`crane_core::Limits::active_runs`].
        limit: usize,
    },
    /// No answer; the change may or may not have been made.
    #[error("no answer from run {0}; the change may or may not have been made")]
    Lost(RunId),
    /// The run's shard is not this node's, or closes; nothing was done. Only with [`Owning::Leased`].
    #[error("shard {0} is not owned by this node")]
    Elsewhere(ShardId),
    /// The run's shard was closed before the answer; the change may have been made. Only with
    /// [`Owning::Leased`].
    #[error("shard {0} is not owned by this node any more")]
    NotOwner(ShardId),
    /// Reading the run failed.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// A tool as operators see it.
#[derive(Clone, Debug)]
pub struct ToolView {
    /// What the tool declares.
    pub spec: ToolSpec,
    /// Where its breaker stands, its counts and last transitions.
    pub breaker: Snapshot,
}

/// How a dry run of a tool ended.
#[derive(Debug)]
pub struct Tried {
    /// What the tool returned.
    pub result: Result<Value, ToolError>,
    /// Time inside the tool.
    pub took: Duration,
}
