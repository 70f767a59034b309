//! The lease of a node that owns shards for a time: nothing starts while there is none.
//!
//! ```text
//!   start of a step, call of a tool ──> time left? ── yes ──> go on
//!                                          │ no                ^
//!                                          v                   │
//!                                        wait ── looked at ────┘   one task looks every
//!                                                                  LEASE_CHECK, for all who wait
//! ```
//!
//! While nobody waits, nobody looks.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use crane_core::limits;
use crane_store::{Error, Fence};
use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;

use crate::kernel::background;
use crate::runtime::Leased;

/// See the module.
#[derive(Debug)]
pub(crate) struct Lease {
    leased: Leased,
    /// Told when there may be time again.
    back: Notify,
    /// How many wait.
    waiting: AtomicUsize,
    /// Whether a task looks for them.
    watched: AtomicBool,
    started: Instant,
    /// What was told last about the store, see [`Lease::wrote`].
    told: AtomicU64,
    /// Bounds how many readings of unfinished runs are under way.
    pub(crate) restores: Semaphore,
}

/// Nothing was told yet.
const NEVER: u64 = u64::MAX;

impl Lease {
    pub(crate) fn new(leased: Leased) -> Self {
        Self {
            leased,
            back: Notify::new(),
            waiting: AtomicUsize::new(0),
            watched: AtomicBool::new(false),
            started: Instant::now(),
            told: AtomicU64::new(NEVER),
            restores: Semaphore::new(limits::RESTORES_AT_ONCE),
        }
    }

    /// Whether something may start now.
    pub(crate) fn has_time(&self) -> bool {
        !(self.leased.left)().is_zero()
    }

    /// Waits until something may start.
    pub(crate) async fn wait(self: &Arc<Self>) {
        let _waiting = Waiting::new(self);
        loop {
            let mut back = pin!(self.back.notified());
            // Listens before it looks, so that what is told in between is not missed.
            back.as_mut().enable();
            if self.has_time() {
                return;
            }
            self.watch();
            back.await;
        }
    }

    fn watch(self: &Arc<Self>) {
        if self.watched.swap(true, Ordering::AcqRel) {
            return;
        }
        let lease = self.clone();
        background(async move {
            loop {
                tokio::time::sleep(limits::LEASE_CHECK).await;
                if lease.has_time() || lease.waiting.load(Ordering::Acquire) == 0 {
                    break;
                }
            }
            // In this order: whoever comes in between is told below, and starts another watch.
            lease.watched.store(false, Ordering::Release);
            lease.back.notify_waiters();
        });
    }

    /// A write of `fence` was refused for good.
    pub(crate) fn fenced(&self, fence: Fence) {
        (self.leased.fenced)(fence);
    }

    /// Tells whether the store works, if this result says anything about it.
    pub(crate) fn wrote(&self, result: &Result<(), Error>) {
        let works = match result {
            Ok(()) => true,
            // What the store refuses for a reason, it has understood.
            Err(
                Error::Fenced { .. }
                | Error::LeaseLost { .. }
                | Error::Conflict { .. }
                | Error::Limit { .. }
                | Error::DiskReserve { .. },
            ) => return,
            Err(
                Error::InUse { .. }
                | Error::Corrupt { .. }
                | Error::Schema { .. }
                | Error::Io { .. }
                | Error::Unavailable(_)
                | Error::Database { .. }
                | Error::Unsuitable(_)
                | Error::Fatal(_),
            ) => false,
        };
        let every = millis(limits::WROTE_EVERY);
        let now = millis(self.started.elapsed());
        let before = self.told.load(Ordering::Relaxed);
        if before != NEVER && (before & 1 == 1) == works && now.saturating_sub(before >> 1) < every
        {
            return;
        }
        // Two who get here at once both tell; that does no harm.
        self.told
            .store(now << 1 | u64::from(works), Ordering::Relaxed);
        (self.leased.wrote)(works);
    }
}

/// Whether the store says that the writer does not own its shard any more.
pub(crate) fn is_loss(error: &Error) -> bool {
    matches!(error, Error::Fenced { .. } | Error::LeaseLost { .. })
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX >> 1)
}

/// Counts one who waits.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(lease: &'a Lease) -> Self {
        lease.waiting.fetch_add(1, Ordering::AcqRel);
        Self(&lease.waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
