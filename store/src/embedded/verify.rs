//! Verifying a store: reads everything, changes nothing, and says what is wrong as data.
//!
//! Checked: the checksums of journal, snapshots, export and history; that every run's events are
//! numbered without gaps and are all there; that epochs never fall; that a round has one terminal
//! event; that a run is in one place as one run. The store must not be open.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crane_core::{Epoch, Event, RunId, Seq};

use super::frame::Frame;
use super::layout::{At, Layout};
use super::live::RunMap;
use super::record::{self, Image, Record};
use super::snapshots::Snapshots;
use super::{export, scan, segments};
use crate::{Error, codec, history};

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The file or directory.
    pub file: String,
    /// Where in it, in bytes.
    pub offset: Option<u64>,
    /// The run it is about.
    pub run: Option<RunId>,
    /// What was found.
    pub detail: String,
}

/// What a verification has read and found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Frames of the journal.
    pub frames: u64,
    /// Records of the journal.
    pub records: u64,
    /// Runs, wherever they are.
    pub runs: usize,
    /// Events, wherever they are; one that is in several places counts for each.
    pub events: u64,
    /// What is wrong; empty when the store is sound.
    pub findings: Vec<Finding>,
}

/// Verifies the store in `dir`.
///
/// # Errors
/// [`Error::InUse`] when it is open, [`Error::Io`] when it cannot be read, [`Error::Corrupt`] when
/// it is not the directory of a store this program knows. Damage inside is a finding.
pub fn verify(dir: &Path) -> Result<Report, Error> {
    let layout = Layout::inspect(dir)?;
    let mut check = Check::default();
    check.history(&layout.history())?;
    check.snapshots(&layout.snapshots())?;
    check.exports(&layout.export())?;
    check.journal(&layout.journal())?;
    check.report.runs = check.known.len();
    Ok(check.report)
}

/// What is known of a run so far.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    last: Seq,
    ended: bool,
}

/// What the journal says of a run.
#[derive(Clone, Copy, Debug)]
struct InJournal {
    track: Track,
    first: Seq,
    ended: bool,
    segment: u32,
    offset: u64,
}

/// The place of the last event of a sequence.
#[derive(Clone, Copy, Debug)]
struct Track {
    last: Seq,
    /// Whether the round has had its terminal event; `None` where the beginning was not read.
    terminal: Option<bool>,
}

#[derive(Default)]
struct Check {
    report: Report,
    known: RunMap<Known>,
    in_journal: RunMap<InJournal>,
    epoch: Epoch,
}

impl Check {
    fn find(&mut self, file: &Path, offset: Option<u64>, run: Option<RunId>, detail: String) {
        self.report.findings.push(Finding {
            file: file.display().to_string(),
            offset,
            run,
            detail,
        });
    }

    /// Turns damage into a finding, and hands on what is not damage.
    fn damage(&mut self, error: Error) -> Result<(), Error> {
        match error {
            Error::Corrupt {
                file,
                offset,
                detail,
            } => {
                self.find(Path::new(&file), Some(offset), None, detail);
                Ok(())
            }
            Error::Schema { .. } => {
                self.find(Path::new(""), None, None, error.to_string());
                Ok(())
            }
            other => Err(other),
        }
    }

    fn history(&mut self, dir: &Path) -> Result<(), Error> {
        let damages = history::verify(dir, |finished| {
            let (run, last) = (finished.run, finished.summary.seq);
            let mut track = Track {
                last: Seq(0),
                terminal: Some(false),
            };
            self.events(dir, None, run, &mut track, &finished.events.bytes);
            if track.last != last || track.terminal != Some(true) {
                let detail = format!(
                    "its record ends with event {} of {last}, terminal: {:?}",
                    track.last, track.terminal
                );
                self.find(dir, None, Some(run), detail);
            }
            let known = self.known.entry(run).or_default();
            let before = known.last;
            *known = Known { last, ended: true };
            // The same one twice is what a repeated write leaves behind.
            if before > last {
                let detail =
                    format!("a record up to event {before} is followed by one up to {last}");
                self.find(dir, None, Some(run), detail);
            }
        })?;
        for damage in damages {
            let file = PathBuf::from(damage.file);
            self.find(&file, Some(damage.offset), None, damage.detail);
        }
        Ok(())
    }

