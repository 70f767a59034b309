//! Runs and events as text for people.

mod events;

use crane_core::{Run, RunId, RunStatus, StepStatus, Timestamp};
use serde::Deserialize;

use crate::client;
use crate::live::progress;
use crate::output::{Table, duration, micros, one_line};

pub(super) use events::{EventPrinter, events, seq};

/// Longest goal, error or payload in a table, in characters.
const CELL_CHARS: usize = 100;
/// Steps that stand for a plan that says no goal.
const GOAL_STEPS: usize = 5;

/// What a list says about a run.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) id: RunId,
    status: RunStatus,
    /// Steps that have ended, and steps in all.
    steps: (usize, usize),
    created_at: Timestamp,
    completed_at: Option<Timestamp>,
    goal: String,
}

impl Row {
    /// What there is to say about a run of this process.
    pub(super) fn of(run: &Run, status: RunStatus) -> Self {
        Self {
            id: run.id,
            status,
            steps: progress(run),
            created_at: run.created_at,
            completed_at: run.completed_at,
            goal: goal(run),
        }
    }

    /// The same about a run in a server's list.
    pub(super) fn read(json: &str) -> serde_json::Result<Self> {
        let run: Listed = serde_json::from_str(json)?;
        let all = run.plan.as_ref().map_or(0, |plan| plan.steps.len());
        // The log holds the steps that started, so that one that was skipped is not in it. Of a run
        // that is completed every step has ended.
        let ended = match run.status {
            RunStatus::Completed => all,
            RunStatus::Pending
            | RunStatus::Running
            | RunStatus::Waiting
            | RunStatus::Failed
            | RunStatus::Cancelled => run.execution_log.iter().filter(|s| s.has_ended()).count(),
        };
        let goal = run.prompt.or_else(|| run.plan.map(ListedPlan::goal));
        let goal = goal.or(run.error);
        Ok(Self {
            id: run.run_id,
            status: run.status,
            steps: (ended, all),
            created_at: run.created_at,
            completed_at: run.completed_at,
            goal: goal.unwrap_or_default(),
        })
    }
}

/// A run in a server's list, as far as a row needs it.
#[derive(Deserialize)]
struct Listed {
    run_id: RunId,
    #[serde(deserialize_with = "client::status")]
    status: RunStatus,
    prompt: Option<String>,
    plan: Option<ListedPlan>,
    error: Option<String>,
    #[serde(default)]
    execution_log: Vec<ListedStep>,
    created_at: Timestamp,
    completed_at: Option<Timestamp>,
}

#[derive(Deserialize)]
struct ListedPlan {
    /// Servers of earlier versions do not say it.
    #[serde(default)]
    name: Option<String>,
    final_goal: Option<String>,
    steps: Vec<PlannedStep>,
}

#[derive(Deserialize)]
struct PlannedStep {
    id: String,
}

impl ListedPlan {
    fn goal(self) -> String {
        let steps = self.steps.iter().map(|step| step.id.as_str());
        goal_of(self.final_goal.as_deref(), self.name.as_deref(), steps)
    }
}

/// What a plan is for, in the best words there are: its goal, its name, or its first steps.
fn goal_of<'a>(
    final_goal: Option<&str>,
    name: Option<&str>,
    steps: impl Iterator<Item = &'a str>,
) -> String {
    match final_goal.or(name) {
        Some(text) => text.to_owned(),
        None => names(steps),
    }
}

/// The first steps stand for a plan that says no goal.
fn names<'a>(steps: impl Iterator<Item = &'a str>) -> String {
    steps.take(GOAL_STEPS).collect::<Vec<_>>().join(", ")
}

#[derive(Deserialize)]
struct ListedStep {
    status: String,
}

impl ListedStep {
    fn has_ended(&self) -> bool {
        let ended = [
            StepStatus::Completed,
            StepStatus::Failed,
            StepStatus::Skipped,
            StepStatus::Cancelled,
        ];
        ended.iter().any(|status| status.as_str() == self.status)
    }
}

/// Several runs, a line each.
pub(super) fn list(rows: &[Row]) -> String {
    let mut table = Table::new(["RUN", "STATUS", "STEPS", "CREATED", "TOOK", "GOAL"]);
    for row in rows {
        let (done, all) = row.steps;
        table.row([
            row.id.to_string(),
            row.status.as_str().to_owned(),
            format!("{done}/{all}"),
            seconds(row.created_at),
            took(row.created_at, row.completed_at),
            one_line(&row.goal, CELL_CHARS),
        ]);
    }
    table.render()
}

/// Without the fraction: a list is for finding, `show` is for measuring.
fn seconds(at: Timestamp) -> String {
    let text = at.to_string();
    match text.split_once('.') {
        Some((seconds, _)) => format!("{seconds}Z"),
        None => text,
    }
}

fn took(created_at: Timestamp, completed_at: Option<Timestamp>) -> String {
    match completed_at {
        Some(at) => duration(at.since(created_at)),
        None => String::new(),
    }
}

/// What the run is for: its prompt, or what its plan says.
fn goal(run: &Run) -> String {
    let prompt = run.accepted.as_ref().and_then(|a| a.prompt.as_deref());
    match (prompt, run.plan.as_deref()) {
        (Some(prompt), _) => prompt.to_owned(),
        (None, Some(plan)) => {
            let steps = plan.steps.iter().map(|step| step.id.as_str());
            goal_of(plan.final_goal.as_deref(), plan.name.as_deref(), steps)
        }
        // What is stored of it cannot be read.
        (None, None) => run.error.as_deref().unwrap_or_default().to_owned(),
    }
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
    line("took", took(run.created_at, run.completed_at));
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
