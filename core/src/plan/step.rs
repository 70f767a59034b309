//! One step of a plan, from JSON.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use super::check::Against;
use super::fields::{duration, must_be, short_text, unknown_fields};
use super::findings::{Findings, Place, nearest};
use super::ids::Ids;
use super::{Delivery, OnError, Step, inputs, retry};
use crate::expr::{Compiler, Condition, StepIds, StepName, Template, Uses};
use crate::ids::{StepId, StepIndex, ToolName};
use crate::json::kind;
use crate::limits;
use crate::retry::RetryPolicy;

/// The fields of a step.
pub(super) const FIELDS: &[&str] = &[
    "id",
    "tool",
    "input",
    "depends_on",
    "when",
    "timeout",
    "retry",
    "delivery",
    "on_error",
    "reasoning",
    "tool_name",
    "tool_input",
    "step_number",
];

/// A step whose dependents are not known yet.
pub(super) struct Draft {
    id: StepId,
    tool: ToolName,
    written_input: Value,
    input: Template,
    when: Option<Condition>,
    /// Ascending, each once.
    pub(super) depends_on: Vec<StepIndex>,
    timeout: Option<Duration>,
    retry: RetryPolicy,
    delivery: Delivery,
    on_error: OnError,
    reasoning: Option<Arc<str>>,
}

impl Draft {
    /// The step.
    pub(super) fn into_step(self, dependents: Vec<StepIndex>) -> Step {
        Step {
            id: self.id,
            tool: self.tool,
            written_input: self.written_input,
            input: self.input,
            when: self.when,
            depends_on: self.depends_on,
            dependents,
            timeout: self.timeout,
            retry: self.retry,
            delivery: self.delivery,
            on_error: self.on_error,
            reasoning: self.reasoning,
        }
    }
}

/// Reads the step at one position of a plan.
pub(super) struct Reader<'a> {
    pub(super) position: usize,
    pub(super) place: Place<'a>,
    pub(super) ids: &'a Ids,
    pub(super) against: Option<Against<'a>>,
}

