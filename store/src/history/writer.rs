//! The writer of a history: appending and syncing. What it retires is in `retention`.

use std::collections::VecDeque;
use std::fmt;
use std::fs;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::slice;

use crane_core::Timestamp;

use super::active::Active;
use super::frame::{self, HEADER, Kind};
use super::index::put_entry;
use super::segment::{self, Info, Opened};
use super::{Finished, HistoryEntry, HistoryOptions, HistoryReader, Place, hit, io_error};
use crate::Error;
use crate::codec::{self, u32_of};

/// Largest size a segment may be given, and largest record; keeps offsets below 4 GiB.
const LARGEST: u32 = 1 << 30;

/// Records of one call are written together up to about this size.
const WRITE_BYTES: usize = 1 << 20;

/// The writer of a history. One per directory.
pub struct History {
    pub(super) dir: PathBuf,
    pub(super) options: HistoryOptions,
    /// Oldest first.
    pub(super) sealed: VecDeque<Info>,
    pub(super) active: Option<Active>,
    last_id: u32,
    pub(super) reader: HistoryReader,
    /// Frames that are about to be written at the end of the active segment.
    buffer: Vec<u8>,
    /// Their entries of the index.
    buffer_index: Vec<u8>,
    head: Vec<u8>,
}

impl fmt::Debug for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("History")
            .field("dir", &self.dir)
            .field("sealed", &self.sealed.len())
            .field("bytes", &self.bytes())
            .finish_non_exhaustive()
    }
}

impl History {
    /// Opens or creates the history in `dir` and hands each record to `on_entry`, oldest first: a
    /// later record of a run replaces an earlier one.
    ///
    /// # Errors
    /// [`Error::Corrupt`] with file and offset when a record that was durable is damaged,
    /// [`Error::Io`] when a file cannot be read or repaired.
    pub fn open(
        dir: &Path,
        options: HistoryOptions,
        mut on_entry: impl FnMut(HistoryEntry),
    ) -> Result<Self, Error> {
        fs::create_dir_all(dir).map_err(io_error("creating the directory", dir))?;
        let ids = segment::list(dir)?;
        let reader = HistoryReader::new(dir.to_owned());
        let mut history = Self {
            dir: dir.to_owned(),
            options,
            sealed: VecDeque::new(),
            active: None,
            last_id: ids.last().map_or(0, |id| id.get()),
            reader,
            buffer: Vec::new(),
            buffer_index: Vec::new(),
            head: Vec::new(),
        };
        for id in &ids {
            match segment::open(dir, *id, id.get() == history.last_id, &mut on_entry)? {
                Opened::Sealed(info) => history.sealed.push_back(info),
                Opened::Active(active) => history.active = Some(active),
            }
        }
        Ok(history)
    }

    /// A reader for other threads.
    pub fn reader(&self) -> HistoryReader {
        self.reader.clone()
    }

    /// Writes the record of a finished run; it can be read at once, and is durable after
    /// [`History::sync`].
    ///
    /// # Errors
    /// As [`History::append_all`].
    pub fn append(&mut self, run: &Finished<'_>) -> Result<Place, Error> {
        let mut place = None;
        self.append_each(slice::from_ref(run), |at| place = Some(at))?;
        place.ok_or_else(|| Error::Fatal("a history record was not written".into()))
    }

