//! The embedded store: a journal first, snapshots in sled second, history third.
//!
//! ```text
//!   submit ──> queue ──> journal thread ── fdatasync ──> live table + catalog ──> acks
//!                              │ pile                          ▲        │ base, place
//!                              v                               │        v
//!                        checkpointer thread ── sled, history ─┘   reader threads ──> load
//! ```
//!
//! One thread appends, one moves runs out of the journal, two read from disk; nobody else touches
//! a file. A node has one of these; its directory is locked.
//!
//! Architecture Invariant: an acknowledgement waits for the journal's fdatasync, and for that
//! alone. What the live table and the catalog show is durable.

mod checkpointer;
mod disk;
mod export;
mod frame;
mod journal;
mod layout;
mod live;
mod open;
mod queue;
mod readers;
mod rebuild;
mod record;
mod recovery;
mod scan;
mod segments;
mod shared;
mod snapshots;
mod store;
mod threads;
mod verify;
mod work;
mod writer;

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crane_core::Timestamp;

use crate::Retention;
use crate::faults::Faults;
use crate::history::{FaultHook, HistoryOptions, SEGMENT_BYTES as HISTORY_SEGMENT_BYTES};
pub use layout::is_store;
use shared::Shared;
pub use store::EmbeddedStore;
pub use verify::{Finding, Report, verify};

/// The clock of a store; UTC.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// How an embedded store is opened.
#[derive(Clone)]
pub struct Options {
    /// The directory; created when missing.
    pub dir: PathBuf,
    /// Size of a journal segment, in bytes.
    pub segment_bytes: u64,
    /// Journal segments that are prepared ahead once there is traffic.
    pub spare_segments: usize,
    /// Full journal segments that may wait before a checkpoint; what a start has to replay.
    pub checkpoint_segments: u32,
    /// Bytes of journal after which the snapshots are exported again and the journal is recycled.
    pub export_bytes: u64,
    /// Size at which a history segment is sealed, in bytes.
    pub history_segment_bytes: u32,
    /// How long finished runs are kept.
    pub retention: Retention,
    /// Free bytes of the disk below which new runs are refused; at least two segments.
    pub disk_reserve: u64,
    /// Go on past a damaged place of the journal, dropping what is behind it. For an operator who
    /// has decided that.
    pub accept_corruption: bool,
    /// For tests.
    pub faults: Faults,
    /// The clock.
    pub now: Clock,
}

impl Options {
    /// The defaults.
    pub fn new(dir: impl Into<PathBuf>, now: Clock) -> Self {
        Self {
            dir: dir.into(),
            segment_bytes: 16 << 20,
            spare_segments: 2,
            checkpoint_segments: 16,
            export_bytes: 1 << 30,
            history_segment_bytes: HISTORY_SEGMENT_BYTES,
            retention: Retention::default(),
            disk_reserve: 256 << 20,
            accept_corruption: false,
            faults: Faults::default(),
            now,
        }
    }

    fn history_options(&self) -> HistoryOptions {
        let faults = self.faults.clone();
        let hook: Option<FaultHook> = faults
            .is_installed()
            .then(|| Arc::new(move |point| faults.pass(point)) as FaultHook);
        HistoryOptions {
            segment_bytes: self.history_segment_bytes,
            retention: self.retention,
            faults: hook,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("dir", &self.dir)
            .field("segment_bytes", &self.segment_bytes)
            .field("export_bytes", &self.export_bytes)
            .field("disk_reserve", &self.disk_reserve)
            .finish_non_exhaustive()
    }
}

/// Locks; a thread of the store that panicked has stopped the store, which is how a lock it held
/// is told.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
