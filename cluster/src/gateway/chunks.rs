//! Cutting what is long, so that a small call never waits behind a large one for long.
//!
//! ```text
//!   to a node:    Whole(bytes)   or   Part(transfer, total, offset, bytes) ... the last one is answered
//!   from a node:  Whole(bytes)   or   Head(transfer, total, bytes), then Fetch(transfer, offset) ...
//! ```
//! Each piece is a call of its own. What is on its way is bounded, in number and in bytes; the
//! oldest that nobody has asked about for a while makes room.

use std::collections::BTreeMap;
use std::time::Duration;

use crane_core::limits::{self, MESSAGE_BYTES};

use super::envelope::{Malformed, Reader};
use crate::ownership::words::Elapsed;

/// Largest piece, in bytes.
pub(crate) const CHUNK_BYTES: usize = 64 << 10;
/// A transfer that does not go on for so long is given up.
const STALLED: Duration = Duration::from_secs(10);

/// One call's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// All of it.
    Whole(Vec<u8>),
    /// A piece of a request.
    Part {
        transfer: u64,
        total: u32,
        offset: u32,
        bytes: Vec<u8>,
    },
    /// The piece was taken in; the next one.
    GoOn,
    /// The first piece of a reply.
    Head {
        transfer: u64,
        total: u32,
        bytes: Vec<u8>,
    },
    /// The piece of a reply from `offset` on.
    Fetch { transfer: u64, offset: u32 },
    /// Nothing is known of this transfer, or it does not fit.
    Lost,
}

impl Frame {
    pub(crate) fn encode(self) -> Vec<u8> {
        let with = |kind: u8, numbers: &[&[u8]], bytes: &[u8]| {
            let mut frame = vec![kind];
            for number in numbers {
                frame.extend(*number);
            }
            frame.extend(bytes);
            frame
        };
        match self {
            Self::Whole(bytes) => with(0, &[], &bytes),
            Self::Part {
                transfer,
                total,
                offset,
                bytes,
            } => {
                let (transfer, total) = (transfer.to_be_bytes(), total.to_be_bytes());
                with(1, &[&transfer, &total, &offset.to_be_bytes()], &bytes)
            }
            Self::GoOn => vec![2],
            Self::Head {
                transfer,
                total,
                bytes,
            } => with(3, &[&transfer.to_be_bytes(), &total.to_be_bytes()], &bytes),
            Self::Fetch { transfer, offset } => {
                with(4, &[&transfer.to_be_bytes(), &offset.to_be_bytes()], &[])
            }
            Self::Lost => vec![5],
        }
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut rest = Reader(bytes);
        match rest.byte()? {
            0 => Ok(Self::Whole(rest.0.to_vec())),
            1 => Ok(Self::Part {
                transfer: u64::from_be_bytes(rest.take()?),
                total: u32::from_be_bytes(rest.take()?),
                offset: u32::from_be_bytes(rest.take()?),
                bytes: rest.0.to_vec(),
            }),
            2 => Ok(Self::GoOn),
            3 => Ok(Self::Head {
                transfer: u64::from_be_bytes(rest.take()?),
                total: u32::from_be_bytes(rest.take()?),
                bytes: rest.0.to_vec(),
            }),
            4 => Ok(Self::Fetch {
                transfer: u64::from_be_bytes(rest.take()?),
                offset: u32::from_be_bytes(rest.take()?),
            }),
            5 => Ok(Self::Lost),
            kind => Err(Malformed::Unknown(kind, "frame")),
        }
    }
}

/// The piece of `bytes` from `offset` on.
pub(crate) fn piece(bytes: &[u8], offset: usize) -> &[u8] {
    let start = offset.min(bytes.len());
    let end = start.saturating_add(CHUNK_BYTES).min(bytes.len());
    &bytes[start..end]
}

/// A length as frames carry it; messages are far shorter than 4 GiB.
pub(crate) fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

#[derive(Debug)]
struct Transfer {
    bytes: Vec<u8>,
    /// Length that it will have, or has.
    total: usize,
    touched: Elapsed,
}

/// What is on its way in pieces, in one direction.
#[derive(Debug, Default)]
pub(crate) struct Transfers {
    known: BTreeMap<u64, Transfer>,
    bytes: usize,
}

impl Transfers {
    /// Takes in a piece of a request; the whole request once it is complete.
    pub(crate) fn take_in(
        &mut self,
        now: Elapsed,
        (transfer, total, offset): (u64, u32, u32),
        bytes: &[u8],
    ) -> Result<Option<Vec<u8>>, Refused> {
        let (total, offset) = (total as usize, offset as usize);
        if offset == 0 && !self.known.contains_key(&transfer) {
            self.make_room(now, total)?;
            self.bytes += total;
            let begun = Transfer {
                bytes: Vec::new(),
                total,
                touched: now,
            };
            self.known.insert(transfer, begun);
        }
        let known = self.known.get_mut(&transfer).ok_or(Refused)?;
        let fits = known.total == total && known.bytes.len() == offset;
        if !fits || bytes.is_empty() || offset + bytes.len() > total {
            self.forget(transfer);
            return Err(Refused);
        }
        known.bytes.extend_from_slice(bytes);
        known.touched = now;
        if known.bytes.len() < total {
            return Ok(None);
        }
        Ok(self.forget(transfer))
    }

