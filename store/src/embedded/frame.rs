//! Frames: what one write to the journal looks like, and how its end is found again.
//!
//! ```text
//!   magic u16 | version u8 | kind u8 | length u32 | crc32c u32 | lsn u64 | segment u32 | count u16 | records
//!   `---------------- checked ------------------´              `--------------- checked ---------------´
//! ```
//!
//! All integers are little endian; `length` counts the records' bytes; `lsn` is the number of the
//! first record since the store was created. Segment and lsn are under the checksum, so that an old
//! frame of a recycled segment is never taken for a new one.
//!
//! A frame is written and synced before the next one is begun. So a power loss can tear the last
//! frame only, and a bad frame *followed by* a valid one with a higher lsn is not a torn tail but
//! damage. [`find_later`] looks for such a frame. Both bytes of the magic never occur in UTF-8
//! text, so that the texts inside records (which users choose) cannot hold a forged frame.
//!
//! What never lives here: files.

use crane_core::Seq;

use crate::codec::u32_of;

/// Bytes of a frame before its records.
pub(crate) const HEADER: usize = 26;
/// First bytes of a frame; invalid in UTF-8.
const MAGIC: [u8; 2] = [0xC1, 0xFE];
/// Version of the frame layout.
const VERSION: u8 = 1;
/// The only kind of frame so far: a batch of records.
const BATCH: u8 = 1;
/// Most records of one frame (`count` is 16 bits wide).
pub(crate) const MAX_RECORDS: usize = 16_384;
/// A frame is closed when it has grown to this many bytes; one large record may pass it.
pub(crate) const FULL_BYTES: usize = 4 << 20;

/// A frame being filled; its buffer is reused for the next.
#[derive(Debug)]
pub(crate) struct Builder {
    bytes: Vec<u8>,
    count: u16,
}

impl Default for Builder {
    fn default() -> Self {
        let mut builder = Self {
            bytes: Vec::with_capacity(256 << 10),
            count: 0,
        };
        builder.clear();
        builder
    }
}

impl Builder {
    /// Starts over. A buffer that one huge frame has blown up is given back.
    pub(crate) fn clear(&mut self) {
        if self.bytes.capacity() > 2 * FULL_BYTES {
            self.bytes = Vec::with_capacity(FULL_BYTES);
        }
        self.bytes.clear();
        self.bytes.resize(HEADER, 0);
        self.count = 0;
    }

    /// Adds one record, which `write` appends to the buffer.
    pub(crate) fn record(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.bytes);
        self.count += 1;
    }

    /// Number of records.
    pub(crate) fn count(&self) -> u16 {
        self.count
    }

    /// Bytes so far, header included.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether it holds no record.
    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether it must be written before another record is added.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes.len() >= FULL_BYTES || usize::from(self.count) >= MAX_RECORDS
    }

    /// Fills in the header; the result is what goes to disk.
    pub(crate) fn finish(&mut self, lsn: u64, segment: u32) -> &[u8] {
        // A single write is bounded far below 4 GiB by the limits of runs and tools.
        let length = u32_of(self.bytes.len() - HEADER);
        self.bytes[..2].copy_from_slice(&MAGIC);
        self.bytes[2] = VERSION;
        self.bytes[3] = BATCH;
        self.bytes[4..8].copy_from_slice(&length.to_le_bytes());
        self.bytes[12..20].copy_from_slice(&lsn.to_le_bytes());
        self.bytes[20..24].copy_from_slice(&segment.to_le_bytes());
        self.bytes[24..26].copy_from_slice(&self.count.to_le_bytes());
        let crc = checksum(&self.bytes);
        self.bytes[8..12].copy_from_slice(&crc.to_le_bytes());
        &self.bytes
    }
}

/// A valid frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame<'a> {
    /// Number of its first record.
    pub(crate) lsn: u64,
    /// Number of its records.
    pub(crate) count: u16,
    /// Its records.
    pub(crate) records: &'a [u8],
    /// Its bytes, header included.
    pub(crate) size: usize,
}

/// Why there is no valid frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bad {
    /// Zeros, noise, a torn frame, or one of another segment.
    NoFrame(&'static str),
    /// Its checksum is right and its version or kind is not known: a newer program wrote it.
    Unknown {
        /// Version of the frame.
        version: u8,
        /// Kind of the frame.
        kind: u8,
    },
}

