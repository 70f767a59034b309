//! Where Crane keeps its runs.
//!
//! A store knows a run as an id, a summary and an append-only list of encoded events; the run's
//! state is the fold of its events and is never stored by itself (docs/adr/001). Everything that
//! is acknowledged is durable.
//!
//! ```text
//!   append / tool write ──> queue ──> journal (fdatasync) ──> live table, catalog ──> ack
//!                                        │ a segment is due for recycling, or a run was passivated
//!                                        ├──> snapshot in sled (live runs)
//!                                        └──> history segment (ended runs)
//! ```
//!
//! That is the embedded store; [`postgres`] keeps the same promises for a cluster of nodes.
//!
//! Architecture Invariant: only this crate names sled, bincode and tokio-postgres.

pub mod catalog;
pub mod codec;
pub mod conformance;
pub mod embedded;
mod error;
pub mod faults;
pub mod history;
pub mod leases;
pub mod memory;
pub mod metrics;
pub mod postgres;
mod schema;
pub mod tool_data;
mod waiter;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crane_core::event::Labels;
use crane_core::{Epoch, Json, Record, Round, Run, RunId, RunStatus, Seq, ShardId, Timestamp};
use futures_core::future::BoxFuture;
use futures_core::stream::BoxStream;

pub use error::Error;

/// The right to write to a shard: the shard and the epoch in which it was acquired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fence {
    /// The shard.
    pub shard: ShardId,
    /// The epoch of its owner.
    pub epoch: Epoch,
}

/// What can be known of a run without decoding its events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Its last durable event.
    pub seq: Seq,
    /// Where it stands.
    pub status: RunStatus,
    /// How often it was opened.
    pub round: Round,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When it ended, if it has.
    pub completed_at: Option<Timestamp>,
    /// When its earliest timer is due, while it waits.
    pub wake_at: Option<Timestamp>,
}

/// Events of one run, in order, in the stored encoding of the current schema version.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Encoded {
    /// Number of events.
    pub count: u32,
    /// Their bytes; encodings of consecutive batches may be concatenated.
    pub bytes: Vec<u8>,
}

impl fmt::Debug for Encoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} events in {} bytes", self.count, self.bytes.len())
    }
}

/// One batch of events of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append {
    /// The right to write.
    pub fence: Fence,
    /// The run.
    pub run: RunId,
    /// The run's last event before this batch; 0 creates the run.
    pub expected: Seq,
    /// The run's summary after this batch.
    pub summary: Summary,
    /// The run's labels; only with the batch that creates it.
    pub labels: Option<Arc<Labels>>,
    /// The events.
    pub events: Encoded,
    /// Whether the caller waits for it; a lazy batch may ride with the next eager one, or leaves
    /// after [`crane_core::limits::LAZY_DELAY`].
    pub eager: bool,
}

impl Append {
    /// The batch that takes `run` to where it is now by `records`, which were already applied.
    ///
    /// # Panics
    /// Never; an empty `records` gives an empty batch, which stores refuse as a conflict.
    pub fn new(epoch: Epoch, run: &Run, records: &[Record], eager: bool) -> Self {
        let expected = records.first().map_or(run.seq, |r| Seq(r.seq.0 - 1));
        let labels = match &run.accepted {
            Some(accepted) if expected == Seq(0) && !accepted.labels.is_empty() => {
                Some(Arc::new(accepted.labels.clone()))
            }
            _ => None,
        };
        Self {
            fence: Fence {
                shard: run.id.shard(),
                epoch,
            },
            run: run.id,
            expected,
            summary: Summary {
                seq: run.seq,
                status: run.status(),
                round: run.round,
                created_at: run.created_at,
                completed_at: run.completed_at,
                wake_at: run.wake_at(),
            },
            labels,
            events: codec::encode(records),
            eager,
        }
    }
}

/// A write of a stateful tool, together with the result that a repeat of it must return.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolWrite {
    /// The tool.
    pub tool: String,
    /// The run on whose behalf it is made, if any; the remembered result lives as long as it.
    pub run: Option<RunId>,
    /// Idempotency key: a second write with the same tool and key changes nothing.
    pub key: String,
    /// Rows to put (`Some`) or to delete (`None`).
    pub rows: BTreeMap<String, Option<Json>>,
    /// What the call returned.
    pub result: Json,
}

/// One write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Events of a run.
    Append(Append),
    /// Rows of a stateful tool.
    Tool(ToolWrite),
}

/// Called exactly once: `Ok` when the write is durable and visible to readers.
pub type Ack = Box<dyn FnOnce(Result<(), Error>) + Send>;

/// A run as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunImage {
    /// The run.
    pub run: RunId,
    /// Its summary.
    pub summary: Summary,
    /// All its events.
    pub events: Encoded,
}

/// An unfinished run, as met on restore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfinished {
    /// The run.
    pub run: RunId,
    /// Its summary.
    pub summary: Summary,
}

