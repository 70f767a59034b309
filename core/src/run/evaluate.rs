//! The one place where a run meets the expressions of its plan.

use super::Run;
use crate::expr::Scope;
use crate::ids::StepIndex;
use crate::json::Json;

/// The resolved input of a step, `None` when its `when` is false.
pub(super) fn step(run: &Run, step: StepIndex) -> Result<Option<Json>, String> {
    let Some(definition) = run.definition(step) else {
        return Err(format!("there is no step {step}"));
    };
    let scope = Scope::new(run);
    if let Some(when) = &definition.when
        && !when
            .test(&scope)
            .map_err(|error| format!("when: {error}"))?
    {
        return Ok(None);
    }
    match definition.input.resolve_json(&scope) {
        Ok(input) => Ok(Some(input)),
        Err(error) => Err(format!("input: {error}")),
    }
}

/// The plan's own output, `None` when it leaves the result to the last step.
pub(super) fn output(run: &Run) -> Result<Option<Json>, String> {
    let Some(output) = run.plan.as_ref().and_then(|plan| plan.output.as_ref()) else {
        return Ok(None);
    };
    match output.resolve_json(&Scope::new(run)) {
        Ok(output) => Ok(Some(output)),
        Err(error) => Err(error.to_string()),
    }
}
