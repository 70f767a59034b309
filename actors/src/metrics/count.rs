//! Numbers that are counted here and shown to the recorder when somebody looks.
//!
//! Counting straight into the recorder costs several atomic operations on a shared line for each
//! count, and nobody could read the number back. Here a count is one addition; the API reads the
//! same number that a scrape is given, so that the two cannot differ.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use metrics::Counter;

/// A number that only grows.
#[derive(Debug)]
pub(crate) struct Count {
    value: AtomicU64,
    shown: AtomicU64,
    counter: Counter,
}

impl Count {
    /// Counts from zero; `counter` is what the recorder sees.
    pub(crate) fn new(counter: Counter) -> Self {
        // Registers it, so that it is there before anything was counted.
        counter.increment(0);
        Self {
            value: AtomicU64::new(0),
            shown: AtomicU64::new(0),
            counter,
        }
    }

    pub(crate) fn add(&self, more: u64) {
        self.value.fetch_add(more, Ordering::Relaxed);
    }

    pub(crate) fn one(&self) {
        self.add(1);
    }

    pub(crate) fn get(&self) -> u64 {
        self.value.load(Ordering::Relaxed)
    }

    /// Brings the recorder up to date; several may do so at once.
    pub(crate) fn show(&self) {
        let now = self.get();
        let before = self.shown.fetch_max(now, Ordering::AcqRel);
        self.counter.increment(now.saturating_sub(before));
    }
}

/// Messages on their way to one or several actors.
#[derive(Debug, Default)]
pub(crate) struct Depth(AtomicI64);

impl Depth {
    pub(crate) fn enter(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn leave(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        // Entering and leaving are not ordered with each other for whoever looks from outside.
        u64::try_from(self.0.load(Ordering::Relaxed)).unwrap_or(0)
    }
}

/// A mean of durations.
#[derive(Debug, Default)]
pub(crate) struct Mean {
    count: AtomicU64,
    micros: AtomicU64,
}

impl Mean {
    pub(crate) fn add(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.micros.fetch_add(micros, Ordering::Relaxed);
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    /// In seconds; 0 of nothing.
    pub(crate) fn seconds(&self) -> f64 {
        let count = self.count.load(Ordering::Relaxed).max(1);
        self.micros.load(Ordering::Relaxed) as f64 / 1e6 / count as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mean_of_nothing_is_zero() {
        let mean = Mean::default();
        assert!(mean.seconds().abs() < f64::EPSILON);
        mean.add(Duration::from_secs(1));
        mean.add(Duration::from_secs(2));
        assert!((mean.seconds() - 1.5).abs() < 1e-9);
    }

    #[test]
    fn a_count_is_shown_once_however_often_it_is_asked_for() {
        let seen = std::sync::Arc::new(AtomicU64::new(0));
        let count = Count::new(Counter::from_arc(seen.clone()));
        count.add(2);
        count.show();
        count.one();
        count.show();
        count.show();
        assert_eq!((count.get(), seen.load(Ordering::Relaxed)), (3, 3));
    }
}
