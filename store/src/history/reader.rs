//! Reading finished runs back, from any thread, while the history is being written.

use std::fs::File;
use std::num::NonZeroU32;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::frame::{self, HEADER, Kind};
use super::{FinishedRun, Place, io_error, segment};
use crate::{Encoded, Error, codec};
use crane_core::limits;

/// First read of a record; most are shorter.
const FIRST_READ: usize = 4096;

/// Reads finished runs. Cheap to clone; blocks on the disk.
#[derive(Clone, Debug)]
pub struct HistoryReader {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    dir: PathBuf,
    /// Segments below this one were removed by retention.
    first: AtomicU32,
    /// Open files, most recently used last.
    files: Mutex<Vec<(NonZeroU32, Arc<File>)>>,
}

impl HistoryReader {
    pub(super) fn new(dir: PathBuf) -> Self {
        Self {
            shared: Arc::new(Shared {
                dir,
                first: AtomicU32::new(0),
                files: Mutex::default(),
            }),
        }
    }

    /// The run whose record is at `place`, or `None` when retention has removed it since.
    ///
    /// # Errors
    /// [`Error::Corrupt`] with file and offset when the record is damaged, [`Error::Io`] when it
    /// cannot be read.
    pub fn read(&self, place: Place) -> Result<Option<FinishedRun>, Error> {
        let path = segment::path(&self.shared.dir, place.segment);
        let Some(file) = self.file(place.segment, &path)? else {
            if self.is_removed(place.segment) {
                return Ok(None);
            }
            return Err(segment::corrupt(&path, 0, "the file is missing"));
        };
        let mut bytes = vec![0; FIRST_READ];
        let got = read_up_to(&file, &mut bytes, place.offset.into())
            .map_err(io_error("reading", &path))?;
        bytes.truncate(got);
        // Not checked yet, so not trusted beyond what the file can hold.
        let size = frame::claimed_size(&bytes).unwrap_or(0);
        if size > got && got == FIRST_READ {
            let left = file
                .metadata()
                .map_err(io_error("measuring", &path))?
                .len()
                .saturating_sub(place.offset.into());
            if size as u64 > left {
                return Err(segment::corrupt(
                    &path,
                    place.offset,
                    frame::Flaw::Short.as_str(),
                ));
            }
            bytes.resize(size, 0);
            let behind = u64::from(place.offset) + got as u64;
            file.read_exact_at(&mut bytes[got..], behind)
                .map_err(io_error("reading", &path))?;
        }
        take_run(bytes, place, &path).map(Some)
    }

    /// Notes that segments below `first` are removed.
    pub(super) fn set_first(&self, first: u32) {
        self.shared.first.store(first, Ordering::Release);
        let mut files = self
            .shared
            .files
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        files.retain(|(id, _)| id.get() >= first);
    }

    fn is_removed(&self, segment: NonZeroU32) -> bool {
        segment.get() < self.shared.first.load(Ordering::Acquire)
    }

    /// The file of a segment, opened if need be; `None` when there is none.
    fn file(&self, segment: NonZeroU32, path: &Path) -> Result<Option<Arc<File>>, Error> {
        // Held while opening: it is short, and two readers would open the same file twice.
        let mut files = self
            .shared
            .files
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = files.iter().position(|(id, _)| *id == segment) {
            let hit = files.remove(at);
            let file = Arc::clone(&hit.1);
            files.push(hit);
            return Ok(Some(file));
        }
        if self.is_removed(segment) {
            return Ok(None);
        }
        let Some(file) = segment::open_to_read(path)?.map(Arc::new) else {
            return Ok(None);
        };
        if files.len() == limits::HISTORY_FILES {
            files.remove(0);
        }
        files.push((segment, Arc::clone(&file)));
        Ok(Some(file))
    }
}

/// The run whose frame begins `bytes`.
pub(super) fn take_run(
    mut bytes: Vec<u8>,
    place: Place,
    path: &Path,
) -> Result<FinishedRun, Error> {
    let damaged = |detail: &str| segment::corrupt(path, place.offset, detail);
    let frame = frame::check(&bytes, place).map_err(|flaw| damaged(flaw.as_str()))?;
    if frame.kind != Kind::Run {
        return Err(damaged("the frame holds no run"));
    }
    let (head, events) =
        segment::split_run(frame.body).ok_or_else(|| damaged("a run has no head"))?;
    let end = frame.size();
    let start = end - events.len();
    debug_assert!(start > HEADER);
    let head = codec::decode_finished(head)?;
    bytes.truncate(end);
    bytes.drain(..start);
    Ok(FinishedRun {
        run: head.run,
        summary: head.summary,
        labels: head.labels,
        events: Encoded {
            count: head.count,
            bytes,
        },
    })
}

/// Reads until `bytes` are full or the file ends; returns how much was read.
fn read_up_to(file: &File, bytes: &mut [u8], offset: u64) -> std::io::Result<usize> {
    let mut got = 0;
    while got < bytes.len() {
        match file.read_at(&mut bytes[got..], offset + got as u64) {
            Ok(0) => break,
            Ok(n) => got += n,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(got)
}
