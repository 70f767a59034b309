//! What the tests of this folder share: a clock and settings.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use crane_core::Timestamp;

use crate::embedded::{Clock, Options};

/// A clock that moves a millisecond at each look, and when told.
#[derive(Clone)]
pub(super) struct TestClock(Arc<AtomicI64>);

impl Default for TestClock {
    fn default() -> Self {
        Self(Arc::new(AtomicI64::new(1_700_000_000_000_000)))
    }
}

impl TestClock {
    pub(super) fn as_clock(&self) -> Clock {
        let micros = Arc::clone(&self.0);
        Arc::new(move || Timestamp(micros.fetch_add(1000, Ordering::Relaxed)))
    }

    pub(super) fn advance(&self, by: Duration) {
        let micros = i64::try_from(by.as_micros()).unwrap();
        self.0.fetch_add(micros, Ordering::Relaxed);
    }
}

/// Settings under which everything happens all the time.
pub(super) fn tight(options: &mut Options) {
    options.segment_bytes = 4 << 10;
    options.spare_segments = 1;
    options.checkpoint_segments = 2;
    options.export_bytes = 24 << 10;
    options.history_segment_bytes = 4 << 10;
    options.disk_reserve = 0;
}
