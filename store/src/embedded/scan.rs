//! Reading the journal from its files, and telling its end from damage.
//!
//! ```text
//!   segment 7   frame frame frame ~~~~~      segment 8   frame fra~~~~ 00000
//!                                 stale bytes                   ^ the end, if nothing valid follows
//! ```
//!
//! Frames follow each other without a gap in their numbers, over the segments. Where no valid frame
//! stands, the segment ends; the journal ends there too, unless a later segment goes on with
//! exactly the next number. A valid frame with a higher number than the next one, in this segment
//! or a later one, proves that frames are missing.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::frame::{self, Bad, Frame};
use super::layout::{At, sync_dir};
use super::segments;
use crate::Error;

/// Where the journal was found to be damaged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Damage {
    /// The segment.
    pub(crate) segment: u32,
    /// Where in it, in bytes.
    pub(crate) offset: u64,
    /// What was found.
    pub(crate) detail: String,
}

impl Damage {
    /// The error that names file and offset.
    pub(crate) fn into_error(self, dir: &Path) -> Error {
        Error::Corrupt {
            file: segments::path(dir, self.segment).display().to_string(),
            offset: self.offset,
            detail: format!(
                "{}; restore the file, or accept the loss of what follows with \
                 store.accept_corruption",
                self.detail
            ),
        }
    }
}

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Number of the next record.
    pub(crate) next_lsn: Option<u64>,
    /// The last segment with a valid frame, and where its frames end.
    pub(crate) end: Option<(u32, u64)>,
    /// First number of each segment that has one.
    pub(crate) first_lsns: Vec<(u32, u64)>,
    /// Damage, at which reading stopped.
    pub(crate) damage: Option<Damage>,
}

/// Reads the segments `ids`, ascending, and hands each valid frame to `visit` with its segment and
/// offset. `start` is the number that the first frame must have, if known.
///
/// Behind a first segment without a frame there may be a gigabyte of ready ones, so of those only
/// the heads are read.
pub(crate) fn scan(
    dir: &Path,
    ids: &[u32],
    start: Option<u64>,
    mut visit: impl FnMut(u32, u64, Frame<'_>) -> Result<(), Error>,
) -> Result<Found, Error> {
    let mut found = Found {
        next_lsn: start,
        ..Found::default()
    };
    let mut bytes = Vec::new();
    // Where the numbers stopped.
    let mut stop = ids.first().map_or((0, 0), |id| (*id, 0));
    let mut empty = false;
    for (at, id) in ids.iter().enumerate() {
        if at > 0 && ids[at - 1] + 1 != *id {
            found.damage = Some(Damage {
                segment: ids[at - 1] + 1,
                offset: 0,
                detail: "the segment is missing".to_owned(),
            });
            return Ok(found);
        }
        if empty {
            read(dir, *id, frame::HEADER as u64, &mut bytes)?;
            if !frame::may_start(&bytes, *id) {
                continue;
            }
        }
        read(dir, *id, u64::MAX, &mut bytes)?;
        let mut offset = 0;
        loop {
            let rest = &bytes[offset..];
            match frame::parse(rest, *id) {
                Ok(frame) => {
                    if let Some(next) = found.next_lsn
                        && frame.lsn != next
                    {
                        found.damage = Some(missing(stop, next, frame.lsn));
                        return Ok(found);
                    }
                    if offset == 0 {
                        found.first_lsns.push((*id, frame.lsn));
                    }
                    visit(*id, offset as u64, frame)?;
                    found.next_lsn = Some(frame.lsn + u64::from(frame.count));
                    offset += frame.size;
                    stop = (*id, offset as u64);
                    found.end = Some(stop);
                }
                Err(Bad::Unknown { version, kind }) => {
                    return Err(newer(dir, *id, offset, version, kind));
                }
                Err(Bad::NoFrame(reason)) => {
                    let next = found.next_lsn.unwrap_or(0);
                    if let Some((later, lsn)) = frame::find_later(rest, *id, next) {
                        found.damage = Some(Damage {
                            segment: *id,
                            offset: offset as u64,
                            detail: format!(
                                "{reason}, but record {lsn} follows at offset {}, so this is not \
                                 the end",
                                offset + later
                            ),
                        });
                        return Ok(found);
                    }
                    empty = offset == 0;
                    break;
                }
            }
        }
    }
    Ok(found)
}

fn missing(stop: (u32, u64), next: u64, lsn: u64) -> Damage {
    Damage {
        segment: stop.0,
        offset: stop.1,
        detail: format!("record {next} is missing here: the journal goes on with record {lsn}"),
    }
}

fn newer(dir: &Path, id: u32, offset: usize, version: u8, kind: u8) -> Error {
    Error::Corrupt {
        file: segments::path(dir, id).display().to_string(),
        offset: offset as u64,
        detail: format!(
            "a frame of version {version} and kind {kind} was written by a newer program; use the \
             version of crane that wrote it"
        ),
    }
}

fn read(dir: &Path, id: u32, limit: u64, bytes: &mut Vec<u8>) -> Result<(), Error> {
    let path = segments::path(dir, id);
    bytes.clear();
    File::open(&path)
        .and_then(|file| file.take(limit).read_to_end(bytes))
        .at("cannot read", &path)?;
    Ok(())
}

/// Drops everything from `damage` on: the rest of its segment becomes zeros and later segments are
/// set aside, as is a copy of the damaged one. Returns what was set aside.
pub(crate) fn cut(dir: &Path, ids: &[u32], damage: &Damage) -> Result<Vec<PathBuf>, Error> {
    let mut aside = Vec::new();
    // Newest first: a crash in between leaves a journal with the same damage.
    for id in ids.iter().rev().filter(|id| **id > damage.segment) {
        let path = segments::path(dir, *id);
        let target = free_name(&path, "dropped");
        fs::rename(&path, &target).at("cannot rename", &path)?;
        sync_dir(dir)?;
        aside.push(target);
    }
    let path = segments::path(dir, damage.segment);
    if path.exists() {
        let target = free_name(&path, "damaged");
        fs::copy(&path, &target).at("cannot copy", &path)?;
        aside.push(target);
        let file = File::options()
            .write(true)
            .open(&path)
            .at("cannot open", &path)?;
        let size = file.metadata().at("cannot read", &path)?.len();
        let zeros = vec![0; usize::try_from(size.saturating_sub(damage.offset)).unwrap_or(0)];
        file.write_all_at(&zeros, damage.offset)
            .and_then(|()| file.sync_all())
            .at("cannot write", &path)?;
        sync_dir(dir)?;
    }
    Ok(aside)
}

/// A name beside `path` that is not taken.
pub(crate) fn free_name(path: &Path, suffix: &str) -> PathBuf {
    let mut number = 1;
    loop {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{suffix}-{number}"));
        let candidate = PathBuf::from(name);
        if !candidate.exists() {
            return candidate;
        }
        number += 1;
    }
}
