//! The end of the journal, where frames are appended: one frame, one write, one fdatasync.
//!
//! Lives in the writer thread alone. What never lives here: what the records mean, and who waits.

use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use super::frame::Builder;
use super::layout::At;
use super::segments::{Segment, Segments};
use super::shared::Shared;
use crate::Error;
use crate::faults::Faults;

/// What a probe writes: enough for the sync to have something to do.
const PROBE: [u8; 8] = [0; 8];

/// The journal's end.
#[derive(Debug)]
pub(crate) struct Journal {
    segments: Arc<Segments>,
    active: Segment,
    offset: u64,
    lsn: u64,
    faults: Faults,
}

impl Journal {
    /// Goes on at `offset` of `active`, with `lsn` as the number of the next record.
    pub(crate) fn new(
        segments: Arc<Segments>,
        active: Segment,
        offset: u64,
        lsn: u64,
        faults: Faults,
    ) -> Self {
        Self {
            segments,
            active,
            offset,
            lsn,
            faults,
        }
    }

    /// Writes and syncs one frame. After an error nothing has moved: when the disk was full, the
    /// same frame may be tried again at the same place; after any other error the file must not be
    /// touched again, since the kernel may have dropped what was not synced.
    pub(crate) fn commit(&mut self, frame: &mut Builder) -> Result<(), Error> {
        let size = frame.len() as u64;
        if self.offset + size > self.active.size {
            self.faults
                .pass("segment.roll")
                .at("cannot leave", &self.active.path)?;
            self.active = self.segments.take(size, self.lsn)?;
            self.offset = 0;
        }
        let count = u64::from(frame.count());
        let bytes = frame.finish(self.lsn, self.active.id);
        let (file, path) = (&self.active.file, &self.active.path);
        if self.faults.hit("journal.write").at("cannot write", path)? {
            file.write_all_at(bytes, self.offset)
                .at("cannot write", path)?;
            if self.faults.hit("journal.sync").at("cannot sync", path)? {
                file.sync_data().at("cannot sync", path)?;
            }
            self.offset += size;
            self.lsn += count;
        }
        // From here on the frame must not be tried again, whatever a test orders.
        self.faults
            .pass("journal.synced")
            .map_err(|error| Shared::died(&error))
    }

    /// Goes the way of a frame without one: writes zeros where the next frame will be, and syncs.
    /// What stands there is no frame yet, so that this is nothing to whoever reads the journal.
    pub(crate) fn probe(&mut self) -> Result<(), Error> {
        let (file, path) = (&self.active.file, &self.active.path);
        let room = self.active.size.saturating_sub(self.offset);
        let zeros = &PROBE[..PROBE.len().min(usize::try_from(room).unwrap_or(usize::MAX))];
        if self.faults.hit("journal.write").at("cannot write", path)? {
            file.write_all_at(zeros, self.offset)
                .at("cannot write", path)?;
            if self.faults.hit("journal.sync").at("cannot sync", path)? {
                file.sync_data().at("cannot sync", path)?;
            }
        }
        Ok(())
    }

    /// The id of the segment being written.
    pub(crate) fn segment(&self) -> u32 {
        self.active.id
    }

    /// Number of the next record.
    pub(crate) fn lsn(&self) -> u64 {
        self.lsn
    }

    /// Whether the next segment should be prepared: the active one is half full.
    pub(crate) fn is_half_full(&self) -> bool {
        self.offset * 2 >= self.active.size
    }
}
