//! `EmbeddedStore`: opening, closing, and the trait.

use std::collections::{BTreeMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use crane_core::{Json, RunId, RunStatus, ShardId};
use futures_core::future::BoxFuture;
use futures_core::stream::BoxStream;
use futures_util::stream;
use tokio::sync::{oneshot, watch};

use super::checkpointer::{Checkpointer, Settings};
use super::disk::Disk;
use super::frame::Builder;
use super::journal::Journal;
use super::layout::{At, Layout};
use super::live::LiveTable;
use super::queue::{Job, Task, Waiter};
use super::readers::{self, Request};
use super::recovery::{self, Recovered};
use super::segments::Segments;
use super::shared::{ClockHolder, Phase, Shared, Tools};
use super::writer::Writer;
use super::{Mutex, Options, RwLock, lock, read, record};
use crate::metrics::Metrics;
use crate::{
    Ack, Error, Fence, Filter, Listing, Page, RunImage, RunStore, Summary, Unfinished, Write,
};

/// The embedded store. See the module.
#[derive(Debug)]
pub struct EmbeddedStore {
    pub(super) shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl EmbeddedStore {
    /// Opens or creates the store in `options.dir`. Blocks while it reads the disk.
    ///
    /// # Errors
    /// [`Error::InUse`] when another process has it open, [`Error::Corrupt`] with file and offset
    /// when something that was durable is damaged, [`Error::Io`].
    // By value: who opens a store has no further use for its options.
    #[allow(clippy::needless_pass_by_value)]
    pub fn open(options: Options) -> Result<Self, Error> {
        let options = &options;
        let metrics = Metrics::default();
        let begun = (options.now)();
        let layout = Layout::open(&options.dir, &options.faults)?;
        let recovered = recovery::recover(&layout, options)?;
        let unfinished = recovered.catalog.unfinished().len();
        let (shared, journal, checkpointer) = assemble(layout, options, recovered, metrics)?;
        let took = (options.now)().since(begun);
        shared.metrics.recovery_seconds.record(took);
        shared.metrics.recovered_runs.increment(unfinished as u64);
        tracing::info!(dir = %options.dir.display(), epoch = %shared.epoch, unfinished, ?took, "opened the store");
        let mut store = Self {
            shared,
            threads: Vec::new(),
        };
        store.start("crane-journal", move |shared| {
            writer_thread(&shared, journal)
        })?;
        store.start("crane-checkpoint", |shared| {
            checkpointer_thread(&shared, checkpointer)
        })?;
        for number in 0..readers::THREADS {
            store.start(&format!("crane-read-{number}"), |shared| {
                reader_thread(&shared)
            })?;
        }
        Ok(store)
    }

    fn start(
        &mut self,
        name: &str,
        body: impl FnOnce(Arc<Shared>) + Send + 'static,
    ) -> Result<(), Error> {
        let shared = Arc::clone(&self.shared);
        let thread = thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || body(shared))
            .map_err(|source| Error::Io {
                context: format!("cannot start thread {name}"),
                source: Arc::new(source),
            })?;
        self.threads.push(thread);
        Ok(())
    }

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

/// Builds the shared state and opens the epoch: the journal's first record of this boot.
fn assemble(
    layout: Layout,
    options: &Options,
    recovered: Recovered,
    metrics: Metrics,
) -> Result<(Arc<Shared>, Journal, CheckpointerParts), Error> {
    let faults = options.faults.clone();
    let epoch = recovered.epoch_to_open();
    let segments = Arc::new(Segments::new(
        layout.journal(),
        options.segment_bytes,
        faults.clone(),
        recovered.used,
        recovered.ready,
    ));
    let (active, offset) = match recovered.end {
        Some(end) => end,
        None => (segments.take(0, recovered.lsn)?, 0),
    };
    let mut journal = Journal::new(
        Arc::clone(&segments),
        active,
        offset,
        recovered.lsn,
        faults.clone(),
    );
    faults.pass("open.boot").at("cannot write", layout.root())?;
    let mut frame = Builder::default();
    frame.record(|out| record::put_boot(out, epoch));
    journal.commit(&mut frame)?;
    let reserve = options.disk_reserve.max(2 * options.segment_bytes);
    let shared = Shared {
        clock: ClockHolder(Arc::clone(&options.now)),
        faults: faults.clone(),
        epoch,
        queue: Default::default(),
        work: Default::default(),
        readers: Default::default(),
        live: LiveTable::new(recovered.live),
        catalog: RwLock::new(recovered.catalog),
        tools: Mutex::new(Tools {
            data: recovered.tools,
            lsn: journal.lsn(),
        }),
        history: recovered.history.reader(),
        snapshots: Mutex::new(Some(recovered.snapshots.clone())),
        retiring: Mutex::new(()),
        segments,
        spare_segments: options.spare_segments,
        disk: Disk::new(
            layout.root().to_owned(),
            reserve,
            Arc::clone(&options.now),
            faults,
        ),
        metrics,
        snapshots_dir: layout.snapshots(),
        history_dir: layout.history(),
        export_dir: layout.export(),
        layout: Mutex::new(Some(layout)),
        phase: watch::Sender::new(Phase::Open),
    };
    shared.work.add(|pile| {
        pile.ended = recovered.ended;
        pile.dirtied = recovered.dirtied;
        // Retention, and whatever the journal holds too much of.
        pile.opened = true;
    });
    let parts = CheckpointerParts {
        settings: Settings::of(options),
        snapshots: recovered.snapshots,
        history: recovered.history,
        cursor: recovered.cursor,
        export: recovered.export,
        outdated: recovered.outdated,
    };
    Ok((Arc::new(shared), journal, parts))
}

/// What the checkpointer takes over.
struct CheckpointerParts {
    settings: Settings,
    snapshots: super::snapshots::Snapshots,
    history: crate::history::History,
    cursor: super::snapshots::Cursor,
    export: Option<super::export::Export>,
    outdated: Vec<RunId>,
}

fn writer_thread(shared: &Arc<Shared>, journal: Journal) {
    let mut writer = Writer::new(Arc::clone(shared), journal);
    match catch_unwind(AssertUnwindSafe(|| writer.run())) {
        Ok(Ok(())) => shared.work.add(|pile| pile.close = true),
        Ok(Err(error)) => shared.fail(&format!("the journal failed: {error}")),
        Err(_) => shared.fail("the journal's thread panicked"),
    }
    // Tells whoever waited for a write that was under way.
    drop(writer);
    let mut jobs = Vec::new();
    while shared.queue.take_late(&mut jobs) {
        for job in jobs.drain(..) {
            job.waiter.tell(Err(shared.stopped()));
        }
    }
}

fn checkpointer_thread(shared: &Arc<Shared>, parts: CheckpointerParts) {
    let mut checkpointer = Checkpointer::new(
        Arc::clone(shared),
        parts.settings,
        parts.snapshots,
        parts.history,
        parts.cursor,
        parts.export,
        parts.outdated,
    );
    match catch_unwind(AssertUnwindSafe(|| checkpointer.run())) {
        Ok(Ok(())) => {
            checkpointer.finish();
            *lock(&shared.layout) = None;
            shared.phase.send_if_modified(|phase| {
                let is_open = *phase == Phase::Open;
                if is_open {
                    *phase = Phase::Closed;
                }
                is_open
            });
        }
        Ok(Err(error)) => {
            shared.fail(&format!("a checkpoint failed: {error}"));
            checkpointer.die_with_process();
        }
        Err(_) => shared.fail("the checkpointer's thread panicked"),
    }
    shared.work.end();
}

fn reader_thread(shared: &Shared) {
    if catch_unwind(AssertUnwindSafe(|| readers::run(shared))).is_err() {
        shared.fail("a reader thread panicked");
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

impl Settings {
    fn of(options: &Options) -> Self {
        let kept = options.export_bytes / options.segment_bytes.max(1);
        Self {
            checkpoint_segments: options.checkpoint_segments.max(1),
            export_bytes: options.export_bytes,
            spare_segments: options.spare_segments,
            keep_segments: usize::try_from(kept)
                .unwrap_or(usize::MAX)
                .max(options.spare_segments),
            retire_every: u64::from(options.history_segment_bytes / 8).max(1),
        }
    }
}

impl Recovered {
    /// One more than every epoch before.
    fn epoch_to_open(&self) -> crane_core::Epoch {
        crane_core::Epoch(self.epoch.0 + 1)
    }
}
