//! `EmbeddedStore`: what it answers, and how it ends.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use crane_core::{Json, RunId, RunStatus, ShardId};
use futures_core::future::BoxFuture;
use futures_core::stream::BoxStream;
use futures_util::stream;
use tokio::sync::oneshot;

use super::queue::{Job, Task, Waiter};
use super::readers::{self, Request};
use super::shared::{Phase, Shared};
use super::{lock, read};
use crate::{
    Ack, Error, Fence, Filter, Listing, Page, RunImage, RunStore, Summary, Unfinished, Write,
};

/// The embedded store. See the module.
#[derive(Debug)]
pub struct EmbeddedStore {
    pub(super) shared: Arc<Shared>,
    pub(super) threads: Vec<JoinHandle<()>>,
}

impl EmbeddedStore {
    /// A phase that satisfies `wanted`, once there is one.
    async fn phase(&self, wanted: impl FnMut(&Phase) -> bool) -> Phase {
        let mut phases = self.shared.phase.subscribe();
        // The sender lives in `self.shared`.
        phases
            .wait_for(wanted)
            .await
            .map_or(Phase::Closed, |phase| phase.clone())
    }
}

impl Drop for EmbeddedStore {
    fn drop(&mut self) {
        self.shared.work.add(|pile| pile.abandon = true);
        self.shared.queue.end();
        self.shared.readers.end();
        let current = thread::current().id();
        for thread in self.threads.drain(..) {
            // The last reference may be dropped by an acknowledgement, on the journal's thread.
            if thread.thread().id() != current {
                // A panic was told where it happened.
                let _ = thread.join();
            }
        }
        if self.shared.faults.crashed() {
            // As in the checkpointer: sled flushes when it is dropped, and dead processes do not.
            std::mem::forget(lock(&self.shared.snapshots).take());
        }
    }
}

impl RunStore for EmbeddedStore {
    fn submit(&self, write: Write, ack: Ack) {
        self.shared.queue.push(Job {
            task: Task::Write(write),
            waiter: Waiter::new(ack),
        });
    }

    fn load(&self, run: RunId) -> BoxFuture<'_, Result<Option<RunImage>, Error>> {
        if let Some(image) = readers::load_from_memory(&self.shared, run) {
            return Box::pin(std::future::ready(Ok(Some(image))));
        }
        if read(&self.shared.catalog).get(run).is_none() {
            return Box::pin(std::future::ready(Ok(None)));
        }
        let (answer, image) = oneshot::channel();
        self.shared.readers.push(Request::Load(run, answer));
        Box::pin(async move { image.await.unwrap_or_else(|_| Err(self.shared.stopped())) })
    }

    fn summary(&self, run: RunId) -> BoxFuture<'_, Result<Option<Summary>, Error>> {
        let summary = read(&self.shared.catalog)
            .get(run)
            .map(|entry| entry.summary);
        Box::pin(std::future::ready(Ok(summary)))
    }

    fn list(&self, filter: Filter, page: Page) -> BoxFuture<'_, Result<Listing, Error>> {
        let listing = read(&self.shared.catalog).list(&filter, page);
        Box::pin(std::future::ready(Ok(listing)))
    }

    fn counts(&self) -> BoxFuture<'_, Result<BTreeMap<RunStatus, usize>, Error>> {
        let counts = read(&self.shared.catalog).counts();
        Box::pin(std::future::ready(Ok(counts)))
    }

    fn restore(&self, shards: Vec<Fence>) -> BoxStream<'_, Result<Unfinished, Error>> {
        let shards: HashSet<ShardId> = shards.into_iter().map(|fence| fence.shard).collect();
        let mut unfinished = read(&self.shared.catalog).unfinished();
        unfinished.retain(|run| shards.contains(&run.run.shard()));
        Box::pin(stream::iter(unfinished.into_iter().map(Ok)))
    }

    fn acquire(&self, shards: Vec<ShardId>) -> BoxFuture<'_, Result<Vec<Fence>, Error>> {
        let epoch = self.shared.epoch;
        let fences = shards
            .into_iter()
            .map(|shard| Fence { shard, epoch })
            .collect();
        Box::pin(std::future::ready(
            self.shared.still_open().map(|()| fences),
        ))
    }

    fn renew(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(std::future::ready(self.shared.still_open()))
    }

    fn release(&self, _held: Vec<Fence>) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn passivate(&self, run: RunId) {
        if self.shared.live.oldest(run).is_some() {
            self.shared.work.add(|pile| pile.passive.push(run));
        }
    }

    fn tool_result(&self, tool: &str, key: &str) -> BoxFuture<'_, Result<Option<Json>, Error>> {
        let result = lock(&self.shared.tools).data.result(tool, key);
        Box::pin(std::future::ready(Ok(result)))
    }

    fn tool_row(&self, tool: &str, row: &str) -> BoxFuture<'_, Result<Option<Json>, Error>> {
        let row = lock(&self.shared.tools).data.row(tool, row);
        Box::pin(std::future::ready(Ok(row)))
    }

    fn tool_rows(&self, tool: &str) -> BoxFuture<'_, Result<Vec<(String, Json)>, Error>> {
        let rows = lock(&self.shared.tools).data.rows(tool);
        Box::pin(std::future::ready(Ok(rows)))
    }

    fn checkpoint(&self) -> BoxFuture<'_, Result<(), Error>> {
        let (answer, outcome) = oneshot::channel();
        self.shared.work.add(|pile| pile.requests.push(answer));
        Box::pin(async move { outcome.await.unwrap_or_else(|_| Err(self.shared.stopped())) })
    }

    fn failed(&self) -> BoxFuture<'static, Arc<str>> {
        let mut phases = self.shared.phase.subscribe();
        Box::pin(async move {
            loop {
                if let Phase::Failed(reason) = &*phases.borrow_and_update() {
                    return Arc::clone(reason);
                }
                if phases.changed().await.is_err() {
                    // Dropped without having failed.
                    return std::future::pending().await;
                }
            }
        })
    }

    fn refusing(&self) -> Option<Error> {
        self.shared.disk.refusing()
    }

    fn probe(&self) -> BoxFuture<'static, Result<(), Error>> {
        let (answer, outcome) = oneshot::channel();
        self.shared.queue.push(Job {
            task: Task::Probe,
            // Whoever asked may have lost patience.
            waiter: Waiter::new(Box::new(move |result| drop(answer.send(result)))),
        });
        Box::pin(async move {
            outcome
                .await
                .unwrap_or_else(|_| Err(Error::Fatal("the probe was dropped".into())))
        })
    }

    fn close(&self) -> BoxFuture<'_, Result<(), Error>> {
        self.shared.queue.close();
        Box::pin(async move {
            match self.phase(|phase| *phase != Phase::Open).await {
                Phase::Failed(reason) => Err(Error::Fatal(reason)),
                Phase::Open | Phase::Closed => Ok(()),
            }
        })
    }
}
