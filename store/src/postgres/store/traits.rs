//! `PostgresStore` as the rest of Crane sees it. Everything here hands the work to those who do it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crane_core::{Json, RunId, RunStatus, ShardId};
use futures_core::future::BoxFuture;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::sync::oneshot;

use super::PostgresStore;
use crate::leases::{Death, Incarnation, Leases, Owner, ShardTable};
use crate::postgres::queue::Task;
use crate::postgres::reads::{self, Restore};
use crate::postgres::shared::Phase;
use crate::postgres::{keeper, shards};
use crate::{
    Ack, Error, Fence, Filter, Listing, Page, RunImage, RunStore, Summary, Unfinished, Write,
};

impl RunStore for PostgresStore {
    fn submit(&self, write: Write, ack: Ack) {
        self.queue(self.queue_of(&write), Task::Write(write), ack);
    }

    fn load(&self, run: RunId) -> BoxFuture<'_, Result<Option<RunImage>, Error>> {
        let shared = Arc::clone(&self.shared);
        self.on_engine(async move { reads::load(&shared, run).await })
    }

    fn summary(&self, run: RunId) -> BoxFuture<'_, Result<Option<Summary>, Error>> {
        let shared = Arc::clone(&self.shared);
        self.on_engine(async move { reads::summary(&shared, run).await })
    }

    fn list(&self, filter: Filter, page: Page) -> BoxFuture<'_, Result<Listing, Error>> {
        let shared = Arc::clone(&self.shared);
        self.on_engine(async move { reads::list(&shared, &filter, page).await })
    }

    fn counts(&self) -> BoxFuture<'_, Result<BTreeMap<RunStatus, usize>, Error>> {
        let shared = Arc::clone(&self.shared);
        self.on_engine(async move { reads::counts(&shared).await })
    }

    fn restore(&self, shards: Vec<Fence>) -> BoxStream<'_, Result<Unfinished, Error>> {
        let restore = Restore::new(Arc::clone(&self.shared), &shards);
        let pages = stream::try_unfold(restore, move |mut restore| {
            self.on_engine(async move {
                let page = restore.next().await?;
                if let Some(page) = &page {
                    let runs = page.len() as u64;
                    restore.shared.metrics.recovered_runs.increment(runs);
                }
                Ok(page.map(|page| (stream::iter(page).map(Ok), restore)))
            })
        });
        pages.try_flatten().boxed()
    }

    fn acquire(&self, shards: Vec<ShardId>) -> BoxFuture<'_, Result<Vec<Fence>, Error>> {
        let shared = Arc::clone(&self.shared);
        self.on_engine(async move { shards::acquire(&shared, &shards).await })
    }

    fn renew(&self) -> BoxFuture<'_, Result<(), Error>> {
        let shared = Arc::clone(&self.shared);
        self.on_engine(async move { keeper::renew(&shared).await })
    }

    fn lease_left(&self) -> Option<Duration> {
        Some(self.shared.lease.left())
    }

    fn release(&self, held: Vec<Fence>) -> BoxFuture<'_, Result<(), Error>> {
        let shared = Arc::clone(&self.shared);
        self.on_engine(async move { shards::release(&shared, &held).await })
    }

    fn passivate(&self, _run: RunId) {
        // Nothing of a run is in memory.
    }

    fn tool_result(&self, tool: &str, key: &str) -> BoxFuture<'_, Result<Option<Json>, Error>> {
        let shared = Arc::clone(&self.shared);
        let (tool, key) = (tool.to_owned(), key.to_owned());
        self.on_engine(async move { reads::tool_result(&shared, &tool, &key).await })
    }

    fn tool_row(&self, tool: &str, row: &str) -> BoxFuture<'_, Result<Option<Json>, Error>> {
        let shared = Arc::clone(&self.shared);
        let (tool, row) = (tool.to_owned(), row.to_owned());
        self.on_engine(async move { reads::tool_row(&shared, &tool, &row).await })
    }

    fn tool_rows(&self, tool: &str) -> BoxFuture<'_, Result<Vec<(String, Json)>, Error>> {
        let shared = Arc::clone(&self.shared);
        let tool = tool.to_owned();
        self.on_engine(async move { reads::tool_rows(&shared, &tool).await })
    }

    fn checkpoint(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            self.shared.still_open()?;
            let done = self.shared.errands.request();
            done.await.unwrap_or_else(|_| Err(self.shared.stopped()))
        })
    }

    fn failed(&self) -> BoxFuture<'static, Arc<str>> {
        let mut phases = self.shared.phase.subscribe();
        Box::pin(async move {
            let failed = phases.wait_for(|phase| matches!(phase, Phase::Failed(_)));
            match failed.await.map(|phase| phase.clone()) {
                Ok(Phase::Failed(reason)) => reason,
                // Dropped without having failed.
                Ok(Phase::Open | Phase::Closed) | Err(_) => std::future::pending().await,
            }
        })
    }

    fn refusing(&self) -> Option<Error> {
        let detail = self.shared.outage.lasting(self.shared.lease.ttl() / 3)?;
        Some(Error::Unavailable(detail))
    }

    fn probe(&self) -> BoxFuture<'static, Result<(), Error>> {
        let answers: Vec<_> = self
            .queues
            .iter()
            .map(|queue| {
                let (answer, outcome) = oneshot::channel();
                // Whoever asked may have lost patience.
                let ack = Box::new(move |result| drop(answer.send(result)));
                self.queue(queue, Task::Probe, ack);
                outcome
            })
            .collect();
        Box::pin(async move {
            for answer in answers {
                let answer = answer.await;
                answer.unwrap_or_else(|_| Err(Error::Fatal("the probe was dropped".into())))?;
            }
            Ok(())
        })
    }

    fn close(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            self.finish().await;
            self.shared.phase.send_if_modified(|phase| {
                let is_open = *phase == Phase::Open;
                if is_open {
                    *phase = Phase::Closed;
                }
                is_open
            });
            match &*self.shared.phase.borrow() {
                Phase::Failed(reason) => Err(Error::Fatal(Arc::clone(reason))),
                Phase::Open | Phase::Closed => Ok(()),
            }
        })
    }
}

impl Leases for PostgresStore {
    fn join(&self) -> BoxFuture<'_, Result<Owner, Error>> {
        let shared = Arc::clone(&self.shared);
        self.on_engine(async move { shards::join(&shared).await })
    }

    fn identity(&self) -> BoxFuture<'_, Result<String, Error>> {
        let shared = Arc::clone(&self.shared);
        self.on_engine(async move { shards::identity(&shared).await })
    }

    fn owner(&self) -> Option<Owner> {
        self.shared.lease.owner()
    }

    fn table(&self) -> BoxFuture<'_, Result<ShardTable, Error>> {
        let shared = Arc::clone(&self.shared);
        self.on_engine(async move { shards::table(&shared).await })
    }

    fn transfer(
        &self,
        held: Vec<Fence>,
        to: Incarnation,
    ) -> BoxFuture<'_, Result<Vec<Fence>, Error>> {
        let shared = Arc::clone(&self.shared);
        self.on_engine(async move { shards::hand_over(&shared, "transfer", &held, Some(to)).await })
    }

    fn declare_dead(
        &self,
        incarnation: Incarnation,
        ground: Death,
    ) -> BoxFuture<'_, Result<bool, Error>> {
        let shared = Arc::clone(&self.shared);
        self.on_engine(async move { shards::declare_dead(&shared, incarnation, ground).await })
    }
}
