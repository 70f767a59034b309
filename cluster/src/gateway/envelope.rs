//! What nodes say to each other, as bytes: Crane's own layout, so that versions are its own too.
//!
//! ```text
//!   request  = version(1) kind(2) run(17) epoch(8) trace(26) deadline ms(4) hops(1) body
//!   reply    = version(1) code(1) ...
//! ```
//! Numbers are big endian; an optional field is a byte, 0 or 1, and its bytes. What cannot be read
//! is answered with the reason, never with silence.

use std::time::Duration;

use crane_core::{Epoch, Generation, NodeName, RunId};

use crate::ownership::words::Owner;

/// The only version so far.
const VERSION: u8 = 1;
/// Set in the kind of a request whose answer may be held back on purpose, for as long as its deadline
/// allows: such requests have bounds of their own, so that they never keep out one that is answered at
/// once.
pub const WAITS: u16 = 1 << 15;
/// Longest text of an error, in bytes.
const TEXT_BYTES: usize = 4_096;

/// Where a request belongs in a distributed trace (W3C Trace Context).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace {
    /// Id of the trace.
    pub trace: [u8; 16],
    /// Id of the span that asks.
    pub span: [u8; 8],
    /// Its flags.
    pub flags: u8,
}

/// A request to another node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What is asked for; the node gives the numbers their meaning, except for [`WAITS`].
    pub kind: u16,
    /// The run it is about, if it is about one.
    pub run: Option<RunId>,
    /// The epoch of the run's shard that the asking node knows; 0 if it knows none.
    pub epoch: Epoch,
    /// Where it belongs in a trace.
    pub trace: Option<Trace>,
    /// How long the answer is waited for. Clocks differ, so it is what is left, not a time.
    pub deadline: Duration,
    /// How often it was forwarded.
    pub hops: u8,
    /// The rest, in the node's own encoding.
    pub body: Vec<u8>,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The answer, in the node's own encoding.
    Done(Vec<u8>),
    /// Another node owns the run's shard, as far as this one knows.
    NotOwner {
        /// Who; `None` if nobody.
        owner: Option<Owner>,
        /// The epoch that this is known from.
        epoch: Epoch,
    },
    /// Too much is under way; nothing was done.
    Busy {
        /// When to try again.
        retry_after: Duration,
    },
    /// The time was over before there was an answer; it may have been done or not.
    Expired,
    /// The request was not understood; nothing was done.
    NotUnderstood(String),
    /// Something went wrong in answering; it may have been done or not.
    Failed(String),
}

/// Bytes that are not what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Another version.
    #[error("version {0} is not known, only {VERSION}")]
    Version(u8),
    /// A number that means nothing.
    #[error("{0} is no {1}")]
    Unknown(u8, &'static str),
    /// They end too early.
    #[error("it ends in the middle")]
    Short,
}

impl Request {
    /// Whether the answer may be held back on purpose.
    pub(crate) fn waits(&self) -> bool {
        self.kind & WAITS != 0
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        bytes.extend(self.kind.to_be_bytes());
        match self.run {
            Some(run) => {
                bytes.push(1);
                bytes.extend(run.to_bytes());
            }
            None => bytes.push(0),
        }
        bytes.extend(self.epoch.0.to_be_bytes());
        match self.trace {
            Some(trace) => {
                bytes.push(1);
                bytes.extend(trace.trace);
                bytes.extend(trace.span);
                bytes.push(trace.flags);
            }
            None => bytes.push(0),
        }
        bytes.extend(millis(self.deadline).to_be_bytes());
        bytes.push(self.hops);
        bytes.extend(&self.body);
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut rest = Reader(bytes);
        rest.version()?;
        Ok(Self {
            kind: u16::from_be_bytes(rest.take()?),
            run: match rest.flag("presence of a run")? {
                true => Some(RunId::from_bytes(rest.take()?)),
                false => None,
            },
            epoch: Epoch(u64::from_be_bytes(rest.take()?)),
            trace: match rest.flag("presence of a trace")? {
                true => Some(Trace {
                    trace: rest.take()?,
                    span: rest.take()?,
                    flags: rest.byte()?,
                }),
                false => None,
            },
            deadline: rest.duration()?,
            hops: rest.byte()?,
            body: rest.0.to_vec(),
        })
    }
}

