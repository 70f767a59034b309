//! The checkpointer's dealings with sled: snapshots of runs and rows of tools go in, outdated
//! snapshots go out.

use std::collections::HashSet;
use std::sync::Arc;

use crane_core::{RunId, Seq};

use super::Checkpointer;
use crate::embedded::layout::At;
use crate::embedded::live::{FROM_HISTORY, Live};
use crate::embedded::readers::assemble;
use crate::embedded::snapshots::{Batch, Snapshots};
use crate::embedded::{lock, read};
use crate::{Encoded, Error, Summary};

/// Snapshots written to sled at once.
const BATCH_ROWS: usize = 512;
/// Bytes of snapshots written to sled at once.
const BATCH_BYTES: usize = 8 << 20;

impl Checkpointer {
    /// All of a run: what sled has of it, and what came after.
    pub(super) fn assemble(&self, run: RunId, live: Live) -> Result<(Summary, Encoded), Error> {
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

    /// Makes snapshots of `runs`, of changed tool data, and removes outdated snapshots; durable on
    /// return.
    pub(super) fn snapshot(&mut self, mut runs: Vec<RunId>) -> Result<(), Error> {
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

    /// Sled, unless it waits for space to be opened again.
    pub(super) fn sled(&self) -> Result<&Snapshots, Error> {
        self.snapshots.as_ref().ok_or_else(|| Error::Io {
            context: format!("cannot open {}", self.shared.snapshots_dir.display()),
            source: Arc::new(std::io::ErrorKind::StorageFull.into()),
        })
    }

    /// After a write to sled has failed for want of space, sled refuses everything: open it anew.
    /// What had not been flushed is written again by the next checkpoint.
    pub(super) fn reopen(&mut self) {
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
}

/// Whether the run was brought back from history for an append that did not come.
pub(super) fn is_merely_thawed(live: &Live) -> bool {
    live.oldest() == Some(FROM_HISTORY) && live.chunks.len() == 1
}
