//! Tests of the run state machine, on a bench that checks what must hold after every turn.
#![allow(clippy::unwrap_used)]

mod ending;
mod failures;
mod fold;
mod interruption;
mod random;
mod read;
mod recovery;
mod scale;
mod sizes;
mod steps;
mod submission;
mod transitions;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::read::record_of;
use super::view::event_views;
use super::{
    Effect, Input, Outcome, Phase, Rejected, Run, RunStatus, StartStep, StepStatus, Submission,
    Turn,
};
use crate::event::{Accepted, Event, Record};
use crate::ids::{Attempt, Round, RunId, Seq, StepIndex};
use crate::json::Json;
use crate::limits::Limits;
use crate::plan::{Delivery, Plan};
use crate::time::Timestamp;
use crate::tool::{ErrorKind, ToolError};

fn load(plan: &Value) -> Arc<Plan> {
    Arc::new(Plan::load(&Json::from_value(plan)).unwrap())
}

/// A plan of echo steps: each is its id and the ids it waits for.
fn echoes(steps: &[(&str, &[&str])]) -> Value {
    let steps: Vec<Value> = steps
        .iter()
        .map(|(id, after)| {
            json!({"id": id, "tool": "echo", "input": {"from": id}, "depends_on": after})
        })
        .collect();
    json!({ "steps": steps })
}

/// The plan with these keys set in its steps, by id.
fn with(mut plan: Value, changes: &[(&str, Value)]) -> Value {
    for (id, change) in changes {
        let steps = plan["steps"].as_array_mut().unwrap();
        let step = steps.iter_mut().find(|step| step["id"] == **id).unwrap();
        for (key, value) in change.as_object().unwrap() {
            step[key] = value.clone();
        }
    }
    plan
}

fn accepted(prompt: Option<&str>, plan: Option<&Plan>) -> Accepted {
    Accepted {
        prompt: prompt.map(Into::into),
        plan: plan.map(|plan| plan.source.clone()),
        input: Json::from_trusted("{}"),
        labels: BTreeMap::new(),
        request_hash: None,
        trace_id: None,
    }
}

fn submit_plan(plan: &Arc<Plan>) -> Input {
    Input::Submit(Box::new(Submission {
        accepted: accepted(None, Some(plan)),
        plan: Some(Arc::clone(plan)),
    }))
}

fn submit_prompt(prompt: &str) -> Input {
    Input::Submit(Box::new(Submission {
        accepted: accepted(Some(prompt), None),
        plan: None,
    }))
}

fn ok(output: &Value) -> Outcome {
    Outcome::Completed(Json::from_value(output))
}

fn failed(kind: ErrorKind) -> Outcome {
    Outcome::Failed(ToolError::new(kind, "no luck"))
}

/// A run with its journal and a clock, and the attempts that were started.
struct Bench {
    run: Run,
    records: Vec<Record>,
    now: Timestamp,
    limits: Limits,
    /// Attempts that were started and have neither reported nor died.
    out: BTreeSet<(StepIndex, Attempt)>,
    /// The timer that is set.
    alarm: Option<Timestamp>,
}

impl Bench {
    fn empty() -> Self {
        Self {
            run: Run::empty(RunId::from_time(1, [7; 10])),
            records: Vec::new(),
            now: Timestamp(1_000_000),
            limits: Limits::default(),
            out: BTreeSet::new(),
            alarm: None,
        }
    }

    fn limited(limits: Limits) -> Self {
        Self {
            limits,
            ..Self::empty()
        }
    }

    /// A run of this plan with its first steps under way.
    fn started(plan: &Value) -> Self {
        let mut bench = Self::empty();
        bench.start(plan);
        bench
    }

    fn start(&mut self, plan: &Value) -> Turn {
        self.turn([submit_plan(&load(plan)), Input::Start])
    }

    /// A turn in which every input is accepted.
    #[track_caller]
    fn turn(&mut self, inputs: impl IntoIterator<Item = Input>) -> Turn {
        let (turn, answers) = self.try_turn(inputs);
        for answer in answers {
            assert_eq!(answer, Ok(()));
        }
        turn
    }

    /// A turn, and whatever must hold after any.
    #[track_caller]
    fn try_turn(
        &mut self,
        inputs: impl IntoIterator<Item = Input>,
    ) -> (Turn, Vec<Result<(), Rejected>>) {
        let (turn, answers) = self.run.turn(inputs, self.now, &self.limits);
        self.records.extend(turn.records.iter().cloned());
        self.follow(&turn);
        self.check_turn(&turn);
        assert_eq!(self.replayed(), self.run, "replay gives the live state");
        (turn, answers)
    }

    /// The run as its journal tells it.
    #[track_caller]
    fn replayed(&self) -> Run {
        let known = self.run.plan.clone();
        Run::fold(self.run.id, &self.records, |_| known.clone()).unwrap()
    }

    /// The run as a reader of its events over the API tells it, who must know every record again but
    /// for what no user sees.
    #[track_caller]
    fn read_back(&self) -> Run {
        let mut run = Run::empty(self.run.id);
        for (view, record) in event_views(&self.run, &self.records).zip(&self.records) {
            let text = serde_json::to_string(&view).unwrap();
            let read = record_of(&run, &text).unwrap();
            assert_eq!(read, *record);
            run.apply(&read).unwrap();
        }
        run
    }

