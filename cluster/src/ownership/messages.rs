//! What ownership machines say to each other, as bytes of a gateway's request.

use crane_core::{Epoch, Generation, NodeName, RunId, ShardId, limits};

use super::words::{Event, Owner};
use crate::gateway::envelope::{Malformed, Reader};

/// The kind of request that carries a [`Message`]; the node's own kinds are other numbers.
pub const KIND: u16 = 1;

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// `by` asks for some of these shards, which it should own.
    Ask {
        /// Who asks.
        by: Owner,
        /// For which.
        shards: Vec<ShardId>,
        /// How many at most.
        at_most: u32,
    },
    /// A shard is now `to`'s.
    Assign {
        /// Whose.
        to: Owner,
        /// Which.
        shard: ShardId,
        /// Its new epoch.
        epoch: Epoch,
        /// Runs to take up first.
        hot: Vec<RunId>,
    },
}

impl Message {
    /// The bytes of the message.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let (kind, owner) = match self {
            Self::Ask { by, .. } => (0, by),
            Self::Assign { to, .. } => (1, to),
        };
        bytes.push(kind);
        bytes.extend(owner.generation.0.to_be_bytes());
        let name = owner.node.as_str().as_bytes();
        bytes.extend(u16::try_from(name.len()).unwrap_or(0).to_be_bytes());
        bytes.extend(name);
        match self {
            Self::Ask {
                shards, at_most, ..
            } => {
                bytes.extend(at_most.to_be_bytes());
                for shard in shards.iter().take(limits::OWNERSHIP_NAMES) {
                    bytes.extend(shard.0.to_be_bytes());
                }
            }
            Self::Assign {
                shard, epoch, hot, ..
            } => {
                bytes.extend(shard.0.to_be_bytes());
                bytes.extend(epoch.0.to_be_bytes());
                for run in hot.iter().take(limits::OWNERSHIP_NAMES) {
                    bytes.extend(run.to_bytes());
                }
            }
        }
        bytes
    }

    /// Reads a message.
    ///
    /// # Errors
    /// Bytes that are none.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut rest = Reader(bytes);
        let kind = rest.byte()?;
        let generation = Generation(u64::from_be_bytes(rest.take()?));
        let length = usize::from(u16::from_be_bytes(rest.take()?));
        let (name, tail) = rest.0.split_at_checked(length).ok_or(Malformed::Short)?;
        let node = NodeName::new(String::from_utf8_lossy(name).into_owned());
        let owner = Owner { node, generation };
        rest = Reader(tail);
        match kind {
            0 => {
                let at_most = u32::from_be_bytes(rest.take()?);
                let mut shards = Vec::new();
                while !rest.0.is_empty() && shards.len() < limits::OWNERSHIP_NAMES {
                    shards.push(ShardId(u16::from_be_bytes(rest.take()?)));
                }
                Ok(Self::Ask {
                    by: owner,
                    shards,
                    at_most,
                })
            }
            1 => {
                let shard = ShardId(u16::from_be_bytes(rest.take()?));
                let epoch = Epoch(u64::from_be_bytes(rest.take()?));
                let mut hot = Vec::new();
                while !rest.0.is_empty() && hot.len() < limits::OWNERSHIP_NAMES {
                    hot.push(RunId::from_bytes(rest.take()?));
                }
                Ok(Self::Assign {
                    to: owner,
                    shard,
                    epoch,
                    hot,
                })
            }
            kind => Err(Malformed::Unknown(kind, "message of ownership")),
        }
    }

    /// The event that the message is for the node that gets it.
    pub fn event(self) -> Event {
        match self {
            Self::Ask {
                by,
                shards,
                at_most,
            } => {
                let at_most = at_most as usize;
                Event::Asked {
                    by,
                    shards,
                    at_most,
                }
            }
            Self::Assign {
                to,
                shard,
                epoch,
                hot,
            } => {
                let owner = to;
                Event::Assigned {
                    owner,
                    shard,
                    epoch,
                    hot,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn messages_are_read_as_they_were_written(
            (node, generation) in ("[a-z-]{0,30}", any::<u64>()),
            (shards, at_most) in any::<(Vec<u16>, u32)>(),
            (shard, epoch) in any::<(u16, u64)>(),
            hot in any::<Vec<[u8; 16]>>(),
            noise in any::<Vec<u8>>(),
        ) {
            let owner = Owner {
                node: NodeName::new(node),
                generation: Generation(generation),
            };
            let shards = shards.into_iter().map(ShardId).collect();
            let (shard, epoch) = (ShardId(shard), Epoch(epoch));
            let hot = hot.into_iter().map(RunId::from_bytes).collect();
            let messages = [
                Message::Ask { by: owner.clone(), shards, at_most },
                Message::Assign { to: owner, shard, epoch, hot },
            ];
            for message in messages {
                prop_assert_eq!(Message::decode(&message.encode()), Ok(message));
            }
            let _ = Message::decode(&noise);
        }
    }
}
