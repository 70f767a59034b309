//! The store in memory: the twin of the durable ones, for tests of everything above a store.
//!
//! ```text
//!   submit ──> queue ──> one thread: fence, expected seq, apply ──> ack
//! ```
//!
//! It keeps every rule of [`RunStore`] but durability: data lives as long as some handle made by
//! [`MemoryStore::reopen`] does. Failures can be injected. Like the durable stores it calls acks
//! from its own thread, after the lock on the data is gone.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use crane_core::ids::SHARD_COUNT;
use crane_core::{Epoch, Json, RunId, RunStatus, Seq, ShardId};
use futures_core::future::BoxFuture;
use futures_core::stream::BoxStream;
use futures_util::{FutureExt, StreamExt, future, stream};
use tokio::sync::{oneshot, watch};

use crate::catalog::Catalog;
use crate::tool_data::ToolData;
use crate::{
    Ack, Append, Encoded, Error, Fence, Filter, Listing, Page, RunImage, RunStore, Summary,
    Unfinished, Write, codec,
};

/// A store whose data are gone with its last handle.
pub struct MemoryStore {
    data: Arc<Mutex<Data>>,
    queue: Sender<Job>,
    failed: watch::Receiver<Option<Arc<str>>>,
}

enum Job {
    Write(Write, Ack),
    Probe(Ack),
    Hold(Receiver<()>),
    Close(oneshot::Sender<()>),
}

