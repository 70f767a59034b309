//! Retention: the oldest segments go, whole ones only.

use std::fs::{self, File};

use crane_core::{RunId, Timestamp};

use super::active::Active;
use super::index::{entries, read_index};
use super::segment::{Info, corrupt, path};
use super::writer::History;
use super::{Place, Standing, hit, io_error, sync_directory};
use crate::Error;

impl History {
    /// Removes the oldest segments as retention demands, whole ones only, and returns the runs
    /// that are gone with them. `standing` says what a record means; a segment with a record that
    /// is [`Standing::Needed`] stays, and all behind it.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Corrupt`]; segments may have been removed by then, so the caller
    /// must read the history anew.
    pub fn retire(
        &mut self,
        now: Timestamp,
        mut standing: impl FnMut(RunId, Place) -> Standing,
    ) -> Result<Vec<RunId>, Error> {
        self.seal_if_old(now)?;
        let mut removed = Vec::new();
        while let Some(first) = self.sealed.front().copied()
            && self.is_due(&first, now)
        {
            match self.retire_first(&first, &mut standing)? {
                Some(current) => removed.extend(current),
                None => break,
            }
        }
        Ok(removed)
    }

    /// A node with little traffic would fill a segment in months; it is sealed when it spans a
    /// quarter of the retention age, so that runs are kept for at most 1.25 times that.
    fn seal_if_old(&mut self, now: Timestamp) -> Result<(), Error> {
        let span = self.options.retention.age / 4;
        let is_old =
            |active: &Active| !active.index.is_empty() && now.since(active.info.oldest) > span;
        if self.active.as_ref().is_some_and(is_old) {
            self.seal()?;
        }
        Ok(())
    }

    fn is_due(&self, first: &Info, now: Timestamp) -> bool {
        let retention = &self.options.retention;
        now.since(first.newest) > retention.age || self.bytes() > retention.bytes
    }

    /// Removes the oldest segment; the runs that are gone with it, or `None` if it must stay.
    fn retire_first(
        &mut self,
        first: &Info,
        standing: &mut dyn FnMut(RunId, Place) -> Standing,
    ) -> Result<Option<Vec<RunId>>, Error> {
        let path = path(&self.dir, first.id);
        let file = File::open(&path).map_err(io_error("opening", &path))?;
        let index = read_index(&file, &path, first.id)?
            .ok_or_else(|| corrupt(&path, 0, "the index is damaged"))?;
        let mut current = Vec::new();
        for entry in entries(&index, first.id) {
            let (place, head) = entry?;
            match standing(head.run, place) {
                Standing::Current => current.push(head.run),
                Standing::Superseded => {}
                Standing::Needed => return Ok(None),
            }
        }
        hit(&self.options, "history.retire.before_unlink", &self.dir)?;
        // Readers first: one that meets the missing file must know why it is missing.
        self.reader.set_first(first.id.get() + 1);
        if let Err(error) = fs::remove_file(&path) {
            self.reader.set_first(first.id.get());
            return Err(io_error("removing", &path)(error));
        }
        self.sealed.pop_front();
        hit(
            &self.options,
            "history.retire.before_directory_sync",
            &self.dir,
        )?;
        // After each one: were a later removal to reach the disk alone, there would be a gap.
        sync_directory(&self.dir)?;
        hit(
            &self.options,
            "history.retire.after_directory_sync",
            &self.dir,
        )?;
        Ok(Some(current))
    }
}
