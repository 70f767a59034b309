//! What goes wrong in a store.

use std::sync::Arc;

use crane_core::{Epoch, RunId, Seq, ShardId};

/// Why a store refused or failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The shard is owned in another epoch; its actors must stop.
    #[error("shard {shard} is owned in another epoch (now {current:?})")]
    Fenced {
        /// The shard.
        shard: ShardId,
        /// Its epoch, if known.
        current: Option<Epoch>,
    },
    /// The run is not where the writer thinks; the writer must reload it.
    #[error("run {run} is at event {stored}, the write expected {expected}")]
    Conflict {
        /// The run.
        run: RunId,
        /// Its last stored event.
        stored: Seq,
        /// What the writer expected.
        expected: Seq,
    },
    /// Free disk space is below the reserve: no new runs until space returns.
    #[error("free disk space is below the reserve of {reserve} bytes ({free} bytes free)")]
    DiskReserve {
        /// Bytes free.
        free: u64,
        /// Bytes to keep free.
        reserve: u64,
    },
    /// Another process holds the directory.
    #[error(
        "{path} is in use by another process{holder}; a node that serves it is asked with --server \
         URL (or CRANE_SERVER); otherwise stop the process, or choose another --data"
    )]
    InUse {
        /// The directory.
        path: String,
        /// " (pid N)" if known.
        holder: String,
    },
    /// Stored bytes are damaged.
    #[error("{file} is damaged at offset {offset}: {detail}")]
    Corrupt {
        /// The file.
        file: String,
        /// Where, in bytes.
        offset: u64,
        /// What was found.
        detail: String,
    },
    /// A stored value is of a version that this program does not know.
    #[error(
        "a stored {what} has schema version {version}, and this program knows versions up to \
         {newest}; use the newer version of crane that wrote it"
    )]
    Schema {
        /// What kind of value.
        what: &'static str,
        /// Its version.
        version: u16,
        /// The newest version known.
        newest: u16,
    },
    /// A write of a tool passes a bound of `crane_core::limits`; nothing was written.
    #[error("{what} takes {size}, and the limit is {limit}")]
    Limit {
        /// What is too large, with the tool's name.
        what: String,
        /// How large it would be.
        size: usize,
        /// What is allowed.
        limit: usize,
    },
    /// Reading or writing files failed.
    #[error("{context}: {source}")]
    Io {
        /// What was being done, with the path.
        context: String,
        /// The system's error.
        source: Arc<std::io::Error>,
    },
    /// The database cannot be reached or does not answer; it may do so later.
    #[error("the database is not available: {0}")]
    Unavailable(Arc<str>),
    /// The database answered with an error that will not pass by itself.
    #[error("{context}: {detail}")]
    Database {
        /// What was being done.
        context: String,
        /// The database's words.
        detail: Arc<str>,
    },
    /// The database must not be used as it is: its version, its settings, its permissions.
    #[error("{0}")]
    Unsuitable(Arc<str>),
    /// The node's lease has run out or was ended: it owns nothing any more, and its actors must
    /// stop. It may acquire shards again, in new epochs.
    #[error("node {node} has lost its lease: {reason}")]
    LeaseLost {
        /// The node.
        node: Arc<str>,
        /// How.
        reason: Arc<str>,
    },
    /// The store has stopped; outcomes of writes in flight are unknown. The process must end.
    #[error("the store has stopped: {0}")]
    Fatal(Arc<str>),
}
