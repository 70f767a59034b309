//! What the ownership machine hears and says, and what that is about.

mod spoken;

use std::fmt;
use std::time::Duration;

use crane_core::{Epoch, Generation, NodeName, ShardId};

pub use crane_store::leases::Death;
pub use spoken::{Action, Event};

/// A node's own elapsed time, from an arbitrary start. It must go on while the machine sleeps
/// (`CLOCK_BOOTTIME`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Elapsed(pub Duration);

impl Elapsed {
    /// `duration` after this time.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration))
    }

    /// How long `earlier` is ago; zero if it is not.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// One life of a node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner {
    /// The node.
    pub node: NodeName,
    /// Which life of it.
    pub generation: Generation,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.node, self.generation)
    }
}

/// Where a node is in its life, as it tells the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// It has no shards yet: it tests itself, and looks around.
    Joining,
    /// It owns shards.
    Up,
    /// It hands its shards over.
    Draining,
    /// It is done.
    Left,
}

impl Phase {
    /// The phase as gossip carries it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Joining => "joining",
            Self::Up => "up",
            Self::Draining => "draining",
            Self::Left => "left",
        }
    }

    /// The phase that gossip calls `text`.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Joining, Self::Up, Self::Draining, Self::Left]
            .into_iter()
            .find(|phase| phase.as_str() == text)
    }
}

/// How a member looks to the failure detector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Sight {
    /// It is heard of.
    Alive,
    /// It was down and came back a short while ago.
    Suspect,
    /// It is not heard of.
    Down,
}

impl Sight {
    /// The state as a label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Alive => "alive",
            Self::Suspect => "suspect",
            Self::Down => "down",
        }
    }
}

/// Another node, as gossip knows it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Peer {
    /// Its name.
    pub node: NodeName,
    /// The generation of its lease, once it has one.
    pub generation: Option<Generation>,
    /// How it looks.
    pub sight: Sight,
    /// What it says of itself.
    pub phase: Phase,
}

/// A shard in the store's table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Row {
    /// Who owns it.
    pub owner: Option<Owner>,
    /// The epoch, which each change of the owner raises by one.
    pub epoch: Epoch,
}

/// The lease of a node, in the store.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LeaseRow {
    /// Whose it is; an owner without a lease row is dead.
    pub owner: Owner,
    /// How long it still lasts by the store's clock; zero when it is over.
    pub remaining: Duration,
}

/// What the store says about ownership, read in one statement.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Table {
    /// By shard.
    pub shards: Vec<Row>,
    /// All leases that are not declared dead.
    pub leases: Vec<LeaseRow>,
}

/// A shard that goes from one node to another.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Handover {
    /// Which.
    pub shard: ShardId,
    /// Its epoch: before, in the action; after, in the answer.
    pub epoch: Epoch,
    /// To whom; `None` when there is nobody.
    pub to: Option<Owner>,
}

/// A kind of call to the store; at most one of a kind is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Call {
    /// [`Action::Register`].
    Register,
    /// [`Action::Renew`].
    Renew,
    /// [`Action::ReadTable`].
    Read,
    /// [`Action::DeclareDead`].
    Declare,
    /// [`Action::Take`].
    Take,
    /// [`Action::Hand`].
    Hand,
    /// [`Action::Leave`].
    Leave,
}

impl Call {
    /// Which call an action is; `None` if it is not for the store.
    pub fn of(action: &Action) -> Option<Self> {
        match action {
            Action::Register { .. } => Some(Self::Register),
            Action::Renew { .. } => Some(Self::Renew),
            Action::ReadTable => Some(Self::Read),
            Action::DeclareDead { .. } => Some(Self::Declare),
            Action::Take { .. } => Some(Self::Take),
            Action::Hand { .. } => Some(Self::Hand),
            Action::Leave { .. } => Some(Self::Leave),
            Action::LeaseUntil(_)
            | Action::OpenShard { .. }
            | Action::CloseShard { .. }
            | Action::SelfTest
            | Action::Ask { .. }
            | Action::Assign { .. }
            | Action::Publish { .. } => None,
        }
    }
}

/// Why a shard comes to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// Nobody owned it.
    Unowned,
    /// Its owner is dead.
    Takeover,
    /// Its owner handed it over.
    Handover,
}

impl Reason {
    /// All of them, in order.
    pub const ALL: [Self; 3] = [Self::Unowned, Self::Takeover, Self::Handover];

    /// The reason as a label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unowned => "unowned",
            Self::Takeover => "takeover",
            Self::Handover => "handover",
        }
    }
}

/// How a shard is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum How {
    /// At once: it is no longer this node's. No answer is expected.
    Stop,
    /// No step starts; running ones may end, up to the drain timeout; snapshots are written. Then
    /// [`Event::Closed`].
    HandOver,
}
