//! Schema version 1, frozen: mirrors of the domain's types, borrowed from what they encode or
//! decode, so that encoding copies each byte once and decoding allocates only what is kept.
//!
//! The order of fields and variants is the format. Enums are append-only; nothing else changes.

mod event;

use bincode::{BorrowDecode, Encode};
use crane_core::event::Labels as CoreLabels;
use crane_core::{Json, Round, RunId, RunStatus, Seq, Timestamp};

pub(crate) use event::Record;

/// Conversions between a fieldless mirror and its original, both ways and exhaustive.
macro_rules! mirror_enum {
    ($mirror:ident, $core:ident, [$($variant:ident),+ $(,)?]) => {
        impl From<$core> for $mirror {
            fn from(core: $core) -> Self {
                match core {
                    $($core::$variant => Self::$variant,)+
                }
            }
        }

        impl From<$mirror> for $core {
            fn from(mirror: $mirror) -> Self {
                match mirror {
                    $($mirror::$variant => Self::$variant,)+
                }
            }
        }
    };
}
use mirror_enum;

/// Labels, ascending by key.
#[derive(Encode, BorrowDecode)]
pub(crate) struct Labels<'a>(Vec<(&'a str, &'a str)>);

/// Mirror of [`RunStatus`].
#[derive(Encode, BorrowDecode)]
enum Status {
    Pending,
    Running,
    Waiting,
    Completed,
    Failed,
    Cancelled,
}

/// Mirror of [`crate::Summary`].
#[derive(Encode, BorrowDecode)]
pub(crate) struct Summary {
    seq: u64,
    status: Status,
    round: u32,
    created_at: i64,
    completed_at: Option<i64>,
    wake_at: Option<i64>,
}

/// Mirror of [`crate::ToolWrite`]; rows ascend by key.
#[derive(Encode, BorrowDecode)]
pub(crate) struct ToolWrite<'a> {
    tool: &'a str,
    run: Option<[u8; 16]>,
    key: &'a str,
    rows: Vec<(&'a str, Option<&'a str>)>,
    result: &'a str,
}

/// A row of a stateful tool.
#[derive(Encode, BorrowDecode)]
pub(crate) struct ToolRow<'a> {
    pub(crate) value: &'a str,
}

/// The result of a write of a stateful tool, as it is remembered.
#[derive(Encode, BorrowDecode)]
pub(crate) struct ToolResult<'a> {
    pub(crate) run: Option<[u8; 16]>,
    /// Place in the order in which results were recorded.
    pub(crate) order: u64,
    pub(crate) value: &'a str,
}

/// What precedes the events of a finished run in history.
#[derive(Encode, BorrowDecode)]
pub(crate) struct FinishedHead<'a> {
    pub(crate) run: [u8; 16],
    pub(crate) summary: Summary,
    pub(crate) labels: Labels<'a>,
    /// Number of events.
    pub(crate) count: u32,
}

impl<'a> From<&'a CoreLabels> for Labels<'a> {
    fn from(labels: &'a CoreLabels) -> Self {
        Self(labels.iter().map(|(k, v)| (&**k, &**v)).collect())
    }
}

impl From<Labels<'_>> for CoreLabels {
    fn from(labels: Labels<'_>) -> Self {
        labels
            .0
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect()
    }
}

impl From<&crate::Summary> for Summary {
    fn from(summary: &crate::Summary) -> Self {
        Self {
            seq: summary.seq.0,
            status: summary.status.into(),
            round: summary.round.0,
            created_at: summary.created_at.0,
            completed_at: summary.completed_at.map(|at| at.0),
            wake_at: summary.wake_at.map(|at| at.0),
        }
    }
}

impl From<Summary> for crate::Summary {
    fn from(summary: Summary) -> Self {
        Self {
            seq: Seq(summary.seq),
            status: summary.status.into(),
            round: Round(summary.round),
            created_at: Timestamp(summary.created_at),
            completed_at: summary.completed_at.map(Timestamp),
            wake_at: summary.wake_at.map(Timestamp),
        }
    }
}

impl<'a> From<&'a crate::ToolWrite> for ToolWrite<'a> {
    fn from(write: &'a crate::ToolWrite) -> Self {
        Self {
            tool: &write.tool,
            run: write.run.map(RunId::to_bytes),
            key: &write.key,
            rows: write
                .rows
                .iter()
                .map(|(row, value)| (&**row, value.as_ref().map(Json::as_str)))
                .collect(),
            result: write.result.as_str(),
        }
    }
}

impl From<ToolWrite<'_>> for crate::ToolWrite {
    fn from(write: ToolWrite<'_>) -> Self {
        Self {
            tool: write.tool.to_owned(),
            run: write.run.map(RunId::from_bytes),
            key: write.key.to_owned(),
            rows: write
                .rows
                .into_iter()
                .map(|(row, value)| (row.to_owned(), value.map(Json::from_trusted)))
                .collect(),
            result: Json::from_trusted(write.result),
        }
    }
}

mirror_enum!(
    Status,
    RunStatus,
    [Pending, Running, Waiting, Completed, Failed, Cancelled]
);
