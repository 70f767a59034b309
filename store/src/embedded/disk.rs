//! Watches the free space of the disk: once a second and with each new segment, and only while
//! somebody writes.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use super::Clock;
use crate::Error;
use crate::faults::Faults;

/// Microseconds between two looks at the file system.
const LOOK_EVERY: i64 = 1_000_000;

/// Free space against the reserve.
pub(crate) struct Disk {
    path: PathBuf,
    reserve: u64,
    clock: Clock,
    faults: Faults,
    looked_at: AtomicI64,
    free: AtomicU64,
    /// The journal waits for space: a segment could not be made.
    full: AtomicBool,
}

impl Disk {
    /// Watches the file system of `path`.
    pub(crate) fn new(path: PathBuf, reserve: u64, clock: Clock, faults: Faults) -> Self {
        Self {
            path,
            reserve,
            clock,
            faults,
            looked_at: AtomicI64::new(i64::MIN),
            free: AtomicU64::new(u64::MAX),
            full: AtomicBool::new(false),
        }
    }

    /// Why new runs are refused, if they are.
    pub(crate) fn refusing(&self) -> Option<Error> {
        self.look();
        let free = self.free.load(Ordering::Relaxed);
        let full = self.full.load(Ordering::Relaxed);
        (full || free < self.reserve).then_some(Error::DiskReserve {
            free: if full { 0 } else { free },
            reserve: self.reserve,
        })
    }

    /// Notes whether the journal is waiting for space.
    pub(crate) fn set_full(&self, full: bool) {
        if self.full.swap(full, Ordering::Relaxed) != full {
            if full {
                tracing::error!(path = %self.path.display(), "the disk is full; writes wait for space");
            } else {
                tracing::warn!(path = %self.path.display(), "there is space again; writes go on");
            }
            self.look_again();
        }
    }

    /// Looks at the file system the next time somebody asks, however soon that is.
    pub(crate) fn look_again(&self) {
        self.looked_at.store(i64::MIN, Ordering::Relaxed);
    }

    fn look(&self) {
        let now = (self.clock)().0;
        let last = self.looked_at.load(Ordering::Relaxed);
        // A clock that was set back counts as a second gone by.
        if last != i64::MIN && (0..LOOK_EVERY).contains(&now.saturating_sub(last)) {
            return;
        }
        self.looked_at.store(now, Ordering::Relaxed);
        let free = match self.faults.free_bytes() {
            Some(free) => free,
            None => match rustix::fs::statvfs(&self.path) {
                Ok(stat) => stat.f_bavail.saturating_mul(stat.f_frsize),
                Err(error) => {
                    tracing::warn!(path = %self.path.display(), %error, "cannot read the free disk space");
                    return;
                }
            },
        };
        let before = self.free.swap(free, Ordering::Relaxed);
        match (before < self.reserve, free < self.reserve) {
            (false, true) => tracing::warn!(
                free,
                reserve = self.reserve,
                "free disk space is below the reserve; new runs are refused"
            ),
            (true, false) => tracing::warn!(
                free,
                reserve = self.reserve,
                "free disk space is above the reserve again; new runs are accepted"
            ),
            (false, false) | (true, true) => {}
        }
    }
}

impl std::fmt::Debug for Disk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Disk")
            .field("path", &self.path)
            .field("free", &self.free)
            .finish_non_exhaustive()
    }
}
