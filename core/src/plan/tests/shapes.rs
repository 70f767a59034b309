//! What fields may look like, and what they become.

use super::*;
use crate::expr::Scope;
use crate::run::Run;

/// The one step of a plan with these fields beside id and tool.
fn only_step(fields: Value) -> Step {
    let mut step = json!({"id": "a", "tool": "echo"});
    for (key, value) in fields.as_object().unwrap() {
        step[key] = value.clone();
    }
    check(&json!({"steps": [step]})).unwrap().steps.remove(0)
}

#[test]
fn the_plan_that_the_api_shows_can_be_sent_back() {
    let source = json!({
        "final_goal": null,
        "steps": [
            {"step_number": 1, "id": "step_1", "tool_name": "calculator",
             "tool_input": {"expression": "1"}, "depends_on": [], "reasoning": null},
            {"step_number": 2, "id": "step_2", "tool_name": "echo", "tool_input": {},
             "depends_on": ["step_1"], "reasoning": "because"}
        ]
    });
    let plan = check(&source).unwrap();
    assert_eq!(plan.steps[0].tool.as_str(), "calculator");
    assert_eq!(plan.steps[0].written_input, json!({"expression": "1"}));
    assert_eq!(plan.steps[1].reasoning.as_deref(), Some("because"));
    assert_eq!(plan.final_goal, None);
}

#[test]
fn fields_that_are_left_out_have_their_defaults() {
    let step = only_step(json!({}));
    assert_eq!(step.written_input, json!({}));
    assert!(step.input.literal().is_some());
    assert_eq!(step.retry, RetryPolicy::default());
    assert_eq!(step.delivery, Delivery::AtLeastOnce);
    assert_eq!(step.on_error, OnError::Fail);
    assert_eq!(step.timeout, None);
    assert!(step.when.is_none() && step.depends_on.is_empty());
}

#[test]
fn at_most_once_means_one_attempt() {
    let once = only_step(json!({"delivery": "at_most_once"}));
    assert_eq!(once.retry.max_attempts, 1);
    let once = only_step(json!({"delivery": "at_most_once", "retry": {"max_attempts": 1}}));
    assert_eq!(once.retry.max_attempts, 1);
    let once = only_step(json!({"delivery": "at_most_once", "retry": {"initial": "2s"}}));
    assert_eq!(once.retry.max_attempts, 1);
}

#[test]
fn where_one_delay_is_written_the_default_of_the_other_gives_way() {
    let retry = only_step(json!({"retry": {"initial": "5m"}})).retry;
    assert_eq!(retry.max, Duration::from_secs(300));
    let retry = only_step(json!({"retry": {"max": "100ms"}})).retry;
    assert_eq!(retry.initial, Duration::from_millis(100));
    let retry =
        only_step(json!({"retry": {"initial": "0s", "max": "0s", "factor": 1, "jitter": false}}));
    assert_eq!(retry.retry.initial, Duration::ZERO);
}

#[test]
fn references_imply_dependencies_in_input_and_condition() {
    let plan = check(&json!({"steps": [
        {"id": "last", "tool": "echo", "depends_on": ["b-1"],
         "input": {"x": "${steps.a.output} ${steps.a.status}", "y": [{"z": "${steps['b-1'].output}"}]},
         "when": "steps.c.output[1:] == []"},
        {"id": "a", "tool": "echo"},
        {"id": "b-1", "tool": "echo", "depends_on": ["a"]},
        {"id": "c", "tool": "echo"}
    ]}))
    .unwrap();
    let last = &plan.steps[0];
    assert_eq!(last.depends_on, [StepIndex(1), StepIndex(2), StepIndex(3)]);
    assert_eq!(plan.steps[1].dependents, [StepIndex(0), StepIndex(2)]);
    let layers = plan.layers();
    assert_eq!(
        layers,
        [
            vec![StepIndex(1), StepIndex(3)],
            vec![StepIndex(2)],
            vec![StepIndex(0)]
        ]
    );
}

#[test]
fn references_in_output_are_no_dependencies() {
    let plan = check(&json!({
        "steps": [{"id": "a", "tool": "echo"}, {"id": "b-1", "tool": "echo"}],
        "output": {"a": "${steps.a.output}", "b": "${steps['b-1'].output}", "any": "${steps | length}"}
    }))
    .unwrap();
    assert!(plan.steps.iter().all(|step| step.depends_on.is_empty()));
    let run = Run::empty(crate::ids::RunId::from_time(1, [0; 10]));
    // A run that has not begun: the status is there, the output is not.
    let error = plan.output.unwrap().resolve(&Scope::new(&run)).unwrap_err();
    assert!(error.to_string().contains("steps.a.output"), "{error}");
}

#[test]
fn a_computed_reference_sees_the_steps_that_are_named() {
    let plan = check(&json!({"steps": [
        {"id": "a", "tool": "echo"},
        {"id": "b", "tool": "echo"},
        {"id": "c", "tool": "echo", "depends_on": ["a"],
         "input": {"x": "${steps['' ~ 'a'].status}", "y": "${steps | length}"}}
    ]}))
    .unwrap();
    let run = Run::empty(crate::ids::RunId::from_time(1, [0; 10]));
    assert_eq!(
        plan.steps[2].input.resolve(&Scope::new(&run)),
        Ok(json!({"x": "pending", "y": 1}))
    );
}

#[test]
fn inputs_with_templates_are_checked_as_far_as_they_are_known() {
    for input in [
        json!({"url": "${input.url}"}),
        json!({"url": "x", "method": "${input.method}"}),
        json!({"url": "x", "retries": "${input.n}"}),
        json!({"url": "x", "headers": {"a": "${input.a}", "b": "c"}}),
        json!({"url": "x", "tags": ["a", "${input.tag}"]}),
        json!({"url": "x", "auth": "${input.auth}"}),
        json!({"url": "x", "auth": {"user": "${input.user}", "age": 7}}),
    ] {
        let source = json!({"steps": [{"id": "a", "tool": "http", "input": input}]});
        check(&source).unwrap_or_else(|findings| panic!("{source}: {findings:?}"));
    }
    // Whether `text` is required depends on what the template gives.
    let source = json!({"steps": [
        {"id": "a", "tool": "choosy", "input": {"action": "${input.action}", "count": 1}}
    ]});
    check(&source).unwrap();
}

#[test]
fn a_doubled_dollar_reaches_the_schema_as_the_text_it_is() {
    let plan = check(&json!({"steps": [
        {"id": "a", "tool": "calculator", "input": {"expression": "$${x}"}}
    ]}))
    .unwrap();
    assert!(plan.steps[0].input.literal().is_some());
}

#[test]
fn the_schema_has_every_field_that_the_parser_knows() {
    let schema = schema(&Limits::default());
    let keys = |object: &Value| -> Vec<String> {
        let mut keys: Vec<_> = object["properties"]
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect();
        keys.sort();
        keys
    };
    let sorted = |known: &[&str]| -> Vec<String> {
        let mut known: Vec<_> = known.iter().map(|key| (*key).to_owned()).collect();
        known.sort();
        known
    };
    assert_eq!(keys(&schema), sorted(check::FIELDS));
    assert_eq!(keys(&schema["$defs"]["step"]), sorted(step::FIELDS));
    assert_eq!(keys(&schema["$defs"]["retry"]), sorted(retry::FIELDS));
    for object in [&schema, &schema["$defs"]["step"], &schema["$defs"]["retry"]] {
        assert_eq!(object["additionalProperties"], json!(false));
    }
}
