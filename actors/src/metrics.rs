//! Every metric of this crate, named once. Labels come from small fixed sets: tool names, actor
//! kinds, outcomes; never a run.
//!
//! Handles are looked up once and kept, since a look-up hashes its labels.

use metrics::{
    Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram,
    gauge, histogram,
};

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
    fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Store => "store",
        }
    }
}

/// Handles of one actor kind.
#[derive(Debug)]
pub(crate) struct KindMetrics {
    pub(crate) alive: Gauge,
    pub(crate) spawns: Counter,
    pub(crate) failures: Counter,
    pub(crate) exhausted: Counter,
    pub(crate) mailbox: Gauge,
    handling: Histogram,
    restarts: [Counter; 2],
}

impl KindMetrics {
    fn new(kind: ActorKind) -> Self {
        let kind = kind.as_str();
        let restarts = [FailureKind::Failed, FailureKind::Store].map(
            |reason| counter!("crane_actor_restarts_total", "kind" => kind, "reason" => reason.as_str()),
        );
        Self {
            alive: gauge!("crane_actors", "kind" => kind),
            spawns: counter!("crane_actor_spawns_total", "kind" => kind),
            failures: counter!("crane_actor_failures_total", "kind" => kind),
            exhausted: counter!("crane_restart_budget_exhausted_total", "kind" => kind),
            mailbox: gauge!("crane_mailbox_depth", "kind" => kind),
            handling: histogram!("crane_message_handle_seconds", "kind" => kind),
            restarts,
        }
    }

    /// Measures until it is dropped how long a message is being handled.
    pub(crate) fn time(&self) -> Handling<'_> {
        Handling {
            histogram: &self.handling,
            started: tokio::time::Instant::now(),
        }
    }

    pub(crate) fn spawned(&self) {
        self.spawns.increment(1);
        self.alive.increment(1.0);
    }

    pub(crate) fn stopped(&self) {
        self.alive.decrement(1.0);
    }

    pub(crate) fn restarted(&self, reason: FailureKind) {
        self.restarts[reason as usize].increment(1);
    }
}

/// See [`KindMetrics::time`].
pub(crate) struct Handling<'a> {
    histogram: &'a Histogram,
    started: tokio::time::Instant,
}

impl Drop for Handling<'_> {
    fn drop(&mut self) {
        self.histogram.record(self.started.elapsed());
    }
}

/// Handles that concern runs and steps of any tool.
#[derive(Debug)]
pub(crate) struct RuntimeMetrics {
    kinds: [KindMetrics; 7],
    pub(crate) submitted: Counter,
    pub(crate) deduplicated: Counter,
    pub(crate) active: Gauge,
    pub(crate) pending: Gauge,
    pub(crate) queue_wait: Histogram,
    pub(crate) schedule_to_start: Histogram,
    pub(crate) timeouts: Counter,
    pub(crate) recovered: Counter,
    finished: [(Counter, Histogram); 3],
}

impl RuntimeMetrics {
    pub(crate) fn new() -> Self {
        describe();
        let finished = ["completed", "failed", "cancelled"].map(|outcome| {
            (
                counter!("crane_runs_finished_total", "outcome" => outcome),
                histogram!("crane_run_duration_seconds", "outcome" => outcome),
            )
        });
        Self {
            kinds: ActorKind::ALL.map(KindMetrics::new),
            submitted: counter!("crane_runs_submitted_total"),
            deduplicated: counter!("crane_runs_deduplicated_total"),
            active: gauge!("crane_runs_active", "state" => "active"),
            pending: gauge!("crane_runs_active", "state" => "pending"),
            queue_wait: histogram!("crane_run_queue_wait_seconds"),
            schedule_to_start: histogram!("crane_step_schedule_to_start_seconds"),
            timeouts: counter!("crane_step_timeouts_total"),
            recovered: counter!("crane_recovered_runs_total"),
            finished,
        }
    }

    pub(crate) fn kind(&self, kind: ActorKind) -> &KindMetrics {
        &self.kinds[kind as usize]
    }

    pub(crate) fn finished(&self, status: crane_core::RunStatus, took: std::time::Duration) {
        let place = match status {
            crane_core::RunStatus::Completed => 0,
            crane_core::RunStatus::Failed => 1,
            crane_core::RunStatus::Cancelled => 2,
            crane_core::RunStatus::Pending
            | crane_core::RunStatus::Running
            | crane_core::RunStatus::Waiting => return,
        };
        let (count, duration) = &self.finished[place];
        count.increment(1);
        duration.record(took);
    }

    pub(crate) fn rejected(reason: &'static str) {
        counter!("crane_runs_rejected_total", "reason" => reason).increment(1);
    }

