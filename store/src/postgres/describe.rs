//! What SQL can read of an ended run: its facts as one JSON document, from which the views
//! `crane_runs` and `crane_steps` are made.
//!
//! It is made from the events as they are. Nothing here knows when a step may start or what a
//! failure means for a run; a step is named as the plan's text names it.

use std::collections::BTreeMap;

use crane_core::event::Record;
use crane_core::tool::ToolError;
use crane_core::{Attempt, Event, Json, StepIndex, Timestamp};
use serde_json::{Map, Value, json};

/// A run of which nothing can be told.
pub(crate) const NOTHING: &str = "{}";

/// Largest input or output that is shown, in bytes of JSON text.
const SHOWN_BYTES: usize = 16 << 10;

#[derive(Default)]
struct Step {
    status: &'static str,
    attempts: u32,
    started_at: Option<Timestamp>,
    completed_at: Option<Timestamp>,
    duration_us: Option<u64>,
    error: Option<ToolError>,
    input: Option<Json>,
    output: Option<Json>,
}

#[derive(Default)]
struct Facts {
    plan: Option<Json>,
    prompt: Option<String>,
    started_at: Option<Timestamp>,
    result: Option<Json>,
    reason: Option<&'static str>,
    error: Option<String>,
    steps: BTreeMap<u32, Step>,
}

/// The document of a run with these events, all of them.
pub(crate) fn describe(records: &[Record]) -> Value {
    let mut facts = Facts::default();
    for record in records {
        facts.note(record);
    }
    let mut value = facts.into_value();
    scrub(&mut value);
    value
}

impl Facts {
    fn note(&mut self, record: &Record) {
        match &record.event {
            Event::RunAccepted(accepted) => {
                self.plan.clone_from(&accepted.plan);
                self.prompt = accepted.prompt.as_deref().map(str::to_owned);
            }
            Event::RunPlanned { plan } => self.plan = Some(plan.clone()),
            Event::RunStarted => self.started_at = Some(record.at),
            Event::RunCompleted { result } => self.result = Some(result.clone()),
            Event::RunFailed { reason, error } => {
                self.reason = Some(reason.as_str());
                self.error = Some(error.to_string());
            }
            Event::RunReopened { .. } => {
                (self.result, self.reason, self.error) = (None, None, None);
                self.steps.retain(|_, step| step.status == "completed");
            }
            Event::RunCancelRequested | Event::RunCancelled => {}
            Event::StepStarted { .. }
            | Event::StepAttemptFailed { .. }
            | Event::StepAttemptLost { .. }
            | Event::StepCompleted { .. }
            | Event::StepFailed { .. }
            | Event::StepSkipped { .. }
            | Event::StepCancelled { .. } => self.note_step(record),
        }
    }

    fn note_step(&mut self, record: &Record) {
        let Some((StepIndex(index), Attempt(attempt))) = record.event.step() else {
            return;
        };
        let step = self.steps.entry(index).or_default();
        step.attempts = step.attempts.max(attempt);
        let mut end = |status| {
            step.status = status;
            step.completed_at = Some(record.at);
        };
        match &record.event {
            Event::StepStarted { input, .. } => {
                step.status = "running";
                step.started_at.get_or_insert(record.at);
                step.input = Some(input.clone());
            }
            Event::StepAttemptFailed {
                error, duration_us, ..
            } => {
                step.status = "waiting";
                step.error = Some(error.clone());
                step.duration_us = Some(*duration_us);
            }
            Event::StepCompleted {
                output,
                duration_us,
                ..
            } => {
                end("completed");
                step.error = None;
                step.output = Some(output.clone());
                step.duration_us = Some(*duration_us);
            }
            Event::StepFailed {
                error, duration_us, ..
            } => {
                end("failed");
                step.error = Some(error.clone());
                step.duration_us = Some(*duration_us);
            }
            Event::StepSkipped { .. } => end("skipped"),
            Event::StepCancelled { .. } => end("cancelled"),
            _ => {}
        }
    }

    fn into_value(self) -> Value {
        let plan = self.plan.as_ref().map_or(Value::Null, Json::to_value);
        let name = ["name", "final_goal"]
            .iter()
            .find_map(|key| plan.get(key).and_then(Value::as_str));
        let written = plan.get("steps").and_then(Value::as_array);
        let text_of = |index: u32, keys: &[&str]| {
            let step = written.and_then(|steps| steps.get(index as usize));
            let text = keys.iter().find_map(|key| step?.get(key)?.as_str());
            text.map(str::to_owned)
        };
        let steps = self.steps.into_iter().map(|(index, step)| {
            let id = text_of(index, &["id"]);
            let tool = text_of(index, &["tool", "tool_name"]);
            step.into_value(index, id.as_deref(), tool.as_deref())
        });
        json!({
            "plan": name,
            "prompt": self.prompt,
            "started_at": self.started_at,
            "result": shown(self.result.as_ref()),
            "reason": self.reason,
            "error": self.error,
            "steps": steps.collect::<Vec<Value>>(),
        })
    }
}

impl Step {
    fn into_value(self, index: u32, id: Option<&str>, tool: Option<&str>) -> Value {
        json!({
            "position": index + 1,
            "step": id,
            "tool": tool,
            "status": self.status,
            "attempts": self.attempts,
            "started_at": self.started_at,
            "completed_at": self.completed_at,
            "duration_us": self.duration_us,
            "error_kind": self.error.as_ref().map(|error| error.kind.as_str()),
            "error": self.error.as_ref().map(|error| &*error.message),
            "input": shown(self.input.as_ref()),
            "input_bytes": self.input.as_ref().map(Json::size),
            "output": shown(self.output.as_ref()),
            "output_bytes": self.output.as_ref().map(Json::size),
        })
    }
}

/// The value of a payload, unless it is too large, or text that only looks like JSON.
fn shown(payload: Option<&Json>) -> Option<Value> {
    let payload = payload.filter(|payload| payload.size() <= SHOWN_BYTES)?;
    serde_json::from_str(payload.as_str()).ok()
}

/// Replaces zero characters, which the database's text cannot hold.
fn scrub(value: &mut Value) {
    let clean = |text: &str| text.replace('\0', "\u{fffd}");
    match value {
        Value::String(text) if text.contains('\0') => *text = clean(text),
        Value::Array(items) => items.iter_mut().for_each(scrub),
        Value::Object(fields) => {
            if fields.keys().any(|key| key.contains('\0')) {
                let old = std::mem::take(fields);
                *fields = old
                    .into_iter()
                    .map(|(key, value)| (clean(&key), value))
                    .collect::<Map<_, _>>();
            }
            fields.values_mut().for_each(scrub);
        }
        _ => {}
    }
}
