//! What is said to a breaker and what it says: its policy, its states, outcomes and reasons.

use std::fmt;
use std::time::Duration;

use crate::time::Timestamp;

/// When a breaker opens and how it closes again.
#[derive(Clone, Debug, PartialEq)]
pub struct BreakerPolicy {
    /// Length of the sliding window in which calls are counted.
    pub window: Duration,
    /// Calls in the window before a rate is looked at.
    pub minimum_calls: u32,
    /// Share of failed calls at which it opens, `0.0..=1.0`.
    pub failure_rate: f64,
    /// A call that takes longer is slow.
    pub slow_call: Duration,
    /// Share of slow calls at which it opens, `0.0..=1.0`.
    pub slow_rate: f64,
    /// Failures in a row at which it opens at once; 0 for never.
    pub consecutive_failures: u32,
    /// How long it stays open the first time.
    pub open_for: Duration,
    /// Each further opening in a row lasts this times the one before.
    pub open_factor: f64,
    /// No opening lasts longer (a tool's Retry-After is honored up to this as well).
    pub open_max: Duration,
    /// Calls that may be under way while half-open; 0 counts as 1.
    pub half_open_permits: u32,
    /// Successes after which a half-open breaker closes; 0 counts as 1.
    pub half_open_successes: u32,
    /// A half-open permit that was not given back by then counts as a failure.
    pub permit_deadline: Duration,
}

impl Default for BreakerPolicy {
    fn default() -> Self {
        Self {
            window: Duration::from_secs(60),
            minimum_calls: 20,
            failure_rate: 0.5,
            slow_call: Duration::from_secs(30),
            slow_rate: 0.8,
            consecutive_failures: 10,
            open_for: Duration::from_secs(5),
            open_factor: 2.0,
            open_max: Duration::from_secs(120),
            half_open_permits: 3,
            half_open_successes: 3,
            permit_deadline: Duration::from_secs(60),
        }
    }
}

/// Where a breaker stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Calls go through.
    Closed,
    /// A few calls go through, to find out whether the tool is well again.
    HalfOpen,
    /// No call goes through.
    Open,
}

impl State {
    /// The state as users read it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half_open",
            Self::Open => "open",
        }
    }
}

/// What an operator ordered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mode {
    /// The breaker opens and closes by itself.
    #[default]
    Auto,
    /// It stays open.
    ForcedOpen,
    /// It stays closed: calls are counted and nothing follows from it.
    ForcedClosed,
}

/// Why a breaker went from one state to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Too many calls in the window failed.
    FailureRate {
        /// Calls that failed.
        failed: u32,
        /// All calls.
        calls: u32,
    },
    /// Too many calls in the window were slow.
    SlowRate {
        /// Calls that were slow.
        slow: u32,
        /// All calls.
        calls: u32,
    },
    /// Too many calls failed in a row.
    FailuresInARow(u32),
    /// The time for which it was open has passed.
    OpenTimeOver,
    /// Enough half-open calls succeeded.
    ProbesSucceeded,
    /// A half-open call failed, or was as slow as what had opened the breaker.
    ProbeFailed,
    /// A half-open call did not end before its deadline.
    ProbeOverdue,
    /// An operator forced it.
    Forced,
    /// An operator gave it back to itself.
    Reset,
    /// The breaker of a peer is open.
    Advised,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FailureRate { failed, calls } => write!(f, "{failed} of {calls} calls failed"),
            Self::SlowRate { slow, calls } => write!(f, "{slow} of {calls} calls were slow"),
            Self::FailuresInARow(failed) => write!(f, "{failed} calls in a row failed"),
            Self::OpenTimeOver => f.write_str("the time for which it was open has passed"),
            Self::ProbesSucceeded => f.write_str("trial calls succeeded"),
            Self::ProbeFailed => f.write_str("a trial call failed"),
            Self::ProbeOverdue => f.write_str("a trial call did not end in time"),
            Self::Forced => f.write_str("forced by an operator"),
            Self::Reset => f.write_str("reset by an operator"),
            Self::Advised => f.write_str("the breaker of a peer is open"),
        }
    }
}

/// A change of state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// How many there were before this one, over the whole life of the breaker.
    pub number: u64,
    /// When.
    pub at: Timestamp,
    /// From where.
    pub from: State,
    /// To where.
    pub to: State,
    /// Why.
    pub reason: Reason,
}

/// The breaker lets no call through at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("circuit breaker is open, try again in {} ms", retry_after.as_millis())]
pub struct Denied {
    /// When it is worth trying again; an estimate when it is half-open or was forced.
    pub retry_after: Duration,
}

/// How a permitted call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallOutcome {
    /// The tool did what it should.
    Success,
    /// The tool failed.
    Failure {
        /// How long to leave it alone, when it said so.
        retry_after: Option<Duration>,
    },
    /// The caller's mistake, which says nothing about the tool.
    Ignored,
    /// The call's owner died; nothing is known.
    Abandoned,
}
