//! Frames of history segments.
//!
//! ```text
//!   magic "CH" | version u8 | kind u8 | length u32 | crc32c u32 | durable u32 | body
//! ```
//!
//! Little endian. The checksum covers all other bytes and also the frame's own place (segment and
//! offset), which is not stored: bytes that belong elsewhere, such as a frame inside a payload, are
//! never taken for a frame. `durable` is how much of the segment was known to be on disk when the
//! frame was written; it tells damage from a torn tail.

use std::num::NonZeroU32;

use super::Place;
use crate::codec::u32_of;

/// Bytes before the body.
pub(super) const HEADER: usize = 16;

const MAGIC: [u8; 2] = *b"CH";
const VERSION: u8 = 1;

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A finished run: `head length u32 | head | events`.
    Run = 1,
    /// Nothing; it carries `durable` alone.
    Mark = 2,
    /// The heads of all runs of the segment: `offset u32 | head length u32 | head`, repeated.
    Index = 3,
    /// The offset of the index, `u32`; the last bytes of a sealed segment.
    Trailer = 4,
}

/// Why bytes are no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    /// They end before the frame does.
    Short,
    /// They do not begin with the magic number.
    Magic,
    /// The checksum does not fit.
    Checksum,
    /// A sound frame of a format this program does not know.
    Version(u8),
}

impl Flaw {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Short => "a frame is cut short",
            Self::Magic => "no frame begins here",
            Self::Checksum => "the checksum does not fit",
            Self::Version(_) => "the frame's format is unknown",
        }
    }
}

/// A checked frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame<'a> {
    pub(super) kind: Kind,
    pub(super) body: &'a [u8],
}

impl Frame<'_> {
    /// Bytes of the frame, header included.
    pub(super) fn size(&self) -> usize {
        HEADER + self.body.len()
    }
}

/// Appends a frame to `out`; `body` appends what it holds.
pub(super) fn put(
    out: &mut Vec<u8>,
    place: Place,
    kind: Kind,
    durable: u32,
    body: impl FnOnce(&mut Vec<u8>),
) {
    let start = out.len();
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&[VERSION, kind as u8, 0, 0, 0, 0, 0, 0, 0, 0]);
    out.extend_from_slice(&durable.to_le_bytes());
    body(out);
    let frame = &mut out[start..];
    // Larger bodies were refused before.
    let length = u32_of(frame.len() - HEADER);
    frame[4..8].copy_from_slice(&length.to_le_bytes());
    let crc = checksum(frame, place);
    frame[8..12].copy_from_slice(&crc.to_le_bytes());
}

/// The length of the frame that begins with `header`, before anything of it was checked.
pub(super) fn claimed_size(header: &[u8]) -> Option<usize> {
    let header = header.first_chunk::<HEADER>()?;
    if header[..2] != MAGIC {
        return None;
    }
    Some(HEADER + read_u32(&header[4..8]) as usize)
}

/// The frame at the start of `bytes`, which lie at `place`.
pub(super) fn check(bytes: &[u8], place: Place) -> Result<Frame<'_>, Flaw> {
    if bytes.len() < HEADER {
        return Err(Flaw::Short);
    }
    let size = claimed_size(bytes).ok_or(Flaw::Magic)?;
    let frame = bytes.get(..size).ok_or(Flaw::Short)?;
    if read_u32(&frame[8..12]) != checksum(frame, place) {
        return Err(Flaw::Checksum);
    }
    let kind = match (frame[2], frame[3]) {
        (VERSION, 1) => Kind::Run,
        (VERSION, 2) => Kind::Mark,
        (VERSION, 3) => Kind::Index,
        (VERSION, 4) => Kind::Trailer,
        (version, _) => return Err(Flaw::Version(version)),
    };
    Ok(Frame {
        kind,
        body: &frame[HEADER..],
    })
}

/// Whether the header at the start of `bytes` says that it begins an index, checked or not.
pub(super) fn looks_like_index(bytes: &[u8]) -> bool {
    bytes.starts_with(&[MAGIC[0], MAGIC[1], VERSION, Kind::Index as u8])
}

/// The first sound frame behind `from` that proves that `from` was once on disk, if there is one.
pub(super) fn witness(bytes: &[u8], segment: NonZeroU32, from: usize) -> Option<usize> {
    // Payloads may be full of false starts; checking them must stay linear.
    search(bytes, segment, from, &mut (16 * (bytes.len() - from)))
}

/// As [`witness`]; gives up when `budget` bytes were checked.
pub(super) fn search(
    bytes: &[u8],
    segment: NonZeroU32,
    from: usize,
    budget: &mut usize,
) -> Option<usize> {
    let mut at = from + 1;
    while at + HEADER <= bytes.len() && *budget > 0 {
        let Some(size) = claimed_size(&bytes[at..]) else {
            at += 1;
            continue;
        };
        let durable = read_u32(&bytes[at + 12..at + 16]) as usize;
        if durable > from && durable <= at && at + size <= bytes.len() {
            *budget = budget.saturating_sub(size);
            let offset = u32::try_from(at).ok()?;
            if check(&bytes[at..], Place { segment, offset }).is_ok() {
                return Some(at);
            }
        }
        at += 1;
    }
    None
}

pub(super) fn read_u32(bytes: &[u8]) -> u32 {
    bytes.first_chunk().copied().map_or(0, u32::from_le_bytes)
}

fn checksum(frame: &[u8], place: Place) -> u32 {
    let crc = crc32c::crc32c(&place.segment.get().to_le_bytes());
    let crc = crc32c::crc32c_append(crc, &place.offset.to_le_bytes());
    let crc = crc32c::crc32c_append(crc, &frame[..8]);
    crc32c::crc32c_append(crc, &frame[12..])
}

/// Rewrites the version of the frame at the start of `bytes`, checksum included.
#[cfg(test)]
pub(super) fn set_version(bytes: &mut [u8], place: Place, version: u8) {
    bytes[2] = version;
    let crc = checksum(bytes, place);
    bytes[8..12].copy_from_slice(&crc.to_le_bytes());
}
