//! Checking a history from beginning to end, read only.

use std::fs;
use std::num::NonZeroU32;
use std::path::Path;

use super::frame::{self, Flaw, Kind};
use super::{FinishedRun, Place, io_error, reader, segment};
use crate::Error;
use crate::codec::u32_of;

/// Something that is wrong with a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file.
    pub file: String,
    /// Where, in bytes.
    pub offset: u64,
    /// What was found.
    pub detail: String,
}

/// Reads every record of the history in `dir`, oldest first, hands the sound ones to `on_run`, and
/// returns what is wrong. Changes nothing; a torn end of the last segment is no damage.
///
/// # Errors
/// [`Error::Io`] when the directory or a file cannot be read.
pub fn verify(dir: &Path, mut on_run: impl FnMut(FinishedRun)) -> Result<Vec<Damage>, Error> {
    let mut damages = Vec::new();
    let ids = match segment::list(dir) {
        Ok(ids) => ids,
        Err(Error::Corrupt {
            file,
            offset,
            detail,
        }) => {
            return Ok(vec![Damage {
                file,
                offset,
                detail,
            }]);
        }
        Err(error) => return Err(error),
    };
    for id in &ids {
        let path = segment::path(dir, *id);
        let bytes = fs::read(&path).map_err(io_error("reading", &path))?;
        let is_last = Some(id) == ids.last();
        let damage = verify_segment(&bytes, &path, *id, is_last, &mut on_run);
        if let Err(Error::Corrupt {
            file,
            offset,
            detail,
        }) = damage
        {
            damages.push(Damage {
                file,
                offset,
                detail,
            });
        } else {
            damage?;
        }
    }
    Ok(damages)
}

fn verify_segment(
    bytes: &[u8],
    path: &Path,
    segment: NonZeroU32,
    is_last: bool,
    on_run: &mut dyn FnMut(FinishedRun),
) -> Result<(), Error> {
    let mut at = 0;
    let mut is_sealed = false;
    while at < bytes.len() {
        let Ok(offset) = u32::try_from(at) else {
            return Err(segment::corrupt(path, u32::MAX, "the file is too large"));
        };
        let place = Place { segment, offset };
        let frame = match frame::check(&bytes[at..], place) {
            Ok(frame) => frame,
            Err(flaw) => {
                let known = matches!(flaw, Flaw::Version(_));
                if is_last && !known && frame::witness(bytes, segment, at).is_none() {
                    return Ok(());
                }
                return Err(segment::corrupt(path, offset, flaw.as_str()));
            }
        };
        at += frame.size();
        match frame.kind {
            Kind::Run => on_run(reader::take_run(
                bytes[offset as usize..at].to_vec(),
                place,
                path,
            )?),
            Kind::Mark | Kind::Index => {}
            Kind::Trailer => is_sealed = true,
        }
    }
    if is_sealed || is_last {
        return Ok(());
    }
    Err(segment::corrupt(
        path,
        u32_of(at),
        "the file ends without an index",
    ))
}