    fn snapshots(&mut self, dir: &Path) -> Result<(), Error> {
        // Opening sled writes, so a copy is opened.
        let copy = copy_place();
        let outcome = copy_dir(dir, &copy).and_then(|()| {
            let snapshots = Snapshots::open(&copy)?;
            snapshots.check_all(|row| match row {
                Ok((run, image)) => self.snapshot(dir, run, &image),
                Err(error) => self.find(dir, None, None, error.to_string()),
            })
        });
        fs::remove_dir_all(&copy).at("cannot remove", &copy)?;
        match outcome {
            Ok(()) => Ok(()),
            Err(Error::Corrupt { detail, .. }) => {
                self.find(dir, None, None, detail);
                Ok(())
            }
            Err(Error::Io { context, source }) if context.contains("crane-check") => {
                self.find(dir, None, None, format!("sled does not open: {source}"));
                Ok(())
            }
            Err(error) => self.damage(error),
        }
    }

    fn snapshot(&mut self, dir: &Path, run: RunId, image: &Image<'_>) {
        let summary = match image.summary() {
            Ok(summary) => summary,
            Err(error) => return self.find(dir, None, Some(run), error.to_string()),
        };
        let mut track = Track {
            last: Seq(0),
            terminal: Some(false),
        };
        self.events(dir, None, run, &mut track, image.events);
        if track.last != summary.seq {
            let detail = format!(
                "its snapshot ends with event {} of {}",
                track.last, summary.seq
            );
            self.find(dir, None, Some(run), detail);
        }
        let known = self.known.entry(run).or_default();
        if summary.seq > known.last {
            known.last = summary.seq;
            known.ended = summary.status.is_ended();
        }
    }

    fn exports(&mut self, dir: &Path) -> Result<(), Error> {
        for path in export::list(dir)? {
            if let Err(error) = export::read(&path, |_, _| Ok(())) {
                self.damage(error)?;
            }
        }
        Ok(())
    }

    fn journal(&mut self, dir: &Path) -> Result<(), Error> {
        let ids = segments::list(dir)?;
        let scanned = scan::scan(dir, &ids, None, |segment, offset, frame| {
            self.frame(dir, segment, offset, frame);
            Ok(())
        });
        match scanned {
            Ok(found) => {
                if let Some(damage) = found.damage {
                    self.damage(damage.into_error(dir))?;
                }
            }
            Err(error) => self.damage(error)?,
        }
        for (run, journal) in std::mem::take(&mut self.in_journal) {
            let known = self.known.entry(run).or_default();
            let before = known.last;
            if journal.track.last > before {
                *known = Known {
                    last: journal.track.last,
                    ended: journal.ended,
                };
            }
            // An ended run may have been removed by retention while the journal still had its end.
            if journal.first > before && !journal.ended {
                let path = segments::path(dir, journal.segment);
                let detail = format!(
                    "the journal goes on after event {}, and only {before} events are known before",
                    journal.first
                );
                self.find(&path, Some(journal.offset), Some(run), detail);
            }
        }
        Ok(())
    }

