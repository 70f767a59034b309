//! What the tests of this folder share: a clock, settings, runs to write, a model to compare with.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use crane_core::event::Labels;
use crane_core::{Epoch, Event, Json, Record, Round, RunId, RunStatus, Seq, ShardId, Timestamp};

use crate::embedded::{Clock, EmbeddedStore, Options};
use crate::{
    Append, Encoded, Error, Fence, Filter, Page, RunStore, Summary, ToolWrite, Write, codec, commit,
};

/// A clock that moves a millisecond at each look, and when told.
#[derive(Clone)]
pub(super) struct TestClock(Arc<AtomicI64>);

impl Default for TestClock {
    fn default() -> Self {
        Self(Arc::new(AtomicI64::new(1_700_000_000_000_000)))
    }
}

impl TestClock {
    pub(super) fn as_clock(&self) -> Clock {
        let micros = Arc::clone(&self.0);
        Arc::new(move || Timestamp(micros.fetch_add(1000, Ordering::Relaxed)))
    }

    pub(super) fn advance(&self, by: Duration) {
        let micros = i64::try_from(by.as_micros()).unwrap();
        self.0.fetch_add(micros, Ordering::Relaxed);
    }
}

/// Settings under which everything happens all the time.
pub(super) fn tight(options: &mut Options) {
    options.segment_bytes = 4 << 10;
    options.spare_segments = 1;
    options.checkpoint_segments = 2;
    options.export_bytes = 24 << 10;
    options.history_segment_bytes = 4 << 10;
    options.disk_reserve = 0;
}

pub(super) fn tight_options(dir: &Path) -> Options {
    let mut options = Options::new(dir, TestClock::default().as_clock());
    tight(&mut options);
    options
}

pub(super) fn open(dir: &Path) -> EmbeddedStore {
    EmbeddedStore::open(tight_options(dir)).unwrap()
}

/// A directory on a file system in memory, if there is one: for tests that keep count of what was
/// synced themselves, and sync thousands of times.
pub(super) fn memory_dir() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap())
}

pub(super) fn run_id(number: u64) -> RunId {
    RunId::from_time(1_700_000_000_000 + number, [7; 10])
}

/// A run as the model knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ModelRun {
    pub(super) run: RunId,
    pub(super) summary: Summary,
    pub(super) labels: Labels,
    pub(super) events: Encoded,
}

impl ModelRun {
    /// A run without events.
    pub(super) fn new(number: u64) -> Self {
        let run = run_id(number);
        let labels = match number % 3 {
            0 => Labels::from([("team".to_owned(), format!("t{}", number % 2))]),
            _ => Labels::new(),
        };
        Self {
            run,
            summary: Summary {
                seq: Seq(0),
                status: RunStatus::Pending,
                round: Round(1),
                created_at: Timestamp(1_700_000_000_000_000 + i64::try_from(number).unwrap()),
                completed_at: None,
                wake_at: None,
            },
            labels,
            events: Encoded::default(),
        }
    }

    /// The next append: some events, of which the last ends the run if `ends`.
    pub(super) fn next(&mut self, epoch: Epoch, payload: usize, ends: bool) -> Append {
        let expected = self.summary.seq;
        let mut events = Vec::new();
        if self.summary.status.is_ended() {
            self.summary.round = self.summary.round.next();
            events.push(Event::RunReopened {
                round: self.summary.round,
            });
        }
        events.push(Event::RunPlanned {
            plan: Json::from_trusted(format!("\"{}\"", "x".repeat(payload))),
        });
        self.summary.status = RunStatus::Running;
        self.summary.completed_at = None;
        if ends {
            events.push(Event::RunCompleted {
                result: Json::null(),
            });
            self.summary.status = RunStatus::Completed;
            self.summary.completed_at = Some(self.summary.created_at);
        }
        let records: Vec<Record> = (expected.0 + 1..)
            .zip(events)
            .map(|(seq, event)| Record {
                seq: Seq(seq),
                at: self.summary.created_at,
                event,
            })
            .collect();
        let encoded = codec::encode(&records);
        self.events.count += encoded.count;
        self.events.bytes.extend_from_slice(&encoded.bytes);
        self.summary.seq = Seq(u64::from(self.events.count));
        let is_first = expected == Seq(0) && !self.labels.is_empty();
        Append {
            fence: Fence {
                shard: self.run.shard(),
                epoch,
            },
            run: self.run,
            expected,
            summary: self.summary.clone(),
            labels: is_first.then(|| Arc::new(self.labels.clone())),
            events: encoded,
            eager: true,
        }
    }
}

/// The write number `number` of a tool: sets one row, deletes an older one.
pub(super) fn tool_write(number: u64, run: Option<RunId>) -> ToolWrite {
    let mut rows = BTreeMap::from([(
        format!("row-{}", number % 5),
        Some(Json::from_trusted(number.to_string())),
    )]);
    rows.insert(format!("row-{}", (number + 3) % 5), None);
    ToolWrite {
        tool: "todo".to_owned(),
        run,
        key: format!("key-{number}"),
        rows,
        result: Json::from_trusted(format!("{{\"n\":{number}}}")),
    }
}

pub(super) async fn epoch(store: &EmbeddedStore) -> Epoch {
    store.acquire(vec![ShardId(0)]).await.unwrap()[0].epoch
}

pub(super) async fn write(store: &EmbeddedStore, append: Append) -> Result<(), Error> {
    commit(store, Write::Append(append)).await
}

pub(super) async fn write_tool(store: &EmbeddedStore, write: ToolWrite) -> Result<(), Error> {
    commit(store, Write::Tool(write)).await
}

/// The store holds exactly `run`, as of now.
#[track_caller]
pub(super) fn assert_holds(image: Option<crate::RunImage>, run: &ModelRun) {
    let image = image.unwrap_or_else(|| panic!("run {} is lost", run.run));
    assert_eq!(image.summary, run.summary, "of run {}", run.run);
    assert!(
        image.events == run.events,
        "events of run {}: {:?} instead of {:?}",
        run.run,
        image.events,
        run.events
    );
}

/// The runs of a store by label, to see that labels survive.
pub(super) async fn labelled(store: &EmbeddedStore, key: &str, value: &str) -> Vec<RunId> {
    let filter = Filter {
        statuses: Vec::new(),
        labels: vec![(key.to_owned(), value.to_owned())],
    };
    let page = Page {
        offset: 0,
        limit: 10_000,
    };
    let listing = store.list(filter, page).await.unwrap();
    listing.runs.into_iter().map(|(run, _)| run).collect()
}

/// Copies a directory with everything in it.
pub(super) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), &target).unwrap();
        }
    }
}
