//! Opening: from what is on disk to the state in memory.
//!
//! ```text
//!   history indexes ──> catalog
//!   sled rows ────────> catalog, live table (events stay in sled)        sled is lost: rebuilt from
//!   journal's tail ───> live table: events behind each run's snapshot    the export, then the same
//! ```
//!
//! No event is decoded: summaries and event numbers are enough. A record whose events a snapshot or
//! history holds already is skipped; one that does not follow what is known is damage, unless the
//! run has ended: then retention has removed it from history, and the journal had not been recycled
//! yet.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::Arc;

use crane_core::event::Labels;
use crane_core::{Epoch, RunId, Seq};

use super::frame::Frame;
use super::layout::{At, Layout};
use super::live::{self, Chunk, Live, RunMap};
use super::readers::thawed;
use super::record::{self, Image, Record, Retired};
use super::scan::{self, Found};
use super::segments::{self, Segment, Used};
use super::snapshots::{Contents, Cursor, Snapshots};
use super::{Options, export, rebuild};
use crate::catalog::Catalog;
use crate::history::{History, HistoryReader};
use crate::metrics::Trouble;
use crate::tool_data::ToolData;
use crate::{Encoded, Error, codec};

/// The state of a store as it is on disk.
pub(crate) struct Recovered {
    pub(crate) catalog: Catalog,
    pub(crate) live: RunMap<Live>,
    pub(crate) tools: ToolData,
    pub(crate) history: History,
    pub(crate) snapshots: Snapshots,
    pub(crate) export: Option<export::Export>,
    pub(crate) cursor: Cursor,
    /// The highest epoch that was ever opened.
    pub(crate) epoch: Epoch,
    /// Number of the next record.
    pub(crate) lsn: u64,
    /// Where the journal ends; `None` when it has no segment yet.
    pub(crate) end: Option<(Segment, u64)>,
    pub(crate) used: BTreeMap<u32, Used>,
    pub(crate) ready: VecDeque<Segment>,
    /// Ended runs that are not in history yet.
    pub(crate) ended: Vec<RunId>,
    /// Runs that need a journal segment.
    pub(crate) dirtied: Vec<(u32, RunId)>,
    /// Runs with a snapshot that history has outdated.
    pub(crate) outdated: Vec<RunId>,
}

/// Reads the directory.
pub(crate) fn recover(layout: &Layout, options: &Options) -> Result<Recovered, Error> {
    segments::remove_unfinished(&layout.journal())?;
    loop {
        let journal = layout.journal();
        let ids = segments::list(&journal)?;
        let mut catalog = Catalog::default();
        let history = History::open(&layout.history(), options.history_options(), |entry| {
            catalog.insert_ended(entry.run, &entry.summary, Some(&entry.labels), entry.place);
        })?;
        let loaded = rebuild::load(layout, options, !ids.is_empty())?;
        let mut replay = Replay::new(catalog, history.reader(), &loaded.contents)?;
        let cursor = loaded.contents.cursor.unwrap_or(Cursor::START);
        let tail: Vec<u32> = ids
            .iter()
            .copied()
            .filter(|id| *id >= cursor.segment)
            .collect();
        let found = replay.read(&journal, &tail, cursor)?;
        if let Some(damage) = found.damage {
            if !options.accept_corruption {
                return Err(damage.into_error(&journal));
            }
            let aside = scan::cut(&journal, &ids, &damage)?;
            crate::metrics::error(Trouble::CorruptionAccepted);
            tracing::error!(
                segment = damage.segment,
                offset = damage.offset,
                detail = damage.detail,
                ?aside,
                "the journal is damaged; what follows is dropped, as was asked for"
            );
            continue;
        }
        replay.check_orphans(&journal, options)?;
        return assemble(&journal, history, loaded, cursor, replay, &ids, &found);
    }
}