    /// Keeps account of the attempts under way.
    fn follow(&mut self, turn: &Turn) {
        for effect in &turn.effects {
            match effect {
                Effect::StartStep(start) => {
                    self.out.insert((start.step, start.attempt));
                }
                Effect::SetTimer { at } => {
                    assert!(*at > self.now, "a timer is set for what is to come");
                    self.alarm = Some(*at);
                }
                Effect::AbortStep { .. }
                | Effect::MakePlan { .. }
                | Effect::Publish { .. }
                | Effect::Close => {}
            }
        }
        for record in &turn.records {
            if matches!(record.event, Event::StepStarted { .. }) {
                continue;
            }
            if let Some(attempt) = record.event.step() {
                self.out.remove(&attempt);
            }
        }
    }

    /// What must hold of every turn.
    #[track_caller]
    fn check_turn(&self, turn: &Turn) {
        let started: Vec<(StepIndex, Attempt, &Json)> = turn
            .records
            .iter()
            .filter_map(|record| match &record.event {
                Event::StepStarted {
                    step,
                    attempt,
                    input,
                } => Some((*step, *attempt, input)),
                _ => None,
            })
            .collect();
        let asked: Vec<(StepIndex, Attempt, &Json)> = starts(turn)
            .map(|start| {
                assert_eq!(start.round, self.run.round);
                (start.step, start.attempt, &start.input)
            })
            .collect();
        assert_eq!(
            started, asked,
            "an attempt is started exactly when it is recorded"
        );

        let running: BTreeSet<(StepIndex, Attempt)> = self
            .run
            .steps_that_are(StepStatus::Running)
            .map(|(step, state)| (step, state.attempt))
            .collect();
        assert_eq!(running, self.out, "what runs is what was started");
        assert_eq!(running.len(), self.run.running);
        assert!(running.len() <= self.limits.parallel_steps);

        let published = turn.effects.iter().find_map(|effect| match effect {
            Effect::Publish { upto } => Some(*upto),
            _ => None,
        });
        assert_eq!(published, turn.records.last().map(|record| record.seq));
        let ended = turn.records.iter().any(|record| record.event.is_terminal());
        if ended && self.run.status().is_ended() {
            assert_eq!(turn.effects.last(), Some(&Effect::Close));
        }
        for (place, record) in self.records.iter().enumerate() {
            assert_eq!(record.seq, Seq(place as u64 + 1), "sequence without gaps");
        }
        let terminal = self
            .records
            .iter()
            .filter(|record| record.event.is_terminal());
        let over = u32::from(self.run.status().is_ended());
        assert_eq!(terminal.count(), (self.run.round.0 - 1 + over) as usize);
    }

    fn index(&self, id: &str) -> StepIndex {
        let plan = self.run.plan.as_ref().unwrap();
        let place = plan.steps.iter().position(|step| step.id.as_str() == id);
        StepIndex::from_position(place.unwrap())
    }

    /// A report of the current attempt of a step.
    fn report(&self, id: &str, outcome: Outcome) -> Input {
        let step = self.index(id);
        Input::StepReported {
            step,
            attempt: self.run.step(step).unwrap().attempt,
            outcome,
            duration_us: 1_500,
        }
    }

    #[track_caller]
    fn complete(&mut self, id: &str) -> Turn {
        let input = self.report(id, ok(&json!({ "by": id })));
        self.turn([input])
    }

    #[track_caller]
    fn fail(&mut self, id: &str, kind: ErrorKind) -> Turn {
        let input = self.report(id, failed(kind));
        self.turn([input])
    }

    fn wait(&mut self, time: Duration) {
        self.now = self.now.after(time);
    }

    /// The process dies and the run is loaded again; what was running is gone.
    #[track_caller]
    fn crash(&mut self) -> Turn {
        self.run = self.replayed();
        self.out.clear();
        self.alarm = None;
        for (step, state) in self.run.steps_that_are(StepStatus::Running) {
            self.out.insert((step, state.attempt));
        }
        self.turn([Input::Recovered])
    }

    #[track_caller]
    fn assert_steps(&self, expected: &[(&str, StepStatus)]) {
        for (id, status) in expected {
            let state = self.run.step(self.index(id)).unwrap();
            assert_eq!(state.status, *status, "step {id}");
        }
    }

    fn error(&self) -> &str {
        self.run.error.as_deref().unwrap_or_default()
    }
}

fn starts(turn: &Turn) -> impl Iterator<Item = &StartStep> {
    turn.effects.iter().filter_map(|effect| match effect {
        Effect::StartStep(start) => Some(&**start),
        _ => None,
    })
}

fn timer(turn: &Turn) -> Option<Timestamp> {
    turn.effects.iter().find_map(|effect| match effect {
        Effect::SetTimer { at } => Some(*at),
        _ => None,
    })
}

/// The types of the turn's events, in order.
fn names(turn: &Turn) -> Vec<&'static str> {
    turn.records
        .iter()
        .map(|record| record.event.name())
        .collect()
}
