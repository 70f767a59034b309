//! Runs and events as text for people.

use crane_core::run::view::event_views;
use crane_core::{Record, Run, StepStatus, Timestamp};

use crate::cli::failure::Failure;
use crate::output::{Table, duration, micros, one_line};

/// Longest goal, error or payload in a table, in characters.
const CELL_CHARS: usize = 100;

/// Several runs, a line each.
pub(super) fn list(runs: &[Run]) -> String {
    let mut table = Table::new(["RUN", "STATUS", "STEPS", "CREATED", "TOOK", "GOAL"]);
    for run in runs {
        table.row([
            run.id.to_string(),
            run.status().as_str().to_owned(),
            steps(run),
            seconds(run.created_at),
            took(run),
            one_line(&goal(run), CELL_CHARS),
        ]);
    }
    table.render()
}

fn steps(run: &Run) -> String {
    let done = run
        .steps
        .iter()
        .filter(|step| step.status == StepStatus::Completed);
    format!("{}/{}", done.count(), run.steps.len())
}

/// Without the fraction: a list is for finding, `show` is for measuring.
fn seconds(at: Timestamp) -> String {
    let text = at.to_string();
    match text.split_once('.') {
        Some((seconds, _)) => format!("{seconds}Z"),
        None => text,
    }
}

fn took(run: &Run) -> String {
    match run.completed_at {
        Some(at) => duration(at.since(run.created_at)),
        None => String::new(),
    }
}

/// What the run is for, in the best words there are.
fn goal(run: &Run) -> String {
    let prompt = run.accepted.as_ref().and_then(|a| a.prompt.as_deref());
    let plan = run.plan.as_ref();
    let text = prompt
        .or_else(|| plan.and_then(|plan| plan.name.as_deref()))
        .or_else(|| plan.and_then(|plan| plan.final_goal.as_deref()));
    text.unwrap_or_default().to_owned()
}

/// One run and its steps.
pub(super) fn run(run: &Run) -> String {
    let mut lines = Vec::new();
    let mut line = |name: &str, value: String| {
        if !value.is_empty() {
            lines.push(format!("{name:<10} {value}"));
        }
    };
    line("run", run.id.to_string());
    line("status", run.status().as_str().to_owned());
    line("goal", one_line(&goal(run), CELL_CHARS));
    if let Some(accepted) = &run.accepted {
        let labels: Vec<String> = accepted
            .labels
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        line("labels", one_line(&labels.join(" "), CELL_CHARS));
        line("input", one_line(accepted.input.as_str(), CELL_CHARS));
    }
    line("created", run.created_at.to_string());
    line(
        "started",
        run.started_at.map(|at| at.to_string()).unwrap_or_default(),
    );
    line(
        "completed",
        run.completed_at
            .map(|at| at.to_string())
            .unwrap_or_default(),
    );
    line("took", took(run));
    if run.round.0 > 1 {
        line("round", run.round.to_string());
    }
    line("events", run.seq.to_string());
    line(
        "error",
        one_line(run.error.as_deref().unwrap_or_default(), CELL_CHARS),
    );
    if let Some(result) = &run.result {
        line("result", one_line(result.as_str(), CELL_CHARS));
    }
    if !run.steps.is_empty() {
        lines.push(String::new());
        lines.push(step_table(run));
    }
    lines.join("\n")
}

fn step_table(run: &Run) -> String {
    let mut table = Table::new([
        "STEP",
        "TOOL",
        "STATUS",
        "ATTEMPTS",
        "TOOK",
        "OUTPUT OR ERROR",
    ]);
    let plan = run.plan.as_deref().map_or(&[][..], |plan| &plan.steps);
    for (step, state) in plan.iter().zip(&run.steps) {
        let outcome = match (&state.output, &state.error) {
            (Some(output), _) => output.as_str(),
            (None, Some(error)) => &error.message,
            (None, None) => "",
        };
        let took = match state.status {
            StepStatus::Completed | StepStatus::Failed => micros(state.duration_us),
            StepStatus::Pending
            | StepStatus::Running
            | StepStatus::Waiting
            | StepStatus::Skipped
            | StepStatus::Cancelled => String::new(),
        };
        table.row([
            step.id.to_string(),
            step.tool.to_string(),
            state.status.as_str().to_owned(),
            state.attempt.to_string(),
            took,
            one_line(outcome, CELL_CHARS),
        ]);
    }
    table.render()
}

/// The events of a run, a line each.
pub(super) fn events(run: &Run, records: &[Record]) -> Result<String, Failure> {
    let mut table = Table::new(["SEQ", "AT", "TYPE", "STEP", "ATTEMPT", "DATA"]);
    for (record, view) in records.iter().zip(event_views(run, records)) {
        let view = serde_json::to_value(&view).map_err(std::io::Error::from)?;
        let text = |name: &str| match &view[name] {
            serde_json::Value::Null => String::new(),
            serde_json::Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let data = match text("data") {
            empty if empty == "{}" => String::new(),
            data => one_line(&data, CELL_CHARS),
        };
        table.row([
            record.seq.to_string(),
            record.at.to_string(),
            record.event.name().to_owned(),
            text("step"),
            text("attempt"),
            data,
        ]);
    }
    Ok(table.render())
}
