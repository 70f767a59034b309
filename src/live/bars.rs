//! Bars on a terminal: one for the whole, one for each step that is under way.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use crane_core::event::Event;
use crane_core::{Record, Run, RunId, StepIndex};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::output::{self, one_line};

/// Steps that have a bar of their own at a time; more would scroll.
const STEP_BARS: usize = 8;
/// How often a bar is redrawn by itself.
const TICK: Duration = Duration::from_millis(120);
/// Longest text beside a bar, in characters.
const TEXT_CHARS: usize = 60;

/// A step of a run.
type Key = (RunId, StepIndex);

/// What a step's bar says: its name, and what it does.
type Text = (String, String);

/// See the module.
#[derive(Debug)]
pub(super) struct Bars {
    all: MultiProgress,
    whole: ProgressBar,
    steps: HashMap<Key, ProgressBar>,
    /// Steps under way that found no place: what their bars would say, oldest first.
    hidden: VecDeque<(Key, Text)>,
    /// Runs in all, when there are several.
    runs: Option<usize>,
}

impl Bars {
    /// Bars for one run, or for so many.
    pub(super) fn start(runs: Option<usize>) -> Self {
        let all = MultiProgress::new();
        let whole = all.add(ProgressBar::new(runs.unwrap_or(0) as u64));
        let unit = if runs.is_some() { "runs" } else { "steps" };
        whole.set_style(style(&format!(
            "[{{bar:30}}] {{pos}}/{{len}} {unit}, {{elapsed}}"
        )));
        whole.enable_steady_tick(TICK);
        output::set_bars(Some(all.clone()));
        Self {
            all,
            whole,
            steps: HashMap::new(),
            hidden: VecDeque::new(),
            runs,
        }
    }

    pub(super) fn set_progress(&self, (ended, total): (usize, usize)) {
        self.whole.set_length(total as u64);
        self.whole.set_position(ended as u64);
    }

    pub(super) fn event(&mut self, run: &Run, record: &Record) {
        let key = |step: &StepIndex| (run.id, *step);
        match &record.event {
            Event::StepStarted { step, attempt, .. } => {
                let text = match attempt.0 {
                    1 => "running".to_owned(),
                    _ => format!("running, attempt {attempt}"),
                };
                self.show(key(step), run, &text);
            }
            Event::StepAttemptFailed { step, attempt, .. } => {
                let text = format!("waiting for attempt {}", attempt.next());
                self.show(key(step), run, &text);
            }
            Event::StepAttemptLost { step, .. }
            | Event::StepCompleted { step, .. }
            | Event::StepFailed { step, .. }
            | Event::StepSkipped { step }
            | Event::StepCancelled { step, .. } => self.remove(key(step)),
            Event::RunCompleted { .. } | Event::RunFailed { .. } | Event::RunCancelled => {
                self.run_ended(run.id);
            }
            Event::RunAccepted(_)
            | Event::RunPlanned { .. }
            | Event::RunStarted
            | Event::RunCancelRequested
            | Event::RunReopened { .. } => {}
        }
    }

    fn show(&mut self, key: Key, run: &Run, what: &str) {
        let what = one_line(what, TEXT_CHARS);
        if let Some(bar) = self.steps.get(&key) {
            bar.set_message(what);
            return;
        }
        let plan = run.plan.as_deref();
        let step = plan.and_then(|plan| plan.steps.get(key.1.position()));
        let text = (step.map_or(String::new(), |step| step.id.to_string()), what);
        self.hidden.retain(|(hidden, _)| *hidden != key);
        self.hidden.push_back((key, text));
        self.fill();
    }

    /// Gives bars to steps that wait for one.
    fn fill(&mut self) {
        while self.steps.len() < STEP_BARS
            && let Some((key, (name, what))) = self.hidden.pop_front()
        {
            let bar = self
                .all
                .insert_before(&self.whole, ProgressBar::new_spinner());
            bar.set_style(style("{spinner} {prefix}: {msg}, {elapsed}"));
            bar.set_prefix(name);
            bar.set_message(what);
            bar.enable_steady_tick(TICK);
            self.steps.insert(key, bar);
        }
    }

    fn remove(&mut self, key: Key) {
        match self.steps.remove(&key) {
            Some(bar) => {
                bar.finish_and_clear();
                self.all.remove(&bar);
                self.fill();
            }
            None => self.hidden.retain(|(hidden, _)| *hidden != key),
        }
    }

    fn run_ended(&mut self, run: RunId) {
        self.hidden.retain(|(key, _)| key.0 != run);
        let steps: Vec<_> = self
            .steps
            .keys()
            .filter(|key| key.0 == run)
            .copied()
            .collect();
        for key in steps {
            self.remove(key);
        }
        if self.runs.is_some() {
            self.whole.inc(1);
        }
    }
}

impl Drop for Bars {
    /// The bars are of the moment: what stays on the screen are the lines.
    fn drop(&mut self) {
        output::set_bars(None);
        for bar in self.steps.values() {
            bar.finish_and_clear();
        }
        self.whole.finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