fn assemble(
    journal: &Path,
    history: History,
    loaded: rebuild::Loaded,
    cursor: Cursor,
    mut replay: Replay,
    ids: &[u32],
    found: &Found,
) -> Result<Recovered, Error> {
    let end_id = found.end.map(|(id, _)| id).or_else(|| {
        // Nothing since the cursor: go on where it points, if that segment exists.
        ids.iter().copied().find(|id| *id >= cursor.segment)
    });
    let mut used = BTreeMap::new();
    let mut ready = VecDeque::new();
    let lsn = found.next_lsn.unwrap_or(cursor.lsn);
    let mut end = None;
    for id in ids {
        let first_lsn = found.first_lsns.iter().find(|(first, _)| first == id);
        if end_id.is_some_and(|end_id| *id > end_id) {
            ready.push_back(segments::open(journal, *id)?);
            continue;
        }
        let segment = segments::open(journal, *id)?;
        let first_lsn = first_lsn.map_or(lsn, |(_, lsn)| *lsn);
        let size = segment.size;
        used.insert(*id, Used { first_lsn, size });
        if end_id == Some(*id) {
            // A frame that a crash left unsynced is taken for durable from here on: make it so.
            segment.file.sync_data().at("cannot sync", &segment.path)?;
            let offset = found.end.map_or(0, |(_, offset)| offset);
            end = Some((segment, offset));
        }
    }
    let labels = std::mem::take(&mut replay.labels);
    let (mut ended, mut dirtied) = (Vec::new(), Vec::new());
    for (run, live) in &replay.live {
        replay.catalog.live(*run, &live.summary, labels.get(run));
        dirtied.extend(live.oldest().map(|oldest| (oldest, *run)));
        if live.summary.status.is_ended() {
            ended.push(*run);
        }
    }
    Ok(Recovered {
        catalog: replay.catalog,
        live: replay.live,
        tools: replay.tools,
        history,
        snapshots: loaded.snapshots,
        export: loaded.export,
        cursor,
        epoch: replay.booted.max(cursor.epoch),
        lsn,
        end,
        used,
        ready,
        ended,
        dirtied,
        outdated: replay.outdated,
    })
}

/// A run whose beginning is neither in the journal nor elsewhere.
struct Orphan {
    segment: u32,
    offset: u64,
    expected: Seq,
    ended: bool,
}

/// State while the journal is read.
struct Replay {
    catalog: Catalog,
    history: HistoryReader,
    live: RunMap<Live>,
    labels: RunMap<Labels>,
    orphans: RunMap<Orphan>,
    outdated: Vec<RunId>,
    tools: ToolData,
    tools_lsn: u64,
    /// The last epoch that was opened in what was read of the journal.
    booted: Epoch,
}

impl Replay {
    fn new(catalog: Catalog, history: HistoryReader, contents: &Contents) -> Result<Self, Error> {
        let mut replay = Self {
            catalog,
            history,
            live: RunMap::default(),
            labels: RunMap::default(),
            orphans: RunMap::default(),
            outdated: Vec::new(),
            tools: ToolData::default(),
            tools_lsn: contents.tools_lsn,
            booted: Epoch(0),
        };
        for head in &contents.runs {
            let in_history = replay.catalog.get(head.run);
            if in_history.is_some_and(|entry| entry.summary.seq >= head.summary.seq) {
                replay.outdated.push(head.run);
                continue;
            }
            let live = Live {
                summary: head.summary.clone(),
                base: head.summary.seq,
                chunks: Vec::new(),
                held: false,
            };
            replay.live.insert(head.run, live);
            if let Some(labels) = &head.labels {
                replay.labels.insert(head.run, labels.clone());
            }
        }
        for (key, value) in &contents.tools {
            replay.tools.load(key, value)?;
        }
        Ok(replay)
    }

    /// Reads the segments of the journal from the cursor on.
    fn read(&mut self, dir: &Path, ids: &[u32], cursor: Cursor) -> Result<Found, Error> {
        let mut found = scan::scan(dir, ids, Some(cursor.lsn), |segment, offset, frame| {
            self.frame(dir, segment, offset, frame)
        })?;
        if found.damage.is_some() {
            return Ok(found);
        }
        let reached = found.next_lsn.unwrap_or(cursor.lsn);
        let starts_late = ids.first().is_some_and(|id| *id != cursor.segment);
        if starts_late || reached < cursor.reaches {
            let (segment, offset) = found.end.unwrap_or((cursor.segment, 0));
            found.damage = Some(scan::Damage {
                segment,
                offset,
                detail: format!(
                    "the journal ends before record {}, which the snapshots rely on",
                    cursor.reaches.max(reached + 1)
                ),
            });
        }
        Ok(found)
    }

