//! Templates and conditions against a run that is a few facts.
#![allow(clippy::unwrap_used, clippy::needless_pass_by_value)]

use serde_json::{Value, json};

use super::*;
use crate::ids::{RunId, StepIndex};
use crate::json::Json;
use crate::plan::findings::{Findings, Place};
use crate::run::StepStatus;

mod conditions;
mod hostile;
mod paths;
mod refusals;
mod templates;

/// The steps that expressions of these tests may name, and how far each came.
const STEPS: [(&str, StepStatus, Option<&str>); 4] = [
    (
        "a",
        StepStatus::Completed,
        Some(
            r#"{"items":[{"id":7,"name":"x"},{"id":8}],"n":30.0,"text":"h\u00e9\"y","none":null,"yes":true}"#,
        ),
    ),
    ("my-id", StepStatus::Completed, Some("\"out\"")),
    ("skipped", StepStatus::Skipped, None),
    ("c", StepStatus::Completed, Some("287")),
];

struct Facts {
    input: Json,
}

impl ScopeSource for Facts {
    fn run_id(&self) -> RunId {
        RunId::from_time(1, [7; 10])
    }

    fn input(&self) -> &Json {
        &self.input
    }

    fn step_status(&self, step: StepIndex) -> StepStatus {
        STEPS[step.position()].1
    }

    fn step_output(&self, step: StepIndex) -> Option<&Json> {
        static OUTPUTS: std::sync::LazyLock<Vec<Option<Json>>> = std::sync::LazyLock::new(|| {
            let output = |step: &(_, _, Option<&str>)| step.2.map(Json::from_trusted);
            STEPS.iter().map(output).collect()
        });
        OUTPUTS[step.position()].as_ref()
    }
}

struct Ids;

impl StepIds for Ids {
    fn find(&self, id: &str) -> Option<StepIndex> {
        let position = STEPS.iter().position(|step| step.0 == id)?;
        Some(StepIndex::from_position(position))
    }

    fn nearest(&self, _: &str) -> String {
        String::new()
    }
}

fn facts() -> Facts {
    let input = json!({
        "price": 41, "quantity": 7, "rate": 1.2, "text": "plain", "flag": true, "big": u64::MAX,
        "list": [1, 2, 3], "nested": {"a": {"b": ["x", {"c": -5}]}}, "none": null
    });
    Facts {
        input: Json::from_value(&input),
    }
}

fn compile(value: &Value) -> Result<Template, Vec<String>> {
    let mut findings = Findings::default();
    let mut template =
        Compiler::new(&Ids).template(value, &Place::ROOT, &mut Uses::default(), &mut findings);
    let all = STEPS.iter().enumerate().map(|(position, step)| StepName {
        index: StepIndex::from_position(position),
        id: crate::ids::StepId::new(step.0),
    });
    template.see(&all.collect());
    let list = findings.into_list();
    if list.is_empty() {
        Ok(template)
    } else {
        Err(list.into_iter().map(|finding| finding.message).collect())
    }
}

fn resolve(value: &Value) -> Result<Value, ExprError> {
    let facts = facts();
    compile(value).unwrap().resolve(&Scope::new(&facts))
}

#[track_caller]
fn gives(template: Value, wanted: Value) {
    assert_eq!(resolve(&template), Ok(wanted), "{template}");
}

#[track_caller]
fn fails(template: &str, with: &str) {
    let error = resolve(&json!(template)).unwrap_err().to_string();
    assert!(error.contains(with), "{template}: {error}");
}

#[track_caller]
fn refused(template: &str, with: &str) {
    let problems = compile(&json!(template)).map(|_| ()).unwrap_err();
    assert!(
        problems.iter().any(|problem| problem.contains(with)),
        "{template}: {problems:?}"
    );
}
