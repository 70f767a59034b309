//! Negative controls: the suite must turn red for a store that breaks a rule.
//!
//! Each control wraps the memory store in one that breaks one rule and requires that a property
//! panics.

#![allow(clippy::unwrap_used)]

use std::panic::AssertUnwindSafe;
use std::sync::Mutex;

use crane_core::{Json, RunStatus};
use futures_core::stream::BoxStream;
use futures_util::{FutureExt, future};

use super::*;
use crate::memory::MemoryStore;
use crate::{Ack, Filter, Listing, Page, Summary, Unfinished};

/// The rule that is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Broken {
    Nothing,
    /// Every write carries the newest epoch.
    Fences,
    /// A conflict is taken for a repeat.
    Conflicts,
    /// Every write of a tool is a new one.
    ToolKeys,
    /// A reopened store is empty.
    Memory,
    /// Lists ignore the offset.
    Paging,
    /// The newest unfinished runs come first.
    Restore,
    /// Acks say yes to everything, closed or not.
    Close,
    /// A probe is answered by whoever asks it.
    Probe,
}

#[derive(Debug)]
struct BrokenStore {
    inner: MemoryStore,
    broken: Broken,
    epochs: Mutex<BTreeMap<ShardId, Epoch>>,
    writes: Mutex<usize>,
}

impl RunStore for BrokenStore {
    fn submit(&self, mut write: Write, ack: Ack) {
        let broken = self.broken;
        match &mut write {
            Write::Append(append) if broken == Broken::Fences => {
                append.fence.epoch = self.epochs.lock().unwrap()[&append.fence.shard];
            }
            Write::Tool(write) if broken == Broken::ToolKeys => {
                let mut writes = self.writes.lock().unwrap();
                *writes += 1;
                write.key.push_str(&writes.to_string());
            }
            Write::Append(_) | Write::Tool(_) => {}
        }
        let lie = move |result: Result<(), Error>| match result {
            Err(Error::Conflict { .. }) if broken == Broken::Conflicts => Ok(()),
            Err(Error::Fatal(_)) if broken == Broken::Close => Ok(()),
            result => result,
        };
        self.inner
            .submit(write, Box::new(move |result| ack(lie(result))));
    }

    fn load(&self, run: RunId) -> BoxFuture<'_, Result<Option<RunImage>, Error>> {
        self.inner.load(run)
    }

    fn summary(&self, run: RunId) -> BoxFuture<'_, Result<Option<Summary>, Error>> {
        self.inner.summary(run)
    }

    fn list(&self, filter: Filter, mut page: Page) -> BoxFuture<'_, Result<Listing, Error>> {
        if self.broken == Broken::Paging {
            page.offset = 0;
        }
        self.inner.list(filter, page)
    }

    fn counts(&self) -> BoxFuture<'_, Result<BTreeMap<RunStatus, usize>, Error>> {
        self.inner.counts()
    }

    fn restore(&self, shards: Vec<Fence>) -> BoxStream<'_, Result<Unfinished, Error>> {
        use futures_util::StreamExt;
        if self.broken != Broken::Restore {
            return self.inner.restore(shards);
        }
        let runs = self.inner.restore(shards).collect::<Vec<_>>();
        let mut runs = runs.now_or_never().unwrap();
        runs.reverse();
        futures_util::stream::iter(runs).boxed()
    }

    fn acquire(&self, shards: Vec<ShardId>) -> BoxFuture<'_, Result<Vec<Fence>, Error>> {
        let fences = self.inner.acquire(shards).now_or_never().unwrap().unwrap();
        let epochs = fences.iter().map(|fence| (fence.shard, fence.epoch));
        self.epochs.lock().unwrap().extend(epochs);
        future::ready(Ok(fences)).boxed()
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
        let probe = self.inner.probe();
        match self.broken {
            Broken::Probe => future::ready(Ok(())).boxed(),
            _ => probe,
        }
    }

    fn close(&self) -> BoxFuture<'_, Result<(), Error>> {
        self.inner.close()
    }
}

fn open(broken: Broken) -> Open {
    let data = MemoryStore::new();
    Box::new(move || {
        let inner = match broken {
            Broken::Memory => MemoryStore::new(),
            _ => data.reopen(),
        };
        let store: Arc<dyn RunStore> = Arc::new(BrokenStore {
            inner,
            broken,
            epochs: Mutex::default(),
            writes: Mutex::default(),
        });
        future::ready(store).boxed()
    })
}

/// Requires that `property` holds for the sound store and not for the broken one.
macro_rules! control {
    ($test:ident, $broken:ident, $property:ident) => {
        #[tokio::test]
        async fn $test() {
            $property(&open(Broken::Nothing)).await;
            let open = open(Broken::$broken);
            let result = AssertUnwindSafe($property(&open)).catch_unwind().await;
            assert!(result.is_err(), "the property holds for a broken store");
        }
    };
}

control!(
    a_store_without_fences_turns_the_suite_red,
    Fences,
    an_older_epoch_is_refused
);
control!(
    a_store_without_conflicts_turns_the_suite_red,
    Conflicts,
    an_unexpected_seq_is_a_conflict
);
control!(
    a_store_that_swallows_other_bytes_turns_the_suite_red,
    Conflicts,
    a_repeat_with_other_bytes_is_a_conflict
);
control!(
    a_store_that_repeats_writes_of_tools_turns_the_suite_red,
    ToolKeys,
    a_write_of_a_tool_counts_once
);
control!(
    a_store_that_forgets_runs_turns_the_suite_red,
    Memory,
    everything_survives_a_reopen
);
control!(
    a_store_that_forgets_data_of_tools_turns_the_suite_red,
    Memory,
    data_of_tools_survive_a_reopen
);
control!(
    a_store_that_pages_wrongly_turns_the_suite_red,
    Paging,
    lists_agree_with_a_naive_model
);
control!(
    a_store_that_restores_out_of_order_turns_the_suite_red,
    Restore,
    restore_gives_the_unfinished_runs_oldest_first
);
control!(
    a_store_that_writes_after_close_turns_the_suite_red,
    Close,
    writes_after_close_are_refused
);
control!(
    a_store_that_answers_probes_by_itself_turns_the_suite_red,
    Probe,
    a_probe_goes_the_way_of_a_write_and_leaves_no_trace
);