    pub(crate) fn retried(reason: &'static str) {
        counter!("crane_step_retries_total", "reason" => reason).increment(1);
    }
}

/// Handles of one tool.
#[derive(Debug)]
pub(crate) struct ToolMetrics {
    tool: String,
    pub(crate) completed: Counter,
    pub(crate) failed: Counter,
    pub(crate) duration: Histogram,
    pub(crate) calls_ok: Counter,
    pub(crate) calls_failed: Counter,
    pub(crate) inflight: Gauge,
    pub(crate) state: Gauge,
}

impl ToolMetrics {
    pub(crate) fn new(tool: &str) -> Self {
        let tool = tool.to_owned();
        Self {
            completed: counter!("crane_steps_total", "tool" => tool.clone(), "outcome" => "completed"),
            failed: counter!("crane_steps_total", "tool" => tool.clone(), "outcome" => "failed"),
            duration: histogram!("crane_step_duration_seconds", "tool" => tool.clone()),
            calls_ok: counter!("crane_tool_calls_total", "tool" => tool.clone(), "outcome" => "success"),
            calls_failed: counter!("crane_tool_calls_total", "tool" => tool.clone(), "outcome" => "failure"),
            inflight: gauge!("crane_tool_inflight", "tool" => tool.clone()),
            state: gauge!("crane_tool_breaker_state", "tool" => tool.clone()),
            tool,
        }
    }

    pub(crate) fn rejected(&self, reason: &'static str) {
        counter!("crane_tool_rejected_total", "tool" => self.tool.clone(), "reason" => reason)
            .increment(1);
    }

    pub(crate) fn transition(&self, to: &'static str) {
        counter!("crane_tool_breaker_transitions_total", "tool" => self.tool.clone(), "to" => to)
            .increment(1);
    }
}

/// Counters with their help.
const COUNTERS: &[(&str, &str)] = &[
    ("crane_runs_submitted_total", "Runs accepted."),
    ("crane_runs_finished_total", "Runs that ended, by outcome."),
    (
        "crane_runs_rejected_total",
        "Submissions refused, by reason.",
    ),
    (
        "crane_runs_deduplicated_total",
        "Submissions answered with the run that their key had created.",
    ),
    (
        "crane_steps_total",
        "Steps that ended, by tool and outcome.",
    ),
    (
        "crane_step_retries_total",
        "Attempts that failed and will be repeated, by reason.",
    ),
    (
        "crane_step_timeouts_total",
        "Attempts that ran into their timeout.",
    ),
    ("crane_actor_spawns_total", "Actors spawned, by kind."),
    (
        "crane_actor_restarts_total",
        "Actors restarted, by kind and reason.",
    ),
    (
        "crane_actor_failures_total",
        "Actors that panicked or failed, by kind.",
    ),
    (
        "crane_restart_budget_exhausted_total",
        "Supervisors that gave an actor up, by kind.",
    ),
    ("crane_tool_calls_total", "Calls of a tool, by outcome."),
    (
        "crane_tool_breaker_transitions_total",
        "Breaker transitions, by new state.",
    ),
    (
        "crane_tool_rejected_total",
        "Calls refused before the tool was called, by reason.",
    ),
    (
        "crane_recovered_runs_total",
        "Unfinished runs that were taken up again.",
    ),
];

/// Gauges with their help.
const GAUGES: &[(&str, &str)] = &[
    (
        "crane_runs_active",
        "Unfinished runs of this node: with an actor (active), waiting for a slot (pending).",
    ),
    ("crane_actors", "Actors alive, by kind."),
    (
        "crane_mailbox_depth",
        "Messages sent and not yet handled, by kind of receiver.",
    ),
    (
        "crane_tool_breaker_state",
        "Breaker state: 0 closed, 1 half-open, 2 open.",
    ),
    ("crane_tool_inflight", "Calls under way."),
];

/// Histograms, all in seconds, with their help.
const HISTOGRAMS: &[(&str, &str)] = &[
    (
        "crane_run_duration_seconds",
        "Time from acceptance to the end of a run.",
    ),
    (
        "crane_run_queue_wait_seconds",
        "Time a run waited for a slot.",
    ),
    (
        "crane_step_duration_seconds",
        "Time of an attempt, by tool.",
    ),
    (
        "crane_step_schedule_to_start_seconds",
        "Time an attempt waited for a permit of its tool.",
    ),
    (
        "crane_message_handle_seconds",
        "Time of handling one message, by kind.",
    ),
];

fn describe() {
    for (name, help) in COUNTERS {
        describe_counter!(*name, *help);
    }
    for (name, help) in GAUGES {
        describe_gauge!(*name, *help);
    }
    for (name, help) in HISTOGRAMS {
        describe_histogram!(*name, Unit::Seconds, *help);
    }
}
