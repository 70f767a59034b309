//! Every metric of this crate, named once. Labels come from small fixed sets: tool names, actor
//! kinds, outcomes; never a run.
//!
//! ```text
//!   an actor counts ──> Count, Depth (atomics) ──┬──> crate::Runtime::show_metrics ──> recorder
//!                                                └──> the API: figures, supervision
//!   an actor measures ──> Histogram ──────────────────────────────────────────────> recorder
//! ```
//!
//! What is counted is counted here, once, and shown to the recorder when somebody looks. Handles
//! are looked up once and kept, since a look-up hashes its labels; a metric exists from the start
//! with every label it can have.

pub(crate) mod count;
mod describe;
mod kinds;
mod tools;

use std::time::Duration;

use crane_core::RunStatus;
use crane_core::tool::ErrorKind;
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use crate::submit::SubmitError;
use count::Mean;
pub use describe::describe;
pub use kinds::Failure;
pub(crate) use kinds::KindMetrics;
pub(crate) use tools::{CallEnd, Refusal, StepCounts, ToolMetrics};

/// The kinds of actors, as they appear in labels and in the supervision tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ActorKind {
    /// The root.
    Node,
    /// Watches the store.
    Journal,
    /// Parent of the tool actors.
    ToolSupervisor,
    /// One per tool.
    Tool,
    /// Owner of the runs of many logical shards.
    Shard,
    /// One per active run.
    Run,
    /// One per attempt.
    Step,
}

impl ActorKind {
    /// All kinds.
    pub const ALL: [Self; 7] = [
        Self::Node,
        Self::Journal,
        Self::ToolSupervisor,
        Self::Tool,
        Self::Shard,
        Self::Run,
        Self::Step,
    ];

    /// Who restarts actors of this kind; `None` for the root.
    pub fn parent(self) -> Option<Self> {
        match self {
            Self::Node => None,
            Self::Journal | Self::ToolSupervisor | Self::Shard => Some(Self::Node),
            Self::Tool => Some(Self::ToolSupervisor),
            Self::Run => Some(Self::Shard),
            Self::Step => Some(Self::Run),
        }
    }

    /// The kind as a label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Journal => "journal",
            Self::ToolSupervisor => "tool_supervisor",
            Self::Tool => "tool",
            Self::Shard => "shard",
            Self::Run => "run",
            Self::Step => "step",
        }
    }
}

/// Why an actor ended badly, as a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum FailureKind {
    /// It panicked or returned an error.
    Failed,
    /// The store refused its write.
    Store,
}

impl FailureKind {
    /// All of them.
    pub(crate) const ALL: [Self; 2] = [Self::Failed, Self::Store];

    /// The kind as a label.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Store => "store",
        }
    }
}

/// The outcomes of runs, as labels.
const OUTCOMES: [&str; 3] = ["completed", "failed", "cancelled"];
/// The states of unfinished runs, as labels.
const UNFINISHED: [RunStatus; 3] = [RunStatus::Pending, RunStatus::Running, RunStatus::Waiting];
/// Why attempts are repeated, as labels; the last takes what is not retryable by nature.
const RETRIES: [&str; 7] = [
    "transient",
    "timeout",
    "tool_unavailable",
    "panic",
    "lost",
    "interrupted",
    "other",
];
/// Why submissions are refused, as labels.
const REJECTIONS: [&str; 8] = [
    "invalid",
    "key_reused",
    "too_many_runs",
    "draining",
    "disk_reserve",
    "store",
    "lost",
    "unplaced",
];
/// What steps are counted under whose tool this node does not have (any more).
const UNKNOWN_TOOL: &str = "unknown";

/// What came of prompts.
#[derive(Debug, Default)]
pub(crate) struct PlannerCounts {
    /// How long the planner took.
    pub(crate) took: Mean,
    pub(crate) planned: std::sync::atomic::AtomicU64,
    pub(crate) not_understood: std::sync::atomic::AtomicU64,
    pub(crate) refused: std::sync::atomic::AtomicU64,
}

/// Handles that concern runs and steps of any tool.
#[derive(Debug)]
pub(crate) struct RuntimeMetrics {
    kinds: [KindMetrics; 7],
    pub(crate) submitted: Counter,
    pub(crate) deduplicated: Counter,
    pub(crate) queue_wait: Histogram,
    pub(crate) schedule_to_start: Histogram,
    pub(crate) timeouts: Counter,
    /// Time from acceptance to the end, of runs that ended.
    pub(crate) run_seconds: Mean,
    pub(crate) planner: PlannerCounts,
    /// Steps of tools that this node does not have.
    pub(crate) unknown_tool: StepCounts,
    unfinished: [Gauge; 3],
    rejected: [Counter; REJECTIONS.len()],
    retries: [Counter; 7],
    finished: [(Counter, Histogram); 3],
}

