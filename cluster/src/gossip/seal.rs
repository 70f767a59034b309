//! Datagrams that only members can write and read.
//!
//! ```text
//!   datagram = nonce(24) || XChaCha20-Poly1305(message, aad = cluster id)
//!   nonce    = tag of the cluster(4) || drawn at start(12) || counter(8, big endian)
//! ```
//! The tag tells datagrams of another cluster apart before anything is decrypted; it protects
//! nothing. Counters of one sender are remembered in a window, so that a copy is dropped. A copy
//! from before this node started, or of a sender it has forgotten, is taken in; it tells old
//! versions and old heartbeats, which change nothing.

use std::collections::HashMap;
use std::fmt;

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use crane_core::limits;
use sha2::{Digest, Sha256};

const NONCE: usize = 24;
const TAG: usize = 16;
/// What sealing adds, in bytes.
pub(crate) const OVERHEAD: usize = NONCE + TAG;
/// Largest payload of a UDP datagram over IPv4, in bytes.
pub(crate) const DATAGRAM_BYTES: usize = 65_507;
/// How far behind the newest counter of a sender a datagram may arrive.
const WINDOW: u64 = 1_024;
const WORDS: usize = 16;

/// Why a datagram is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Dropped {
    /// Too short to be one.
    Truncated,
    /// Of another cluster.
    Foreign,
    /// Not sealed with any of the keys, or changed on the way.
    Forged,
    /// Seen before, or too old to tell.
    Replayed,
    /// Sealed by a member, and not understood.
    Malformed,
    /// Sealed by this very node, for an earlier life of it at the same address; nothing to count.
    Own,
}

impl Dropped {
    /// All that are counted, in order.
    pub(crate) const COUNTED: [Self; 5] = [
        Self::Truncated,
        Self::Foreign,
        Self::Forged,
        Self::Replayed,
        Self::Malformed,
    ];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Truncated => "truncated",
            Self::Foreign => "foreign",
            Self::Forged => "forged",
            Self::Replayed => "replayed",
            Self::Malformed => "malformed",
            Self::Own => "own",
        }
    }
}

/// Seals and opens the datagrams of one socket.
pub(crate) struct Seal {
    cluster: String,
    tag: [u8; 4],
    /// The first seals, all open.
    keys: Vec<XChaCha20Poly1305>,
    sender: [u8; 12],
    counter: u64,
    windows: HashMap<[u8; 12], Window>,
    opened: u64,
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Seal of {} with {} keys", self.cluster, self.keys.len())
    }
}

impl Seal {
    /// `sender` must be drawn at random for each socket: it keeps nonces apart.
    pub(crate) fn new(cluster: &str, keys: &[[u8; 32]], sender: [u8; 12]) -> Self {
        let hash = Sha256::digest(cluster.as_bytes());
        Self {
            cluster: cluster.to_owned(),
            tag: [hash[0], hash[1], hash[2], hash[3]],
            keys: keys
                .iter()
                .map(|key| XChaCha20Poly1305::new(key.into()))
                .collect(),
            sender,
            counter: 0,
            windows: HashMap::new(),
            opened: 0,
        }
    }

    /// The datagram for `message`; `None` without a key.
    pub(crate) fn seal(&mut self, message: &[u8]) -> Option<Vec<u8>> {
        self.counter += 1;
        let mut nonce = [0; NONCE];
        nonce[..4].copy_from_slice(&self.tag);
        nonce[4..16].copy_from_slice(&self.sender);
        nonce[16..].copy_from_slice(&self.counter.to_be_bytes());
        let payload = Payload {
            msg: message,
            aad: self.cluster.as_bytes(),
        };
        let sealed = self
            .keys
            .first()?
            .encrypt(XNonce::from_slice(&nonce), payload);
        let mut datagram = nonce.to_vec();
        datagram.extend(sealed.ok()?);
        Some(datagram)
    }

    /// The message of a datagram that was not seen before.
    pub(crate) fn open(&mut self, datagram: &[u8]) -> Result<Vec<u8>, Dropped> {
        if datagram.len() < OVERHEAD {
            return Err(Dropped::Truncated);
        }
        let (nonce, sealed) = datagram.split_at(NONCE);
        if nonce[..4] != self.tag {
            return Err(Dropped::Foreign);
        }
        let opened = self.keys.iter().find_map(|key| {
            let aad = self.cluster.as_bytes();
            let payload = Payload { msg: sealed, aad };
            key.decrypt(XNonce::from_slice(nonce), payload).ok()
        });
        let message = opened.ok_or(Dropped::Forged)?;
        let mut sender = [0; 12];
        sender.copy_from_slice(&nonce[4..16]);
        if sender == self.sender {
            return Err(Dropped::Own);
        }
        let mut counter = [0; 8];
        counter.copy_from_slice(&nonce[16..]);
        if self.is_new(sender, u64::from_be_bytes(counter)) {
            Ok(message)
        } else {
            Err(Dropped::Replayed)
        }
    }

    /// Only what was opened gets here, so that nobody else can fill the table.
    fn is_new(&mut self, sender: [u8; 12], counter: u64) -> bool {
        self.opened += 1;
        if !self.windows.contains_key(&sender) && self.windows.len() >= limits::GOSSIP_SENDERS {
            let oldest = self.windows.iter().min_by_key(|(_, window)| window.used);
            if let Some(oldest) = oldest.map(|(sender, _)| *sender) {
                self.windows.remove(&oldest);
            }
        }
        let window = self.windows.entry(sender).or_default();
        window.used = self.opened;
        window.is_new(counter)
    }
}

/// Which of the latest counters of a sender were seen (as in RFC 4303, section 3.4.3).
#[derive(Debug, Default)]
struct Window {
    newest: u64,
    seen: [u64; WORDS],
    used: u64,
}

impl Window {
    fn is_new(&mut self, counter: u64) -> bool {
        if counter + WINDOW <= self.newest {
            return false;
        }
        if counter > self.newest {
            let skipped = (counter - self.newest).min(WINDOW);
            for passed in (counter - skipped + 1)..=counter {
                let (word, bit) = place(passed);
                self.seen[word] &= !bit;
            }
            self.newest = counter;
        }
        let (word, bit) = place(counter);
        let new = self.seen[word] & bit == 0;
        self.seen[word] |= bit;
        new
    }
}

fn place(counter: u64) -> (usize, u64) {
    let position = counter % WINDOW;
    let word = usize::try_from(position / 64).unwrap_or(0);
    (word, 1 << (position % 64))
}

#[cfg(test)]
mod tests;
