//! The calls of the last while, in buckets of a tenth of the window.
//!
//! A window that is full of one bucket's calls forgets them all at once; so it spans between nine
//! and ten tenths of its length, and counting is one comparison and two additions.

use std::time::Duration;

use crate::time::Timestamp;

/// Buckets of a window.
const BUCKETS: usize = 10;

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Calls that ended, but for callers' mistakes.
    pub calls: u32,
    /// Calls that failed.
    pub failed: u32,
    /// Calls that were slow, failed or not.
    pub slow: u32,
}

/// What was counted in a part of the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// When the part begins.
    pub start: Timestamp,
    /// What was counted in it.
    pub counts: Counts,
}

/// A sliding window.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Window {
    /// Length of a bucket in microseconds, at least 1.
    length: i64,
    /// End of the newest bucket.
    end: Timestamp,
    /// Place of the newest bucket.
    newest: usize,
    buckets: [Counts; BUCKETS],
    total: Counts,
}

impl Window {
    pub(super) fn new(length: Duration) -> Self {
        let bucket = length.as_micros() / BUCKETS as u128;
        Self {
            length: i64::try_from(bucket).unwrap_or(i64::MAX).max(1),
            end: Timestamp(i64::MIN),
            newest: 0,
            buckets: [Counts::default(); BUCKETS],
            total: Counts::default(),
        }
    }

    /// Counts a call that ended at `now`.
    pub(super) fn count(&mut self, now: Timestamp, failed: bool, slow: bool) {
        self.advance(now);
        let one = Counts {
            calls: 1,
            failed: u32::from(failed),
            slow: u32::from(slow),
        };
        self.buckets[self.newest].add(one);
        self.total.add(one);
    }

    /// Forgets what is too old at `now`. A clock that was set back changes nothing.
    pub(super) fn advance(&mut self, now: Timestamp) {
        if now < self.end {
            return;
        }
        // i128: the first call comes an age after the beginning of time.
        let passed = (i128::from(now.0) - i128::from(self.end.0)) / i128::from(self.length) + 1;
        let steps = usize::try_from(passed).unwrap_or(BUCKETS).min(BUCKETS);
        for _ in 0..steps {
            self.newest = (self.newest + 1) % BUCKETS;
            self.total.subtract(self.buckets[self.newest]);
            self.buckets[self.newest] = Counts::default();
        }
        // Ends are multiples of the length, so that a restored window fits a running one.
        let index = now.0.div_euclid(self.length);
        self.end = Timestamp(index.saturating_add(1).saturating_mul(self.length));
    }

    pub(super) fn counts(&self) -> Counts {
        self.total
    }

    /// The buckets that hold anything, oldest first.
    pub(super) fn buckets(&self) -> Vec<Bucket> {
        (1..=BUCKETS)
            .filter_map(|age| {
                let counts = self.buckets[(self.newest + age) % BUCKETS];
                let before = i64::try_from(BUCKETS - age + 1).unwrap_or(0);
                let start = self
                    .end
                    .0
                    .saturating_sub(self.length.saturating_mul(before));
                (counts != Counts::default()).then_some(Bucket {
                    start: Timestamp(start),
                    counts,
                })
            })
            .collect()
    }

    /// Counts what was counted before a restart.
    pub(super) fn restore(&mut self, bucket: Bucket) {
        self.advance(bucket.start);
        self.buckets[self.newest].add(bucket.counts);
        self.total.add(bucket.counts);
    }
}

impl Counts {
    fn add(&mut self, other: Self) {
        self.calls = self.calls.saturating_add(other.calls);
        self.failed = self.failed.saturating_add(other.failed);
        self.slow = self.slow.saturating_add(other.slow);
    }

    fn subtract(&mut self, other: Self) {
        self.calls = self.calls.saturating_sub(other.calls);
        self.failed = self.failed.saturating_sub(other.failed);
        self.slow = self.slow.saturating_sub(other.slow);
    }
}
