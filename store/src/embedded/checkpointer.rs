//! The checkpointer's thread: moves runs out of memory and out of the journal.
//!
//! ```text
//!   ended runs ───────> history (buffered), then out of the live table
//!   passivated runs ──> sled in batches, then out of memory
//!   old segments ─────> 1 history synced   2 snapshots flushed   3 cursor flushed
//!                       4 export, when the journal since the last one is long   5 recycled
//! ```
//!
//! The order of the five is what makes a crash between any two harmless: nothing is given up before
//! what replaces it is durable. This thread owns sled and history. While free space is below the
//! reserve, or the disk is full, it pauses: the journal has everything.

mod cursor;
mod history;
mod rows;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use crane_core::RunId;
use tokio::sync::oneshot;

use super::export::Export;
use super::layout::is_no_space;
use super::snapshots::{Cursor, Snapshots};
use super::work::{PASSIVE_RUNS, Pile};
use super::{Shared, lock};
use crate::Error;
use crate::history::History;
use crate::metrics::Trouble;

/// Numbers that steer the checkpointer; see [`super::Options`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// Full journal segments that may wait.
    pub(crate) checkpoint_segments: u32,
    /// Bytes of the journal since the last export that are worth a new one.
    pub(crate) export_bytes: u64,
    /// Prepared segments kept.
    pub(crate) spare_segments: usize,
    /// Recycled segments kept.
    pub(crate) keep_segments: usize,
    /// Bytes of history after which retention looks again.
    pub(crate) retire_every: u64,
}

/// What the checkpointer takes over when a store is opened.
pub(crate) struct Parts {
    pub(crate) settings: Settings,
    pub(crate) snapshots: Snapshots,
    pub(crate) history: History,
    pub(crate) cursor: Cursor,
    pub(crate) export: Option<Export>,
    /// Runs whose snapshots are not needed any more.
    pub(crate) outdated: Vec<RunId>,
}

/// State of the checkpointer's thread.
pub(crate) struct Checkpointer {
    shared: Arc<Shared>,
    settings: Settings,
    snapshots: Option<Snapshots>,
    history: History,
    cursor: Cursor,
    export: Option<Export>,
    pile: Pile,
    /// Runs by the oldest segment they needed when that began; may be out of date.
    segments: BTreeMap<u32, Vec<RunId>>,
    /// Runs with a snapshot that is not needed any more.
    outdated: HashSet<RunId>,
    /// Bytes of history when retention last looked.
    retired_at: Option<u64>,
}

impl Checkpointer {
    /// Owns sled and history from here on.
    pub(crate) fn new(shared: Arc<Shared>, parts: Parts) -> Self {
        Self {
            shared,
            settings: parts.settings,
            snapshots: Some(parts.snapshots),
            history: parts.history,
            cursor: parts.cursor,
            export: parts.export,
            pile: Pile::default(),
            segments: BTreeMap::new(),
            outdated: parts.outdated.into_iter().collect(),
            retired_at: None,
        }
    }

    /// Works until the store is closed or dropped.
    pub(crate) fn run(&mut self) -> Result<(), Error> {
        let mut paused = false;
        loop {
            self.shared.work.wait(paused);
            // Before the pile is taken: all of a segment before this one is in the pile then.
            let active = self.shared.segments.active();
            self.shared.work.take(&mut self.pile);
            if self.pile.abandon {
                return Ok(());
            }
            let closing = self.pile.close;
            let requests = std::mem::take(&mut self.pile.requests);
            let outcome = self.turn(active, !requests.is_empty() || closing);
            let no_space = outcome.as_ref().is_err_and(is_no_space);
            let pausing = no_space || matches!(outcome, Err(Error::DiskReserve { .. }));
            for request in requests {
                answer(request, &outcome);
            }
            match outcome {
                Ok(does_pause) => paused = does_pause,
                Err(error) if pausing => {
                    crate::metrics::error(Trouble::CheckpointSpace);
                    tracing::warn!(%error, "checkpoints wait for disk space");
                    if no_space {
                        self.reopen();
                    }
                    paused = true;
                }
                Err(error) => return Err(error),
            }
            if closing {
                // A full disk is no reason not to close: the journal has everything.
                return if pausing { Ok(()) } else { self.history.sync() };
            }
        }
    }

    /// Gives back the store's parts that hold files.
    pub(crate) fn finish(mut self) {
        *lock(&self.shared.snapshots) = None;
        self.snapshots = None;
    }

    /// After a test has made the process die: sled flushes when it is dropped, and a dead process
    /// does not.
    pub(crate) fn die_with_process(mut self) {
        if self.shared.faults.crashed() {
            std::mem::forget(self.snapshots.take());
        }
    }

    /// Does what is due; returns whether to pause.
    fn turn(&mut self, active: Option<(u32, u64)>, everything: bool) -> Result<bool, Error> {
        for (segment, run) in self.pile.dirtied.drain(..) {
            self.segments.entry(segment).or_default().push(run);
        }
        let is_short = self.shared.disk.refusing();
        if let Some(error) = is_short {
            // The journal goes on growing.
            self.measure();
            // What was asked for explicitly is tried all the same: it may be what frees space.
            return if everything { Err(error) } else { Ok(true) };
        }
        self.pile.opened = false;
        if std::mem::take(&mut self.pile.prepare) {
            self.shared.segments.prepare(self.settings.spare_segments)?;
        }
        self.write_ended()?;
        if !self.pile.close {
            self.retire(everything)?;
        }
        let Some((active, first_lsn)) = active else {
            return Ok(false);
        };
        let full = active.saturating_sub(self.cursor.segment);
        if everything {
            self.checkpoint(active, first_lsn, true)?;
        } else if full > self.settings.checkpoint_segments {
            let target = active - self.settings.checkpoint_segments / 2;
            let lsn = self.shared.segments.first_lsn(target).unwrap_or(first_lsn);
            self.checkpoint(target, lsn, false)?;
        } else if self.pile.passive.len() >= PASSIVE_RUNS {
            let runs = std::mem::take(&mut self.pile.passive);
            self.snapshot(runs)?;
        }
        self.measure();
        Ok(false)
    }

    fn measure(&self) {
        let metrics = &self.shared.metrics;
        // Gauges are floating point; sizes on disk are far below 2^53.
        let set = |gauge: &metrics::Gauge, bytes: u64| gauge.set(bytes as f64);
        set(&metrics.storage_journal, self.shared.segments.bytes(0).0);
        set(&metrics.storage_history, self.history.bytes());
        let oldest = self.history.oldest().map_or(0, |at| at.0);
        metrics.history_oldest.set(oldest as f64 / 1e6);
        if let Some(snapshots) = &self.snapshots {
            set(&metrics.storage_snapshots, snapshots.bytes());
        }
        let export = self.export.as_ref().map_or(0, |export| export.bytes);
        set(&metrics.storage_export, export);
    }
}

fn answer(request: oneshot::Sender<Result<(), Error>>, outcome: &Result<bool, Error>) {
    // Whoever asked may have gone away.
    let _ = request.send(outcome.as_ref().map(|_| ()).map_err(Clone::clone));
}
