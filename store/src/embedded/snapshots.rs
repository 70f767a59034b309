//! Snapshots of live runs and data of stateful tools, in sled.
//!
//! ```text
//!   'r' run id     crc | version | image      the run's summary, labels and all its events
//!   't' key        crc | version | value      rows and results of stateful tools
//!   'm' "tools"    crc | version | lsn        tool writes below this lsn are in the rows
//!   'm' "cursor"   crc | version | cursor     the journal before it is not needed any more
//! ```
//!
//! One tree, so that a batch is atomic. A flush makes everything before it durable; the cursor is
//! written and flushed after, and apart from, the snapshots that it relies on.
//!
//! Why these settings: sled 1.0.0-alpha.124 is the only sled whose `flush` is power-safe; it does
//! not bound its memory, so that only live runs are kept here; its background flusher would wake an
//! idle process five times a second, and aborts the process when a flush fails.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use crane_core::event::Labels;
use crane_core::{Epoch, RunId};

use super::frame::Fields;
use super::layout::At;
use super::record::{self, Image};
use crate::{Error, Summary};

/// Rows of one leaf, which sled reads and writes as one piece; part of the stored layout.
///
/// By `benches/leaf_fanout.rs` (rows/s filled | overwritten, two shared cores) 64, 128 and 1024
/// gave 182k | 13.0k, 182k | 13.3k and 194k | 16.3k for rows of 1.2 KB, and 4.7k | 1.10k,
/// 4.4k | 1.13k and 4.0k | 0.99k for rows of 60 KB: little between them. 128 keeps a leaf of 60 KB
/// rows at 8 MB, where 1024 would make 61 MB.
const LEAF_FANOUT: usize = 128;

/// Bytes of rows that sled may keep decoded.
const CACHE_BYTES: usize = 64 << 20;

/// Version of the rows' layout.
const VERSION: u16 = 1;
/// Bytes before a row's value: checksum and version.
const PREFIX: usize = 6;

const RUN: u8 = b'r';
const TOOL: u8 = b't';
const TOOLS_LSN: &[u8] = b"mtools";
const CURSOR: &[u8] = b"mcursor";

/// Up to where the journal is not needed any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cursor {
    /// The first segment that is needed.
    pub(crate) segment: u32,
    /// The number of its first record.
    pub(crate) lsn: u64,
    /// The number of the first record that was not durable yet when this was written: the journal
    /// must reach at least up to it.
    pub(crate) reaches: u64,
    /// The epoch at that time.
    pub(crate) epoch: Epoch,
}

impl Cursor {
    /// Of a store in which nothing was ever written.
    pub(crate) const START: Self = Self {
        segment: 1,
        lsn: 1,
        reaches: 1,
        epoch: Epoch(0),
    };

    /// Appends the stored form.
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.segment.to_le_bytes());
        out.extend_from_slice(&self.lsn.to_le_bytes());
        out.extend_from_slice(&self.reaches.to_le_bytes());
        out.extend_from_slice(&self.epoch.0.to_le_bytes());
    }

    /// Takes the stored form off `fields`.
    pub(crate) fn take(fields: &mut Fields<'_>) -> Option<Self> {
        Some(Self {
            segment: fields.u32()?,
            lsn: fields.u64()?,
            reaches: fields.u64()?,
            epoch: Epoch(fields.u64()?),
        })
    }
}

/// A run's snapshot without its events.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    /// The run.
    pub(crate) run: RunId,
    /// Its summary.
    pub(crate) summary: Summary,
    /// Its labels.
    pub(crate) labels: Option<Labels>,
}

/// A run's snapshot.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    /// Its summary.
    pub(crate) summary: Summary,
    /// Number of its events.
    pub(crate) count: u32,
    value: sled::InlineArray,
    events_at: usize,
}

impl Snapshot {
    /// All events up to the summary's.
    pub(crate) fn events(&self) -> &[u8] {
        &self.value[self.events_at..]
    }
}

/// What is read at start.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    /// The cursor; `None` in a fresh or rebuilt directory.
    pub(crate) cursor: Option<Cursor>,
    /// All runs.
    pub(crate) runs: Vec<Head>,
    /// Rows and results of stateful tools.
    pub(crate) tools: HashMap<Vec<u8>, Vec<u8>>,
    /// Tool writes below this number are in `tools`.
    pub(crate) tools_lsn: u64,
}

