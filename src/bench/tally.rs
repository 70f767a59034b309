//! What a worker saw, and what all saw together.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::Error;

/// Longest latency that is told apart, in microseconds: an hour.
const LONGEST_US: u64 = 3_600_000_000;

/// See the module.
#[derive(Debug)]
pub(super) struct Tally {
    latencies: Histogram<u64>,
    pub(super) steps: usize,
    pub(super) completed: usize,
    pub(super) errors: usize,
    pub(super) first_error: Option<String>,
}

impl Tally {
    /// Nothing seen yet.
    pub(super) fn new() -> Result<Self, Error> {
        let latencies = Histogram::new_with_bounds(1, LONGEST_US, 3)
            .map_err(|error| Error::Histogram(error.to_string()))?;
        Ok(Self {
            latencies,
            steps: 0,
            completed: 0,
            errors: 0,
            first_error: None,
        })
    }

    /// A run of so many steps completed.
    pub(super) fn completed(&mut self, took: Duration, steps: usize) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.latencies.saturating_record(micros.max(1));
        self.completed += 1;
        self.steps += steps;
    }

    /// A run did not complete.
    pub(super) fn failed(&mut self, error: String) {
        self.errors += 1;
        self.first_error.get_or_insert(error);
    }

    /// What another worker saw on top.
    pub(super) fn add(&mut self, other: Self) -> Result<(), Error> {
        self.latencies
            .add(&other.latencies)
            .map_err(|error| Error::Histogram(error.to_string()))?;
        self.steps += other.steps;
        self.completed += other.completed;
        self.errors += other.errors;
        if let Some(error) = other.first_error {
            self.first_error.get_or_insert(error);
        }
        Ok(())
    }

    /// So many of the completed runs took at most this, in milliseconds.
    pub(super) fn percentile_ms(&self, quantile: f64) -> f64 {
        self.latencies.value_at_quantile(quantile) as f64 / 1_000.0
    }
}
