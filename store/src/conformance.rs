//! What every store must do, as one suite that runs against each of them.
//!
//! Each property is a function that panics when the store breaks it. It gets an [`Open`], a
//! closure that opens a store which is empty at first and holds the same data whenever it is
//! opened again. [`conformance_suite!`](crate::conformance_suite) makes a test of each.
//!
//! What never lives here: anything that only one store promises, such as what it does about a
//! damaged file.

mod appends;
mod lists;
mod restarts;
mod story;
mod tools;

use std::collections::BTreeMap;
use std::sync::Arc;

use crane_core::ids::SHARD_COUNT;
use crane_core::{Epoch, RunId, Seq, ShardId};
use futures_core::future::BoxFuture;

pub use appends::*;
pub use lists::*;
pub use restarts::*;
pub use tools::*;

use crate::{Append, Error, Fence, RunImage, RunStore, Write, commit};
use story::Story;

/// Opens the store under test; called again only after the store opened before was closed and
/// dropped.
pub type Open = Box<dyn Fn() -> BoxFuture<'static, Arc<dyn RunStore>> + Send + Sync>;

/// Makes retention remove every ended run now.
pub type Retire = Box<dyn Fn(Arc<dyn RunStore>) -> BoxFuture<'static, ()> + Send + Sync>;

/// Makes a `#[tokio::test]` of each property. The argument is an expression that gives an `Open` on
/// a fresh store each time it is evaluated; a directory it makes must live as long as the closure.
///
/// With `retire: EXPRESSION` also of those properties that need retention to remove runs; that
/// expression gives an `Open` and the `Retire` that belongs to it.
#[macro_export]
macro_rules! conformance_suite {
    ($open:expr, retire: $pair:expr) => {
        $crate::conformance_suite!($open);
        $crate::conformance_suite!(@retire $pair;
            results_of_tools_are_forgotten_with_their_run,
            a_retired_run_is_gone,
            a_reopened_run_outlives_its_record_in_history,
        );
    };
    ($open:expr) => {
        $crate::conformance_suite!(@tests $open;
            a_run_is_loaded_as_it_was_appended,
            a_large_event_is_loaded_as_it_was_appended,
            appends_of_a_run_keep_their_order,
            an_unexpected_seq_is_a_conflict,
            an_empty_batch_is_refused,
            a_repeat_with_the_same_bytes_succeeds,
            a_repeat_with_other_bytes_is_a_conflict,
            an_older_epoch_is_refused,
            concurrent_writers_keep_the_order_of_each_run,
            a_passivated_run_is_loaded_and_continued,
            an_ended_run_is_loaded,
            an_ended_run_can_be_reopened_and_ends_again,
            writes_after_close_are_refused,
            a_probe_goes_the_way_of_a_write_and_leaves_no_trace,
            restore_gives_the_unfinished_runs_oldest_first,
            everything_survives_a_reopen,
            lists_agree_with_a_naive_model,
            lists_agree_with_a_naive_model_after_a_reopen,
            several_labels_must_all_match,
            a_write_of_a_tool_counts_once,
            rows_of_a_tool_come_by_key_and_can_be_deleted,
            data_of_tools_survive_a_reopen,
            a_write_of_a_tool_past_a_limit_is_refused,
        );
    };
    (@retire $pair:expr; $($name:ident),+ $(,)?) => {
        $(
            #[tokio::test]
            async fn $name() {
                let (open, retire) = $pair;
                $crate::conformance::$name(&open, &retire).await;
            }
        )+
    };
    (@tests $open:expr; $($name:ident),+ $(,)?) => {
        $(
            #[tokio::test]
            async fn $name() {
                $crate::conformance::$name(&$open).await;
            }
        )+
    };
}

/// An open store together with the right to write to all of its shards.
struct Session {
    store: Arc<dyn RunStore>,
    epochs: BTreeMap<ShardId, Epoch>,
}

impl Session {
    async fn start(open: &Open) -> Self {
        let store = open().await;
        let shards = (0..SHARD_COUNT).map(ShardId).collect();
        let fences = store.acquire(shards).await.expect("shards are acquired");
        assert_eq!(
            fences.len(),
            usize::from(SHARD_COUNT),
            "every shard has a fence"
        );
        let epochs = fences.into_iter().map(|f| (f.shard, f.epoch)).collect();
        Self { store, epochs }
    }

    /// Closes the store and opens it again.
    async fn restart(self, open: &Open) -> Self {
        self.store.close().await.expect("the store closes");
        drop(self);
        Self::start(open).await
    }

    fn epoch(&self, run: RunId) -> Epoch {
        self.epochs[&run.shard()]
    }

    fn fences(&self) -> Vec<Fence> {
        let fence = |(&shard, &epoch)| Fence { shard, epoch };
        self.epochs.iter().map(fence).collect()
    }

    /// Writes the next batch of a run and waits for it.
    async fn write(&self, append: Append) -> Result<(), Error> {
        commit(&*self.store, Write::Append(append)).await
    }

    /// Writes everything a run has not written yet, and waits.
    async fn tell(&self, story: &mut Story) {
        let append = story.next_batch(self.epoch(story.run));
        self.write(append).await.expect("the batch is durable");
    }

    async fn load(&self, run: RunId) -> Option<RunImage> {
        self.store.load(run).await.expect("the run is read")
    }

    /// The store holds the run exactly as it was written so far.
    async fn expect(&self, story: &Story) {
        let image = self.load(story.run).await;
        let image = image.unwrap_or_else(|| panic!("run {} is missing", story.run));
        assert_eq!(image, story.image(), "run {}", story.run);
        let summary = self.store.summary(story.run).await;
        let summary = summary.expect("the summary is read");
        assert_eq!(summary, Some(story.image().summary), "run {}", story.run);
    }
}

/// Requires that `result` is a conflict with this stored seq.
fn assert_conflict(result: &Result<(), Error>, stored: Seq, what: &str) {
    match result {
        Err(Error::Conflict { stored: found, .. }) => assert_eq!(*found, stored, "{what}"),
        other => panic!("{what}: expected a conflict, got {other:?}"),
    }
}

#[cfg(test)]
mod tests;
