//! The writer of a history: appending, syncing, sealing, retiring.

use std::collections::VecDeque;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::num::NonZeroU32;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::slice;

use crane_core::{RunId, Timestamp};

use super::frame::{self, HEADER, Kind};
use super::segment::{self, Active, Info, Opened};
use super::{
    Finished, HistoryEntry, HistoryOptions, HistoryReader, Place, Standing, hit, io_error,
    sync_directory,
};
use crate::{Error, codec};

/// Largest size a segment may be given, and largest record; keeps offsets below 4 GiB.
const LARGEST: u32 = 1 << 30;

/// Records of one call are written together up to about this size.
const WRITE_BYTES: usize = 1 << 20;

/// The writer of a history. One per directory.
pub struct History {
    dir: PathBuf,
    options: HistoryOptions,
    /// Oldest first.
    sealed: VecDeque<Info>,
    active: Option<Active>,
    last_id: u32,
    reader: HistoryReader,
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
        let Some(active) = self.active.as_mut().filter(|active| active.dirty) else {
            return Ok(());
        };
        let path = segment::path(&self.dir, active.info.id);
        let failed = io_error("syncing", &path);
        hit(&self.options, "history.sync.before", &self.dir)?;
        active.file.sync_data().map_err(&failed)?;
        active.durable = active.end;
        active.dirty = false;
        hit(&self.options, "history.sync.before_mark", &self.dir)?;
        // The mark tells a later start that everything before it was on disk.
        let place = active.next_place(0);
        self.buffer.clear();
        frame::put(&mut self.buffer, place, Kind::Mark, active.durable, |_| ());
        active.write(&self.buffer).map_err(&failed)
    }

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
        if self.active.is_none() {
            self.active = Some(self.create()?);
        }
        let Some(active) = self.active.as_mut() else {
            return Err(Error::Fatal("history has no segment to write to".into()));
        };
        let place = active.next_place(self.buffer.len());
        frame::put(&mut self.buffer, place, Kind::Run, active.durable, |out| {
            out.extend_from_slice(
                &u32::try_from(self.head.len())
                    .unwrap_or(u32::MAX)
                    .to_le_bytes(),
            );
            out.extend_from_slice(&self.head);
            out.extend_from_slice(&run.events.bytes);
        });
        segment::put_entry(&mut self.buffer_index, place.offset, &self.head);
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
            .write(&self.buffer)
            .map_err(io_error("appending to", &path))?;
        active.index.extend_from_slice(&self.buffer_index);
        active.dirty = true;
        self.buffer.clear();
        self.buffer_index.clear();
        hit(&self.options, "history.append.after_write", &self.dir)
    }

    fn create(&mut self) -> Result<Active, Error> {
        hit(&self.options, "history.create.before_file", &self.dir)?;
        let id = NonZeroU32::MIN.saturating_add(self.last_id);
        let path = segment::path(&self.dir, id);
        // A file with this number can only be left over from a failed attempt of this process.
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)
            .map_err(io_error("creating", &path))?;
        hit(
            &self.options,
            "history.create.before_directory_sync",
            &self.dir,
        )?;
        sync_directory(&self.dir)?;
        hit(
            &self.options,
            "history.create.after_directory_sync",
            &self.dir,
        )?;
        self.last_id = id.get();
        Ok(Active {
            file,
            info: Info::new(id),
            end: 0,
            durable: 0,
            dirty: false,
            index: Vec::new(),
        })
    }

    /// Seals the active segment; on an error it stays active as it was.
    fn seal(&mut self) -> Result<(), Error> {
        let Some(active) = self.active.as_mut() else {
            return Ok(());
        };
        let path = segment::path(&self.dir, active.info.id);
        let failed = io_error("sealing", &path);
        self.buffer.clear();
        hit(&self.options, "history.seal.before_data_sync", &self.dir)?;
        // First the runs: an index on disk says that everything before it is.
        active.file.sync_data().map_err(&failed)?;
        active.durable = active.end;
        active.dirty = false;
        hit(&self.options, "history.seal.before_index", &self.dir)?;
        let size = segment::put_index(active, &mut self.buffer);
        active
            .file
            .write_all_at(&self.buffer, active.end.into())
            .map_err(&failed)?;
        self.buffer.clear();
        hit(&self.options, "history.seal.before_cut", &self.dir)?;
        // A failed write may have left bytes behind the end; the trailer must be the last ones.
        active.file.set_len(size).map_err(&failed)?;
        hit(&self.options, "history.seal.before_sync", &self.dir)?;
        active.file.sync_all().map_err(&failed)?;
        hit(&self.options, "history.seal.after_sync", &self.dir)?;
        active.info.bytes = size;
        self.sealed
            .extend(self.active.take().map(|active| active.info));
        Ok(())
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
        let path = segment::path(&self.dir, first.id);
        let file = File::open(&path).map_err(io_error("opening", &path))?;
        let index = segment::read_index(&file, &path, first.id)?
            .ok_or_else(|| segment::corrupt(&path, 0, "the index is damaged"))?;
        let mut current = Vec::new();
        for entry in segment::entries(&index, first.id) {
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

impl Active {
    /// Where a frame goes that follows `buffered` bytes not yet written.
    fn next_place(&self, buffered: usize) -> Place {
        Place {
            segment: self.info.id,
            offset: self
                .end
                .saturating_add(u32::try_from(buffered).unwrap_or(u32::MAX)),
        }
    }

    /// Writes at the end; nothing counts when it fails.
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.file.write_all_at(bytes, self.end.into())?;
        self.end = self.next_place(bytes.len()).offset;
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
