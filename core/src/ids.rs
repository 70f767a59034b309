//! Identifiers, each a newtype with a `Display`; none is ever passed around as a bare integer.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Number of logical shards a cluster divides its runs into. Part of the stored layout.
pub const SHARD_COUNT: u16 = 512;

/// Namespace of the UUIDv5 ids that are derived from a tenant and an idempotency key.
const KEY_NAMESPACE: Uuid = Uuid::from_u128(0x6372_616e_652d_7275_6e2d_6b65_792d_7635);

/// Identity of a run: a UUIDv7, or a UUIDv5 of tenant and key when an idempotency key was given.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(Uuid);

impl RunId {
    /// An id that sorts by time (UUIDv7, RFC 9562): `millis` since the Unix epoch, then `random`.
    pub fn from_time(millis: u64, random: [u8; 10]) -> Self {
        let mut bytes = [0; 16];
        bytes[..6].copy_from_slice(&millis.to_be_bytes()[2..]);
        bytes[6..].copy_from_slice(&random);
        bytes[6] = (bytes[6] & 0x0f) | 0x70;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        Self(Uuid::from_bytes(bytes))
    }

    /// The id of the one run that `key` may create for `tenant` (UUIDv5).
    pub fn from_key(tenant: &str, key: &str) -> Self {
        let name = [tenant.as_bytes(), b"\0", key.as_bytes()].concat();
        Self(Uuid::new_v5(&KEY_NAMESPACE, &name))
    }

    /// The sixteen bytes of the id, most significant first.
    pub fn to_bytes(self) -> [u8; 16] {
        *self.0.as_bytes()
    }

    /// The id with these sixteen bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// The logical shard this run belongs to: `xxh3(run_id) % 512`.
    pub fn shard(self) -> ShardId {
        let hash = xxhash_rust::xxh3::xxh3_64(self.0.as_bytes());
        ShardId(u16::try_from(hash % u64::from(SHARD_COUNT)).unwrap_or_default())
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

impl fmt::Debug for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for RunId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::try_parse(text).map(Self)
    }
}

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl $name {
            /// The number after this one.
            #[must_use]
            pub fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }
    };
}

number! {
    /// Logical shard, `0..512`.
    ShardId(u16)
}
number! {
    /// Position of an event in its run; the first is 1, and 0 means "no event yet".
    Seq(u64)
}
number! {
    /// Attempt of a step; the first is 1 and the count goes on over the rounds of a run.
    Attempt(u32)
}
number! {
    /// How often a run was opened: 1 when accepted, one more each time an ended run is retried.
    Round(u32)
}
number! {
    /// Position of a step in its plan, from 0.
    StepIndex(u32)
}

impl StepIndex {
    /// The index as a slice position.
    pub fn position(self) -> usize {
        self.0 as usize
    }

    /// The index of a slice position; plans are limited to far fewer steps than `u32::MAX`.
    pub fn from_position(position: usize) -> Self {
        Self(u32::try_from(position).unwrap_or(u32::MAX))
    }
}

/// Ownership number of a shard: it only grows, and a write that carries an older one is refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "e{}", self.0)
    }
}

impl Epoch {
    /// The epoch after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

number! {
    /// Which life of a node with this name: a node that starts again, or lost its lease, gets a
    /// higher one.
    Generation(u64)
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Wraps a name that was already checked.
            pub fn new(text: impl Into<Arc<str>>) -> Self {
                Self(text.into())
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

name! {
    /// Name of a step inside its plan, `[A-Za-z_][A-Za-z0-9_-]{0,63}`.
    StepId
}
name! {
    /// Name of a tool.
    ToolName
}
name! {
    /// Name of a node, unique in its cluster.
    NodeName
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_ordered_id_is_a_version_seven_uuid_and_sorts_by_time() {
        let early = RunId::from_time(1_700_000_000_000, [0xff; 10]);
        let late = RunId::from_time(1_700_000_000_001, [0; 10]);
        assert!(early < late);
        assert_eq!(early.to_string().as_bytes()[14], b'7');
        assert_eq!(early.to_string().parse::<RunId>().ok(), Some(early));
    }

    #[test]
    fn a_keyed_id_depends_on_tenant_and_key_alone() {
        assert_eq!(RunId::from_key("a", "k"), RunId::from_key("a", "k"));
        assert_ne!(RunId::from_key("a", "bk"), RunId::from_key("ab", "k"));
        assert!(RunId::from_key("a", "k").shard().0 < SHARD_COUNT);
    }
}
