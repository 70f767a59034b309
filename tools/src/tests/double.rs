//! The store in memory, whose acknowledgements a test can hold back or lose.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crane_core::{Json, RunId, RunStatus, ShardId};
use crane_store::memory::MemoryStore;
use crane_store::{
    Ack, Error, Fence, Filter, Listing, Page, RunImage, RunStore, Summary, Unfinished, Write,
};
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;

/// The store.
#[derive(Default)]
pub(crate) struct Double {
    store: MemoryStore,
    /// Writes that wait for [`Double::let_go`]; `None` while nothing is held back.
    held: Mutex<Option<Vec<(Write, Ack)>>>,
    lose_next_answer: AtomicBool,
}

impl std::fmt::Debug for Double {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.store.fmt(f)
    }
}

impl Double {
    /// From now on writes are neither made nor acknowledged.
    pub(crate) fn hold(&self) {
        *self.held.lock().unwrap() = Some(Vec::new());
    }

    /// Makes and acknowledges what was held back.
    pub(crate) fn let_go(&self) {
        let held = self.held.lock().unwrap().take();
        for (write, ack) in held.into_iter().flatten() {
            self.store.submit(write, ack);
        }
    }

    /// How many writes are held back.
    pub(crate) fn held(&self) -> usize {
        self.held.lock().unwrap().as_ref().map_or(0, Vec::len)
    }

    /// The next write is made, but its acknowledgement is lost.
    pub(crate) fn lose_next_answer(&self) {
        self.lose_next_answer.store(true, Ordering::SeqCst);
    }
}

impl RunStore for Double {
    fn submit(&self, write: Write, ack: Ack) {
        if let Some(held) = &mut *self.held.lock().unwrap() {
            return held.push((write, ack));
        }
        if !self.lose_next_answer.swap(false, Ordering::SeqCst) {
            return self.store.submit(write, ack);
        }
        let lost = |_| ack(Err(Error::Fatal("the answer was lost".into())));
        self.store.submit(write, Box::new(lost));
    }

    fn tool_result(&self, tool: &str, key: &str) -> BoxFuture<'_, Result<Option<Json>, Error>> {
        self.store.tool_result(tool, key)
    }

    fn tool_row(&self, tool: &str, row: &str) -> BoxFuture<'_, Result<Option<Json>, Error>> {
        self.store.tool_row(tool, row)
    }

    fn tool_rows(&self, tool: &str) -> BoxFuture<'_, Result<Vec<(String, Json)>, Error>> {
        self.store.tool_rows(tool)
    }

    fn load(&self, run: RunId) -> BoxFuture<'_, Result<Option<RunImage>, Error>> {
        self.store.load(run)
    }

    fn summary(&self, run: RunId) -> BoxFuture<'_, Result<Option<Summary>, Error>> {
        self.store.summary(run)
    }

    fn list(&self, filter: Filter, page: Page) -> BoxFuture<'_, Result<Listing, Error>> {
        self.store.list(filter, page)
    }

    fn counts(&self) -> BoxFuture<'_, Result<BTreeMap<RunStatus, usize>, Error>> {
        self.store.counts()
    }

    fn restore(&self, shards: Vec<Fence>) -> BoxStream<'_, Result<Unfinished, Error>> {
        self.store.restore(shards)
    }

    fn acquire(&self, shards: Vec<ShardId>) -> BoxFuture<'_, Result<Vec<Fence>, Error>> {
        self.store.acquire(shards)
    }

    fn renew(&self) -> BoxFuture<'_, Result<(), Error>> {
        self.store.renew()
    }

    fn release(&self, held: Vec<Fence>) -> BoxFuture<'_, Result<(), Error>> {
        self.store.release(held)
    }

    fn passivate(&self, run: RunId) {
        self.store.passivate(run);
    }

    fn checkpoint(&self) -> BoxFuture<'_, Result<(), Error>> {
        self.store.checkpoint()
    }

    fn failed(&self) -> BoxFuture<'static, Arc<str>> {
        self.store.failed()
    }

    fn refusing(&self) -> Option<Error> {
        self.store.refusing()
    }

    fn probe(&self) -> BoxFuture<'static, Result<(), Error>> {
        self.store.probe()
    }

    fn close(&self) -> BoxFuture<'_, Result<(), Error>> {
        self.store.close()
    }
}
