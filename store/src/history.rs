//! History: finished runs in append-only segments, with their events.
//!
//! ```text
//!   append ──> active segment ──(full, or spans too long a time)──> sealed: index, trailer, fsync
//!                   │                                                  │
//!   reader <────────┴────────────── any place ─────────────────────────┤
//!                                                                      └──> retire: unlinked whole
//! ```
//!
//! A run that was retried and has ended again gets another record; of several records of a run
//! the last one counts. Opening reads the indexes alone and hands every record to the caller, who
//! keeps them in its catalog; nothing is kept here per run.
//!
//! Architecture Invariant: a record is durable after [`History::sync`] (or after its segment was
//! sealed), and not before; until then the journal must hold the run.

mod active;
mod frame;
mod index;
mod reader;
mod retention;
mod segment;
mod verify;
mod writer;

use std::fmt;
use std::fs::File;
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;

use crane_core::RunId;
use crane_core::event::Labels;

pub use reader::HistoryReader;
pub use verify::{Damage, verify};
pub use writer::History;

use crate::{Encoded, Error, Retention, Summary};

/// Size at which a segment is sealed, unless set otherwise.
pub const SEGMENT_BYTES: u32 = 64 << 20;

/// Where the record of a run lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The segment; they are numbered from 1 in the order of writing.
    pub segment: NonZeroU32,
    /// Where its frame begins, in bytes.
    pub offset: u32,
}

/// Called with a point's name between any two steps; an error stops the operation there, as if the
/// process had died.
pub type FaultHook = Arc<dyn Fn(&'static str) -> std::io::Result<()> + Send + Sync>;

/// Every point at which a [`FaultHook`] is called.
pub const FAULT_POINTS: [&str; 15] = [
    "history.create.before_file",
    "history.create.before_directory_sync",
    "history.create.after_directory_sync",
    "history.append.before_write",
    "history.append.after_write",
    "history.sync.before",
    "history.sync.before_mark",
    "history.seal.before_data_sync",
    "history.seal.before_index",
    "history.seal.before_cut",
    "history.seal.before_sync",
    "history.seal.after_sync",
    "history.retire.before_unlink",
    "history.retire.before_directory_sync",
    "history.retire.after_directory_sync",
];

/// How a history is kept.
#[derive(Clone)]
pub struct HistoryOptions {
    /// Size at which a segment is sealed, in bytes; at most 1 GiB.
    pub segment_bytes: u32,
    /// How long finished runs are kept.
    pub retention: Retention,
    /// For tests: called between any two steps.
    pub faults: Option<FaultHook>,
}

impl Default for HistoryOptions {
    fn default() -> Self {
        Self {
            segment_bytes: SEGMENT_BYTES,
            retention: Retention::default(),
            faults: None,
        }
    }
}

impl fmt::Debug for HistoryOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HistoryOptions")
            .field("segment_bytes", &self.segment_bytes)
            .field("retention", &self.retention)
            .finish_non_exhaustive()
    }
}

/// A finished run that is to be written.
#[derive(Clone, Copy, Debug)]
pub struct Finished<'a> {
    /// The run.
    pub run: RunId,
    /// Its summary.
    pub summary: &'a Summary,
    /// Its labels.
    pub labels: &'a Labels,
    /// All its events.
    pub events: &'a Encoded,
}

/// A finished run as it was read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FinishedRun {
    /// The run.
    pub run: RunId,
    /// Its summary.
    pub summary: Summary,
    /// Its labels.
    pub labels: Labels,
    /// All its events.
    pub events: Encoded,
}

/// A record met while opening, without its events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryEntry {
    /// The run.
    pub run: RunId,
    /// Its summary.
    pub summary: Summary,
    /// Its labels.
    pub labels: Labels,
    /// Where the record lies.
    pub place: Place,
}

/// What a record means to the store when retention comes to its segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is the run: with it the run is gone.
    Current,
    /// A newer record, or the live table, holds the run.
    Superseded,
    /// The run was reopened and its earlier events are durable nowhere else: the segment stays.
    Needed,
}

/// Calls the fault hook, if there is one.
fn hit(options: &HistoryOptions, point: &'static str, dir: &Path) -> Result<(), Error> {
    let Some(hook) = &options.faults else {
        return Ok(());
    };
    hook(point).map_err(io_error(point, dir))
}

/// Makes creations and removals in a directory durable.
fn sync_directory(dir: &Path) -> Result<(), Error> {
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(io_error("syncing the directory", dir))
}

/// What an I/O error becomes while `doing` something with `path`.
fn io_error(doing: &str, path: &Path) -> impl Fn(std::io::Error) -> Error {
    move |error| Error::Io {
        context: format!("{doing} {}", path.display()),
        source: Arc::new(error),
    }
}

#[cfg(test)]
mod tests;