    /// Keeps a reply to be fetched.
    pub(crate) fn keep(
        &mut self,
        now: Elapsed,
        transfer: u64,
        bytes: Vec<u8>,
    ) -> Result<(), Refused> {
        let total = bytes.len();
        self.make_room(now, total)?;
        self.bytes += total;
        let touched = now;
        self.known.insert(
            transfer,
            Transfer {
                bytes,
                total,
                touched,
            },
        );
        Ok(())
    }

    /// A piece of a reply; the last one ends the transfer.
    pub(crate) fn fetch(
        &mut self,
        now: Elapsed,
        transfer: u64,
        offset: u32,
    ) -> Result<Vec<u8>, Refused> {
        let known = self.known.get_mut(&transfer).ok_or(Refused)?;
        known.touched = now;
        let offset = offset as usize;
        let bytes = piece(&known.bytes, offset).to_vec();
        if offset + bytes.len() >= known.total {
            self.forget(transfer);
        }
        Ok(bytes)
    }

    fn make_room(&mut self, now: Elapsed, total: usize) -> Result<(), Refused> {
        let stalled =
            |(id, known): (&u64, &Transfer)| (now.since(known.touched) >= STALLED).then_some(*id);
        let stalled: Vec<u64> = self.known.iter().filter_map(stalled).collect();
        for transfer in stalled {
            self.forget(transfer);
        }
        let full =
            self.known.len() >= limits::TRANSFERS || self.bytes + total > limits::TRANSFER_BYTES;
        if total > MESSAGE_BYTES || full {
            return Err(Refused);
        }
        Ok(())
    }

    fn forget(&mut self, transfer: u64) -> Option<Vec<u8>> {
        let known = self.known.remove(&transfer)?;
        self.bytes -= known.total;
        Some(known.bytes)
    }
}

/// A piece that does not fit, or is too much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(seconds: u64) -> Elapsed {
        Elapsed(Duration::from_secs(seconds))
    }

    fn send(
        transfers: &mut Transfers,
        id: u64,
        message: &[u8],
    ) -> Result<Option<Vec<u8>>, Refused> {
        let mut offset = 0;
        loop {
            let bytes = piece(message, offset);
            let place = (id, length(message.len()), length(offset));
            match transfers.take_in(at(0), place, bytes)? {
                Some(whole) => return Ok(Some(whole)),
                None => offset += bytes.len(),
            }
        }
    }

    #[test]
    fn a_message_in_pieces_is_whole_again() {
        let message: Vec<u8> = (0..200_000_u32).map(|n| n.to_be_bytes()[3]).collect();
        let mut transfers = Transfers::default();
        assert_eq!(send(&mut transfers, 1, &message), Ok(Some(message.clone())));
        assert_eq!(transfers.bytes, 0);
        transfers.keep(at(0), 2, message.clone()).expect("it fits");
        let mut fetched = Vec::new();
        while fetched.len() < message.len() {
            let offset = length(fetched.len());
            fetched.extend(transfers.fetch(at(0), 2, offset).expect("it goes on"));
        }
        assert_eq!(fetched, message);
        assert_eq!(transfers.known.len(), 0);
    }

    #[test]
    fn more_than_a_run_is_refused() {
        let mut transfers = Transfers::default();
        let place = (1, length(MESSAGE_BYTES + 1), 0);
        assert_eq!(transfers.take_in(at(0), place, b"x"), Err(Refused));
    }

    #[test]
    fn a_piece_that_is_out_of_order_ends_its_transfer() {
        let mut transfers = Transfers::default();
        assert_eq!(transfers.take_in(at(0), (1, 10, 0), b"abc"), Ok(None));
        assert_eq!(transfers.take_in(at(0), (1, 10, 5), b"abc"), Err(Refused));
        assert_eq!(transfers.take_in(at(0), (1, 10, 3), b"abc"), Err(Refused));
        assert_eq!(transfers.bytes, 0);
    }

    #[test]
    fn what_is_on_its_way_is_bounded_and_what_stalls_makes_room() {
        let mut transfers = Transfers::default();
        for id in 0..limits::TRANSFERS as u64 {
            assert_eq!(transfers.take_in(at(0), (id, 10, 0), b"abc"), Ok(None));
        }
        assert_eq!(transfers.take_in(at(9), (999, 10, 0), b"abc"), Err(Refused));
        assert_eq!(transfers.take_in(at(10), (999, 10, 0), b"abc"), Ok(None));
        assert_eq!(transfers.known.len(), 1);
        let large = length(MESSAGE_BYTES);
        let taken = (0..100).filter(|id| transfers.take_in(at(10), (*id, large, 0), b"a").is_ok());
        assert_eq!(taken.count(), (limits::TRANSFER_BYTES - 10) / MESSAGE_BYTES);
    }

    proptest! {
        #[test]
        fn frames_are_read_as_they_were_written(
            transfer in any::<u64>(),
            (total, offset) in any::<(u32, u32)>(),
            bytes in any::<Vec<u8>>(),
        ) {
            let frames = [
                Frame::Whole(bytes.clone()),
                Frame::Part { transfer, total, offset, bytes: bytes.clone() },
                Frame::GoOn,
                Frame::Head { transfer, total, bytes: bytes.clone() },
                Frame::Fetch { transfer, offset },
                Frame::Lost,
            ];
            for frame in frames {
                prop_assert_eq!(Frame::decode(&frame.clone().encode()), Ok(frame));
            }
            let _ = Frame::decode(&bytes);
        }
    }
}
