//! Opening an embedded store: what recovery found becomes the state that its threads share.

use std::sync::Arc;
use std::thread;

use tokio::sync::watch;

use super::checkpointer::{Parts, Settings};
use super::disk::Disk;
use super::frame::Builder;
use super::journal::Journal;
use super::layout::{At, Layout};
use super::live::LiveTable;
use super::recovery::{self, Recovered};
use super::segments::Segments;
use super::shared::{ClockHolder, Phase, Shared, Tools};
use super::store::EmbeddedStore;
use super::{Mutex, Options, RwLock, readers, record, threads};
use crate::Error;
use crate::metrics::Metrics;

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
            threads::writer(&shared, journal)
        })?;
        store.start("crane-checkpoint", |shared| {
            threads::checkpointer(&shared, checkpointer)
        })?;
        for number in 0..readers::THREADS {
            store.start(&format!("crane-read-{number}"), |shared| {
                threads::reader(&shared)
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
}

/// Builds the shared state and opens the epoch: the journal's first record of this boot.
fn assemble(
    layout: Layout,
    options: &Options,
    recovered: Recovered,
    metrics: Metrics,
) -> Result<(Arc<Shared>, Journal, Parts), Error> {
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
    let parts = Parts {
        settings: Settings::of(options),
        snapshots: recovered.snapshots,
        history: recovered.history,
        cursor: recovered.cursor,
        export: recovered.export,
        outdated: recovered.outdated,
    };
    Ok((Arc::new(shared), journal, parts))
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