    /// Writes the records of several finished runs with as few calls of the system as possible.
    ///
    /// # Errors
    /// [`Error::Io`] when writing fails; some of the records may have been written then, and
    /// writing them again is harmless. [`Error::Limit`] when a record is larger than 1 GiB.
    pub fn append_all(&mut self, runs: &[Finished<'_>]) -> Result<Vec<Place>, Error> {
        let mut places = Vec::with_capacity(runs.len());
        self.append_each(runs, |place| places.push(place))?;
        Ok(places)
    }

    /// Makes everything appended so far durable.
    ///
    /// # Errors
    /// [`Error::Io`]; what was appended since the last success may or may not be durable, and the
    /// file must not be synced again.
    pub fn sync(&mut self) -> Result<(), Error> {
        match self.active.as_mut().filter(|active| active.dirty) {
            Some(active) => active.sync(&self.dir, &self.options),
            None => Ok(()),
        }
    }

    /// Bytes of all segments.
    pub fn bytes(&self) -> u64 {
        let sealed: u64 = self.sealed.iter().map(|info| info.bytes).sum();
        sealed + self.active.as_ref().map_or(0, |active| active.end.into())
    }

    /// When the run that ended first, of those in the oldest segment, ended; `None` when there are
    /// no runs. How far back the history reaches.
    pub fn oldest(&self) -> Option<Timestamp> {
        self.sealed
            .front()
            .or(self.active.as_ref().map(|active| &active.info))
            .map(|info| info.oldest)
            .filter(|oldest| oldest.0 != i64::MAX)
    }

    /// Bytes appended since the last sync.
    pub fn unsynced_bytes(&self) -> u64 {
        self.active
            .as_ref()
            .filter(|active| active.dirty)
            .map_or(0, |active| u64::from(active.end - active.durable))
    }

    fn append_each(
        &mut self,
        runs: &[Finished<'_>],
        mut on_place: impl FnMut(Place),
    ) -> Result<(), Error> {
        self.buffer.clear();
        self.buffer_index.clear();
        let mut infos = Vec::with_capacity(runs.len().min(1024));
        for run in runs {
            let place = self.put_run(run)?;
            if self.buffer.len() >= WRITE_BYTES {
                self.write_buffer()?;
            }
            infos.push(place);
        }
        self.write_buffer()?;
        infos.into_iter().for_each(&mut on_place);
        Ok(())
    }

    /// Puts the frame of a run into the buffer, in a new segment if the active one is full.
    fn put_run(&mut self, run: &Finished<'_>) -> Result<Place, Error> {
        self.head.clear();
        codec::encode_finished(
            run.run,
            run.summary,
            run.labels,
            run.events.count,
            &mut self.head,
        );
        let size = HEADER + 4 + self.head.len() + run.events.bytes.len();
        if size > LARGEST as usize {
            return Err(Error::Limit {
                what: format!("the history record of run {}", run.run),
                size,
                limit: LARGEST as usize,
            });
        }
        let limit = self.options.segment_bytes.min(LARGEST) as usize;
        let used = |active: &Active| active.end as usize + self.buffer.len();
        if self
            .active
            .as_ref()
            .is_some_and(|active| used(active) > 0 && used(active) + size > limit)
        {
            self.write_buffer()?;
            self.seal()?;
        }
        let active = match &mut self.active {
            Some(active) => active,
            none => {
                let id = NonZeroU32::MIN.saturating_add(self.last_id);
                let created = Active::create(&self.dir, id, &self.options)?;
                self.last_id = id.get();
                none.insert(created)
            }
        };
        let place = active.next_place(self.buffer.len());
        frame::put(&mut self.buffer, place, Kind::Run, active.durable, |out| {
            out.extend_from_slice(&u32_of(self.head.len()).to_le_bytes());
            out.extend_from_slice(&self.head);
            out.extend_from_slice(&run.events.bytes);
        });
        put_entry(&mut self.buffer_index, place.offset, &self.head);
        active.info.add(run.summary);
        Ok(place)
    }

    /// Writes the buffer at the end of the active segment.
    fn write_buffer(&mut self) -> Result<(), Error> {
        let Some(active) = self.active.as_mut().filter(|_| !self.buffer.is_empty()) else {
            return Ok(());
        };
        hit(&self.options, "history.append.before_write", &self.dir)?;
        let path = segment::path(&self.dir, active.info.id);
        active
            .append(&self.buffer, &self.buffer_index)
            .map_err(io_error("appending to", &path))?;
        self.buffer.clear();
        self.buffer_index.clear();
        hit(&self.options, "history.append.after_write", &self.dir)
    }

    /// Seals the active segment; on an error it stays active as it was.
    pub(super) fn seal(&mut self) -> Result<(), Error> {
        if let Some(active) = &mut self.active {
            active.seal(&self.dir, &self.options)?;
        }
        self.sealed
            .extend(self.active.take().map(|active| active.info));
        Ok(())
    }
}

#[cfg(test)]
impl History {
    /// Sizes of the sealed segments, oldest first.
    pub(super) fn sealed_sizes(&self) -> Vec<u64> {
        self.sealed.iter().map(|info| info.bytes).collect()
    }

    /// The active segment and how much of it is known to be on disk.
    pub(super) fn active_durable(&self) -> Option<(u32, u32)> {
        let active = self.active.as_ref()?;
        Some((active.info.id.get(), active.durable))
    }
}
