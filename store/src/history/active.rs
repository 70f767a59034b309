//! The segment that is being written, from its file to its seal.
//!
//! ```text
//!   create ──> write, write ... sync (data, then a mark) ... write ──> seal: data, index, cut, all
//! ```
//!
//! On an error it stays as it was, and the next write goes over whatever the failed one has left.

use std::fs::{File, OpenOptions};
use std::io;
use std::num::NonZeroU32;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::frame::{self, Kind};
use super::segment::{Info, Scan, path};
use super::{HistoryOptions, Place, hit, io_error, sync_directory};
use crate::Error;
use crate::codec::u32_of;

/// A segment that is being written.
#[derive(Debug)]
pub(super) struct Active {
    file: File,
    pub(super) info: Info,
    /// Where the next frame goes.
    pub(super) end: u32,
    /// How much of it is known to be on disk.
    pub(super) durable: u32,
    /// Whether runs were appended since the last sync.
    pub(super) dirty: bool,
    /// Body of the index so far.
    pub(super) index: Vec<u8>,
}

impl Active {
    /// A new segment in `dir`.
    pub(super) fn create(
        dir: &Path,
        id: NonZeroU32,
        options: &HistoryOptions,
    ) -> Result<Self, Error> {
        hit(options, "history.create.before_file", dir)?;
        let path = path(dir, id);
        // A file with this number can only be left over from a failed attempt of this process.
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)
            .map_err(io_error("creating", &path))?;
        hit(options, "history.create.before_directory_sync", dir)?;
        sync_directory(dir)?;
        hit(options, "history.create.after_directory_sync", dir)?;
        Ok(Self {
            file,
            info: Info::new(id),
            end: 0,
            durable: 0,
            dirty: false,
            index: Vec::new(),
        })
    }

    /// An existing segment, all of which is on disk up to where the scan ended.
    pub(super) fn found(file: File, scan: Scan) -> Self {
        Self {
            file,
            info: Info::new(scan.id),
            end: scan.end,
            durable: scan.end,
            dirty: false,
            index: scan.index,
        }
    }

    /// Where a frame goes that follows `buffered` bytes not yet written.
    pub(super) fn next_place(&self, buffered: usize) -> Place {
        Place {
            segment: self.info.id,
            // Bounded by the largest segment, record and index together.
            offset: self.end.saturating_add(u32_of(buffered)),
        }
    }

    /// Writes frames at the end, with their entries of the index; nothing counts when it fails.
    pub(super) fn append(&mut self, frames: &[u8], entries: &[u8]) -> io::Result<()> {
        self.write(frames)?;
        self.index.extend_from_slice(entries);
        self.dirty = true;
        Ok(())
    }

    /// Makes what was written durable, and marks that it is: the mark tells a later start that
    /// everything before it was on disk.
    pub(super) fn sync(&mut self, dir: &Path, options: &HistoryOptions) -> Result<(), Error> {
        let path = path(dir, self.info.id);
        let failed = io_error("syncing", &path);
        hit(options, "history.sync.before", dir)?;
        self.sync_data().map_err(&failed)?;
        hit(options, "history.sync.before_mark", dir)?;
        let mut mark = Vec::new();
        frame::put(
            &mut mark,
            self.next_place(0),
            Kind::Mark,
            self.durable,
            |_| (),
        );
        self.write(&mark).map_err(&failed)
    }

    /// Makes a sealed segment of it.
    pub(super) fn seal(&mut self, dir: &Path, options: &HistoryOptions) -> Result<(), Error> {
        let path = path(dir, self.info.id);
        let failed = io_error("sealing", &path);
        hit(options, "history.seal.before_data_sync", dir)?;
        // First the runs: an index on disk says that everything before it is.
        self.sync_data().map_err(&failed)?;
        hit(options, "history.seal.before_index", dir)?;
        self.add_index(&failed, |step| {
            let point = match step {
                Indexing::Written => "history.seal.before_cut",
                Indexing::Cut => "history.seal.before_sync",
                Indexing::Synced => "history.seal.after_sync",
            };
            hit(options, point, dir)
        })
    }

    /// Writes index and trailer behind the runs and makes them durable; `pass` hears of each step.
    pub(super) fn add_index(
        &mut self,
        failed: impl Fn(io::Error) -> Error,
        mut pass: impl FnMut(Indexing) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut buffer = Vec::with_capacity(self.index.len() + 128);
        frame::put(
            &mut buffer,
            self.next_place(0),
            Kind::Index,
            self.durable,
            |out| out.extend_from_slice(&self.index),
        );
        let place = self.next_place(buffer.len());
        frame::put(&mut buffer, place, Kind::Trailer, self.durable, |out| {
            out.extend_from_slice(&self.end.to_le_bytes());
        });
        let size = u64::from(self.end) + buffer.len() as u64;
        self.file
            .write_all_at(&buffer, self.end.into())
            .map_err(&failed)?;
        pass(Indexing::Written)?;
        // A failed write may have left bytes behind the end; the trailer must be the last ones.
        self.file.set_len(size).map_err(&failed)?;
        pass(Indexing::Cut)?;
        self.file.sync_all().map_err(&failed)?;
        pass(Indexing::Synced)?;
        self.info.bytes = size;
        Ok(())
    }

    fn sync_data(&mut self) -> io::Result<()> {
        self.file.sync_data()?;
        self.durable = self.end;
        self.dirty = false;
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, self.end.into())?;
        self.end = self.next_place(bytes.len()).offset;
        Ok(())
    }
}

/// The steps in which a segment gets its index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Indexing {
    Written,
    Cut,
    Synced,
}