/// The frame at the start of `bytes`, if there is a valid one that belongs to `segment`.
pub(crate) fn parse(bytes: &[u8], segment: u32) -> Result<Frame<'_>, Bad> {
    let header = bytes
        .get(..HEADER)
        .ok_or(Bad::NoFrame("the header is cut short"))?;
    if header[..2] != MAGIC {
        return Err(Bad::NoFrame("no frame starts here"));
    }
    if u32_at(header, 20) != segment {
        return Err(Bad::NoFrame("the frame belongs to another segment"));
    }
    let length = u32_at(header, 4) as usize;
    let whole = HEADER
        .checked_add(length)
        .and_then(|size| bytes.get(..size))
        .ok_or(Bad::NoFrame("its length passes the end of the file"))?;
    if checksum(whole) != u32_at(header, 8) {
        return Err(Bad::NoFrame("its checksum is wrong"));
    }
    if (header[2], header[3]) != (VERSION, BATCH) {
        return Err(Bad::Unknown {
            version: header[2],
            kind: header[3],
        });
    }
    Ok(Frame {
        lsn: u64_at(header, 12),
        count: u16::from_le_bytes([header[24], header[25]]),
        records: &whole[HEADER..],
        size: whole.len(),
    })
}

/// Whether `header` looks like that of a frame of `segment`; whether it is valid is another matter.
pub(crate) fn may_start(header: &[u8], segment: u32) -> bool {
    header.len() >= HEADER && header[..2] == MAGIC && u32_at(header, 20) == segment
}

/// Offset and lsn of a valid frame of `segment` in `bytes` whose lsn is above `lsn`: proof that
/// whatever stands before it was once complete.
pub(crate) fn find_later(bytes: &[u8], segment: u32, lsn: u64) -> Option<(usize, u64)> {
    let mut at = 0;
    while let Some(found) = bytes
        .get(at..)
        .and_then(|rest| rest.iter().position(|byte| *byte == MAGIC[0]))
    {
        at += found;
        match parse(&bytes[at..], segment) {
            Ok(frame) if frame.lsn > lsn => return Some((at, frame.lsn)),
            Ok(_) | Err(_) => at += 1,
        }
    }
    None
}

fn checksum(frame: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&frame[..8]), &frame[12..])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut number = [0; 4];
    number.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(number)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(number)
}

/// Takes little-endian fields off the front of stored bytes; `None` when they are too short.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl<'a> Fields<'a> {
    /// The next `count` bytes.
    pub(crate) fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(head)
    }

    /// The next array of bytes.
    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*head)
    }

    /// The next byte.
    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|bytes| bytes[0])
    }

    /// The next 32-bit number.
    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// The next 64-bit number.
    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// The next event number.
    pub(crate) fn seq(&mut self) -> Option<Seq> {
        self.u64().map(Seq)
    }

    /// The next bytes, preceded by their 32-bit length.
    pub(crate) fn block(&mut self) -> Option<&'a [u8]> {
        let length = self.u32()?;
        self.bytes(length as usize)
    }
}

/// Appends what `write` writes, preceded by its 32-bit length.
pub(crate) fn put_block(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    write(out);
    let length = u32_of(out.len() - start - 4);
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn frame(lsn: u64, segment: u32, body: &[u8]) -> Vec<u8> {
        let mut builder = Builder::default();
        builder.record(|out| out.extend_from_slice(body));
        builder.finish(lsn, segment).to_vec()
    }

    #[test]
    fn a_frame_reads_back_and_every_flipped_bit_is_noticed() {
        let good = frame(7, 3, b"some records");
        let read = parse(&good, 3).unwrap();
        assert_eq!(
            (read.lsn, read.count, read.records),
            (7, 1, &b"some records"[..])
        );
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(parse(&bad, 3).is_err(), "bit {bit} was not noticed");
        }
    }

    #[test]
    fn a_frame_of_another_segment_does_not_count() {
        let stale = frame(7, 3, b"old");
        assert!(matches!(parse(&stale, 4), Err(Bad::NoFrame(_))));
        assert_eq!(find_later(&stale, 4, 1), None);
    }

    #[test]
    fn a_later_frame_is_found_behind_noise_and_an_earlier_one_is_not() {
        let noise = [0xC1, 0xFE, 0xC1, 0, 9];
        let bytes = [&noise[..], &frame(5, 1, b"a"), &frame(6, 1, b"b")].concat();
        assert_eq!(find_later(&bytes, 1, 4), Some((noise.len(), 5)));
        assert_eq!(find_later(&bytes, 1, 5).map(|found| found.1), Some(6));
        assert_eq!(find_later(&bytes, 1, 6), None);
    }

    #[test]
    fn no_text_can_hold_the_magic() {
        assert!(std::str::from_utf8(&MAGIC[..1]).is_err());
        assert!(std::str::from_utf8(&MAGIC[1..]).is_err());
    }

    #[test]
    fn a_frame_of_a_newer_version_is_told_from_noise() {
        let mut newer = frame(1, 1, b"x");
        newer[2] = 9;
        let crc = checksum(&newer);
        newer[8..12].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(
            parse(&newer, 1).unwrap_err(),
            Bad::Unknown {
                version: 9,
                kind: 1
            }
        );
    }
}
