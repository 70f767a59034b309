//! The live view of runs on standard error: bars on a terminal, a line per event elsewhere.
//!
//! ```text
//!   Follower ──> event(&Run, &Record) ──> sentence ──┬─> line above the bars    (a step's end)
//!                                                    ├─> the step's own bar     (running, waiting)
//!                                                    └─> plain line             (no terminal)
//! ```
//!
//! The view is told what happened and never asks: without it a run goes on just the same.

mod bars;
mod sentence;

use crane_core::event::Event;
use crane_core::{Record, Run};

use crate::output::{self, Paint};
use bars::Bars;

/// A view of one run, or of several.
#[derive(Debug)]
pub struct Live {
    paint: Paint,
    /// Whether lines have to say which run they are about.
    several: bool,
    /// Steps that have ended and steps in all, of a single run.
    progress: (usize, usize),
    bars: Option<Bars>,
}

impl Live {
    /// A view of one run.
    pub fn of_one() -> Self {
        Self::start(None)
    }

    /// A view of `count` runs.
    pub fn of_several(count: usize) -> Self {
        Self::start(Some(count))
    }

    fn start(count: Option<usize>) -> Self {
        Self {
            paint: Paint::new(output::is_colored()),
            several: count.is_some(),
            progress: (0, 0),
            bars: output::is_interactive().then(|| Bars::start(count)),
        }
    }

    /// A run that has a past goes on: says how far it had got.
    pub fn goes_on(&mut self, run: &Run) {
        let (ended, total) = progress(run);
        let text = match total {
            0 => format!("run {} goes on; it has no plan yet", run.id),
            _ => format!(
                "run {} goes on; {ended} of {total} steps have ended",
                run.id
            ),
        };
        output::note(&self.paint.bold(text));
        self.progress = (ended, total);
        self.show_progress();
    }

    /// Something happened; `run` is as it was right after.
    pub fn event(&mut self, run: &Run, record: &Record) {
        if let Some(bars) = &mut self.bars {
            bars.event(run, record);
        }
        let is_start = matches!(record.event, Event::StepStarted { .. });
        // On a terminal, a running step is a bar and not a line.
        if !(is_start && self.bars.is_some())
            && let Some(text) = sentence::of(run, record, self.paint)
        {
            if self.several && record.event.step().is_some() {
                output::note(&format!("{} {text}", self.paint.dim(run.id)));
            } else {
                output::note(&text);
            }
        }
        // Counted, not looked up: a plan may have 10,000 steps.
        match &record.event {
            Event::RunAccepted(_) | Event::RunPlanned { .. } | Event::RunReopened { .. } => {
                self.progress = progress(run);
            }
            Event::StepCompleted { .. }
            | Event::StepFailed { .. }
            | Event::StepSkipped { .. }
            | Event::StepCancelled { .. } => self.progress.0 += 1,
            Event::RunStarted
            | Event::StepStarted { .. }
            | Event::StepAttemptFailed { .. }
            | Event::StepAttemptLost { .. }
            | Event::RunCancelRequested
            | Event::RunCompleted { .. }
            | Event::RunFailed { .. }
            | Event::RunCancelled => {}
        }
        self.show_progress();
    }

    fn show_progress(&self) {
        if let Some(bars) = &self.bars
            && !self.several
        {
            bars.set_progress(self.progress);
        }
    }
}

/// Steps that have ended, whichever way, and steps in all.
pub fn progress(run: &Run) -> (usize, usize) {
    let ended = run.steps.iter().filter(|step| step.status.is_ended());
    (ended.count(), run.steps.len())
}
