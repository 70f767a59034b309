//! The index and the trailer at the end of a sealed segment.
//!
//! ```text
//!   ... | mark | index: (offset u32 | length u32 | head of a run)* | trailer: offset of the index
//! ```
//!
//! A trailer that is sound says where the index begins; an index that is sound is all that a start
//! reads of a sealed segment.

use std::fs::File;
use std::num::NonZeroU32;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::frame::{self, HEADER, Kind};
use super::segment::file_size;
use super::{Place, io_error};
use crate::Error;
use crate::codec::{self, FinishedHead, u32_of};

/// Bytes of a trailer.
const TRAILER: usize = HEADER + 4;

/// Appends the entry of a run to the body of an index.
pub(super) fn put_entry(index: &mut Vec<u8>, offset: u32, head: &[u8]) {
    index.extend_from_slice(&offset.to_le_bytes());
    index.extend_from_slice(&u32_of(head.len()).to_le_bytes());
    index.extend_from_slice(head);
}

/// The body of the index, when trailer and index are sound.
pub(super) fn read_index(
    file: &File,
    path: &Path,
    id: NonZeroU32,
) -> Result<Option<Vec<u8>>, Error> {
    let size = file_size(file, path)?;
    let Some(at) = usize::try_from(size)
        .ok()
        .and_then(|size| size.checked_sub(TRAILER))
    else {
        return Ok(None);
    };
    let mut trailer = [0; TRAILER];
    file.read_exact_at(&mut trailer, at as u64)
        .map_err(io_error("reading", path))?;
    let Some(offset) = trailer_at(&trailer, id, at) else {
        return Ok(None);
    };
    let Some(length) = at
        .checked_sub(offset as usize)
        .filter(|length| *length >= HEADER)
    else {
        return Ok(None);
    };
    let mut index = vec![0; length];
    file.read_exact_at(&mut index, u64::from(offset))
        .map_err(io_error("reading", path))?;
    let sound = frame::check(
        &index,
        Place {
            segment: id,
            offset,
        },
    )
    .is_ok_and(|frame| frame.kind == Kind::Index && frame.size() == length);
    Ok(sound.then(|| {
        index.drain(..HEADER);
        index
    }))
}

/// The runs of the body of an index, in order.
pub(super) fn entries(
    index: &[u8],
    id: NonZeroU32,
) -> impl Iterator<Item = Result<(Place, FinishedHead), Error>> {
    let mut rest = index;
    std::iter::from_fn(move || {
        let (prefix, behind) = rest.split_first_chunk::<8>()?;
        let length = frame::read_u32(&prefix[4..]) as usize;
        let (head, behind) = behind.split_at_checked(length)?;
        rest = behind;
        let place = Place {
            segment: id,
            offset: frame::read_u32(&prefix[..4]),
        };
        Some(codec::decode_finished(head).map(|head| (place, head)))
    })
}

/// Where the index begins, if `bytes` end in a sound trailer.
pub(super) fn read_trailer(bytes: &[u8], id: NonZeroU32) -> Option<u32> {
    let at = bytes.len().checked_sub(TRAILER)?;
    trailer_at(&bytes[at..], id, at)
}

fn trailer_at(bytes: &[u8], id: NonZeroU32, at: usize) -> Option<u32> {
    let place = Place {
        segment: id,
        offset: u32::try_from(at).ok()?,
    };
    let frame = frame::check(bytes, place).ok()?;
    (frame.kind == Kind::Trailer && frame.body.len() == 4).then(|| frame::read_u32(frame.body))
}