impl RuntimeMetrics {
    pub(crate) fn new() -> Self {
        describe();
        let plain = |metric: &'static str| {
            let counter = counter!(metric);
            counter.increment(0);
            counter
        };
        let reasoned = |metric: &'static str, label: &'static str, value: &'static str| {
            let counter = counter!(metric, label => value);
            counter.increment(0);
            counter
        };
        Self {
            kinds: ActorKind::ALL.map(KindMetrics::new),
            submitted: plain("crane_runs_submitted_total"),
            deduplicated: plain("crane_runs_deduplicated_total"),
            queue_wait: histogram!("crane_run_queue_wait_seconds"),
            schedule_to_start: histogram!("crane_step_schedule_to_start_seconds"),
            timeouts: plain("crane_step_timeouts_total"),
            run_seconds: Mean::default(),
            planner: PlannerCounts::default(),
            unknown_tool: StepCounts::new(UNKNOWN_TOOL),
            unfinished: UNFINISHED
                .map(|status| gauge!("crane_runs_active", "state" => status.as_str())),
            rejected: REJECTIONS
                .map(|reason| reasoned("crane_runs_rejected_total", "reason", reason)),
            retries: RETRIES.map(|reason| reasoned("crane_step_retries_total", "reason", reason)),
            finished: OUTCOMES.map(|outcome| {
                (
                    reasoned("crane_runs_finished_total", "outcome", outcome),
                    histogram!("crane_run_duration_seconds", "outcome" => outcome),
                )
            }),
        }
    }

    pub(crate) fn kind(&self, kind: ActorKind) -> &KindMetrics {
        &self.kinds[kind as usize]
    }

    pub(crate) fn finished(&self, status: RunStatus, took: Duration) {
        let place = match status {
            RunStatus::Completed => 0,
            RunStatus::Failed => 1,
            RunStatus::Cancelled => 2,
            RunStatus::Pending | RunStatus::Running | RunStatus::Waiting => return,
        };
        let (count, duration) = &self.finished[place];
        count.increment(1);
        duration.record(took);
        self.run_seconds.add(took);
    }

    pub(crate) fn rejected(&self, error: &SubmitError) {
        let place = match error {
            SubmitError::Invalid(_) => 0,
            SubmitError::KeyReused(_) | SubmitError::Exists(_) => 1,
            SubmitError::TooMany { .. } => 2,
            SubmitError::Stopping => 3,
            SubmitError::Store(crane_store::Error::DiskReserve { .. }) => 4,
            SubmitError::Store(_) => 5,
            SubmitError::Lost => 6,
            // Nobody is refused anything: another node takes it in.
            SubmitError::NotOwner(_) => return,
        };
        self.rejected[place].increment(1);
    }

    /// A submission got to no node that could take it in.
    pub(crate) fn unplaced(&self) {
        self.rejected[7].increment(1);
    }

    /// An attempt failed like this and will be repeated.
    pub(crate) fn retried(&self, kind: ErrorKind) {
        let place = match kind {
            ErrorKind::Transient => 0,
            ErrorKind::Timeout => 1,
            ErrorKind::Unavailable => 2,
            ErrorKind::Panic => 3,
            ErrorKind::Interrupted => 5,
            ErrorKind::InvalidInput
            | ErrorKind::Permanent
            | ErrorKind::OutcomeUnknown
            | ErrorKind::Expression
            | ErrorKind::Limit => 6,
        };
        self.retries[place].increment(1);
    }

    /// An attempt was lost in a crash and will be repeated.
    pub(crate) fn lost(&self) {
        self.retries[4].increment(1);
    }

    /// Brings the recorder up to date. `shards` is how many messages wait for shards, `count` says
    /// how many runs there are with a status.
    pub(crate) fn show(&self, shards: u64, count: impl Fn(RunStatus) -> usize) {
        for kind in ActorKind::ALL {
            let metrics = self.kind(kind);
            metrics.show(match kind {
                ActorKind::Shard => shards,
                ActorKind::Node
                | ActorKind::Journal
                | ActorKind::ToolSupervisor
                | ActorKind::Tool
                | ActorKind::Run
                | ActorKind::Step => metrics.depth.get(),
            });
        }
        for (status, gauge) in UNFINISHED.into_iter().zip(&self.unfinished) {
            gauge.set(count(status) as f64);
        }
        self.unknown_tool.show();
    }
}