    fn frame(&mut self, dir: &Path, segment: u32, offset: u64, frame: Frame<'_>) {
        let path = segments::path(dir, segment);
        self.report.frames += 1;
        let mut count = 0;
        for record in record::records(frame.records) {
            count += 1;
            let problem = match record {
                Ok(Record::Boot(epoch)) => {
                    let before = std::mem::replace(&mut self.epoch, epoch);
                    (epoch <= before).then(|| format!("epoch {epoch} follows epoch {before}"))
                }
                Ok(Record::Retired(retired)) => {
                    for run in retired.runs() {
                        self.in_journal.remove(&run);
                    }
                    None
                }
                Ok(Record::Tool(bytes)) => codec::decode_tool_write(bytes)
                    .err()
                    .map(|error| error.to_string()),
                Ok(Record::Append(run, image)) => {
                    self.append(&path, segment, offset, run, &image);
                    None
                }
                Err(detail) => Some(detail),
            };
            if let Some(detail) = problem {
                self.find(&path, Some(offset), None, detail);
            }
        }
        if count != frame.count {
            let detail = format!("a frame holds {count} records and says {}", frame.count);
            self.find(&path, Some(offset), None, detail);
        }
        self.report.records += u64::from(count);
    }

    fn append(&mut self, path: &Path, segment: u32, offset: u64, run: RunId, image: &Image<'_>) {
        let summary = match image.summary() {
            Ok(summary) => summary,
            Err(error) => return self.find(path, Some(offset), Some(run), error.to_string()),
        };
        let mut journal = self.in_journal.get(&run).copied().unwrap_or(InJournal {
            track: Track {
                last: image.expected,
                terminal: (image.expected == Seq(0)).then_some(false),
            },
            first: image.expected,
            ended: false,
            segment,
            offset,
        });
        if image.expected != journal.track.last {
            let detail = format!(
                "events after {} follow those up to {}",
                image.expected, journal.track.last
            );
            self.find(path, Some(offset), Some(run), detail);
            journal.track.last = image.expected;
        }
        self.events(path, Some(offset), run, &mut journal.track, image.events);
        if journal.track.last != summary.seq {
            let detail = format!("events end at {} of {}", journal.track.last, summary.seq);
            self.find(path, Some(offset), Some(run), detail);
        }
        journal.ended = summary.status.is_ended();
        self.in_journal.insert(run, journal);
    }

    /// Follows a sequence of events.
    fn events(
        &mut self,
        file: &Path,
        offset: Option<u64>,
        run: RunId,
        track: &mut Track,
        bytes: &[u8],
    ) {
        for record in codec::records(bytes) {
            let record = match record {
                Ok(record) => record,
                Err(error) => return self.find(file, offset, Some(run), error.to_string()),
            };
            self.report.events += 1;
            if record.seq != track.last.next() {
                let detail = format!("event {} follows event {}", record.seq, track.last);
                self.find(file, offset, Some(run), detail);
            }
            track.last = record.seq;
            if matches!(record.event, Event::RunReopened { .. }) {
                if track.terminal == Some(false) {
                    let detail = format!("event {} reopens a run that had not ended", record.seq);
                    self.find(file, offset, Some(run), detail);
                }
                track.terminal = Some(false);
            }
            if record.event.is_terminal() {
                if track.terminal == Some(true) {
                    let detail = format!("event {} ends a round that had ended", record.seq);
                    self.find(file, offset, Some(run), detail);
                }
                track.terminal = Some(true);
            }
        }
    }
}

/// A place for a copy that no other check uses, in this process or another.
fn copy_place() -> PathBuf {
    static CHECKS: AtomicU64 = AtomicU64::new(0);
    let number = CHECKS.fetch_add(1, Ordering::Relaxed);
    let pid = std::process::id();
    std::env::temp_dir().join(format!("crane-check-{pid}-{number}"))
}

fn copy_dir(from: &Path, to: &Path) -> Result<(), Error> {
    fs::create_dir_all(to).at("cannot create", to)?;
    for entry in fs::read_dir(from).at("cannot list", from)? {
        let path = entry.at("cannot list", from)?.path();
        let Some(name) = path.file_name() else {
            continue;
        };
        let target = to.join(name);
        if path.is_dir() {
            copy_dir(&path, &target)?;
        } else {
            fs::copy(&path, &target).at("cannot copy", &path)?;
        }
    }
    Ok(())
}
