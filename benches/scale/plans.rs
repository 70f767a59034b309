//! The plans that are carried out. Steps that do something call `echo`, so that what is measured is
//! Crane; the output of a step is the input of the one after it.

use serde_json::{Value, json};

use crate::runs;

/// Steps of the chain by which throughput, latency and memory are measured.
pub(crate) const CHAIN: usize = 10;

/// So many steps, one after the other. `name` makes the plan another one than that of other runs.
pub(crate) fn chain(name: &str, steps: usize) -> Value {
    let mut plan = runs::chain(steps);
    plan["name"] = json!(name);
    plan
}

/// So many steps at once, and one that waits for all of them.
pub(crate) fn fan(name: &str, width: usize) -> Value {
    let names: Vec<_> = (1..=width).map(|number| format!("b{number}")).collect();
    let branch = |id: &String| json!({ "id": id, "tool": "echo", "input": { "value": 41 } });
    let mut steps: Vec<_> = names.iter().map(branch).collect();
    steps.push(json!({ "id": "join", "tool": "echo", "input": {}, "depends_on": names }));
    json!({ "name": name, "steps": steps })
}

/// A step that is tried again after ten hours, and one after it.
pub(crate) fn retrying() -> Value {
    let retry = json!({ "max_attempts": 2, "initial": "10h", "max": "10h", "jitter": false });
    json!({ "steps": [
        { "id": "first", "tool": "echo", "input": { "value": 41 }, "retry": retry },
        { "id": "second", "tool": "echo", "input": { "value": "${steps.first.output.value}" } },
    ] })
}

/// A step that takes an hour.
pub(crate) fn sleeping() -> Value {
    let step = json!({ "id": "sleep", "tool": "sleep", "input": { "milliseconds": 3_600_000 } });
    json!({ "steps": [step] })
}
