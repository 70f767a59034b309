//! One segment file: how it is opened, checked, cut and repaired.
//!
//! ```text
//!   run | run | mark | run | ... | index | trailer        sealed
//!   run | run | mark | ru                                 the last one, after a crash: cut
//! ```
//!
//! * A sealed segment is known by its trailer and read by its index alone.
//! * If index or trailer are damaged, the runs are scanned and both are written anew.
//! * In the last segment the first bad frame is where the crash tore it, unless a later sound frame
//!   proves that it had been on disk: then it is damage, as it is anywhere in a sealed segment.

use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use crane_core::Timestamp;

use super::active::Active;
use super::frame::{self, Flaw, Kind};
use super::index::{entries, put_entry, read_index, read_trailer};
use super::{HistoryEntry, Place, io_error};
use crate::codec::u32_of;
use crate::{Error, Summary};

/// What is known of a segment without reading it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Info {
    pub(super) id: NonZeroU32,
    /// Size of the file.
    pub(super) bytes: u64,
    /// When the run that ended first ended.
    pub(super) oldest: Timestamp,
    /// When the run that ended last ended.
    pub(super) newest: Timestamp,
}

impl Info {
    pub(super) fn new(id: NonZeroU32) -> Self {
        Self {
            id,
            bytes: 0,
            oldest: Timestamp(i64::MAX),
            newest: Timestamp(i64::MIN),
        }
    }

    pub(super) fn add(&mut self, summary: &Summary) {
        let ended = summary.completed_at.unwrap_or(summary.created_at);
        self.oldest = self.oldest.min(ended);
        self.newest = self.newest.max(ended);
    }
}

/// How a segment was found.
pub(super) enum Opened {
    Sealed(Info),
    Active(Active),
}

/// The file of a segment.
pub(super) fn path(dir: &Path, id: NonZeroU32) -> PathBuf {
    dir.join(format!("{id:010}.history"))
}

/// The ids of the segments in `dir`, ascending and without gaps.
pub(super) fn list(dir: &Path) -> Result<Vec<NonZeroU32>, Error> {
    let failed = io_error("reading the directory", dir);
    let mut ids = Vec::new();
    for entry in fs::read_dir(dir).map_err(&failed)? {
        let name = entry.map_err(&failed)?.file_name();
        let id = name.to_str().and_then(|name| name.strip_suffix(".history"));
        ids.extend(id.and_then(|id| id.parse::<NonZeroU32>().ok()));
    }
    ids.sort_unstable();
    // Retention removes the oldest first, so a gap is a loss.
    for pair in ids.windows(2) {
        if pair[0].checked_add(1) != Some(pair[1]) {
            let missing = path(dir, pair[0].saturating_add(1));
            return Err(corrupt(&missing, 0, "the file is missing"));
        }
    }
    Ok(ids)
}

/// Opens a segment and reports its runs in order.
pub(super) fn open(
    dir: &Path,
    id: NonZeroU32,
    is_last: bool,
    on_entry: &mut dyn FnMut(HistoryEntry),
) -> Result<Opened, Error> {
    let path = path(dir, id);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&path)
        .map_err(io_error("opening", &path))?;
    if let Some(index) = read_index(&file, &path, id)? {
        let mut info = Info::new(id);
        info.bytes = file_size(&file, &path)?;
        report(&index, &mut info, on_entry)?;
        return Ok(Opened::Sealed(info));
    }
    let bytes = fs::read(&path).map_err(io_error("reading", &path))?;
    let scan = scan(&bytes, &path, id)?;
    if is_last {
        let active = cut(file, &path, &bytes, scan, on_entry)?;
        return Ok(Opened::Active(active));
    }
    let end = scan.end as usize;
    if !scan.ends_in_index && !frame::looks_like_index(&bytes[end..]) {
        let index = read_trailer(&bytes, id);
        if index != Some(scan.end) {
            return Err(corrupt(&path, scan.end, scan.stopped_by));
        }
    }
    tracing::warn!(file = %path.display(), "the index of a history segment was damaged and is rebuilt");
    let mut active = Active::found(file, scan);
    report(&active.index, &mut active.info, on_entry)?;
    active.add_index(io_error("rebuilding the index of", &path), |_| Ok(()))?;
    Ok(Opened::Sealed(active.info))
}

