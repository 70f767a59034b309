//! What the threads of an embedded store share.

use std::path::PathBuf;
use std::sync::Arc;

use crane_core::{Epoch, Timestamp};
use tokio::sync::watch;

use super::disk::Disk;
use super::layout::Layout;
use super::live::LiveTable;
use super::queue::Queue;
use super::readers::Readers;
use super::segments::Segments;
use super::snapshots::Snapshots;
use super::work::Work;
use super::{Clock, Mutex, RwLock};
use crate::Error;
use crate::catalog::Catalog;
use crate::faults::Faults;
use crate::history::HistoryReader;
use crate::metrics::{Metrics, Trouble};
use crate::tool_data::ToolData;

/// Where a store is in its life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It works.
    Open,
    /// It was closed; everything is durable.
    Closed,
    /// It has stopped by itself.
    Failed(Arc<str>),
}

/// Data of stateful tools, and up to where it is complete.
#[derive(Debug)]
pub(crate) struct Tools {
    /// Rows and results.
    pub(crate) data: ToolData,
    /// Every record below this number is durable and applied.
    pub(crate) lsn: u64,
}

/// The shared state. Locks are taken in this order: retiring, catalog, live table (inside it),
/// tools; the piles and queues are leaves.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) clock: ClockHolder,
    pub(crate) faults: Faults,
    pub(crate) epoch: Epoch,
    pub(crate) queue: Queue,
    pub(crate) work: Work,
    pub(crate) readers: Readers,
    pub(crate) live: LiveTable,
    pub(crate) catalog: RwLock<Catalog>,
    pub(crate) tools: Mutex<Tools>,
    pub(crate) history: HistoryReader,
    /// The readers' handle to sled; `None` while it is being opened anew and after closing.
    pub(crate) snapshots: Mutex<Option<Snapshots>>,
    /// Held while retention removes history, and while a run is brought back from there.
    pub(crate) retiring: Mutex<()>,
    pub(crate) segments: Arc<Segments>,
    pub(crate) spare_segments: usize,
    pub(crate) disk: Disk,
    pub(crate) metrics: Metrics,
    pub(crate) snapshots_dir: PathBuf,
    pub(crate) history_dir: PathBuf,
    pub(crate) export_dir: PathBuf,
    /// The directory's lock; given back on closing.
    pub(crate) layout: Mutex<Option<Layout>>,
    pub(crate) phase: watch::Sender<Phase>,
}

/// A clock that can be in a struct that is `Debug`.
pub(crate) struct ClockHolder(pub(crate) Clock);

impl std::fmt::Debug for ClockHolder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Clock")
    }
}

impl Shared {
    /// The time.
    pub(crate) fn now(&self) -> Timestamp {
        (self.clock.0)()
    }

    /// Stops the store for good, because of `reason`; the first reason stays.
    pub(crate) fn fail(&self, reason: &str) {
        let first = self.phase.send_if_modified(|phase| {
            let is_open = *phase == Phase::Open;
            if is_open {
                *phase = Phase::Failed(reason.into());
            }
            is_open
        });
        if first {
            crate::metrics::error(Trouble::Fatal);
            if self.faults.crashed() {
                tracing::debug!(reason, "the store was made to die");
            } else {
                tracing::error!(reason, "the store has stopped; the process must end");
            }
        }
        self.queue.close();
        self.work.add(|pile| pile.abandon = true);
    }

    /// Fails when the store has failed.
    pub(crate) fn still_open(&self) -> Result<(), Error> {
        match &*self.phase.borrow() {
            Phase::Failed(reason) => Err(Error::Fatal(Arc::clone(reason))),
            Phase::Open | Phase::Closed => Ok(()),
        }
    }

    /// What writers are told after the store has stopped.
    pub(crate) fn stopped(&self) -> Error {
        match &*self.phase.borrow() {
            Phase::Failed(reason) => Error::Fatal(Arc::clone(reason)),
            Phase::Open | Phase::Closed => Error::Fatal("it was closed".into()),
        }
    }

    /// What a fault means where no file is involved.
    pub(crate) fn died(source: &std::io::Error) -> Error {
        Error::Fatal(source.to_string().into())
    }
}