struct Data {
    runs: HashMap<RunId, Encoded>,
    catalog: Catalog,
    tools: ToolData,
    /// By shard; 0 means that it was never acquired.
    epochs: Vec<Epoch>,
    fail_next: Option<Arc<str>>,
    /// Bytes free and bytes to keep free, while new runs are refused.
    reserve: Option<(u64, u64)>,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore")
            .field("runs", &self.lock().catalog.len())
            .finish_non_exhaustive()
    }
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::on(Arc::new(Mutex::new(Data {
            runs: HashMap::new(),
            catalog: Catalog::default(),
            tools: ToolData::default(),
            epochs: vec![Epoch(0); SHARD_COUNT.into()],
            fail_next: None,
            reserve: None,
        })))
    }

    /// Another store on the same data, as after a restart: it works although this one was closed
    /// or has failed.
    #[must_use]
    pub fn reopen(&self) -> Self {
        Self::on(Arc::clone(&self.data))
    }

    /// The next write fails and the store with it: as when a disk breaks.
    pub fn fail_next_write(&self, reason: &str) {
        self.lock().fail_next = Some(reason.into());
    }

    /// No write is carried out before what this returns is dropped: as when a disk hangs.
    pub fn hold_writes(&self) -> Sender<()> {
        let (hold, held) = channel();
        self.send(Job::Hold(held));
        hold
    }

    /// Refuses new runs, with these figures of `(free, reserve)` bytes, until called with `None`.
    pub fn set_disk_reserve(&self, reserve: Option<(u64, u64)>) {
        self.lock().reserve = reserve;
    }

    /// Removes every ended run, as retention does with old ones.
    pub fn retire_ended(&self) {
        let Data {
            runs,
            catalog,
            tools,
            ..
        } = &mut *self.lock();
        runs.retain(|run, _| {
            let entry = catalog.get(*run);
            let keep = entry.is_some_and(|entry| !entry.summary.status.is_ended());
            if !keep {
                catalog.remove(*run);
                tools.forget_run(*run);
            }
            keep
        });
    }

    fn on(data: Arc<Mutex<Data>>) -> Self {
        let (queue, jobs) = channel();
        let (report, failed) = watch::channel(None);
        let worker = Worker {
            data: Arc::clone(&data),
            report,
            stopped: None,
        };
        // Ends when the handle is dropped. Not joined: an ack may own the handle.
        thread::spawn(move || worker.work(&jobs));
        Self {
            data,
            queue,
            failed,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Data> {
        lock(&self.data)
    }

    fn send(&self, job: Job) {
        if let Err(unsent) = self.queue.send(job)
            && let Job::Write(_, ack) | Job::Probe(ack) = unsent.0
        {
            // An ack panicked and took the store's thread with it. Callers may hold locks here,
            // so this ack, too, comes from elsewhere.
            thread::spawn(move || ack(Err(Error::Fatal("its thread has died".into()))));
        }
    }
}

fn lock(data: &Mutex<Data>) -> MutexGuard<'_, Data> {
    data.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The thread behind a handle.
struct Worker {
    data: Arc<Mutex<Data>>,
    report: watch::Sender<Option<Arc<str>>>,
    /// Why nothing is written any more.
    stopped: Option<Arc<str>>,
}

impl Worker {
    fn work(mut self, jobs: &Receiver<Job>) {
        while let Ok(first) = jobs.recv() {
            // As the journal does: all that has queued up makes one batch.
            let batch: Vec<Job> = std::iter::once(first).chain(jobs.try_iter()).collect();
            let mut acks = Vec::with_capacity(batch.len());
            let mut closed = Vec::new();
            for job in &batch {
                if let Job::Hold(held) = job {
                    // Its end is what is waited for; nothing is ever sent.
                    let _ = held.recv();
                }
            }
            let data = Arc::clone(&self.data);
            let mut data = lock(&data);
            for job in batch {
                match job {
                    Job::Hold(_) => {}
                    Job::Write(write, ack) => acks.push((ack, self.write(&mut data, write))),
                    Job::Probe(ack) => {
                        let stopped = self.stopped.clone();
                        acks.push((ack, stopped.map_or(Ok(()), |why| Err(Error::Fatal(why)))));
                    }
                    Job::Close(done) => {
                        self.stopped.get_or_insert_with(|| "it was closed".into());
                        closed.push(done);
                    }
                }
            }
            drop(data);
            for (ack, result) in acks {
                ack(result);
            }
            for done in closed {
                // Whoever closed it may have gone.
                let _ = done.send(());
            }
        }
    }

    fn write(&mut self, data: &mut Data, write: Write) -> Result<(), Error> {
        if let Some(reason) = data.fail_next.take() {
            self.stopped = Some(Arc::clone(&reason));
            self.report.send_replace(Some(reason));
        }
        if let Some(reason) = &self.stopped {
            return Err(Error::Fatal(Arc::clone(reason)));
        }
        match write {
            Write::Append(append) => data.append(&append),
            Write::Tool(write) => {
                data.tools.check(&write)?;
                data.tools.apply(&write);
                Ok(())
            }
        }
    }
}

impl Data {
    fn append(&mut self, append: &Append) -> Result<(), Error> {
        self.check_fence(append)?;
        let stored = self
            .catalog
            .get(append.run)
            .map_or(Seq(0), |entry| entry.summary.seq);
        let conflict = Err(Error::Conflict {
            run: append.run,
            stored,
            expected: append.expected,
        });
        let count = u64::from(append.events.count);
        let upto = append.expected.0.saturating_add(count);
        if count == 0 || upto != append.summary.seq.0 {
            return conflict;
        }
        if append.expected != stored {
            let is_repeat = upto <= stored.0 && self.holds(append)?;
            return if is_repeat { Ok(()) } else { conflict };
        }
        if let (Some((free, reserve)), Seq(0)) = (self.reserve, stored) {
            return Err(Error::DiskReserve { free, reserve });
        }
        let events = self.runs.entry(append.run).or_default();
        events.count += append.events.count;
        events.bytes.extend_from_slice(&append.events.bytes);
        self.catalog
            .live(append.run, &append.summary, append.labels.as_deref());
        Ok(())
    }

    fn check_fence(&self, append: &Append) -> Result<(), Error> {
        let shard = append.run.shard();
        let current = self.epochs[usize::from(shard.0)];
        let is_owner = append.fence.epoch == current && append.fence.shard == shard;
        if is_owner && current > Epoch(0) {
            return Ok(());
        }
        Err(Error::Fenced {
            shard,
            current: Some(current),
        })
    }

    /// Whether the events of `append` are stored already, byte by byte.
    fn holds(&self, append: &Append) -> Result<bool, Error> {
        let Some(events) = self.runs.get(&append.run) else {
            return Ok(false);
        };
        let stored = codec::slice(&events.bytes, append.expected, append.events.count)?;
        Ok(stored.is_some_and(|stored| stored == append.events.bytes))
    }
}

impl RunStore for MemoryStore {
    fn submit(&self, write: Write, ack: Ack) {
        self.send(Job::Write(write, ack));
    }

    fn load(&self, run: RunId) -> BoxFuture<'_, Result<Option<RunImage>, Error>> {
        let data = self.lock();
        let image = data.catalog.get(run).map(|entry| RunImage {
            run,
            summary: entry.summary,
            events: data.runs.get(&run).cloned().unwrap_or_default(),
        });
        future::ready(Ok(image)).boxed()
    }

    fn summary(&self, run: RunId) -> BoxFuture<'_, Result<Option<Summary>, Error>> {
        let entry = self.lock().catalog.get(run);
        future::ready(Ok(entry.map(|entry| entry.summary))).boxed()
    }

    fn list(&self, filter: Filter, page: Page) -> BoxFuture<'_, Result<Listing, Error>> {
        future::ready(Ok(self.lock().catalog.list(&filter, page))).boxed()
    }

    fn counts(&self) -> BoxFuture<'_, Result<BTreeMap<RunStatus, usize>, Error>> {
        future::ready(Ok(self.lock().catalog.counts())).boxed()
    }

    fn restore(&self, shards: Vec<Fence>) -> BoxStream<'_, Result<Unfinished, Error>> {
        let mut runs = self.lock().catalog.unfinished();
        runs.retain(|run| shards.iter().any(|fence| fence.shard == run.run.shard()));
        stream::iter(runs.into_iter().map(Ok)).boxed()
    }

    fn acquire(&self, shards: Vec<ShardId>) -> BoxFuture<'_, Result<Vec<Fence>, Error>> {
        let epochs = &mut self.lock().epochs;
        let fences = shards
            .into_iter()
            .map(|shard| {
                let epoch = &mut epochs[usize::from(shard.0)];
                epoch.0 += 1;
                Fence {
                    shard,
                    epoch: *epoch,
                }
            })
            .collect();
        future::ready(Ok(fences)).boxed()
    }

    fn renew(&self) -> BoxFuture<'_, Result<(), Error>> {
        future::ready(Ok(())).boxed()
    }

    fn release(&self, held: Vec<Fence>) -> BoxFuture<'_, Result<(), Error>> {
        let epochs = &mut self.lock().epochs;
        for fence in held {
            let epoch = &mut epochs[usize::from(fence.shard.0)];
            if *epoch == fence.epoch {
                epoch.0 += 1;
            }
        }
        future::ready(Ok(())).boxed()
    }

    fn passivate(&self, _run: RunId) {
        // There is nowhere else to put it.
    }

    fn tool_result(&self, tool: &str, key: &str) -> BoxFuture<'_, Result<Option<Json>, Error>> {
        future::ready(Ok(self.lock().tools.result(tool, key))).boxed()
    }

    fn tool_row(&self, tool: &str, row: &str) -> BoxFuture<'_, Result<Option<Json>, Error>> {
        future::ready(Ok(self.lock().tools.row(tool, row))).boxed()
    }

    fn tool_rows(&self, tool: &str) -> BoxFuture<'_, Result<Vec<(String, Json)>, Error>> {
        future::ready(Ok(self.lock().tools.rows(tool))).boxed()
    }

    fn checkpoint(&self) -> BoxFuture<'_, Result<(), Error>> {
        future::ready(Ok(())).boxed()
    }

    fn failed(&self) -> BoxFuture<'static, Arc<str>> {
        let mut failed = self.failed.clone();
        async move {
            let reason = failed.wait_for(Option::is_some).await;
            let reason = reason.ok().and_then(|reason| reason.clone());
            match reason {
                Some(reason) => reason,
                // The store was dropped in good health.
                None => future::pending().await,
            }
        }
        .boxed()
    }

    fn refusing(&self) -> Option<Error> {
        let (free, reserve) = self.lock().reserve?;
        Some(Error::DiskReserve { free, reserve })
    }

    fn probe(&self) -> BoxFuture<'static, Result<(), Error>> {
        let (answer, outcome) = oneshot::channel();
        // Whoever asked may have lost patience.
        self.send(Job::Probe(Box::new(move |result| {
            drop(answer.send(result));
        })));
        async move {
            outcome
                .await
                .unwrap_or_else(|_| Err(Error::Fatal("the probe was dropped".into())))
        }
        .boxed()
    }

    fn close(&self) -> BoxFuture<'_, Result<(), Error>> {
        async {
            let (done, closed) = oneshot::channel();
            // A thread that is gone has nothing left to write.
            if self.queue.send(Job::Close(done)).is_ok() {
                let _ = closed.await;
            }
            Ok(())
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests;
