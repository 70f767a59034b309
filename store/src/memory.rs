//! The store in memory: the twin of the durable ones, for tests of everything above a store.
//!
//! ```text
//!   submit ──> queue ──> one thread: fence, expected seq, apply ──> ack
//! ```
//!
//! It keeps every rule of [`RunStore`] but durability: data lives as long as some handle made by
//! [`MemoryStore::reopen`] does. Failures can be injected. Like the durable stores it calls acks
//! from its own thread, after the lock on the data is gone.

mod data;
mod worker;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

use crane_core::ids::SHARD_COUNT;
use crane_core::{Epoch, Json, RunId, RunStatus, ShardId};
use futures_core::future::BoxFuture;
use futures_core::stream::BoxStream;
use futures_util::{FutureExt, StreamExt, future, stream};
use tokio::sync::{oneshot, watch};

use data::{Data, lock};
use worker::{Job, Worker};

use crate::catalog::Catalog;
use crate::tool_data::ToolData;
use crate::{
    Ack, Error, Fence, Filter, Listing, Page, RunImage, RunStore, Summary, Unfinished, Write,
};

/// A store whose data are gone with its last handle.
pub struct MemoryStore {
    data: Arc<Mutex<Data>>,
    queue: Sender<Job>,
    failed: watch::Receiver<Option<Arc<str>>>,
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
