//! What is counted for each tool.

use crane_core::breaker::State;
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use super::count::Count;

/// How the steps of one tool ended.
#[derive(Debug)]
pub(crate) struct StepCounts {
    pub(crate) completed: Count,
    pub(crate) failed: Count,
    pub(crate) skipped: Count,
    pub(crate) cancelled: Count,
}

impl StepCounts {
    pub(crate) fn new(tool: &str) -> Self {
        let count = |outcome: &'static str| {
            let labels = [("tool", tool.to_owned()), ("outcome", outcome.to_owned())];
            Count::new(counter!("crane_steps_total", &labels))
        };
        Self {
            completed: count("completed"),
            failed: count("failed"),
            skipped: count("skipped"),
            cancelled: count("cancelled"),
        }
    }

    /// Steps that were executed to their end.
    pub(crate) fn executed(&self) -> u64 {
        self.completed.get() + self.failed.get()
    }

    pub(crate) fn show(&self) {
        for count in [
            &self.completed,
            &self.failed,
            &self.skipped,
            &self.cancelled,
        ] {
            count.show();
        }
    }
}

/// How a call of a tool ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallEnd {
    /// With an output.
    Success,
    /// With an error, a timeout or a panic.
    Failure,
    /// Whoever called went away: the run was cancelled.
    Cancelled,
}

/// Why a call did not reach its tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The input does not fit the schema.
    InvalidInput,
    /// The breaker is open.
    BreakerOpen,
    /// Too many calls wait for a permit.
    QueueFull,
}

/// Handles of one tool.
#[derive(Debug)]
pub(crate) struct ToolMetrics {
    pub(crate) steps: StepCounts,
    pub(crate) duration: Histogram,
    calls: [Count; 3],
    refusals: [Counter; 3],
    transitions: [Counter; 3],
    inflight: Gauge,
    state: Gauge,
}

impl ToolMetrics {
    pub(crate) fn new(tool: &str) -> Self {
        let tool = tool.to_owned();
        let one = |metric: &'static str, label: &'static str, value: &'static str| {
            let labels = [("tool", tool.clone()), (label, value.to_owned())];
            let counter = counter!(metric, &labels);
            counter.increment(0);
            counter
        };
        let state = gauge!("crane_tool_breaker_state", "tool" => tool.clone());
        state.set(0.0);
        let inflight = gauge!("crane_tool_inflight", "tool" => tool.clone());
        inflight.set(0.0);
        Self {
            steps: StepCounts::new(&tool),
            duration: histogram!("crane_step_duration_seconds", "tool" => tool.clone()),
            calls: ["success", "failure", "cancelled"]
                .map(|outcome| Count::new(one("crane_tool_calls_total", "outcome", outcome))),
            refusals: ["invalid_input", "breaker_open", "queue_full"]
                .map(|reason| one("crane_tool_rejected_total", "reason", reason)),
            transitions: ["closed", "half_open", "open"]
                .map(|to| one("crane_tool_breaker_transitions_total", "to", to)),
            inflight,
            state,
        }
    }

    pub(crate) fn called(&self, end: CallEnd) {
        self.calls[end as usize].one();
    }

    /// Calls that reached the tool and have ended.
    pub(crate) fn calls(&self) -> u64 {
        self.calls.iter().map(Count::get).sum()
    }

    pub(crate) fn refused(&self, why: Refusal) {
        self.refusals[why as usize].increment(1);
    }

    pub(crate) fn transition(&self, to: State) {
        let place = match to {
            State::Closed => 0,
            State::HalfOpen => 1,
            State::Open => 2,
        };
        self.transitions[place].increment(1);
    }

    /// Shows where the breaker stands: 0 closed, 1 half-open, 2 open.
    pub(crate) fn show_state(&self, state: State) {
        self.state.set(match state {
            State::Closed => 0.0,
            State::HalfOpen => 1.0,
            State::Open => 2.0,
        });
    }

    /// Brings the recorder up to date.
    pub(crate) fn show(&self, inflight: usize) {
        self.steps.show();
        for calls in &self.calls {
            calls.show();
        }
        self.inflight.set(inflight as f64);
    }
}