/// Which runs to list; an empty filter means all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only runs with one of these statuses; empty means any.
    pub statuses: Vec<RunStatus>,
    /// Only runs with all of these labels.
    pub labels: Vec<(String, String)>,
}

/// Which part of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// Runs to skip.
    pub offset: usize,
    /// Runs to return at most.
    pub limit: usize,
}

/// A page of runs, ordered by (created_at, run_id) descending.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Runs that match the filter, on all pages.
    pub total: usize,
    /// The runs of this page.
    pub runs: Vec<(RunId, Summary)>,
}

/// A store of runs. Cheap to share behind an `Arc`; none of its methods blocks the caller on disk.
pub trait RunStore: fmt::Debug + Send + Sync + 'static {
    /// Queues one write. `ack` is called exactly once, from another thread, after the write and
    /// all writes queued before it for the same run are durable, or when it failed. An append is
    /// idempotent: the same (run, seq) with the same bytes succeeds again.
    fn submit(&self, write: Write, ack: Ack);

    /// The run with all its durable events, live or ended; `None` if there is no such run (any
    /// more).
    fn load(&self, run: RunId) -> BoxFuture<'_, Result<Option<RunImage>, Error>>;

    /// The run's summary alone.
    fn summary(&self, run: RunId) -> BoxFuture<'_, Result<Option<Summary>, Error>>;

    /// Runs by filter and page, without reading any run's events.
    fn list(&self, filter: Filter, page: Page) -> BoxFuture<'_, Result<Listing, Error>>;

    /// Number of runs by status.
    fn counts(&self) -> BoxFuture<'_, Result<BTreeMap<RunStatus, usize>, Error>>;

    /// Every unfinished run of these shards, oldest first.
    fn restore(&self, shards: Vec<Fence>) -> BoxStream<'_, Result<Unfinished, Error>>;

    /// Takes ownership of shards; from now on older epochs are refused. Shards that another living
    /// node owns are left to it and missing in the answer.
    fn acquire(&self, shards: Vec<ShardId>) -> BoxFuture<'_, Result<Vec<Fence>, Error>>;

    /// Renews the lease on everything acquired; `Err` means it is lost.
    fn renew(&self) -> BoxFuture<'_, Result<(), Error>>;

    /// For how long from now an owner may start steps and call tools; zero when its lease is lost,
    /// `None` when nobody else can ever own its shards. Cheap: ask before each start.
    fn lease_left(&self) -> Option<Duration> {
        None
    }

    /// Gives shards back.
    fn release(&self, held: Vec<Fence>) -> BoxFuture<'_, Result<(), Error>>;

    /// A hint: the run's actor has stopped and its events need not be held in memory.
    fn passivate(&self, run: RunId);

    /// The result that a write of `tool` with this key has returned, if there was one.
    fn tool_result(&self, tool: &str, key: &str) -> BoxFuture<'_, Result<Option<Json>, Error>>;

    /// One row of a stateful tool.
    fn tool_row(&self, tool: &str, row: &str) -> BoxFuture<'_, Result<Option<Json>, Error>>;

    /// All rows of a stateful tool, by key.
    fn tool_rows(&self, tool: &str) -> BoxFuture<'_, Result<Vec<(String, Json)>, Error>>;

    /// Moves what can be moved out of the journal now, instead of when a segment is due.
    fn checkpoint(&self) -> BoxFuture<'_, Result<(), Error>>;

    /// Resolves when the store has stopped by itself, with the reason.
    fn failed(&self) -> BoxFuture<'static, Arc<str>>;

    /// Whether new runs are refused at the moment, and why.
    fn refusing(&self) -> Option<Error>;

    /// Sends a question the way of a write, up to its sync and back, and leaves no trace: `Ok` means
    /// that a write would have become durable. It is under way when this returns, whether or not
    /// the future is polled.
    fn probe(&self) -> BoxFuture<'static, Result<(), Error>>;

    /// Makes everything durable and stops; later writes get [`Error::Fatal`].
    fn close(&self) -> BoxFuture<'_, Result<(), Error>>;
}

/// Queues a write and waits until it is durable.
///
/// # Errors
/// As [`RunStore::submit`] reports them.
pub async fn commit(store: &dyn RunStore, write: Write) -> Result<(), Error> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    store.submit(
        write,
        Box::new(move |result| {
            // The waiter may be gone; the write counts all the same.
            let _ = sender.send(result);
        }),
    );
    receiver
        .await
        .unwrap_or_else(|_| Err(Error::Fatal("the write was dropped".into())))
}

/// How long finished runs are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Runs that ended longer ago than this may be removed.
    pub age: Duration,
    /// Oldest runs are removed when history takes more bytes than this.
    pub bytes: u64,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            age: Duration::from_secs(7 * 24 * 3600),
            bytes: 20 << 30,
        }
    }
}
