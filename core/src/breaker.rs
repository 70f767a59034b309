//! The circuit breaker of a tool, as a value.

use std::time::Duration;

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
    /// Failures in a row at which it opens at once.
    pub consecutive_failures: u32,
    /// How long it stays open the first time.
    pub open_for: Duration,
    /// Each further opening in a row lasts this times the one before.
    pub open_factor: f64,
    /// No opening lasts longer (a tool's Retry-After is honored up to this as well).
    pub open_max: Duration,
    /// Calls that may be under way while half-open.
    pub half_open_permits: u32,
    /// Successes after which a half-open breaker closes.
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
