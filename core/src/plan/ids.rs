//! The ids of a plan's steps: read first, so that every step may name every other.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::fields::must_be;
use super::findings::{Findings, Place, nearest};
use crate::expr::{StepIds, StepName};
use crate::ids::{StepId, StepIndex};
use crate::limits;

/// The ids of a plan's steps.
pub(super) struct Ids {
    pub(super) index: HashMap<StepId, StepIndex>,
    /// The id of each step; empty where it is missing or wrong.
    list: Vec<StepId>,
}

impl Ids {
    /// Reads the id of every step.
    pub(super) fn read(steps: &[Value], place: &Place<'_>, findings: &mut Findings) -> Self {
        let mut index = HashMap::with_capacity(steps.len());
        let mut list = Vec::with_capacity(steps.len());
        for (position, step) in steps.iter().enumerate() {
            let place = place.index(position);
            let id = step
                .as_object()
                .and_then(|fields| read_id(fields, &place, findings));
            let Some(id) = id else {
                list.push(StepId::new(""));
                continue;
            };
            let id = StepId::new(id);
            list.push(id.clone());
            let step = StepIndex::from_position(position);
            let first = *index.entry(id.clone()).or_insert(step);
            if first != step {
                findings.add(
                    &place.key("id"),
                    format!("duplicate id \"{id}\": steps[{first}] has it already"),
                );
            }
        }
        Self { index, list }
    }

    /// The id of a step.
    pub(super) fn name(&self, step: StepIndex) -> &str {
        self.list.get(step.position()).map_or("", StepId::as_str)
    }

    /// A step with its id.
    pub(super) fn step(&self, index: StepIndex) -> StepName {
        let id = self.list.get(index.position()).cloned();
        StepName {
            index,
            id: id.unwrap_or_else(|| StepId::new("")),
        }
    }

    /// The id of a step, to keep.
    pub(super) fn id(&self, position: usize) -> StepId {
        self.step(StepIndex::from_position(position)).id
    }

    pub(super) fn all(&self) -> Arc<[StepName]> {
        let all = 0..self.list.len();
        all.map(|position| self.step(StepIndex::from_position(position)))
            .collect()
    }
}

impl StepIds for Ids {
    fn find(&self, id: &str) -> Option<StepIndex> {
        self.index.get(id).copied()
    }

    fn nearest(&self, wrong: &str) -> String {
        nearest(wrong, self.list.iter().map(StepId::as_str))
    }
}

fn read_id<'a>(
    fields: &'a Map<String, Value>,
    place: &Place<'_>,
    findings: &mut Findings,
) -> Option<&'a str> {
    let place = place.key("id");
    match fields.get("id") {
        Some(Value::String(id)) if is_id(id) => return Some(id),
        Some(Value::String(id)) => {
            let shown: String = id.chars().take(80).collect();
            findings.add(
                &place,
                format!(
                    "\"{shown}\" is no id: it begins with a letter or _, goes on with letters, digits, _ and -, and has at most {} characters",
                    limits::STEP_ID_BYTES
                ),
            );
        }
        Some(other) => findings.add(&place, must_be("a text", other)),
        None => findings.add(&place, "is missing: every step needs an id"),
    }
    None
}

/// Whether `id` matches `[A-Za-z_][A-Za-z0-9_-]{0,63}`.
fn is_id(id: &str) -> bool {
    let bytes = id.as_bytes();
    id.len() <= limits::STEP_ID_BYTES
        && matches!(bytes.first(), Some(b'A'..=b'Z' | b'a'..=b'z' | b'_'))
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}
