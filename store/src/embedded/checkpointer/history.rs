//! The checkpointer's dealings with history: ended runs go in, retention takes them out.

use std::collections::HashSet;
use std::sync::{Arc, mpsc};

use crane_core::event::Labels;
use crane_core::{RunId, Seq};

use super::Checkpointer;
use super::rows::is_merely_thawed;
use crate::embedded::layout::At;
use crate::embedded::live::FROM_HISTORY;
use crate::embedded::queue::{Job, Task, Waiter};
use crate::embedded::{lock, read, write};
use crate::history::{Finished, Standing};
use crate::{Encoded, Error, Summary};

/// Ended runs written to history at once.
const ENDED_ROWS: usize = 256;
/// Bytes of ended runs that are held together while they are written to history.
const ENDED_BYTES: usize = 4 << 20;
/// History is synced at least after this many bytes, so that a sync never takes long.
const SYNC_BYTES: u64 = 8 << 20;
/// Removed runs that one record of the journal names.
const RETIRED_AT_ONCE: usize = 16_384;

/// A run that is about to go to history.
struct Ended {
    run: RunId,
    summary: Summary,
    labels: Labels,
    events: Encoded,
    has_snapshot: bool,
}

impl Checkpointer {
    /// Writes ended runs to history and takes them out of the live table.
    pub(super) fn write_ended(&mut self) -> Result<(), Error> {
        while !self.pile.ended.is_empty() {
            let (batch, taken) = self.gather_ended()?;
            let dir = &self.shared.history_dir;
            self.shared
                .faults
                .pass("checkpoint.ended")
                .at("cannot write", dir)?;
            let finished: Vec<Finished<'_>> = batch.iter().map(Ended::as_finished).collect();
            let places = self.history.append_all(&finished)?;
            let mut catalog = write(&self.shared.catalog);
            for (ended, place) in batch.iter().zip(places) {
                // It may have been reopened meanwhile; then it stays.
                if self.shared.live.remove_ended(ended.run, ended.summary.seq) {
                    catalog.ended(ended.run, &ended.summary, place);
                    if ended.has_snapshot {
                        self.outdated.insert(ended.run);
                    }
                }
            }
            drop(catalog);
            self.pile.ended.drain(..taken);
            if self.history.unsynced_bytes() >= SYNC_BYTES {
                self.sync_history()?;
            }
        }
        Ok(())
    }

    /// The next ended runs with their events, and how many of the pile they take care of.
    fn gather_ended(&self) -> Result<(Vec<Ended>, usize), Error> {
        let mut batch = Vec::new();
        let (mut taken, mut bytes) = (0, 0);
        // One that has ended twice meanwhile is written once.
        let mut seen = HashSet::new();
        for run in &self.pile.ended {
            if batch.len() >= ENDED_ROWS || bytes >= ENDED_BYTES {
                break;
            }
            taken += 1;
            let Some(live) = self.shared.live.get(*run) else {
                continue;
            };
            // Reopened, or brought back from history and not reopened yet.
            let has_ended = live.summary.status.is_ended() && !is_merely_thawed(&live);
            if !has_ended || !seen.insert(*run) {
                continue;
            }
            let has_snapshot = live.base > Seq(0);
            let (summary, events) = self.assemble(*run, live)?;
            bytes += events.bytes.len();
            batch.push(Ended {
                run: *run,
                summary,
                labels: read(&self.shared.catalog).labels(*run),
                events,
                has_snapshot,
            });
        }
        Ok((batch, taken))
    }

    pub(super) fn sync_history(&mut self) -> Result<(), Error> {
        let shared = Arc::clone(&self.shared);
        let hit = |point| {
            shared
                .faults
                .pass(point)
                .at("cannot sync", &shared.history_dir)
        };
        hit("checkpoint.history_sync")?;
        // Even for want of space: after a failed sync nobody knows what the kernel still holds.
        self.history.sync().map_err(|error| match error {
            Error::Io { .. } => Error::Fatal(error.to_string().into()),
            other => other,
        })?;
        hit("checkpoint.history_synced")
    }

    /// Lets retention remove old history: at start, whenever history has grown, and when asked.
    pub(super) fn retire(&mut self, asked: bool) -> Result<(), Error> {
        let bytes = self.history.bytes();
        let grown = |at: u64| bytes.saturating_sub(at) >= self.settings.retire_every;
        if !asked && !self.retired_at.is_none_or(grown) {
            return Ok(());
        }
        if !self.outdated.is_empty() {
            // Else the snapshot of a run that is gone from history would bring it back to life.
            self.snapshot(Vec::new())?;
        }
        let shared = Arc::clone(&self.shared);
        shared
            .faults
            .pass("history.retire")
            .at("cannot retire", &shared.history_dir)?;
        let removed = {
            let _retiring = lock(&shared.retiring);
            let removed = self.history.retire(shared.now(), |run, place| {
                if shared.live.oldest(run) == Some(FROM_HISTORY) {
                    return Standing::Needed;
                }
                let entry = read(&shared.catalog).get(run);
                match entry.and_then(|entry| entry.place) {
                    Some(current) if current == place => Standing::Current,
                    Some(_) | None => Standing::Superseded,
                }
            })?;
            // Their ids may be used again once they are out of the catalog: a later start must know
            // then that what the journal has of them is of the old runs.
            for runs in removed.chunks(RETIRED_AT_ONCE) {
                if !self.write_retired(runs)? {
                    return Ok(());
                }
            }
            let mut catalog = write(&shared.catalog);
            for run in &removed {
                catalog.remove(*run);
            }
            removed
        };
        let mut tools = lock(&shared.tools);
        for run in &removed {
            tools.data.forget_run(*run);
        }
        drop(tools);
        if !removed.is_empty() {
            tracing::info!(runs = removed.len(), "retention removed finished runs");
        }
        self.retired_at = Some(self.history.bytes());
        Ok(())
    }

    /// Writes to the journal that runs are gone, and waits until that is durable; false when the
    /// store is being closed, after which no id is used again before the next start.
    fn write_retired(&self, runs: &[RunId]) -> Result<bool, Error> {
        let (sender, outcome) = mpsc::sync_channel(1);
        self.shared.queue.push(Job {
            task: Task::Retired(runs.to_vec()),
            waiter: Waiter::new(Box::new(move |result| {
                // The receiver waits below.
                let _ = sender.send(result);
            })),
        });
        match outcome.recv() {
            Ok(Ok(())) => Ok(true),
            Ok(Err(_)) | Err(_) => self.shared.still_open().map(|()| false),
        }
    }
}

impl Ended {
    fn as_finished(&self) -> Finished<'_> {
        Finished {
            run: self.run,
            summary: &self.summary,
            labels: &self.labels,
            events: &self.events,
        }
    }
}
