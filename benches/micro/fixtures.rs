//! Plans and runs that are measured with.

use std::sync::Arc;

use crane_core::run::{Effect, Input, Outcome, Turn};
use crane_core::{
    Attempt, Event, Json, Limits, Plan, Record, Run, RunId, Seq, StepIndex, Timestamp,
};
use serde_json::{Value, json};

use crate::runs;

/// A time of day.
pub(crate) const NOW: Timestamp = Timestamp(1_700_000_000_000_000);

/// The id of the run with this number; ids of neighbors are as different as those of a node.
pub(crate) fn id(number: u64) -> RunId {
    let mut random = [0; 10];
    random[2..].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    RunId::from_time(NOW.as_millis(), random)
}

/// A plan as people write them: expressions, a condition, a retry policy, an output.
pub(crate) fn order() -> Value {
    json!({
        "name": "order-total",
        "final_goal": "Total of an order, rounded",
        "input": { "price": 41, "quantity": 7, "shipping_url": "https://example.com/quote" },
        "steps": [
            { "id": "gross", "tool": "calculator",
              "input": { "expression": "${input.price} * ${input.quantity}" } },
            { "id": "shipping", "tool": "http",
              "input": { "method": "GET", "url": "${input.shipping_url}" },
              "timeout": "5s", "delivery": "at_least_once", "on_error": "continue",
              "retry": { "max_attempts": 4, "initial": "200ms", "factor": 2, "max": "10s",
                         "jitter": true } },
            { "id": "total", "tool": "calculator", "depends_on": ["gross"],
              "when": "steps.gross.output > 0",
              "input": { "expression": "${steps.gross.output} + 13" } },
        ],
        "output": "${steps.total.output}",
    })
}

/// A compiled plan.
pub(crate) fn load(source: &Value) -> Arc<Plan> {
    Arc::new(Plan::load(&Json::from_value(source)).expect("a valid plan"))
}

/// The input by which a run of this plan begins.
pub(crate) fn submission(plan: &Arc<Plan>) -> Input {
    Input::Submit(Box::new(runs::submission(plan)))
}

/// What the steps that a turn has started report: each returns its input.
pub(crate) fn reports(turn: &Turn) -> Vec<Input> {
    let starts = turn.effects.iter().filter_map(|effect| match effect {
        Effect::StartStep(start) => Some(start),
        _ => None,
    });
    starts
        .map(|start| Input::StepReported {
            step: start.step,
            attempt: start.attempt,
            outcome: Outcome::Completed(start.input.clone()),
            duration_us: 5,
        })
        .collect()
}

/// A run of `plan` after so many turns of reports, its events, and the inputs of the next turn.
pub(crate) fn advance(plan: &Arc<Plan>, turns: usize) -> (Run, Vec<Record>, Vec<Input>) {
    let limits = Limits::default();
    let mut run = Run::empty(id(1));
    let mut inputs = vec![submission(plan), Input::Start];
    let mut records = Vec::new();
    for _ in 0..=turns {
        if inputs.is_empty() {
            break;
        }
        let (turn, answers) = run.turn(inputs, NOW, &limits);
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
        inputs = reports(&turn);
        records.extend(turn.records);
    }
    (run, records, inputs)
}

/// What a turn of a chain appends: a step is done, the next one starts.
pub(crate) fn step_pair() -> [Record; 2] {
    let record = |seq, event| Record {
        seq: Seq(seq),
        at: NOW,
        event,
    };
    [
        record(
            1,
            Event::StepCompleted {
                step: StepIndex(1),
                attempt: Attempt(1),
                output: Json::from_trusted("{\"value\":30.0}"),
                duration_us: 5,
            },
        ),
        record(
            2,
            Event::StepStarted {
                step: StepIndex(2),
                attempt: Attempt(1),
                input: Json::from_trusted("{\"expression\":\"(10 + 5) * 2\"}"),
            },
        ),
    ]
}
