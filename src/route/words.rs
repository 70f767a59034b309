//! What is asked about runs, and what is answered: the same words whether this node answers or
//! another one.

use std::time::Duration;

use bytes::Bytes;
use crane_actors::submit::Request;
use crane_core::{NodeName, RunId, RunStatus, Seq, Timestamp};
use crane_store::{Filter, Summary};

use crate::api::ApiError;

/// A question, or an order, about one run.
#[derive(Clone, Debug)]
pub(crate) enum Ask {
    /// Take the run in; it is durable when this is answered.
    Submit(Box<NewRun>),
    /// Tell how the run stands, as it is stored.
    Load,
    /// Cancel it.
    Cancel,
    /// Open it again.
    Retry,
    /// Tell how the run stands when it has ended, or after a while.
    End {
        /// How long at most, from now.
        wait: Duration,
    },
    /// Tell the events behind one.
    Events(After),
}

/// A run to be taken in.
#[derive(Clone, Debug)]
pub(crate) struct NewRun {
    /// What was submitted; its `id` is the run's.
    pub(crate) request: Request,
    /// How long its end may be waited for before the answer.
    pub(crate) wait: Duration,
}

/// Which events, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct After {
    /// Only events behind this one.
    pub(crate) seq: Seq,
    /// How long to wait for one; zero asks for what is stored and needs no owner.
    pub(crate) wait: Duration,
    /// As what.
    pub(crate) form: Form,
}

/// How events are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// As frames of an event stream.
    Frames,
    /// As elements of an array in JSON.
    Elements,
}

/// What is answered.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Answer {
    /// The run.
    Run(Told),
    /// Events of it.
    Events(Events),
    /// There is no such run.
    NotFound,
    /// It was refused or has failed, as the API says it.
    Refused(ApiError),
}

/// A run, written by the node that owns it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    /// The run as JSON text.
    pub(crate) text: Bytes,
    /// Where it stands.
    pub(crate) status: RunStatus,
    /// Whether this very request created it.
    pub(crate) created: bool,
}

/// Some events that follow on each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Events {
    /// The last event of the run up to which the reader has them all now.
    pub(crate) seen: Seq,
    /// Whether that one ended the run's current round.
    pub(crate) ended: bool,
    /// Whether more are stored.
    pub(crate) more: bool,
    /// The events, written; empty when there are none.
    pub(crate) bytes: Bytes,
}

/// A page of the runs of one node, newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    /// How many match.
    pub(crate) total: usize,
    /// The first of them.
    pub(crate) runs: Vec<(RunId, Outline)>,
}

/// What is known of a run without reading its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outline {
    /// Where it stands.
    pub status: RunStatus,
    /// Its last event.
    pub seq: Seq,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When it ended, if it has.
    pub completed_at: Option<Timestamp>,
}

impl From<&Summary> for Outline {
    fn from(summary: &Summary) -> Self {
        Self {
            status: summary.status,
            seq: summary.seq,
            created_at: summary.created_at,
            completed_at: summary.completed_at,
        }
    }
}

/// Which runs of a node are listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ListAsk {
    /// Which.
    pub(crate) filter: Filter,
    /// How many at most.
    pub(crate) limit: usize,
}

/// Where runs have a home: whether a node holds the run of a key, and if not, that it promises for a
/// while not to help creating it elsewhere than at `home`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FindAsk {
    /// Who asks.
    pub(crate) by: NodeName,
    /// Where the run would be created.
    pub(crate) home: NodeName,
}

/// What comes of a [`FindAsk`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// It is here.
    Here,
    /// It is not, and that was promised. With all members that the node has ever seen.
    Promised(Vec<NodeName>),
    /// It is not, and something else was promised to somebody else. With the same.
    Taken(Vec<NodeName>),
}

/// Why there is no answer from a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// It does not own the run's shard (any more); nothing was done.
    NotOwner,
    /// It may have been done or not.
    Unknown,
}

impl Ask {
    /// Whether asking twice does no more than asking once.
    pub(crate) fn may_be_repeated(&self) -> bool {
        match self {
            // By its id: a run that is there already is the answer.
            Self::Submit(_) | Self::Load | Self::Cancel | Self::End { .. } | Self::Events(_) => {
                true
            }
            Self::Retry => false,
        }
    }

    /// How long the answer may be held back on purpose.
    pub(crate) fn wait(&self) -> Duration {
        match self {
            Self::Submit(new) => new.wait,
            Self::End { wait } => *wait,
            Self::Events(after) => after.wait,
            Self::Load | Self::Cancel | Self::Retry => Duration::ZERO,
        }
    }

    /// Whether this is a question that is asked again and again.
    pub(crate) fn is_poll(&self) -> bool {
        match self {
            Self::End { .. } => true,
            Self::Events(after) => !after.wait.is_zero(),
            Self::Submit(_) | Self::Load | Self::Cancel | Self::Retry => false,
        }
    }
}