impl Reply {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        match self {
            Self::Done(body) => {
                bytes.push(0);
                bytes.extend(body);
            }
            Self::NotOwner { owner, epoch } => {
                bytes.push(1);
                bytes.extend(epoch.0.to_be_bytes());
                if let Some(owner) = owner {
                    bytes.extend(owner.generation.0.to_be_bytes());
                    bytes.extend(owner.node.as_str().as_bytes());
                }
            }
            Self::Busy { retry_after } => {
                bytes.push(2);
                bytes.extend(millis(*retry_after).to_be_bytes());
            }
            Self::Expired => bytes.push(3),
            Self::NotUnderstood(text) => {
                bytes.push(4);
                bytes.extend(text.bytes().take(TEXT_BYTES));
            }
            Self::Failed(text) => {
                bytes.push(5);
                bytes.extend(text.bytes().take(TEXT_BYTES));
            }
        }
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut rest = Reader(bytes);
        rest.version()?;
        match rest.byte()? {
            0 => Ok(Self::Done(rest.0.to_vec())),
            1 => {
                let epoch = Epoch(u64::from_be_bytes(rest.take()?));
                let owner = if rest.0.is_empty() {
                    None
                } else {
                    let generation = Generation(u64::from_be_bytes(rest.take()?));
                    let node = NodeName::new(rest.text());
                    Some(Owner { node, generation })
                };
                Ok(Self::NotOwner { owner, epoch })
            }
            2 => Ok(Self::Busy {
                retry_after: rest.duration()?,
            }),
            3 => Ok(Self::Expired),
            4 => Ok(Self::NotUnderstood(rest.text())),
            5 => Ok(Self::Failed(rest.text())),
            code => Err(Malformed::Unknown(code, "reply")),
        }
    }
}

fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

/// Takes fields off the front.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl Reader<'_> {
    pub(crate) fn take<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (field, rest) = self.0.split_first_chunk().ok_or(Malformed::Short)?;
        self.0 = rest;
        Ok(*field)
    }

    pub(crate) fn byte(&mut self) -> Result<u8, Malformed> {
        self.take::<1>().map(|[byte]| byte)
    }

    fn version(&mut self) -> Result<(), Malformed> {
        match self.byte()? {
            VERSION => Ok(()),
            version => Err(Malformed::Version(version)),
        }
    }

    fn flag(&mut self, what: &'static str) -> Result<bool, Malformed> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(Malformed::Unknown(other, what)),
        }
    }

    fn duration(&mut self) -> Result<Duration, Malformed> {
        let millis = u32::from_be_bytes(self.take()?);
        Ok(Duration::from_millis(millis.into()))
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(self.0).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn request() -> impl Strategy<Value = Request> {
        let trace = any::<([u8; 16], [u8; 8], u8)>();
        let trace = trace.prop_map(|(trace, span, flags)| Trace { trace, span, flags });
        let fields = (
            any::<u16>(),
            any::<Option<[u8; 16]>>(),
            any::<u64>(),
            prop::option::of(trace),
            any::<u32>(),
            any::<u8>(),
            any::<Vec<u8>>(),
        );
        fields.prop_map(|(kind, run, epoch, trace, deadline, hops, body)| Request {
            kind,
            run: run.map(RunId::from_bytes),
            epoch: Epoch(epoch),
            trace,
            deadline: Duration::from_millis(deadline.into()),
            hops,
            body,
        })
    }

    fn reply() -> impl Strategy<Value = Reply> {
        let owner = prop::option::of(("[a-z0-9-]{1,20}", any::<u64>()));
        let owner = owner.prop_map(|owner| {
            owner.map(|(node, generation)| Owner {
                node: NodeName::new(node),
                generation: Generation(generation),
            })
        });
        prop_oneof![
            any::<Vec<u8>>().prop_map(Reply::Done),
            (owner, any::<u64>()).prop_map(|(owner, epoch)| {
                let epoch = Epoch(epoch);
                Reply::NotOwner { owner, epoch }
            }),
            any::<u32>().prop_map(|millis| {
                let retry_after = Duration::from_millis(millis.into());
                Reply::Busy { retry_after }
            }),
            Just(Reply::Expired),
            ".{0,40}".prop_map(Reply::NotUnderstood),
            ".{0,40}".prop_map(Reply::Failed),
        ]
    }

    #[test]
    fn the_bytes_of_a_request_never_change() {
        let request = Request {
            kind: 0x0102,
            run: None,
            epoch: Epoch(3),
            trace: None,
            deadline: Duration::from_millis(5),
            hops: 1,
            body: b"x".to_vec(),
        };
        let bytes = [1, 1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 5, 1, b'x'];
        assert_eq!(request.encode(), bytes);
    }

    #[test]
    fn another_version_is_named() {
        assert_eq!(Request::decode(&[9]), Err(Malformed::Version(9)));
        assert_eq!(Request::decode(&[]), Err(Malformed::Short));
    }

    proptest! {
        #[test]
        fn what_is_sent_is_what_is_read(request in request(), reply in reply()) {
            prop_assert_eq!(Request::decode(&request.encode()), Ok(request));
            prop_assert_eq!(Reply::decode(&reply.encode()), Ok(reply));
        }

        #[test]
        fn no_bytes_do_harm(bytes in any::<Vec<u8>>()) {
            let _ = Request::decode(&bytes);
            let _ = Reply::decode(&bytes);
        }
    }
}
