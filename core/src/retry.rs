//! When a failed attempt is repeated.

use std::time::Duration;

/// Exponential back-off with optional jitter and a bound on attempts.
#[derive(Clone, Debug, PartialEq)]
pub struct RetryPolicy {
    /// Attempts in all, the first included; at least 1.
    pub max_attempts: u32,
    /// Delay before the second attempt.
    pub initial: Duration,
    /// Each delay is this times the one before.
    pub factor: f64,
    /// No delay is longer.
    pub max: Duration,
    /// Whether delays are spread, so that many failed steps do not come back at once.
    pub jitter: bool,
}

impl Default for RetryPolicy {
    /// The contract's default: 3 attempts after 1 s and 2 s, jittered.
    fn default() -> Self {
        Self {
            max_attempts: 3,
            initial: Duration::from_secs(1),
            factor: 2.0,
            max: Duration::from_secs(60),
            jitter: true,
        }
    }
}
