//! The journal's thread: checks, writes, syncs, publishes, acknowledges, in that order.
//!
//! ```text
//!   queue ──> check each ──> frame ──> write + fdatasync ──> live table, catalog, tool data ──> acks
//!               │ refused                                         │
//!               v                                                 v
//!             ack (after the frame)                          checkpointer's pile
//! ```
//!
//! It reads nothing from disk: what needs reading first (a repeat of old events, a run that is in
//! history) goes to the readers. When it fails, everybody waiting and everybody after is told that
//! the store has stopped; nothing is tried again on that file.

use std::sync::Arc;

use crane_core::{RunId, Seq, limits};

use super::frame::Builder;
use super::journal::Journal;
use super::layout::is_no_space;
use super::live::{Chunk, RunMap};
use super::queue::{Job, Task, Waiter};
use super::readers::Request;
use super::{Shared, lock, read, record, write};
use crate::metrics::Trouble;
use crate::{Append, Error, ToolWrite, Write};

/// What becomes of a write.
enum Verdict {
    /// It goes into the frame.
    Accept,
    /// It is done with; told when everything before it is durable.
    Answer(Result<(), Error>),
    /// The run has writes in the frame being filled: commit them and look again.
    CommitFirst,
    /// It repeats events that are not in memory.
    Compare,
    /// The run is in history.
    Thaw,
}

/// State of the journal's thread.
pub(crate) struct Writer {
    shared: Arc<Shared>,
    journal: Journal,
    frame: Builder,
    /// What the frame holds.
    accepted: Vec<Job>,
    /// Where runs with events in the frame will be.
    tentative: RunMap<Seq>,
    /// Who asks whether a write would become durable; a frame answers that as well.
    probes: Vec<Waiter>,
    /// Told after the frame is durable.
    answers: Vec<(Waiter, Result<(), Error>)>,
    /// Reused between batches: runs that ended, and that began to need the segment.
    ended: Vec<RunId>,
    dirtied: Vec<(u32, RunId)>,
    /// Segment for which the checkpointer was asked to prepare a successor.
    asked_for: u32,
}

impl Writer {
    /// Goes on where `journal` ends.
    pub(crate) fn new(shared: Arc<Shared>, journal: Journal) -> Self {
        Self {
            shared,
            journal,
            frame: Builder::default(),
            accepted: Vec::new(),
            tentative: RunMap::default(),
            probes: Vec::new(),
            answers: Vec::new(),
            ended: Vec::new(),
            dirtied: Vec::new(),
            asked_for: 0,
        }
    }

    /// Works until the queue is closed and empty.
    pub(crate) fn run(&mut self) -> Result<(), Error> {
        let mut jobs = Vec::new();
        while self.shared.queue.take(&mut jobs, limits::LAZY_DELAY) {
            self.shared.still_open()?;
            let begun = self.shared.now();
            for job in jobs.drain(..) {
                self.add(job)?;
            }
            self.commit()?;
            let took = self.shared.now().since(begun);
            self.shared.metrics.append_seconds.record(took);
        }
        Ok(())
    }

    fn add(&mut self, job: Job) -> Result<(), Error> {
        loop {
            let verdict = match &job.task {
                Task::Write(Write::Append(append)) => self.judge_append(append),
                Task::Write(Write::Tool(write)) => self.judge_tool(write),
                Task::Retired(_) => Verdict::Accept,
                Task::Probe => {
                    self.probes.push(job.waiter);
                    return Ok(());
                }
            };
            match verdict {
                Verdict::CommitFirst => self.commit()?,
                Verdict::Accept => return self.accept(job),
                Verdict::Answer(answer) => {
                    self.answers.push((job.waiter, answer));
                    return Ok(());
                }
                Verdict::Thaw => {
                    self.shared.readers.push(Request::Thaw(job));
                    return Ok(());
                }
                Verdict::Compare => {
                    if let Task::Write(Write::Append(append)) = job.task {
                        let request = Request::Compare(append, job.waiter);
                        self.shared.readers.push(request);
                    }
                    return Ok(());
                }
            }
        }
    }

