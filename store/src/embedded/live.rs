//! The live table: unfinished runs, and ended ones on their way to history, with those of their
//! events that no snapshot in sled holds.
//!
//! ```text
//!   events of a run:   1 ......... base | base+1 ............ seq
//!                      in sled, durable | chunks, in memory and in the journal
//! ```
//!
//! A chunk is what one append brought, so snapshots always end where a chunk ends. Chunks are
//! shared, so a reader holds a lock only as long as it takes to count references.
//!
//! What never lives here: labels (the catalog has them), files.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use crane_core::{RunId, Seq};

use super::{Mutex, lock};
use crate::{Append, Encoded, Summary};

/// Shards of the table; a power of two.
const SHARDS: usize = 64;

/// Pseudo segment of events that came from history when an ended run was reopened: they are
/// durable there, and must be in a snapshot before that record is removed.
pub(crate) const FROM_HISTORY: u32 = 0;

/// What one append brought.
#[derive(Debug)]
pub(crate) struct Chunk {
    /// The run's last event before these.
    pub(crate) expected: Seq,
    /// The journal segment that holds them.
    pub(crate) segment: u32,
    /// The events.
    pub(crate) events: Encoded,
}

/// A run of the table.
#[derive(Clone, Debug)]
pub(crate) struct Live {
    /// Its summary after its last durable event.
    pub(crate) summary: Summary,
    /// Its events up to this one are in a durable snapshot; 0 when there is none.
    pub(crate) base: Seq,
    /// Its events after that.
    pub(crate) chunks: Vec<Arc<Chunk>>,
    /// The journal has accepted events of it that are not durable yet, so it must stay here.
    pub(crate) held: bool,
}

impl Live {
    /// The oldest journal segment this run still needs.
    pub(crate) fn oldest(&self) -> Option<u32> {
        self.chunks.first().map(|chunk| chunk.segment)
    }
}

/// As [`LiveTable::push`], on runs that no thread shares yet.
pub(crate) fn push(
    runs: &mut RunMap<Live>,
    run: RunId,
    summary: Summary,
    chunk: Arc<Chunk>,
) -> bool {
    match runs.get_mut(&run) {
        Some(live) => {
            live.summary = summary;
            live.chunks.push(chunk);
            live.held = false;
            live.chunks.len() == 1
        }
        None => {
            let live = Live {
                summary,
                base: Seq(0),
                chunks: vec![chunk],
                held: false,
            };
            runs.insert(run, live);
            true
        }
    }
}

/// Run ids are random or hashes already: mixing half of one is enough.
#[derive(Default)]
pub(crate) struct RunIdHasher(u64);

impl Hasher for RunIdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        // The last eight bytes; the first of them holds the variant bits, hence the multiplication
        // (Fibonacci hashing), which spreads them.
        if let Some(tail) = bytes.last_chunk::<8>() {
            self.0 = u64::from_le_bytes(*tail).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        }
    }
}

/// A hash map by run id.
pub(crate) type RunMap<T> = HashMap<RunId, T, BuildHasherDefault<RunIdHasher>>;

/// All runs that are not in history.
#[derive(Debug)]
pub(crate) struct LiveTable {
    shards: Vec<Mutex<RunMap<Live>>>,
}

impl LiveTable {
    /// A table of these runs.
    pub(crate) fn new(runs: RunMap<Live>) -> Self {
        let mut shards: Vec<RunMap<Live>> = (0..SHARDS).map(|_| RunMap::default()).collect();
        for (run, live) in runs {
            shards[shard_of(run)].insert(run, live);
        }
        Self {
            shards: shards.into_iter().map(Mutex::new).collect(),
        }
    }

    fn with<T>(&self, run: RunId, act: impl FnOnce(&mut RunMap<Live>) -> T) -> T {
        act(&mut lock(&self.shards[shard_of(run)]))
    }

    /// A copy of a run; its events are shared, not copied.
    pub(crate) fn get(&self, run: RunId) -> Option<Live> {
        self.with(run, |runs| runs.get(&run).cloned())
    }

    /// A run's last durable event. When that is `expected`, the run is held until more events are
    /// pushed: else it might go to history while a reopening is on its way to the disk.
    pub(crate) fn hold(&self, run: RunId, expected: Seq) -> Option<Seq> {
        self.with(run, |runs| {
            let live = runs.get_mut(&run)?;
            live.held |= live.summary.seq == expected;
            Some(live.summary.seq)
        })
    }

    /// The oldest segment a run needs, if it is here and needs any.
    pub(crate) fn oldest(&self, run: RunId) -> Option<u32> {
        self.with(run, |runs| runs.get(&run).and_then(Live::oldest))
    }

    /// Whether `append` repeats exactly one earlier append whose events are in memory.
    pub(crate) fn repeats(&self, append: &Append) -> bool {
        self.with(append.run, |runs| {
            let Some(live) = runs.get(&append.run) else {
                return false;
            };
            let at = live
                .chunks
                .binary_search_by_key(&append.expected, |chunk| chunk.expected);
            at.is_ok_and(|at| live.chunks[at].events == append.events)
        })
    }

    /// Adds durable events; returns whether the run needs a segment from now on and did not before.
    pub(crate) fn push(&self, run: RunId, summary: Summary, chunk: Arc<Chunk>) -> bool {
        self.with(run, |runs| push(runs, run, summary, chunk))
    }

    /// Takes in a run that was in history; keeps what is here if it is here already.
    pub(crate) fn thaw(&self, run: RunId, live: Live) {
        self.with(run, |runs| {
            runs.entry(run).or_insert(live);
        });
    }

    /// Notes that the run's events up to `seq` are in a durable snapshot and need not be in
    /// memory; returns the oldest segment that it needs for the others.
    pub(crate) fn snapshotted(&self, run: RunId, seq: Seq) -> Option<u32> {
        self.with(run, |runs| {
            let live = runs.get_mut(&run)?;
            live.base = live.base.max(seq);
            live.chunks.retain(|chunk| chunk.expected >= seq);
            live.chunks.shrink_to_fit();
            live.oldest()
        })
    }

    /// Removes a run that ended with `seq`; returns false when it has gone on since, or is about to.
    pub(crate) fn remove_ended(&self, run: RunId, seq: Seq) -> bool {
        self.with(run, |runs| {
            let may_go = runs.get(&run).is_some_and(|live| {
                live.summary.seq == seq && live.summary.status.is_ended() && !live.held
            });
            may_go && runs.remove(&run).is_some()
        })
    }
}

fn shard_of(run: RunId) -> usize {
    let mut hasher = RunIdHasher::default();
    hasher.write(&run.to_bytes());
    // The table inside uses the highest and the lowest bits.
    (hasher.finish() >> 32) as usize % SHARDS
}