/// Makes the last segment ready for more: what a crash tore off is cut away.
fn cut(
    file: File,
    path: &Path,
    bytes: &[u8],
    scan: Scan,
    on_entry: &mut dyn FnMut(HistoryEntry),
) -> Result<Active, Error> {
    let id = scan.id;
    let end = scan.end as usize;
    if end < bytes.len() {
        if !scan.ends_in_index && frame::witness(bytes, id, end).is_some() {
            return Err(corrupt(path, scan.end, scan.stopped_by));
        }
        tracing::warn!(file = %path.display(), offset = end, bytes = bytes.len() - end,
            "the torn end of the last history segment is cut off");
        file.set_len(u64::from(scan.end))
            .map_err(io_error("cutting", path))?;
    }
    // What was read may still be in the system's cache alone.
    file.sync_all().map_err(io_error("syncing", path))?;
    let mut active = Active::found(file, scan);
    active.info.bytes = u64::from(active.end);
    report(&active.index, &mut active.info, on_entry)?;
    Ok(active)
}

/// A run's frame taken apart: its head and its events.
pub(super) fn split_run(body: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = body.split_first_chunk::<4>()?;
    rest.split_at_checked(u32::from_le_bytes(*length) as usize)
}

/// What a pass over the frames of a segment found.
pub(super) struct Scan {
    pub(super) id: NonZeroU32,
    /// Body of an index of the runs met.
    pub(super) index: Vec<u8>,
    /// Where the first frame begins that is no run or mark, or is bad.
    pub(super) end: u32,
    pub(super) ends_in_index: bool,
    pub(super) stopped_by: &'static str,
}

/// Walks over the frames of a segment until something else than a run comes.
pub(super) fn scan(bytes: &[u8], path: &Path, id: NonZeroU32) -> Result<Scan, Error> {
    let mut scan = Scan {
        id,
        index: Vec::new(),
        end: 0,
        ends_in_index: false,
        stopped_by: "the file ends without an index",
    };
    while (scan.end as usize) < bytes.len() {
        let place = Place {
            segment: id,
            offset: scan.end,
        };
        match frame::check(&bytes[scan.end as usize..], place) {
            Ok(frame) => match frame.kind {
                Kind::Run => {
                    let Some((head, _)) = split_run(frame.body) else {
                        return Err(corrupt(path, scan.end, "a run has no head"));
                    };
                    put_entry(&mut scan.index, scan.end, head);
                    scan.end += u32_of(frame.size());
                }
                Kind::Mark => scan.end += u32_of(frame.size()),
                Kind::Index => {
                    scan.ends_in_index = true;
                    break;
                }
                Kind::Trailer => {
                    scan.stopped_by = "a trailer without an index";
                    break;
                }
            },
            Err(Flaw::Version(version)) => {
                return Err(Error::Schema {
                    what: "history frame",
                    version: version.into(),
                    newest: 1,
                });
            }
            Err(flaw) => {
                scan.stopped_by = flaw.as_str();
                break;
            }
        }
    }
    Ok(scan)
}

pub(super) fn corrupt(path: &Path, offset: u32, detail: &str) -> Error {
    Error::Corrupt {
        file: path.display().to_string(),
        offset: offset.into(),
        detail: detail.to_owned(),
    }
}

/// Opens a file for reading; `None` when there is none.
pub(super) fn open_to_read(path: &Path) -> Result<Option<File>, Error> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io_error("opening", path)(error)),
    }
}

fn report(
    index: &[u8],
    info: &mut Info,
    on_entry: &mut dyn FnMut(HistoryEntry),
) -> Result<(), Error> {
    for entry in entries(index, info.id) {
        let (place, head) = entry?;
        info.add(&head.summary);
        on_entry(HistoryEntry {
            run: head.run,
            summary: head.summary,
            labels: head.labels,
            place,
        });
    }
    Ok(())
}

/// Bytes of a file.
pub(super) fn file_size(file: &File, path: &Path) -> Result<u64, Error> {
    file.metadata()
        .map(|metadata| metadata.len())
        .map_err(io_error("measuring", path))
}