/// Changes that are made together.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    rows: sled::Batch,
    /// Number of changes.
    pub(crate) count: usize,
    /// Bytes of the values.
    pub(crate) bytes: usize,
    value: Vec<u8>,
}

impl Batch {
    /// Puts the snapshot of a run, whose events are `events` in pieces.
    pub(crate) fn put_run<'a>(
        &mut self,
        run: RunId,
        summary: &Summary,
        labels: &Labels,
        count: u32,
        events: impl IntoIterator<Item = &'a [u8]>,
    ) {
        self.put(&run_key(run), |out| {
            record::put_image(
                out,
                crane_core::Seq(0),
                count,
                summary,
                Some(labels),
                events,
            );
        });
    }

    /// Removes the snapshot of a run.
    pub(crate) fn remove_run(&mut self, run: RunId) {
        self.rows.remove(run_key(run));
        self.count += 1;
    }

    /// Puts or removes data of a stateful tool.
    pub(crate) fn tool(&mut self, key: &[u8], value: Option<&[u8]>) {
        let key = [&[TOOL], key].concat();
        match value {
            Some(value) => self.put(&key, |out| out.extend_from_slice(value)),
            None => {
                self.rows.remove(key.as_slice());
                self.count += 1;
            }
        }
    }

    /// Notes that the data of tools contains all writes below `lsn`.
    pub(crate) fn tools_lsn(&mut self, lsn: u64) {
        self.put(TOOLS_LSN, |out| out.extend_from_slice(&lsn.to_le_bytes()));
    }

    /// Puts a row as an export holds it.
    pub(crate) fn put_raw(&mut self, key: &[u8], value: &[u8]) {
        self.rows.insert(key, value);
        self.count += 1;
        self.bytes += value.len();
    }

    fn put(&mut self, key: &[u8], write: impl FnOnce(&mut Vec<u8>)) {
        self.value.clear();
        self.value.extend_from_slice(&[0; 4]);
        self.value.extend_from_slice(&VERSION.to_le_bytes());
        write(&mut self.value);
        let crc = crc32c::crc32c(&self.value[4..]);
        self.value[..4].copy_from_slice(&crc.to_le_bytes());
        self.rows.insert(key, self.value.as_slice());
        self.count += 1;
        self.bytes += self.value.len();
    }
}

/// A handle to sled. `Send`, not `Sync`: each thread has its own.
#[derive(Clone)]
pub(crate) struct Snapshots {
    db: sled::Db<LEAF_FANOUT>,
    dir: PathBuf,
}

impl std::fmt::Debug for Snapshots {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshots")
            .field("dir", &self.dir)
            .finish_non_exhaustive()
    }
}

impl Snapshots {
    /// Opens or creates the directory. A damaged one may make sled panic, which is an error here.
    pub(crate) fn open(dir: &Path) -> Result<Self, Error> {
        let config = sled::Config::new()
            .path(dir)
            .cache_capacity_bytes(CACHE_BYTES)
            .flush_every_ms(None)
            .zstd_compression_level(1);
        let db = catch_unwind(AssertUnwindSafe(|| config.open::<LEAF_FANOUT>()))
            .map_err(|_| damaged(dir, "sled panicked while it opened the directory"))?
            .at("cannot open", dir)?;
        Ok(Self {
            db,
            dir: dir.to_owned(),
        })
    }

    /// Reads everything but the runs' events, and checks every row.
    pub(crate) fn contents(&self) -> Result<Contents, Error> {
        let mut contents = Contents::default();
        catch_unwind(AssertUnwindSafe(|| {
            self.each(|key, row| self.sort(&mut contents, key, row))
        }))
        .map_err(|_| damaged(&self.dir, "sled panicked while it read the rows"))??;
        Ok(contents)
    }

    fn sort(&self, contents: &mut Contents, key: &[u8], row: &[u8]) -> Result<(), Error> {
        let value = self.check(key, row)?;
        let bad = || damaged(&self.dir, &format!("the row {key:02x?} is malformed"));
        match key {
            CURSOR => contents.cursor = Some(Cursor::take(&mut Fields(value)).ok_or_else(bad)?),
            TOOLS_LSN => contents.tools_lsn = Fields(value).u64().ok_or_else(bad)?,
            [TOOL, key @ ..] => {
                contents.tools.insert(key.to_vec(), value.to_vec());
            }
            [RUN, id @ ..] => {
                let run = RunId::from_bytes(id.try_into().map_err(|_| bad())?);
                let image = record::image(value).ok_or_else(bad)?;
                contents.runs.push(Head {
                    run,
                    summary: image.summary()?,
                    labels: image.labels()?,
                });
            }
            _ => return Err(bad()),
        }
        Ok(())
    }