    fn frame(
        &mut self,
        dir: &Path,
        segment: u32,
        offset: u64,
        frame: Frame<'_>,
    ) -> Result<(), Error> {
        let corrupt = |detail: String| Error::Corrupt {
            file: segments::path(dir, segment).display().to_string(),
            offset,
            detail,
        };
        for (lsn, record) in (frame.lsn..).zip(record::records(frame.records)) {
            match record.map_err(corrupt)? {
                Record::Boot(epoch) if epoch <= self.booted => {
                    return Err(corrupt(format!(
                        "epoch {epoch} follows epoch {}; two processes have written here",
                        self.booted
                    )));
                }
                Record::Boot(epoch) => self.booted = epoch,
                Record::Retired(retired) => self.retired(retired, lsn),
                Record::Tool(_) if lsn < self.tools_lsn => {}
                Record::Tool(bytes) => {
                    self.tools.apply(&codec::decode_tool_write(bytes)?);
                }
                Record::Append(run, image) => self.append(run, &image, segment, offset)?,
            }
        }
        Ok(())
    }

    /// Runs that are gone. What is known of them so far comes from before this record, or from a
    /// later run with the same id; of that one every record follows here.
    fn retired(&mut self, retired: Retired<'_>, lsn: u64) {
        for run in retired.runs() {
            self.remove(run);
            self.orphans.remove(&run);
            if lsn >= self.tools_lsn {
                self.tools.forget_run(run);
            }
        }
    }

    fn append(
        &mut self,
        run: RunId,
        image: &Image<'_>,
        segment: u32,
        offset: u64,
    ) -> Result<(), Error> {
        let summary = image.summary()?;
        if let Some(orphan) = self.orphans.get_mut(&run) {
            orphan.ended = summary.status.is_ended();
            return Ok(());
        }
        let entry = match self.live.get(&run) {
            Some(_) => None,
            None => self.catalog.get(run),
        };
        let known = match (self.live.get(&run), &entry) {
            (Some(live), _) => live.summary.seq,
            (None, Some(entry)) => entry.summary.seq,
            (None, None) => Seq(0),
        };
        if summary.seq <= known {
            return Ok(());
        }
        if image.expected != known {
            let orphan = Orphan {
                segment,
                offset,
                expected: image.expected,
                ended: summary.status.is_ended(),
            };
            self.orphans.insert(run, orphan);
            return Ok(());
        }
        // An ended run that was reopened: from here on it is live, with its earlier events.
        if let Some(place) = entry.and_then(|entry| entry.place)
            && let Some(finished) = self.history.read(place)?
        {
            self.live.insert(run, thawed(finished));
        }
        if let Some(labels) = image.labels()? {
            self.labels.insert(run, labels);
        }
        let chunk = Arc::new(Chunk {
            expected: image.expected,
            segment,
            events: Encoded {
                count: image.count,
                bytes: image.events.to_vec(),
            },
        });
        live::push(&mut self.live, run, summary, chunk);
        Ok(())
    }

    /// A run without a beginning is a loss, unless it has ended: then retention has removed it.
    fn check_orphans(&mut self, dir: &Path, options: &Options) -> Result<(), Error> {
        for (run, orphan) in std::mem::take(&mut self.orphans) {
            // Its snapshot, if any, is of an older stage that must not come back to life.
            if orphan.ended {
                self.remove(run);
                self.tools.forget_run(run);
                continue;
            }
            let detail = format!(
                "run {run} goes on after event {} here, and its earlier events are nowhere",
                orphan.expected
            );
            if !options.accept_corruption {
                return Err(Error::Corrupt {
                    file: segments::path(dir, orphan.segment).display().to_string(),
                    offset: orphan.offset,
                    detail,
                });
            }
            crate::metrics::error(Trouble::CorruptionAccepted);
            tracing::error!(%run, detail, "what follows in this run is dropped, as was asked for");
        }
        Ok(())
    }

    fn remove(&mut self, run: RunId) {
        let removed = self.live.remove(&run);
        if removed.is_some_and(|live| live.base > Seq(0)) {
            self.outdated.push(run);
        }
        self.labels.remove(&run);
    }
}
