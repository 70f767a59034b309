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

mod history;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use crane_core::{RunId, Seq};
use tokio::sync::oneshot;

use super::export::{self, Export};
use super::layout::{At, is_no_space};
use super::live::{FROM_HISTORY, Live};
use super::readers::assemble;
use super::snapshots::{Batch, Cursor, Snapshots};
use super::work::{PASSIVE_RUNS, Pile};
use super::{Shared, lock, read};
use crate::history::History;
use crate::metrics::Trouble;
use crate::{Encoded, Error, Summary};

/// Snapshots written to sled at once.
const BATCH_ROWS: usize = 512;
/// Bytes of snapshots written to sled at once.
const BATCH_BYTES: usize = 8 << 20;
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
    pub(crate) fn new(
        shared: Arc<Shared>,
        settings: Settings,
        snapshots: Snapshots,
        history: History,
        cursor: Cursor,
        export: Option<Export>,
        outdated: Vec<RunId>,
    ) -> Self {
        Self {
            shared,
            settings,
            snapshots: Some(snapshots),
            history,
            cursor,
            export,
            pile: Pile::default(),
            segments: BTreeMap::new(),
            outdated: outdated.into_iter().collect(),
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

    fn assemble(&self, run: RunId, live: Live) -> Result<(Summary, Encoded), Error> {
        let snapshot = match live.base {
            Seq(0) => None,
            Seq(_) => self.sled()?.get(run)?,
        };
        assemble(live, snapshot).ok_or_else(|| Error::Corrupt {
            file: self.shared.snapshots_dir.display().to_string(),
            offset: 0,
            detail: format!("the snapshot of run {run} is missing"),
        })
    }

    /// Makes the journal before segment `target`, whose first record is `lsn`, unnecessary. With
    /// `everything`, writes what the segments behind it hold as well.
    fn checkpoint(&mut self, target: u32, lsn: u64, everything: bool) -> Result<(), Error> {
        let begun = self.shared.now();
        // A tool write below this number is applied, so the journal is known to reach it.
        let reaches = lock(&self.shared.tools).lsn;
        let mut runs = std::mem::take(&mut self.pile.passive);
        let bound = if everything { u32::MAX } else { target };
        let due = |oldest: u32| oldest < bound;
        for run in self.segments.range(..bound).flat_map(|(_, runs)| runs) {
            if self.shared.live.oldest(*run).is_some_and(due) {
                runs.push(*run);
            }
        }
        self.snapshot(runs)?;
        self.segments = match everything {
            // What is still needed was noted again, under its segment, by the snapshots.
            true => std::mem::take(&mut self.segments)
                .into_iter()
                .map(|(segment, runs)| (segment, self.still_needed(segment, runs)))
                .filter(|(_, runs)| !runs.is_empty())
                .collect(),
            false => self.segments.split_off(&target),
        };
        self.advance(Cursor {
            segment: target,
            lsn,
            reaches,
            epoch: self.shared.epoch,
        })?;
        self.export()?;
        self.recycle()?;
        let took = self.shared.now().since(begun);
        self.shared.metrics.checkpoint_seconds.record(took);
        Ok(())
    }

    fn still_needed(&self, segment: u32, mut runs: Vec<RunId>) -> Vec<RunId> {
        runs.retain(|run| self.shared.live.oldest(*run) == Some(segment));
        runs
    }

    /// Makes snapshots of `runs`, of changed tool data, and removes outdated snapshots; durable on
    /// return.
    fn snapshot(&mut self, mut runs: Vec<RunId>) -> Result<(), Error> {
        // An outdated snapshot may go only when the history record that outdates it is durable.
        self.sync_history()?;
        let mut seen = HashSet::with_capacity(runs.len());
        runs.retain(|run| seen.insert(*run));
        let (dirty, tools_lsn) = {
            let mut tools = lock(&self.shared.tools);
            (tools.data.take_dirty(), tools.lsn)
        };
        if runs.is_empty() && dirty.is_empty() && self.outdated.is_empty() {
            return Ok(());
        }
        let written = self.write_rows(&runs, &dirty, tools_lsn);
        let written = match written {
            Ok(written) => written,
            Err(error) => {
                let keys = dirty.iter().map(|(key, _)| key.as_slice());
                lock(&self.shared.tools).data.mark_dirty(keys);
                self.pile.passive.extend(runs);
                return Err(error);
            }
        };
        self.outdated.clear();
        for (run, seq) in written {
            if let Some(oldest) = self.shared.live.snapshotted(run, seq) {
                self.segments.entry(oldest).or_default().push(run);
            }
        }
        Ok(())
    }

    fn write_rows(
        &self,
        runs: &[RunId],
        dirty: &[(Vec<u8>, Option<Vec<u8>>)],
        tools_lsn: u64,
    ) -> Result<Vec<(RunId, Seq)>, Error> {
        let shared = Arc::clone(&self.shared);
        let hit = |point| {
            shared
                .faults
                .pass(point)
                .at("cannot write", &shared.snapshots_dir)
        };
        let mut written = Vec::with_capacity(runs.len());
        let mut batch = Batch::default();
        for run in runs {
            let Some(live) = shared.live.get(*run).filter(|live| !live.chunks.is_empty()) else {
                continue;
            };
            if is_merely_thawed(&live) {
                shared.live.remove_ended(*run, live.summary.seq);
                continue;
            }
            // Also one that has ended since the pile was taken: the cursor may pass it.
            let (summary, events) = self.assemble(*run, live)?;
            let labels = read(&shared.catalog).labels(*run);
            batch.put_run(
                *run,
                &summary,
                &labels,
                events.count,
                [events.bytes.as_slice()],
            );
            written.push((*run, summary.seq));
            if batch.count >= BATCH_ROWS || batch.bytes >= BATCH_BYTES {
                hit("checkpoint.rows")?;
                self.apply(&mut batch)?;
            }
        }
        let fresh: HashSet<RunId> = written.iter().map(|(run, _)| *run).collect();
        for run in self.outdated.difference(&fresh) {
            batch.remove_run(*run);
        }
        hit("checkpoint.rows")?;
        self.apply(&mut batch)?;
        // One batch, so that rows and the number up to which they are complete go together.
        for (key, value) in dirty {
            batch.tool(key, value.as_deref());
        }
        batch.tools_lsn(tools_lsn);
        self.apply(&mut batch)?;
        hit("checkpoint.flush")?;
        self.sled()?.flush()?;
        hit("checkpoint.flushed")?;
        Ok(written)
    }

    fn apply(&self, batch: &mut Batch) -> Result<(), Error> {
        let batch = std::mem::take(batch);
        if batch.count == 0 {
            return Ok(());
        }
        let bytes = batch.bytes as u64;
        self.shared.metrics.snapshot_bytes.increment(bytes);
        self.sled()?.apply(batch)
    }

    /// Moves the cursor, in a flush of its own: it must not become durable before what it relies on.
    fn advance(&mut self, cursor: Cursor) -> Result<(), Error> {
        let dir = &self.shared.snapshots_dir;
        let hit = |point| self.shared.faults.pass(point).at("cannot write", dir);
        hit("checkpoint.cursor")?;
        self.sled()?.set_cursor(cursor)?;
        hit("checkpoint.cursor_flush")?;
        self.sled()?.flush()?;
        hit("checkpoint.cursor_flushed")?;
        self.cursor = cursor;
        Ok(())
    }

    /// Exports when the journal that a rebuild would have to read has grown long.
    fn export(&mut self) -> Result<(), Error> {
        let from = self
            .export
            .as_ref()
            .map_or(0, |export| export.cursor.segment);
        let (_, since) = self.shared.segments.bytes(from);
        let (_, behind) = self.shared.segments.bytes(self.cursor.segment);
        if since.saturating_sub(behind) < self.settings.export_bytes {
            return Ok(());
        }
        let dir = &self.shared.export_dir;
        let export = export::write(dir, self.cursor, self.sled()?, &self.shared.faults)?;
        tracing::info!(path = %export.path.display(), bytes = export.bytes, "exported the snapshots");
        self.export = Some(export);
        Ok(())
    }

    fn recycle(&mut self) -> Result<(), Error> {
        let Some(export) = &self.export else {
            return Ok(());
        };
        let first_needed = export.cursor.segment.min(self.cursor.segment);
        self.shared
            .segments
            .recycle(first_needed, self.settings.keep_segments)
    }

    fn sled(&self) -> Result<&Snapshots, Error> {
        self.snapshots.as_ref().ok_or_else(|| Error::Io {
            context: format!("cannot open {}", self.shared.snapshots_dir.display()),
            source: Arc::new(std::io::ErrorKind::StorageFull.into()),
        })
    }

    /// After a write to sled has failed for want of space, sled refuses everything: open it anew.
    /// What had not been flushed is written again by the next checkpoint.
    fn reopen(&mut self) {
        let mut readers = lock(&self.shared.snapshots);
        *readers = None;
        self.snapshots = None;
        match Snapshots::open(&self.shared.snapshots_dir) {
            Ok(snapshots) => {
                *readers = Some(snapshots.clone());
                self.snapshots = Some(snapshots);
            }
            Err(error) => tracing::warn!(%error, "sled does not open yet; trying again later"),
        }
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

/// Whether the run was brought back from history for an append that did not come.
fn is_merely_thawed(live: &Live) -> bool {
    live.oldest() == Some(FROM_HISTORY) && live.chunks.len() == 1
}

fn answer(request: oneshot::Sender<Result<(), Error>>, outcome: &Result<bool, Error>) {
    // Whoever asked may have gone away.
    let _ = request.send(outcome.as_ref().map(|_| ()).map_err(Clone::clone));
}
