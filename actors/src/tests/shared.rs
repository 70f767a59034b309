//! A store as several nodes share it: the one in memory, which a test may make fail to be read.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

use crane_core::{Epoch, Json, RunId, RunStatus, ShardId};
use crane_store::memory::MemoryStore;
use crane_store::{
    Ack, Error, Fence, Filter, Listing, Page, RunImage, RunStore, Summary, Unfinished, Write,
};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream};

/// See the module.
#[derive(Debug)]
pub(super) struct SharedStore {
    pub(super) inner: Arc<MemoryStore>,
    /// How many more readings of unfinished runs fail.
    pub(super) failing_restores: AtomicUsize,
    /// How many more readings of a run fail.
    pub(super) failing_loads: AtomicUsize,
    /// In which epochs events of runs were handed in.
    pub(super) appended: Mutex<Vec<(RunId, Epoch)>>,
}

impl SharedStore {
    pub(super) fn new(inner: Arc<MemoryStore>) -> Self {
        Self {
            inner,
            failing_restores: AtomicUsize::new(0),
            failing_loads: AtomicUsize::new(0),
            appended: Mutex::default(),
        }
    }
}

fn take(count: &AtomicUsize) -> Option<Error> {
    let taken = count.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
    taken.ok().map(|_| Error::Unavailable("away".into()))
}

impl RunStore for SharedStore {
    fn submit(&self, write: Write, ack: Ack) {
        if let Write::Append(append) = &write {
            let mut appended = self.appended.lock().unwrap();
            appended.push((append.run, append.fence.epoch));
        }
        // A clock that is paused must not jump while the store's thread is at work: a task that
        // blocks holds it.
        let (done, working) = channel::<()>();
        tokio::task::spawn_blocking(move || working.recv());
        let ack = Box::new(move |result| {
            ack(result);
            drop(done);
        });
        self.inner.submit(write, ack);
    }

    fn load(&self, run: RunId) -> BoxFuture<'_, Result<Option<RunImage>, Error>> {
        match take(&self.failing_loads) {
            Some(error) => Box::pin(async { Err(error) }),
            None => self.inner.load(run),
        }
    }

    fn summary(&self, run: RunId) -> BoxFuture<'_, Result<Option<Summary>, Error>> {
        self.inner.summary(run)
    }

    fn list(&self, filter: Filter, page: Page) -> BoxFuture<'_, Result<Listing, Error>> {
        self.inner.list(filter, page)
    }

    fn counts(&self) -> BoxFuture<'_, Result<BTreeMap<RunStatus, usize>, Error>> {
        self.inner.counts()
    }

    fn restore(&self, shards: Vec<Fence>) -> BoxStream<'_, Result<Unfinished, Error>> {
        match take(&self.failing_restores) {
            // In the middle, so that what was read before is read again.
            Some(error) => self
                .inner
                .restore(shards)
                .take(1)
                .chain(stream::iter([Err(error)]))
                .boxed(),
            None => self.inner.restore(shards),
        }
    }

    fn acquire(&self, shards: Vec<ShardId>) -> BoxFuture<'_, Result<Vec<Fence>, Error>> {
        self.inner.acquire(shards)
    }

    fn renew(&self) -> BoxFuture<'_, Result<(), Error>> {
        self.inner.renew()
    }

    fn release(&self, held: Vec<Fence>) -> BoxFuture<'_, Result<(), Error>> {
        self.inner.release(held)
    }

    fn passivate(&self, run: RunId) {
        self.inner.passivate(run);
    }

    fn tool_result(&self, tool: &str, key: &str) -> BoxFuture<'_, Result<Option<Json>, Error>> {
        self.inner.tool_result(tool, key)
    }

    fn tool_row(&self, tool: &str, row: &str) -> BoxFuture<'_, Result<Option<Json>, Error>> {
        self.inner.tool_row(tool, row)
    }

    fn tool_rows(&self, tool: &str) -> BoxFuture<'_, Result<Vec<(String, Json)>, Error>> {
        self.inner.tool_rows(tool)
    }

    fn checkpoint(&self) -> BoxFuture<'_, Result<(), Error>> {
        self.inner.checkpoint()
    }

    fn failed(&self) -> BoxFuture<'static, Arc<str>> {
        self.inner.failed()
    }

    fn refusing(&self) -> Option<Error> {
        self.inner.refusing()
    }

    fn probe(&self) -> BoxFuture<'static, Result<(), Error>> {
        self.inner.probe()
    }

    fn close(&self) -> BoxFuture<'_, Result<(), Error>> {
        // Another node may be using it.
        Box::pin(async { Ok(()) })
    }
}
