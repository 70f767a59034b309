//! Threads that read from disk, so that neither callers nor the journal ever wait for one.
//!
//! They load runs whose events are in sled or in history, compare a repeated append with what is
//! stored, and bring a run back from history when it is reopened.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, PoisonError};

use crane_core::{RunId, Seq, limits};
use tokio::sync::oneshot;

use super::live::{Chunk, FROM_HISTORY, Live};
use super::queue::{Job, Task, Waiter};
use super::snapshots::Snapshot;
use super::{Mutex, Shared, lock, read};
use crate::history::FinishedRun;
use crate::{Append, Encoded, Error, RunImage, Summary, Write, codec};

/// Number of threads: one that waits for the disk must not hold up the other's page cache hits.
pub(crate) const THREADS: usize = 2;

/// Something to read.
pub(crate) enum Request {
    /// A run with all its events.
    Load(RunId, oneshot::Sender<Result<Option<RunImage>, Error>>),
    /// Whether an append whose events are stored already has the same bytes.
    Compare(Append, Waiter),
    /// An append to a run that is in history: queued again when the run is in the live table.
    Thaw(Job),
}

#[derive(Default)]
struct Inner {
    requests: VecDeque<Request>,
    ended: bool,
}

/// The readers' queue; bounded by its callers, of whom each waits for its answer.
#[derive(Default)]
pub(crate) struct Readers {
    inner: Mutex<Inner>,
    wake: Condvar,
}

impl std::fmt::Debug for Readers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Readers")
    }
}

impl Readers {
    /// Queues a request.
    pub(crate) fn push(&self, request: Request) {
        lock(&self.inner).requests.push_back(request);
        self.wake.notify_one();
    }

    /// The store is gone.
    pub(crate) fn end(&self) {
        lock(&self.inner).ended = true;
        self.wake.notify_all();
    }

    fn next(&self) -> Option<Request> {
        let mut inner = lock(&self.inner);
        loop {
            if inner.ended {
                // Dropping what is left tells its waiters.
                inner.requests.clear();
                return None;
            }
            if let Some(request) = inner.requests.pop_front() {
                return Some(request);
            }
            inner = self
                .wake
                .wait(inner)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// The body of a reading thread.
pub(crate) fn run(shared: &Shared) {
    while let Some(request) = shared.readers.next() {
        match request {
            Request::Load(run, answer) => {
                // The caller may have gone away.
                let _ = answer.send(load(shared, run));
            }
            Request::Compare(append, waiter) => waiter.tell(compare(shared, &append)),
            Request::Thaw(job) => thaw(shared, job),
        }
    }
}

/// A run as it is in memory alone, when it is; else it must be asked of the readers.
pub(crate) fn load_from_memory(shared: &Shared, run: RunId) -> Option<RunImage> {
    let live = shared.live.get(run)?;
    (live.base == Seq(0)).then(|| RunImage {
        run,
        events: join(&live.chunks, Seq(0), Encoded::default()),
        summary: live.summary,
    })
}

fn load(shared: &Shared, run: RunId) -> Result<Option<RunImage>, Error> {
    // A run moves on from the live table to history, and from there into nothing; between two
    // looks it may have been in both or in neither.
    for _ in 0..limits::MOVED_RUN_TRIES {
        if let Some(live) = shared.live.get(run) {
            let snapshot = match live.base {
                Seq(0) => None,
                Seq(_) => match lock(&shared.snapshots).as_ref() {
                    Some(snapshots) => snapshots.get(run)?,
                    None => return Err(shared.stopped()),
                },
            };
            if let Some((summary, events)) = assemble(live, snapshot) {
                return Ok(Some(RunImage {
                    run,
                    summary,
                    events,
                }));
            }
            continue;
        }
        let Some(entry) = read(&shared.catalog).get(run) else {
            return Ok(None);
        };
        let Some(place) = entry.place else { continue };
        if let Some(finished) = shared.history.read(place)? {
            return Ok(Some(RunImage {
                run,
                summary: finished.summary,
                events: finished.events,
            }));
        }
        // Retention removes the record first and tells the catalog when that is durable; if the
        // place has not changed, that is what happened.
        let now = read(&shared.catalog).get(run);
        if now.is_none_or(|now| now.place == Some(place)) {
            return Ok(None);
        }
    }
    Err(Error::Corrupt {
        file: shared.snapshots_dir.display().to_string(),
        offset: 0,
        detail: format!("the snapshot of run {run} is missing"),
    })
}

/// All events of a run from its snapshot, if it has one, and its chunks. A snapshot may be newer
/// than `live`, which was looked at before. `None` when the snapshot is missing.
pub(crate) fn assemble(live: Live, snapshot: Option<Snapshot>) -> Option<(Summary, Encoded)> {
    let Some(snapshot) = snapshot else {
        return (live.base == Seq(0))
            .then(|| (live.summary, join(&live.chunks, Seq(0), Encoded::default())));
    };
    let head = Encoded {
        count: snapshot.count,
        bytes: snapshot.events().to_vec(),
    };
    let events = join(&live.chunks, snapshot.summary.seq, head);
    let summary = if snapshot.summary.seq > live.summary.seq {
        snapshot.summary
    } else {
        live.summary
    };
    Some((summary, events))
}

/// The events of `head` and, after them, of the chunks behind `after`.
fn join(chunks: &[Arc<Chunk>], after: Seq, mut head: Encoded) -> Encoded {
    let rest = || chunks.iter().filter(|chunk| chunk.expected >= after);
    head.bytes
        .reserve_exact(rest().map(|chunk| chunk.events.bytes.len()).sum());
    for chunk in rest() {
        head.count += chunk.events.count;
        head.bytes.extend_from_slice(&chunk.events.bytes);
    }
    head
}

fn compare(shared: &Shared, append: &Append) -> Result<(), Error> {
    let stored = load(shared, append.run)?;
    let conflict = Error::Conflict {
        run: append.run,
        stored: stored.as_ref().map_or(Seq(0), |image| image.summary.seq),
        expected: append.expected,
    };
    let Some(image) = stored else {
        return Err(conflict);
    };
    let same = codec::slice(&image.events.bytes, append.expected, append.events.count)?;
    if same == Some(append.events.bytes.as_slice()) && append.events.count > 0 {
        return Ok(());
    }
    Err(conflict)
}

fn thaw(shared: &Shared, job: Job) {
    let Task::Write(Write::Append(append)) = &job.task else {
        shared.queue.push(job);
        return;
    };
    let run = append.run;
    // Retention must not remove the record between reading it and noting that it is needed.
    let retiring = lock(&shared.retiring);
    let place = read(&shared.catalog).get(run).and_then(|entry| entry.place);
    let found = match place {
        Some(place) => shared.history.read(place),
        // It went on meanwhile, or is gone: the journal sees which.
        None => Ok(None),
    };
    match found {
        Ok(Some(finished)) => {
            shared.live.thaw(run, thawed(finished));
            shared
                .work
                .add(|pile| pile.dirtied.push((FROM_HISTORY, run)));
        }
        Ok(None) => {}
        Err(error) => {
            drop(retiring);
            job.waiter.tell(Err(error));
            return;
        }
    }
    drop(retiring);
    shared.queue.push(job);
}

/// A run from history as the live table holds it.
pub(crate) fn thawed(finished: FinishedRun) -> Live {
    let chunk = Chunk {
        expected: Seq(0),
        segment: FROM_HISTORY,
        events: finished.events,
    };
    Live {
        summary: finished.summary,
        base: Seq(0),
        chunks: vec![Arc::new(chunk)],
        held: false,
    }
}
