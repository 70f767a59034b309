//! A store of tool data alone, whose acknowledgements a test can hold back or turn into failures.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use crane_core::{Json, RunId, RunStatus, ShardId};
use crane_store::tool_data::ToolData;
use crane_store::{
    Ack, Error, Fence, Filter, Listing, Page, RunImage, RunStore, Summary, ToolWrite, Unfinished,
    Write,
};
use futures_util::future::{BoxFuture, FutureExt, ready};
use futures_util::stream::{self, BoxStream, StreamExt};

/// The store.
#[derive(Debug, Default)]
pub(crate) struct Double {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    data: ToolData,
    /// Writes that wait for [`Double::let_go`]; `None` while nothing is held back.
    held: Option<Vec<(ToolWrite, Ack)>>,
    fail_next: bool,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("State")
    }
}

impl Double {
    /// From now on writes are neither made nor acknowledged.
    pub(crate) fn hold(&self) {
        self.state.lock().unwrap().held = Some(Vec::new());
    }

    /// Makes and acknowledges what was held back.
    pub(crate) fn let_go(&self) {
        let held = self.state.lock().unwrap().held.take();
        for (write, ack) in held.into_iter().flatten() {
            self.state.lock().unwrap().data.apply(&write);
            ack(Ok(()));
        }
    }

    /// How many writes are held back.
    pub(crate) fn held(&self) -> usize {
        self.state.lock().unwrap().held.as_ref().map_or(0, Vec::len)
    }

    /// The next write is made, but its acknowledgement is lost.
    pub(crate) fn lose_next_answer(&self) {
        self.state.lock().unwrap().fail_next = true;
    }
}

fn unused<T>() -> Result<T, Error> {
    Err(Error::Fatal("this store keeps tool data alone".into()))
}

impl RunStore for Double {
    fn submit(&self, write: Write, ack: Ack) {
        let Write::Tool(write) = write else {
            return ack(unused());
        };
        let mut state = self.state.lock().unwrap();
        if let Some(held) = &mut state.held {
            return held.push((write, ack));
        }
        state.data.apply(&write);
        let lost = std::mem::take(&mut state.fail_next);
        drop(state);
        // As the trait says: from another thread.
        std::thread::spawn(move || ack(if lost { unused() } else { Ok(()) }));
    }

    fn tool_result(&self, tool: &str, key: &str) -> BoxFuture<'_, Result<Option<Json>, Error>> {
        ready(Ok(self.state.lock().unwrap().data.result(tool, key))).boxed()
    }

    fn tool_row(&self, tool: &str, row: &str) -> BoxFuture<'_, Result<Option<Json>, Error>> {
        ready(Ok(self.state.lock().unwrap().data.row(tool, row))).boxed()
    }

    fn tool_rows(&self, tool: &str) -> BoxFuture<'_, Result<Vec<(String, Json)>, Error>> {
        ready(Ok(self.state.lock().unwrap().data.rows(tool))).boxed()
    }

    fn load(&self, _: RunId) -> BoxFuture<'_, Result<Option<RunImage>, Error>> {
        ready(unused()).boxed()
    }

    fn summary(&self, _: RunId) -> BoxFuture<'_, Result<Option<Summary>, Error>> {
        ready(unused()).boxed()
    }

    fn list(&self, _: Filter, _: Page) -> BoxFuture<'_, Result<Listing, Error>> {
        ready(unused()).boxed()
    }

    fn counts(&self) -> BoxFuture<'_, Result<BTreeMap<RunStatus, usize>, Error>> {
        ready(unused()).boxed()
    }

    fn restore(&self, _: Vec<Fence>) -> BoxStream<'_, Result<Unfinished, Error>> {
        stream::empty().boxed()
    }

    fn acquire(&self, _: Vec<ShardId>) -> BoxFuture<'_, Result<Vec<Fence>, Error>> {
        ready(unused()).boxed()
    }

    fn renew(&self) -> BoxFuture<'_, Result<(), Error>> {
        ready(unused()).boxed()
    }

    fn release(&self, _: Vec<Fence>) -> BoxFuture<'_, Result<(), Error>> {
        ready(unused()).boxed()
    }

    fn passivate(&self, _: RunId) {}

    fn checkpoint(&self) -> BoxFuture<'_, Result<(), Error>> {
        ready(unused()).boxed()
    }

    fn failed(&self) -> BoxFuture<'static, Arc<str>> {
        std::future::pending().boxed()
    }

    fn refusing(&self) -> Option<Error> {
        None
    }

    fn close(&self) -> BoxFuture<'_, Result<(), Error>> {
        ready(Ok(())).boxed()
    }
}
