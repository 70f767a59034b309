//! The run that every bench measures: a chain of `echo`, so that what is measured is Crane.

use std::sync::Arc;

use crane_core::event::{Accepted, Labels};
use crane_core::run::Submission;
use crane_core::{Json, Plan};
use serde_json::{Value, json};

/// So many steps of `echo`, each with the output of the one before as its input.
pub(crate) fn chain(steps: usize) -> Value {
    let step = |number: usize| match number {
        1 => json!({ "id": "s1", "tool": "echo", "input": { "value": 41 } }),
        _ => {
            let before = format!("${{steps.s{}.output.value}}", number - 1);
            json!({ "id": format!("s{number}"), "tool": "echo", "input": { "value": before } })
        }
    };
    let steps: Vec<_> = (1..=steps).map(step).collect();
    json!({ "steps": steps })
}

/// The submission of a plan with its own defaults as input.
pub(crate) fn submission(plan: &Arc<Plan>) -> Submission {
    Submission {
        accepted: Accepted {
            prompt: None,
            plan: Some(plan.source.clone()),
            input: Json::from_value(&plan.input),
            labels: Labels::new(),
            request_hash: None,
            trace_id: None,
        },
        plan: Some(plan.clone()),
    }
}
