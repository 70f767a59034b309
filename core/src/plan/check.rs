//! From JSON to a checked plan. Everything that is wrong is found in one pass, each with its place.
//!
//! ```text
//!   source ──> shape, size, depth ──> ids ──> steps (fields, templates, schema) ──> links, cycles
//!                    └───────────────────────────┴──────── findings ──────────────────────┘
//! ```

use std::sync::Arc;

use serde_json::{Map, Value};

use super::fields::{object, short_text, unknown_fields};
use super::findings::{Findings, Place};
use super::ids::Ids;
use super::step::Draft;
use super::{Finding, Plan, links, step};
use crate::expr::{Compiler, Template, Uses};
use crate::ids::StepIndex;
use crate::json::{Json, kind};
use crate::limits::{self, Limits};
use crate::tool::ToolCatalog;

/// The fields of a plan.
pub(super) const FIELDS: &[&str] = &["name", "final_goal", "input", "steps", "output"];

/// What a plan is checked against besides its own rules. A stored plan was checked when it was
/// accepted, and must go on after tools or limits have changed: then there is neither.
#[derive(Clone, Copy)]
pub(super) struct Against<'a> {
    pub(super) catalog: &'a dyn ToolCatalog,
    pub(super) limits: &'a Limits,
}

/// Compiles `source`, whose text is `text`.
pub(super) fn compile(
    source: &Value,
    text: Json,
    against: Option<Against<'_>>,
) -> Result<Plan, Vec<Finding>> {
    let mut findings = Findings::default();
    let plan = checked(source, text, against, &mut findings);
    match plan {
        Some(plan) if findings.count() == 0 => Ok(plan),
        _ => Err(findings.into_list()),
    }
}

/// The plan, which is good when there are no findings. `None` when it is not worth to go on.
fn checked(
    source: &Value,
    text: Json,
    against: Option<Against<'_>>,
    findings: &mut Findings,
) -> Option<Plan> {
    let root = Place::ROOT;
    let Some(fields) = source.as_object() else {
        findings.add(
            &root,
            format!("must be an object with \"steps\", and is {}", kind(source)),
        );
        return None;
    };
    if !check_size(&text, against, findings) || !check_depth(source, &root, 0, findings) {
        return None;
    }
    unknown_fields(fields, FIELDS, &root, findings);
    let name = short_text(fields, "name", limits::PLAN_NAME_CHARS, &root, findings);
    let goal_chars = limits::PLAN_TEXT_CHARS;
    let final_goal = short_text(fields, "final_goal", goal_chars, &root, findings);
    let input = object(fields, "input", &root, findings);

    let list = step_list(fields, against, findings)?;
    let steps_place = root.key("steps");
    let ids = Ids::read(list, &steps_place, findings);
    let mut compiler = Compiler::new(&ids);
    let mut drafts = Vec::with_capacity(list.len());
    for (position, written) in list.iter().enumerate() {
        let reader = step::Reader {
            position,
            place: steps_place.index(position),
            ids: &ids,
            against,
        };
        drafts.push(reader.read(written, &mut compiler, findings));
    }
    let output = fields.get("output").map(|written| {
        let mut uses = Uses::default();
        let place = root.key("output");
        let mut template = compiler.template(written, &place, &mut uses, findings);
        if uses.dynamic.is_some() {
            template.see(&ids.all());
        }
        template
    });
    let drafts: Option<Vec<Draft>> = drafts.into_iter().collect();
    link(
        drafts?,
        ids,
        Head {
            source: text,
            name,
            final_goal,
            input,
            output,
        },
        findings,
    )
}

/// All of a plan but its steps.
struct Head {
    source: Json,
    name: Option<Arc<str>>,
    final_goal: Option<Arc<str>>,
    input: Value,
    output: Option<Template>,
}

/// Puts the steps in order.
fn link(drafts: Vec<Draft>, ids: Ids, head: Head, findings: &mut Findings) -> Option<Plan> {
    let depends_on: Vec<Vec<StepIndex>> = drafts
        .iter()
        .map(|draft| draft.depends_on.clone())
        .collect();
    for cycle in links::cycles(&depends_on) {
        let first = cycle[0];
        let names = cycle.iter().map(|step| ids.name(*step));
        let mut names: Vec<&str> = names.take(CYCLE_NAMES).collect();
        if cycle.len() > CYCLE_NAMES {
            names.push("...");
        }
        names.push(ids.name(first));
        findings.add(
            &Place::ROOT
                .key("steps")
                .index(first.position())
                .key("depends_on"),
            format!(
                "steps wait for each other in a cycle: {}; remove one of these dependencies",
                names.join(" -> ")
            ),
        );
    }
    if findings.count() > 0 {
        return None;
    }
    let dependents = links::dependents(&depends_on);
    let steps = drafts.into_iter().zip(dependents);
    Some(Plan {
        source: head.source,
        name: head.name,
        final_goal: head.final_goal,
        input: head.input,
        steps: steps
            .map(|(draft, dependents)| draft.into_step(dependents))
            .collect(),
        output: head.output,
        index: ids.index,
    })
}

/// No more names than this of a cycle are written.
const CYCLE_NAMES: usize = 32;

fn check_size(text: &Json, against: Option<Against<'_>>, findings: &mut Findings) -> bool {
    let Some(limit) = against.map(|against| against.limits.request_bytes) else {
        return true;
    };
    let fits = text.size() <= limit;
    if !fits {
        findings.add(
            &Place::ROOT,
            format!(
                "is {} bytes of JSON: the limit is {limit} bytes",
                text.size()
            ),
        );
    }
    fits
}

/// Whether `value` nests no deeper than allowed; it is looked into no further than that.
fn check_depth(value: &Value, place: &Place<'_>, depth: usize, findings: &mut Findings) -> bool {
    let inner = depth + 1;
    let fits = inner <= limits::JSON_DEPTH;
    match value {
        Value::Array(_) | Value::Object(_) if !fits => {
            findings.add(
                place,
                format!("nests deeper than {} levels", limits::JSON_DEPTH),
            );
            false
        }
        Value::Array(items) => items
            .iter()
            .enumerate()
            .all(|(index, item)| check_depth(item, &place.index(index), inner, findings)),
        Value::Object(members) => members
            .iter()
            .all(|(key, item)| check_depth(item, &place.key(key), inner, findings)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
    }
}

fn step_list<'a>(
    fields: &'a Map<String, Value>,
    against: Option<Against<'_>>,
    findings: &mut Findings,
) -> Option<&'a [Value]> {
    let place = Place::ROOT.key("steps");
    let problem = match fields.get("steps") {
        None => "is missing: a plan needs at least one step".to_owned(),
        Some(Value::Array(list)) if list.is_empty() => {
            "is empty: a plan needs at least one step".to_owned()
        }
        Some(Value::Array(list)) => {
            let limit = against.map_or(usize::MAX, |against| against.limits.steps);
            if list.len() <= limit {
                return Some(list);
            }
            format!(
                "has {} steps: the limit is {limit}; split the plan",
                list.len()
            )
        }
        Some(other) => format!("must be an array of steps, and is {}", kind(other)),
    };
    findings.add(&place, problem);
    None
}