    fn judge_append(&self, append: &Append) -> Verdict {
        let refuse = |error| Verdict::Answer(Err(error));
        if append.fence.epoch != self.shared.epoch {
            self.shared.metrics.fenced_writes.increment(1);
            return refuse(Error::Fenced {
                shard: append.fence.shard,
                current: Some(self.shared.epoch),
            });
        }
        let (run, expected) = (append.run, append.expected);
        let conflict = |stored| {
            refuse(Error::Conflict {
                run,
                stored,
                expected,
            })
        };
        let after = Seq(expected.0 + u64::from(append.events.count));
        let makes_sense = append.events.count > 0 && append.summary.seq == after;
        if let Some(tentative) = self.tentative.get(&run).copied() {
            return if tentative != expected {
                Verdict::CommitFirst
            } else if makes_sense {
                Verdict::Accept
            } else {
                conflict(tentative)
            };
        }
        if !makes_sense {
            // An empty or contradictory batch; what is stored is told as far as it is at hand.
            let entry = read(&self.shared.catalog).get(run);
            return conflict(entry.map_or(Seq(0), |entry| entry.summary.seq));
        }
        let stored = match self.shared.live.hold(run, expected) {
            Some(seq) => seq,
            None => match read(&self.shared.catalog).get(run) {
                // Its events are in history: needed to go on with it, and to compare with.
                Some(entry) if entry.summary.seq == expected && entry.place.is_some() => {
                    return Verdict::Thaw;
                }
                Some(entry) => entry.summary.seq,
                None => Seq(0),
            },
        };
        if stored == expected {
            let is_new = stored == Seq(0);
            return match is_new.then(|| self.shared.disk.refusing()).flatten() {
                Some(error) => refuse(error),
                None => Verdict::Accept,
            };
        }
        if after > stored {
            conflict(stored)
        } else if self.shared.live.repeats(append) {
            Verdict::Answer(Ok(()))
        } else {
            Verdict::Compare
        }
    }

    fn judge_tool(&self, write: &ToolWrite) -> Verdict {
        let tools = lock(&self.shared.tools);
        if tools.data.result(&write.tool, &write.key).is_some() {
            return Verdict::Answer(Ok(()));
        }
        match tools.data.check(write) {
            Ok(()) => Verdict::Accept,
            Err(error) => Verdict::Answer(Err(error)),
        }
    }

    fn accept(&mut self, job: Job) -> Result<(), Error> {
        self.put(job);
        if self.frame.is_full() {
            self.commit()?;
        }
        Ok(())
    }

    fn put(&mut self, job: Job) {
        match &job.task {
            Task::Write(Write::Append(append)) => {
                self.frame.record(|out| record::put_append(out, append));
                self.tentative.insert(append.run, append.summary.seq);
            }
            Task::Write(Write::Tool(write)) => {
                self.frame.record(|out| record::put_tool(out, write));
            }
            Task::Retired(runs) => self.frame.record(|out| record::put_retired(out, runs)),
            // Answered without a record.
            Task::Probe => return,
        }
        self.accepted.push(job);
    }

    /// There is no space: tells so to the runs that this batch would create, instead of letting
    /// them wait. What accepted runs have to write stays and waits.
    fn refuse_new_runs(&mut self) {
        let Some(error) = self.shared.disk.refusing() else {
            return;
        };
        let mut refused = RunMap::default();
        self.frame.clear();
        self.tentative.clear();
        for job in std::mem::take(&mut self.accepted) {
            match &job.task {
                Task::Write(Write::Append(append))
                    if append.expected == Seq(0) || refused.contains_key(&append.run) =>
                {
                    refused.insert(append.run, append.expected);
                    job.waiter.tell(Err(error.clone()));
                }
                Task::Write(_) | Task::Retired(_) | Task::Probe => self.put(job),
            }
        }
    }