    /// Checks every row, and hands the runs to `visit` with their events, and what is wrong with the
    /// rows that are damaged.
    pub(crate) fn check_all(
        &self,
        mut visit: impl FnMut(Result<(RunId, Image<'_>), Error>),
    ) -> Result<(), Error> {
        catch_unwind(AssertUnwindSafe(|| {
            self.each(|key, row| {
                let mut contents = Contents::default();
                if let Err(error) = self.sort(&mut contents, key, row) {
                    visit(Err(error));
                } else if let Some(head) = contents.runs.pop()
                    && let Some(image) = row.get(PREFIX..).and_then(record::image)
                {
                    visit(Ok((head.run, image)));
                }
                Ok(())
            })
        }))
        .map_err(|_| damaged(&self.dir, "sled panicked while it read the rows"))?
    }

    /// Hands every row to `visit` as it is stored.
    pub(crate) fn each(
        &self,
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        for row in self.db.iter() {
            let (key, row) = row.at("cannot read", &self.dir)?;
            visit(&key, &row)?;
        }
        Ok(())
    }

    /// The snapshot of a run.
    pub(crate) fn get(&self, run: RunId) -> Result<Option<Snapshot>, Error> {
        let key = run_key(run);
        let Some(row) = self.db.get(key).at("cannot read", &self.dir)? else {
            return Ok(None);
        };
        let value = self.check(&key, &row)?;
        let image = record::image(value).ok_or_else(|| {
            damaged(
                &self.dir,
                &format!("the snapshot of run {run} is malformed"),
            )
        })?;
        let (summary, count) = (image.summary()?, image.count);
        let events_at = row.len() - image.events.len();
        Ok(Some(Snapshot {
            summary,
            count,
            value: row,
            events_at,
        }))
    }

    /// Makes changes together; durable after [`Snapshots::flush`].
    pub(crate) fn apply(&self, batch: Batch) -> Result<(), Error> {
        self.db
            .apply_batch(batch.rows)
            .at("cannot write", &self.dir)
    }

    /// Makes all changes so far durable.
    pub(crate) fn flush(&self) -> Result<(), Error> {
        self.db.flush().at("cannot sync", &self.dir)?;
        Ok(())
    }

    /// Writes the cursor; durable after [`Snapshots::flush`].
    pub(crate) fn set_cursor(&self, cursor: Cursor) -> Result<(), Error> {
        let mut batch = Batch::default();
        batch.put(CURSOR, |out| cursor.put(out));
        self.apply(batch)
    }

    /// Bytes on disk.
    pub(crate) fn bytes(&self) -> u64 {
        self.db.size_on_disk().unwrap_or(0)
    }

    /// The value of a row whose checksum is right.
    fn check<'a>(&self, key: &[u8], row: &'a [u8]) -> Result<&'a [u8], Error> {
        let mut fields = Fields(row);
        let crc = fields.u32();
        let version = fields.array().map(u16::from_le_bytes);
        if crc.is_none() || crc != row.get(4..).map(crc32c::crc32c) {
            let detail = format!("the row {key:02x?} fails its checksum");
            return Err(damaged(&self.dir, &detail));
        }
        match version {
            Some(VERSION) => Ok(&row[PREFIX..]),
            Some(version) => Err(Error::Schema {
                what: "snapshot row",
                version,
                newest: VERSION,
            }),
            None => Err(damaged(
                &self.dir,
                &format!("the row {key:02x?} is cut short"),
            )),
        }
    }
}

/// Whether an exported row is the cursor, which an export keeps elsewhere.
pub(crate) fn is_cursor(key: &[u8]) -> bool {
    key == CURSOR
}

fn run_key(run: RunId) -> [u8; 17] {
    let mut key = [RUN; 17];
    key[1..].copy_from_slice(&run.to_bytes());
    key
}

fn damaged(dir: &Path, detail: &str) -> Error {
    Error::Corrupt {
        file: dir.display().to_string(),
        offset: 0,
        detail: detail.to_owned(),
    }
}
