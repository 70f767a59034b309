//! The cursor: the place from which on the journal is needed. Moving it on gives segments back.

use crane_core::RunId;

use super::Checkpointer;
use crate::Error;
use crate::embedded::layout::At;
use crate::embedded::snapshots::Cursor;
use crate::embedded::{export, lock};

impl Checkpointer {
    /// Makes the journal before segment `target`, whose first record is `lsn`, unnecessary. With
    /// `everything`, writes what the segments behind it hold as well.
    pub(super) fn checkpoint(
        &mut self,
        target: u32,
        lsn: u64,
        everything: bool,
    ) -> Result<(), Error> {
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
}