    /// Makes what was accepted durable and visible, and tells everybody who can be told.
    fn commit(&mut self) -> Result<(), Error> {
        let lsn = self.journal.lsn();
        if !self.frame.is_empty() {
            self.write()?;
            self.publish()?;
        }
        if !self.probes.is_empty() {
            self.answer_probes(self.journal.lsn() > lsn)?;
        }
        for (waiter, answer) in self.answers.drain(..) {
            waiter.tell(answer);
        }
        Ok(())
    }

    fn answer_probes(&mut self, synced: bool) -> Result<(), Error> {
        let outcome = if synced { Ok(()) } else { self.journal.probe() };
        match &outcome {
            Err(error) if !is_no_space(error) => return outcome,
            Ok(()) | Err(_) => {}
        }
        for waiter in self.probes.drain(..) {
            waiter.tell(outcome.clone());
        }
        Ok(())
    }

    fn write(&mut self) -> Result<(), Error> {
        let segment = self.journal.segment();
        loop {
            match self.journal.commit(&mut self.frame) {
                Ok(()) => break,
                Err(error) if is_no_space(&error) => {
                    crate::metrics::error(Trouble::JournalSpace);
                    self.shared.disk.set_full(true);
                    self.refuse_new_runs();
                    if self.frame.is_empty() {
                        // Nobody is left who would try again and notice that space has returned:
                        // from here on the free bytes alone decide.
                        self.shared.disk.set_full(false);
                        return Ok(());
                    }
                    if self.shared.queue.pause(limits::SPACE_PAUSE) {
                        return Err(error);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        self.shared.disk.set_full(false);
        if self.journal.segment() != segment {
            // Space is taken a segment at a time: look before the reserve is used up by new runs.
            self.shared.disk.look_again();
        }
        let metrics = &self.shared.metrics;
        metrics.batch_records.record(self.frame.count());
        metrics.journal_bytes.increment(self.frame.len() as u64);
        self.frame.clear();
        self.tentative.clear();
        Ok(())
    }

    /// Shows to readers what has become durable, then acknowledges it.
    fn publish(&mut self) -> Result<(), Error> {
        let shared = Arc::clone(&self.shared);
        let segment = self.journal.segment();
        let mut waiters = Vec::with_capacity(self.accepted.len());
        let mut tool_writes = Vec::new();
        {
            let mut catalog = write(&shared.catalog);
            for job in self.accepted.drain(..) {
                waiters.push(job.waiter);
                match job.task {
                    Task::Write(Write::Append(append)) => {
                        let (run, summary) = (append.run, append.summary);
                        catalog.live(run, &summary, append.labels.as_deref());
                        if summary.status.is_ended() {
                            self.ended.push(run);
                        }
                        let chunk = Chunk {
                            expected: append.expected,
                            segment,
                            events: append.events,
                        };
                        if shared.live.push(run, summary, Arc::new(chunk)) {
                            self.dirtied.push((segment, run));
                        }
                    }
                    Task::Write(Write::Tool(write)) => tool_writes.push(write),
                    Task::Retired(_) | Task::Probe => {}
                }
            }
        }
        {
            // In one piece: whoever sees the number has seen every write before it.
            let mut tools = lock(&shared.tools);
            for write in &tool_writes {
                tools.data.apply(write);
            }
            tools.lsn = self.journal.lsn();
        }
        self.tell_checkpointer(segment);
        shared
            .faults
            .pass("journal.applied")
            .map_err(|error| Shared::died(&error))?;
        for waiter in waiters {
            waiter.tell(Ok(()));
        }
        Ok(())
    }

    fn tell_checkpointer(&mut self, segment: u32) {
        let wants_spare = self.asked_for != segment
            && self.journal.is_half_full()
            && self.shared.segments.ready() < self.shared.spare_segments;
        if wants_spare {
            self.asked_for = segment;
        }
        if self.ended.is_empty() && self.dirtied.is_empty() && !wants_spare {
            return;
        }
        let (ended, dirtied) = (&mut self.ended, &mut self.dirtied);
        self.shared.work.add(|pile| {
            pile.ended.append(ended);
            pile.dirtied.append(dirtied);
            pile.prepare |= wants_spare;
        });
    }
}