impl Reader<'_> {
    /// Reads the step. `None` when it is not even an object; otherwise a step that is good when
    /// nothing was found.
    pub(super) fn read(
        &self,
        written: &Value,
        compiler: &mut Compiler<'_>,
        findings: &mut Findings,
    ) -> Option<Draft> {
        let Some(fields) = written.as_object() else {
            findings.add(&self.place, must_be("an object", written));
            return None;
        };
        unknown_fields(fields, FIELDS, &self.place, findings);
        self.check_number(fields, findings);
        let tool = self.tool(fields, findings);
        let mut uses = Uses {
            myself: Some(StepIndex::from_position(self.position)),
            ..Uses::default()
        };
        let (written_input, mut input) =
            self.input(fields, tool.as_ref(), compiler, &mut uses, findings);
        let when_place = self.place.key("when");
        let mut when = fields
            .get("when")
            .and_then(|when| compiler.condition(when, &when_place, &mut uses, findings));
        let depends_on = self.depends_on(fields, &uses, findings);
        if uses.dynamic.is_some() {
            let visible: Arc<[StepName]> =
                depends_on.iter().map(|step| self.ids.step(*step)).collect();
            input.see(&visible);
            if let Some(when) = &mut when {
                when.see(&visible);
            }
        }
        let delivery = self.choice(
            fields,
            "delivery",
            &[
                ("at_least_once", Delivery::AtLeastOnce),
                ("at_most_once", Delivery::AtMostOnce),
            ],
            findings,
        );
        let on_error = self.choice(
            fields,
            "on_error",
            &[("fail", OnError::Fail), ("continue", OnError::Continue)],
            findings,
        );
        let reasoning_chars = limits::PLAN_TEXT_CHARS;
        Some(Draft {
            id: self.ids.id(self.position),
            tool: tool.unwrap_or_else(|| ToolName::new("")),
            written_input,
            input,
            when,
            depends_on,
            timeout: self.timeout(fields, findings),
            retry: retry::read(
                fields.get("retry"),
                delivery == Delivery::AtMostOnce,
                self.against
                    .map_or(u32::MAX, |against| against.limits.attempts),
                &self.place.key("retry"),
                findings,
            ),
            delivery,
            on_error,
            reasoning: short_text(fields, "reasoning", reasoning_chars, &self.place, findings),
        })
    }

    /// `step_number` says nothing that the position does not; it is accepted so that a plan can be
    /// sent back as it was shown.
    fn check_number(&self, fields: &Map<String, Value>, findings: &mut Findings) {
        let position = self.position as u64 + 1;
        if let Some(number) = fields.get("step_number")
            && number.as_u64() != Some(position)
        {
            findings.add(
                &self.place.key("step_number"),
                format!("must be {position}, the place of the step in the plan: leave it out"),
            );
        }
    }

    /// The value of a field that has two names.
    fn either<'f>(
        &self,
        fields: &'f Map<String, Value>,
        names: [&'static str; 2],
        findings: &mut Findings,
    ) -> (&'static str, Option<&'f Value>) {
        let [name, alias] = names;
        match (fields.get(name), fields.get(alias)) {
            (Some(value), None) => (name, Some(value)),
            (None, Some(value)) => (alias, Some(value)),
            (None, None) => (name, None),
            (Some(value), Some(_)) => {
                findings.add(
                    &self.place.key(alias),
                    format!("is the same as \"{name}\", which is given as well: leave one out"),
                );
                (name, Some(value))
            }
        }
    }

    fn tool(&self, fields: &Map<String, Value>, findings: &mut Findings) -> Option<ToolName> {
        let (name, written) = self.either(fields, ["tool", "tool_name"], findings);
        let place = self.place.key(name);
        let tool = match written {
            Some(Value::String(tool)) if !tool.is_empty() => tool,
            Some(Value::String(_)) | None => {
                findings.add(
                    &place,
                    "is missing: every step names the tool that it calls",
                );
                return None;
            }
            Some(other) => {
                findings.add(&place, must_be("the name of a tool", other));
                return None;
            }
        };
        if let Some(against) = self.against
            && against.catalog.spec(tool).is_none()
        {
            let hint = nearest(tool, against.catalog.names());
            let shown: String = tool.chars().take(80).collect();
            findings.add(&place, format!("unknown tool \"{shown}\"{hint}"));
            return None;
        }
        Some(ToolName::new(tool.as_str()))
    }

    fn input(
        &self,
        fields: &Map<String, Value>,
        tool: Option<&ToolName>,
        compiler: &mut Compiler<'_>,
        uses: &mut Uses,
        findings: &mut Findings,
    ) -> (Value, Template) {
        let (name, written) = self.either(fields, ["input", "tool_input"], findings);
        let place = self.place.key(name);
        let nothing = Value::Object(Map::new());
        let input = match written {
            Some(input @ Value::Object(_)) => input,
            None => &nothing,
            Some(other) => {
                findings.add(&place, must_be("an object", other));
                &nothing
            }
        };
        let before = findings.count();
        let template = compiler.template(input, &place, uses, findings);
        if let Some(against) = self.against {
            self.check_payload(input, against.limits.payload_bytes, &place, findings);
            if let Some(tool) = tool
                && findings.count() == before
                && !findings.is_full()
            {
                inputs::check(tool, input, &template, against.catalog, &place, findings);
            }
        }
        (input.clone(), template)
    }

    fn check_payload(
        &self,
        input: &Value,
        limit: usize,
        place: &Place<'_>,
        findings: &mut Findings,
    ) {
        let size = inputs::size(input);
        if size > limit {
            findings.add(
                place,
                format!(
                    "is {size} bytes of JSON: the limit is {limit} bytes for the input of a step"
                ),
            );
        }
    }

    /// The written dependencies and those implied by references, ascending, each once.
    fn depends_on(
        &self,
        fields: &Map<String, Value>,
        uses: &Uses,
        findings: &mut Findings,
    ) -> Vec<StepIndex> {
        let mut steps = self.written_dependencies(fields, findings);
        steps.extend_from_slice(&uses.implied);
        steps.sort_unstable();
        steps.dedup();
        for (step, path) in &uses.computed {
            if steps.binary_search(&step.index).is_err() {
                let id = &step.id;
                findings.add_at(
                    || path.clone(),
                    format!(
                        "steps['{id}'] is a computed reference, which implies no dependency: add \"{id}\" to depends_on"
                    ),
                );
            }
        }
        if let Some(path) = &uses.dynamic
            && steps.is_empty()
        {
            findings.add_at(
                || path.clone(),
                "the step that this refers to is known only at run time: name in depends_on every step that it may be",
            );
        }
        steps
    }

    fn written_dependencies(
        &self,
        fields: &Map<String, Value>,
        findings: &mut Findings,
    ) -> Vec<StepIndex> {
        let place = self.place.key("depends_on");
        let list = match fields.get("depends_on") {
            None => return Vec::new(),
            Some(Value::Array(list)) => list,
            Some(other) => {
                findings.add(&place, must_be("an array of step ids", other));
                return Vec::new();
            }
        };
        let mut seen: std::collections::HashSet<&str> = std::collections::HashSet::new();
        let mut steps = Vec::with_capacity(list.len());
        for (index, item) in list.iter().enumerate() {
            let place = place.index(index);
            let Some(id) = item.as_str() else {
                findings.add(&place, must_be("the id of a step", item));
                continue;
            };
            if !seen.insert(id) {
                findings.add(&place, format!("\"{}\" is named twice", short(id)));
                continue;
            }
            match self.ids.find(id) {
                Some(step) if step.position() == self.position => {
                    findings.add(&place, format!("step \"{id}\" cannot wait for itself"));
                }
                Some(step) => steps.push(step),
                None if findings.is_full() => findings.add_unlisted(),
                None => {
                    let hint = self.ids.nearest(id);
                    findings.add(&place, format!("unknown step \"{}\"{hint}", short(id)));
                }
            }
        }
        steps
    }

    fn timeout(&self, fields: &Map<String, Value>, findings: &mut Findings) -> Option<Duration> {
        let timeout = duration(fields, "timeout", &self.place, findings)?;
        if timeout.is_zero() {
            findings.add(
                &self.place.key("timeout"),
                "must be longer than 0: leave it out for the timeout of the tool",
            );
        }
        Some(timeout)
    }

    /// A field with a few possible values.
    fn choice<T: Copy + Default>(
        &self,
        fields: &Map<String, Value>,
        key: &str,
        choices: &[(&str, T)],
        findings: &mut Findings,
    ) -> T {
        let Some(written) = fields.get(key) else {
            return T::default();
        };
        let text = written.as_str();
        if let Some((_, choice)) = choices.iter().find(|(name, _)| Some(*name) == text) {
            return *choice;
        }
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        let got = text.map_or_else(
            || kind(written).to_owned(),
            |text| format!("\"{}\"", short(text)),
        );
        findings.add(
            &self.place.key(key),
            format!("must be {}, and is {got}", names.join(" or ")),
        );
        T::default()
    }
}

/// The beginning of a text that somebody else wrote.
fn short(text: &str) -> String {
    text.chars().take(80).collect()
}
